"""Networks of proximal-gradient layers on dense codes: two products a layer, and one pass.

A layer is ``r = b - x D`` and ``x + gamma P r``, both in place, and then a compiled pass that
shrinks and sums ``|x|``; another sums ``r^2`` where costs are wanted. On small dictionaries the
passes that this saves, over memory that is new each time, take as long as the products.

For layers as in :mod:`sklearn_unroll.nn.sparse` of which the matrix acts on residuals and the
shrinkage is soft, with thresholds that do not depend on the sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import Dense
from sklearn_unroll.functional._compiled import HONEST, compiled
from sklearn_unroll.nn._run import CompiledRun, Packed
from sklearn_unroll.nn._sparse_steps import Stage

__all__ = ["FusedRun", "can_fuse"]

_CHUNK, _FEWEST = 2**18, 128  # numbers in the codes of a chunk, for every thread, and rows


def can_fuse(stages: Sequence[Stage]) -> bool:
    """Return whether layers take no more than products with residuals and a soft threshold."""
    scalars = [numbers for stage in stages for numbers in stage.scalars]
    plain = all(stage.affine.M is None and stage.gauge is None for stage in stages)
    return plain and not any(s.beta or s.per_error or s.count or s.per_progress for s in scalars)


class FusedRun(CompiledRun):
    """A network on dense codes.

    Parameters
    ----------
    stages : list of Stage
        Its layers, see :func:`can_fuse`.
    A : Dense
        The operator.
    weight : float, default=None
        Weight of the l1 norm in the costs ``0.5 ||b - A x||^2 + weight ||x||_1`` of all iterates;
        None for no costs.
    best : bool, default=False
        Whether codes are those of the iterate that costs least, and not the last.
    """

    def __init__(
        self, stages: Sequence[Stage], A: Dense, weight: float | None = None, best: bool = False
    ) -> None:
        self.D, self.weight, self.best = A.D.detach(), weight, best
        self.layers = [(s.affine.P.detach(), how) for s in stages for how in s.scalars]
        super().__init__(max(_CHUNK // len(self.D), _FEWEST))

    def desk(self) -> tuple[Tensor, ...]:
        """Return what a thread works on: room for residuals, points, and the best codes."""
        n, m = self.D.shape
        return tuple(self.D.new_empty(self.most, size) for size in (m, n, n))

    def code(
        self,
        b: Tensor,
        desk: tuple[Tensor, ...],
        out: Tensor | None,
        each: Callable[[Packed], None] | None,
    ) -> Tensor | None:
        """Take samples through all layers."""
        watched, best = self.weight is not None, self.best and out is not None
        shrink, cost = compiled(_shrink, HONEST), compiled(_cost, HONEST)
        costs = b.new_empty((len(self.layers) + 1) * watched, len(b)).numpy()
        left, z, kept = (room[: len(b)] for room in desk)
        x = torch.empty_like(z) if out is None else out
        if len(self.layers) % 2:
            x, z = z, x  # they change places in every layer, and codes end where they should
        x.zero_()
        sizes, r = b.new_zeros(len(b)).numpy(), b
        least, behind = sizes + np.inf, np.zeros(len(b), np.bool_)
        for number, (P, how) in enumerate(self.layers):
            if number:
                r = torch.addmm(b, x, self.D, alpha=-1, out=left)
            if watched:
                cost(self.weight, r.numpy(), sizes, costs[number])
            if best:
                compiled(_remember, HONEST)(costs[number], least, behind, z.numpy(), kept.numpy())
            torch.mm(r, P.T, out=z)
            shrink(how.step, how.theta, x.numpy(), z.numpy(), sizes)
            x, z = z, x
            if each is not None:
                each(_packed(x.numpy()))
        if not watched:
            return None
        torch.addmm(b, x, self.D, alpha=-1, out=left)
        cost(self.weight, left.numpy(), sizes, costs[-1])
        if best:
            compiled(_remember, HONEST)(costs[-1], least, behind, z.numpy(), kept.numpy())
            compiled(_recall, HONEST)(behind, kept.numpy(), x.numpy())
        return torch.from_numpy(costs)


def _shrink(gamma: float, theta: float, x: np.ndarray, u: np.ndarray, sizes: np.ndarray) -> None:
    """Overwrite u by the soft threshold of x + gamma u, and sizes by its l1 norms; NaN stays."""
    gamma, theta, zero = u.dtype.type(gamma), u.dtype.type(theta), u.dtype.type(0)
    for row in range(len(u)):
        size = zero
        for j in range(u.shape[1]):
            z = x[row, j] + gamma * u[row, j]
            shrunk = z - theta if z > theta else (z + theta if z < -theta else z - z)
            u[row, j] = shrunk
            size += abs(shrunk)
        sizes[row] = size


def _remember(
    costs: np.ndarray, least: np.ndarray, behind: np.ndarray, last: np.ndarray, best: np.ndarray
) -> None:
    """Keep the last codes where those of now cost more than the least; NaN is no cost."""
    for row in range(len(costs)):
        if costs[row] <= least[row]:
            least[row], behind[row] = costs[row], False
        elif not behind[row]:
            behind[row] = True
            for j in range(last.shape[1]):
                best[row, j] = last[row, j]


def _recall(behind: np.ndarray, best: np.ndarray, out: np.ndarray) -> None:
    """Write the best codes where there are better ones."""
    for row in range(len(out)):
        if behind[row]:
            for j in range(out.shape[1]):
                out[row, j] = best[row, j]


def _cost(weight: float, r: np.ndarray, sizes: np.ndarray, out: np.ndarray) -> None:
    """Write ``0.5 ||r||^2 + weight ||x||_1``, given the norms of x."""
    half, weight = r.dtype.type(0.5), r.dtype.type(weight)
    for row in range(len(r)):
        energy = r.dtype.type(0)
        for i in range(r.shape[1]):
            energy += r[row, i] * r[row, i]
        out[row] = half * energy + weight * sizes[row]


def _packed(x: np.ndarray) -> Packed:
    """Return the nonzeros of codes."""
    rows, places = np.nonzero(x)
    return Packed(np.bincount(rows, minlength=len(x)), places.astype(np.int32), x[rows, places])
