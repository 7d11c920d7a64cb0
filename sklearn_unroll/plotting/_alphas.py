"""What criteria say of alphas, and which alpha each of them takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sklearn_unroll.metrics import AlphaScores
from sklearn_unroll.metrics._alphas import all_scores
from sklearn_unroll.metrics._checks import to_numpy
from sklearn_unroll.plotting._axes import dress, get_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AlphaScoresDisplay"]

LABELS = {
    "sure": "SURE",
    "discrepancy": "residual (discrepancy)",
    "cross_validation": "on entries held out",
    "error": "true error",
}


class AlphaScoresDisplay:
    """Mean squared errors of signals over alpha, as criteria estimate them, with their choices.

    Make one with :meth:`from_estimator`. Each curve has a dot at the alpha that its criterion
    takes, the true one a cross: the least, or where the residual is as large as the noise, the
    dashed line.

    Parameters
    ----------
    scores : dict of str to AlphaScores
        By criterion, as :func:`~sklearn_unroll.metrics.alpha_scores` returns them; "error" is the
        true one.
    variance : float, default=None
        Mean of the squared noise levels; "discrepancy" is drawn as a multiple of it.
    relative : bool, default=False
        Whether alphas are fractions.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure of these axes.
    lines_ : list of matplotlib Line2D
        One curve for each criterion.
    best_ : list of matplotlib Line2D
        Their dots.

    See Also
    --------
    sklearn_unroll.metrics.alpha_scores : The numbers, for one criterion.

    Examples
    --------
    >>> from sklearn_unroll import LassoCoder
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.plotting import AlphaScoresDisplay
    >>> data = make_sparse_recovery(100, 20, 40, sparsity=3, snr_db=20, random_state=0)
    >>> coder = LassoCoder(data.dictionary).fit(data.X)
    >>> display = AlphaScoresDisplay.from_estimator(coder, data.X, alphas=10, noise=data.noise_std)
    >>> sorted(display.scores)
    ['cross_validation', 'discrepancy', 'sure']
    """

    def __init__(
        self,
        *,
        scores: Mapping[str, AlphaScores],
        variance: float | None = None,
        relative: bool = False,
    ) -> None:
        self.scores = dict(scores)
        self.variance = variance
        self.relative = relative

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        alphas: Any = 50,
        criterion: str | Sequence[str] | None = None,
        noise: Any = None,
        cv: Any = None,
        X_true: Any = None,
        ax: Axes | None = None,
        **line_kw: Any,
    ) -> AlphaScoresDisplay:
        """Score alphas by one or more criteria, and draw the scores.

        Parameters
        ----------
        estimator : LassoCoder
            Fitted.
        X : array-like of shape (n_samples, n_features)
            Signals with noise; NaN is what was not seen.
        alphas : int or array-like of shape (n_alphas,), default=50
            Weights of the l1 norm, or how many.
        criterion : str or sequence of str, default=None
            Of "sure", "discrepancy" and "cross_validation"; by default all that can be had: the
            last, and with a noise all.
        noise : float or array-like of shape (n_samples,), default=None
            Standard deviation of the noise, in the units of X.
        cv : int, cross-validation splitter or iterable, default=None
            Which features to hold out; five shuffled folds by default.
        X_true : array-like of shape (n_samples, n_features), default=None
            Signals without noise, where they are known, ``coder.inverse_transform(y)`` of true
            codes; draws the true error, over all entries.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        AlphaScoresDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If a criterion is not known or needs a noise that is not given, or sizes do not fit.
        """
        known = [name for name in LABELS if name != "error"]
        if criterion is None:
            names = ["cross_validation"] if noise is None else known
        else:
            names = [criterion] if isinstance(criterion, str) else list(criterion)
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(f"criterion must name some of {known}, got {unknown[0]!r}.")
        if X_true is not None:
            if np.shape(X_true) != np.shape(X):
                raise ValueError(
                    f"X_true must hold the signals of X without noise, of shape {np.shape(X)}, "
                    f"such as coder.inverse_transform(y); got {np.shape(X_true)}."
                )
            names = [*names, "error"]
        scores = all_scores(estimator, X, alphas, names, noise=noise, cv=cv, signals=X_true)
        variance = None if noise is None else float(np.mean(np.square(to_numpy(noise))))
        relative = bool(estimator.alpha_relative)
        display = cls(scores=scores, variance=variance, relative=relative)
        return display.plot(ax=ax, **line_kw)

    def plot(self, ax: Axes | None = None, **line_kw: Any) -> AlphaScoresDisplay:
        """Draw a curve for each criterion, and its choice.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        AlphaScoresDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        self.lines_, self.best_ = [], []
        for name, found in self.scores.items():
            unit = (self.variance or 1.0) if name == "discrepancy" else 1.0
            values, at = unit * found.scores, found.best_alpha
            # A good estimate lies under the truth, which must not hide it.
            truth = {"color": "black", "linestyle": ":"} if name == "error" else {}
            label = {"label": f"{LABELS[name]}: {at:.2g}"}
            (line,) = self.ax_.plot(found.alphas, values, **label | truth | line_kw)
            height = np.interp(at, found.alphas[::-1], values[::-1])
            marker = "x" if truth else "o"
            style = {"color": line.get_color(), "marker": marker, "linestyle": "none"}
            self.lines_.append(line)
            self.best_ += self.ax_.plot([at], [height], **style)
        if "discrepancy" in self.scores:
            level = self.variance or 1.0
            self.ax_.axhline(level, color="gray", linestyle="--", label="variance of the noise")
        label = "alpha, share of each sample's largest" if self.relative else "alpha"
        scale = {"xscale": "log", "yscale": "log"}  # of an estimate below zero nothing is drawn
        dress(self.ax_, xlabel=label, ylabel="mean squared error of an entry", **scale)
        return self
