"""Recipes with learned weights: LISTA and its variants, step-LISTA, Ada-LISTA."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_unroll.functional import Dense, GroupL1, Operator
from sklearn_unroll.nn.base import Unrolled
from sklearn_unroll.nn.parts import (
    AdaptedWeights,
    AdjointWeights,
    CoupledWeights,
    FreeWeights,
    Weights,
)
from sklearn_unroll.nn.proxgrad import ProxGradLayer
from sklearn_unroll.nn.rules import LearnedRule, LearnedStep, LogRule, Rule
from sklearn_unroll.nn.shrinkages import SOFT, GroupShrinkage, Shrinkage, SupportSelection

__all__ = ["WEIGHTS", "ada_lista", "lista", "support_counts"]

WEIGHTS = ("free", "coupled", "adjoint")


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
    A: Operator,
    *,
    n_layers: int = 16,
    weights: str = "coupled",
    tied: bool = False,
    learn_step: bool = False,
    counts: list[int] | None = None,
    alpha: float = 0.1,
    W: Tensor | None = None,
    penalty: GroupL1 | None = None,
) -> Unrolled:
    """Assemble LISTA, LISTA-CP, LISTA-SS, LISTA-CPSS, TiLISTA or step-LISTA.

    Without support selection the untrained network equals ISTA, layer by layer. Gregor and
    LeCun 2010 (``weights="free"``); Chen, Liu, Wang and Yin 2018 (``"coupled"``, ``counts``);
    Liu, Chen, Wang and Yin 2019 (TiLISTA: ``tied``, ``learn_step``); Ablin, Moreau, Massias and
    Gramfort 2019 (step-LISTA: ``"adjoint"``). Thresholds start at ``alpha / L`` with
    ``L = ||A||_2^2``.

    Parameters
    ----------
    A : Dense or Operator
        The operator, one for all samples; with ``weights="adjoint"`` there may be one for each,
        and the largest sets the first steps, and it need not be dense. Sets shape, dtype and
        device of the parameters.
    n_layers : int, default=16
        Number of layers.
    weights : {"coupled", "free", "adjoint"}, default="coupled"
        The linear part of each layer. With ``"adjoint"`` it is a gradient step, whose length
        alone is learned; the threshold is alpha times that length.
    tied : bool, default=False
        Share the weights among all layers; each keeps its own scalars.
    learn_step : bool, default=False
        Give each layer a learned step size, first one; coupled weights only (adjoint ones
        always have one).
    counts : list of int, default=None
        Support selection: how many entries, or groups, may pass unshrunk in each layer.
    alpha : float, default=0.1
        Weight of the penalty in the problem whose ISTA the network starts as.
    W : Tensor of shape (n_components, n_features), default=None
        Where coupled weights start, ``A^T / L`` by default; free ones start at ``W1 = W``,
        ``W2 = I - W A``. Scalars are then learned through their logarithms, and thresholds
        want :func:`calibrate_thresholds`.
    penalty : GroupL1, default=None
        Groups that are shrunk together, block LISTA, which starts as the proximal gradient
        method of the group lasso; by default the l1 norm.

    Returns
    -------
    Unrolled
        The network.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, GroupL1
    >>> from sklearn_unroll.nn import lista
    >>> net = lista(Dense(torch.eye(4)), n_layers=3, weights="free", tied=True)
    >>> sum(p.numel() for p in net.parameters())  # two matrices and three thresholds
    35
    """
    # NOTE[DIFF]: the official code shares W1 among the layers even when it is not tied, and
    # uses 1.001 L; the paper's layers each have their own W1, and L is what ISTA uses.
    if weights not in WEIGHTS:
        raise ValueError(f"weights must be one of {WEIGHTS}, got {weights!r}.")
    if A.per_sample and weights != "adjoint":
        raise ValueError(
            f"LISTA with weights={weights!r} needs one operator for all samples, got one for each."
        )
    if not isinstance(A, Dense) and weights != "adjoint":
        raise ValueError(
            f"LISTA with weights={weights!r} learns matrices, which start from a Dense operator; "
            f"got {type(A).__name__}. Use weights='adjoint', which applies any operator."
        )
    L = nonzero_lipschitz(A).max()

    def make_weights() -> Weights:
        if weights == "adjoint":
            return AdjointWeights()
        first = (A.D / L if W is None else W).clone()
        return FreeWeights(A, first) if weights == "free" else CoupledWeights(first)

    def make_rule(count: int) -> Rule:
        if weights == "adjoint":
            return LearnedStep(1 / L, alpha, count)
        rule = LearnedRule if W is None else LogRule
        return rule(alpha / L, torch.ones_like(L) if learn_step else None, count)

    shared = make_weights() if tied else None
    return Unrolled(
        ProxGradLayer(make_weights() if shared is None else shared, make_rule(count), shrinkage)
        for count, shrinkage in shrinkages(counts, n_layers, penalty)
    )


def ada_lista(
    A: Dense, *, n_layers: int = 16, alpha: float = 0.1, penalty: GroupL1 | None = None
) -> Unrolled:
    """Assemble Ada-LISTA: the operator is an input, and may differ from sample to sample.

    Aberdam, Golts and Elad 2021, "Ada-LISTA: Learned solvers adaptive to varying models": two
    matrices that act on signals, shared by the layers, and a step and a threshold for each.
    The untrained network equals ISTA.

    Parameters
    ----------
    A : Dense
        Any operator of the family, or one for each sample: steps start at ``1 / L`` of the
        largest.
    n_layers : int, default=16
        Number of layers.
    alpha : float, default=0.1
        Weight of the penalty in the problem whose ISTA the network starts as.
    penalty : GroupL1, default=None
        Groups that are shrunk together (Ada-BlockLISTA); by default the l1 norm.

    Returns
    -------
    Unrolled
        The network.
    """
    L = nonzero_lipschitz(A).max()
    weights = AdaptedWeights(A)
    return Unrolled(
        ProxGradLayer(weights, LearnedRule(alpha / L, 1 / L), shrinkage)
        for _, shrinkage in shrinkages(None, n_layers, penalty)
    )


def nonzero_lipschitz(A: Operator) -> Tensor:
    """Return L, or one where A = 0: any step is a fixed point, and the weights stay finite."""
    L = A.lipschitz()
    return torch.where(L > 0, L, torch.ones_like(L))


def shrinkages(
    counts: list[int] | None, n_layers: int, penalty: GroupL1 | None = None
) -> list[tuple[int, Shrinkage]]:
    """Return the count and the shrinkage of every layer, of entries or of groups."""
    shrinkage = SOFT if counts is None else SupportSelection()
    if penalty is not None:
        shrinkage = GroupShrinkage(penalty, shrinkage)
    return [(count, shrinkage) for count in counts or [0] * n_layers]
