"""Layers with the same weights as steps of a sparse run, taken by as many threads as torch has."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import Dense
from sklearn_unroll.functional._compiled import HONEST, compiled
from sklearn_unroll.nn._sparse_loops import REFERENCE, Codes, Product, look, proceed, spread
from sklearn_unroll.nn._sparse_tables import Table
from sklearn_unroll.nn.parts import Affine, Weights
from sklearn_unroll.nn.rules import Scalars

__all__ = ["MAX_ATOMS", "Share", "Stage", "Step", "Team", "room"]

MAX_ATOMS = 2**12
_FRESH = 8  # layers in float32 after which residuals are taken anew


class Stage(NamedTuple):
    """Consecutive layers with the same weights.

    Parameters
    ----------
    weights : Weights
        The weights.
    affine : Affine
        What they say of themselves.
    gauge : Tensor or None
        What gives the error that the rule looks at.
    scalars : list of Scalars
        What the layers do.
    """

    weights: Weights
    affine: Affine
    gauge: Tensor | None
    scalars: list[Scalars]

    @property
    def tabled(self) -> bool:
        """Whether a table of inner products serves it, or residuals do."""
        shared = len(self.scalars) > 1 and len(self.affine.P) <= MAX_ATOMS
        return self.affine.M is not None or shared


def room(n_rows: int, n_atoms: int, kind: np.dtype) -> Codes:
    """Return room for codes."""
    places, values = np.empty((4, n_rows, n_atoms + 1), np.int32), (4, n_rows, n_atoms)
    sizes, first = np.empty((4, n_rows), np.int64), np.empty(n_rows, kind)
    return Codes(places, np.empty(values, kind), sizes, first)


class Share:
    """The rows of a chunk that one thread takes through the layers, from zero on.

    Parameters
    ----------
    rows : slice
        Which they are.
    b : ndarray of shape (n_chunk, n_features)
        Data of the chunk.
    D : ndarray of shape (n_components, n_features)
        The dictionary.
    x : Codes
        Room for their codes.
    n_costs : int
        For how many iterates costs are wanted.
    """

    def __init__(self, rows: slice, b: np.ndarray, D: np.ndarray, x: Codes, n_costs: int) -> None:
        self.rows, self.x, self.now, self.layer = rows, x, 0, 0
        self.residual = Product(b[rows], D)
        self.costs = np.empty((n_costs, len(self.residual.source)), b.dtype)
        x.sizes.fill(0)
        x.first.fill(-1)

    def forget(self) -> None:
        """Have no reference."""
        self.x.sizes[REFERENCE] = -1

    def proceed(
        self, correction: Product, error: Product, how: tuple[np.ndarray, ...], watched: bool
    ) -> None:
        """Run layers; ``how`` are leverages, numbers and guard of the loop."""
        n_layers = len(how[1])
        costs = self.costs[self.layer : self.layer + n_layers * watched]
        products = (Product(p.source[self.rows], p.table) for p in (correction, error))
        first, second = products
        compiled(proceed, HONEST)(first, self.residual, second, *how, self.now, self.x, costs)
        self.now, self.layer = (self.now + n_layers) % 2, self.layer + n_layers

    def look(self, guard: np.ndarray, out: np.ndarray | None = None) -> None:
        """Measure the codes, where costs are wanted, and write their residuals into out."""
        costs, nothing = self.costs, self.costs[:0].ravel()
        before = costs[self.layer - 1] if out is None else nothing
        now = costs[self.layer] if len(costs) else nothing
        left = np.empty((0, 0), costs.dtype) if out is None else out[self.rows]
        compiled(look, HONEST)(self.residual, guard, self.now, self.x, before, now, left)

    def write(self, out: np.ndarray) -> None:
        """Write the codes."""
        compiled(spread, HONEST)(self.x, self.now, out[self.rows])


class Team:
    """The threads that share a chunk; the one that calls is among them.

    Parameters
    ----------
    pool : Executor
        The others.
    shares : list of Share
        One for each.
    buffers : dict
        Matrices that are overwritten chunk after chunk.
    """

    def __init__(self, pool: Executor, shares: list[Share], buffers: dict[str, Tensor]) -> None:
        self.pool, self.shares, self.buffers = pool, shares, buffers

    def product(self, name: str, b: Tensor, matrix: Tensor) -> np.ndarray:
        """Return ``b matrix^T``, valid until the next of that name; new memory would be slow."""
        shape = len(b), len(matrix)
        buffer = self.buffers.get(name)
        if buffer is None or buffer.numel() < shape[0] * shape[1]:
            buffer = self.buffers[name] = b.new_empty(shape)
        return torch.mm(
            b, matrix.T, out=buffer.flatten()[: shape[0] * shape[1]].view(shape)
        ).numpy()

    def each(self, task: Callable[..., None], *given: Any) -> None:
        """Run a method of all shares."""
        jobs = [self.pool.submit(task, share, *given) for share in self.shares[1:]]
        task(self.shares[0], *given)
        for job in jobs:
            job.result()


class Step:
    """A stage as it runs: by a table of inner products, or by residuals.

    Parameters
    ----------
    stage : Stage
        The layers.
    table : Table or None
        The table, where there is one.
    A : Dense
        The operator.
    weight : float
        Of the l1 norm in the costs.
    bounds : bool
        Whether costs may be bounds.
    """

    def __init__(
        self, stage: Stage, table: Table | None, A: Dense, weight: float, bounds: bool
    ) -> None:
        kind = A.D.new_empty(0).numpy().dtype
        self.P = stage.affine.P.detach() if table is None else table.P
        self.G = None if table is None else table.G.numpy()
        known = (table.flat, table.steep) if bounds and table is not None else (0.0, 0.0)
        self.guard = np.array([weight, *known], kind)
        self.numbers = np.array(stage.scalars, kind)
        gauge = torch.empty(0, dtype=A.D.dtype) if stage.gauge is None else stage.gauge.detach()
        self.leverages = (gauge if gauge.ndim == 1 else gauge[:0, 0]).contiguous().numpy()
        self.pinv = gauge if gauge.ndim == 2 else A.D[:0]
        self.nothing = np.empty((len(A.D), 0), kind)
        # In float32 P b - x G leaves -132 dB of noiseless codes and residuals -145. The l1 norm
        # leaves more.
        exact = stage.affine.M is None and weight == 0 and kind == np.float32
        self.fresh = _FRESH if exact else None
        self.H = self.nothing if table is None else (A.D.detach() @ self.pinv.T).numpy()

    def __call__(self, b: Tensor, team: Team, watched: bool) -> None:
        """Take all shares of a chunk through the layers."""
        team.each(Share.forget)
        n_layers, tabled = len(self.numbers), self.G is not None
        length = (self.fresh or n_layers) if tabled else 1
        r = torch.empty_like(b)
        for first in range(0, n_layers, length):
            source = b
            if first or not tabled:
                team.each(Share.look, self.guard, r.numpy())
                source = r
            q, table = team.product("q", source, self.P), self.G if tabled else self.nothing
            error = Product(team.product("e", source, self.pinv), self.H)
            how = self.leverages, self.numbers[first : first + length], self.guard
            team.each(Share.proceed, Product(q, table), error, how, watched and tabled)
