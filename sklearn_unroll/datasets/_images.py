"""Pictures like those of magnetic resonance imaging, without a download."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from numpy.random import RandomState
from scipy.ndimage import gaussian_filter
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from sklearn_unroll.datasets._masks import _check_shape

__all__ = ["load_brain_slice", "make_phantoms"]


def load_brain_slice() -> Bunch:
    """Load a slice of a human head as magnetic resonance imaging gave it.

    It is the one that matplotlib ships for its own examples, so nothing is downloaded.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        image : ndarray of shape (256, 256)
            Magnitudes, real, scaled so that the largest is 1.
        DESCR : str
            Origin of the picture.

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> from sklearn_unroll.datasets import load_brain_slice
    >>> image = load_brain_slice().image
    >>> image.shape, float(image.min()), float(image.max())
    ((256, 256), 0.0, 1.0)
    """
    try:
        from matplotlib.cbook import get_sample_data
    except ImportError as error:
        raise ImportError(
            "The slice comes with matplotlib, which is not installed: "
            "pip install sklearn-unroll[plot]"
        ) from error
    with get_sample_data("s1045.ima.gz") as file:
        values = np.frombuffer(file.read(), np.uint16).reshape(256, 256)
    return Bunch(
        image=values / values.max(),
        DESCR="sagittal magnetic resonance image of a head, s1045.ima.gz, as matplotlib ships it",
    )


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "shape": [tuple, list],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_phantoms(
    n_samples: int = 100,
    shape: tuple[int, int] = (128, 128),
    *,
    random_state: int | RandomState | None = None,
) -> np.ndarray:
    """Generate pictures like slices of a head: skin, skull, folded tissue, and ellipses.

    Every picture has a bright ellipse around a dark one around tissue, which is a smooth random
    field passed through a sigmoid, so that it has folds with soft edges, and in it ellipses of
    all sizes, from a pixel to a quarter of the picture.

    Parameters
    ----------
    n_samples : int, default=100
        Number of pictures.
    shape : tuple of (int, int), default=(128, 128)
        Height and width.
    random_state : int, RandomState instance or None, default=None
        Seed or generator.

    Returns
    -------
    ndarray of shape (n_samples, height * width)
        Flattened pictures, values from 0 to 1.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    See Also
    --------
    load_brain_slice : A real one.

    Examples
    --------
    >>> from sklearn_unroll.datasets import make_phantoms
    >>> make_phantoms(5, (32, 32), random_state=0).shape
    (5, 1024)
    """
    height, width = _check_shape(shape)
    rng = check_random_state(random_state)
    return np.stack([_phantom(height, width, rng).ravel() for _ in range(n_samples)])


def _phantom(height: int, width: int, rng: RandomState) -> np.ndarray:
    grid = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    side = min(height, width)

    def ellipse(center: np.ndarray, radii: np.ndarray, angle: float) -> np.ndarray:
        """Return one inside and zero outside, with an edge of about a pixel."""
        y, x = grid[0] - center[0], grid[1] - center[1]
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        distance = (1 - np.hypot(u / radii[1], v / radii[0])) * radii.min() * side / 2
        return 0.5 + 0.5 * np.tanh(np.clip(1.25 * distance, -20, 20))

    def field(scale: float) -> np.ndarray:
        values = gaussian_filter(rng.standard_normal((height, width)), scale * side / 128)
        return values / max(values.std(), 1e-12)

    center, radii, angle = (
        rng.uniform(-0.1, 0.1, 2),
        rng.uniform(0.6, 0.9, 2),
        rng.uniform(0, np.pi),
    )
    head, skull, brain = (ellipse(center, part * radii, angle) for part in (1.0, 0.93, 0.87))
    tissue = rng.uniform(0.3, 0.5) + 0.05 * field(12)
    folds = 0.5 + 0.5 * np.tanh(rng.uniform(1, 4) * field(rng.uniform(1.5, 4)))
    tissue = tissue + rng.uniform(0.1, 0.35) * folds
    image = rng.uniform(0.3, 0.9) * head * (1 - skull) + rng.uniform(0, 0.1) * skull
    image = image * (1 - brain) + tissue * brain
    for _ in range(rng.randint(3, 15)):
        place, angle = rng.uniform(-0.6, 0.6, 2), rng.uniform(0, np.pi)
        inside = ellipse(place, np.exp(rng.uniform(np.log(0.02), np.log(0.25), 2)), angle) * head
        image = image * (1 - inside) + rng.uniform(0, 1) * inside
    return np.clip(image, 0, 1)
