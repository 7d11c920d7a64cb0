"""Inpainting of pictures by GLOW-Prox, in scikit-learn's conventions of an imputer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.base import OneToOneFeatureMixin, TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions

from sklearn_unroll.estimators._arrays import from_tensor, to_tensor
from sklearn_unroll.estimators._inpainting import Pictures, padded_shape
from sklearn_unroll.estimators._learned import Learned
from sklearn_unroll.estimators._pictures import MASKS, check_image_shape
from sklearn_unroll.estimators._start import FEW, MANY, budget
from sklearn_unroll.estimators._state import Given, as_fitted
from sklearn_unroll.nn import Unrolled, calibrate_flows, glow_prox
from sklearn_unroll.nn.glow_prox import X0S
from sklearn_unroll.training import Trainer

__all__ = ["GlowProxInpainter"]

# Pictures on which the flows are calibrated.
N_CALIBRATION = 256
# Of the recipe: entries in a minibatch, and minibatches in a training.
ENTRIES, UPDATES = 16_384, 1000


class GlowProxInpainter(OneToOneFeatureMixin, TransformerMixin, Learned):
    """Complete pictures by a learned, unrolled proximal-gradient method.

    Each layer takes a gradient step towards the visible pixels, maps the picture to the latents of
    an invertible network, shrinks the coarsest one, and maps back [1]_ [2]_. ``fit`` learns from
    complete pictures, of which it hides pixels; ``transform`` fills in those that are NaN.

    Parameters
    ----------
    image_shape : tuple of (int, int) or (int, int, int), default=None
        Height and width of the pictures in rows of X, and number of channels, which are the
        fastest axis; None for square pictures in grey, or one line of pixels where the number
        of features is no square. Inside, sides are padded to multiples of ``2 ** n_levels``.
    mask : {"random", "square"} or callable, default="random"
        What ``fit`` hides of each picture: pixels at random, a part in the centre in the
        shape of the picture, or what ``mask(image_shape, rng)`` returns, a boolean array of shape
        (height, width) or ``image_shape``, True where a pixel is missing; rng is a numpy
        RandomState.
    fraction : float, default=0.5
        Share of the pixels that ``"random"`` and ``"square"`` hide.
    n_layers : int, default=3
        Number of layers; 5 in [2]_.
    n_levels : int, default=2
        Levels of each invertible network, the last of which holds the latent that is shrunk;
        4 in [2]_, for 64 by 64 pixels.
    n_steps : int, default=2
        Flow steps of each level; 18 in [2]_.
    n_hidden : int, default=16
        Hidden channels in each step; 512 in [2]_.
    shrinkage : float, default=0.1
        First shrinkage of each layer; learned.
    x0 : {"biharmonic", "harmonic", "flat"}, default="biharmonic"
        First iterate: the visible pixels, continued smoothly, or grey everywhere. Layers lower
        ``||A^T (A x - b)||``, as ``Descent("gradient")`` wants, only from ``"flat"``: the others
        agree with the visible pixels from the first.
    trainer : Trainer, default=None
        How to train; None takes about 1000 minibatches of 16,384 entries.
    %(warm_start)s
    %(device)s
    %(random_state)s

    Attributes
    ----------
    %(network_)s
    image_shape_ : tuple of int
        Height and width, and number of channels if given.
    data_range_ : tuple of (float, float)
        Darkest and brightest pixel of fit: pictures may be in any units, always the same.
    %(training_)s
    %(features_)s

    See Also
    --------
    sklearn.impute.SimpleImputer : Fills in means, for data of any kind.
    sklearn_unroll.functional.smooth_fill : The first iterate alone, which needs no training.

    Notes
    -----
    Needs normflows: ``pip install sklearn-unroll[flows]``. The network computes in the dtype of
    the fit; float32 is about twice as fast as float64. Of new pictures other shares and
    shapes may be missing than in ``fit``, but it has learned from those.

    Trained for some minutes on a CPU it is about as good as its biharmonic start, in the mean over
    all pixels; tiles that are very smooth may come out worse than they started. Look at
    ``staged_transform`` beside :func:`~sklearn_unroll.functional.smooth_fill`, the start.

    References
    ----------
    .. [1] Wei, X., van Gorp, H., Gonzalez-Carabarin, L., Freedman, D., Eldar, Y. C. and
       van Sloun, R. J. G., "Deep unfolding with normalizing flow priors for inverse problems",
       IEEE Transactions on Signal Processing 70, 2022.
    .. [2] Hadou, S., NaderiAlizadeh, N. and Ribeiro, A., "Robust stochastically-descending
       unrolled networks", IEEE Transactions on Signal Processing 72, 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_unroll import GlowProxInpainter, Trainer
    >>> from sklearn_unroll.datasets import load_image_patches
    >>> data = load_image_patches(patch_size=(8, 8), n_patches=60, center=False, random_state=0)
    >>> inpainter = GlowProxInpainter(
    ...     (8, 8), n_layers=2, n_hidden=4, trainer=Trainer(max_epochs=2), random_state=0
    ... )
    >>> holes = data.X.copy()
    >>> holes[:, ::3] = np.nan
    >>> filled = inpainter.fit(data.X).transform(holes)
    >>> bool(np.isfinite(filled).all() and (filled == data.X)[~np.isnan(holes)].all())
    True
    """

    task = Pictures()
    _parameter_constraints: ClassVar[dict] = {
        **Learned._parameter_constraints,
        "image_shape": [tuple, list, None],
        "mask": [StrOptions(set(MASKS)), callable],
        "fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "n_levels": [Interval(Integral, 1, None, closed="left")],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "n_hidden": [Interval(Integral, 1, None, closed="left")],
        "shrinkage": [Interval(Real, 0, None, closed="left")],
        "x0": [StrOptions(set(X0S))],
    }

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        mask: str | Callable = "random",
        fraction: float = 0.5,
        n_layers: int = 3,
        n_levels: int = 2,
        n_steps: int = 2,
        n_hidden: int = 16,
        shrinkage: float = 0.1,
        x0: str = "biharmonic",
        trainer: Trainer | None = None,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        random_state: Any = None,
    ) -> None:
        self.image_shape = image_shape
        self.mask = mask
        self.fraction = fraction
        self.n_layers = n_layers
        self.n_levels = n_levels
        self.n_steps = n_steps
        self.n_hidden = n_hidden
        self.shrinkage = shrinkage
        self.x0 = x0
        self.trainer = trainer
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, mask: Any = None) -> GlowProxInpainter:
        """Learn to complete pictures from complete ones.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Flattened pictures. Rows with NaN are left out: nothing can
            be learned from what is not known.
        y : None
            Ignored.
        mask : array-like of shape (n_samples, n_features), (n_samples, height, width) or \
                (n_samples, height, width, n_channels), default=None
            What to hide of each picture, True where a pixel is missing; None does as the
            parameter of the same name says.

        Returns
        -------
        %(fitted)s

        Raises
        ------
        ImportError
            If normflows is not installed.
        %(fit_errors)s
        """
        return self.learn(X, mask=mask)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None, mask: Any = None) -> GlowProxInpainter:
        """Take one pass over a batch of a stream of complete pictures.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Flattened pictures, in the units of the first batch.
        y : None
            Ignored.
        mask : array-like of shape (n_samples, n_features), (n_samples, height, width) or \
                (n_samples, height, width, n_channels), default=None
            What to hide of each picture, as in ``fit``.

        Returns
        -------
        %(fitted)s

        Raises
        ------
        %(fit_errors)s
        """
        return self.learn_more(X, mask=mask)

    @as_fitted
    def transform(self, X: Any) -> Any:
        """Fill in the missing pixels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Flattened pictures in the units of those of fit, NaN where a pixel is missing.

        Returns
        -------
        array of shape (n_samples, n_features)
            Complete pictures. What was visible is as it was, to the last bit.
        """
        *_, filled = self._stages(X, "transform")
        return filled

    @as_fitted
    def staged_transform(self, X: Any) -> Iterator[Any]:
        """Yield the pictures completed by every layer; the last ones are those of ``transform``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            As for ``transform``.

        Yields
        ------
        array of shape (n_samples, n_features)
            Complete pictures after layer 1, 2, ...
        """
        yield from self._stages(X, "staged_transform")

    def build_network(self, given: Given) -> Unrolled:
        """Assemble GLOW-Prox, its flows calibrated on the first pictures."""
        network = glow_prox(
            padded_shape(given.fitted["image_shape_"], self.n_levels),
            n_layers=self.n_layers,
            n_levels=self.n_levels,
            n_steps=self.n_steps,
            n_hidden=self.n_hidden,
            shrinkage=self.shrinkage,
            x0=self.x0,
            generator=given.generator,
            like=given.obs.b,
        )
        calibrate_flows(network, given.obs.take(slice(0, N_CALIBRATION)))
        return network

    def _validate_params(self) -> None:
        super()._validate_params()
        check_image_shape(self.image_shape)

    def default_trainer(self, n_samples: int, has_y: bool) -> Trainer:
        """Return the recipe: about 1000 minibatches of 16,384 entries."""
        # Without a shape nothing is known of the pictures before the fit; tiles are small.
        n_features = 256 if self.image_shape is None else math.prod(self.image_shape)
        batch = min(max(ENTRIES // max(n_features, 1), 4), 256)
        most = 2 if n_samples < FEW else 10 if n_samples < MANY else 100
        return Trainer(learning_rate=3e-3, **budget(n_samples, UPDATES, batch=batch, most=most))

    def _stages(self, X: Any, method: str) -> Iterator[Any]:
        seen, network = self.task.see(self, X, method), self.network_
        pixels = to_tensor(seen.X, dtype=None, device=seen.obs.b.device)
        missing = pixels.isnan()
        rows = missing.any(1)
        obs = seen.units.inside(seen.obs.take(rows))
        streams = [network.stream(chunk) for _, chunk in obs.chunks()]
        for number in range(network.depth + 1):
            parts = [next(stream) for stream in streams]
            if number == 0:
                continue
            filled = pixels.clone()
            if parts:
                found = seen.units.leave(torch.cat(parts)).to(pixels.dtype)
                filled[rows] = torch.where(missing[rows], found, pixels[rows])
            yield from_tensor(filled, seen.X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
