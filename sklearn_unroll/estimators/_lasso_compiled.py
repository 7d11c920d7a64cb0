"""LassoCoder where loops are compiled: samples over one dictionary, a few at a time.

Every step is one pass over samples that are in the cache: into units of their own, correlations,
what they aim at, codes and certificates, and back into the user's units. Arrays are numpy's: of
one signal, a call of torch takes longer than its codes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.estimators._lasso_aim import (
    Aim,
    Found,
    How,
    near,
    of_size_one,
    scaled_aim,
    with_rounding,
)
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.functional._alone import (
    alone,
    can_compute_alone,
    even_parts,
    n_threads,
    share_out,
)
from sklearn_unroll.functional._compiled import compiled
from sklearn_unroll.functional.rows import Rows
from sklearn_unroll.solvers._few_atoms import are_few, few_atoms
from sklearn_unroll.solvers._samples import Batch, Products, look_again, products_of
from sklearn_unroll.solvers._unit_loops import DIVIDES, enter, largest, leave
from sklearn_unroll.solvers.coordinate import descend_batch
from sklearn_unroll.solvers.homotopy import follow_batch
from sklearn_unroll.solvers.solver import Solution

COMPILED = ("auto", "coordinate_descent", "homotopy")
PASSES = 200  # of coordinate descent, before the active set takes over
_PROBE = 32  # samples that tell which compiled solver to take; fewer atoms leave no choice
_ALIKE = 0.98  # coherence from which on passes are too many
_ENOUGH = 0.8  # of them that coordinate descent has to solve in few passes
_FEW = 0.2  # passes for each atom: more cost more than the corners of a path
_LONGER = 3  # times as many are left to the few that need them, where most do not
_NUMBERS = 2**16  # in correlations at a time: they stay in the cache
_SHARED, _FEWEST = 2**14, 16  # correlations and samples from which on threads share these
_SOON = 2**28  # products of numbers that end before torch's threads, once asleep, have begun
_ROWS, _MOST = 512, 2**19  # or so many samples, with so many numbers: calls cost little for each


class Part(NamedTuple):
    """Samples of size one, what they aim at, and what is found for them."""

    batch: Batch
    target: np.ndarray  # (n_samples,)
    x: np.ndarray  # (n_samples, n_components), in float64
    gap: np.ndarray  # (n_samples,)
    n_iter: np.ndarray
    alpha: np.ndarray

    def take(self, rows: np.ndarray | slice) -> Part:
        """Return some samples: copies of chosen ones, or those of a slice themselves."""
        return Part(self.batch.take(rows), *(field[rows] for field in self[1:]))

    def put(self, rows: np.ndarray, part: Part) -> None:
        """Write what was found for some samples."""
        for mine, theirs in zip(self[2:], part[2:], strict=True):
            mine[rows] = theirs


def part_of(batch: Batch, target: np.ndarray, x: np.ndarray) -> Part:
    """Return samples for which nothing is found."""
    n_iter = np.zeros(len(target), np.int64)
    return Part(batch, target, x, np.full(len(target), np.inf), n_iter, np.zeros(len(target)))


class Compiled:
    """Solves parts over one dictionary.

    Parameters
    ----------
    known : Products
        Atoms of size one, and their inner products.
    name : str
        What is aimed at: alpha, error or l1_radius.
    how : How
        With ridges for such atoms.
    finish : callable
        Takes what was found, problem and aim of samples that miss the tolerance, and returns what
        a solver that needs no numba finds.
    """

    def __init__(self, known: Products, name: str, how: How, finish: Callable) -> None:
        self.known, self.name, self.how, self.finish = known, name, how, finish
        self.A, self.ridge = Dense(torch.from_numpy(known.D)), how.l2.numpy()
        self.coherent = None

    def __call__(self, part: Part, started: bool) -> None:
        """Overwrite codes, which may be a start or what was there, and what belongs to them."""
        if self.name != "alpha" or self.how.solver == "homotopy":
            self.follow(part)
        elif self.how.solver == "coordinate_descent":
            if not started:
                part.x.fill(0.0)
            self.descend(part, PASSES)
        else:
            self.choose(part, started)
        left = np.flatnonzero(~(part.gap <= self.how.tol))
        if len(left):
            some = part.take(left)
            x, gap, n_iter = (torch.from_numpy(field) for field in (some.x, some.gap, some.n_iter))
            found = Solution(x, gap, n_iter, gap <= self.how.tol)
            found = self.finish(found, *self.problem(some), self.how)
            for name in ("x", "gap", "n_iter", "alpha"):
                if hasattr(found, name):
                    getattr(part, name)[left] = getattr(found, name).numpy()

    def problem(self, part: Part) -> tuple[Observation, Tensor]:
        """Return samples and their aim as tensors."""
        return Observation(torch.from_numpy(part.batch.b), self.A), torch.from_numpy(part.target)

    def begin(self, part: Part, codes: Tensor, factor: np.ndarray) -> None:
        """Overwrite codes by a start in the user's units."""
        x0 = near(codes.double() / torch.from_numpy(factor)[:, None], *self.problem(part))
        part.x[:] = (x0.relu() if self.how.positive else x0).numpy()

    def write(
        self, part: Part, out: Found, rows: slice, here: np.ndarray, factor: np.ndarray
    ) -> None:
        """Write what was found in the user's units; codes of other samples are zero."""
        place = np.full(rows.stop - rows.start, -1)
        place[here] = np.arange(len(here))
        moved = np.zeros(len(here), bool)
        codes = out.x[rows]
        compiled(leave)(part.x, place, factor, codes, moved)
        if moved.any() and self.name == "alpha":
            nth = np.flatnonzero(moved)
            some, x = part.take(nth), codes[here[nth]].astype(np.float64) / factor[nth, None]
            gap, own, x = (torch.from_numpy(field) for field in (some.gap, some.x, x))
            part.gap[nth] = with_rounding(gap, own, x, *self.problem(some), self.how.l2).numpy()
        out.gap[rows][here], out.n_iter[rows][here] = part.gap, part.n_iter

    def choose(self, part: Part, started: bool) -> None:
        """Take coordinate descent where few passes do for a few samples, and otherwise the path.

        A pass costs the square of the support, a corner of the path its product with the number
        of atoms; where atoms are alike, or few, passes are too many. The choice is by counts, not
        by clock: same data, same bits.
        """
        how, (n, n_atoms) = self.how, part.x.shape
        most, none = max(10, int(_FEW * n_atoms)), not part.target.all()
        few = are_few(n_atoms, how.positive) and not none
        if not few and (none or (not started and (n_atoms < _PROBE or self.is_coherent()))):
            self.follow(part)
            return
        if not started:
            part.x.fill(0.0)
        if few:
            few_atoms(
                self.known, part.batch, part.target, how.positive, self.ridge, (part.x, part.gap)
            )
            part.n_iter[:] = 1
        elif n <= _PROBE:
            self.descend(part, most)
        else:
            first, others = part.take(slice(_PROBE)), part.take(slice(_PROBE, None))
            self.descend(first, most)
            if np.mean(first.gap <= how.tol) >= _ENOUGH:
                most *= _LONGER
                self.descend(others, most)
        left = np.flatnonzero(~(part.gap <= how.tol))
        if len(left) and how.max_iter > most:
            some, before = part.take(left), part.n_iter[left]
            self.follow(some, how.max_iter - most)
            some.n_iter[:] += before
            part.put(left, some)

    def is_coherent(self) -> bool:
        """Return whether atoms are so much alike that passes are too many."""
        if self.coherent is None:
            self.coherent = self.known.is_coherent(_ALIKE)
        return self.coherent

    def descend(self, part: Part, most: int) -> None:
        """Descend from the codes that are there, in the precision that they will have."""
        how, x = self.how, part.x
        if how.dtype == torch.float32:
            x = x.astype(np.float32)
        limits = how.tol, min(how.max_iter, most), how.positive
        found = x, part.n_iter, part.gap
        descend_batch(self.known, part.batch, part.target, found, limits, self.ridge)
        if x is not part.x:
            part.x[:] = x
        # Others have come to the end of their passes, and may go on.
        self.look_again(part, ~(part.gap <= how.tol) & (part.n_iter < limits[1]))

    def follow(self, part: Part, most: int | None = None) -> None:
        """Follow the path from zero codes to the aim."""
        limits = self.how.max_iter if most is None else most, self.how.positive
        part.x.fill(0.0)
        part.gap.fill(np.inf)
        x, gap, alpha, target = part.x[None], part.gap[None], part.alpha[None], part.target[None]
        found = x, alpha, gap, part.n_iter
        follow_batch(self.known, part.batch, target, self.name, limits, self.ridge, found)
        self.look_again(part, ~(part.gap <= self.how.tol))

    def look_again(self, part: Part, doubtful: np.ndarray) -> None:
        """Measure by residuals what inner products cannot tell."""
        if not doubtful.any():
            return
        some = part.take(np.flatnonzero(doubtful))
        gap, x = torch.from_numpy(some.gap), torch.from_numpy(some.x)
        rest = self.how.tol, self.how.positive, self.how.l2
        look_again(gap, x, *self.problem(some), self.name, *rest)
        part.gap[doubtful] = some.gap


