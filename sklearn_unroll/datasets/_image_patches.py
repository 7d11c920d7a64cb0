"""Patches of the photographs that scikit-learn ships: real signals without a download."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, DTypeLike
from sklearn.datasets import load_sample_image
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.utils import Bunch, check_array
from sklearn.utils._param_validation import Interval, Options, StrOptions, validate_params

__all__ = ["load_image_patches"]

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601-7: the weights of R, G, B

_SOURCES = {
    "china.jpg": "photograph by danielbuechele, https://www.flickr.com/photos/danielbuechele/, "
    "Creative Commons Attribution 2.0, as shipped by scikit-learn",
    "flower.jpg": "photograph by vultilion, https://www.flickr.com/photos/vultilion/, "
    "Creative Commons Attribution 2.0, as shipped by scikit-learn",
}


def _read_image(image: str | ArrayLike) -> np.ndarray:
    if isinstance(image, str):
        try:
            pixels = load_sample_image(image)
        except ImportError as error:
            raise ImportError(
                f"Reading {image} needs Pillow, which is not installed: "
                "pip install sklearn-unroll[images]"
            ) from error
        return pixels / 255.0
    scale = 255.0 if np.asarray(image).dtype.kind in "iu" else 1.0
    pixels = check_array(
        image, dtype=np.float64, ensure_2d=False, allow_nd=True, input_name="image"
    )
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[2] == 3):
        raise ValueError(
            f"image must have shape (height, width) or (height, width, 3); got {pixels.shape}."
        )
    return pixels / scale


@validate_params(
    {
        "image": [StrOptions(set(_SOURCES)), "array-like"],
        "patch_size": [tuple, list],
        "n_patches": [Interval(Integral, 1, None, closed="left"), None],
        "gray": ["boolean"],
        "center": ["boolean"],
        "dtype": [
            Options(type, {np.float32, np.float64}),
            Options(np.dtype, {np.dtype("float32"), np.dtype("float64")}),
            StrOptions({"float32", "float64"}),
        ],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def load_image_patches(
    image: str | ArrayLike = "china.jpg",
    *,
    patch_size: tuple[int, int] = (8, 8),
    n_patches: int | None = None,
    gray: bool = True,
    center: bool = True,
    dtype: DTypeLike = np.float64,
    random_state: int | RandomState | None = None,
) -> Bunch:
    """Load patches of a photograph as rows: real signals for sparse coding.

    The photographs are those that scikit-learn ships, so nothing is downloaded. Pixels are
    in unit scale: 0 is black and 1 is white, hence ``data_range=1`` in a PSNR.

    Parameters
    ----------
    image : {"china.jpg", "flower.jpg"} or array-like of shape (height, width) or \
            (height, width, 3), default="china.jpg"
        Which photograph (427 by 640 pixels, colour), or an image of your own, such as a
        noisy one: floats are used as they are, integers are divided by 255.
    patch_size : tuple of two int, default=(8, 8)
        Height h and width w of a patch in pixels.
    n_patches : int or None, default=None
        Number of patches, their places drawn uniformly and with replacement. None: all
        overlapping patches, row by row, ``(height - h + 1) * (width - w + 1)`` of them.
    gray : bool, default=True
        Reduce colour to the luma of ITU-R BT.601, ``0.299 R + 0.587 G + 0.114 B``.
    center : bool, default=True
        Subtract from every patch its mean.
    dtype : {np.float64, np.float32}, default=np.float64
        Type of the arrays returned.
    random_state : int, RandomState instance or None, default=None
        Seed or generator for the places; read only if ``n_patches`` is given.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        X : ndarray of shape (n_patches, h * w) or (n_patches, h * w * 3)
            The patches, flattened; colour is the fastest axis.
        means : ndarray of shape (n_patches,)
            What was subtracted: ``X + means[:, None]`` are the pixels. Zero if not centred.
        image : ndarray of shape (height, width) or (height, width, 3)
            The picture the patches were cut from.
        DESCR : str
            Origin and licence of the picture.

    Raises
    ------
    ImportError
        If a photograph is asked for and Pillow is not installed.
    ValueError
        If a parameter is out of range, a patch is larger than the picture, more patches are
        asked for than there are, or an array is no image or not finite.

    See Also
    --------
    make_sparse_recovery : Synthetic signals whose codes are known.
    sklearn.feature_extraction.image.extract_patches_2d : Cuts the patches.
    sklearn.feature_extraction.image.reconstruct_from_patches_2d : Averages all patches back.

    References
    ----------
    Recommendation ITU-R BT.601-7, 2011: the luma.

    Examples
    --------
    >>> from sklearn_unroll.datasets import load_image_patches
    >>> data = load_image_patches(n_patches=500, random_state=0)
    >>> data.X.shape, data.means.shape, data.image.shape
    ((500, 64), (500,), (427, 640))
    >>> bool(abs(data.X.mean(axis=1)).max() < 1e-12)
    True
    """
    if len(patch_size) != 2 or not all(isinstance(p, Integral) and p >= 1 for p in patch_size):
        raise ValueError(
            f"patch_size must be two positive integers (height, width); got {patch_size}."
        )
    pixels = _read_image(image)
    if gray and pixels.ndim == 3:
        pixels = pixels @ _LUMA
    pixels = pixels.astype(dtype)
    height, width = pixels.shape[:2]
    if patch_size[0] > height or patch_size[1] > width:
        raise ValueError(
            f"patch_size={tuple(patch_size)} is larger than the image, which has {height} by "
            f"{width} pixels."
        )
    available = (height - patch_size[0] + 1) * (width - patch_size[1] + 1)
    if n_patches is not None and n_patches > available:
        raise ValueError(
            f"n_patches={n_patches}, but an image of {height} by {width} pixels has only "
            f"{available} patches of size {tuple(patch_size)}; pass None for all of them."
        )
    patches = extract_patches_2d(
        pixels, tuple(patch_size), max_patches=n_patches, random_state=random_state
    )
    X = patches.reshape(len(patches), -1)
    means = X.mean(axis=1) if center else np.zeros(len(X), dtype=dtype)
    # The difference is a new array: for some sizes the patches are a view of the picture.
    X = X - means[:, None]
    source = _SOURCES[image] if isinstance(image, str) else "an array given by the caller"
    descr = (
        f"{len(X)} patches of {patch_size[0]} by {patch_size[1]} pixels, unit scale [0, 1], "
        f"{'each patch mean removed' if center else 'not centred'}.\nSource: {source}."
    )
    return Bunch(X=X, means=means, image=pixels, DESCR=descr)
