"""The lasso objective of an iterate whose residual is at hand, in one pass over memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional._compiled import HONEST, compiled, compiled_available

__all__ = ["lasso_of_residual"]


def lasso_of_residual(x: Tensor, r: Tensor, weight: float, out: Tensor) -> None:
    """Write ``0.5 ||r||^2 + weight ||x||_1`` of every row, without gradients.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes.
    r : Tensor of shape (n_samples, n_features)
        Their residuals.
    weight : float
        Weight of the l1 norm; with zero x is not read.
    out : Tensor of shape (n_samples,)
        Where to write.
    """
    if x.device.type == "cpu" and x.is_contiguous() and compiled_available():
        compiled(_lasso_of_residual, HONEST)(x.numpy(), r.numpy(), weight, out.numpy())
        return
    torch.linalg.vector_norm(r, dim=1, out=out).square_().mul_(0.5)
    if weight:
        out.add_(x.abs().sum(1), alpha=weight)


def _lasso_of_residual(x: np.ndarray, r: np.ndarray, weight: float, out: np.ndarray) -> None:
    zero = out.dtype.type(0.0)
    for i in range(len(x)):
        size, energy = zero, zero
        if weight != 0.0:
            for j in range(x.shape[1]):
                size += abs(x[i, j])
        for j in range(r.shape[1]):
            energy += r[i, j] * r[i, j]
        out[i] = 0.5 * energy + weight * size
