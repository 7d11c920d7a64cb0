"""How well codes explain signals: PSNR and the duality gap."""

from __future__ import annotations

from numbers import Real

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, validate_params

from sklearn_unroll.metrics._checks import PAIR, check, check_pair, decibel, to_numpy

__all__ = ["duality_gap", "psnr"]


@validate_params(
    {**PAIR, "data_range": [Interval(Real, 0, None, closed="neither")]},
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
    y_true, y_pred, _ = check_pair(y_true, y_pred)
    with np.errstate(over="ignore"):
        return float(-decibel(np.mean((y_pred / data_range - y_true / data_range) ** 2)))


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

    from sklearn_unroll.functional.observation import Observation
    from sklearn_unroll.functional.operators import Dense
    from sklearn_unroll.functional.problems import duality_gap as gap

    # torch shares memory with numpy and warns if that memory is read-only.
    X = check(X, "X", force_writeable=True)
    codes = check(codes, "codes", force_writeable=True)
    D = check(dictionary, "dictionary", force_writeable=True, ensure_2d=False, allow_nd=True)
    alpha = check(np.atleast_1d(to_numpy(alpha)), "alpha", ensure_2d=False, allow_nd=True)
    check_consistent_length(X, codes)
    _check_problem(X, codes, D, alpha)
    obs = Observation(torch.from_numpy(X), Dense(torch.from_numpy(D)))
    return gap(torch.from_numpy(codes), obs, torch.tensor(alpha), relative=relative).numpy()
