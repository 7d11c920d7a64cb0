"""Layers with the same weights as steps of a sparse run, and the samples that take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import Dense
from sklearn_unroll.functional._compiled import HONEST, compiled
from sklearn_unroll.functional._vectors import panel_width, panels
from sklearn_unroll.nn._run import Packed, Watched
from sklearn_unroll.nn._sparse_lists import BEST, REFERENCE, Codes, spread
from sklearn_unroll.nn._sparse_loops import THETA, Product, descend, look, proceed
from sklearn_unroll.nn._sparse_tables import Table
from sklearn_unroll.nn.guard import roomy
from sklearn_unroll.nn.parts import Affine, Weights
from sklearn_unroll.nn.rules import Scalars

__all__ = ["MAX_ATOMS", "Desk", "Share", "Stage", "Step"]

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
    def plain(self) -> bool:
        """Whether its layers are soft thresholds of steps, the same for all samples."""
        scalars = np.array(self.scalars)
        return self.gauge is None and not scalars[:, THETA + 1 :].any()

    @property
    def tabled(self) -> bool:
        """Whether a table of inner products serves it, or residuals do."""
        shared = len(self.scalars) > 1 and len(self.affine.P) <= MAX_ATOMS
        return self.affine.M is not None or shared


class Desk:
    """What a thread works on: codes, and matrices that are overwritten share after share.

    Parameters
    ----------
    n_rows, n_atoms : int
        Most samples, and entries of a code.
    kind : dtype
        Of all numbers.
    """

    def __init__(self, n_rows: int, n_atoms: int, kind: np.dtype) -> None:
        places, values = np.empty((5, n_rows, n_atoms + 1), np.uint32), (5, n_rows, n_atoms)
        sizes, numbers = np.empty((5, n_rows), np.int64), np.empty((2, n_rows), kind)
        rows = np.arange(n_rows), np.empty(n_rows + 1, np.int64)
        limits, refused = np.empty(n_rows, kind), np.empty(n_rows, np.int64)
        self.x = Codes(places, np.empty(values, kind), sizes, *numbers, *rows, limits, refused)
        self.width, self.n_rows = panel_width(kind), n_rows
        self.buffers: dict[tuple[str, int], Tensor] = {}

    def room(self, name: str, like: Tensor, n_columns: int) -> Tensor:
        """Return as many rows, as wide as panels, with zeros after the last column.

        Valid until the next of that name; new memory would be slow.
        """
        buffer = self.buffers.get((name, n_columns))
        if buffer is None:
            wide = -(-n_columns // self.width) * self.width
            buffer = self.buffers[name, n_columns] = like.new_zeros(self.n_rows, wide)
        return buffer[: len(like)]

    def wide(self, b: Tensor) -> Tensor:
        """Return data as wide as panels."""
        if b.shape[1] % self.width == 0:
            return b
        room = self.room("b", b, b.shape[1])
        room[:, : b.shape[1]] = b
        return room

    def product(self, name: str, b: Tensor, matrix: Tensor) -> Tensor:
        """Return ``b matrix^T`` in a room."""
        room = self.room(name, b, len(matrix))
        torch.mm(b, matrix.T, out=room[:, : len(matrix)])
        return room


class Share:
    """Samples on their way through the layers, from zero on.

    Parameters
    ----------
    b : Tensor of shape (n_samples, n_features)
        Their data.
    D : ndarray of shape (n_panels, n_components, width)
        The dictionary, in panels.
    desk : Desk
        Room for them.
    n_costs : int
        For how many iterates costs are wanted.
    best : bool
        Whether the best iterate is the answer.
    each : callable or None
        Given the codes after every layer.
    """

    def __init__(
        self,
        b: Tensor,
        D: np.ndarray,
        desk: Desk,
        n_costs: int,
        best: bool,
        each: Callable[[Packed], None] | None,
    ) -> None:
        self.b, self.desk, self.x, self.each, self.now, self.layer = b, desk, desk.x, each, 0, 0
        self.residual, self.best = Product(desk.wide(b).numpy(), D), best
        self.left, self.dense = desk.room("r", b, b.shape[1]), False
        # Where codes stand with their zeros, where they do, and residuals.
        self.room = desk.room("x", b, desk.x.values.shape[2]).numpy(), self.left.numpy()
        self.costs = np.empty((n_costs, len(b)), D.dtype)
        self.x.sizes.fill(0)
        self.x.first.fill(-1)
        self.x.refused.fill(0)
        # Nothing is as good as the best where nobody asks for it.
        self.x.least.fill(np.inf if best else -np.inf)
        if best:
            self.x.limits[: len(b)] = roomy(0.5 * b.square().sum(1)).numpy()

    def forget(self) -> None:
        """Have no reference."""
        self.x.sizes[REFERENCE] = -1

    def proceed(
        self, q: Tensor, e: Tensor, tables: tuple, how: tuple[np.ndarray, ...], watched: bool
    ) -> None:
        """Run layers: sources and tables of correction and error; leverages, numbers, guard."""
        G, H = tables
        u = self.desk.room("u", self.b, self.x.values.shape[2]) if len(G) else q
        g = self.desk.room("g", self.b, e.shape[1]) if len(H) else e
        products = Product(q.numpy(), G), self.residual, Product(e.numpy(), H)
        room = u.numpy(), self.left.numpy(), g.numpy()
        costs = self.costs[self.layer : self.layer + len(how[1]) * watched]
        compiled(proceed, HONEST)(*products, *how, self.now, self.x, costs, *room)
        self.dense = False
        self._done(len(how[1]))

    def descend(
        self, q: Tensor, G: np.ndarray, numbers: np.ndarray, guard: np.ndarray, watched: bool
    ) -> None:
        """Run layers that are soft thresholds."""
        if not self.dense:
            compiled(spread, HONEST)(self.x, self.now, self.room[0])
        products = Product(q.numpy(), G), self.residual
        given = self.now, self.x, self.costs if watched else self.costs[:0], self.layer, *self.room
        compiled(descend, HONEST)(*products, numbers, guard, *given)
        self.dense = True
        self._done(len(numbers))

    def _done(self, n_layers: int) -> None:
        self.now, self.layer = (self.now + n_layers) % 2, self.layer + n_layers
        if self.layer > 1:
            self.tell(1 - self.now)  # those before: if they were refused, they have changed since

    def tell(self, now: int) -> None:
        """Hand on a list of codes, where somebody wants those of every layer."""
        if self.each is not None:
            self.each(self._pack(now))

    def look(self, guard: np.ndarray, refer: bool = False) -> Tensor:
        """Measure the codes, where costs are wanted; return all residuals, where they are."""
        given = self.now, self.x, self.costs, self.layer, *self.room, refer
        compiled(look, HONEST)(self.residual, guard, *given)
        return self.left[:, : self.b.shape[1]]

    def write(self, out: np.ndarray) -> None:
        """Write the codes."""
        compiled(spread, HONEST)(self.x, BEST if self.best else self.now, out)

    def watched(self) -> Watched:
        """Return the costs, and how many iterates were refused."""
        refused = torch.from_numpy(self.x.refused[: len(self.b)].copy())
        return Watched(torch.from_numpy(self.costs), refused)

    def _pack(self, now: int) -> Packed:
        """Return a copy of codes."""
        n_rows, x = len(self.b), self.x
        sizes = x.sizes[now, :n_rows].copy()
        filled = np.arange(sizes.max(initial=0)) < sizes[:, None]
        lists = (part[now, :n_rows, : filled.shape[1]] for part in (x.places, x.values))
        return Packed(sizes, *(part[filled] for part in lists))


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
    classical : float
        The classical step, for samples that leave the region; zero if they do not take it.
    """

    def __init__(
        self,
        stage: Stage,
        table: Table | None,
        A: Dense,
        weight: float,
        bounds: bool,
        classical: float,
    ) -> None:
        kind = A.D.new_empty(0).numpy().dtype
        self.P = stage.affine.P.detach() if table is None else table.P
        width = panel_width(kind)
        self.nothing = np.empty((0, len(A.D), width), kind)
        self.G = self.nothing if table is None else table.G.numpy()
        known = (table.flat, table.steep) if bounds and table is not None else (0.0, 0.0)
        self.guard = np.array([weight, *known, classical], kind)
        self.numbers = np.array(stage.scalars, kind)
        gauge = torch.empty(0, dtype=A.D.dtype) if stage.gauge is None else stage.gauge.detach()
        self.plain = stage.plain and not bounds
        self.leverages = (gauge if gauge.ndim == 1 else gauge[:0, 0]).contiguous().numpy()
        self.pinv = gauge if gauge.ndim == 2 else A.D[:0]
        self.none = A.D.new_empty(0, 0)
        # In float32 P b - x G leaves -132 dB of noiseless codes and residuals -145. The l1 norm
        # leaves more.
        exact = stage.affine.M is None and weight == 0 and kind == np.float32
        self.fresh = _FRESH if exact else None
        self.H = self.nothing if table is None else panels(A.D.detach() @ self.pinv.T).numpy()

    def __call__(self, share: Share, watched: bool) -> None:
        """Take a share through the layers; ``watched`` says whether costs are wanted."""
        share.forget()
        n_layers, tabled = len(self.numbers), len(self.G) > 0
        length = (self.fresh or n_layers) if tabled else 1
        source, tables = share.b, (self.G, self.H)
        for first in range(0, n_layers, length):
            seen = source
            if first or not tabled:
                source = self._look(source, share)
            if not first or source is not seen:
                q = share.desk.product("q", source, self.P)
                e = share.desk.product("e", source, self.pinv) if len(self.pinv) else self.none
            last = min(first + length, n_layers)
            stride = length if share.each is None else 1
            for layer in range(first, last, stride):
                numbers = self.numbers[layer : min(layer + stride, last)]
                if self.plain:
                    share.descend(q, self.G, numbers, self.guard, watched and tabled)
                    continue
                how = self.leverages, numbers, self.guard
                share.proceed(q, e, tables, how, watched and tabled)

    def _look(self, source: Tensor, share: Share) -> Tensor:
        """Return what the next product is of: residuals; of tables data, until it matters."""
        r = share.look(self.guard, refer=len(self.G) > 0)
        if len(self.G) == 0 or source is not share.b:
            return r
        left, size = (part.square().sum(1) for part in (r, share.b))
        if bool((left < _NEAR**2 * size).any()):
            return r
        share.forget()
        return share.b
