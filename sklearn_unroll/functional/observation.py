"""The pair (observation, operator) that every network sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor

from sklearn_unroll.functional.operators import Operator

__all__ = ["Observation", "Residual"]


class Residual(NamedTuple):
    """A residual that has been computed, for whoever asks for it next.

    Parameters
    ----------
    b : Tensor of shape (n_samples, n_features)
        Data.
    x : Tensor of shape (n_samples, n_components)
        Codes.
    r : Tensor of shape (n_samples, n_features)
        ``b - A x``.
    version : int
        How often x had been overwritten then.
    """

    b: Tensor
    x: Tensor
    r: Tensor
    version: int

    def of(self, obs: Observation, x: Tensor) -> Tensor:
        """Return the residual of an observation, computed where it is not this one.

        Parameters
        ----------
        obs : Observation
            Data and operator.
        x : Tensor of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        Tensor of shape (n_samples, n_features)
            Residuals.
        """
        same = x is self.x and obs.b is self.b and x._version == self.version
        return self.r if same else obs.A.residual(obs.b, x)


def first_residual(b: Tensor, A: Operator, x: Tensor) -> Tensor:
    """Return ``b - A x`` of a first iterate: b itself, without a product, where it is zero.

    Parameters
    ----------
    b : Tensor of shape (n_samples, n_features)
        Data.
    A : Operator
        The operator.
    x : Tensor of shape (n_samples, n_components)
        Codes.

    Returns
    -------
    Tensor of shape (n_samples, n_features)
        Residuals, not to be overwritten.
    """
    return A.residual(b, x) if bool(x.any()) else b


class Observation(NamedTuple):
    """Data and the operator that made them; the operator travels with the data.

    So masks, per-sample operators and matrix-free operators need no second code path.

    Parameters
    ----------
    b : Tensor of shape (n_samples, n_features)
        The observed signals, one per row.
    A : Operator
        The operator in ``b ~ A x``.
    known : object or None
        Whatever is asked for residuals, by ``known.of(obs, x)``: a :class:`Residual` that need
        not be computed again, or what watches which are computed.
    """

    b: Tensor
    A: Operator
    known: Any = None

    def residual(self, x: Tensor) -> Tensor:
        """Return ``b - A x``, not to be overwritten.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        Tensor of shape (n_samples, n_features)
            Residuals.
        """
        return self.A.residual(self.b, x) if self.known is None else self.known.of(self, x)

    def take(self, rows: Tensor | slice) -> Observation:
        """Return a subset of the samples.

        Parameters
        ----------
        rows : Tensor or slice
            Which samples to keep.

        Returns
        -------
        Observation
            Their data with their operator.
        """
        return Observation(self.b[rows], self.A.take(rows))

    def chunks(self, n_rows: int | None = None) -> Iterator[tuple[slice, Observation]]:
        """Yield the samples in consecutive chunks, so that iterates stay in the cache.

        Parameters
        ----------
        n_rows : int, default=None
            Rows in a chunk; by default 512 on the CPU (where larger batches run at memory
            speed, up to three times slower; up to 2048 of less than 256 entries each) and
            65,536 elsewhere, and fewer of more than 2,048 entries each, such as pictures (which
            bounds the memory).

        Yields
        ------
        tuple of (slice, Observation)
            Which rows, and their data and operator.
        """
        if n_rows is None:
            cpu = self.b.device.type == "cpu"
            n_rows = min(max(2**17 // self.A.n_components, 512), 2048) if cpu else 65_536
            n_rows = max(1, min(n_rows, n_rows * 2048 // self.A.n_components))
        for start in range(0, len(self.b), n_rows):
            rows = slice(start, start + n_rows)
            yield rows, self.take(rows)
