"""The basic forward-backward splitting network: any penalty, any start, a horizon or none."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_unroll.functional import L1, Dense, Observation
from sklearn_unroll.nn.base import Unrolled
from sklearn_unroll.nn.parts import CoupledWeights
from sklearn_unroll.nn.proxgrad import ProxGradLayer
from sklearn_unroll.nn.rules import Rule, Scalars, Shrink
from sklearn_unroll.nn.shrinkages import ProxShrinkage

__all__ = ["FBSRule", "FirstIterate", "check_prox", "fbs", "polar_weight"]

INITS = ("polar", "adjoint")


class FBSRule(Rule):
    """A learned step ``tau >= 0`` and weight ``lam >= 0``: move ``h tau``, clip ``h tau lam``.

    Both are kept nonnegative by projection after every step of training: unlike a softplus it
    lets them be zero, and leaves the published initial values and rates their meaning.

    Parameters
    ----------
    tau : Tensor of shape ()
        First step.
    lam : Tensor of shape ()
        First weight of the penalty.
    h : float, default=1.0
        Step in depth-time, not learned.
    """

    needs, offers = ("step",), ("threshold", "gamma")

    def __init__(self, tau: Tensor, lam: Tensor, h: float = 1.0) -> None:
        super().__init__()
        self.tau = nn.Parameter(tau.clone())
        self.lam = nn.Parameter(lam.clone())
        self.h = h

    def forward(self, x, memory, obs, weights):
        """Return the point, the threshold that belongs to the step, and no memory."""
        gamma = self.h * self.tau
        return weights(x, obs, gamma), Shrink(gamma * self.lam), None

    def scalars(self) -> Scalars:
        """Return step and threshold."""
        gamma = self.h * self.tau.detach()
        return Scalars(float(gamma), float(gamma * self.lam.detach()))

    def project_(self) -> None:
        """Clip both at zero."""
        self.tau.clamp_min_(0)
        self.lam.clamp_min_(0)


class FirstIterate(nn.Module):
    """The same first iterate ``x_0`` for all samples, given or learned.

    Parameters
    ----------
    x0 : Tensor of shape (n_components,)
        The iterate, or its first value.
    learn : bool, default=False
        Whether it is a parameter.
    """

    def __init__(self, x0: Tensor, learn: bool = False) -> None:
        super().__init__()
        if learn:
            self.x0 = nn.Parameter(x0.clone())
        else:
            self.register_buffer("x0", x0.clone())

    def forward(self, obs: Observation) -> Tensor:
        """Return it for each sample."""
        return self.x0.expand(len(obs.b), -1)


def fbs(
    A: Dense,
    *,
    n_layers: int = 16,
    penalty: Any = None,
    alpha: float = 0.1,
    tau: float | None = None,
    horizon: float | None = None,
    init: str = "polar",
    x0: Tensor | str | Callable[[Observation], Tensor] | None = None,
) -> Unrolled:
    """Assemble ``x+ = prox_{h tau lam R}(x - h tau W (A x - b))``, all but A, h and R learned.

    Lin and Wu 2026, "Deep-layer limit and stability analysis of the basic forward-backward-
    splitting induced network (II): learning problems", Eq. 2.2.

    Parameters
    ----------
    A : Dense
        The operator, one for all samples; sets shape, dtype and device of the parameters.
    n_layers : int, default=16
        Number of layers L.
    penalty : Penalty, default=None
        R: any object with ``value(x)`` and ``prox(x, step)``, see
        :class:`~sklearn_unroll.functional.Penalty`; None is the l1 norm. Its parameters are the
        same for all samples.
    alpha : float, default=0.1
        Where the weights lam of the penalty start; for ``"polar"``, which has no units, relative
        to the atoms' root mean square norm.
    tau : float, default=None
        Where the steps start, by default at ``1 / ||W A||_2``.
    horizon : float, default=None
        T: ``h = T / L``, for which the network has a limit as it gets deeper. With the default
        tau it counts classical steps. None is ``h = 1``.
    init : {"polar", "adjoint"}, default="polar"
        Where the matrices start: the transpose of the orthogonal factor of A, as published, or
        ``A^T``, with which the untrained network is the proximal gradient method.
    x0 : Tensor of shape (n_components,), "learned", callable or None, default=None
        First iterate: the same for all samples; a parameter, zero at first; a function of the
        data, from an Observation to a Tensor of shape (n_samples, n_components); or zero.

    Returns
    -------
    Unrolled
        The network.

    Warns
    -----
    UserWarning
        Where ``h tau ||W A||_2 > 2``: such a step expands.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, NonnegativeL1
    >>> from sklearn_unroll.nn import fbs
    >>> net = fbs(Dense(torch.eye(3)), n_layers=2, penalty=NonnegativeL1())
    >>> sum(p.numel() for p in net.parameters())  # in each layer a matrix and two numbers
    22
    """
    if A.per_sample:
        raise ValueError("FBSNet needs one operator for all samples, got one for each.")
    if init not in INITS:
        raise ValueError(f"init must be one of {INITS}, got {init!r}.")
    for name, number in {"alpha": alpha, "tau": tau}.items():
        if number is not None and not (math.isfinite(number) and number >= 0):
            raise ValueError(f"{name} must be nonnegative and finite, got {number!r}.")
    if horizon is not None and not (math.isfinite(horizon) and horizon > 0):
        raise ValueError(f"horizon must be positive and finite, or None; got {horizon!r}.")
    penalty = L1() if penalty is None else penalty
    check_prox(penalty, A.D)
    W = polar_weight(A.D) if init == "polar" else A.D
    size = float(torch.linalg.matrix_norm(W @ A.D.T, 2))
    tau = 1 / (size or 1.0) if tau is None else tau
    # The polar weight has no units, and A^T those of the atoms.
    atoms = float(A.D.square().sum(1).mean().sqrt()) if init == "polar" else 1.0
    lam = alpha / (atoms or 1.0)
    h = 1.0 if horizon is None else horizon / n_layers
    if h * tau * size > 2:
        warnings.warn(
            f"The first layers expand: h tau ||W A||_2 = {h * tau * size:.3g} is above 2, with "
            f"h = {h:.3g}, tau = {tau:.3g}. Lower "
            f"{'tau' if horizon is None else 'the horizon or tau, or take more layers'}.",
            stacklevel=2,
        )
    first = _first_iterate(x0, A)
    return Unrolled(
        ProxGradLayer(
            CoupledWeights(W),
            FBSRule(A.D.new_tensor(tau), A.D.new_tensor(lam), h),
            ProxShrinkage(penalty),
            first if layer == 0 else None,
        )
        for layer in range(n_layers)
    )


def polar_weight(D: Tensor) -> Tensor:
    """Return the transpose of the orthogonal factor of A: ``V U^T`` for ``A = U S V^T``.

    It has the same singular vectors as ``A^T`` and all singular values one.

    Parameters
    ----------
    D : Tensor of shape (n_components, n_features)
        The dictionary, ``A = D.T``.

    Returns
    -------
    Tensor of shape (n_components, n_features)
        The weight; of a matrix without full rank one of several.
    """
    U, _, Vh = torch.linalg.svd(D, full_matrices=False)
    return U @ Vh


def check_prox(penalty: Any, D: Tensor) -> None:
    """Try a penalty's prox on a few points, and raise if it cannot serve as a shrinkage.

    Parameters
    ----------
    penalty : object
        What should have ``value(x)`` and ``prox(x, step)``.
    D : Tensor of shape (n_components, n_features)
        The dictionary, for the number of components, dtype and device.

    Raises
    ------
    TypeError
        If a method is missing, or returns no tensor.
    ValueError
        If what it returns has the wrong shape or dtype, or holds NaN.
    """
    name = type(penalty).__name__
    for method in ("value", "prox"):
        if not callable(getattr(penalty, method, None)):
            raise TypeError(
                f"A penalty needs methods value(x) and prox(x, step); {name} has no {method}."
            )
    # Three samples: a parameter with two or more rows of its own does not broadcast.
    x = torch.linspace(-3, 3, 3 * len(D), dtype=D.dtype, device=D.device).reshape(3, -1)
    for step in (0.0, 0.7):
        try:
            z = penalty.prox(x.clone(), x.new_tensor(step))
        except RuntimeError as error:
            raise ValueError(
                f"{name}.prox fails for codes of shape (n_samples, {len(D)}): {error}. Its "
                f"parameters must be the same for all samples."
            ) from error
        _check_result(f"{name}.prox", z, x)
    _check_result(f"{name}.value", penalty.value(z), x[:, 0])


def _check_result(name: str, found: Any, like: Tensor) -> None:
    if not isinstance(found, Tensor):
        raise TypeError(f"{name} must return a tensor, got {type(found).__name__}.")
    if found.shape != like.shape or found.dtype != like.dtype:
        raise ValueError(
            f"{name} must return shape {tuple(like.shape)} and {like.dtype} for the "
            f"{len(like)} samples here; got shape {tuple(found.shape)} and {found.dtype}."
        )
    if bool(found.isnan().any()):
        raise ValueError(f"{name} returns NaN for finite codes.")


def _first_iterate(x0: Any, A: Dense) -> Callable[[Observation], Tensor] | None:
    if x0 is None or callable(x0):
        return x0
    if isinstance(x0, str):
        if x0 != "learned":
            raise ValueError(f"x0 must be 'learned', a tensor, a callable or None; got {x0!r}.")
        return FirstIterate(A.D.new_zeros(A.n_components), learn=True)
    x0 = torch.as_tensor(x0, dtype=A.D.dtype, device=A.D.device)
    if x0.shape != (A.n_components,) or not bool(torch.isfinite(x0).all()):
        raise ValueError(
            f"x0 must hold {A.n_components} finite numbers, one for each component, of shape "
            f"({A.n_components},); got shape {tuple(x0.shape)}"
            f"{'' if bool(torch.isfinite(x0).all()) else ', with NaN or infinity'}."
        )
    return FirstIterate(x0)
