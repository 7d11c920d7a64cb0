"""Rows of fast orthogonal transforms: cosine and Hadamard."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from sklearn_unroll.functional._given import check_pictures, tensor_of
from sklearn_unroll.functional.operators import Operator, check_rho

__all__ = ["PartialDCT", "PartialHadamard", "dct", "hadamard", "idct"]

_SHORT = 128  # up to this length a matrix is faster than a Fourier transform


def dct(x: Tensor) -> Tensor:
    """Orthonormal DCT-II along the last axis, ``X_k = c_k sum_n x_n cos(pi k (2 n + 1) / 2 N)``.

    ``c_0 = sqrt(1 / N)``, else ``sqrt(2 / N)``. By one FFT of length N (Makhoul 1980), and by a
    product with the matrix where signals are short.

    Parameters
    ----------
    x : Tensor of shape (..., n)
        Real signals.

    Returns
    -------
    Tensor of shape (..., n)
        Coefficients, as of :func:`scipy.fft.dct` with ``norm="ortho"``.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import dct
    >>> dct(torch.tensor([[1.0, 0.0]]))
    tensor([[0.7071, 0.7071]])
    """
    n = x.shape[-1]
    if n <= _SHORT:
        return x @ _matrix(n, x).T
    v = torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], dim=-1)
    coefficients = (torch.fft.fft(v) * _phase(n, -1, x)).real * math.sqrt(2 / n)
    return coefficients * _first(n, math.sqrt(0.5), x)


def idct(c: Tensor) -> Tensor:
    """Return the signals of DCT coefficients, the inverse and adjoint of :func:`dct`.

    Parameters
    ----------
    c : Tensor of shape (..., n)
        Coefficients.

    Returns
    -------
    Tensor of shape (..., n)
        Signals.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import idct
    >>> idct(torch.tensor([[2.0, 0.0, 0.0, 0.0]]))
    tensor([[1., 1., 1., 1.]])
    """
    n = c.shape[-1]
    if n <= _SHORT:
        return c @ _matrix(n, c)
    c = c * _first(n, math.sqrt(2), c) * math.sqrt(n / 2)
    # Im(phase V_k) = -X_{n-k}, and X_n = 0.
    mirrored = torch.cat([torch.zeros_like(c[..., :1]), c[..., 1:].flip(-1)], dim=-1)
    v = torch.fft.ifft(torch.complex(c, -mirrored) * _phase(n, 1, c)).real
    half = (n + 1) // 2
    x = torch.empty_like(v)
    x[..., ::2] = v[..., :half]
    x[..., 1::2] = v[..., half:].flip(-1)
    return x


def hadamard(x: Tensor) -> Tensor:
    """Orthonormal Walsh-Hadamard transform along the last axis, in natural order; its own inverse.

    Parameters
    ----------
    x : Tensor of shape (..., n)
        Real signals, their length a power of two.

    Returns
    -------
    Tensor of shape (..., n)
        Coefficients.

    Raises
    ------
    ValueError
        If the length is no power of two.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import hadamard
    >>> hadamard(torch.tensor([[1.0, 1.0, 1.0, -1.0]]))
    tensor([[ 1.,  1.,  1., -1.]])
    """
    n = x.shape[-1]
    if n < 1 or n & (n - 1):
        raise ValueError(f"A Hadamard transform needs a power of two as length, got {n}.")
    shape = x.shape
    for level in range(n.bit_length() - 1):
        a, b = x.reshape(*shape[:-1], -1, 2, 2**level).unbind(-2)
        x = torch.stack([a + b, a - b], dim=-2)
    return x.reshape(shape) / math.sqrt(n)


class _Partial(Operator):
    """Some rows T_P of an orthogonal matrix T: ``A A^T = I``, ``A^T A = T^T diag(P) T``."""

    def __init__(self, size: int, rows: Any) -> None:
        rows = torch.arange(size) if rows is None else tensor_of(rows, "rows")
        if rows.dtype == torch.bool and rows.numel() == size:
            rows = rows.flatten().nonzero()[:, 0]
        valid = rows.ndim == 1 and len(rows) and not rows.is_floating_point()
        valid = valid and rows.dtype not in (torch.bool, torch.complex64, torch.complex128)
        if not valid or len(rows.unique()) < len(rows) or not 0 <= rows.min() <= rows.max() < size:
            raise ValueError(
                f"rows must be different integers from 0 to {size - 1}, at least one, or a mask "
                f"of {size} booleans that are not all False; got {rows!r}."
            )
        self.rows = rows.long()
        self.n_components, self.n_features = size, len(rows)
        self.orthogonal = len(rows) == size
        self.selected = torch.zeros(size, dtype=torch.float64, device=rows.device)
        self.selected[self.rows] = 1

    @abstractmethod
    def _transform(self, x: Tensor) -> Tensor:
        """Return ``T x``."""

    @abstractmethod
    def _inverse(self, c: Tensor) -> Tensor:
        """Return ``T^T c``."""

    def __call__(self, x: Tensor) -> Tensor:
        check_pictures(x, self.n_components, type(self).__name__)
        return self._transform(x)[:, self.rows]

    def adjoint(self, r: Tensor) -> Tensor:
        check_pictures(r, self.n_features, f"The adjoint of {type(self).__name__}")
        full = r.new_zeros(len(r), self.n_components)
        return self._inverse(full.index_copy(1, self.rows, r))

    def lipschitz(self) -> Tensor:
        return self.selected.max()

    def solve_normal(self, r: Tensor, rho: Tensor | float) -> Tensor:
        return self._inverse(self._transform(r) / (self.selected.to(r.dtype) + check_rho(rho, r)))

    def consistent(self, b: Tensor, x: Tensor) -> Tensor:
        return x + self.adjoint(self.residual(b, x))


class PartialDCT(_Partial):
    """Some coefficients of the orthonormal DCT of a signal, a picture, or a volume.

    Parameters
    ----------
    shape : int or tuple of int
        Shape of what a row holds, flattened; the transform runs along every axis.
    rows : array-like of shape (n_features,) or mask, default=None
        Which coefficients, as places in the flattened transform or as a boolean mask; all by
        default.

    Raises
    ------
    ValueError
        If rows are out of range, repeated or none.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import PartialDCT
    >>> PartialDCT((2, 2), rows=[0])(torch.ones(1, 4))
    tensor([[2.]])
    """

    def __init__(self, shape: int | tuple[int, ...], rows: Any = None) -> None:
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        super().__init__(math.prod(self.shape), rows)

    def to(self, like: Tensor) -> PartialDCT:
        same = like.device == self.rows.device
        return self if same else PartialDCT(self.shape, self.rows.to(like.device))

    def _transform(self, x: Tensor) -> Tensor:
        return self._along_axes(dct, x)

    def _inverse(self, c: Tensor) -> Tensor:
        return self._along_axes(idct, c)

    def _along_axes(self, transform, x: Tensor) -> Tensor:
        x = x.reshape(-1, *self.shape)
        for axis in range(1, x.ndim):
            x = transform(x.movedim(axis, -1)).movedim(-1, axis)
        return x.reshape(len(x), -1)


class PartialHadamard(_Partial):
    """Some coefficients of the orthonormal Walsh-Hadamard transform, in natural order.

    Of a flattened picture whose sides are powers of two it is the two-dimensional transform.

    Parameters
    ----------
    size : int
        Length of a row, a power of two.
    rows : array-like of shape (n_features,) or mask, default=None
        Which coefficients; all by default.

    Raises
    ------
    ValueError
        If the size is no power of two, or rows are out of range, repeated or none.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import PartialHadamard
    >>> PartialHadamard(4, rows=[0, 3])(torch.tensor([[1.0, 1.0, 1.0, -1.0]]))
    tensor([[ 1., -1.]])
    """

    def __init__(self, size: int, rows: Any = None) -> None:
        hadamard(torch.empty(size))
        super().__init__(size, rows)

    def to(self, like: Tensor) -> PartialHadamard:
        same = like.device == self.rows.device
        return self if same else PartialHadamard(self.n_components, self.rows.to(like.device))

    def _transform(self, x: Tensor) -> Tensor:
        return hadamard(x)

    def _inverse(self, c: Tensor) -> Tensor:
        return hadamard(c)


def _matrix(n: int, like: Tensor) -> Tensor:
    """Return the orthonormal DCT-II, rows are atoms."""
    place = torch.arange(n, dtype=like.dtype, device=like.device)
    cosines = torch.cos(math.pi / n * torch.outer(place, place + 0.5))
    return cosines * (math.sqrt(2 / n) * _first(n, math.sqrt(0.5), like))[:, None]


def _phase(n: int, sign: int, like: Tensor) -> Tensor:
    angle = torch.arange(n, dtype=like.dtype, device=like.device) * (sign * math.pi / (2 * n))
    return torch.polar(torch.ones_like(angle), angle)


def _first(n: int, factor: float, like: Tensor) -> Tensor:
    """Return ones with another first entry."""
    scale = torch.ones(n, dtype=like.dtype, device=like.device)
    scale[0] = factor
    return scale
