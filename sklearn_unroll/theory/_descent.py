"""Do the layers descend, and what follows from it on average."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from sklearn_unroll.functional.descent import DESCENT_KINDS, descent_size
from sklearn_unroll.theory._subject import examine

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
) -> ConvergenceReport:
    """Compare the layers with ``E g_l <= r^l E g_0 + (1 - r^l) zeta / eps``, ``r = 1 - eps``.

    If every layer keeps ``E[g_l] <= (1 - eps) E[g_(l-1)] + zeta``, the bound follows by
    induction. The slack zeta is the largest mean excess over the layers, plus Hoeffding's margin
    ``M sqrt(log(K / (1 - confidence)) / (2 n))`` for n samples of excess in a range M (the range
    that was seen) and K layers. Hadou, NaderiAlizadeh and Ribeiro 2024 prove such a statement by
    supermartingales for the least gradient so far; their constants could not be confirmed, this
    bound is derived here, for means.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator with a network.
    X : array-like of shape (n_samples, n_features)
        Observations, fresh ones.
    y : array-like of shape (n_samples, n_components), default=None
        True codes; needed for "distance".
    kind : {"distance", "gradient", "objective"}, default="distance"
        What should fall, see :class:`~sklearn_unroll.training.Descent`.
    epsilon : float, default=None
        The descent asked of a layer; None takes that of the trainer's constraint, or 0.05.
    alpha : float, default=None
        Weight of the l1 norm for "objective"; None takes the estimator's.
    confidence : float, default=0.95
        Probability of the bound.

    Returns
    -------
    ConvergenceReport
        Measured sizes, slack and bound. Nothing is claimed that the numbers do not give: where
        the slack is large the radius is, too.

    Raises
    ------
    ValueError
        If y is missing for a distance, or epsilon or confidence are no fractions.

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
    if epsilon is None:
        constraint = getattr(getattr(estimator, "trainer", None), "constraint", None)
        epsilon = getattr(constraint, "epsilon", 0.05)
    for name, value in {"epsilon": epsilon, "confidence": confidence}.items():
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie between 0 and 1, got {value}.")
    alpha = getattr(estimator, "alpha", 0.0) if alpha is None else alpha
    if kind not in DESCENT_KINDS:
        raise ValueError(f"kind must be 'distance', 'gradient' or 'objective', got {kind!r}.")
    if kind == "distance" and y is None:
        raise ValueError("kind='distance' needs y, the codes that the layers should approach.")
    network, obs, codes = examine(estimator, X, y)
    sizes = [descent_size(kind, x, obs, codes, alpha) for x in network.stream(obs)]
    g = torch.stack(sizes, 1).numpy(force=True)
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
