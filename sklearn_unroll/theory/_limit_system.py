"""The system that a forward-backward splitting network tends to as it gets deeper."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.nn import FBSRule, ProxGradLayer, Unrolled

__all__ = ["limit_system"]


@torch.no_grad()
def limit_system(network: Unrolled, obs: Observation, *, n_steps: int = 1000) -> Tensor:
    """Integrate ``dx/dt in -tau(t) (W(t) (A x - b) + lam(t) dR(x))`` from ``x(0) = x_0``.

    Lin and Wu 2026, Eq. 2.3, with the network's parameters as functions of depth-time, constant
    over each layer, and the network's time ``sum_l h``: what the layers do when each is cut into
    infinitely many.

    A small step s is taken in two implicit halves, ``(I + s tau W A) y = x + s tau W b`` and
    ``x+ = prox_{s tau lam R}(y)``: both are resolvents, so stiff systems need no smaller steps,
    and R needs no derivative. The error is of order s. This agrees with the stiff solver Radau
    of :mod:`scipy.integrate`, which needs R smoothed and factorises one Jacobian for all samples:
    two thousand times slower for twenty samples of 50 components.

    Parameters
    ----------
    network : Unrolled
        A network made by :func:`~sklearn_unroll.nn.fbs`.
    obs : Observation
        Data and a dense operator.
    n_steps : int, default=1000
        Number of steps at least; every layer gets the same whole number of them.

    Returns
    -------
    Tensor of shape (n_samples, n_components)
        The state at the end, in float64.

    Raises
    ------
    TypeError
        If the network was not made by that recipe, or the operator is not dense.
    ValueError
        If ``n_steps`` is less than one.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation, Zero
    >>> from sklearn_unroll.nn import fbs
    >>> from sklearn_unroll.theory import limit_system
    >>> obs = Observation(torch.ones(1, 1), Dense(torch.ones(1, 1)))
    >>> net = fbs(obs.A, n_layers=4, penalty=Zero(), horizon=1.0)
    >>> limit_system(net, obs, n_steps=10_000).item()  # 1 - exp(-1)
    0.632
    """
    if n_steps < 1:
        raise ValueError(f"n_steps must be at least 1, got {n_steps}.")
    layers = list(network.layers) if isinstance(network, Unrolled) else [network]
    if not all(isinstance(z, ProxGradLayer) and isinstance(z.rule, FBSRule) for z in layers):
        raise TypeError(
            f"The limit is known for networks made by sklearn_unroll.nn.fbs, not for "
            f"{type(network).__name__}."
        )
    if not isinstance(obs.A, Dense) or obs.A.per_sample:
        raise TypeError(f"One dense operator is needed for all samples, got {obs.A!r}.")
    x = layers[0].readout(layers[0].init(obs)).double()
    b, D = obs.b.double(), obs.A.D.double()
    eye = torch.eye(len(D), dtype=D.dtype, device=D.device)
    n_each = math.ceil(n_steps / len(layers))
    for layer in layers:
        rule, W = layer.rule, layer.weights.W.double()
        s = rule.tau.double() * (rule.h / n_each)
        # Rows are samples: the transposed system.
        lu = torch.linalg.lu_factor(eye + s * D @ W.T)
        push = s * b @ W.T
        theta = s * rule.lam.double()
        for _ in range(n_each):
            y = torch.linalg.lu_solve(*lu, x + push, left=False)
            x = layer.shrinkage.penalty.prox(y, theta)
    return x
