"""Unrolled ADMM with dense free weights: started from ADMM, or as theorems have it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.nn.base import Unrolled, UnrolledLayer
from sklearn_unroll.nn.normal import FixedRule, normal_weights
from sklearn_unroll.nn.parts import FreeWeights, Part, Weights, check_parts
from sklearn_unroll.nn.rules import LearnedRule, Rule, Shrink
from sklearn_unroll.nn.shrinkages import SOFT, SmoothThreshold

__all__ = ["DenseADMMLayer", "DenseADMMState", "dense_admm", "smooth_admm"]


class DenseADMMState(NamedTuple):
    """The state of an ADMM iteration.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        The iterate that fits the data.
    z : Tensor of shape (n_samples, n_components)
        The iterate that is shrunk, the codes.
    u : Tensor of shape (n_samples, n_components)
        The scaled multipliers of ``x = z``.
    """

    x: Tensor
    z: Tensor
    u: Tensor


class DenseADMMLayer(Part, UnrolledLayer):
    """``x+ = W1 b + W2 (z - u)``, ``z+ = shrink(x+ + u)``, ``u+ = u + gamma (x+ - z+)``.

    Parameters
    ----------
    weights : Weights
        Maps (z - u, obs, gamma) to x; one module in several layers ties them.
    rule : Rule
        Gives the threshold; its memory is not kept.
    shrinkage : callable, default=SoftThreshold()
        Maps (point, :class:`~sklearn_unroll.nn.Shrink`) to codes.
    gamma : float, default=1.0
        Rate of the multipliers.
    learn_gamma : bool, default=False
        Whether that rate is learned.

    Raises
    ------
    ValueError
        If a part needs what another one does not offer.
    """

    def __init__(
        self,
        weights: Weights,
        rule: Rule,
        shrinkage: Callable[[Tensor, Shrink], Tensor] = SOFT,
        *,
        gamma: float = 1.0,
        learn_gamma: bool = False,
    ) -> None:
        super().__init__()
        check_parts(layer=self, weights=weights, rule=rule, shrinkage=shrinkage)
        self.weights = weights
        self.rule = rule
        self.shrinkage = shrinkage
        like = next(weights.parameters())
        self.gamma = nn.Parameter(like.new_tensor(gamma)) if learn_gamma else gamma

    def init(self, obs: Observation) -> DenseADMMState:
        """Return zeros."""
        zero = obs.b.new_zeros(len(obs.b), obs.A.n_components)
        return DenseADMMState(zero, zero, zero)

    def forward(self, state: DenseADMMState, obs: Observation) -> DenseADMMState:
        """Run one iteration."""
        x, how, _ = self.rule(state.z - state.u, None, obs, self.weights)
        z = self.shrinkage(x + state.u, how)
        return DenseADMMState(x, z, state.u + self.gamma * (x - z))

    def readout(self, state: DenseADMMState) -> Tensor:
        """Return the codes, ``z``."""
        return state.z

    def with_iterate(self, state: DenseADMMState, x: Tensor) -> DenseADMMState:
        """Return the state with other codes ``z``, which the next x is made of."""
        return state._replace(z=x)

    def project_(self) -> None:
        """Keep threshold and rate nonnegative."""
        self.rule.project_()
        if isinstance(self.gamma, nn.Parameter):
            self.gamma.clamp_min_(0)

    def continue_from_(self, previous: DenseADMMLayer) -> None:
        """Start from the previous layer's scalars and, where they are not tied, its weights."""
        if self.weights is not previous.weights:
            self.weights.load_state_dict(previous.weights.state_dict())
        if self.rule is not previous.rule:
            # The splitting's threshold is alpha / rho throughout: it does not shrink.
            self.rule.load_state_dict(previous.rule.state_dict())
        if isinstance(self.gamma, nn.Parameter):
            self.gamma.copy_(previous.gamma)


