"""Inpainting of pictures by GLOW-Prox, in scikit-learn's conventions of an imputer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, _fit_context
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from sklearn_unroll.estimators._pictures import (
    MASKS,
    check_range,
    check_seen,
    draw_missing,
    given_missing,
    resolve_image_shape,
)
from sklearn_unroll.estimators._progress import CallbackReport
from sklearn_unroll.estimators._state import all_or_nothing, any_tensor
from sklearn_unroll.estimators._validation import (
    float_dtypes,
    from_tensor,
    refuse_complex,
    resolve_device,
    to_tensor,
)
from sklearn_unroll.functional import Mask, Observation
from sklearn_unroll.nn import Unrolled, calibrate_flows, glow_prox
from sklearn_unroll.nn.glow_prox import X0S
from sklearn_unroll.training import Descent, Trainer

__all__ = ["GlowProxInpainter"]

# Pictures on which the flows are calibrated.
N_CALIBRATION = 256
# Of the recipe: entries in a minibatch, and minibatches in a training.
ENTRIES, UPDATES = 16_384, 1000
# Kinds of descent towards the data.
OF_DATA = ("gradient", "objective")


class GlowProxInpainter(
    CallbackSupportMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator
):
    """Complete pictures by a learned, unrolled proximal-gradient method.

    Each layer takes a gradient step towards the visible pixels, maps the picture to the latents of
    an invertible network, shrinks the coarsest one, and maps back [1]_ [2]_. ``fit`` learns from
    complete pictures, of which it hides pixels; ``transform`` fills in those that are NaN.

    Parameters
    ----------
    image_shape : tuple of (int, int) or (int, int, int), default=None
        Height and width of the pictures in rows of X, and number of channels, which are the
        fastest axis; None for square pictures in grey. Height and width must be multiples of
        ``2 ** n_levels``.
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
    device : str or torch.device, default="auto"
        Where to compute, see :class:`~sklearn_unroll.LISTARegressor`.
    random_state : int, RandomState instance or None, default=None
        Seed of masks, first weights, shuffles and the validation split.

    Attributes
    ----------
    network_ : Unrolled
        The trained network.
    image_shape_ : tuple of int
        Height and width, and number of channels if given.
    history_ : History
        Losses, rates and times in seconds of the fit.
    n_epochs_ : int
        Epochs trained.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where X had names.

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
    ``staged_transform``, whose first pictures are the start.

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

    _parameter_constraints: ClassVar[dict] = {
        "image_shape": [tuple, list, None],
        "mask": [StrOptions(set(MASKS)), callable],
        "fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "n_levels": [Interval(Integral, 1, None, closed="left")],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "n_hidden": [Interval(Integral, 1, None, closed="left")],
        "shrinkage": [Interval(Real, 0, None, closed="left")],
        "x0": [StrOptions(set(X0S))],
        "trainer": [Trainer, None],
        "device": [str, torch.device],
        "random_state": ["random_state"],
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
        self.device = device
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, mask: Any = None) -> GlowProxInpainter:
        """Learn to complete pictures from complete ones.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Flattened pictures with values from 0 to 1. Rows with NaN are left out: nothing can
            be learned from what is not known.
        y : None
            Ignored.
        mask : array-like of shape (n_samples, n_features), (n_samples, height, width) or \
                (n_samples, height, width, n_channels), default=None
            What to hide of each picture, True where a pixel is missing; None does as the
            parameter of the same name says.

        Returns
        -------
        self : estimator
            The fitted estimator.

        Raises
        ------
        ImportError
            If normflows is not installed.
        ValueError
            If an input or a parameter is not valid.
        DivergenceError
            If the training loss becomes infinite or NaN; the estimator is left as it was.
        """
        with all_or_nothing(self), torch.enable_grad():
            X, pixels = self._check(X, reset=True)
            self.image_shape_ = resolve_image_shape(self.image_shape, self.n_features_in_)
            complete = ~pixels.isnan().any(1)
            if not bool(complete.any()):
                raise ValueError(
                    "Every row of X has missing values: fit learns from complete pictures, of "
                    "which it hides pixels itself. Give some."
                )
            rng = check_random_state(self.random_state)
            missing = self._hide(mask, len(pixels), rng)
            pixels = pixels[complete]
            missing = torch.from_numpy(missing).to(pixels.device)[complete]
            check_seen(missing)
            obs = _observe(pixels, missing)
            trainer = self._resolve_trainer(len(pixels))
            generator = torch.Generator(pixels.device).manual_seed(int(rng.randint(2**31)))
            network = self._build_network(obs, generator)

            def state() -> dict:
                return {"network_": deepcopy(network).eval(), "image_shape_": self.image_shape_}

            n_stages = len(trainer.stages(network))
            report = CallbackReport(
                self, n_stages, trainer.max_epochs, X, None, {"mask": mask}, state
            )
            self.history_ = trainer.run(
                network, obs, pixels, alpha=0.0, generator=generator, report=report
            )
            report.fit_ends()
            self.network_ = network.eval()
            self.n_epochs_ = self.history_.n_epochs
        return self

    def transform(self, X: Any) -> Any:
        """Fill in the missing pixels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Flattened pictures with values from 0 to 1, NaN where a pixel is missing.

        Returns
        -------
        array of shape (n_samples, n_features)
            Complete pictures. What was visible is as it was, to the last bit.
        """
        *_, filled = self._stages(X)
        return filled

    def staged_transform(self, X: Any) -> Iterator[Any]:
        """Yield the pictures completed by the start and after every layer.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            As for ``transform``.

        Yields
        ------
        array of shape (n_samples, n_features)
            Complete pictures, ``n_layers + 1`` times; the last ones are those of ``transform``.
        """
        yield from self._stages(X)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __getstate__(self) -> dict:
        # A fit made on a GPU must load where there is none.
        state = super().__getstate__().copy()
        if "network_" in state and any_tensor(state["network_"]).device.type != "cpu":
            state["network_"] = deepcopy(state["network_"]).cpu()
        return state

    def _check(self, X: Any, *, reset: bool) -> tuple[Any, Tensor]:
        """Return validated pictures, as they came and as a tensor on the device."""
        refuse_complex(X, "X")
        X = validate_data(
            self, X, reset=reset, dtype=float_dtypes(X), ensure_all_finite="allow-nan"
        )
        pixels = to_tensor(X, dtype=None, device=resolve_device(self.device, X))
        check_range(pixels)
        return X, pixels

    def _hide(self, mask: Any, n_pictures: int, rng: Any) -> Any:
        if mask is not None:
            return given_missing(mask, n_pictures, self.image_shape_)
        return draw_missing(self.mask, self.fraction, n_pictures, self.image_shape_, rng)

    def _resolve_trainer(self, n_samples: int) -> Trainer:
        trainer = self.trainer
        if trainer is None:
            batch = min(max(ENTRIES // self.n_features_in_, 4), 256)
            epochs = min(max(math.ceil(UPDATES * batch / n_samples), 5), 100)
            return Trainer(learning_rate=3e-3, max_epochs=epochs, batch_size=batch)
        trainer._validate_params()
        objective = trainer.resolve_objective(True, 0.0)
        if not objective.requires_y:
            raise ValueError(
                f"GlowProxInpainter learns from complete pictures, but the objective "
                f"{type(objective).__name__} of its trainer does not use them. Use one that does, "
                f"such as Trainer('supervised')."
            )
        for constraint in trainer.resolve_constraints(True, 0.0):
            of_data = isinstance(constraint, Descent) and constraint.kind in OF_DATA
            if of_data and self.x0 != "flat":
                raise ValueError(
                    f"x0={self.x0!r} agrees with the visible pixels, so that no layer can "
                    f"lower the {constraint.kind} of ||A x - b||^2 any further. Use "
                    f"x0='flat', or Descent('distance')."
                )
        return trainer

    def _build_network(self, obs: Observation, generator: torch.Generator) -> Unrolled:
        network = glow_prox(
            self.image_shape_,
            n_layers=self.n_layers,
            n_levels=self.n_levels,
            n_steps=self.n_steps,
            n_hidden=self.n_hidden,
            shrinkage=self.shrinkage,
            x0=self.x0,
            generator=generator,
            like=obs.b,
        )
        calibrate_flows(network, obs.take(slice(0, N_CALIBRATION)))
        return network

    @torch.no_grad()
    def _stages(self, X: Any) -> Iterator[Any]:
        check_is_fitted(self)
        X, pixels = self._check(X, reset=False)
        missing = pixels.isnan()
        check_seen(missing)
        self.network_.to(pixels.device)
        rows = missing.any(1)
        obs = _observe(pixels[rows].to(any_tensor(self.network_).dtype), missing[rows])
        streams = [self.network_.stream(chunk) for _, chunk in obs.chunks()]
        for parts in zip(*streams, strict=True) if streams else [()] * (self.n_layers + 1):
            filled = pixels.clone()
            if parts:
                found = torch.cat(parts).clamp_(0, 1).to(pixels.dtype)
                filled[rows] = torch.where(missing[rows], found, pixels[rows])
            yield from_tensor(filled, X)


def _observe(pixels: Tensor, missing: Tensor) -> Observation:
    return Observation(torch.where(missing, 0, pixels), Mask(~missing))
