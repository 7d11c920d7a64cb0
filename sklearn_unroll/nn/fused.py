"""Networks of proximal-gradient layers on dense codes: two products a layer, and one pass.

A layer is ``r = b - x D`` and ``P r``, and then a compiled pass that shrinks ``x + gamma P r`` and
sums ``|x|``; another sums ``r^2`` where costs are wanted. On small dictionaries the passes that
this saves, over memory that is new each time, take as long as the products. The codes before
stand where ``P r`` will: what a guard keeps of them, or begins again from, is still there.

For layers as in :mod:`sklearn_unroll.nn.sparse` of which the matrix acts on residuals and the
shrinkage is soft, with thresholds that do not depend on the sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import Dense, soft
from sklearn_unroll.functional._compiled import HONEST, compiled
from sklearn_unroll.nn._run import CompiledRun, Packed, Watched
from sklearn_unroll.nn._sparse_steps import Stage
from sklearn_unroll.nn.guard import roomy

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
    classical : float, default=None
        The step that samples take from the iterate before one that costs more than the zero code;
        codes are those of the iterate that costs least. None for the last ones.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        A: Dense,
        weight: float | None = None,
        classical: float | None = None,
    ) -> None:
        self.D, self.weight, self.classical = A.D.detach(), weight, classical
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
    ) -> Watched | None:
        """Take samples through all layers."""
        watched, best = self.weight is not None, self.classical is not None
        shrink, cost = compiled(_shrink, HONEST), compiled(_cost, HONEST)
        costs = b.new_empty((len(self.layers) + 1) * watched, len(b))
        left, z, kept = (room[: len(b)] for room in desk)
        x = torch.empty_like(z) if out is None else out
        if len(self.layers) % 2:
            x, z = z, x  # they change places in every layer, and codes end where they should
        x.zero_()
        sizes, r, memory = b.new_zeros(len(b)).numpy(), b, _Memory(b, kept)
        for number, (P, how) in enumerate([*self.layers, (None, None)]):
            if number and (watched or P is not None):
                r = torch.addmm(b, x, self.D, alpha=-1, out=left)
            if watched:
                cost(self.weight, r.numpy(), sizes, costs[number].numpy())
            if best:
                self._hold(memory, costs[number], b, x, z, r)
                memory.keep(costs[number], z)
            if number and each is not None:
                each(_packed(x.numpy()))
            if P is not None:
                torch.mm(r, P.T, out=z)
                shrink(how.step, how.theta, x.numpy(), z.numpy(), sizes)
                x, z = z, x
        if best:
            compiled(_recall, HONEST)(memory.behind, kept.numpy(), x.numpy())
        return Watched(costs, torch.from_numpy(memory.refused)) if watched else None

    def _hold(
        self, memory: _Memory, costs: Tensor, b: Tensor, x: Tensor, last: Tensor, r: Tensor
    ) -> None:
        """Have samples whose codes cost too much take the classical step from the last ones.

        Where that costs too much, too, by rounding, they stay where they were, as in nn.Guarded.
        """
        rows = (~(costs <= memory.limits)).nonzero()[:, 0]
        if r is b or len(rows) == 0:
            return
        new, step = last[rows], self.classical
        for fallback in (False, True):
            if fallback:
                rows = rows[~(costs[rows] <= memory.limits[rows])]
                new = last[rows]
            else:
                memory.refused[rows.numpy()] += 1
                slope = (b[rows] - new @ self.D) @ self.D.T
                new = soft(new + step * slope, step * self.weight)
            x[rows], r[rows] = new, b[rows] - new @ self.D
            costs[rows] = 0.5 * r[rows].square().sum(1) + self.weight * new.abs().sum(1)


class _Memory:
    """The best codes of samples, where these are not the last ones, and what codes may cost.

    Parameters
    ----------
    b : Tensor of shape (n_samples, n_features)
        Data.
    kept : Tensor of shape (n_samples, n_components)
        Room for the codes.
    """

    def __init__(self, b: Tensor, kept: Tensor) -> None:
        self.kept, self.limits = kept.numpy(), roomy(0.5 * b.square().sum(1))
        self.least = np.full(len(b), np.inf, self.kept.dtype)
        self.behind, self.refused = np.zeros(len(b), np.bool_), np.zeros(len(b), np.int64)

    def keep(self, costs: Tensor, last: Tensor) -> None:
        """Keep the last codes of samples of which those of now cost more than the least."""
        given = self.least, self.behind, last.numpy(), self.kept
        compiled(_remember, HONEST)(costs.numpy(), *given)


def _shrink(gamma: float, theta: float, x: np.ndarray, u: np.ndarray, sizes: np.ndarray) -> None:
    """Overwrite u by the soft threshold of x + gamma u, and sizes by its l1 norms; NaN stays."""
    gamma, theta, zero = u.dtype.type(gamma), u.dtype.type(theta), u.dtype.type(0)
    for row in range(len(u)):
        size = zero
        for j in range(u.shape[1]):
            z = x[row, j] + gamma * u[row, j]
            shrunk = z - theta if z > theta else (z + theta if z < -theta else zero)
            shrunk = shrunk if z == z else z
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
