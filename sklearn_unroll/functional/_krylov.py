"""Eigenvalues and linear systems of operators that are known only by what they do to rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

# Up to this size the matrix is written out: Lanczos' method needs more than a few dimensions.
_SMALL = 32


@torch.no_grad()
def largest_eigenvalue(apply: Callable[[Tensor], Tensor], size: int, like: Tensor) -> Tensor:
    """Return the largest eigenvalue of a positive semidefinite map of rows, of shape ()."""
    if size <= _SMALL:
        matrix = apply(torch.eye(size, dtype=like.dtype, device=like.device))
        return torch.linalg.eigvalsh((matrix + matrix.mT) / 2)[-1].clamp_min(0)

    def matvec(v: np.ndarray) -> np.ndarray:
        row = torch.from_numpy(np.array(v, dtype=np.float64).reshape(1, -1)).to(like)
        return apply(row)[0].double().cpu().numpy()

    matrix = LinearOperator((size, size), matvec=matvec, dtype=np.float64)
    start = np.cos(np.arange(size) ** 2.0)  # flat in space and in frequency: orthogonal to little
    if not np.any(matvec(start)):  # the zero map, on which Lanczos' method breaks down
        return like.new_zeros(())
    tol = 1e-10 if like.dtype == torch.float64 else 1e-6
    largest = eigsh(matrix, k=1, v0=start, tol=tol, return_eigenvectors=False)[0]
    return torch.as_tensor(max(largest, 0.0), dtype=like.dtype, device=like.device)


def conjugate_gradients(apply: Callable[[Tensor], Tensor], r: Tensor, rho: Tensor) -> Tensor:
    """Return ``(G + rho I)^{-1} r`` for every row, where apply is ``x -> G x``, G >= 0."""
    return _Solve.apply(r, rho, apply)


class _Solve(torch.autograd.Function):
    """The derivative of a solution is the solution of another system with the same matrix."""

    @staticmethod
    def forward(ctx, r, rho, apply):
        goal = (10 * torch.finfo(r.dtype).eps) ** 2 * r.square().sum(-1, keepdim=True)
        max_iter = 10 * r.shape[-1] + 100
        x, left = descend(lambda p: apply(p) + rho * p, torch.zeros_like(r), r, goal, max_iter)
        if left:
            raise FloatingPointError(
                f"Conjugate gradients did not converge on {left} of {len(r)} systems: they are "
                f"too badly conditioned for {r.dtype}. Use a larger rho or float64."
            )
        ctx.save_for_backward(x, rho)
        ctx.apply_gram = apply
        return x

    @staticmethod
    def backward(ctx, gradient):
        x, rho = ctx.saved_tensors
        s = _Solve.apply(gradient, rho, ctx.apply_gram)
        return s, -(s * x).sum().reshape(rho.shape), None


def descend(
    apply: Callable[[Tensor], Tensor], x: Tensor, r: Tensor, goal: Tensor, max_iter: int
) -> tuple[Tensor, int]:
    """Run conjugate gradients on every row by itself (Hestenes and Stiefel 1952).

    From x with residual r until ``||r||^2`` is at most the goal; return x and how many rows are
    above it.
    """
    p, tiny = r, torch.finfo(r.dtype).tiny
    rho = r.square().sum(-1, keepdim=True)
    for number in range(max_iter):
        active = rho > goal  # a row that is done stands still
        # Elsewhere than on the CPU seldom: it waits for the device.
        if (number % 8 == 0 or r.device.type == "cpu") and not bool(active.any()):
            break
        q = apply(p)
        step = active * rho / (p * q).sum(-1, keepdim=True).clamp_min(tiny)
        x, r = x + step * p, r - step * q
        rho, before = r.square().sum(-1, keepdim=True), rho
        p = torch.where(active, r + rho / before.clamp_min(tiny) * p, p)
    return x, int((rho > goal).sum())
