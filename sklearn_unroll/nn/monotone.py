"""A safeguard for learned optimisers: where the objective would rise, the classical step."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.functional import Composite
from sklearn_unroll.nn.base import UnrolledLayer
from sklearn_unroll.nn.math_l2o import L2OLayer

__all__ = ["Monotone", "MonotoneState"]

_ROUNDING = 8.0  # units in the last place by which a value may seem to rise
_PATIENCE = 3  # rises in a row through which the momentum is kept: it may come down again


class MonotoneState(NamedTuple):
    """The state of a safeguarded optimiser.

    Parameters
    ----------
    inner : NamedTuple of Tensor
        The state of the optimiser.
    value : Tensor of shape (n_samples,) or None
        The least objective so far; None where it is that of an iterate from elsewhere.
    rises : Tensor of shape (n_samples,)
        How often in a row the objective would have risen.
    n_fallbacks : Tensor of shape (n_samples,)
        How often the classical step was taken instead.
    """

    inner: Any
    value: Tensor | None
    rises: Tensor
    n_fallbacks: Tensor


class Monotone(UnrolledLayer):
    """The step of a learned optimiser, unless the objective would rise: then the classical one.

    The classical step is ``prox(x - grad f(x) / L)`` from the point before, which never raises
    the objective; a sample for which even that fails, by rounding, stays where it is. So no
    sample diverges, whatever the optimiser has learned and whatever the data are.

    Parameters
    ----------
    layer : L2OLayer
        The optimiser.
    """

    def __init__(self, layer: L2OLayer) -> None:
        super().__init__()
        self.layer = layer

    def init(self, obs: Composite) -> MonotoneState:
        """Return the first state."""
        none = torch.zeros(len(obs.b), dtype=torch.long, device=obs.b.device)
        return MonotoneState(self.layer.init(obs), None, none, none)

    def forward(self, state: MonotoneState, obs: Composite) -> MonotoneState:
        """Run one iteration."""
        before = self.layer.readout(state.inner)
        least = obs.value(before) if state.value is None else state.value
        inner = self.layer(state.inner, obs)
        x = self.layer.readout(inner)
        value = obs.value(x)
        bound = least + _ROUNDING * torch.finfo(value.dtype).eps * least.abs()
        wrong = ~(value.detach() <= bound)  # true for NaN
        if not bool(wrong.any()):
            least = torch.minimum(value, least)
            return MonotoneState(inner, least, torch.zeros_like(state.rises), state.n_fallbacks)
        rows = wrong.nonzero()[:, 0]
        part, old = obs.take(rows), before[rows]
        new = part.classical(old)
        instead = part.value(new)
        stays = ~(instead.detach() <= bound[rows])
        new = torch.where(stays[:, None], old, new)
        instead = torch.where(stays, least[rows], instead)
        x = x.index_copy(0, rows, new)
        value = torch.minimum(value.index_copy(0, rows, instead), least)
        rises = (state.rises + 1) * wrong
        lost = rises > _PATIENCE
        inner = self.layer.resume(inner, x, wrong[:, None], lost[:, None])
        return MonotoneState(inner, value, rises * ~lost, state.n_fallbacks + wrong)

    def readout(self, state: MonotoneState) -> Tensor:
        """Return the iterate."""
        return self.layer.readout(state.inner)

    def with_iterate(self, state: MonotoneState, x: Tensor) -> MonotoneState:
        """Return the state with another iterate, whose objective is the new least one."""
        return state._replace(inner=self.layer.with_iterate(state.inner, x), value=None)

    def project_(self) -> None:
        """Keep the optimiser's parameters admissible."""
        self.layer.project_()
