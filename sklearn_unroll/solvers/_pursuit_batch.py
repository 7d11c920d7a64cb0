"""Orthogonal matching pursuit of a batch by torch, on any device, and the groups of its atoms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

from sklearn_unroll.functional import GroupL1, group_norms
from sklearn_unroll.solvers._supports import Atoms

DEPENDENT = 64  # machine precisions of an atom's energy outside the span of the others


class Pursuit(NamedTuple):
    """What :func:`orthogonal_matching_pursuit` found, per sample.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes, with the dtype of the data.
    n_nonzero : Tensor of shape (n_samples,)
        Atoms in use, or groups of them.
    residual : Tensor of shape (n_samples,)
        Squared norms of ``b - A x``, computed from the codes.
    converged : Tensor of shape (n_samples,)
        Whether the residual is at most the tolerance or, without one, the atoms are as many as
        asked for; also true where nothing but rounding is left of the residual.
    """

    x: Tensor
    n_nonzero: Tensor
    residual: Tensor
    converged: Tensor


class Groups:
    """Which atoms are chosen together, from 0: all that is in one group, or each alone."""

    def __init__(self, groups: Tensor | int | None, n_components: int) -> None:
        size = 1 if groups is None else groups
        self.labels = GroupL1(size).labels(torch.empty(1, n_components))
        self.single = len(self.labels.unique()) == n_components
        if self.single:  # then groups are the atoms, in their order
            self.labels = torch.arange(n_components)
        self.sizes = self.labels.bincount()
        # Atoms in the order of their groups, and where each group begins.
        self.order = self.labels.argsort(stable=True)
        self.starts = torch.nn.functional.pad(self.sizes.cumsum(0), (1, 0))

    def table(self, device: torch.device) -> Tensor:
        """Return the atoms of each group, (n_groups, largest), filled up with the zero atom."""
        nth = torch.arange(len(self.order)) - self.starts[self.labels[self.order]]
        table = torch.full((len(self.sizes), int(self.sizes.max())), len(self.order))
        table[self.labels[self.order], nth] = self.order
        return table.to(device)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return order and beginnings, for compiled loops."""
        return self.order.numpy(), self.starts.numpy()


