"""Atoms that may lie anywhere: signals as sums of shifted kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral
from typing import Any

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from sklearn_unroll.functional._given import check_pictures, tensor_of
from sklearn_unroll.functional._krylov import conjugate_gradients, largest_eigenvalue
from sklearn_unroll.functional.operators import Operator, check_rho

__all__ = ["Convolution"]

# How many positions there are in a signal of n points for kernels of k, and which of the
# n_positions + k - 1 points that shifted kernels reach is the signal's first.
_BOUNDARIES: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "circular": lambda n, k: (n, 0),
    "full": lambda n, k: (n - k + 1, 0),
    "same": lambda n, k: (n, (k - 1) // 2),
    "valid": lambda n, k: (n + k - 1, k - 1),
}
_CUT = ("same", "valid")  # where kernels may reach out of the signal
# In signals that many times as long as the kernels the bound on the norm is within 10 %.
_LONG = 10


class Convolution(Operator):
    """``A x = sum_k x_k * d_k``: a dictionary of kernels at every position of a signal.

    Signals, pictures or volumes of one or more channels. A row of codes holds a map of
    coefficients for each kernel, flattened from shape ``code_shape = (n_kernels,
    *positions)``; a row of signals is flattened from ``signal_shape = (n_channels, *shape)``,
    channels first. A kernel has a part in every channel, and they share its codes; signals
    whose channels are independent are rows of their own.

    ``boundary`` names the mode of :func:`scipy.signal.convolve` by which codes make signals, or
    the circular convolution; for n points and kernels of k:

    ============  =============  ====================================================
    boundary      positions      kernels at the border
    ============  =============  ====================================================
    ``circular``  ``n``          come in again on the other side
    ``full``      ``n - k + 1``  do not exist: all lie within the signal
    ``same``      ``n``          are cut off; position p is the kernel's middle
    ``valid``     ``n + k - 1``  are cut off; all that touch the signal are there
    ============  =============  ====================================================

    Products are made in the Fourier domain, kernels being taken as constants. For the circular
    boundary the norm, :meth:`solve_normal` and :meth:`consistent` are exact there, one system
    of the size of the channels for each frequency (Wohlberg 2016, "Efficient algorithms for
    convolutional sparse representations", Section III-B, has one channel).

    Parameters
    ----------
    kernels : array-like of shape (n_kernels, ...) or (n_kernels, n_channels, ...)
        The kernels d, whose last axes are as many as ``shape`` has.
    shape : int or tuple of int
        Shape of a signal without its channels: its length, or height and width.
    boundary : {"circular", "full", "same", "valid"}, default="circular"
        What happens at the border.

    Raises
    ------
    TypeError
        If kernels hold no real numbers.
    ValueError
        If the shapes do not fit, the boundary is not known, or kernels are not finite, all
        zero, or too large for the signal; with "same" and "valid" no kernel is.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Convolution
    >>> A = Convolution(torch.tensor([[1.0, 2.0, 3.0]]), 5)
    >>> A(torch.tensor([[0.0, 0.0, 0.0, 1.0, 0.0]])).round(decimals=4)
    tensor([[3., 0., 0., 1., 2.]])
    >>> Convolution(torch.ones(7, 3, 8, 8), (32, 48), boundary="full").code_shape
    (7, 25, 41)
    """

    def __init__(
        self, kernels: Any, shape: int | tuple[int, ...], *, boundary: str = "circular"
    ) -> None:
        self.shape = _check_shape(shape)
        self.kernels = _check_kernels(kernels, self.shape)
        if boundary not in _BOUNDARIES:
            raise ValueError(f"boundary must be one of {tuple(_BOUNDARIES)}, got {boundary!r}.")
        self.boundary = boundary
        size = tuple(self.kernels.shape[2:])
        if boundary not in _CUT and any(k > n for n, k in zip(self.shape, size, strict=True)):
            raise ValueError(
                f"kernels of size {size} are larger than the signal, of shape {self.shape}, and "
                f"with boundary={boundary!r} they have to lie in it. Use smaller kernels, or "
                f"boundary='same' or 'valid', which cut them off."
            )
        places = [_BOUNDARIES[boundary](n, k) for n, k in zip(self.shape, size, strict=True)]
        self.positions = tuple(n for n, _ in places)
        self.n_positions = math.prod(self.positions)
        self.code_shape = (len(self.kernels), *self.positions)
        self.signal_shape = (self.kernels.shape[1], *self.shape)
        self.n_components = math.prod(self.code_shape)
        self.n_features = math.prod(self.signal_shape)
        self._grid, self._symbol = self._transformed([start for _, start in places])
        self._factors: tuple[Tensor, Tensor, Tensor] | None = None

    @property
    def like(self) -> Tensor:
        """The kernels."""
        return self.kernels

    def __call__(self, x: Tensor) -> Tensor:
        name = f"Convolution, with codes of shape {self.code_shape},"
        c = self._forward(check_pictures(x, self.n_components, name), self.code_shape)
        return self._back(_together(c, self._of(c)), self.shape)

    def adjoint(self, r: Tensor) -> Tensor:
        name = f"The adjoint of Convolution, with signals of shape {self.signal_shape},"
        c = self._forward(check_pictures(r, self.n_features, name), self.signal_shape)
        product = torch.einsum("bc...,kc...->bk...", c, _conjugate(self._of(c)))
        return self._back(product, self.positions)

    @torch.no_grad()
    def lipschitz(self) -> Tensor:
        """Return ``||A||_2^2``, the largest of all frequencies, exact if the boundary is circular.

        With others the signal is part of a circular one, whose norm is a bound, within 10 % in
        signals of ten kernels' length; of shorter ones it is found by Lanczos' method.

        Returns
        -------
        Tensor of shape ()
            The squared norm, or a bound on it.
        """
        size = self.kernels.shape[2:]
        long = all(n >= _LONG * k for n, k in zip(self.shape, size, strict=True))
        if self.boundary == "circular" or long:
            S = self.by_frequency()
            H = _conjugate(S.mT)
            gram = S @ H if S.shape[-2] <= S.shape[-1] else H @ S
            return torch.linalg.eigvalsh(gram)[..., -1].max()
        return largest_eigenvalue(lambda r: self(self.adjoint(r)), self.n_features, self.like)

    def to(self, like: Tensor) -> Convolution:
        kernels = self.kernels.to(like)
        if kernels is self.kernels:
            return self
        return Convolution(kernels, self.shape, boundary=self.boundary)

    def divided(self, sizes: Tensor) -> Convolution:
        """Return the operator whose atoms are divided by numbers, the same for all shifts.

        Parameters
        ----------
        sizes : Tensor of shape (n_components,)
            Numbers, of which those at each kernel's first position count.

        Returns
        -------
        Convolution
            ``x -> A (x / sizes)``.
        """
        each = sizes.reshape(len(self.kernels), -1)[:, :1]
        kernels = (self.kernels.flatten(1) / each).reshape(self.kernels.shape)
        return Convolution(kernels, self.shape, boundary=self.boundary)

    def solve_normal(self, r: Tensor, rho: Tensor | float) -> Tensor:
        if self.boundary != "circular":
            return super().solve_normal(r, rho)
        rho = check_rho(rho, r)
        c = self._forward(r, self.code_shape)
        s2, V, _ = self._spectral(c)
        along, rest = _split(c, V)
        return self._back(_combine(along / (s2 + rho), V) + rest / rho, self.positions)

    def proximal(self, b: Tensor, x: Tensor, rho: Tensor | float) -> Tensor:
        """Return the minimiser of ``||A v - b||^2 + rho ||v - x||^2`` for every row.

        ``x + A^T (A A^T + rho I)^{-1} (b - A x)``: a system of the channels for each frequency
        where the boundary is circular, with two transforms of the codes and no more; otherwise
        by conjugate gradients on signals, which are smaller than codes.

        Parameters
        ----------
        b : Tensor of shape (n_samples, n_features)
            Signals.
        x : Tensor of shape (n_samples, n_components)
            Codes.
        rho : float or Tensor of shape () or (n_samples, 1)
            Positive number, one for each sample if need be.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            Codes.
        """
        rho = check_rho(rho, x)
        if self.boundary != "circular":
            r = self.residual(b, x)
            return x + self.adjoint(conjugate_gradients(lambda r: self(self.adjoint(r)), r, rho))
        c = self._forward(x, self.code_shape)
        s2, V, back = self._spectral(c)
        r = self._forward(b, self.signal_shape) - _together(c, self._of(c))
        # A^T (A A^T + rho I)^{-1} = V (s2 + rho)^{-1} V^H A^H, with A = U s V^H.
        along = torch.einsum("jc...,bc...->bj...", back, r)
        shift = rho.reshape(-1, *[1] * (along.ndim - 1))
        return self._back(_combine(along / (s2 + shift), V), self.positions).add_(x)

    def consistent(self, b: Tensor, x: Tensor) -> Tensor:
        if self.boundary != "circular":
            return super().consistent(b, x)
        c = self._forward(self.adjoint(self.residual(b, x)), self.code_shape)
        s2, V, _ = self._spectral(c)
        eps = torch.finfo(s2.dtype).eps
        tolerance = (max(self.n_components, self.n_features) * eps) ** 2 * s2.max()
        inverse = torch.where(s2 > tolerance, 1 / s2.clamp_min(eps**2 * s2.max()), 0)
        return x + self._back(_combine(_split(c, V)[0] * inverse, V), self.positions)

    @torch.no_grad()
    def _transformed(self, starts: list[int]) -> tuple[tuple[int, ...], Tensor]:
        """Return the grid of the transforms and the kernels' transform on it.

        The grid is so large that what comes in again falls on points that are cut off, and
        the kernels are moved so that the signal begins at its first point.
        """
        size, circular = self.kernels.shape[2:], self.boundary == "circular"
        grid = self.shape if circular else tuple(
            next_fast_len(max(p + k - 1 - start, k), real=True)
            for p, k, start in zip(self.positions, size, starts, strict=True)
        )  # fmt: skip
        d = self.kernels.new_zeros(*self.kernels.shape[:2], *grid)
        d[(..., *(slice(k) for k in size))] = self.kernels
        axes = tuple(range(2, d.ndim))
        return grid, torch.fft.rfftn(d.roll([-start for start in starts], axes), dim=axes)

    def _forward(self, rows: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return the transforms of rows on the grid, zero beyond their own shape."""
        axes = tuple(range(2, len(shape) + 1))
        return torch.fft.rfftn(rows.reshape(-1, *shape), s=self._grid, dim=axes)

    def _back(self, c: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return rows of a shape from their transforms on the grid."""
        x = torch.fft.irfftn(c, s=self._grid, dim=tuple(range(2, c.ndim)))
        return x[(..., *(slice(n) for n in shape))].flatten(1)

    def _of(self, c: Tensor) -> Tensor:
        """Return the kernels' transform in the precision of another."""
        return self._symbol if self._symbol.dtype == c.dtype else self._symbol.to(c.dtype)

    def by_frequency(self) -> Tensor:
        """Return the matrices from codes to channels at every frequency of the grid's half.

        Returns
        -------
        complex Tensor of shape (n_frequencies, n_channels, n_kernels)
            The kernels' discrete Fourier transforms.
        """
        return self._symbol.flatten(2).permute(2, 1, 0)

    @torch.no_grad()
    def _spectral(self, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``s2, V, V^H A^H`` of every frequency's ``A = U s V^H``, ranks first."""
        if self._factors is None:
            S, half = self._symbol, self._symbol.shape[2:]
            if S.shape[1] == 1:  # one row has one singular value, its norm
                s2 = S.abs().square().sum(0)
                V = _conjugate(S) / s2.clamp_min(torch.finfo(s2.dtype).tiny).sqrt()
            else:
                _, s, Vh = torch.linalg.svd(self.by_frequency(), full_matrices=False)
                s2 = s.square().T.reshape(-1, *half)
                V = _conjugate(Vh).permute(2, 1, 0).reshape(len(self.kernels), -1, *half)
                V = V.contiguous()
            self._factors = s2, V, torch.einsum("kj...,kc...->jc...", _conjugate(V), _conjugate(S))
        s2, V, along = self._factors
        return s2.to(c.real.dtype), V.to(c.dtype), along.to(c.dtype)


def _conjugate(c: Tensor) -> Tensor:
    """Return the conjugate in memory of its own: not all devices heed torch's lazy one."""
    return c.conj_physical()


def _together(c: Tensor, S: Tensor) -> Tensor:
    """Return the sum of all kernels' parts; products of matrices pay for several channels."""
    if S.shape[1] == 1:
        return (c * S[:, 0]).sum(1, keepdim=True)
    return torch.einsum("bk...,kc...->bc...", c, S)


def _combine(c: Tensor, V: Tensor) -> Tensor:
    return torch.einsum("kj...,bj...->bk...", V, c)


def _split(r: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """Return the coordinates of r along V, and what is orthogonal to V."""
    c = torch.einsum("kj...,bk...->bj...", _conjugate(V), r)
    rest = r - _combine(c, V)
    # Twice: rounding errors along V would come out 1 / rho times as large.
    again = torch.einsum("kj...,bk...->bj...", _conjugate(V), rest)
    return c + again, rest - _combine(again, V)


def _check_shape(shape: Any) -> tuple[int, ...]:
    given = shape
    shape = (shape,) if isinstance(shape, Integral) else tuple(shape)
    if not shape or not all(isinstance(n, Integral) and n > 0 for n in shape):
        raise ValueError(
            f"shape must be the length of a signal, or a tuple of positive numbers of points "
            f"such as (height, width); got {given!r}."
        )
    return tuple(int(n) for n in shape)


def _check_kernels(kernels: Any, shape: tuple[int, ...]) -> Tensor:
    """Return the kernels, of shape (n_kernels, n_channels, *size)."""
    plain = None if hasattr(kernels, "dtype") else torch.empty(0, dtype=torch.float64)
    d = tensor_of(kernels, "kernels", plain)
    if d.is_complex():
        raise TypeError(f"kernels must be real, got {d.dtype}.")
    if d.dtype not in (torch.float32, torch.float64):
        d = d.to(torch.float32 if d.is_floating_point() else torch.float64)
    given, n_axes = tuple(d.shape), len(shape)
    if d.ndim == n_axes + 1:
        d = d[:, None]
    if d.ndim != n_axes + 2 or 0 in given:
        raise ValueError(
            f"kernels must have shape (n_kernels, *size), or (n_kernels, n_channels, *size), "
            f"where size has {n_axes} {'axis' if n_axes == 1 else 'axes'} as the signal's shape "
            f"{shape} has, and none may be empty; got shape {given}."
        )
    finite = torch.isfinite(d).flatten(1).all(1)
    if not bool(finite.all()):
        wrong = (~finite).nonzero()[:, 0].tolist()
        raise ValueError(f"kernels must be finite numbers: NaN or infinity in {_some(wrong)}.")
    zero = (d == 0).flatten(1).all(1).nonzero()[:, 0].tolist()
    if zero:
        raise ValueError(f"{_some(zero)} are all zero: no code can use them. Remove them.")
    return d


def _some(places: list[int]) -> str:
    return f"kernels {places[:5]}{' and others' if len(places) > 5 else ''}"
