"""How many nonzeros l1 minimisation recovers: the law that phase diagrams are compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import erfcx

__all__ = ["l1_phase_transition"]

_LARGEST_Z = 37.0  # where the normal density is next to the smallest float64


def l1_phase_transition(undersampling: ArrayLike) -> np.ndarray:
    """Return the sparsity ``s / m`` up to which l1 minimisation recovers, given ``m / n``.

    For ``min ||x||_1`` with ``A x = b``, Gaussian A of shape (m, n) and s nonzeros, recovery
    without noise turns from certain to impossible as n grows at ``s / m = rho(m / n)``: the weak
    threshold of Donoho and Tanner 2009, "Counting faces of randomly projected polytopes". Here by
    the closed curve of Donoho, Maleki and Montanari 2009, "Message-passing algorithms for
    compressed sensing", with the normal density phi and ``M(z) = P(Z > z) / phi(z)``:
    ``m / n = 2 phi(z) / (z + 2 phi(z) (1 - z M(z)))`` and ``rho = 1 - z M(z)``, ``z >= 0``.

    Parameters
    ----------
    undersampling : array-like
        ``m / n``, measurements per unknown, in (0, 1].

    Returns
    -------
    ndarray
        ``s / m``, of the same shape.

    Raises
    ------
    ValueError
        If a value is not in (0, 1].

    See Also
    --------
    sklearn_unroll.plotting.PhaseTransitionDisplay : Draws it over measured success rates.

    Examples
    --------
    >>> from sklearn_unroll.theory import l1_phase_transition
    >>> l1_phase_transition([0.1, 0.5, 1.0]).round(3)
    array([0.189, 0.386, 1.   ])
    """
    delta = np.asarray(undersampling, dtype=np.float64)
    if not np.all((delta > 0) & (delta <= 1)):
        raise ValueError(
            f"undersampling must hold n_features / n_components, numbers in (0, 1]; got "
            f"{undersampling!r}."
        )
    z = [brentq(lambda z, d=d: _curve(z)[0] - d, 0.0, _LARGEST_Z, xtol=1e-14) for d in delta.flat]
    return _curve(np.array(z).reshape(delta.shape))[1]


def _curve(z: float | np.ndarray) -> tuple:
    """Return ``(m / n, s / m)``; the first falls from 1 to 0 in z, the second too."""
    phi = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    mills = np.sqrt(np.pi / 2) * erfcx(z / np.sqrt(2))
    rho = 1 - z * mills
    return 2 * phi / (z + 2 * phi * rho), rho
