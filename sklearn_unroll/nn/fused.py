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
    """

    def __init__(self, stages: Sequence[Stage], A: Dense, weight: float | None = None) -> None:
        self.D, self.weight = A.D.detach(), weight
        self.layers = [(s.affine.P.detach(), how) for s in stages for how in s.scalars]
        super().__init__(max(_CHUNK // len(self.D), _FEWEST))

    def desk(self) -> Tensor:
        """Return what a thread works on: room for residuals."""
        return self.D.new_empty(self.most, self.D.shape[1])

    def code(
        self, b: Tensor, desk: Tensor, out: Tensor | None, each: Callable[[Packed], None] | None
    ) -> Tensor | None:
        """Take samples through all layers."""
        watched = self.weight is not None
        shrink, cost = compiled(_shrink, HONEST), compiled(_cost, HONEST)
        costs = b.new_empty((len(self.layers) + 1) * watched, len(b)).numpy()
        x = b.new_empty(len(b), len(self.D)) if out is None else out
        sizes, r, left = b.new_zeros(len(b)).numpy(), b, desk[: len(b)]
        for number, (P, how) in enumerate(self.layers):
            if number:
                r = torch.addmm(b, x, self.D, alpha=-1, out=left)
                torch.addmm(x, r, P.T, alpha=how.step, out=x)
            else:
                torch.mm(b, P.T, out=x).mul_(how.step)
            if watched:
                cost(self.weight, r.numpy(), sizes, costs[number])
            shrink(how.theta, x.numpy(), sizes)
            if each is not None:
                each(_packed(x.numpy()))
        if not watched:
            return None
        torch.addmm(b, x, self.D, alpha=-1, out=left)
        cost(self.weight, left.numpy(), sizes, costs[-1])
        return torch.from_numpy(costs)


def _shrink(theta: float, x: np.ndarray, sizes: np.ndarray) -> None:
    """Overwrite x by its soft threshold, and sizes by the l1 norms of its rows; NaN stays."""
    theta, zero = x.dtype.type(theta), x.dtype.type(0)
    for row in range(len(x)):
        size = zero
        for j in range(x.shape[1]):
            z = x[row, j]
            shrunk = z - theta if z > theta else (z + theta if z < -theta else z - z)
            x[row, j] = shrunk
            size += abs(shrunk)
        sizes[row] = size


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
