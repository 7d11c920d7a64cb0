"""The proximal-gradient layer: weights, a rule and a shrinkage make the LISTA family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from sklearn_unroll.functional import Observation, soft, support_select
from sklearn_unroll.nn.base import UnrolledLayer
from sklearn_unroll.nn.rules import Rule, Shrink

__all__ = ["ProxGradLayer", "ProxGradState"]


class ProxGradState(NamedTuple):
    """The state of a proximal-gradient iteration.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        The iterate.
    memory : object
        What the rule remembers of each sample; None before the first layer.
    """

    x: Tensor
    memory: Any = None


def shrink_soft(z: Tensor, how: Shrink) -> Tensor:
    """Return the soft threshold of z."""
    return soft(z, how.theta)


# NOTE[DIFF]: the papers' derivative takes no notice of the jump at the threshold of entries that
# pass. Training then drifts: its own loss rises by decibels while the rate goes to zero.
def shrink_select(z: Tensor, how: Shrink) -> Tensor:
    """Return the soft threshold of z, but for the largest entries, which pass."""
    return support_select(z, how.theta, how.count, spread=0.2)


class ProxGradLayer(UnrolledLayer):
    """``x+ = shrink(z)``: a rule makes the point z from the weights, and says how to shrink it.

    Parameters
    ----------
    weights : Module
        Maps (x, obs, gamma) to the point to shrink; one module in several layers
        ties them. Rules that look at the residual ask for ``correction(x, obs)``.
    rule : Rule
        Gives threshold, step size, momentum and support count; see
        :class:`~sklearn_unroll.nn.LearnedRule`.
    shrinkage : callable, default=shrink_soft
        Maps (point, :class:`~sklearn_unroll.nn.Shrink`) to codes.
    x0 : callable, default=None
        Maps an Observation to the first iterate; zero by default. Only that of a network's
        first layer is asked.
    """

    def __init__(
        self,
        weights: nn.Module,
        rule: Rule,
        shrinkage: Callable[[Tensor, Shrink], Tensor] = shrink_soft,
        x0: Callable[[Observation], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.weights = weights
        self.rule = rule
        self.shrinkage = shrinkage
        self.x0 = x0

    def init(self, obs: Observation) -> ProxGradState:
        """Return ``x_0``, zero without one given."""
        shape = (len(obs.b), obs.A.n_components)
        if self.x0 is None:
            return ProxGradState(obs.b.new_zeros(shape))
        x = self.x0(obs)
        if x.shape != shape:
            raise ValueError(f"The first iterate must have shape {shape}, got {tuple(x.shape)}.")
        return ProxGradState(x.clone())  # layers may overwrite it

    def forward(self, state: ProxGradState, obs: Observation) -> ProxGradState:
        """Run one iteration."""
        z, how, memory = self.rule(state.x, state.memory, obs, self.weights)
        return ProxGradState(self.shrinkage(z, how), memory)

    def readout(self, state: ProxGradState) -> Tensor:
        """Return the codes."""
        return state.x

    def project_(self) -> None:
        """Keep the rule's parameters admissible."""
        self.rule.project_()

    def continue_from_(self, previous: ProxGradLayer) -> None:
        """Start from the previous layer's scalars and, where they are not tied, its weights."""
        if self.rule is not previous.rule:
            self.rule.continue_from_(previous.rule)
        if self.weights is not previous.weights:
            self.weights.load_state_dict(previous.weights.state_dict())
