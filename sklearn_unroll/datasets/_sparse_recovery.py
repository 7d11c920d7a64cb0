"""Synthetic sparse recovery: random codes, a dictionary, and noise of a given level."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, DTypeLike
from scipy.signal import lfilter
from sklearn.utils import Bunch, check_array, check_random_state
from sklearn.utils._param_validation import (
    Interval,
    Options,
    RealNotInt,
    StrOptions,
    validate_params,
)

__all__ = ["make_sparse_recovery"]

_CORRELATION = 0.9  # between neighbouring atoms of the law "correlated"
_N_FEATURES, _N_COMPONENTS = 250, 500  # the test bed of the LISTA papers


def _sign(rng: RandomState, size: int) -> np.ndarray:
    return 2.0 * rng.randint(2, size=size) - 1.0


_MAGNITUDES: dict[str, Callable[[RandomState, int], np.ndarray]] = {
    "gaussian": lambda rng, size: rng.standard_normal(size),
    "uniform": lambda rng, size: _sign(rng, size) * rng.uniform(0.5, 1.5, size),
    "sign": _sign,
    "laplace": lambda rng, size: rng.laplace(scale=np.sqrt(0.5), size=size),
}


def _unit_atoms(D: np.ndarray) -> np.ndarray:
    D /= np.linalg.norm(D, axis=-1, keepdims=True)
    return D


def _gaussian(rng: RandomState, shape: tuple[int, ...]) -> np.ndarray:
    return _unit_atoms(rng.standard_normal(shape))


def _bernoulli(rng: RandomState, shape: tuple[int, ...]) -> np.ndarray:
    return (2.0 * rng.randint(2, size=shape) - 1.0) / np.sqrt(shape[-1])


def _correlated(rng: RandomState, shape: tuple[int, ...]) -> np.ndarray:
    # d_0 = e_0, d_k = rho d_{k-1} + sqrt(1 - rho^2) e_k: stationary, corr(d_i, d_k) = rho^|i-k|.
    e = rng.standard_normal(shape)
    gain = np.sqrt(1 - _CORRELATION**2)
    e[..., 0, :] /= gain
    return _unit_atoms(lfilter([gain], [1.0, -_CORRELATION], e, axis=-2))


def _dct(rng: RandomState, shape: tuple[int, ...]) -> np.ndarray:
    n_components, n_features = shape
    k, t = np.arange(n_components)[:, None], np.arange(n_features)
    return _unit_atoms(np.cos(np.pi * (2 * t + 1) * k / (2 * max(shape))))


_DICTIONARIES: dict[str, Callable[[RandomState, tuple[int, ...]], np.ndarray]] = {
    "gaussian": _gaussian,
    "bernoulli": _bernoulli,
    "correlated": _correlated,
    "dct": _dct,
}


def _check_dictionary(
    dictionary: ArrayLike,
    n_samples: int,
    n_features: int | None,
    n_components: int | None,
    per_sample: bool,
) -> np.ndarray:
    D = check_array(
        dictionary, dtype=np.float64, ensure_2d=False, allow_nd=True, input_name="dictionary"
    )
    if D.ndim not in (2, 3):
        raise ValueError(
            "dictionary must have shape (n_components, n_features), rows are atoms, or "
            f"(n_samples, n_components, n_features); got shape {D.shape}."
        )
    given = (
        D.shape[-2] if n_components is None else n_components,
        D.shape[-1] if n_features is None else n_features,
    )
    if D.shape[-2:] != given:
        swapped = D.shape[-2:] == given[::-1]
        transpose = "dictionary.T" if D.ndim == 2 else "dictionary.transpose(0, 2, 1)"
        hint = (
            f"It looks transposed: pass {transpose}."
            if swapped
            else ("Leave n_components and n_features at None to take them from the array.")
        )
        raise ValueError(
            f"dictionary has shape {D.shape}, but n_components={given[0]} and n_features="
            f"{given[1]} ask for (n_components, n_features) = {given}, rows are atoms. {hint}"
        )
    if D.ndim == 3 and len(D) != n_samples:
        raise ValueError(
            f"dictionary of shape {D.shape} holds one dictionary for each of {len(D)} samples, "
            f"but n_samples={n_samples}; pass n_samples={len(D)}."
        )
    if D.ndim == 2 and per_sample:
        raise ValueError(
            f"per_sample_dictionary=True, but the given dictionary of shape {D.shape} is shared "
            "by all samples; pass an array of shape (n_samples, n_components, n_features)."
        )
    return D


def _draw_codes(
    rng: RandomState,
    shape: tuple[int, int],
    sparsity: float,
    magnitude: str | Callable[[RandomState, int], ArrayLike],
) -> np.ndarray:
    keys = rng.random_sample(shape)
    if isinstance(sparsity, Integral):
        # The smallest of n iid keys are a uniformly drawn subset.
        support = np.zeros(shape, dtype=bool)
        chosen = np.argpartition(keys, sparsity - 1, axis=1)[:, :sparsity]
        np.put_along_axis(support, chosen, True, axis=1)
    else:
        support = keys < sparsity
    size = int(support.sum())
    draw = magnitude if callable(magnitude) else _MAGNITUDES[magnitude]
    values = np.asarray(draw(rng, size), dtype=np.float64)
    if values.shape != (size,) or not np.isfinite(values).all():
        raise ValueError(
            f"magnitude(rng, size) must return a finite array of shape (size,) = ({size},); "
            f"got shape {values.shape} with {np.sum(~np.isfinite(values))} non-finite values."
        )
    y = np.zeros(shape)
    y[support] = values
    return y


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "n_features": [Interval(Integral, 1, None, closed="left"), None],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "sparsity": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="right"),
        ],
        "snr_db": [Interval(Real, None, None, closed="neither"), None],
        "magnitude": [StrOptions(set(_MAGNITUDES)), callable],
        "dictionary": [StrOptions(set(_DICTIONARIES)), "array-like"],
        "per_sample_dictionary": ["boolean"],
        "dtype": [
            Options(type, {np.float32, np.float64}),
            Options(np.dtype, {np.dtype("float32"), np.dtype("float64")}),
            StrOptions({"float32", "float64"}),
        ],
        "random_state": ["random_state"],
        "return_X_y": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def make_sparse_recovery(
    n_samples: int = 1000,
    n_features: int | None = None,
    n_components: int | None = None,
    *,
    sparsity: float = 0.1,
    snr_db: float | None = None,
    magnitude: str | Callable[[RandomState, int], ArrayLike] = "gaussian",
    dictionary: str | ArrayLike = "gaussian",
    per_sample_dictionary: bool = False,
    dtype: DTypeLike = np.float64,
    random_state: int | RandomState | None = None,
    return_X_y: bool = False,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Generate sparse codes and the signals they make, ``X = y @ dictionary + noise``.

    The defaults are the test bed of the LISTA papers: 500 unit Gaussian atoms in dimension
    250, each used with probability 0.1 and a standard normal coefficient.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of signals.
    n_features : int or None, default=None
        Length of a signal. None: taken from a given dictionary, else 250.
    n_components : int or None, default=None
        Number of atoms, the length of a code. None: taken from a given dictionary, else 500.
    sparsity : float in (0, 1] or int >= 1, default=0.1
        A float is the probability of every entry to be nonzero, so the number of nonzeros of
        a code is binomial. An int is the number of nonzeros of every code, places drawn
        uniformly. So ``1`` is one nonzero and ``1.0`` is a dense code.
    snr_db : float or None, default=None
        Signal-to-noise ratio of every sample in dB; None adds no noise. See Notes.
    magnitude : {"gaussian", "uniform", "sign", "laplace"} or callable, default="gaussian"
        Law of the nonzero coefficients: standard normal; random sign times uniform on
        [0.5, 1.5]; plus or minus one; Laplace of variance one. A callable
        ``magnitude(rng, size)`` gets a ``RandomState`` and returns an array of shape (size,).
    dictionary : {"gaussian", "bernoulli", "correlated", "dct"} or array-like of shape \
            (n_components, n_features) or (n_samples, n_components, n_features), \
            default="gaussian"
        Law of the dictionary, rows are atoms, all atoms of a law have norm one:

        - "gaussian": iid N(0, 1/n_features) entries, then normalised;
        - "bernoulli": iid entries of plus or minus ``1 / sqrt(n_features)``;
        - "correlated": Gaussian, and atoms i and k have correlation ``0.9 ** |i - k|`` (an
          autoregression over the atoms, so neighbours are alike), then normalised;
        - "dct": overcomplete cosines, no randomness: atom k at t is proportional to
          ``cos(pi (2 t + 1) k / (2 max(n_components, n_features)))``, the orthonormal DCT-II
          where the two numbers are equal.

        An array is used as it is (its atoms need not have norm one), for example
        ``dictionary=train.dictionary`` to draw a test set.
    per_sample_dictionary : bool, default=False
        Draw a new dictionary for every sample. Takes ``8 * n_samples * n_components *
        n_features`` bytes: 1 GB for the default sizes.
    dtype : {np.float64, np.float32}, default=np.float64
        Type of the arrays returned. All is computed in float64, so float32 data are the
        rounded float64 data of the same seed.
    random_state : int, RandomState instance or None, default=None
        Seed or generator. With an int or an instance the global numpy generator is neither
        read nor changed; None uses it, as everywhere in scikit-learn.
    return_X_y : bool, default=False
        Return ``(X, y)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch` or tuple (X, y)
        Dictionary-like object with the attributes

        X : ndarray of shape (n_samples, n_features)
            Signals.
        y : ndarray of shape (n_samples, n_components)
            Codes.
        dictionary : ndarray of shape (n_components, n_features) or \
                (n_samples, n_components, n_features)
            The dictionary, rows are atoms.
        noise_std : ndarray of shape (n_samples,)
            Standard deviation of the noise in every sample, zero where there is none.

    Raises
    ------
    ValueError
        If a parameter is out of range, an int sparsity exceeds n_components, the given
        dictionary does not fit the sizes or is not finite, ``per_sample_dictionary`` is asked
        of a shared array or of the deterministic "dct", or a callable magnitude returns the
        wrong shape or non-finite values.

    See Also
    --------
    load_image_patches : Real signals: patches of a photograph.
    sklearn.datasets.make_sparse_coded_signal : A fixed number of nonzeros, Gaussian, noiseless.

    Notes
    -----
    Noise is white and Gaussian with, for sample j and its clean signal ``s_j``,
    ``sigma_j = rms(s_j) * 10 ** (-snr_db / 20)``, where ``rms(s) = sqrt(mean(s ** 2))``.
    A signal that is zero gets no noise.

    The draws are made in the order dictionary, support, coefficients, noise. So one seed
    gives the same dictionary for every n_samples (if shared), the same codes for every
    snr_db, and the same support for every magnitude law.

    References
    ----------
    Chen, Liu, Wang and Yin, "Theoretical linear convergence of unfolded ISTA and its practical
    weights and thresholds", NeurIPS 2018: the default test bed.

    Examples
    --------
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> train = make_sparse_recovery(200, 20, 40, sparsity=3, snr_db=30, random_state=0)
    >>> train.X.shape, train.y.shape, train.dictionary.shape
    ((200, 20), (200, 40), (40, 20))
    >>> int((train.y != 0).sum())
    600
    >>> test = make_sparse_recovery(50, dictionary=train.dictionary, random_state=1)
    >>> bool(abs(test.X - test.y @ train.dictionary).max() < 1e-12)
    True
    """
    rng = check_random_state(random_state)
    if isinstance(dictionary, str):
        n_features = _N_FEATURES if n_features is None else n_features
        n_components = _N_COMPONENTS if n_components is None else n_components
        if per_sample_dictionary and dictionary == "dct":
            raise ValueError(
                "per_sample_dictionary=True needs a random dictionary, but 'dct' is "
                "deterministic; use 'gaussian', 'bernoulli' or 'correlated'."
            )
        shape = (n_components, n_features)
        D = _DICTIONARIES[dictionary](rng, (n_samples, *shape) if per_sample_dictionary else shape)
    else:
        D = _check_dictionary(
            dictionary, n_samples, n_features, n_components, per_sample_dictionary
        )
        n_components, n_features = D.shape[-2:]
    if isinstance(sparsity, Integral) and sparsity > n_components:
        raise ValueError(
            f"sparsity={sparsity} nonzeros do not fit in a code of n_components={n_components} "
            "entries; an int is a count, pass a float in (0, 1] for a probability."
        )
    y = _draw_codes(rng, (n_samples, n_components), sparsity, magnitude)
    X = y @ D if D.ndim == 2 else np.einsum("jk,jkm->jm", y, D)
    noise_std = np.zeros(n_samples)
    if snr_db is not None:
        # NOTE[DIFF]: the official LISTA codes take std(s_j), which removes the mean; a
        # signal-to-noise ratio compares energies, hence the root mean square.
        noise_std = np.sqrt(np.mean(X**2, axis=1)) * 10 ** (-snr_db / 20)
        X = X + noise_std[:, None] * rng.standard_normal(X.shape)
    X, y = X.astype(dtype, copy=False), y.astype(dtype, copy=False)
    if return_X_y:
        return X, y
    D = D.astype(dtype, copy=False)
    return Bunch(X=X, y=y, dictionary=D, noise_std=noise_std.astype(dtype, copy=False))
