"""What the theorems on LISTA ask of the weights: small coherence, and coupling.

No weight is read by its name. A layer's ``weights`` map ``(x, b)`` to the point to shrink,
``W1 b + W2 x``, so ``W1`` is the answer to ``x = 0, b = I``. That holds for free, coupled and
adjoint weights and for those of a third party.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_unroll.functional import Dense, Observation, mutual_coherence

__all__ = ["coherence", "weight_coupling"]

NORMS = {"spectral": 2, "frobenius": "fro"}


class Subject(NamedTuple):
    """What is examined: the layers, the operator they see in float64, and its rounding error."""

    layers: list[nn.Module]
    A: Dense
    eps: float


def coherence(estimator: Any) -> np.ndarray:
    """Return ``max_{i != j} |w_i^T a_j|`` of every layer, rows scaled to ``w_i^T a_i = 1``.

    The generalised mutual coherence of the weight on the residual and the dictionary; it sets
    the rate of LISTA-CP (Chen, Liu, Wang and Yin 2018), and ALISTA computes a weight for which it
    is small (Liu, Chen, Wang and Yin 2019). The weight is W1 for free weights, W for coupled and
    analytic ones, and the dictionary itself for adjoint weights, ``A^T``. Step sizes do not
    matter, since rows are scaled. Networks that normalise the atoms inside (ALISTA, HyperLISTA)
    are examined with the unit-norm atoms that they see.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator, or anything with ``network_`` and ``dictionary_``.

    Returns
    -------
    ndarray of shape (n_layers,)
        The coherence of each layer; tied layers are computed once. It is ``inf`` where
        ``w_i^T a_i`` is negative, or zero to rounding, for some i: no positive step scales such
        a row. Zero atoms are left out (an estimated dictionary has them where a component is
        never active).

    Raises
    ------
    AttributeError
        If the estimator has no network or no dictionary, so is not fitted.
    TypeError
        If ``network_`` is no unrolled network, or a layer has no weights.
    ValueError
        If the dictionary is no matrix (or None, one for each sample), or does not fit the network.

    See Also
    --------
    sklearn_unroll.functional.mutual_coherence : The same of a matrix, without scaling.
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
    subject = _examine(estimator)
    eye = torch.eye(subject.A.n_features).to(subject.A.D)
    zero = subject.A.D.new_zeros(subject.A.n_features, subject.A.n_components)
    one = eye.new_ones(())

    def measure(layer: nn.Module, gamma: Tensor) -> Tensor | float:
        W = _point(layer, zero.clone(), Observation(eye, subject.A), one).T
        return _scaled_coherence(W, subject.A.D, subject.eps)

    return _by_layer(subject.layers, measure, lambda layer: one)


