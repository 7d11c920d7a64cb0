"""Rows that are made when they are asked for, so that large data need not be copied whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["Rows", "blocks", "stand_in", "whole"]

_BLOCK = 2**20  # numbers in a block: what is computed of it stays small


class Rows:
    """What a matrix would hold, without its memory: indexed by rows it gives a tensor of its own.

    It takes the place of ``b`` in an :class:`~sklearn_unroll.functional.Observation`, or of codes,
    where these are only looked at a few rows at a time. ``rows[:]`` is the whole matrix, and so is
    what functions and methods of torch get.

    Parameters
    ----------
    pick : callable
        Maps a slice, or a Tensor of indices or booleans, to a Tensor of these rows.
    shape : tuple of (int, int)
        Shape of the matrix.
    like : Tensor
        A tensor with its dtype and device.
    """

    ndim = 2

    def __init__(
        self, pick: Callable[[Any], Tensor], shape: tuple[int, int], like: Tensor
    ) -> None:
        self.pick, self.shape = pick, torch.Size(shape)
        self.dtype, self.device = like.dtype, like.device

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        return self.pick(rows)

    def __len__(self) -> int:
        return self.shape[0]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "pick":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self[:], name)

    @classmethod
    def __torch_function__(
        cls, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = {name: _whole(value) for name, value in (kwargs or {}).items()}
        return function(*(_whole(value) for value in args), **kwargs)

    def new_empty(self, *shape: int, **kind: Any) -> Tensor:
        """Return a tensor of the same dtype, on the same device.

        Parameters
        ----------
        *shape : int
            Its shape.
        **kind : Any
            Another dtype or device.

        Returns
        -------
        Tensor
            Any numbers.
        """
        return torch.empty(shape, **{"dtype": self.dtype, "device": self.device} | kind)


def _whole(value: Any) -> Any:
    return value[:] if isinstance(value, Rows) else value


def whole(matrix: Tensor | Rows) -> Tensor:
    """Return a matrix as a tensor.

    Parameters
    ----------
    matrix : Tensor or Rows
        The matrix.

    Returns
    -------
    Tensor
        Itself, if it is one.
    """
    return _whole(matrix)


def stand_in(matrix: Tensor | Rows) -> Tensor:
    """Return a tensor of zeros with shape, dtype and device of a matrix, and hardly any memory.

    Parameters
    ----------
    matrix : Tensor or Rows
        The matrix.

    Returns
    -------
    Tensor
        Not to be written to.
    """
    return torch.zeros(1, 1, dtype=matrix.dtype, device=matrix.device).expand(matrix.shape)


def blocks(*matrices: Tensor | Rows) -> Iterator[slice]:
    """Yield the rows of matrices in consecutive blocks of about the same size.

    So none is too small for what only many rows pay for.

    Parameters
    ----------
    *matrices : Tensor or Rows
        Of as many rows; the widest sets the size of a block.

    Yields
    ------
    slice
        Which rows.
    """
    size, n_rows = (
        max(_BLOCK // max(matrix.shape[1] for matrix in matrices), 256),
        len(matrices[0]),
    )
    size = -(-n_rows // max(round(n_rows / size), 1))
    for start in range(0, n_rows, max(size, 1)):
        yield slice(start, start + size)
