"""The proximal-gradient layer, and the recipes that assemble the LISTA family from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sklearn_unroll.functional import Dense, Observation, soft, support_select
from sklearn_unroll.nn.base import Unrolled, UnrolledLayer
from sklearn_unroll.nn.parts import CoupledWeights, FreeWeights
from sklearn_unroll.nn.rules import AdaptiveRule, LearnedRule, Step

__all__ = [
    "WEIGHTS",
    "ProxGradLayer",
    "ProxGradState",
    "alista",
    "hyperlista",
    "lista",
    "support_counts",
]

WEIGHTS = ("free", "coupled")


class ProxGradState(NamedTuple):
    """The state of a proximal-gradient iteration.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        The iterate.
    x_prev : Tensor of shape (n_samples, n_components)
        The iterate before it; kept only for rules with momentum.
    memory : object
        What the rule remembers of each sample.
    """

    x: Tensor
    x_prev: Tensor
    memory: Any = None


def shrink_soft(z: Tensor, step: Step) -> Tensor:
    """Return the soft threshold of z."""
    return soft(z, step.theta)


def shrink_select(z: Tensor, step: Step) -> Tensor:
    """Return the soft threshold of z, but for the largest entries, which pass."""
    return support_select(z, step.theta, step.count)


class ProxGradLayer(UnrolledLayer):
    """``x+ = shrink(weights(x, b) + beta (x - x_prev), theta)``, with scalars from a rule.

    Parameters
    ----------
    weights : Module
        Maps (x, obs, gamma) to the point to shrink; one module in several layers
        ties them.
    rule : Module
        Gives threshold, step size, momentum and support count; see
        :class:`~sklearn_unroll.nn.LearnedRule`.
    shrinkage : callable, default=shrink_soft
        Maps (point, step) to codes, with the rule's scalars in step.
    """

    def __init__(
        self,
        weights: nn.Module,
        rule: nn.Module,
        shrinkage: Callable[[Tensor, Step], Tensor] = shrink_soft,
    ) -> None:
        super().__init__()
        self.weights = weights
        self.rule = rule
        self.shrinkage = shrinkage

    def init(self, obs: Observation) -> ProxGradState:
        """Return ``x_0 = 0``."""
        x = obs.b.new_zeros(len(obs.b), obs.A.n_components)
        return ProxGradState(x, x)

    def forward(self, state: ProxGradState, obs: Observation) -> ProxGradState:
        """Run one iteration."""
        x = state.x
        if not self.rule.adaptive:
            step = self.rule()
            shrunk = self.shrinkage(self.weights(x, obs, step.gamma), step)
            return ProxGradState(shrunk, shrunk)
        r = obs.A.residual(obs.b, x)
        update = r @ self.weights.W.T
        step, memory = self.rule(x, r, update, state.memory)
        z = torch.addcmul(x + update, step.beta, x - state.x_prev)
        return ProxGradState(self.shrinkage(z, step), x, memory)

    def readout(self, state: ProxGradState) -> Tensor:
        """Return the codes."""
        return state.x

    def project_(self) -> None:
        """Keep the rule's parameters admissible."""
        self.rule.project_()

    def continue_from_(self, previous: ProxGradLayer) -> None:
        """Start from the previous layer's scalars and, where they are not tied, its weights."""
        self.rule.continue_from_(previous.rule)
        if self.weights is not previous.weights:
            self.weights.load_state_dict(previous.weights.state_dict())


def support_counts(
    n_layers: int, n_components: int, per_layer: float = 1.2, largest: float = 13.0
) -> list[int]:
    """Return how many entries may pass in each layer, ``min(per_layer k, largest)`` percent.

    The schedule of the LISTA-CPSS and ALISTA experiments at 10 % support.

    Parameters
    ----------
    n_layers : int
        Number of layers.
    n_components : int
        Number of entries.
    per_layer : float, default=1.2
        Percent of the entries added by each layer.
    largest : float, default=13.0
        Percent of the entries at most.

    Returns
    -------
    list of int
        Counts, rounded.

    Examples
    --------
    >>> from sklearn_unroll.nn import support_counts
    >>> support_counts(4, 500)
    [6, 12, 18, 24]
    """
    return [
        round(min(per_layer * k, largest) / 100 * n_components) for k in range(1, n_layers + 1)
    ]