class Batch:
    """Samples of a chunk, all with the same number k of unit atoms, and room for some more.

    Some of them are the zero atom, in place of one that depends on those before.
    """

    def __init__(self, b: Tensor, atoms: Atoms, tol: Tensor, most: Tensor, groups: Groups) -> None:
        self.b, self.tol, self.most, self.atoms, self.A = b, tol, most, atoms, atoms.A
        self.groups, self.table = groups, groups.table(b.device)
        self.eps = torch.finfo(b.dtype).eps
        self.rows = torch.arange(len(b), device=b.device)
        self.active = torch.ones_like(self.rows, dtype=torch.bool)
        self.c = self.A.adjoint(b)
        self.energy = b.square().sum(1)
        # Below this the energy, kept up to date by differences, has lost half of its digits.
        self.doubtful = self.eps**0.5 * self.energy
        self.k, self.count = 0, torch.zeros_like(self.rows)
        self.places, self.x = self.rows.new_empty(len(b), 0), b.new_empty(len(b), 0)
        self.factor = b.new_empty(len(b), 0, 0)

    def keep(self, some: Tensor) -> None:
        """Forget all other samples."""
        per_sample = ("b", "tol", "most", "rows", "active", "c", "energy", "doubtful", "count")
        for name in (*per_sample, "places", "x", "factor"):
            setattr(self, name, getattr(self, name).index_select(0, some))
        self.A = self.A.take(some)

    def make_room(self) -> None:
        """Pad with the zero atom, whose inner product with itself counts as one."""
        more = max(8, self.k // 4)
        self.places = pad(self.places, (0, more), value=self.atoms.n_components)
        self.x, self.factor = pad(self.x, (0, more)), pad(self.factor, (0, more, 0, more))
        self.factor.diagonal(dim1=1, dim2=2)[:, self.k :] = 1

    def bag(self, table: Tensor, some: Tensor | slice, x: Tensor) -> Tensor:
        """Return sums of rows of a table, those of each sample's atoms times their codes."""
        places = self.places[some, : x.shape[1]]
        if table.ndim == 3:
            places = places + self.rows[some, None] * table.shape[1]
            table = table.flatten(0, 1)
        return embedding_bag(places, table, mode="sum", per_sample_weights=x)

    def solve(self, factor: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``L^-1 c`` and ``L^-T L^-1 c`` for the factor L of a Gram matrix."""
        half = torch.linalg.solve_triangular(factor, c[:, :, None], upper=False)
        whole = torch.linalg.solve_triangular(factor.mT, half, upper=True)
        return half[:, :, 0], whole[:, :, 0]

    def refresh(self, some: Tensor) -> Tensor:
        """Compute residuals and correct codes by them; return whether they are small enough.

        The codes so far carry the errors of normal equations and of many updates; solving for a
        correction removes these (Bjorck 1987, corrected seminormal equations).
        """
        b, x, A = self.b[some], self.x[some], self.A.take(some)
        r = b if not self.k else b - self.bag(self.atoms.D, some, x)
        c, energy = A.adjoint(r), r.square().sum(1)
        if self.k:
            y = x + self.solve(self.factor[some], c.gather(1, self.places[some]))[1]
            s = b - self.bag(self.atoms.D, some, y)
            better = s.square().sum(1) <= energy
            x = torch.where(better[:, None], y, x)
            r = torch.where(better[:, None], s, r)
            c, energy = A.adjoint(r), r.square().sum(1)
        self.x[some], self.c[some], self.energy[some] = x, c, energy
        self.doubtful[some] = self.eps**0.5 * energy
        rounding = 2 * self.eps * (torch.linalg.vector_norm(b, dim=1) + x.abs().sum(1))
        return energy <= torch.maximum(self.tol[some], rounding.square())

    def best(self) -> Tensor:
        """Return the atoms of every sample's best group, the zero atom after its last.

        And in place of atoms that are zero, and of all where nothing correlates.
        """
        c = self.c[:, :-1]
        score = c.abs() if self.groups.single else group_norms(c, self.groups.labels.to(c.device))
        peak, group = score.max(1, keepdim=True)
        atoms, norm = self.table[group[:, 0]], pad(self.atoms.norm, (0, 1))
        own = norm[atoms] if norm.ndim == 1 else norm[self.rows[:, None], atoms]
        return torch.where((peak > 0) & (own > 0), atoms, self.atoms.n_components)

    def add(self, best: Tensor) -> Tensor:
        """Give every active sample its best atom; return whether it is independent of the others.

        Where it is not, the zero atom takes its place.
        """
        if self.k == self.x.shape[1]:
            self.make_room()
        c = self.c.gather(1, best[:, None])[:, 0]
        if self.atoms.gram is not None:
            flat = self.places * (self.atoms.n_components + 1) + best[:, None]
            g = self.atoms.gram[flat]
        else:
            D = self.atoms.D
            atom = D[self.rows, best] if D.ndim == 3 else D[best]
            g = self.A.adjoint(atom).gather(1, self.places)
        w, z = self.solve(self.factor, g)
        # The atom's energy outside the span of the others.
        outside = 1 - w.square().sum(1)
        fits = self.active & (best < self.atoms.n_components)
        fits &= outside > DEPENDENT * self.eps
        step = torch.where(fits, c / outside, 0.0)
        d = z * -step[:, None]
        self.places[:, self.k] = torch.where(fits, best, self.atoms.n_components)
        d[:, self.k] = step
        w = torch.where(fits[:, None], w, 0.0)
        w[:, self.k] = torch.where(fits, outside, 1.0).sqrt()
        self.factor[:, self.k] = w
        self.x += d
        self.k += 1
        self.correlate(d[:, : self.k])
        self.energy -= c * step
        return fits

    def correlate(self, d: Tensor) -> None:
        """Take what codes that changed by d explain out of the correlations."""
        if self.atoms.gram is not None:
            gram = self.atoms.gram.view(self.atoms.n_components + 1, -1)
            self.c -= self.bag(gram, slice(None), d)
        else:
            self.c -= self.A.adjoint(self.bag(self.atoms.D, slice(None), d))

    def leave(self, some: Tensor, reached: Tensor, result: Pursuit) -> None:
        """Write the codes of samples that are done."""
        rows, places = self.rows[some], self.places[some, : self.k]
        x = self.x.new_zeros(len(some), self.atoms.n_components + 1)
        result.x[rows] = x.scatter_(1, places, self.x[some, : self.k])[:, :-1]
        result.n_nonzero[rows], result.residual[rows] = self.count[some], self.energy[some]
        result.converged[rows] = reached
        self.active[some], self.c[some], self.energy[some] = False, 0.0, torch.inf


def pursue_batch(batch: Batch, result: Pursuit) -> None:
    """Give every sample its atoms, one each in turn, and write codes of unit atoms."""
    while True:
        full = batch.count >= batch.most
        low = (batch.energy <= torch.maximum(batch.tol, batch.doubtful)) | full
        some = (low & batch.active).nonzero()[:, 0]
        if len(some):
            reached = batch.refresh(some)
            end = (reached | full[some]).nonzero()[:, 0]
            batch.leave(some[end], reached[end], result)
        live = batch.active.nonzero()[:, 0]
        if not len(live):
            return
        if 8 * len(live) < 7 * len(batch.rows):
            batch.keep(live)
        fits = torch.zeros_like(batch.active)
        for atom in batch.best().T:
            fits |= batch.add(atom)
        batch.count += fits
        stuck = (batch.active & ~fits).nonzero()[:, 0]
        if len(stuck):
            batch.leave(stuck, batch.refresh(stuck), result)
