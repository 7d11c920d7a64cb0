"""What the theorems on LISTA ask of the weights: small coherence, and coupling.

No weight is read by its name. A layer's ``weights`` map ``(x, b)`` to the point to shrink,
``W1 b + W2 x``, so ``W1`` is the answer to ``x = 0, b = I``. That holds for free, coupled and
adjoint weights and for those of a third party.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_unroll.functional import (
    Dense,
    GroupL1,
    Observation,
    Operator,
    mutual_coherence,
)
from sklearn_unroll.functional import block_coherence as block_coherence_of
from sklearn_unroll.nn import DenseADMMLayer, GroupShrinkage, ProxGradLayer, Unrolled

__all__ = ["block_coherence", "coherence", "weight_coupling"]

NORMS = {"spectral": 2, "frobenius": "fro"}


@runtime_checkable
class Fitted(Protocol):
    """An estimator whose network is for one operator."""

    network_: Unrolled

    def network_operator(self, dtype: Any = None) -> Operator: ...


class Subject(NamedTuple):
    """What is examined: the layers, the operator they see in float64, and its rounding error."""

    layers: list[nn.Module]
    A: Dense
    eps: float


def coherence(estimator: Any, A: Dense | None = None) -> np.ndarray:
    """Return ``max_{i != j} |w_i^T a_j|`` of every layer, rows scaled to ``w_i^T a_i = 1``.

    The generalised mutual coherence of the weight on the residual and the dictionary; it sets
    the rate of LISTA-CP (Chen, Liu, Wang and Yin 2018), and ALISTA computes a weight for which it
    is small (Liu, Chen, Wang and Yin 2019). The weight is W1 for free weights, W for coupled and
    analytic ones, and the dictionary itself for adjoint weights, ``A^T``. Step sizes do not
    matter, since rows are scaled. Networks that normalise the atoms inside (ALISTA, HyperLISTA)
    are examined with the unit-norm atoms that they see.

    Parameters
    ----------
    estimator : estimator or Unrolled
        A fitted estimator, or a network.
    A : Dense, default=None
        The operator, in the network's units; that of the estimator by default.

    Returns
    -------
    ndarray of shape (n_layers,)
        The coherence of each layer; tied layers are computed once. It is ``inf`` where
        ``w_i^T a_i`` is negative, or zero to rounding, for some i: no positive step scales such
        a row. Zero atoms are left out (an estimated dictionary has them where a component is
        never active).

    Raises
    ------
    TypeError
        If there is no network, a layer has no weights, or the operator is no Dense one.
    ValueError
        If every sample has its own operator, or it does not fit the network.

    See Also
    --------
    sklearn_unroll.functional.mutual_coherence : The same of a matrix, without scaling.
    block_coherence : The same of groups of atoms.
    sklearn_unroll.plotting.WeightDisplay : Draws it.

    Examples
    --------
    >>> from sklearn_unroll import HyperLISTARegressor
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.theory import coherence
    >>> data = make_sparse_recovery(100, 20, 30, sparsity=2, random_state=0)
    >>> model = HyperLISTARegressor(data.dictionary, n_layers=3).fit(data.X)
    >>> (coherence(model) / model.mu_).round(6)
    array([1., 1., 1.])
    """
    layers, A, eps = _examine(estimator, A)
    return _of_layers(layers, A, lambda W: _scaled_coherence(W, A.D, eps))


def block_coherence(estimator: Any, A: Dense | None = None, groups: Any = None) -> np.ndarray:
    """Return ``max_{g != h} ||W_g A_h||_2 / sqrt(d_g d_h)`` of every layer, with ``W_g A_g = I``.

    What :func:`coherence` is for single atoms, for groups that are shrunk together, see
    :func:`~sklearn_unroll.functional.block_coherence`. A matrix for each group brings its rows to
    ``W_g A_g = I``, so that step sizes do not matter.

    Parameters
    ----------
    estimator : estimator or Unrolled
        A fitted estimator, or a network.
    A : Dense, default=None
        The operator, in the network's units; that of the estimator by default.
    groups : array-like of int of shape (n_components,), default=None
        The number of each atom's group, from 0; those that the first layer shrinks by default.

    Returns
    -------
    ndarray of shape (n_layers,)
        The coherence of each layer; ``inf`` where ``W_g A_g`` is singular, to rounding, for some
        g. Zero atoms are left out.

    Raises
    ------
    TypeError
        As for :func:`coherence`.
    ValueError
        Likewise, and if the network has no groups and none are given.

    Examples
    --------
    >>> from sklearn_unroll import ALISTARegressor, Trainer
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.theory import block_coherence
    >>> data = make_sparse_recovery(100, 20, 30, sparsity=2, random_state=0)
    >>> untrained = Trainer(max_epochs=0)
    >>> model = ALISTARegressor(data.dictionary, n_layers=2, groups=3, trainer=untrained)
    >>> block_coherence(model.fit(data.X)).round(2)
    array([0.31, 0.31])
    """
    layers, A, eps = _examine(estimator, A)
    groups = _groups_of(layers[0]) if groups is None else groups
    labels = GroupL1(np.asarray(groups)).labels(A.D.T)
    used = A.D.any(1)
    labels = labels[used].unique(return_inverse=True)[1]
    return _of_layers(layers, A, lambda W: _scaled_blocks(W[used], A.D[used], labels, eps))


def weight_coupling(
    estimator: Any, A: Dense | None = None, *, norm: str = "spectral"
) -> np.ndarray:
    """Return ``||W2 + W1 A - I|| / ||I||`` of every layer: how far from coupled the weights are.

    Where LISTA's iterates tend to the true codes, uniformly over all sparse ones and without
    noise, ``W2 + W1 A -> I`` as the layers go on (Chen, Liu, Wang and Yin 2018, "Theoretical
    linear convergence of unfolded ISTA and its practical weights and thresholds", Theorem 1).
    This necessary condition is what made the authors couple the weights, ``W2 = I - W1 A``.

    The limit is over layers, not over epochs. Free weights start at ISTA's, where the distance
    is zero to rounding; training moves the early layers away from that, and what emerges is that
    it falls from layer to layer, and that the last layers come down from another start too,
    though no loss asks for it. To see it over the epochs, examine the estimator after each
    ``partial_fit``. It is exactly zero for coupled, analytic and adjoint weights.

    Parameters
    ----------
    estimator : estimator or Unrolled
        A fitted estimator, or a network.
    A : Dense, default=None
        The operator, in the network's units; that of the estimator by default.
    norm : {"spectral", "frobenius"}, default="spectral"
        Which matrix norm. Both are relative to that of I, which is one for the spectral norm
        and ``sqrt(n_components)`` for the Frobenius norm; so ``W1 = W2 = 0`` gives one.

    Returns
    -------
    ndarray of shape (n_layers,)
        The distance of each layer. Learned step sizes are part of W1 and W2.

    Raises
    ------
    TypeError
        If there is no network, a layer has no weights, or the operator is no Dense one.
    ValueError
        If the norm is not known, every sample has its own operator, or it does not fit the
        network.

    See Also
    --------
    sklearn_unroll.plotting.WeightDisplay : Draws it.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense
    >>> from sklearn_unroll.nn import lista
    >>> from sklearn_unroll.theory import weight_coupling
    >>> A = Dense(torch.eye(3))
    >>> network = lista(A, n_layers=2, weights="free")
    >>> with torch.no_grad():
    ...     _ = network.layers[1].weights.W2.mul_(0).add_(0.5 * A.D)
    >>> weight_coupling(network, A)
    array([0. , 0.5])
    """
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {sorted(NORMS)}, got {norm!r}.")
    layers, A, _ = _examine(estimator, A)
    eye = torch.eye(A.n_components).to(A.D)
    unit = torch.linalg.matrix_norm(eye, NORMS[norm])

    def measure(layer: nn.Module) -> float:
        # Row i is what the layer makes of the true code e_i of b = a_i, before it shrinks.
        point = _point(layer.rule, eye.clone(), None, Observation(A.D, A), layer.weights)
        return float(torch.linalg.matrix_norm(point - eye, NORMS[norm]) / unit)

    return np.array([measure(layer) for layer in layers])


def _examine(estimator: Any, A: Dense | None) -> Subject:
    given = isinstance(estimator, Unrolled)
    if not given and not isinstance(estimator, Fitted):
        raise TypeError(
            f"A fitted estimator with a network_ and a network_operator is needed, or an Unrolled "
            f"network with A=Dense(dictionary); got {type(estimator).__name__}. Call fit first."
        )
    network = estimator if given else estimator.network_
    for number, layer in enumerate(network.layers, 1):
        if not isinstance(layer, (ProxGradLayer, DenseADMMLayer)):
            raise TypeError(
                f"Layer {number} of the network, a {type(layer).__name__}, has no weights: a part "
                f"that maps (x, obs, gamma) to the point to shrink, as in ProxGradLayer."
            )
    A = estimator.network_operator() if A is None and not given else A
    if not isinstance(A, Dense):
        raise TypeError(
            f"The operator must be a Dense one, as A=Dense(dictionary); got {type(A).__name__}."
        )
    if A.per_sample or not A.D.is_floating_point():
        raise ValueError(
            f"A must have one real matrix for all samples, of shape (n_components, n_features); "
            f"got shape {tuple(A.D.shape)} and {A.D.dtype}."
        )
    eps = A.n_features * torch.finfo(A.D.dtype).eps
    return Subject(list(network.layers), Dense(A.D.detach().double()), eps)


@torch.no_grad()
def _point(part: nn.Module, *given: Any) -> Tensor:
    """Return the point that a layer is about to shrink, computed in float64."""
    given = [deepcopy(v).double() if isinstance(v, nn.Module) else v for v in given]
    try:
        found = deepcopy(part).double()(*given)
    except RuntimeError as error:
        raise ValueError(f"The operator does not fit the network: {error}") from error
    return found if isinstance(found, Tensor) else found[0]


def _of_layers(layers: list[nn.Module], A: Dense, of: Callable[[Tensor], float]) -> np.ndarray:
    """Return a number for the weight on the residual of every layer; tied ones are asked once."""
    eye = torch.eye(A.n_features).to(A.D)
    zero = A.D.new_zeros(A.n_features, A.n_components)

    @cache
    def measure(weights: nn.Module) -> float:
        return of(_point(weights, zero.clone(), Observation(eye, A), eye.new_ones(())).T)

    return np.array([measure(layer.weights) for layer in layers])


def _groups_of(layer: nn.Module) -> Any:
    """Return the groups that a layer shrinks."""
    if not (isinstance(layer, ProxGradLayer) and isinstance(layer.shrinkage, GroupShrinkage)):
        raise ValueError(
            "The network shrinks no groups: pass groups=..., the number of each atom's group, or "
            "ask for coherence."
        )
    return layer.shrinkage.penalty.groups


def _scaled_blocks(W: Tensor, D: Tensor, labels: Tensor, eps: float) -> float:
    W = W.clone()
    for group in range(int(labels.max()) + 1 if len(D) else 0):
        rows = labels == group
        own = W[rows] @ D[rows].T
        size = torch.linalg.matrix_norm(W[rows], 2) * torch.linalg.matrix_norm(D[rows], 2)
        if bool(torch.linalg.svdvals(own)[-1] <= eps * size):
            return float("inf")
        W[rows] = torch.linalg.solve(own, W[rows])
    return float(block_coherence_of(W, D, labels)) if len(D) else 0.0


def _scaled_coherence(W: Tensor, D: Tensor, eps: float) -> float:
    used = D.any(1)
    W, D = W[used], D[used]
    own = (W * D).sum(1)
    if bool((own <= eps * W.norm(dim=1) * D.norm(dim=1)).any()):
        return float("inf")
    return float(mutual_coherence(W / own[:, None], D)) if len(D) else 0.0
