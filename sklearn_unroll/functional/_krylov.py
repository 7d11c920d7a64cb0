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
    start = np.random.default_rng(0).standard_normal(size)
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
        x = _iterate(lambda p: apply(p) + rho * p, r)
        ctx.save_for_backward(x, rho)
        ctx.apply_gram = apply
        return x

    @staticmethod
    def backward(ctx, gradient):
        x, rho = ctx.saved_tensors
        s = _Solve.apply(gradient, rho, ctx.apply_gram)
        return s, -(s * x).sum().reshape(rho.shape), None


def _iterate(apply: Callable[[Tensor], Tensor], r: Tensor) -> Tensor:
    """Run conjugate gradients on every row by itself (Hestenes and Stiefel 1952)."""
    goal = (10 * torch.finfo(r.dtype).eps) ** 2 * r.square().sum(-1, keepdim=True)
    x, residual, p = torch.zeros_like(r), r, r
    rho = r.square().sum(-1, keepdim=True)
    for _ in range(10 * r.shape[-1] + 100):
        active = (rho > goal).to(r.dtype)  # a row that is done stands still
        if not bool(active.any()):
            return x
        q = apply(p)
        tiny = torch.finfo(r.dtype).tiny
        step = active * rho / (p * q).sum(-1, keepdim=True).clamp_min(tiny)
        x, residual = x + step * p, residual - step * q
        rho, before = residual.square().sum(-1, keepdim=True), rho
        p = torch.where(active > 0, residual + rho / before.clamp_min(tiny) * p, p)
    raise FloatingPointError(
        f"Conjugate gradients did not converge on {int(active.sum())} of {len(r)} systems: they "
        f"are too badly conditioned for {r.dtype}. Use a larger rho or float64."
    )
