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

__all__ = ["MAX_ATOMS", "Packed", "Share", "Stage", "Step", "Team", "room"]

MAX_ATOMS = 2**12
# In float32 residuals are taken anew after so many layers, from where they are so small on: the
# layers until then see rounding errors that are smaller by 70 dB.
_FRESH, _NEAR = 8, 1e-3


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


class Packed(NamedTuple):
    """Codes of some samples as lists, one after the other, of exactly their nonzeros.

    Parameters
    ----------
    sizes : ndarray of shape (n_samples,)
        How many there are of every sample.
    places : ndarray of shape (sum of sizes,)
        Where they are, sample by sample.
    values : ndarray of shape (sum of sizes,)
        What they are.
    """

    sizes: np.ndarray
    places: np.ndarray
    values: np.ndarray

    def write(self, out: np.ndarray, mine: np.ndarray | None = None) -> None:
        """Write the codes over zeros, of all samples or of those that are mine."""
        rows, places, values = np.repeat(np.arange(len(out)), self.sizes), self.places, self.values
        if mine is not None:
            some = mine[rows]
            rows, places, values = rows[some], places[some], values[some]
        out[rows, places] = values


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

    def pack(self) -> Packed:
        """Return a copy of the codes."""
        n_rows, x = len(self.residual.source), self.x
        sizes = x.sizes[self.now, :n_rows].copy()
        filled = np.arange(sizes.max(initial=0)) < sizes[:, None]
        lists = (part[self.now, :n_rows, : filled.shape[1]] for part in (x.places, x.values))
        return Packed(sizes, *(part[filled] for part in lists))


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

    def pack(self) -> Packed:
        """Return a copy of the codes of all shares."""
        parts = zip(*(share.pack() for share in self.shares), strict=True)
        return Packed(*map(np.concatenate, parts))


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

    def __call__(self, b: Tensor, team: Team, watched: bool, each: Callable | None = None) -> None:
        """Take all shares of a chunk through the layers.

        Parameters
        ----------
        b : Tensor of shape (n_chunk, n_features)
            The data.
        team : Team
            The threads.
        watched : bool
            Whether costs are wanted.
        each : callable, default=None
            Asked after every layer.
        """
        team.each(Share.forget)
        n_layers, tabled = len(self.numbers), self.G is not None
        length = (self.fresh or n_layers) if tabled else 1
        source, table = b, self.G if tabled else self.nothing
        for first in range(0, n_layers, length):
            seen = source
            if first or not tabled:
                source = self._look(b, source, team)
            if not first or source is not seen:
                q, error = team.product("q", source, self.P), team.product("e", source, self.pinv)
                products = Product(q, table), Product(error, self.H)
            last = min(first + length, n_layers)
            stride = length if each is None else 1
            for layer in range(first, last, stride):
                numbers = self.numbers[layer : min(layer + stride, last)]
                how = self.leverages, numbers, self.guard
                team.each(Share.proceed, *products, how, watched and tabled)
                if each is not None:
                    each()

    def _look(self, b: Tensor, source: Tensor, team: Team) -> Tensor:
        """Return what the next product is of: residuals; of tables data, until it matters."""
        r = torch.empty_like(b)
        team.each(Share.look, self.guard, r.numpy())
        if self.G is None or source is not b:
            return r
        left, size = (part.square().sum(1) for part in (r, b))
        if bool((left < _NEAR**2 * size).any()):
            return r
        team.each(Share.forget)
        return b
