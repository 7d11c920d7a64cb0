"""Recipes with an analytic weight: ALISTA, NA-ALISTA, HyperLISTA."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_unroll.functional import GroupL1, Observation, Operator
from sklearn_unroll.nn.base import Unrolled
from sklearn_unroll.nn.lista import shrinkages
from sklearn_unroll.nn.parts import CoupledWeights
from sklearn_unroll.nn.proxgrad import ProxGradLayer, ProxGradState
from sklearn_unroll.nn.recurrent import Controller, RecurrentRule
from sklearn_unroll.nn.rules import AdaptiveRule, LogRule, Shrink
from sklearn_unroll.nn.shrinkages import Shrinkage, SupportSelection

__all__ = ["alista", "calibrate_thresholds", "hyperlista", "na_alista"]


def alista(
    A: Operator,
    W: Tensor | Operator,
    *,
    n_layers: int = 16,
    counts: list[int] | None = None,
    theta: float = 0.1,
    gamma: float = 1.0,
    penalty: GroupL1 | None = None,
) -> Unrolled:
    """Assemble ALISTA: an analytic weight, and two learned scalars a layer.

    Liu, Chen, Wang and Yin 2019, "ALISTA: Analytic weights are as good as learned weights in
    LISTA".

    Parameters
    ----------
    A : Operator
        The operator, one for all samples.
    W : Tensor of shape (n_components, n_features) or Operator
        The weight, shared and fixed; see :func:`~sklearn_unroll.functional.analytic_weight`, for
        groups :func:`~sklearn_unroll.functional.block_analytic_weight`, and for a
        :class:`~sklearn_unroll.functional.Convolution`
        :func:`~sklearn_unroll.functional.convolution_weight`.
    n_layers : int, default=16
        Number of layers.
    counts : list of int, default=None
        Support selection: how many entries, or groups, may pass unshrunk in each layer.
    theta : float, default=0.1
        First threshold of every layer, positive; see also :func:`calibrate_thresholds`.
    gamma : float, default=1.0
        First step size of every layer, positive.
    penalty : GroupL1, default=None
        Groups that are shrunk together, group ALISTA; by default single entries are.

    Returns
    -------
    Unrolled
        The network.
    """
    weights = CoupledWeights(W, learn=False)
    like = _like(W)
    first = like.new_tensor(theta), like.new_tensor(gamma)
    return Unrolled(
        ProxGradLayer(weights, LogRule(*first, count), shrinkage)
        for count, shrinkage in shrinkages(counts, n_layers, penalty)
    )


def na_alista(
    W: Tensor | Operator,
    *,
    n_layers: int = 16,
    counts: list[int] | None = None,
    hidden_size: int = 64,
    generator: torch.Generator,
    penalty: GroupL1 | None = None,
) -> Unrolled:
    """Assemble NA-ALISTA: an analytic weight, step and threshold from a recurrent network.

    Behrens, Sauder and Jung 2021, "Neurally augmented ALISTA".

    Parameters
    ----------
    W : Tensor of shape (n_components, n_features) or Operator
        The weight, shared and fixed.
    n_layers : int, default=16
        Number of layers.
    counts : list of int, default=None
        Support selection: how many entries, or groups, may pass unshrunk in each layer.
    hidden_size : int, default=64
        Numbers that the recurrent network remembers of a sample.
    generator : torch.Generator
        Source of its first parameters.
    penalty : GroupL1, default=None
        Groups that are shrunk together; by default single entries are.

    Returns
    -------
    Unrolled
        The network; one recurrent network for all layers.
    """
    weights = CoupledWeights(W, learn=False)
    controller = Controller(hidden_size, _like(W), generator)
    return Unrolled(
        ProxGradLayer(weights, RecurrentRule(controller, count), shrinkage)
        for count, shrinkage in shrinkages(counts, n_layers, penalty)
    )


def hyperlista(W: Tensor | Operator, rule: AdaptiveRule, *, n_layers: int = 16) -> Unrolled:
    """Assemble HyperLISTA: an analytic weight, and an adaptive rule with three numbers.

    Chen, Liu, Wang and Yin 2021, "Hyperparameter tuning is all you need for LISTA". Nothing is
    trained.

    Parameters
    ----------
    W : Tensor of shape (n_components, n_features) or Operator
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
    layer = ProxGradLayer(CoupledWeights(W, learn=False), rule, SupportSelection())
    return Unrolled([layer] * n_layers)


def _like(W: Tensor | Operator) -> Tensor:
    return W.like if isinstance(W, Operator) else W


@torch.no_grad()
def calibrate_thresholds(
    network: Unrolled,
    obs: Observation,
    y: Tensor,
    weight: Tensor | None = None,
    *,
    factor: float = 3.0,
) -> None:
    """Set the threshold of every layer to what its point gets wrong off the support, in place.

    ``theta_k = factor rms(z_k - y where y = 0)`` with ``z_k`` the point that layer k shrinks,
    layer after layer on given pairs. No constant carries a size or a scale in it, and with an
    analytic weight the untrained network is already a good one (-44 dB at 250x500 and 10 %
    support, where ISTA has -6). Of groups the factor is smaller: norms of noise spread less.

    Codes with more nonzeros than the weight's coherence allows do not contract: their error
    grows, the thresholds with it, and in the end it takes all samples. So where a layer would
    raise the squared error of the pairs its step and its threshold are halved together, a shorter
    step on the same problem, until it does not, and those of all later layers with them.

    Parameters
    ----------
    network : Unrolled
        Of proximal-gradient layers with a :class:`LogRule`.
    obs : Observation
        Data and operator of the pairs.
    y : Tensor of shape (n_samples, n_components)
        True codes, some of them zero.
    weight : Tensor of shape (n_samples,), default=None
        Nonnegative weights of the samples, ones by default.
    factor : float, default=3.0
        Positive factor on the root mean square.
    """
    ones = torch.ones_like(y[:, :1]) if weight is None else weight[:, None]
    counted = ones * (y == 0)
    total = counted.sum().clamp_min(torch.finfo(y.dtype).tiny)

    def error(x: Tensor) -> float:
        return float(((x - y).square() * ones).sum())

    state = network.layers[0].init(obs)
    length, least = 1.0, error(state.x)
    for layer in network.layers:
        z, how, memory = layer.rule(state.x, state.memory, obs, layer.weights)
        rms = ((z - y).square().mul_(counted).sum() / total).sqrt()
        shrinkage = layer.shrinkage
        theta = rms * (shrinkage.margin(factor) if isinstance(shrinkage, Shrinkage) else factor)
        while True:
            point = z if length == 1 else torch.lerp(state.x, z, length)
            x = shrinkage(point, Shrink(length * theta, how.count))
            found = error(x)
            if found <= least or length < torch.finfo(y.dtype).eps or layer.rule.gamma is None:
                break
            length /= 2
        layer.rule.set_theta_(length * theta)
        if length < 1:
            layer.rule.shorten_(length)
        state, least = ProxGradState(x, memory), found
