"""Which alpha suits a whole set of signals: scores over alphas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.model_selection import KFold, check_cv
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples, check_is_fitted

from sklearn_unroll.metrics._checks import check, to_numpy
from sklearn_unroll.metrics._criteria import CRITERIA, Setting, by_truth, coded, weights_of
from sklearn_unroll.metrics._risk import check_noise

__all__ = ["AlphaScores", "alpha_scores"]

_NUMBERS = 2**24  # in the codes of all alphas at a time
_LEAST = 1e-3  # of the largest alpha, where they are not given


class AlphaScores(NamedTuple):
    """What :func:`alpha_scores` found; alpha falls.

    Parameters
    ----------
    alphas : ndarray of shape (n_alphas,)
        Weights of the l1 norm, or fractions, in decreasing order.
    scores : ndarray of shape (n_alphas,)
        "sure": the estimated mean of ``(z D - signal)^2`` over the entries seen, in the units of
        X squared. "cross_validation": the mean of ``(z D - x)^2`` over entries held out; it holds
        the variance of the noise, too. "discrepancy": the mean of ``||x - z D||^2 / (m noise^2)``.
    per_sample : ndarray of shape (n_alphas, n_samples)
        The same of every sample; NaN where a splitter held out none of its entries.
    best_alpha : float
        Where the score is least, the largest alpha of equals. Of "discrepancy" where it is 1,
        between alphas by interpolation; the largest of them where it is below 1 everywhere, the
        smallest where it is above.
    """

    alphas: np.ndarray
    scores: np.ndarray
    per_sample: np.ndarray
    best_alpha: float


def alpha_scores(
    coder: Any,
    X: ArrayLike,
    alphas: Any = 50,
    *,
    criterion: str = "sure",
    noise: Any = None,
    cv: Any = None,
) -> AlphaScores:
    """Score alphas of a :class:`~sklearn_unroll.LassoCoder` on signals that it is to code.

    Parameters
    ----------
    coder : LassoCoder
        Fitted; its alpha does not matter, everything else does. With ``alpha_relative=True``
        alphas are fractions.
    X : array-like of shape (n_samples, n_features)
        Signals with noise; NaN is what was not seen.
    alphas : int or array-like of shape (n_alphas,), default=50
        Weights of the l1 norm in any order, or how many: from the smallest whose codes are all
        zero down to a thousandth of it, geometrically.
    criterion : {"sure", "discrepancy", "cross_validation"}, default="sure"
        "sure": Stein's unbiased estimate of the error, see :func:`sure`; exact also for relative
        alphas, which move with the data. "discrepancy": where residuals are as large as the
        noise, see :func:`discrepancy`. "cross_validation": the error on entries that were held
        out. The first two know the noise.
    noise : float or array-like of shape (n_samples,), default=None
        Standard deviation of the noise, in the units of X.
    cv : int, cross-validation splitter or iterable, default=None
        Of ``n_features`` features, which entries to hold out; a number of shuffled folds, 5 by
        default. Where the noise of neighbours in pictures or time is alike hold them out together,
        by the pairs of :meth:`GroupKFold.split <sklearn.model_selection.GroupKFold.split>`, say.

    Returns
    -------
    AlphaScores
        Scores, and the best alpha.

    Raises
    ------
    TypeError
        If the coder has no path, or, with "sure", its dictionary is no matrix.
    ValueError
        If X, alphas or noise are not valid, or the criterion needs a noise that is not given.

    Notes
    -----
    Features take the place of samples in cross-validation because nothing is learned of samples:
    codes come from a sample's own entries, and what a sample held out would be scored by, its
    residual, is least at the smallest alpha, always. Folds leave ``n_kept`` features to code
    with, at ``alpha n_kept / n_features``, the same alpha for each entry, as in
    :class:`~sklearn.linear_model.LassoCV`; fractions stay.

    Codes are held a few samples at a time.

    Examples
    --------
    >>> from sklearn_unroll import LassoCoder
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.metrics import alpha_scores
    >>> data = make_sparse_recovery(200, 50, 100, snr_db=20, random_state=0)
    >>> coder = LassoCoder(data.dictionary).fit(data.X)
    >>> by_noise = alpha_scores(coder, data.X, noise=data.noise_std)
    >>> held_out = alpha_scores(coder, data.X, by_noise.alphas, criterion="cross_validation")
    >>> bool(0.5 < by_noise.best_alpha / held_out.best_alpha < 2)
    True
    """
    if criterion not in CRITERIA:
        raise ValueError(f"criterion must be one of {list(CRITERIA)}, got {criterion!r}.")
    return all_scores(coder, X, alphas, [criterion], noise=noise, cv=cv)[criterion]


def all_scores(
    coder: Any, X: Any, alphas: Any, criteria: Sequence[str], *, noise: Any, cv: Any,
    signals: Any = None,
) -> dict[str, AlphaScores]:  # fmt: skip
    """Return the scores of several criteria from the same codes; "error" is the true one."""
    n_samples = _num_samples(X)
    level = None if noise is None else check_noise(noise, n_samples)
    missing = [name for name in criteria if name in ("sure", "discrepancy") and level is None]
    if missing:
        raise ValueError(
            f"criterion={missing[0]!r} needs the standard deviation of the noise, noise=...; "
            f"criterion='cross_validation' does without."
        )
    plain = _plain(coder, X)
    n_features = plain.n_features_in_
    splits = _splits(cv, n_features) if "cross_validation" in criteria else []
    setting = Setting(plain, _check_alphas(plain, X, alphas), splits)
    each: dict[str, list[np.ndarray]] = {name: [] for name in criteria}
    for rows, part in _blocks(X, len(setting.alphas) * plain.n_components_):
        block = coded(setting, part, rows, level, signals)
        for name in criteria:
            each[name].append((CRITERIA | {"error": by_truth})[name](setting, block))
    return {
        name: _judged(name, setting.alphas, np.concatenate(parts, axis=1))
        for name, parts in each.items()
    }


def _plain(coder: Any, X: Any) -> Any:
    """Return the same coder for arrays without names, over its fitted dictionary."""
    if not hasattr(coder, "path"):
        raise TypeError(
            f"alpha_scores needs a coder with a path over alphas, a LassoCoder; got "
            f"{type(coder).__name__}."
        )
    check_is_fitted(coder)
    dictionary = to_numpy(coder.dictionary_)
    plain = clone(coder).set_params(
        dictionary=dictionary, warm_start_from=None, error=None, l1_radius=None
    )
    return plain.fit(_float64(_safe_indexing(X, slice(0, 1))))


def _float64(X: Any) -> np.ndarray:
    return check(X, "X", ensure_all_finite="allow-nan")


def _splits(cv: Any, n_features: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return which features each fold codes with, and which it is scored by."""
    if cv is None or isinstance(cv, Integral):
        folds = 5 if cv is None else int(cv)
        if not 2 <= folds <= n_features:
            raise ValueError(
                f"cv must be at least 2 and at most the number of features, {n_features}, which "
                f"are held out in turn; got {folds}."
            )
        cv = KFold(folds, shuffle=True, random_state=0)
    return [(np.asarray(a), np.asarray(b)) for a, b in check_cv(cv).split(np.arange(n_features))]