def weight_coupling(estimator: Any, *, norm: str = "spectral") -> np.ndarray:
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
    estimator : estimator
        A fitted estimator, or anything with ``network_`` and ``dictionary_``.
    norm : {"spectral", "frobenius"}, default="spectral"
        Which matrix norm. Both are relative to that of I, which is one for the spectral norm
        and ``sqrt(n_components)`` for the Frobenius norm; so ``W1 = W2 = 0`` gives one.

    Returns
    -------
    ndarray of shape (n_layers,)
        The distance of each layer; tied layers are computed once. Learned step sizes are part
        of W1 and W2.

    Raises
    ------
    AttributeError
        If the estimator has no network or no dictionary, so is not fitted.
    TypeError
        If ``network_`` is no unrolled network, or a layer has no weights.
    ValueError
        If the norm is not known, the dictionary is no matrix (or None, one for each sample), or
        it does not fit the network.

    See Also
    --------
    sklearn_unroll.plotting.WeightDisplay : Draws it.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import torch
    >>> from sklearn_unroll.functional import Dense
    >>> from sklearn_unroll.nn import lista
    >>> from sklearn_unroll.theory import weight_coupling
    >>> D = torch.eye(3)
    >>> network = lista(Dense(D), n_layers=2, weights="free")
    >>> with torch.no_grad():
    ...     _ = network.layers[1].weights.W2.mul_(0).add_(0.5 * D)
    >>> weight_coupling(SimpleNamespace(network_=network, dictionary_=D))
    array([0. , 0.5])
    """
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {sorted(NORMS)}, got {norm!r}.")
    subject = _examine(estimator)
    eye = torch.eye(subject.A.n_components).to(subject.A.D)
    unit = torch.linalg.matrix_norm(eye, NORMS[norm])

    def measure(layer: nn.Module, gamma: Tensor) -> Tensor:
        # Row i is what the layer makes of the true code e_i of b = a_i, before it shrinks.
        point = _point(layer, eye.clone(), Observation(subject.A.D, subject.A), gamma)
        return torch.linalg.matrix_norm(point - eye, NORMS[norm]) / unit

    def step(layer: nn.Module) -> Tensor:
        gamma = getattr(getattr(layer, "rule", None), "gamma", None)
        return eye.new_ones(()) if gamma is None else torch.as_tensor(gamma).detach().to(eye)

    return _by_layer(subject.layers, measure, step)


def _examine(estimator: Any) -> Subject:
    missing = [name for name in ("network_", "dictionary_") if not hasattr(estimator, name)]
    if missing:
        raise AttributeError(
            f"A fitted estimator with network_ and dictionary_ is needed; "
            f"{type(estimator).__name__} has no {' and no '.join(missing)}. Call fit first."
        )
    network = estimator.network_
    if not hasattr(network, "layers"):
        raise TypeError(f"network_ must be an Unrolled network, got {type(network).__name__}.")
    for number, layer in enumerate(network.layers, 1):
        if not callable(getattr(layer, "weights", None)):
            raise TypeError(
                f"Layer {number} of the network, a {type(layer).__name__}, has no weights: a part "
                f"that maps (x, obs, gamma) to the point to shrink, as in ProxGradLayer."
            )
    if estimator.dictionary_ is None:
        raise ValueError(
            "dictionary_ is None: every sample has its own. Examine the network with one of them: "
            "SimpleNamespace(network_=estimator.network_, dictionary_=D)."
        )
    D = _to_tensor(estimator.dictionary_)
    if D.ndim != 2 or not D.is_floating_point():
        raise ValueError(
            f"dictionary_ must be a real matrix of shape (n_components, n_features), got shape "
            f"{tuple(D.shape)} and {D.dtype}."
        )
    eps = D.shape[1] * torch.finfo(D.dtype).eps
    device = next(chain(network.parameters(), network.buffers(), [D])).device
    D = D.to(device, torch.float64)
    # The networks of these estimators were built for atoms of norm one.
    if getattr(estimator, "_unit_atoms", False):
        D = nn.functional.normalize(D, eps=torch.finfo(D.dtype).tiny)
    return Subject(list(network.layers), Dense(D), eps)


def _to_tensor(array: Any) -> Tensor:
    if isinstance(array, Tensor):
        return array.detach()
    if hasattr(array, "__dlpack__") and not isinstance(array, np.ndarray):
        return torch.from_dlpack(array)
    return torch.tensor(np.asarray(array))


@torch.no_grad()
def _point(layer: nn.Module, x: Tensor, obs: Observation, gamma: Tensor) -> Tensor:
    """Return the point that a layer is about to shrink, computed in float64."""
    try:
        return deepcopy(layer.weights).double()(x, obs, gamma)
    except RuntimeError as error:
        raise ValueError(
            f"dictionary_ of shape {tuple(obs.A.D.shape)} does not fit the network: {error}"
        ) from error


def _scaled_coherence(W: Tensor, D: Tensor, eps: float) -> Tensor | float:
    used = D.any(1)
    W, D = W[used], D[used]
    own = (W * D).sum(1)
    if bool((own <= eps * W.norm(dim=1) * D.norm(dim=1)).any()):
        return float("inf")
    return mutual_coherence(W / own[:, None], D) if len(D) else 0.0


def _by_layer(
    layers: list[nn.Module],
    measure: Callable[[nn.Module, Tensor], Tensor | float],
    step: Callable[[nn.Module], Tensor],
) -> np.ndarray:
    """Return one number a layer, the same for layers with the same weights and step."""
    values: dict[tuple, float] = {}
    keys: list[tuple] = []
    for layer in layers:
        gamma = step(layer)
        keys.append((id(layer.weights), *gamma.flatten().tolist()))
        if keys[-1] not in values:
            values[keys[-1]] = float(measure(layer, gamma))
    return np.array([values[key] for key in keys])
