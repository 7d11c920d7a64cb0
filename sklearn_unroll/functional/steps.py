"""One iteration of an algorithm, as a function: one function, one printed equation.

Rows are samples (see :mod:`sklearn_unroll.functional.operators`), so a paper's ``W b`` with
``W`` of shape (n_components, n_features) is written ``b @ W.T``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_unroll.functional.observation import Observation

__all__ = ["adapted_step", "adjoint_step", "coupled_step", "free_step"]


def free_step(x: Tensor, obs: Observation, W1: Tensor, W2: Tensor) -> Tensor:
    """Return ``W1 b + W2 x``, the affine part of a LISTA layer.

    Gregor and LeCun 2010, "Learning fast approximations of sparse coding", the LISTA
    iteration (their ``W_e`` is ``W1``, their ``S`` is ``W2``).

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Current codes.
    obs : Observation
        Data ``b`` of shape (n_samples, n_features); the operator is not used.
    W1 : Tensor of shape (n_components, n_features)
        Weight on the data.
    W2 : Tensor of shape (n_components, n_components)
        Weight on the codes.

    Returns
    -------
    Tensor of shape (n_samples, n_components)
        The point to shrink.
    """
    return (obs.b @ W1.T).addmm_(x, W2.T)


def coupled_step(
    x: Tensor,
    r: Tensor,
    W: Tensor,
    gamma: Tensor | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Return ``x + gamma W r`` with ``r = b - A x``, the affine part of a LISTA-CP layer.

    Chen, Liu, Wang and Yin 2018, "Theoretical linear convergence of unfolded ISTA and its
    practical weights and thresholds", the LISTA-CP iteration (``W`` here is their ``W^T``);
    with a step size it is that of TiLISTA and ALISTA (Liu, Chen, Wang and Yin 2019).

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Current codes.
    r : Tensor of shape (n_samples, n_features)
        Residual.
    W : Tensor of shape (n_components, n_features)
        Weight on the residual.
    gamma : Tensor of shape () or (n_samples, 1), default=None
        Step size, one by default.
    out : Tensor of shape (n_samples, n_components), default=None
        Where to write, without gradients only; may be x itself, which saves a copy.

    Returns
    -------
    Tensor of shape (n_samples, n_components)
        The point to shrink.
    """
    return torch.addmm(x, r if gamma is None else gamma * r, W.T, out=out)


def adjoint_step(x: Tensor, obs: Observation, gamma: Tensor | float) -> Tensor:
    """Return ``x + gamma A^T (b - A x)``, a gradient step on ``0.5 ||A x - b||^2``.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Current codes.
    obs : Observation
        Data and operator.
    gamma : float or Tensor of shape () or (n_samples, 1)
        Step size.

    Returns
    -------
    Tensor of shape (n_samples, n_components)
        The point to shrink.
    """
    return x + gamma * obs.A.adjoint(obs.residual(x))


def adapted_step(
    x: Tensor, obs: Observation, W1: Tensor, W2: Tensor, gamma: Tensor | float
) -> Tensor:
    """Return ``x + gamma A^T (W2^T b - W1^T W1 A x)``, the affine part of an Ada-LISTA layer.

    Aberdam, Golts and Elad 2021, "Ada-LISTA: Learned solvers adaptive to varying models". With
    identities as weights it is :func:`adjoint_step`.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Current codes.
    obs : Observation
        Data and operator, which may be one per sample.
    W1, W2 : Tensor of shape (n_features, n_features)
        Weights on the predicted and on the observed signals.
    gamma : float or Tensor of shape () or (n_samples, 1)
        Step size.

    Returns
    -------
    Tensor of shape (n_samples, n_components)
        The point to shrink.
    """
    return x + gamma * obs.A.adjoint(obs.b @ W2 - obs.A(x) @ W1.T @ W1)