def lista(
    A: Dense,
    *,
    n_layers: int = 16,
    weights: str = "coupled",
    tied: bool = False,
    learn_step: bool = False,
    counts: list[int] | None = None,
    alpha: float = 0.1,
) -> Unrolled:
    """Assemble LISTA, LISTA-CP, LISTA-SS, LISTA-CPSS or TiLISTA.

    Without support selection the untrained network equals ISTA, layer by layer. Gregor and
    LeCun 2010 (``weights="free"``); Chen, Liu, Wang and Yin 2018 (``"coupled"``, ``counts``);
    Liu, Chen, Wang and Yin 2019 (TiLISTA: ``tied``, ``learn_step``). Thresholds start at
    ``alpha / L`` with ``L = ||A||_2^2``.

    Parameters
    ----------
    A : Dense
        The operator, one for all samples; sets shape, dtype and device of the parameters.
    n_layers : int, default=16
        Number of layers.
    weights : {"coupled", "free"}, default="coupled"
        The linear part of each layer.
    tied : bool, default=False
        Share the weights among all layers; each keeps its own scalars.
    learn_step : bool, default=False
        Give each layer a learned step size, first one; coupled weights only.
    counts : list of int, default=None
        Support selection: how many entries may pass unshrunk in each layer.
    alpha : float, default=0.1
        Weight of the l1 norm in the problem whose ISTA the network starts as.

    Returns
    -------
    Unrolled
        The network.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense
    >>> from sklearn_unroll.nn import lista
    >>> net = lista(Dense(torch.eye(4)), n_layers=3, weights="free", tied=True)
    >>> sum(p.numel() for p in net.parameters())  # two matrices and three thresholds
    35
    """
    # NOTE[DIFF]: the official code shares W1 among the layers even when it is not tied, and
    # uses 1.001 L; the paper's layers each have their own W1, and L is what ISTA uses.
    if weights not in WEIGHTS:
        raise ValueError(f"weights must be one of {WEIGHTS}, got {weights!r}.")
    if A.per_sample:
        raise ValueError("LISTA needs one operator for all samples, got one for each.")
    lipschitz = A.lipschitz()
    if lipschitz == 0:
        lipschitz = lipschitz + 1  # A = 0: any step is a fixed point, keep the weights finite

    def make() -> nn.Module:
        if weights == "free":
            return FreeWeights(A, lipschitz)
        return CoupledWeights(A.D / lipschitz)

    shared = make() if tied else None
    gamma = torch.ones_like(lipschitz) if learn_step else None
    return Unrolled(
        ProxGradLayer(
            make() if shared is None else shared,
            LearnedRule(alpha / lipschitz, gamma, 0 if counts is None else counts[k]),
            shrink_soft if counts is None else shrink_select,
        )
        for k in range(n_layers)
    )


def alista(
    A: Dense,
    W: Tensor,
    *,
    n_layers: int = 16,
    counts: list[int] | None = None,
    theta: float = 0.1,
    gamma: float = 1.0,
) -> Unrolled:
    """Assemble ALISTA: an analytic weight, and two learned scalars a layer.

    Liu, Chen, Wang and Yin 2019, "ALISTA: Analytic weights are as good as learned weights in
    LISTA".

    Parameters
    ----------
    A : Dense
        The operator, one for all samples.
    W : Tensor of shape (n_components, n_features)
        The weight, shared and fixed; see
        :func:`~sklearn_unroll.functional.analytic_weight`.
    n_layers : int, default=16
        Number of layers.
    counts : list of int, default=None
        Support selection: how many entries may pass unshrunk in each layer.
    theta : float, default=0.1
        First threshold of every layer.
    gamma : float, default=1.0
        First step size of every layer.

    Returns
    -------
    Unrolled
        The network.
    """
    weights = CoupledWeights(W, learn=False)
    return Unrolled(
        ProxGradLayer(
            weights,
            LearnedRule(
                W.new_tensor(theta), W.new_tensor(gamma), 0 if counts is None else counts[k]
            ),
            shrink_soft if counts is None else shrink_select,
        )
        for k in range(n_layers)
    )


def hyperlista(W: Tensor, rule: AdaptiveRule, *, n_layers: int = 16) -> Unrolled:
    """Assemble HyperLISTA: an analytic weight, and an adaptive rule with three numbers.

    Chen, Liu, Wang and Yin 2021, "Hyperparameter tuning is all you need for LISTA". Nothing is
    trained.

    Parameters
    ----------
    W : Tensor of shape (n_components, n_features)
        The weight; see :func:`~sklearn_unroll.functional.symmetric_weight`.
    rule : AdaptiveRule
        The three numbers, with the matrices they act through.
    n_layers : int, default=16
        Number of layers.

    Returns
    -------
    Unrolled
        The network; one layer, repeated.
    """
    layer = ProxGradLayer(CoupledWeights(W, learn=False), rule, shrink_select)
    return Unrolled([layer] * n_layers)