def _check_alphas(plain: Any, X: Any, alphas: Any) -> np.ndarray:
    """Return alphas in decreasing order, between zero codes and a thousandth where not given."""
    if not isinstance(alphas, Integral) or isinstance(alphas, bool):
        grid = check(to_numpy(alphas), "alphas", ensure_2d=False, ensure_min_samples=0).ravel()
        least = 0.0 if plain.positive else np.nextafter(0.0, 1.0)
        if not len(grid) or grid.min() < least:
            raise ValueError(
                f"alphas must be a number of them, or positive weights, at least one; got "
                f"{alphas!r}."
            )
        return np.sort(grid)[::-1]
    if alphas < 1:
        raise ValueError(f"alphas must be at least one, got {alphas}.")
    peak = 1.0
    if not plain.alpha_relative:
        peak = max(_peak(plain, part) for _, part in _blocks(X, plain.n_components_))
    if peak == 0:
        raise ValueError("The codes of X are zero at every alpha: it correlates with no atom.")
    return peak * np.geomspace(1.0, _LEAST, int(alphas))


def _peak(plain: Any, X: np.ndarray) -> float:
    """Return the smallest alpha at which all codes are zero."""
    from sklearn_unroll.functional.problems import peak_of

    problem = plain.problem(X, alpha=1.0)
    q = problem.A.adjoint(problem.b)
    if plain.atom_weights is not None:
        q = q / weights_of(plain, q)
    return float(peak_of(q, plain.positive).max())


def _blocks(X: Any, n_each: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield samples in float64, as few as memory asks for where each has that many numbers."""
    n_samples, size = _num_samples(X), max(1, _NUMBERS // n_each)
    for first in range(0, n_samples, size):
        rows = slice(first, min(first + size, n_samples))
        yield rows, _float64(_safe_indexing(X, rows))


def _judged(name: str, alphas: np.ndarray, per_sample: np.ndarray) -> AlphaScores:
    if np.isnan(per_sample).all():
        raise ValueError("cv holds out no entry that was seen: nothing can be scored.")
    scores = np.nanmean(per_sample, axis=1)
    if name == "discrepancy":
        # Residuals fall with alpha.
        best = float(np.interp(-1.0, -scores, alphas))
    else:
        best = float(alphas[np.argmin(scores)])
    return AlphaScores(alphas, scores, per_sample, best)
