"""What a coordinate-wise network sees of a problem; without gradients, as published."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.functional import Composite

__all__ = ["FEATURES", "Progress"]

DECADES = 4.0  # of progress that count as one
FLOOR = 1e-16  # of progress; smaller steps are rounding errors


class Progress(NamedTuple):
    """What the features need of past steps; columns are per sample.

    Parameters
    ----------
    move : Tensor of shape (n_samples, n_components)
        The last step ``x_k - x_{k-1}``.
    y, gradient : Tensor of shape (n_samples, n_components)
        The last extrapolated point, and the gradient there.
    scale : Tensor of shape (n_samples, 1)
        Size of the gradient at zero; where that is zero, of what the iteration starts with.
    turn : Tensor of shape (n_samples, 1)
        Cosine between the last gradient step and the last move: positive is uphill.
    curvature : Tensor of shape (n_samples, 1)
        Curvature along the last change of y, relative to L.
    """

    move: Tensor
    y: Tensor
    gradient: Tensor
    scale: Tensor
    turn: Tensor
    curvature: Tensor

    def after(self, state: Any, new: Tensor, move: Tensor, gradient: Tensor) -> Progress:
        """Return it after a step from ``state.y`` to ``new``."""
        with torch.no_grad():
            move, y = move.detach(), state.y.detach()
            back = y - new
            sizes = back.norm(dim=1, keepdim=True) * move.norm(dim=1, keepdim=True)
            turn = (back * move).sum(1, keepdim=True) / sizes.clamp_min(_tiny(sizes))
        return self._replace(move=move, y=y, gradient=gradient.detach(), turn=turn)


def _tiny(x: Tensor) -> float:
    return torch.finfo(x.dtype).tiny


def _size(x: Tensor) -> Tensor:
    return x.abs().amax(1, keepdim=True)


@torch.no_grad()
def first_progress(x: Tensor, obs: Composite) -> Progress:
    """Return what is known before the first step."""
    g = obs.gradient(x)
    # At zero, not at the start: how large the data are, wherever the iteration begins.
    scale = _size(g if obs.x0 is None else obs.gradient(torch.zeros_like(x)))
    scale = torch.where(scale > 0, scale, torch.maximum(_size(g), _size(x) / obs.step))
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    none = torch.zeros_like(scale)
    return Progress(torch.zeros_like(x), x, g, scale, none, none + 1)


class _Features(NamedTuple):
    """A number of features and what computes them."""

    count: int
    compute: Callable[..., tuple[Tensor, Progress, Tensor]]

    def __call__(self, state: Any, g: Tensor, obs: Composite) -> tuple[Tensor, Progress, Tensor]:
        """Return features of shape (count, n_samples, n_components), progress, unit of biases."""
        with torch.no_grad():
            return self.compute(state, g, obs)


def _raw(state: Any, g: Tensor, obs: Composite) -> tuple[Tensor, Progress, Tensor]:
    """Gradient and point as they are: Liu et al. 2023."""
    return torch.stack([g, state.y]), state.progress, obs.step


def _relative(state: Any, g: Tensor, obs: Composite) -> tuple[Tensor, Progress, Tensor]:
    """Ratios only: they stay the same if data and penalty are rescaled, and near the optimum.

    Gradient and point relative to the gradient at zero; the classical step and the last move,
    each relative to its largest entry; and of the whole sample the last turn, the curvature
    along the last move, and the logarithm of the classical step.
    """
    past, step, y = state.progress, obs.step, state.y
    change = y - past.y
    bend = (change * (g - past.gradient)).sum(1, keepdim=True) * step
    bend = bend / change.square().sum(1, keepdim=True).clamp_min(_tiny(y))
    known = (bend > 0) & torch.isfinite(bend)
    past = past._replace(curvature=torch.where(known, bend, past.curvature))
    classical = y - obs.R.prox(y - step * g, step)
    size = _size(classical)
    ratio = size / (step * past.scale)
    features = y.new_empty(7, *y.shape)
    torch.div(g, past.scale, out=features[0])
    torch.div(y, step * past.scale, out=features[1])
    torch.div(past.move, _size(past.move).clamp_min(_tiny(y)), out=features[2])
    torch.div(classical, size.clamp_min(_tiny(y)), out=features[3])
    features[4] = past.turn
    features[5] = past.curvature
    features[6] = torch.log10(ratio + FLOOR) / DECADES
    return features, past, size


FEATURES = {"relative": _Features(7, _relative), "raw": _Features(2, _raw)}
