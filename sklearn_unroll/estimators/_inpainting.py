"""The task of completing pictures: rows with holes in, whole rows out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sklearn_unroll.estimators._arrays import resolve_device, to_tensor
from sklearn_unroll.estimators._checked import (
    check_magnitude,
    check_numbers,
    check_observations,
    to_computed,
)
from sklearn_unroll.estimators._judge import compared, judge_trained
from sklearn_unroll.estimators._pictures import (
    check_seen,
    draw_missing,
    given_missing,
    resolve_image_shape,
)
from sklearn_unroll.estimators._shell import Seen, Task, stated
from sklearn_unroll.estimators._state import Given
from sklearn_unroll.functional import Box, Composite, LeastSquares, Mask, Observation
from sklearn_unroll.nn import Unrolled
from sklearn_unroll.training import Descent, History, Trainer

# Kinds of descent towards the data.
OF_DATA = ("gradient", "objective")
# How far beyond the range of fit pixels may lie, in units of that range.
BEYOND = 0.5
_LOOK_AT = 64  # pictures of the fit


class Frame(NamedTuple):
    """Between pictures and the network, which has unit scale and sides that it can halve.

    Parameters
    ----------
    low, width : float
        Darkest pixel, and the range of pixels above it.
    source : Tensor of shape (n_padded,)
        For every pixel of the padded picture, that which it repeats.
    own : Tensor of shape (n_padded,)
        Whether it is one of the picture.
    """

    low: float
    width: float
    source: Tensor
    own: Tensor

    def inside(self, obs: Observation) -> Observation:
        """Return pictures in unit scale, with a rim of missing pixels."""
        visible = obs.A.visible[:, self.source] & self.own
        b = (obs.b[:, self.source] - self.low) / self.width
        return Observation(torch.where(visible, b, 0.0), Mask(visible))

    def enter(self, pixels: Tensor) -> Tensor:
        """Return complete pictures in unit scale, padded."""
        return (pixels[:, self.source] - self.low) / self.width

    def leave(self, pixels: Tensor) -> Tensor:
        """Return pictures of the network as those of the user."""
        return self.low + self.width * pixels[:, self.own].clamp(0, 1)


@dataclass(frozen=True)
class Pictures(Task):
    """``min 0.5 ||M x - b||^2`` over complete pictures x, of which M shows some pixels."""

    def prepare(self, est: Any, trainer: Trainer, y: Any, metadata: dict) -> tuple[Trainer, bool]:
        """Return how to train; the target is the picture itself, and y is ignored."""
        objective = trainer.resolve_objective(True, 0.0)
        if not objective.requires_y:
            raise ValueError(
                f"{type(est).__name__} learns from complete pictures, but the objective "
                f"{type(objective).__name__} of its trainer does not use them. Use one that does, "
                f"such as Trainer('supervised')."
            )
        for constraint in trainer.resolve_constraints(True, 0.0):
            of_data = isinstance(constraint, Descent) and constraint.kind in OF_DATA
            if of_data and est.x0 != "flat":
                raise ValueError(
                    f"x0={est.x0!r} agrees with the visible pixels, so that no layer can "
                    f"lower the {constraint.kind} of ||A x - b||^2 any further. Use "
                    f"x0='flat', or Descent('distance')."
                )
        return trainer, False

    def take_in(
        self,
        est: Any,
        X: Any,
        y: Any,
        sample_weight: Any,
        mask: Any = None,
        *,
        trainer: Trainer,
        generator: torch.Generator,
        reset: bool = True,
        keep: bool = False,
    ) -> Given:
        """Hide pixels of complete pictures; rows that are not complete are left out."""
        X, pixels = _validated(est, X, reset)
        shape = resolve_image_shape(est.image_shape, est.n_features_in_)
        complete = ~pixels.isnan().any(1)
        if not bool(complete.any()):
            raise ValueError(
                "Every row of X has missing values: fit learns from complete pictures, of "
                "which it hides pixels itself. Give some."
            )
        rng = check_random_state(generator.initial_seed())
        if mask is None:
            missing = draw_missing(est.mask, est.fraction, len(pixels), shape, rng)
        else:
            missing = given_missing(mask, len(pixels), shape)
        pixels = pixels[complete]
        missing = torch.from_numpy(missing).to(pixels.device)[complete]
        check_seen(missing)
        limits = est.data_range_ if keep else (float(pixels.min()), float(pixels.max()))
        check_magnitude(pixels.new_tensor(limits), "X")
        check_range(pixels, limits)
        frame = make_frame(shape, limits, est.n_levels, pixels.device)
        obs = frame.inside(_observed(pixels, missing))
        fitted = {"image_shape_": shape, "data_range_": limits, "n_levels_": est.n_levels}
        return Given(X, None, obs, frame.enter(pixels), None, generator, keep, fitted)

    def state(self, est: Any, network: Unrolled, given: Given) -> dict:
        """Return nothing: all is in the network."""
        return {}

    @torch.no_grad()
    def judge(self, est: Any, network: Unrolled, given: Given, history: History | None) -> None:
        """Compare what was filled in with the mean of the pixels that are visible."""
        obs, wanted = given.obs.take(slice(_LOOK_AT)), given.target[:_LOOK_AT]
        visible = obs.A.visible.to(wanted)
        mean = (visible * obs.b).sum(1, keepdim=True) / visible.sum(1, keepdim=True)
        found = torch.cat([network(chunk) for _, chunk in obs.chunks()]).clamp(0, 1)
        filled, free = (
            float(((1 - visible) * (x - wanted).square()).double().sum()) for x in (found, mean)
        )
        said = compared("the squared error of missing pixels", filled, "each picture's mean", free)
        instead = "a mean or a biharmonic filling needs no training"
        judge_trained(est, said, history, instead)

    def alpha(self, est: Any) -> float:
        """Return zero: the penalty is learned."""
        return 0.0

    def see(self, est: Any, X: Any, method: str, dtype: Any = None) -> Seen:
        """Validate pictures with holes for a fitted estimator."""
        check_is_fitted(est)
        X, pixels = _validated(est, X, False)
        missing = pixels.isnan()
        check_seen(missing)
        check_range(pixels[~missing], est.data_range_)
        like = est.compute_like(X)
        frame = make_frame(est.image_shape_, est.data_range_, est.n_levels_, pixels.device)
        pixels = pixels.to(like.dtype if dtype is None else dtype)
        return Seen(X, _observed(pixels, missing), frame)

    def see_codes(self, est: Any, y: Any, seen: Seen) -> Tensor:
        """Return the complete pictures that belong to those with holes."""
        pixels = to_computed(check_numbers(y, "y"), seen.obs.b, "y")
        if pixels.shape != seen.obs.b.shape:
            raise ValueError(
                f"y must hold the complete pictures of X, of shape {tuple(seen.obs.b.shape)}; got "
                f"{tuple(pixels.shape)}."
            )
        return seen.units.enter(pixels)

    def problem(self, est: Any, seen: Seen, alpha: Any = None) -> Composite:
        """Return the fit to the visible pixels, within the range of pixels."""
        if alpha is not None:
            raise ValueError(
                f"{type(est).__name__} takes no alpha, got {alpha!r}: its penalty is learned."
            )
        return stated(seen.obs, LeastSquares(), Box(*est.data_range_))


def make_frame(
    shape: tuple[int, ...], limits: tuple[float, float], n_levels: int, device: torch.device
) -> Frame:
    """Return the frame of pictures, padded by their edge to multiples of ``2 ** n_levels``."""
    unit = 2**n_levels
    pad = [(0, -side % unit) for side in shape[:2]] + [(0, 0)] * (len(shape) - 2)
    pixels = np.arange(np.prod(shape)).reshape(shape)
    source = torch.from_numpy(np.pad(pixels, pad, mode="edge").ravel())
    own = torch.from_numpy(np.pad(np.ones(shape, dtype=bool), pad).ravel())
    low, high = limits
    return Frame(low, (high - low) or 1.0, source.to(device), own.to(device))


def padded_shape(shape: tuple[int, ...], n_levels: int) -> tuple[int, ...]:
    """Return the shape of pictures as the network sees them."""
    unit = 2**n_levels
    return (*(side + -side % unit for side in shape[:2]), *shape[2:])


def check_range(pixels: Tensor, limits: tuple[float, float]) -> None:
    """Raise for pixels that are far from the range of the fit: they are in other units."""
    low, high = limits
    far = BEYOND * ((high - low) or 1.0)
    if pixels.numel() and not bool(((pixels >= low - far) & (pixels <= high + far)).all()):
        raise ValueError(
            f"X has pixels from {float(pixels.min())!r} to {float(pixels.max())!r}, but those of "
            f"fit were from {low!r} to {high!r}. Give pictures in the same units."
        )


def _validated(est: Any, X: Any, reset: bool) -> tuple[Any, Tensor]:
    """Return pictures as they came, and as a tensor on the device."""
    X = check_observations(est, X, reset=reset, missing=True)
    return X, to_tensor(X, dtype=None, device=resolve_device(est.device, X))


def _observed(pixels: Tensor, missing: Tensor) -> Observation:
    return Observation(torch.where(missing, 0, pixels), Mask(~missing))
