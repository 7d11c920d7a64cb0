"""A shrinkage with derivatives of every order, and the constants that theorems ask of it."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import softplus

from sklearn_unroll.functional.prox import soft

__all__ = ["SmoothSoftConstants", "smooth_soft", "smooth_soft_constants"]

# Where softplus becomes linear; torch's own 20 leaves a step of 2e-9, this one less than 2e-22.
_LINEAR_FROM = 50.0


class SmoothSoftConstants(NamedTuple):
    """What bounds the derivatives of :func:`smooth_soft`.

    Parameters
    ----------
    lipschitz : float
        Least upper bound of the slope, one; approached far from zero.
    smallest_slope : float
        Slope at zero: what a layer leaves of a small signal, and of its gradient.
    curvature : float
        Largest magnitude of the second derivative, the Lipschitz constant of the slope.
    """

    lipschitz: float
    smallest_slope: float
    curvature: float


def smooth_soft(z: Tensor, theta: Tensor | float, sharpness: float = 1.0) -> Tensor:
    """Smooth threshold ``(softplus(b (z - theta)) - softplus(b (-z - theta))) / b``.

    Shah, Pradhan, Pu, Randhi, Rodrigues and Eldar 2024, "Optimization guarantees of unfolded
    ISTA and ADMM networks with smooth soft-thresholding", with ``b = 1``; there is no dead zone:
    zero is its only zero. For large b it tends to the soft threshold, from which it differs by
    at most ``log(2 / (1 + exp(-2 b theta))) / b``, at the threshold.

    Parameters
    ----------
    z : Tensor
        Any shape.
    theta : float or Tensor
        Nonnegative threshold; a tensor broadcasts against ``z``.
    sharpness : float, default=1.0
        The number b, positive; infinity gives the soft threshold itself.

    Returns
    -------
    Tensor
        Same shape as ``z``.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import smooth_soft
    >>> z = torch.tensor([-1e4, 0.0, 1.0, 3.0])
    >>> smooth_soft(z, 1.0)
    tensor([-9.9990e+03,  0.0000e+00,  5.6622e-01,  2.1088e+00])
    >>> smooth_soft(z, 1.0, sharpness=100.0)
    tensor([-9.9990e+03,  0.0000e+00,  6.9315e-03,  2.0000e+00])
    """
    if math.isinf(sharpness):
        return soft(z, theta)
    above = softplus(sharpness * (z - theta), threshold=_LINEAR_FROM)
    below = softplus(sharpness * (-z - theta), threshold=_LINEAR_FROM)
    return (above - below) / sharpness


def smooth_soft_constants(theta: float, sharpness: float = 1.0) -> SmoothSoftConstants:
    """Return the bounds ``1``, ``2 / (1 + exp(b theta))`` and ``b k(b theta)`` on derivatives.

    The slope lies between the second and the first. The second derivative is
    ``b sinh(u) sinh(t) / (cosh(u) + cosh(t))^2`` with ``u = b z`` and ``t = b theta``; it is
    largest where ``cosh(u) = (cosh(t) + sqrt(cosh(t)^2 + 8)) / 2``, and tends to ``b / 4``.

    Parameters
    ----------
    theta : float
        Threshold, nonnegative.
    sharpness : float, default=1.0
        The number b, positive and finite.

    Returns
    -------
    SmoothSoftConstants
        Lipschitz constant, smallest slope and curvature.

    Raises
    ------
    ValueError
        If the threshold is negative, or the sharpness not positive and finite.

    Examples
    --------
    >>> from sklearn_unroll.functional import smooth_soft_constants
    >>> constants = smooth_soft_constants(theta=1.0)
    >>> constants.lipschitz, round(constants.smallest_slope, 4), round(constants.curvature, 4)
    (1.0, 0.5379, 0.1649)
    """
    if not (0 <= theta < math.inf and 0 < sharpness < math.inf):
        raise ValueError(
            f"theta must be nonnegative and sharpness positive, both finite (the soft threshold "
            f"itself has no curvature); got theta={theta!r}, sharpness={sharpness!r}."
        )
    t = sharpness * theta
    decay = math.exp(-t)
    q = 2 * decay / (1 + decay**2)  # 1 / cosh(t), which itself may overflow
    k = (1 + math.sqrt(1 + 8 * q**2)) / 2  # cosh(u) / cosh(t)
    largest = math.tanh(t) * math.sqrt(max(k**2 - q**2, 0.0)) / (k + 1) ** 2
    return SmoothSoftConstants(1.0, 2 * decay / (1 + decay), sharpness * largest)
