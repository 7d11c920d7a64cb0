"""Metrics of sparse recovery and denoising, and ready scorers for model selection.

Every metric takes numpy arrays, array-likes or torch tensors on any device, and computes in
float64. A one-dimensional ``y`` is one component, as in :mod:`sklearn.metrics`. In every
scorer greater is better, so an error in dB appears with a minus sign.
"""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import f1_score, make_scorer, precision_score, recall_score
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils._param_validation import Interval, Options, StrOptions, validate_params
from sklearn.utils.stats import _weighted_percentile
from sklearn.utils.validation import _check_sample_weight

__all__ = [
    "duality_gap",
    "duality_gap_scorer",
    "nmse_db",
    "nmse_db_median",
    "nmse_db_median_scorer",
    "nmse_db_scorer",
    "psnr",
    "psnr_scorer",
    "support_f1",
    "support_f1_scorer",
    "support_precision",
    "support_precision_scorer",
    "support_recall",
    "support_recall_scorer",
]

_PAIR = {"y_true": ["array-like"], "y_pred": ["array-like"], "sample_weight": ["array-like", None]}
_SUPPORT = {
    **_PAIR,
    "threshold": [Interval(Real, 0, None, closed="left")],
    "zero_division": [Options(Real, {0.0, 1.0}), "nan", StrOptions({"warn"})],
}


def _to_numpy(array: Any) -> Any:
    """Return a tensor as a numpy array of the host; anything else as it is."""
    if not hasattr(array, "detach"):
        return array
    array = array.detach().cpu()
    # numpy has no bfloat16; a complex tensor is left for check_array to refuse.
    return array.numpy() if array.is_complex() else array.double().numpy()


def _check(array: Any, name: str, **options: Any) -> np.ndarray:
    return check_array(_to_numpy(array), dtype=np.float64, input_name=name, **options)