# NOTE[DIFF]: classical ADMM may start at the multipliers A^T b / rho that are right if x_0 is;
# the network of the guarantees starts at zero, and so does this one.
def dense_admm(
    A: Dense,
    *,
    n_layers: int = 6,
    alpha: float = 0.1,
    rho: float | None = None,
    sharpness: float = math.inf,
    gamma: float = 1.0,
    learn_gamma: bool = True,
    tied: bool = False,
) -> Unrolled:
    """Assemble unrolled ADMM with free matrices that start as those of the algorithm.

    ``W1 = (A^T A + rho I)^-1 A^T`` and ``W2 = rho (A^T A + rho I)^-1 = I - W1 A``, with a learned
    threshold that starts at ``alpha / rho``: Boyd, Parikh, Chu, Peleato and Eckstein 2011,
    Section 6.4. The untrained network equals that ADMM, without over-relaxation and from
    ``x_0 = u_0 = 0``, layer by layer.

    Parameters
    ----------
    A : Dense
        The operator, one for all samples; sets shape, dtype and device of the parameters.
    n_layers : int, default=6
        Number of layers.
    alpha : float, default=0.1
        Weight of the l1 norm in the problem whose ADMM the network starts as.
    rho : float, default=None
        Weight of the constraint, positive; a tenth of ``||A||_2^2`` by default.
    sharpness : float, default=inf
        Of the threshold, see :func:`~sklearn_unroll.functional.smooth_soft`; the soft threshold
        by default.
    gamma : float, default=1.0
        First rate of the multipliers, which ADMM has at one.
    learn_gamma : bool, default=True
        Whether each layer learns that rate.
    tied : bool, default=False
        Share the weights among all layers; each keeps its own scalars.

    Returns
    -------
    Unrolled
        The network.

    Raises
    ------
    ValueError
        If every sample has its own operator, or rho is not positive.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.nn import dense_admm
    >>> A = Dense(torch.eye(2))
    >>> net = dense_admm(A, n_layers=30, alpha=0.5, rho=1.0)
    >>> with torch.no_grad():
    ...     net(Observation(torch.tensor([[2.0, 0.25]]), A))
    tensor([[1.5000, 0.0000]])
    """
    if A.per_sample:
        raise ValueError("Dense ADMM needs one operator for all samples, got one for each.")
    if rho is None:
        rho = 0.1 * float(A.lipschitz()) or 1.0
    if not 0 < rho < math.inf:
        raise ValueError(f"rho must be a positive number, got {rho!r}.")
    gram = A.D.T @ A.D
    gram.diagonal().add_(rho)
    # A^T (A A^T + rho I)^-1, the same matrix by the smaller inverse.
    W1 = torch.cholesky_solve(A.D.T, torch.linalg.cholesky(gram)).T
    shared = FreeWeights(A, W1.clone()) if tied else None
    theta, shrinkage = W1.new_tensor(alpha / rho), SmoothThreshold(sharpness)
    return Unrolled(
        DenseADMMLayer(
            FreeWeights(A, W1.clone()) if shared is None else shared,
            LearnedRule(theta),
            shrinkage,
            gamma=gamma,
            learn_gamma=learn_gamma,
        )
        for _ in range(n_layers)
    )


def smooth_admm(
    A: Dense,
    *,
    generator: torch.Generator,
    n_layers: int = 6,
    theta: float = 1.0,
    sharpness: float = 1.0,
    gamma: float = 1.0,
    learn_gamma: bool = False,
    tied: bool = False,
) -> Unrolled:
    """Assemble the dense ADMM network whose training is analysed: normal weights, all smooth.

    ``x+ = W1 b / sqrt(n_features) + W2 (z - u) / sqrt(n_components)``,
    ``z+ = smooth_soft(x+ + u, theta)``, ``u+ = u + gamma (x+ - z+)``: Shah, Pradhan, Pu, Randhi,
    Rodrigues and Eldar 2024, "Optimization guarantees of unfolded ISTA and ADMM networks with
    smooth soft-thresholding", who call it ADMM-CSNet. It has nothing of the network for Fourier
    samples of that name but the three steps.

    Parameters
    ----------
    A : Dense
        Any operator; sets shape, dtype and device of the parameters, and nothing else.
    generator : torch.Generator
        Source of the first weights, independent N(0, 1).
    n_layers : int, default=6
        Number of layers.
    theta : float, default=1.0
        Threshold, the same in every layer and not learned.
    sharpness : float, default=1.0
        Of the threshold, see :func:`~sklearn_unroll.functional.smooth_soft`.
    gamma : float, default=1.0
        Rate of the multipliers.
    learn_gamma : bool, default=False
        Whether each layer learns that rate; the analysis has it fixed.
    tied : bool, default=False
        Share the weights among all layers.

    Returns
    -------
    Unrolled
        The network.
    """
    shrinkage = SmoothThreshold(sharpness)
    return Unrolled(
        DenseADMMLayer(weights, FixedRule(theta), shrinkage, gamma=gamma, learn_gamma=learn_gamma)
        for weights in normal_weights(A, n_layers, tied, generator)
    )
