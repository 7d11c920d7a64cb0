"""Do the layers descend, and what follows from it on average."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import Composite
from sklearn_unroll.functional.descent import DESCENT_KINDS, descent_size
from sklearn_unroll.theory._subject import GIVEN, Trained, examine, leaving

__all__ = ["ConvergenceReport", "convergence_report"]


class ConvergenceReport(NamedTuple):
    """What :func:`convergence_report` has found; ``str`` of it is a table.

    Parameters
    ----------
    kind : str
        What was measured.
    sizes : ndarray of shape (n_layers + 1,)
        Mean size g of the iterates ``x_0 .. x_K``.
    descending : ndarray of shape (n_layers,)
        Fraction of the samples whose size is less after a layer than before.
    excess : ndarray of shape (n_layers,)
        Mean of ``g(x_l) - (1 - epsilon) g(x_(l-1))``; at most zero where a layer keeps the
        constraint.
    epsilon : float
        The descent that is asked of a layer.
    slack : float
        The largest excess, at least zero, with the margin for ``n_samples``.
    rate : float
        ``1 - epsilon``.
    radius : float
        ``slack / epsilon``.
    bound : ndarray of shape (n_layers + 1,)
        ``rate^l sizes[0] + radius (1 - rate^l)``.
    n_samples : int
        Samples that were measured.
    confidence : float
        Probability with which the bound holds for the mean over fresh samples.
    """

    kind: str
    sizes: np.ndarray
    descending: np.ndarray
    excess: np.ndarray
    epsilon: float
    slack: float
    rate: float
    radius: float
    bound: np.ndarray
    n_samples: int
    confidence: float

    def __str__(self) -> str:
        head = (
            f"{self.kind}, {self.n_samples} samples: bound "
            f"{self.rate:.3g}^l * {self.sizes[0]:.3g} + {self.radius:.3g} (1 - {self.rate:.3g}^l) "
            f"with probability {self.confidence:.3g}"
        )
        rows = ["layer   size    bound   excess   descending"]
        rows += [f"{0:5d} {self.sizes[0]:8.3g} {self.bound[0]:8.3g}"]
        rows += [
            f"{number:5d} {self.sizes[number]:8.3g} {self.bound[number]:8.3g} {excess:8.2g} "
            f"{100 * share:8.0f} %"
            for number, (excess, share) in enumerate(
                zip(self.excess, self.descending, strict=True), 1
            )
        ]
        return "\n".join([head, *rows])


@torch.no_grad()
def convergence_report(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    kind: str = "distance",
    epsilon: float | None = None,
    alpha: float | None = None,
    confidence: float = 0.95,
    **metadata: Any,
) -> ConvergenceReport:
    """Compare the layers with ``E g_l <= r^l E g_0 + (1 - r^l) zeta / eps``, ``r = 1 - eps``.

    If every layer keeps ``E[g_l] <= (1 - eps) E[g_(l-1)] + zeta``, the bound follows by
    induction. The slack zeta is the largest mean excess over the layers, plus Hoeffding's margin
    ``M sqrt(log(K / (1 - confidence)) / (2 n))`` for n samples of excess in a range M (the range
    that was seen) and K layers. Hadou, NaderiAlizadeh and Ribeiro 2024 prove such a statement by
    supermartingales for the least gradient so far; their constants could not be confirmed, this
    bound is derived here, for means.

    Gradient and objective are those of the estimator's ``problem``, all sizes in its units; the
    objective is that of the nearest point of the penalty's domain.

    Parameters
    ----------
    estimator : estimator or Unrolled
        A fitted estimator with a network, or a network.
    X : array-like of shape (n_samples, n_features) or Observation
        Observations, fresh ones; with a network alone, an Observation with their operator, or
        instances that know their problem.
    y : array-like of shape (n_samples, n_components), default=None
        True codes; needed for "distance".
    kind : {"distance", "gradient", "objective"}, default="distance"
        What should fall, see :class:`~sklearn_unroll.training.Descent`.
    epsilon : float, default=None
        The descent asked of a layer; None takes that of the constraint of this kind that the
        network was trained under, or 0.05.
    alpha : float, default=None
        Weight of the l1 norm for "objective"; None takes the estimator's penalty.
    confidence : float, default=0.95
        Probability of the bound.
    **metadata : Any
        What ``predict`` takes for each sample, such as ``operators``.

    Returns
    -------
    ConvergenceReport
        Measured sizes, slack and bound. Nothing is claimed that the numbers do not give: where
        the slack is large the radius is, too.

    Raises
    ------
    TypeError
        If there is no network, or no operator.
    ValueError
        If y is missing for a distance, epsilon or confidence are no fractions, or a size is not
        finite.

    Examples
    --------
    >>> from sklearn_unroll import LISTARegressor, Trainer
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.theory import convergence_report
    >>> data = make_sparse_recovery(200, 20, 30, sparsity=2, random_state=0)
    >>> model = LISTARegressor(data.dictionary, n_layers=4, trainer=Trainer(max_epochs=2))
    >>> report = convergence_report(model.fit(data.X, data.y), data.X, data.y)
    >>> bool((report.sizes <= report.bound).all())
    True
    """
    epsilon = _asked(estimator, kind) if epsilon is None else epsilon
    for name, value in {"epsilon": epsilon, "confidence": confidence}.items():
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie between 0 and 1, got {value}.")
    if kind not in DESCENT_KINDS:
        raise ValueError(f"kind must be 'distance', 'gradient' or 'objective', got {kind!r}.")
    if kind == "distance" and y is None:
        raise ValueError("kind='distance' needs y, the codes that the layers should approach.")
    g = _sizes(kind, estimator, X, y, alpha, metadata)
    each = g[:, 1:] - (1 - epsilon) * g[:, :-1]
    n, n_layers = each.shape
    margin = np.ptp(each, 0) * math.sqrt(math.log(n_layers / (1 - confidence)) / (2 * n))
    slack, mean = max(float((each.mean(0) + margin).max()), 0.0), g.mean(0)
    decay = (1 - epsilon) ** np.arange(n_layers + 1)
    radius = slack / epsilon
    return ConvergenceReport(
        kind=kind,
        sizes=mean,
        descending=(g[:, 1:] < g[:, :-1]).mean(0),
        excess=each.mean(0),
        epsilon=epsilon,
        slack=slack,
        rate=1 - epsilon,
        radius=radius,
        bound=decay * mean[0] + radius * (1 - decay),
        n_samples=n,
        confidence=confidence,
    )


def _asked(estimator: Any, kind: str) -> float:
    """Return by what share the constraints of training ask the layers to lower this kind."""
    trained = isinstance(estimator, Trained)
    constraints = estimator.trainer_.resolve_constraints(True, 0.0) if trained else []
    told = [part.get_params(deep=False) for part in constraints]
    return next((p.get("epsilon", 0.05) for p in told if p.get("kind") == kind), 0.05)


def _sizes(
    kind: str, estimator: Any, X: Any, y: Any, alpha: float | None, metadata: dict
) -> np.ndarray:
    """Return the sizes of all iterates, of shape (n_samples, n_layers + 1)."""
    network, obs, codes = examine(estimator, X, y, **metadata)
    problem = obs
    if not isinstance(X, GIVEN):
        problem = estimator.problem(X, alpha=alpha, **metadata).exact()
    if kind != "distance" and problem.A.n_components != obs.A.n_components:
        raise ValueError(
            f"kind={kind!r} is not known: the network of {type(estimator).__name__} sees "
            f"{obs.A.n_components} components, its problem {problem.A.n_components}, as pictures "
            f"are padded. Give the network with what observe returns, or use kind='distance'."
        )
    leave = leaving(estimator, X, (len(problem.b), problem.A.n_components), **metadata)
    in_domain = kind == "objective" and isinstance(problem, Composite)

    def out(x: Tensor) -> Tensor:
        return problem.R.prox(leave(x), 0.0) if in_domain else leave(x)

    y, weight = None if codes is None else out(codes), 0.0 if alpha is None else alpha
    sizes = [descent_size(kind, out(x), problem, y, weight) for x in network.stream(obs)]
    g = torch.stack(sizes, 1).numpy(force=True)
    if not np.isfinite(g).all():
        layers = np.flatnonzero(~np.isfinite(g).all(0)).tolist()
        raise ValueError(f"kind={kind!r} is not finite after layers {layers}: iterates diverge.")
    return g