def _check_pair(y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple[np.ndarray, ...]:
    y_true = _check(y_true, "y_true", ensure_2d=False, allow_nd=True)
    y_pred = _check(y_pred, "y_pred", ensure_2d=False, allow_nd=True)
    check_consistent_length(y_true, y_pred)
    # One component may come as (n_samples,) or (n_samples, 1).
    y_true, y_pred = (y[:, None] if y.ndim == 1 else y for y in (y_true, y_pred))
    if y_true.shape != y_pred.shape:
        raise ValueError(
            f"y_true has shape {y_true.shape} and y_pred has shape {y_pred.shape}; "
            "they must be equal, rows are samples."
        )
    weight = _to_numpy(sample_weight)
    weight = _check_sample_weight(weight, y_true, dtype=np.float64, ensure_non_negative=True)
    return y_true, y_pred, weight


def _db(ratio: Any) -> Any:
    with np.errstate(divide="ignore"):
        return 10 * np.log10(ratio)


@validate_params(
    {**_PAIR, "aggregate": [StrOptions({"pooled", "median", "none"})]},
    prefer_skip_nested_validation=True,
)
def nmse_db(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    aggregate: str = "pooled",
    sample_weight: ArrayLike | None = None,
) -> float | np.ndarray:
    """Return the normalised mean squared error in dB, ``10 log10(sum ||e||^2 / sum ||y||^2)``.

    Predicting zero gives 0 dB, and an error norm 10 times smaller 20 dB less. "pooled" is the
    metric of the LISTA papers (official code of Chen et al., NeurIPS 2018).

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples, n_components) or (n_samples,)
        True and predicted codes or signals.
    aggregate : {"pooled", "median", "none"}, default="pooled"
        "pooled" sums the energies over all samples and then takes the ratio; "median" is the
        median over the samples of the value of each, those with ``y_true = 0`` left out;
        "none" returns the value of each sample, nan where ``y_true = 0``.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weights in the two sums, or of a weighted median. Not used by "none".

    Returns
    -------
    float or ndarray of shape (n_samples,)
        NMSE in dB, the smaller the better; ``-inf`` for a perfect prediction.

    Raises
    ------
    ValueError
        If y_true is zero in every sample (of positive weight), where the ratio is undefined;
        if the shapes differ or a value is not finite.

    Examples
    --------
    >>> from sklearn_unroll.metrics import nmse_db
    >>> round(nmse_db([[1.0, 0.0], [0.0, 1.0]], [[0.9, 0.0], [0.0, 0.9]]), 6)
    -20.0
    """
    y_true, y_pred, weight = _check_pair(y_true, y_pred, sample_weight)
    # Dividing by the peak keeps the squares of tiny and huge data in range; a prediction more
    # than 1e154 times too large has an infinite error.
    peak = np.abs(y_true).max() or 1.0
    axes = tuple(range(1, y_true.ndim))
    with np.errstate(over="ignore"):
        error = np.sum((y_pred / peak - y_true / peak) ** 2, axis=axes)
    energy = np.sum((y_true / peak) ** 2, axis=axes)
    if not np.any(energy * weight):
        raise ValueError(
            "The NMSE is undefined: y_true is zero in every sample (of positive weight), "
            "so there is no energy to compare the error with."
        )
    if aggregate == "pooled":
        used = weight > 0  # an infinite error of weight zero does not count
        return float(_db(weight[used] @ error[used] / (weight[used] @ energy[used])))
    nonzero = energy > 0
    per_sample = np.full(len(energy), np.nan)
    per_sample[nonzero] = _db(error[nonzero] / energy[nonzero])
    if aggregate == "none":
        return per_sample
    return float(_weighted_percentile(per_sample[nonzero], weight[nonzero], 50, average=True))


def nmse_db_median(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Return the median over samples of ``20 log10(||e|| / ||y||)``, in dB.

    It is ``nmse_db(..., aggregate="median")``. A few failed samples do not hide how well the
    others are recovered, as they do in the pooled value. Raises as :func:`nmse_db` does.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples, n_components) or (n_samples,)
        True and predicted codes or signals.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weights of a weighted median.

    Returns
    -------
    float
        Median NMSE in dB, the smaller the better.

    Examples
    --------
    >>> from sklearn_unroll.metrics import nmse_db_median
    >>> round(nmse_db_median([[1.0], [1.0], [1.0]], [[0.9], [0.9], [50.0]]), 6)
    -20.0
    """
    return nmse_db(y_true, y_pred, aggregate="median", sample_weight=sample_weight)


def _support_score(score, y_true, y_pred, threshold, sample_weight, zero_division) -> float:
    y_true, y_pred, weight = _check_pair(y_true, y_pred, sample_weight)
    weight = np.repeat(weight, y_true.size // len(y_true))
    on_true, on_pred = (np.abs(y).ravel() > threshold for y in (y_true, y_pred))
    return float(score(on_true, on_pred, sample_weight=weight, zero_division=zero_division))


@validate_params(_SUPPORT, prefer_skip_nested_validation=True)
def support_precision(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    threshold: float = 0.0,
    sample_weight: ArrayLike | None = None,
    zero_division: float | str = "warn",
) -> float:
    """Return the share of the entries found that are right, ``|S & S_pred| / |S_pred|``.

    An entry is in the support S if its absolute value exceeds the threshold. The entries of
    all samples are counted together. Raises ValueError if the shapes differ.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples, n_components) or (n_samples,)
        True and predicted codes.
    threshold : float, default=0.0
        Absolute level, in the unit of the codes, for both arrays.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weight of the entries of every sample.
    zero_division : {"warn", 0.0, 1.0, nan}, default="warn"
        Value for an empty predicted support; "warn" is 0.0 with a warning.

    Returns
    -------
    float
        Precision in [0, 1].

    Examples
    --------
    >>> from sklearn_unroll.metrics import support_precision
    >>> support_precision([[3.0, 0.0, -1.0]], [[2.0, 0.1, 0.0]])
    0.5
    """
    return _support_score(precision_score, y_true, y_pred, threshold, sample_weight, zero_division)


@validate_params(_SUPPORT, prefer_skip_nested_validation=True)
def support_recall(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    threshold: float = 0.0,
    sample_weight: ArrayLike | None = None,
    zero_division: float | str = "warn",
) -> float:
    """Return the share of the true entries that are found, ``|S & S_pred| / |S|``.

    An entry is in the support S if its absolute value exceeds the threshold. The entries of
    all samples are counted together. Raises ValueError if the shapes differ.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples, n_components) or (n_samples,)
        True and predicted codes.
    threshold : float, default=0.0
        Absolute level, in the unit of the codes, for both arrays.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weight of the entries of every sample.
    zero_division : {"warn", 0.0, 1.0, nan}, default="warn"
        Value for an empty true support; "warn" is 0.0 with a warning.

    Returns
    -------
    float
        Recall in [0, 1].

    Examples
    --------
    >>> from sklearn_unroll.metrics import support_recall
    >>> support_recall([[3.0, 0.0, -1.0, 2.0]], [[2.0, 0.1, 0.0, 0.0]], threshold=1.5)
    0.5
    """
    return _support_score(recall_score, y_true, y_pred, threshold, sample_weight, zero_division)


@validate_params(_SUPPORT, prefer_skip_nested_validation=True)
def support_f1(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    threshold: float = 0.0,
    sample_weight: ArrayLike | None = None,
    zero_division: float | str = "warn",
) -> float:
    """Return the F1 score of the support, ``2 |S & S_pred| / (|S| + |S_pred|)``.

    An entry is in the support S if its absolute value exceeds the threshold. The entries of
    all samples are counted together. Raises ValueError if the shapes differ.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples, n_components) or (n_samples,)
        True and predicted codes.
    threshold : float, default=0.0
        Absolute level, in the unit of the codes, for both arrays.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weight of the entries of every sample.
    zero_division : {"warn", 0.0, 1.0, nan}, default="warn"
        Value if both supports are empty; "warn" is 0.0 with a warning.

    Returns
    -------
    float
        F1 score in [0, 1], the harmonic mean of precision and recall.

    Examples
    --------
    >>> from sklearn_unroll.metrics import support_f1
    >>> support_f1([[3.0, 0.0, -1.0]], [[2.0, 0.1, 0.0]])
    0.5
    """
    return _support_score(f1_score, y_true, y_pred, threshold, sample_weight, zero_division)


@validate_params(
    {**_PAIR, "data_range": [Interval(Real, 0, None, closed="neither")]},
    prefer_skip_nested_validation=True,
)
def psnr(y_true: ArrayLike, y_pred: ArrayLike, *, data_range: float) -> float:
    """Return the peak signal-to-noise ratio in dB, ``10 log10(data_range^2 / MSE)``.

    The mean squared error is over all entries. Raises ValueError if the shapes differ.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples, n_features), (height, width) or any other
        True and predicted signals or pictures.
    data_range : float
        The peak, the difference of the largest and the smallest possible value: 1 for
        pictures in unit scale, 255 for bytes.

    Returns
    -------
    float
        PSNR in dB, the greater the better; ``inf`` for equal arrays.

    Examples
    --------
    >>> from sklearn_unroll.metrics import psnr
    >>> round(psnr([[0.5, 0.5]], [[0.6, 0.4]], data_range=1.0), 6)
    20.0
    """
    y_true, y_pred, _ = _check_pair(y_true, y_pred)
    with np.errstate(over="ignore"):
        return float(-_db(np.mean((y_pred / data_range - y_true / data_range) ** 2)))


def _check_problem(X: np.ndarray, codes: np.ndarray, D: np.ndarray, alpha: np.ndarray) -> None:
    if D.ndim not in (2, 3) or (D.ndim == 3 and len(D) != len(X)):
        raise ValueError(
            "dictionary must have shape (n_components, n_features), or (n_samples, "
            f"n_components, n_features) with n_samples={len(X)}; got shape {D.shape}."
        )
    expected = (codes.shape[1], X.shape[1])
    if D.shape[-2:] != expected:
        transpose = "dictionary.T" if D.ndim == 2 else "dictionary.transpose(0, 2, 1)"
        hint = f" It looks transposed: pass {transpose}." if D.shape[-2:] == expected[::-1] else ""
        raise ValueError(
            f"dictionary has shape {D.shape}, but codes of shape {codes.shape} and X of shape "
            f"{X.shape} ask for (n_components, n_features) = {expected}, rows are atoms.{hint}"
        )
    if alpha.shape not in ((1,), (len(X),)) or not np.all(alpha > 0):
        raise ValueError(
            f"alpha must be one positive number or one per sample, of shape ({len(X)},); got "
            f"shape {alpha.shape} with smallest value {alpha.min()}."
        )


def duality_gap(
    X: ArrayLike,
    codes: ArrayLike,
    dictionary: ArrayLike,
    alpha: float | ArrayLike,
    *,
    relative: bool = True,
) -> np.ndarray:
    """Return the lasso duality gap per sample: a bound on how far codes are from the optimum.

    The problem is ``P(z) = 0.5 ||x - z D||^2 + alpha ||z||_1``. With ``r = x - z D`` the dual
    point is ``u = s r``, ``s = clip(<x, r> / ||r||^2, -c, c)``, ``c = alpha / ||D r||_inf``,
    and the gap ``P(z) - <x, u> + 0.5 ||u||^2 >= P(z) - min P >= 0`` (after Kim, Koh, Lustig,
    Boyd and Gorinevsky, IEEE J. Sel. Topics Signal Process. 1(4), 2007).

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Signals.
    codes : array-like of shape (n_samples, n_components)
        Codes z.
    dictionary : array-like of shape (n_components, n_features) or \
            (n_samples, n_components, n_features)
        Dictionary D, rows are atoms.
    alpha : float or array-like of shape (n_samples,)
        Weight of the l1 norm, positive.
    relative : bool, default=True
        Divide by ``P(0) = 0.5 ||x||^2``, so that zero codes have a gap of at most 1. Where
        ``x = 0`` the gap is not divided.

    Returns
    -------
    ndarray of shape (n_samples,)
        Gaps, nonnegative, computed in float64 on the CPU.

    Raises
    ------
    ValueError
        If the sizes do not fit (a transposed dictionary is named as such), alpha is not
        positive, or a value is not finite.

    Examples
    --------
    >>> from sklearn_unroll.metrics import duality_gap
    >>> duality_gap([[2.0, 0.0]], [[1.5, 0.0]], [[1.0, 0.0], [0.0, 1.0]], alpha=0.5)
    array([0.])
    """
    # Imported here, so that the other metrics do without torch.
    import torch

    from sklearn_unroll.functional.operators import Dense, Observation
    from sklearn_unroll.functional.problems import duality_gap as gap

    # torch shares memory with numpy and warns if that memory is read-only.
    X = _check(X, "X", force_writeable=True)
    codes = _check(codes, "codes", force_writeable=True)
    D = _check(dictionary, "dictionary", force_writeable=True, ensure_2d=False, allow_nd=True)
    alpha = _check(np.atleast_1d(_to_numpy(alpha)), "alpha", ensure_2d=False, allow_nd=True)
    check_consistent_length(X, codes)
    _check_problem(X, codes, D, alpha)
    obs = Observation(torch.from_numpy(X), Dense(torch.from_numpy(D)))
    return gap(torch.from_numpy(codes), obs, torch.tensor(alpha), relative=relative).numpy()


def psnr_scorer(estimator: Any, X: ArrayLike, y: Any = None, *, data_range: float = 1.0) -> float:
    """Score how well the codes give back the signals: their PSNR in dB.

    Compares ``estimator.inverse_transform(estimator.predict(X))`` with X.

    Parameters
    ----------
    estimator : estimator with ``predict`` and ``inverse_transform``
        Fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Signals.
    y : None
        Not used.
    data_range : float, default=1.0
        The peak. The default is that of :func:`~sklearn_unroll.datasets.load_image_patches`;
        for bytes pass ``functools.partial(psnr_scorer, data_range=255)`` as the scorer.

    Returns
    -------
    float
        PSNR in dB, greater is better.

    Examples
    --------
    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> from sklearn_unroll.metrics import psnr_scorer
    >>> halve = SimpleNamespace(predict=lambda X: X / 2, inverse_transform=lambda codes: codes)
    >>> round(psnr_scorer(halve, np.array([[0.2, 0.2]])), 6)
    20.0
    """
    return psnr(X, estimator.inverse_transform(estimator.predict(X)), data_range=data_range)


def duality_gap_scorer(estimator: Any, X: ArrayLike, y: Any = None) -> float:
    """Score how close the codes are to the lasso optimum: minus the mean relative gap.

    It needs no true codes, so it selects among models fitted without labels. Raises
    AttributeError if the estimator does not define the problem.

    Parameters
    ----------
    estimator : estimator with ``predict``, ``dictionary_`` and ``alpha``
        Fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Signals.
    y : None
        Not used.

    Returns
    -------
    float
        Minus the mean over samples of the relative duality gap, greater is better, at most 0.

    Examples
    --------
    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> from sklearn_unroll.metrics import duality_gap_scorer
    >>> zero = SimpleNamespace(predict=np.zeros_like, dictionary_=np.eye(2), alpha=1.0)
    >>> duality_gap_scorer(zero, np.array([[2.0, 0.0]]))
    -0.25
    """
    missing = [name for name in ("dictionary_", "alpha") if not hasattr(estimator, name)]
    if missing:
        raise AttributeError(
            "duality_gap_scorer needs a fitted estimator with the attributes dictionary_ and "
            f"alpha, which define the problem; {type(estimator).__name__} has no "
            f"{' and no '.join(missing)}."
        )
    gap = duality_gap(X, estimator.predict(X), estimator.dictionary_, estimator.alpha)
    return float(0.0 - gap.mean())


nmse_db_scorer = make_scorer(nmse_db, greater_is_better=False)
nmse_db_median_scorer = make_scorer(nmse_db_median, greater_is_better=False)
# Empty supports score 0 without a warning: a search meets networks that predict zero.
support_precision_scorer = make_scorer(support_precision, zero_division=0.0)
support_recall_scorer = make_scorer(support_recall, zero_division=0.0)
support_f1_scorer = make_scorer(support_f1, zero_division=0.0)
