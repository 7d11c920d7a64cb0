"""The proximal-gradient layer, and the recipes that assemble networks from it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from sklearn_unroll.functional import Dense, Observation, soft
from sklearn_unroll.nn.base import Unrolled, UnrolledLayer
from sklearn_unroll.nn.parts import CoupledWeights, FreeWeights, LearnedThreshold

__all__ = ["WEIGHTS", "ProxGradLayer", "ProxGradState", "lista"]

WEIGHTS = {"free": FreeWeights, "coupled": CoupledWeights}


class ProxGradState(NamedTuple):
    """The state of a proximal-gradient iteration: the iterate.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes.
    """

    x: Tensor


class ProxGradLayer(UnrolledLayer):
    """``x+ = soft(weights(x, b), theta)``: a linear part, then a shrinkage.

    Parameters
    ----------
    weights : Module
        Maps (x, obs) to the point to shrink; one module in several layers ties them.
    threshold : Module
        Returns the threshold; has ``project_``.
    """

    def __init__(self, weights: nn.Module, threshold: LearnedThreshold) -> None:
        super().__init__()
        self.weights = weights
        self.threshold = threshold

    def init(self, obs: Observation) -> ProxGradState:
        """Return ``x_0 = 0``."""
        return ProxGradState(obs.b.new_zeros(len(obs.b), obs.A.n_components))

    def forward(self, state: ProxGradState, obs: Observation) -> ProxGradState:
        """Run one iteration."""
        return ProxGradState(soft(self.weights(state.x, obs), self.threshold()))

    def readout(self, state: ProxGradState) -> Tensor:
        """Return the codes."""
        return state.x

    def project_(self) -> None:
        """Keep the threshold nonnegative."""
        self.threshold.project_()


def lista(
    A: Dense,
    *,
    n_layers: int = 16,
    weights: str = "coupled",
    tied: bool = False,
    alpha: float = 0.1,
) -> Unrolled:
    """Assemble LISTA or LISTA-CP; before training it equals ISTA, layer by layer.

    Gregor and LeCun 2010 (``weights="free"``); Chen, Liu, Wang and Yin 2018
    (``weights="coupled"``). Thresholds start at ``alpha / L`` with ``L = ||A||_2^2``.

    Parameters
    ----------
    A : Dense
        The operator, one for all samples; sets shape, dtype and device of the parameters.
    n_layers : int, default=16
        Number of layers.
    weights : {"coupled", "free"}, default="coupled"
        The linear part of each layer.
    tied : bool, default=False
        Share the weights among all layers; each keeps its own threshold.
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
    lipschitz = A.lipschitz()
    if lipschitz == 0:
        lipschitz = lipschitz + 1  # A = 0: any step is a fixed point, keep the weights finite
    shared = WEIGHTS[weights](A, lipschitz) if tied else None
    return Unrolled(
        ProxGradLayer(
            shared if tied else WEIGHTS[weights](A, lipschitz),
            LearnedThreshold(alpha / lipschitz),
        )
        for _ in range(n_layers)
    )
