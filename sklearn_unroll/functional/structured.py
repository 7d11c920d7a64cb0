"""Samples of a picture's Fourier transform, as in magnetic resonance imaging."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional._given import check_pictures, tensor_of
from sklearn_unroll.functional.operators import Operator, check_rho

__all__ = ["MaskedFourier", "pack_complex", "unpack_complex"]


def pack_complex(c: Any) -> Any:
    """Return complex rows as real ones, ``[Re c | Im c]``: how complex data enter the package.

    Parameters
    ----------
    c : complex Tensor or ndarray of shape (n_samples, n)
        Complex rows.

    Returns
    -------
    Tensor or ndarray of shape (n_samples, 2 * n)
        Real rows, with the same inner product up to its imaginary part.

    Raises
    ------
    TypeError
        If the rows are no complex tensor or array.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import pack_complex
    >>> pack_complex(torch.tensor([[1 + 2j, 3 + 4j]]))
    tensor([[1., 3., 2., 4.]])
    """
    if isinstance(c, np.ndarray) and np.iscomplexobj(c):
        return np.concatenate([c.real, c.imag], axis=-1)
    if not isinstance(c, Tensor) or not c.is_complex():
        given = getattr(c, "dtype", type(c).__name__)
        raise TypeError(f"Expected complex rows, a tensor or an array; got {given}.")
    return torch.cat([c.real, c.imag], dim=-1)


def unpack_complex(r: Any) -> Any:
    """Return the complex rows of real ones, the inverse of :func:`pack_complex`.

    Parameters
    ----------
    r : Tensor or ndarray of shape (n_samples, 2 * n)
        Real rows ``[Re c | Im c]``.

    Returns
    -------
    complex Tensor or ndarray of shape (n_samples, n)
        Complex rows.

    Raises
    ------
    ValueError
        If the rows are complex already, or of odd length.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import unpack_complex
    >>> unpack_complex(torch.tensor([[1.0, 3.0, 2.0, 4.0]]))
    tensor([[1.+2.j, 3.+4.j]])
    """
    known = isinstance(r, (Tensor, np.ndarray))
    if not known or "complex" in str(r.dtype) or not r.ndim or r.shape[-1] % 2:
        given = f"{r.dtype} of shape {tuple(r.shape)}" if known else type(r).__name__
        raise ValueError(
            f"Expected real rows [Re | Im] of even length, got {given}. Pack complex rows with "
            f"pack_complex."
        )
    if isinstance(r, np.ndarray):
        real, imaginary = np.split(r, 2, axis=-1)
        return real + 1j * imaginary
    return torch.complex(*r.chunk(2, dim=-1))


class MaskedFourier(Operator):
    """``b = P F x``: the entries of the orthonormal 2-D Fourier transform under a mask.

    Rows of x are flattened pictures, rows of b are real, ``[Re | Im]`` of the sampled entries
    (see :func:`pack_complex`). For real pictures ``A^T A = F^H S F`` with ``S(k)`` the mean of
    the mask at k and -k, where the transform has the same value up to conjugation.

    Parameters
    ----------
    mask : array-like of shape (height, width)
        Which entries are sampled, boolean or of zeros and ones, the zero frequency at
        ``[0, 0]`` as in :func:`torch.fft.fft2` (uncentred: use ``ifftshift`` on centred ones).
    complex_images : bool, default=False
        Whether pictures are complex; rows of x are then ``[Re | Im]`` too.

    Raises
    ------
    ValueError
        If the mask is not two-dimensional, not of zeros and ones, or all zero.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import MaskedFourier
    >>> A = MaskedFourier(torch.tensor([[1, 1], [0, 0]]))
    >>> b = A(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))  # sum and difference of the columns, halved
    >>> b
    tensor([[ 5., -1.,  0.,  0.]])
    >>> A.adjoint(b)  # zero-filling: the mean of each column
    tensor([[2., 3., 2., 3.]])
    """

    def __init__(self, mask: Any, *, complex_images: bool = False) -> None:
        mask = tensor_of(mask, "mask")
        if mask.ndim != 2:
            raise ValueError(f"mask must have shape (height, width), got {tuple(mask.shape)}.")
        if mask.is_complex() or not bool(((mask == 0) | (mask == 1)).all()):
            raise ValueError("mask must be boolean or hold zeros and ones only.")
        if not bool(mask.any()):
            raise ValueError("mask is all zero: nothing would be observed.")
        self.mask = mask.bool()
        self.complex_images = complex_images
        self.image_shape = tuple(mask.shape)
        self.entries = self.mask.flatten().nonzero()[:, 0]
        self.n_components = mask.numel() * (1 + complex_images)
        self.n_features = 2 * len(self.entries)
        sampled = self.mask.double()
        # NOTE[DIFF]: the papers divide by the mask itself plus rho, which is exact for complex
        # pictures; for real ones it is this mean of the mask at k and at -k.
        self.spectrum = sampled if complex_images else (sampled + _mirrored(sampled)) / 2

    def _transform(self, x: Tensor) -> Tensor:
        switch = "MaskedFourier(mask, complex_images=True) takes [Re | Im] of complex pictures. "
        check_pictures(x, self.n_components, "MaskedFourier", switch)
        x = unpack_complex(x) if self.complex_images else x
        return torch.fft.fft2(x.reshape(-1, *self.image_shape), norm="ortho").flatten(1)

    def _pictures(self, c: Tensor) -> Tensor:
        x = torch.fft.ifft2(c.reshape(-1, *self.image_shape), norm="ortho").flatten(1)
        return pack_complex(x) if self.complex_images else x.real

    def __call__(self, x: Tensor) -> Tensor:
        return pack_complex(self._transform(x)[:, self.entries])

    def adjoint(self, r: Tensor) -> Tensor:
        c = unpack_complex(check_pictures(r, self.n_features, "The adjoint of MaskedFourier"))
        full = c.new_zeros(len(r), self.mask.numel())
        return self._pictures(full.index_copy(1, self.entries, c))

    def lipschitz(self) -> Tensor:
        return self.spectrum.max()

    def to(self, like: Tensor) -> MaskedFourier:
        # The dtype is that of the data; only the mask has a place.
        same = like.device == self.mask.device
        return self if same else MaskedFourier(
            self.mask.to(like.device), complex_images=self.complex_images
        )  # fmt: skip

    def solve_normal(self, r: Tensor, rho: Tensor | float) -> Tensor:
        """Return ``(A^T A + K)^{-1} r`` for every row, exactly, by dividing in Fourier space.

        Parameters
        ----------
        r : Tensor of shape (n_samples, n_components)
            Right-hand sides.
        rho : float or Tensor of shape () or (height, width)
            A positive number, for ``K = rho I``, or the spectrum of any other symmetric
            circular convolution K: nonnegative, equal at k and -k, and positive wherever
            nothing is sampled.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            Solutions.

        Raises
        ------
        ValueError
            If the system is singular.
        """
        rho = torch.as_tensor(rho, dtype=r.dtype, device=r.device)
        symbol = self.spectrum.to(r.dtype) + (rho if rho.ndim == 2 else check_rho(rho, r))
        if not bool((symbol.detach() > 0).all()):
            raise ValueError(
                "The normal equations are singular: frequencies are neither sampled nor "
                "penalised. Sample the zero frequency, mask[0, 0], which filters do not see."
            )
        if self.complex_images:
            return self._pictures(self._transform(r) / symbol.flatten())
        half = torch.fft.rfft2(r.reshape(-1, *self.image_shape))
        half = half / symbol[:, : half.shape[-1]]
        return torch.fft.irfft2(half, s=self.image_shape).flatten(1)

    def consistent(self, b: Tensor, x: Tensor) -> Tensor:
        r = self.residual(b, x)
        weight = self.spectrum.flatten()[self.entries].to(r.dtype)
        return x + self.adjoint(r / torch.cat([weight, weight]))


def _mirrored(grid: Tensor) -> Tensor:
    """Return the values at -k."""
    return grid.flip(0, 1).roll((1, 1), (0, 1))
