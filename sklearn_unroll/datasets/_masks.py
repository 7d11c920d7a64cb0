"""Which entries of a picture's Fourier transform are sampled."""

from __future__ import annotations

import math
from numbers import Integral, Real

import numpy as np
from numpy.random import RandomState
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params

__all__ = ["cartesian_mask", "radial_mask"]

_COMMON = {
    "shape": [tuple, list],
    "fraction": [Interval(Real, 0, 1, closed="right")],
}


@validate_params(
    {
        **_COMMON,
        "center": [Interval(Real, 0, 1, closed="both")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def cartesian_mask(
    shape: tuple[int, int],
    fraction: float,
    *,
    center: float = 0.08,
    random_state: int | RandomState | None = None,
) -> np.ndarray:
    """Return a mask of whole rows of Fourier space, as a Cartesian scan takes them.

    The lowest frequencies are sampled all, others at random, the less likely the higher they
    are: in proportion to ``(1 - |k| / k_max) ** 2``. Rows come in pairs k and -k, at which the
    transform of a real picture is the same up to conjugation, so that the fraction is the share of
    what there is to know of a real picture too.

    Parameters
    ----------
    shape : tuple of (int, int)
        Height and width of the picture.
    fraction : float
        Share of the entries to sample, in (0, 1]. It is met to one row, ``1 / height``.
    center : float, default=0.08
        Share of the rows that are sampled around the zero frequency in any case, as far as
        ``fraction`` goes.
    random_state : int, RandomState instance or None, default=None
        Seed or generator for the other rows.

    Returns
    -------
    ndarray of shape (height, width)
        Boolean, uncentred: the zero frequency, always sampled, is at ``[0, 0]``, as in
        :func:`numpy.fft.fft2`. Look at it through :func:`numpy.fft.fftshift`.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    See Also
    --------
    radial_mask : Lines through the zero frequency.

    Examples
    --------
    >>> from sklearn_unroll.datasets import cartesian_mask
    >>> mask = cartesian_mask((64, 64), 0.3, random_state=0)
    >>> mask.shape, float(mask.mean())
    ((64, 64), 0.296875)
    """
    height, width = _check_shape(shape)
    rng = check_random_state(random_state)
    highest = (height - 1) // 2  # k = height / 2, if there is one, is its own partner
    n_pairs = min(max(round((fraction * height - 1) / 2), 0), highest)
    n_lowest = min(n_pairs, int(center * height / 2))
    rest = np.arange(n_lowest + 1, highest + 1)
    density = (1 - (rest - 1) / max(highest, 1)) ** 2
    chosen = rest[:0]
    if n_pairs > n_lowest:
        chosen = rng.choice(rest, n_pairs - n_lowest, replace=False, p=density / density.sum())
    rows = np.concatenate([np.arange(n_lowest + 1), chosen])
    mask = np.zeros((height, width), dtype=bool)
    mask[rows] = mask[-rows] = True
    if round(fraction * height) == height:
        mask[:] = True
    return mask


@validate_params(_COMMON, prefer_skip_nested_validation=True)
def radial_mask(shape: tuple[int, int], fraction: float) -> np.ndarray:
    """Return a mask of lines through the zero frequency at equal angles, on the grid.

    As many lines as it takes; what is too much is left out where frequencies are highest. With
    an entry at k the one at -k is sampled too.

    Parameters
    ----------
    shape : tuple of (int, int)
        Height and width of the picture.
    fraction : float
        Share of the entries to sample, in (0, 1]. It is met to two entries.

    Returns
    -------
    ndarray of shape (height, width)
        Boolean, uncentred: the zero frequency, always sampled, is at ``[0, 0]``, as in
        :func:`numpy.fft.fft2`. Look at it through :func:`numpy.fft.fftshift`.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    See Also
    --------
    cartesian_mask : Whole rows at random.

    Examples
    --------
    >>> from sklearn_unroll.datasets import radial_mask
    >>> mask = radial_mask((64, 64), 0.3)
    >>> mask.shape, round(float(mask.mean()), 3)
    ((64, 64), 0.3)
    """
    height, width = _check_shape(shape)
    wanted = max(1, round(fraction * height * width))
    few, enough = 0, 8 * max(height, width)  # lines; so many fill the grid but for its corners
    while enough - few > 1:
        middle = (few + enough) // 2
        if _lines(height, width, middle).sum() < wanted:
            few = middle
        else:
            enough = middle
    mask = _lines(height, width, enough)
    if mask.sum() < wanted:
        mask[:] = True
    frequency = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, (height, width)), indexing="ij"))
    while mask.sum() > wanted:
        row, column = np.unravel_index(np.argmax(np.where(mask, frequency, -1)), mask.shape)
        mask[row, column] = mask[-row, -column] = False
    mask[0, 0] = True
    return mask


def _lines(height: int, width: int, n_lines: int) -> np.ndarray:
    mask = np.zeros((height, width), dtype=bool)
    # In cycles per pixel, so that lines reach the corners of pictures that are no squares.
    radius = np.linspace(0, math.sqrt(0.5), 2 * max(height, width))
    angle = math.pi * np.arange(n_lines)[:, None] / n_lines
    rows = np.rint(radius * np.sin(angle) * height).astype(int)
    columns = np.rint(radius * np.cos(angle) * width).astype(int)
    inside = (abs(rows) <= height // 2) & (abs(columns) <= width // 2)
    rows, columns = rows[inside], columns[inside]
    mask[rows % height, columns % width] = mask[-rows % height, -columns % width] = True
    return mask


def _check_shape(shape: tuple[int, int]) -> tuple[int, int]:
    if len(shape) != 2 or not all(isinstance(side, Integral) and side >= 1 for side in shape):
        raise ValueError(f"shape must be two positive integers (height, width); got {shape}.")
    return int(shape[0]), int(shape[1])
