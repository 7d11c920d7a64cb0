"""How much a layer, and all of them, can enlarge an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import Observation
from sklearn_unroll.nn import ProxGradLayer
from sklearn_unroll.theory._subject import Subject, examine

__all__ = ["Amplification", "amplification"]


class Amplification(NamedTuple):
    """Factors of :func:`amplification`, all of them largest singular values.

    Parameters
    ----------
    at_data : ndarray of shape (n_samples, n_layers)
        By how much a layer enlarges a small error of the iterate that a sample brings to it, in
        the worst direction.
    worst : ndarray of shape (n_layers,)
        The same where the shrinkage lets everything pass: no data, and no error however large,
        are enlarged more. NaN for layers that are no proximal-gradient layers.
    through : ndarray of shape (n_samples,)
        By how much all layers together enlarge a small error of the first iterate.
    worst_through : float
        The same where the shrinkages let everything pass; NaN where that is not known.
    """

    at_data: np.ndarray
    worst: np.ndarray
    through: np.ndarray
    worst_through: float

    def __str__(self) -> str:
        return "\n".join(
            [
                "Amplification of errors, largest over directions",
                f"  by one layer, at the data            mean {self.at_data.mean():.3g}, "
                f"largest {self.at_data.max():.3g}",
                f"  by one layer, whatever the data      {self.worst.max():.3g}",
                f"  by all layers, at the data           mean {self.through.mean():.3g}, "
                f"largest {self.through.max():.3g}",
                f"  by all layers, whatever the data     {self.worst_through:.3g}",
            ]
        )


def amplification(
    estimator: Any, X: Any, *, n_iter: int = 30, random_state: int = 0, **metadata: Any
) -> Amplification:
    """Return how much layers can enlarge an error, at data and in the worst case.

    Layers of a classical step never enlarge one. Trained layers may, in directions that
    training has not shown them: where ``worst_through`` is a million and ``through`` is one, the
    network is right on its data and may be a million times off on others. A guard (the
    parameter ``guard``) keeps the answer from it, and
    :class:`~sklearn_unroll.training.Augmentation` takes it away. The network is examined in
    float64, in its own units, without its guard.

    Parameters
    ----------
    estimator : estimator or Unrolled
        A fitted estimator with a network, or a network.
    X : array-like of shape (n_samples, n_features) or Observation
        Observations; with a network alone, an Observation with their operator.
    n_iter : int, default=30
        Iterations of the power method; factors are from below.
    random_state : int, default=0
        Seed of its first directions.
    **metadata : Any
        What ``predict`` takes for each sample, such as ``operators``.

    Returns
    -------
    Amplification
        Factors by layer and by sample.

    Raises
    ------
    ValueError
        If n_iter is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_unroll import LISTARegressor, Trainer
    >>> from sklearn_unroll.theory import amplification
    >>> rng = np.random.default_rng(0)
    >>> X, D = rng.standard_normal((50, 8)), rng.standard_normal((12, 8))
    >>> ista = LISTARegressor(D, n_layers=3, trainer=Trainer(max_epochs=0)).fit(X)
    >>> factors = amplification(ista, X)
    >>> bool(factors.worst.max() < 1 + 1e-6)
    True
    """
    if n_iter < 1:
        raise ValueError(f"n_iter must be at least 1, got {n_iter!r}.")
    subject = examine(estimator, X, **metadata)
    network, obs = subject.network.requires_grad_(False), subject.obs
    seed = torch.Generator().manual_seed(random_state)
    with torch.no_grad():
        states = [_kept(layer, state) for layer, state in _walk(subject)]
    n = obs.A.n_components

    def norm(function: Callable[[Tensor], Tensor], x: Tensor) -> np.ndarray:
        return _norms(function, x, n_iter, seed).numpy()

    at_data, worst = [], []
    for layer, (state, x) in zip(network.layers, states, strict=True):
        at_data.append(norm(_step(layer, state, obs), x))
        known = isinstance(layer, ProxGradLayer)
        worst.append(norm(_point(layer, state, obs), x).max() if known else np.nan)

    def through(x: Tensor) -> Tensor:
        state = network.layers[0].with_iterate(states[0][0], x)
        for layer in network.layers:
            state = layer(state, obs)
        return network.layers[-1].readout(state)

    def through_points(x: Tensor) -> Tensor:
        for layer, (state, _) in zip(network.layers, states, strict=True):
            x = _point(layer, state, obs)(x)
        return x

    x = states[0][1]
    known = not np.isnan(worst).any()
    largest = float(norm(through_points, x).max()) if known and n else float("nan")
    return Amplification(np.stack(at_data, 1), np.array(worst), norm(through, x), largest)


def _walk(subject: Subject) -> Any:
    """Yield every layer with the state before it."""
    states = subject.network.states(subject.obs)
    return zip(subject.network.layers, states, strict=False)


def _kept(layer: Any, state: Any) -> tuple[Any, Tensor]:
    """Return a state that later layers do not overwrite, and its iterate."""
    x = layer.readout(state).clone()
    return layer.with_iterate(state, x), x


def _step(layer: Any, state: Any, obs: Observation) -> Callable[[Tensor], Tensor]:
    return lambda x: layer.readout(layer(layer.with_iterate(state, x), obs))


def _point(layer: ProxGradLayer, state: Any, obs: Observation) -> Callable[[Tensor], Tensor]:
    """Return the map to the point that is shrunk."""
    return lambda x: layer.rule(x, state.memory, obs, layer.weights)[0]


@torch.enable_grad()
def _norms(
    function: Callable[[Tensor], Tensor], x: Tensor, n_iter: int, seed: torch.Generator
) -> Tensor:
    """Return the largest singular value of the derivative at every row, by the power method."""
    v = torch.randn(x.shape, generator=seed, dtype=torch.float64).to(x)
    x = x.detach().requires_grad_(True)
    y = function(x)
    if not y.requires_grad:
        return torch.zeros_like(x[:, 0]).detach()
    u = torch.zeros_like(y, requires_grad=True)
    # Linear in u: differentiated again it gives products with the derivative itself.
    pulled = torch.autograd.grad(y, x, u, create_graph=True, allow_unused=True)[0]
    if pulled is None:
        return torch.zeros_like(x[:, 0]).detach()
    sigma = torch.zeros_like(x[:, 0])
    for _ in range(n_iter):
        v = v / v.norm(dim=1, keepdim=True).clamp_min(torch.finfo(v.dtype).tiny)
        pushed = torch.autograd.grad(pulled, u, v, retain_graph=True)[0]
        sigma = pushed.norm(dim=1)
        v = torch.autograd.grad(y, x, pushed, retain_graph=True)[0]
    return sigma.detach()
