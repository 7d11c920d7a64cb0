"""Small filters on pictures with periodic borders: convolution, its adjoint, its spectrum."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, pad

__all__ = ["dct_filters", "filter_adjoint", "filter_pictures", "filter_spectrum"]


def dct_filters(size: int) -> Tensor:
    """Return the atoms of the orthonormal two-dimensional DCT but the constant one.

    Their correlations with all patches of a periodic picture, and its patch means times
    ``size``, have together ``size^2`` times the energy of the picture.

    Parameters
    ----------
    size : int
        Height and width, odd.

    Returns
    -------
    Tensor of shape (size ** 2 - 1, size, size)
        Filters of unit norm and mean zero, in float64.

    Raises
    ------
    ValueError
        If the size is even or less than 3.

    Examples
    --------
    >>> from sklearn_unroll.functional import dct_filters
    >>> dct_filters(3)[1]  # the second derivative across
    tensor([[ 0.2357, -0.4714,  0.2357],
            [ 0.2357, -0.4714,  0.2357],
            [ 0.2357, -0.4714,  0.2357]], dtype=torch.float64)
    """
    if size < 3 or size % 2 == 0:
        raise ValueError(f"The size of a filter must be odd and at least 3, got {size}.")
    place = torch.arange(size, dtype=torch.float64)
    atoms = torch.cos(math.pi / size * torch.outer(place, place + 0.5))
    atoms = atoms / atoms.norm(dim=1, keepdim=True)
    return torch.einsum("ac,bd->abcd", atoms, atoms).reshape(-1, size, size)[1:]


def filter_pictures(x: Tensor, filters: Tensor) -> Tensor:
    """Return the correlations ``c_l(p) = sum_q h_l(q) x(p + q)``, q from the filter's centre.

    Parameters
    ----------
    x : Tensor of shape (n_pictures, height, width)
        Pictures, continued periodically.
    filters : Tensor of shape (n_filters, size, size)
        Filters h of odd size, none larger than a picture.

    Returns
    -------
    Tensor of shape (n_pictures, n_filters, height, width)
        Responses.

    Raises
    ------
    ValueError
        If the filters are larger than the pictures.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import dct_filters, filter_pictures
    >>> filter_pictures(torch.ones(1, 4, 4), dct_filters(3).float()).abs().max() < 1e-6
    tensor(True)
    """
    half = filters.shape[-1] // 2
    if min(x.shape[-2:]) < filters.shape[-1]:
        raise ValueError(
            f"Pictures of shape {tuple(x.shape[-2:])} are smaller than the filters, "
            f"{tuple(filters.shape[-2:])}."
        )
    return conv2d(pad(x[:, None], (half,) * 4, mode="circular"), filters[:, None])


def filter_adjoint(z: Tensor, filters: Tensor) -> Tensor:
    """Return ``sum_l H_l^T z_l``, the adjoint of :func:`filter_pictures`.

    Parameters
    ----------
    z : Tensor of shape (n_pictures, n_filters, height, width)
        Responses.
    filters : Tensor of shape (n_filters, size, size)
        Filters of odd size.

    Returns
    -------
    Tensor of shape (n_pictures, height, width)
        Pictures.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import dct_filters, filter_adjoint, filter_pictures
    >>> x, h = torch.rand(1, 8, 8, dtype=torch.float64), dct_filters(3)
    >>> z = filter_pictures(x, h)
    >>> torch.allclose((filter_adjoint(z, h) * x).sum(), z.square().sum())
    True
    """
    half = filters.shape[-1] // 2
    # What falls over a border comes in again on the other side.
    wide = conv_transpose2d(z, filters[:, None])[:, 0]
    height, width = z.shape[-2:]
    tall = wide[:, half : half + height].clone()
    tall[:, height - half :] += wide[:, :half]
    tall[:, :half] += wide[:, half + height :]
    x = tall[:, :, half : half + width].clone()
    x[:, :, width - half :] += tall[:, :, :half]
    x[:, :, :half] += tall[:, :, half + width :]
    return x


def filter_spectrum(filters: Tensor, shape: tuple[int, int], weights: Tensor) -> Tensor:
    """Return ``sum_l w_l |F h_l|^2``, the Fourier symbol of ``sum_l w_l H_l^T H_l``.

    Parameters
    ----------
    filters : Tensor of shape (n_filters, size, size)
        Filters.
    shape : tuple of (int, int)
        Height and width of the pictures.
    weights : Tensor of shape (n_filters,)
        Nonnegative weights w.

    Returns
    -------
    Tensor of shape (height, width)
        Nonnegative, equal at k and -k.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import dct_filters, filter_spectrum
    >>> symbol = filter_spectrum(dct_filters(3), (8, 8), torch.ones(8, dtype=torch.float64))
    >>> round(float(symbol.mean()), 6), abs(round(float(symbol[0, 0]), 6))
    (8.0, 0.0)
    """
    # One transform of the filters' autocorrelation instead of one of each filter.
    size = filters.shape[-1]
    root = (filters * weights.sqrt()[:, None, None])[None]
    lags = conv2d(pad(root, (size - 1,) * 4), root)[0, 0]
    place = torch.arange(1 - size, size, device=filters.device)
    rows, columns = place % shape[0], place % shape[1]
    kernel = filters.new_zeros(shape[0] * shape[1])
    flat = (rows[:, None] * shape[1] + columns).flatten()
    kernel = kernel.index_add(0, flat, lags.flatten()).reshape(shape)
    return torch.fft.fft2(kernel).real.clamp_min(0)
