"""How the optimum moves when what the network is trained on is perturbed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from sklearn_unroll.theory._depth_limit import depth_distance, training_loss

__all__ = ["PerturbationStability", "perturbation_stability"]

PERTURBATIONS = ("initial", "data", "label")


class PerturbationStability(NamedTuple):
    """What :func:`perturbation_stability` found, by what was perturbed.

    Parameters
    ----------
    sizes : ndarray of shape (n_sizes,)
        Root mean square of the perturbation, relative to that of what it perturbs.
    value_changes : dict of str to ndarray of shape (n_sizes,)
        ``|E_eps - E_0|``, the change of the least loss found.
    parameter_changes : dict of str to ndarray of shape (n_sizes,)
        Distance of the minimisers found in L2(0, 1), relative to the norm of the unperturbed
        one, the largest over the kinds of parameters.
    value_rates, parameter_rates : dict of str to float
        Slopes fitted to logarithms of changes over logarithms of sizes: 1 is Lipschitz.
    """

    sizes: np.ndarray
    value_changes: dict[str, np.ndarray]
    parameter_changes: dict[str, np.ndarray]
    value_rates: dict[str, float]
    parameter_rates: dict[str, float]


def perturbation_stability(
    estimator: Any,
    X: Any,
    y: Any,
    perturb: str | Sequence[str] = PERTURBATIONS,
    *,
    sizes: Sequence[float] = (1e-1, 1e-2, 1e-3, 1e-4),
    names: Sequence[str] = ("W", "tau", "lam"),
    random_state: int = 0,
) -> PerturbationStability:
    """Train again on perturbed first iterates, observations or labels, ever less perturbed.

    Lin and Wu 2026, Section 4: as the perturbation goes to zero the least value of the learning
    problem converges, and cluster points of the minimisers are minimisers. That gives no rate,
    and says nothing of what training finds; here it starts and shuffles alike each time
    (``random_state`` of the estimator), and the rate is measured, along one random direction.

    Parameters
    ----------
    estimator : estimator
        Unfitted, with a fixed ``random_state``; cloned. ``"initial"`` needs a parameter ``x0``,
        None or an array, as in :class:`~sklearn_unroll.FBSNet`.
    X : array-like of shape (n_samples, n_features)
        Observations; computed in float64.
    y : array-like of shape (n_samples, n_components)
        True codes.
    perturb : sequence of {"initial", "data", "label"}, default=("initial", "data", "label")
        What to perturb, one at a time.
    sizes : sequence of float, default=(1e-1, 1e-2, 1e-3, 1e-4)
        Positive; root mean square relative to that of X or y; to that of y for the first iterate.
    names : sequence of str, default=("W", "tau", "lam")
        Parameters to compare, by their names in a layer.
    random_state : int, default=0
        Seed of the direction.

    Returns
    -------
    PerturbationStability
        Changes and fitted rates.

    Examples
    --------
    >>> from sklearn_unroll import FBSNet
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.theory import perturbation_stability
    >>> data = make_sparse_recovery(60, 10, 15, sparsity=2, random_state=0)
    >>> model = FBSNet(data.dictionary, n_layers=3, horizon=2.0, random_state=0)
    >>> model = model.set_params(trainer__max_epochs=3)
    >>> found = perturbation_stability(model, data.X, data.y, "label", sizes=(1e-2, 1e-3, 1e-4))
    >>> 0.8 < found.value_rates["label"] < 1.2
    True
    """
    kinds = (perturb,) if isinstance(perturb, str) else tuple(perturb)
    unknown = [kind for kind in kinds if kind not in PERTURBATIONS]
    if unknown or not kinds:
        raise ValueError(f"perturb must name some of {PERTURBATIONS}, got {perturb!r}.")
    if len(sizes) < 2 or min(sizes) <= 0:
        raise ValueError(f"sizes must be at least two positive numbers, got {sizes!r}.")
    X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    base = clone(estimator).fit(X, y)
    least = training_loss(base, X, y)
    rng = np.random.default_rng(random_state)
    values, parameters = {}, {}
    for kind in kinds:
        direction = _direction(kind, X, y, rng)
        x0 = _given_start(estimator, direction) if kind == "initial" else None
        moved = []
        for size in sizes:
            data = X + size * direction if kind == "data" else X
            label = y + size * direction if kind == "label" else y
            model = clone(estimator)
            if kind == "initial":
                model.set_params(x0=x0 + size * direction)
            model.fit(data, label)
            value = abs(training_loss(model, data, label) - least)
            moved.append((value, _largest_change(base, model, names)))
        values[kind], parameters[kind] = (np.array(column) for column in zip(*moved, strict=True))
    return PerturbationStability(
        np.array(sizes, dtype=float),
        values,
        parameters,
        {kind: _rate(sizes, change) for kind, change in values.items()},
        {kind: _rate(sizes, change) for kind, change in parameters.items()},
    )


def _direction(kind: str, X: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    like = X if kind == "data" else y
    shape = like.shape[1:] if kind == "initial" else like.shape
    direction = rng.standard_normal(shape)
    return direction * np.sqrt(np.mean(like**2) / np.mean(direction**2))


def _given_start(estimator: Any, direction: np.ndarray) -> np.ndarray:
    x0 = estimator.get_params(deep=False).get("x0", "none at all")
    if isinstance(x0, str) or callable(x0):
        raise ValueError(
            f"perturb='initial' needs an estimator with a parameter x0 that is None or an array; "
            f"that of {type(estimator).__name__} is {x0!r}."
        )
    return np.zeros_like(direction) if x0 is None else np.asarray(x0, dtype=float)


def _largest_change(base: Any, model: Any, names: Sequence[str]) -> float:
    changes = []
    for name in names:
        before = base.network_.over_depth(name)
        size = depth_distance(before, [0 * before[0]])
        changes.append(depth_distance(before, model.network_.over_depth(name)) / (size or 1.0))
    return max(changes)


def _rate(sizes: Sequence[float], changes: np.ndarray) -> float:
    moved = changes > 0
    if moved.sum() < 2:
        return float("nan")
    return float(np.polyfit(np.log(np.asarray(sizes)[moved]), np.log(changes[moved]), 1)[0])