def solve_compiled(
    b: Tensor | Rows, A: Dense, aim: Aim, start: Callable[[slice], Tensor] | None, how: How,
    out: Found, finish: Callable,
) -> None:  # fmt: skip
    """Overwrite what was found for all samples, ``out``, in the user's units."""
    m, n = A.n_features, A.n_components
    many = shared(len(b), n) and start is None
    small = (n + len(b)) * n * m <= _SOON and start is None
    with alone() if many or small else nullcontext():
        solve_parts(b, A, aim, start, how, out, finish, many)


def solve_parts(
    b: Tensor | Rows, A: Dense, aim: Aim, start: Callable[[slice], Tensor] | None, how: How,
    out: Found, finish: Callable, many: bool,
) -> None:  # fmt: skip
    """Do so part by part; of many samples threads take parts."""
    D, l2, atoms = of_size_one(A.D, how.l2)
    known = products_of(D, len(b), b.dtype == torch.float32)
    solve = Compiled(known, aim.name, how._replace(l2=l2), finish)
    n_atoms, n_features = known.D.shape
    n_rows = max(_NUMBERS // n_atoms, min(_ROWS, _MOST // n_atoms), 1)
    n_rows, parts = even_parts(len(b), n_rows, n_threads() if many else 1)
    own = Found(*(field.numpy() for field in out))
    rooms: list[list[np.ndarray]] = []  # those that nobody uses: new memory has to be made

    def run(rows: slice) -> None:
        try:
            room = rooms.pop()
        except IndexError:
            room = [np.empty((n_rows, width)) for width in (n_features, n_atoms, n_atoms)]
        solve_part(b[rows], aim.take(rows), start, rows, solve, atoms, own, room)
        rooms.append(room)

    if many:
        share_out(run, parts)
        return
    for rows in parts:  # a start may be anybody's code
        run(rows)


def shared(n_samples: int, n_atoms: int) -> bool:
    """Return whether threads take samples from the first step to the last: it pays for many."""
    enough = n_samples >= _FEWEST and n_samples * n_atoms >= _SHARED
    return enough and can_compute_alone()


def solve_part(
    b: Tensor, aim: Aim, start: Callable[[slice], Tensor] | None, rows: slice, solve: Compiled,
    atoms: float, own: Found, room: list[np.ndarray],
) -> None:  # fmt: skip
    """Do the same with some rows, in arrays that are there."""
    batch, size, peak = entered(b, solve.known, room, solve.how.positive)
    with np.errstate(all="ignore"):  # an aim may be out of any range
        given = aim.value.numpy(), peak, batch.energy, size, atoms
        target, alpha, live = scaled_aim(np, aim, *given)
    own.alpha[rows] = alpha
    here = np.flatnonzero(live)
    if len(here) < len(live):
        batch, target, size = batch.take(here), target[here], size[here]
    part = part_of(batch, target, room[2][: len(here)])
    if len(here):
        if start is not None:
            solve.begin(part, start(rows)[torch.from_numpy(here)], size / atoms)
        solve(part, start is not None)
    solve.write(part, own, rows, here, size / atoms)
    if aim.name != "alpha":
        own.alpha[rows][here] = part.alpha * (size * atoms)


def entered(
    b: Tensor, known: Products, room: list[np.ndarray], positive: bool
) -> tuple[Batch, np.ndarray, np.ndarray]:
    """Return samples of size one, these sizes, and their largest correlations."""
    n, size = len(b), np.empty(len(b))
    own, q, energy, peak = room[0][:n], room[1][:n], np.empty(n), np.empty(n)
    compiled(enter, DIVIDES)(b.contiguous().numpy(), own, size, energy)
    torch.mm(torch.from_numpy(own), torch.from_numpy(known.D).T, out=torch.from_numpy(q))
    compiled(largest)(q, positive, peak)
    return Batch(own, q, energy), size, peak
