"""How codes improve from layer to layer, beside classical iterations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted

from sklearn_unroll.functional import Composite, Zero, composite_gap
from sklearn_unroll.metrics import nmse_db
from sklearn_unroll.metrics._checks import to_numpy
from sklearn_unroll.plotting._axes import draw_by_layer, get_axes
from sklearn_unroll.solvers import CompositeDescent, Method, NesterovDescent, iterates

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ConvergenceDisplay"]

Solver = Callable[[Composite], Method]
CLASSICAL: dict[str, Solver] = {
    "ista": lambda problem: CompositeDescent(),
    "fista": lambda problem: NesterovDescent(),
}
LABELS = {"nmse": "NMSE (dB)", "gap": "relative duality gap"}


class ConvergenceDisplay:
    """How codes improve from layer to layer, beside classical iterations.

    Make one with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    curves : dict of str to ndarray of shape (n_layers,)
        Quality after every layer or iteration, counted from 1, by name.
    quantity : {"nmse", "gap"}
        ``"nmse"``: pooled NMSE in dB, linear axis. ``"gap"``: mean duality gap relative to
        the objective of the zero code, logarithmic axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure of these axes.
    lines_ : list of matplotlib Line2D
        The curves.

    Examples
    --------
    >>> from sklearn_unroll import LISTARegressor, Trainer
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.plotting import ConvergenceDisplay
    >>> data = make_sparse_recovery(50, n_features=8, n_components=12, random_state=0)
    >>> model = LISTARegressor(
    ...     data.dictionary, n_layers=4, trainer=Trainer(max_epochs=2), random_state=0
    ... ).fit(data.X, data.y)
    >>> display = ConvergenceDisplay.from_estimator(model, data.X, data.y)
    >>> sorted(display.curves)
    ['LISTARegressor', 'fista', 'ista']
    """

    def __init__(self, *, curves: Mapping[str, np.ndarray], quantity: str) -> None:
        self.curves = dict(curves)
        self.quantity = quantity

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        compare_with: Iterable[str] | Mapping[str, Solver] = ("ista", "fista"),
        alpha: float | None = None,
        operators: Any = None,
        name: str | None = None,
        ax: Axes | None = None,
        **line_kw: Any,
    ) -> ConvergenceDisplay:
        """Plot the quality of a fitted estimator's codes after every layer.

        The problem is that of ``estimator.problem(X)``, for gaps and for classical solvers.

        Parameters
        ----------
        estimator : estimator
            A fitted unrolled estimator that gives codes.
        X : array-like of shape (n_samples, n_features)
            Observations.
        y : array-like of shape (n_samples, n_components), default=None
            True codes: with them NMSE is shown, without them the duality gap.
        compare_with : iterable of {"ista", "fista"} or dict of str to callable, \
                default=("ista", "fista")
            Classical solvers to run for as many iterations. A dict gives names to callables
            ``make(problem)`` that return a :class:`~sklearn_unroll.solvers.Method`, such as
            ``lambda problem: NesterovDescent(restart=False)``.
        alpha : float, default=None
            Weight of the l1 norm for these solvers and for the duality gap; the estimator's
            penalty by default.
        operators : array-like of shape (n_samples, n_components, n_features), default=None
            One for each observation, for estimators that take them.
        name : str, default=None
            Label of the estimator's curve; its class name by default.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        ConvergenceDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator gives no codes layer by layer.
        ValueError
            If a solver is not known, or there is no penalty to compare at.
        """
        check_is_fitted(estimator)
        solvers, own = _solvers(compare_with), type(estimator).__name__
        if not HasMethods(["staged_predict", "problem"]).is_satisfied_by(estimator):
            raise TypeError(
                f"{own} gives no codes layer by layer: an estimator with staged_predict and "
                f"problem is needed. For others there is from_predictions."
            )
        name = name or own
        if name in solvers:
            raise ValueError(f"name={name!r} is also that of a solver in compare_with.")
        metadata = {} if operators is None else {"operators": operators}
        problem = estimator.problem(X, alpha=alpha, **metadata).exact()
        if isinstance(problem.R, Zero) and (solvers or y is None):
            raise ValueError(
                f"{own} has no alpha for {sorted(solvers) or 'the duality gap'} to use; pass "
                f"alpha=..., or y and compare_with=()."
            )
        staged = {name: list(estimator.staged_predict(X, **metadata))}
        n_iter = len(staged[name])
        for solver, make in solvers.items():
            staged[solver] = [x.clone() for x in iterates(make(problem), problem, n_iter)][1:]
        return cls.from_predictions(staged, y, problem=problem, ax=ax, **line_kw)

    @classmethod
    def from_predictions(
        cls,
        staged: Mapping[str, Iterable[Any]],
        y: Any = None,
        *,
        problem: Composite | None = None,
        ax: Axes | None = None,
        **line_kw: Any,
    ) -> ConvergenceDisplay:
        """Plot the quality of given codes after every layer or iteration.

        Parameters
        ----------
        staged : dict of str to iterable of array-like of shape (n_samples, n_components)
            Codes after layer 1, 2, ..., by name.
        y : array-like of shape (n_samples, n_components), default=None
            True codes. Without them the problem must be given.
        problem : Composite, default=None
            What the codes should solve, for the duality gap: ``problem(X)`` of any estimator,
            such as :class:`~sklearn_unroll.LassoCoder`.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        ConvergenceDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there is neither y nor a problem.
        """
        if y is None and problem is None:
            raise ValueError(
                "Give y, to show NMSE, or problem=estimator.problem(X), to show duality gaps."
            )
        exact = None if problem is None else problem.exact()

        def quality(codes: Any) -> float:
            if y is not None:
                return nmse_db(y, codes)
            z = torch.as_tensor(to_numpy(codes)).to(exact.b)
            return float(composite_gap(z.reshape(len(z), -1), exact).mean())

        curves = {
            name: np.array([quality(codes) for codes in codes_by_layer])
            for name, codes_by_layer in staged.items()
        }
        quantity = "gap" if y is None else "nmse"
        return cls(curves=curves, quantity=quantity).plot(ax=ax, **line_kw)

    def plot(self, ax: Axes | None = None, **line_kw: Any) -> ConvergenceDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        ConvergenceDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        self.lines_ = draw_by_layer(self.ax_, self.curves, line_kw)
        self.ax_.set(xlabel="layer or iteration", ylabel=LABELS[self.quantity])
        if self.quantity == "gap":
            self.ax_.set_yscale("log")
        return self


def _solvers(compare_with: str | Iterable[str] | Mapping[str, Solver]) -> dict[str, Solver]:
    """Return the solvers to compare with, by name."""
    if isinstance(compare_with, Mapping):
        return dict(compare_with)
    names = [compare_with] if isinstance(compare_with, str) else list(compare_with)
    unknown = set(names) - set(CLASSICAL)
    if unknown:
        raise ValueError(
            f"compare_with has unknown solvers {sorted(unknown)}; expected some of "
            f"{sorted(CLASSICAL)}, or a dict of names to callables make(problem)."
        )
    return {name: CLASSICAL[name] for name in names}
