"""Layers with the same weights as steps of a sparse run, and the samples that take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import Dense
from sklearn_unroll.functional._compiled import HONEST, compiled
from sklearn_unroll.nn._run import Packed
from sklearn_unroll.nn._sparse_loops import REFERENCE, Codes, Product, look, proceed, spread
from sklearn_unroll.nn._sparse_tables import Table, aligned
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
        places, values = np.empty((4, n_rows, n_atoms + 1), np.int32), (4, n_rows, n_atoms)
        sizes, first = np.empty((4, n_rows), np.int64), np.empty(n_rows, kind)
        self.x = Codes(places, np.empty(values, kind), sizes, first)
        self.buffers: dict[str, Tensor] = {}

    def product(self, name: str, b: Tensor, matrix: Tensor) -> np.ndarray:
        """Return ``b matrix^T``, valid until the next of that name; new memory would be slow."""
        shape = len(b), len(matrix)
        buffer = self.buffers.get(name)
        if buffer is None or buffer.numel() < shape[0] * shape[1]:
            buffer = self.buffers[name] = b.new_empty(shape)
        return torch.mm(
            b, matrix.T, out=buffer.flatten()[: shape[0] * shape[1]].view(shape)
        ).numpy()


class Share:
    """Samples on their way through the layers, from zero on.

    Parameters
    ----------
    b : Tensor of shape (n_samples, n_features)
        Their data.
    D : ndarray of shape (n_components, n_features)
        The dictionary.
    desk : Desk
        Room for them.
    n_costs : int
        For how many iterates costs are wanted.
    each : callable or None
        Given the codes after every layer.
    """

    def __init__(
        self,
        b: Tensor,
        D: np.ndarray,
        desk: Desk,
        n_costs: int,
        each: Callable[[Packed], None] | None,
    ) -> None:
        self.b, self.desk, self.x, self.each, self.now, self.layer = b, desk, desk.x, each, 0, 0
        self.residual = Product(b.numpy(), D)
        self.costs = np.empty((n_costs, len(b)), D.dtype)
        self.x.sizes.fill(0)
        self.x.first.fill(-1)

    def forget(self) -> None:
        """Have no reference."""
        self.x.sizes[REFERENCE] = -1

    def proceed(
        self, products: tuple[Product, Product], how: tuple[np.ndarray, ...], watched: bool
    ) -> None:
        """Run layers; products are correction and error, ``how`` leverages, numbers and guard."""
        n_layers, (correction, error) = len(how[1]), products
        costs = self.costs[self.layer : self.layer + n_layers * watched]
        # Torch's memory is aligned as vector instructions like it.
        room = (
            self.b.new_empty(p.source.shape[1]).numpy() for p in (correction, self.residual, error)
        )
        given = correction, self.residual, error, *how, self.now, self.x, costs, *room
        compiled(proceed, HONEST)(*given)
        self.now, self.layer = (self.now + n_layers) % 2, self.layer + n_layers
        if self.each is not None:
            self.each(self.pack())

    def look(self, guard: np.ndarray, out: np.ndarray | None = None) -> None:
        """Measure the codes, where costs are wanted, and write their residuals into out."""
        costs, nothing = self.costs, self.costs[:0].ravel()
        before = costs[self.layer - 1] if out is None else nothing
        now = costs[self.layer] if len(costs) else nothing
        left = np.empty((0, 0), costs.dtype) if out is None else out
        compiled(look, HONEST)(self.residual, guard, self.now, self.x, before, now, left)

    def write(self, out: np.ndarray) -> None:
        """Write the codes."""
        compiled(spread, HONEST)(self.x, self.now, out)

    def pack(self) -> Packed:
        """Return a copy of the codes."""
        n_rows, x = len(self.b), self.x
        sizes = x.sizes[self.now, :n_rows].copy()
        filled = np.arange(sizes.max(initial=0)) < sizes[:, None]
        lists = (part[self.now, :n_rows, : filled.shape[1]] for part in (x.places, x.values))
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
        self.H = self.nothing if table is None else aligned(A.D.detach() @ self.pinv.T).numpy()

    def __call__(self, share: Share, watched: bool) -> None:
        """Take a share through the layers; ``watched`` says whether costs are wanted."""
        share.forget()
        n_layers, tabled = len(self.numbers), self.G is not None
        length = (self.fresh or n_layers) if tabled else 1
        source, table = share.b, self.G if tabled else self.nothing
        for first in range(0, n_layers, length):
            seen = source
            if first or not tabled:
                source = self._look(source, share)
            if not first or source is not seen:
                q = share.desk.product("q", source, self.P)
                error = share.desk.product("e", source, self.pinv)
                products = Product(q, table), Product(error, self.H)
            last = min(first + length, n_layers)
            stride = length if share.each is None else 1
            for layer in range(first, last, stride):
                numbers = self.numbers[layer : min(layer + stride, last)]
                how = self.leverages, numbers, self.guard
                share.proceed(products, how, watched and tabled)

    def _look(self, source: Tensor, share: Share) -> Tensor:
        """Return what the next product is of: residuals; of tables data, until it matters."""
        r = torch.empty_like(share.b)
        share.look(self.guard, r.numpy())
        if self.G is None or source is not share.b:
            return r
        left, size = (part.square().sum(1) for part in (r, share.b))
        if bool((left < _NEAR**2 * size).any()):
            return r
        share.forget()
        return share.b
