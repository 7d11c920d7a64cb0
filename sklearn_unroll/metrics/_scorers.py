"""Ready scorers for model selection; greater is better in all of them."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike
from sklearn.metrics import make_scorer

from sklearn_unroll.metrics._codes import (
    nmse_db,
    nmse_db_median,
    support_f1,
    support_precision,
    support_recall,
)
from sklearn_unroll.metrics._signals import psnr

__all__ = [
    "duality_gap_scorer",
    "nmse_db_median_scorer",
    "nmse_db_scorer",
    "psnr_scorer",
    "support_f1_scorer",
    "support_precision_scorer",
    "support_recall_scorer",
]


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
    """Score how close the codes are to their optimum: minus the mean relative duality gap.

    It needs no true codes, so it selects among models fitted without labels, each judged by the
    problem that it states.

    Parameters
    ----------
    estimator : estimator with ``certify``
        Fitted estimator of this package, or any whose ``certify(X)`` returns a gap a sample.
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
    >>> from sklearn_unroll import LassoCoder
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.metrics import duality_gap_scorer
    >>> data = make_sparse_recovery(20, 8, 12, random_state=0)
    >>> coder = LassoCoder(data.dictionary, tol=1e-10).fit(data.X)
    >>> bool(-1e-10 <= duality_gap_scorer(coder, data.X) <= 0)
    True
    """
    return 0.0 - float(estimator.certify(X).mean())


nmse_db_scorer = make_scorer(nmse_db, greater_is_better=False)
nmse_db_median_scorer = make_scorer(nmse_db_median, greater_is_better=False)
# Empty supports score 0 without a warning: a search meets networks that predict zero.
support_precision_scorer = make_scorer(support_precision, zero_division=0.0)
support_recall_scorer = make_scorer(support_recall, zero_division=0.0)
support_f1_scorer = make_scorer(support_f1, zero_division=0.0)
