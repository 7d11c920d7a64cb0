"""The proximal-gradient layer: weights, a rule and a shrinkage make the LISTA family."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.functional import Observation
from sklearn_unroll.nn.base import Unrolled, UnrolledLayer
from sklearn_unroll.nn.parts import Part, Weights, check_parts
from sklearn_unroll.nn.rules import Rule, Shrink
from sklearn_unroll.nn.shrinkages import SOFT

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


class ProxGradLayer(Part, UnrolledLayer):
    """``x+ = shrink(z)``: a rule makes the point z from the weights, and says how to shrink it.

    Parameters
    ----------
    weights : Weights
        Maps (x, obs, gamma) to the point to shrink; one module in several layers
        ties them. Rules that look at the residual ask for ``correction(x, obs)``.
    rule : Rule
        Gives threshold, step size, momentum and support count; see
        :class:`~sklearn_unroll.nn.LearnedRule`.
    shrinkage : callable, default=SoftThreshold()
        Maps (point, :class:`~sklearn_unroll.nn.Shrink`) to codes.
    x0 : callable, default=None
        Maps an Observation to the first iterate; zero by default. Only that of a network's
        first layer is asked.

    Raises
    ------
    ValueError
        If a part needs what another one does not offer.
    """

    offers = ("memory",)

    def __init__(
        self,
        weights: Weights,
        rule: Rule,
        shrinkage: Callable[[Tensor, Shrink], Tensor] = SOFT,
        x0: Callable[[Observation], Tensor] | None = None,
    ) -> None:
        super().__init__()
        check_parts(layer=self, weights=weights, rule=rule, shrinkage=shrinkage)
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

    def with_iterate(self, state: ProxGradState, x: Tensor) -> ProxGradState:
        """Return the state with other codes."""
        return state._replace(x=x)

    def project_(self) -> None:
        """Keep the rule's parameters admissible."""
        self.rule.project_()

    def continue_from_(self, previous: ProxGradLayer) -> None:
        """Start from the previous layer's scalars and, where they are not tied, its weights."""
        if self.rule is not previous.rule:
            self.rule.continue_from_(previous.rule)
        if self.weights is not previous.weights:
            # What both have: the first layer of a feed-forward network has another weight.
            self.weights.load_state_dict(previous.weights.state_dict(), strict=False)


@torch.no_grad()
def follow_(network: Unrolled, factor: float) -> None:
    """Multiply learned steps, and the thresholds that belong to them, in place.

    A step of ``1 / L`` for one operator diverges over another one of a larger norm. Tied parts
    are multiplied once; weights that are computed from the operator, and their rules, never.

    Parameters
    ----------
    network : Unrolled
        Of any layers; those that are no :class:`ProxGradLayer` stay as they are.
    factor : float
        L of the operator so far over that of the new one.
    """
    layers = [layer for layer in network.layers if isinstance(layer, ProxGradLayer)]
    along = {weights: weights.follow_(factor) for weights in {layer.weights for layer in layers}}
    for rule, weights in {layer.rule: layer.weights for layer in layers}.items():
        learned = dict(rule.named_parameters(recurse=False))
        for name in along[weights]:
            if name in learned:
                learned[name].mul_(factor)
            elif f"log_{name}" in learned:
                learned[f"log_{name}"].add_(math.log(factor))
