"""How far signals of codes are from signals without noise, which nobody has seen."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import chi2
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, validate_params

from sklearn_unroll.metrics._checks import check, to_numpy

if TYPE_CHECKING:
    from torch import Tensor

    from sklearn_unroll.functional import Observation

__all__ = ["discrepancy", "noise_energy", "sure"]

_GIVEN: dict[str, list[Any]] = {"X": ["array-like"], "codes": ["array-like"]}


@validate_params(
    {**_GIVEN, "l2": [Interval(Real, 0, None, closed="left")]}, prefer_skip_nested_validation=True
)
def sure(
    X: ArrayLike, codes: ArrayLike, dictionary: ArrayLike, noise: Any, *, l2: float = 0.0
) -> np.ndarray:
    """Return Stein's unbiased estimate of ``||z D - signal||^2`` for lasso codes, per sample.

    ``||x - z D||^2 - m noise^2 + 2 noise^2 df`` over the m entries that were seen, where x is a
    signal with white Gaussian noise; df is the rank of the active atoms, with a ridge
    ``tr(D_S^T (D_S D_S^T + l2 I)^-1 D_S)``; see
    :func:`~sklearn_unroll.functional.degrees_of_freedom`. Codes must be those of the lasso, or of
    nonnegative least squares, at an alpha that was not chosen by looking at x, and dictionaries
    not learned from x; for an alpha relative to x, and whole sets of alphas, see
    :func:`alpha_scores`.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Signals; NaN is what was not seen.
    codes : array-like of shape (n_samples, n_components) or (n_alphas, n_samples, n_components)
        Codes z, of a certified solver: what is not zero counts. Or those of many alphas,
        ``coder.path(X, alphas).codes``.
    dictionary : array-like of shape (n_components, n_features) or \
            (n_samples, n_components, n_features)
        Dictionary D, rows are atoms.
    noise : float or array-like of shape (n_samples,)
        Standard deviation of the noise, in the units of X.
    l2 : float, default=0.0
        Weight of the ridge, as in :class:`~sklearn_unroll.LassoCoder`.

    Returns
    -------
    ndarray of shape (n_samples,) or (n_alphas, n_samples)
        Estimates in the units of X squared, computed in float64. One sample's may be negative; it
        is the mean over samples that says something.

    Raises
    ------
    ValueError
        If sizes do not fit, noise is not positive, or a value is infinite.

    Examples
    --------
    >>> from sklearn_unroll.metrics import sure
    >>> sure([[2.0, 0.25]], [[1.5, 0.0]], [[1.0, 0.0], [0.0, 1.0]], noise=0.5)
    array([0.3125])
    """
    from sklearn_unroll.functional.risk import degrees_of_freedom
    from sklearn_unroll.functional.risk import sure as estimate

    obs, z, sigma = _given(X, codes, dictionary, noise)
    found = [estimate(one, obs, sigma, degrees_of_freedom(one, obs, l2=l2)) for one in z]
    return _in_shape(found, codes)


@validate_params({**_GIVEN}, prefer_skip_nested_validation=True)
def discrepancy(X: ArrayLike, codes: ArrayLike, dictionary: ArrayLike, noise: Any) -> np.ndarray:
    """Return ``||x - z D||^2 / (m noise^2)`` per sample, over the m entries that were seen.

    Where it is 1 codes explain x as well as the truth does in the mean; below they explain noise
    (Morozov 1966, "On the solution of functional equations by the method of regularization").
    That is also where ``LassoCoder(error=...)`` of ``m noise^2`` ends, sample by sample.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Signals; NaN is what was not seen.
    codes : array-like of shape (n_samples, n_components) or (n_alphas, n_samples, n_components)
        Codes z of any origin, of one or of many alphas.
    dictionary : array-like of shape (n_components, n_features) or \
            (n_samples, n_components, n_features)
        Dictionary D, rows are atoms.
    noise : float or array-like of shape (n_samples,)
        Standard deviation of the noise, in the units of X.

    Returns
    -------
    ndarray of shape (n_samples,) or (n_alphas, n_samples)
        Ratios, computed in float64.

    Raises
    ------
    ValueError
        If sizes do not fit, noise is not positive, or a value is infinite.

    Examples
    --------
    >>> from sklearn_unroll.metrics import discrepancy
    >>> discrepancy([[2.0, 0.5]], [[1.5, 0.0]], [[1.0, 0.0], [0.0, 1.0]], noise=0.5)
    array([1.])
    """
    obs, z, sigma = _given(X, codes, dictionary, noise)
    return _in_shape([ratio(one, obs, sigma) for one in z], codes)


@validate_params(
    {"X": ["array-like"], "confidence": [Interval(Real, 0, 1, closed="neither"), None]},
    prefer_skip_nested_validation=True,
)
def noise_energy(X: ArrayLike, noise: Any, *, confidence: float | None = None) -> np.ndarray:
    """Return the energy of white noise in each sample, in the mean or at most.

    ``m noise^2`` over the m entries seen: what ``error`` of :class:`~sklearn_unroll.LassoCoder`
    and ``tol`` of :class:`~sklearn_unroll.OMPCoder` ask for where the noise is known. With a
    confidence the quantile of ``noise^2 chi^2_m``, below which Gaussian noise stays that often:
    about ``(m + k sqrt(2 m)) noise^2``, where k is the quantile of a standard normal variable
    (k = 2: Candes, Romberg and Tao 2006, "Stable signal recovery from incomplete and inaccurate
    measurements"). Then the true signal is among those within the bound, and codes of the least
    l1 norm have no more of it than the true ones; the price is that they are shrunk further.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Signals; NaN is what was not seen. Nothing else is looked at.
    noise : float or array-like of shape (n_samples,)
        Standard deviation of the noise, in the units of X.
    confidence : float, default=None
        Probability that a sample's noise has at most that energy; None is for its mean.

    Returns
    -------
    ndarray of shape (n_samples,)
        Energies, in the units of X squared.

    Raises
    ------
    ValueError
        If noise or confidence is not valid, or nothing of a sample was seen.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_unroll import LassoCoder
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.metrics import noise_energy
    >>> data = make_sparse_recovery(100, 20, 40, sparsity=3, snr_db=20, random_state=0)
    >>> energy = noise_energy(data.X, data.noise_std)
    >>> codes = LassoCoder(data.dictionary).fit(data.X).transform(data.X, error=energy)
    >>> bool(np.allclose(np.sum((data.X - codes @ data.dictionary) ** 2, axis=1), energy))
    True
    """
    X = check(X, "X", ensure_all_finite="allow-nan")
    seen = (~np.isnan(X)).sum(axis=1)
    _check_seen(seen)
    count = seen.astype(float) if confidence is None else chi2.ppf(confidence, seen)
    level = check_noise(noise, len(X))
    with np.errstate(over="ignore"):
        energy = level * (level * count)
    if not np.all((energy > 0) & np.isfinite(energy)):
        raise ValueError(
            f"The square of noise, up to {level.max():.3g}, leaves the range of float64. Rescale "
            f"X and noise."
        )
    return energy


def ratio(z: Tensor, obs: Observation, noise: Tensor) -> Tensor:
    """Return the discrepancy of codes as a tensor."""
    from sklearn_unroll.functional.risk import n_seen

    return (obs.residual(z) / noise[:, None]).square().sum(1) / n_seen(obs)


def check_noise(noise: Any, n_samples: int) -> np.ndarray:
    """Return a noise level for each sample; raise unless they are positive."""
    level = check(np.atleast_1d(to_numpy(noise)), "noise", ensure_2d=False, allow_nd=True)
    if level.shape not in ((1,), (n_samples,)) or not np.all(level > 0):
        raise ValueError(
            f"noise must be one positive standard deviation, or one per sample, of shape "
            f"({n_samples},); got shape {level.shape} with smallest value {level.min():.3g}."
        )
    return np.broadcast_to(level, (n_samples,)).copy()


def _given(X: Any, codes: Any, dictionary: Any, noise: Any) -> tuple[Observation, Tensor, Tensor]:
    """Return data with a mask where entries are missing, codes of every alpha, and the noise."""
    import torch

    from sklearn_unroll.functional import Composed, Dense, Mask, Observation

    X = check(X, "X", ensure_all_finite="allow-nan", force_writeable=True)
    codes = check(codes, "codes", allow_nd=True, force_writeable=True)
    D = check(dictionary, "dictionary", allow_nd=True, force_writeable=True)
    z = codes[None] if codes.ndim == 2 else codes
    if z.ndim != 3 or D.ndim not in (2, 3):
        raise ValueError(
            f"codes must have shape (n_samples, n_components) or (n_alphas, n_samples, "
            f"n_components), and dictionary rows of atoms; got {codes.shape} and {D.shape}."
        )
    check_consistent_length(X, z[0], *([D] if D.ndim == 3 else []))
    if D.shape[-2:] != (z.shape[2], X.shape[1]):
        raise ValueError(
            f"dictionary has shape {D.shape}, but codes of shape {codes.shape} and X of shape "
            f"{X.shape} ask for (n_components, n_features) = {(z.shape[2], X.shape[1])}, rows are "
            f"atoms."
        )
    seen = ~np.isnan(X)
    _check_seen(seen.sum(axis=1))
    A: Any = Dense(torch.from_numpy(D))
    if not seen.all():
        A = Composed(A, Mask(torch.from_numpy(seen)))
    obs = Observation(torch.from_numpy(np.where(seen, X, 0.0)), A)
    return obs, torch.from_numpy(z), torch.from_numpy(check_noise(noise, len(X)))


def _check_seen(count: np.ndarray) -> None:
    blank = np.flatnonzero(count == 0)
    if len(blank):
        raise ValueError(
            f"X has {len(blank)} sample(s) of which nothing was seen, all NaN, the first at row "
            f"{blank[0]}. Leave them out."
        )


def _in_shape(found: list[Tensor], codes: Any) -> np.ndarray:
    rows = np.stack([one.numpy() for one in found])
    return rows if np.ndim(codes) == 3 else rows[0]
