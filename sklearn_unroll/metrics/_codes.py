"""How well codes are recovered: NMSE in dB and the support."""

from __future__ import annotations

from numbers import Real

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import f1_score, precision_score, recall_score
from sklearn.utils._param_validation import Interval, Options, StrOptions, validate_params
from sklearn.utils.stats import _weighted_percentile

from sklearn_unroll.metrics._checks import PAIR, check_pair, decibel

__all__ = ["nmse_db", "nmse_db_median", "support_f1", "support_precision", "support_recall"]

_SUPPORT = {
    **PAIR,
    "threshold": [Interval(Real, 0, None, closed="left")],
    "zero_division": [Options(Real, {0.0, 1.0}), "nan", StrOptions({"warn"})],
}


@validate_params(
    {**PAIR, "aggregate": [StrOptions({"pooled", "median", "none"})]},
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
    y_true, y_pred, weight = check_pair(y_true, y_pred, sample_weight)
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
        return float(decibel(weight[used] @ error[used] / (weight[used] @ energy[used])))
    nonzero = energy > 0
    per_sample = np.full(len(energy), np.nan)
    per_sample[nonzero] = decibel(error[nonzero] / energy[nonzero])
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
    y_true, y_pred, weight = check_pair(y_true, y_pred, sample_weight)
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
