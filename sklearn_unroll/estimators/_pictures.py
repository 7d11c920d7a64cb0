"""Pictures in rows, and which of their pixels are missing."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.random import RandomState
from torch import Tensor

from sklearn_unroll.estimators._arrays import to_tensor
from sklearn_unroll.estimators._checked import check_numbers, describe

MASKS = ("random", "square")


def resolve_image_shape(image_shape: Any, n_features: int) -> tuple[int, ...]:
    """Return height, width and perhaps channels of pictures in rows of that many features."""
    if image_shape is None:
        side = math.isqrt(n_features)
        return (side, side) if side * side == n_features else (1, n_features)
    shape = check_image_shape(image_shape)
    if math.prod(shape) != n_features:
        raise ValueError(
            f"image_shape={shape} does not fit X with {n_features} features: it must be "
            f"(height, width) or (height, width, n_channels), with that product. Rows are "
            f"pictures.reshape(n_pictures, -1)."
        )
    return shape


def check_image_shape(image_shape: Any, channels: bool = True) -> tuple[int, ...] | None:
    """Return the shape of pictures as a tuple of integers, or None; raise for anything else."""
    if image_shape is None:
        return None
    shape = tuple(image_shape)
    fits = len(shape) in ((2, 3) if channels else (2,)) and all(
        isinstance(n, Integral) and not isinstance(n, bool) and n > 0 for n in shape
    )
    if not fits:
        or_more = " or (height, width, n_channels)" if channels else ""
        raise ValueError(
            f"image_shape must be (height, width){or_more}, positive integers; got "
            f"{image_shape!r:.100}."
        )
    return tuple(int(n) for n in shape)


def check_seen(missing: Tensor) -> None:
    """Raise for pictures of which no pixel is seen."""
    blank = missing.all(1).nonzero().flatten().tolist()
    if blank:
        raise ValueError(
            f"{len(blank)} picture(s) have no visible pixel, at rows {blank[:5]}"
            f"{'...' if len(blank) > 5 else ''}: there is nothing to complete them from. Leave "
            f"them out."
        )


def draw_missing(
    how: str | Callable,
    fraction: float,
    n_pictures: int,
    image_shape: tuple[int, ...],
    rng: RandomState,
) -> np.ndarray:
    """Return what is missing, of shape (n_pictures, n_features); True where it is."""
    height, width = image_shape[:2]
    if how == "random":
        rank = rng.random_sample((n_pictures, height * width)).argsort(1).argsort(1)
        count = min(max(round(fraction * height * width), 1), height * width - 1)
        missing = (rank < count).reshape(n_pictures, height, width)
    elif how == "square":
        tall, wide = (max(round(math.sqrt(fraction) * side), 1) for side in (height, width))
        top, left = (height - tall) // 2, (width - wide) // 2
        missing = np.zeros((n_pictures, height, width), dtype=bool)
        missing[:, top : top + tall, left : left + wide] = True
    else:
        missing = np.array([_drawn(how, image_shape, rng) for _ in range(n_pictures)])
    return _all_channels(missing, image_shape)


def given_missing(mask: Any, n_pictures: int, image_shape: tuple[int, ...]) -> np.ndarray:
    """Return a user's masks as rows, of shape (n_pictures, n_features)."""
    mask = to_tensor(check_numbers(mask, "mask"), dtype=None, device=torch.device("cpu")).numpy()
    shapes = [
        (n_pictures, math.prod(image_shape)),
        (n_pictures, *image_shape[:2]),
        (n_pictures, *image_shape),
    ]
    if mask.shape not in shapes or not np.isin(mask, (0, 1)).all():
        raise ValueError(
            f"mask must be boolean, True where a pixel is missing, and have one of the shapes "
            f"{sorted(set(shapes))}; got {mask.dtype} of shape {mask.shape}."
        )
    if mask.shape == shapes[0]:
        return mask.astype(bool)
    return _all_channels(mask.astype(bool), image_shape)


def _drawn(how: Callable, image_shape: tuple[int, ...], rng: RandomState) -> np.ndarray:
    try:
        given = how(image_shape, rng)
    except TypeError as error:
        raise TypeError(
            f"A callable mask must take (image_shape, rng); {describe(how)} says: {error}"
        ) from error
    mask = to_tensor(check_numbers(given, "mask"), dtype=None, device=torch.device("cpu")).numpy()
    if mask.shape not in (image_shape, image_shape[:2]) or not np.isin(mask, (0, 1)).all():
        raise ValueError(
            f"A callable mask must return a boolean array of shape {image_shape[:2]} or "
            f"{image_shape}, True where a pixel is missing; got {mask.dtype} of shape "
            f"{mask.shape}."
        )
    return mask.astype(bool)


def _all_channels(missing: np.ndarray, image_shape: tuple[int, ...]) -> np.ndarray:
    """Return masks of pixels, or of their channels, as rows."""
    if missing.ndim == 3 and len(image_shape) == 3:
        missing = np.repeat(missing[..., None], image_shape[2], axis=3)
    return missing.reshape(len(missing), -1)
