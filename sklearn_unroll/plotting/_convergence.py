"""How codes improve from layer to layer, beside classical iterations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from sklearn_unroll.estimators._validation import to_tensor
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.metrics import duality_gap, nmse_db
from sklearn_unroll.metrics._checks import to_numpy
from sklearn_unroll.plotting._axes import draw_by_layer, get_axes
from sklearn_unroll.solvers import FISTA, ISTA, Method, iterates

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ConvergenceDisplay"]

CLASSICAL = {"ista": ISTA, "fista": FISTA}
LABELS = {"nmse": "NMSE (dB)", "gap": "relative duality gap"}
Solver = Callable[[Observation, float], Method]


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
        name: str | None = None,
        ax: Axes | None = None,
        **line_kw: Any,
    ) -> ConvergenceDisplay:
        """Plot the quality of a fitted estimator's codes after every layer.

        Parameters
        ----------
        estimator : estimator
            A fitted unrolled estimator.
        X : array-like of shape (n_samples, n_features)
            Observations.
        y : array-like of shape (n_samples, n_components), default=None
            True codes: with them NMSE is shown, without them the duality gap.
        compare_with : iterable of {"ista", "fista"} or dict of str to callable, \
                default=("ista", "fista")
            Classical solvers to run for as many iterations. A dict gives names to callables
            ``make(obs, alpha)`` that return a :class:`~sklearn_unroll.solvers.Method`, such as
            ``functools.partial(FISTA, restart=False)``.
        alpha : float, default=None
            Weight of the l1 norm for these solvers and for the duality gap; the estimator's by
            default.
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
        """
        check_is_fitted(estimator)
        solvers = _solvers(compare_with)
        alpha = getattr(estimator, "alpha", None) if alpha is None else alpha
        if solvers and alpha is None:
            raise ValueError(
                f"{type(estimator).__name__} has no alpha for {sorted(solvers)} to use; pass "
                f"alpha=..., or compare_with=()."
            )
        name = name or type(estimator).__name__
        if name in solvers:
            raise ValueError(f"name={name!r} is also that of a solver in compare_with.")
        staged = {name: list(estimator.staged_predict(X))}
        cpu = torch.device("cpu")
        D = to_tensor(estimator.dictionary_, dtype=torch.float64, device=cpu)
        obs = Observation(to_tensor(to_numpy(X), dtype=torch.float64, device=cpu), Dense(D))
        n_iter = estimator.network_.depth
        for solver, make in solvers.items():
            staged[solver] = [x.numpy() for x in iterates(make(obs, alpha), obs, n_iter)][1:]
        return cls.from_predictions(
            staged, y, X=X, dictionary=D.numpy(), alpha=alpha, ax=ax, **line_kw
        )

    @classmethod
    def from_predictions(
        cls,
        staged: Mapping[str, Iterable[Any]],
        y: Any = None,
        *,
        X: Any = None,
        dictionary: Any = None,
        alpha: float | None = None,
        ax: Axes | None = None,
        **line_kw: Any,
    ) -> ConvergenceDisplay:
        """Plot the quality of given codes after every layer or iteration.

        Parameters
        ----------
        staged : dict of str to iterable of array-like of shape (n_samples, n_components)
            Codes after layer 1, 2, ..., by name.
        y : array-like of shape (n_samples, n_components), default=None
            True codes. Without them X, dictionary and alpha must be given.
        X : array-like of shape (n_samples, n_features), default=None
            Observations, for the duality gap.
        dictionary : array-like of shape (n_components, n_features), default=None
            Dictionary, for the duality gap.
        alpha : float, default=None
            Weight of the l1 norm, for the duality gap.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        ConvergenceDisplay
            The display, drawn.
        """
        if y is not None:
            quantity = "nmse"

            def quality(codes):
                return nmse_db(y, codes)
        elif X is None or dictionary is None or alpha is None:
            raise ValueError(
                "Give y, to show NMSE, or all of X, dictionary and alpha, to show duality gaps."
            )
        else:
            quantity = "gap"

            def quality(codes):
                codes = to_numpy(codes)
                codes = codes[:, None] if np.ndim(codes) == 1 else codes
                return duality_gap(X, codes, dictionary, alpha).mean()

        curves = {
            name: np.array([float(quality(codes)) for codes in codes_by_layer])
            for name, codes_by_layer in staged.items()
        }
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
        self.ax_ = get_axes(ax)
        self.figure_ = self.ax_.figure
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
            f"{sorted(CLASSICAL)}, or a dict of names to callables make(obs, alpha)."
        )
    return {name: CLASSICAL[name] for name in names}
