"""Small linear systems, one per sample, on the atoms that each sample uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad

from sklearn_unroll.functional.observation import Observation
from sklearn_unroll.functional.operators import Dense
from sklearn_unroll.functional.prox import mark_largest

GRAM = 2**26  # numbers in a Gram matrix worth storing: half a gigabyte in float64


class Atoms:
    """A dictionary with atoms of norm one and, as its last row, a zero atom.

    Supports of different sizes are padded with the zero atom: no signal correlates with it,
    so padded systems need no mask.
    """

    def __init__(self, D: Tensor, with_gram: bool) -> None:
        self.n_components, self.n_features = D.shape[-2:]
        self.norm = torch.linalg.vector_norm(D, dim=-1)
        self.inverse_norm = torch.where(self.norm > 0, 1 / self.norm, 0.0)
        self.D = pad(D * self.inverse_norm[..., None], (0, 0, 0, 1))
        self.A = Dense(self.D)
        # All inner products once, to be looked up; worth it for many samples.
        self.gram = (self.D @ self.D.T).flatten() if with_gram else None


def chunks(
    obs: Observation, atoms: Atoms | None, n_numbers: int, dtype: torch.dtype, most: int = 2**62
) -> Iterator[tuple[slice, Observation, Atoms]]:
    """Yield samples and their atoms, which are None where each sample has its own.

    A chunk has that many numbers in its codes, or four times as many in its dictionaries, on the
    CPU; and no more rows than most.
    """
    n, m = obs.A.n_components, obs.A.n_features
    n_numbers *= 1 if obs.b.device.type == "cpu" else 64
    n_rows = min(most, n_numbers // max(1, n if atoms else n * m // 4))
    for rows, part in obs.chunks(max(1, n_rows)):
        yield rows, part, atoms or Atoms(part.A.D.to(dtype), with_gram=False)


def limit(support: Tensor, score: Tensor, most: int) -> Tensor:
    """Keep at most so many entries of every support, those of the largest scores."""
    over = support.sum(1, dtype=torch.int32) > most
    if not bool(over.any()):
        return support
    candidates = support[over]
    best = mark_largest(torch.where(candidates, score[over], -1.0), most)
    return support.index_put((over,), best > 0)


def find_places(support: Tensor, fill: int) -> tuple[Tensor, Tensor]:
    """Return the columns of every support, padded, and the sizes of the supports."""
    rows, columns = support.nonzero(as_tuple=True)
    sizes = support.sum(1, dtype=torch.int32).long()
    nth = torch.arange(len(rows), device=rows.device) - (sizes.cumsum(0) - sizes)[rows]
    places = rows.new_full((len(support), int(sizes.max())), fill)
    places[rows, nth] = columns
    return places, sizes


def buckets(sizes: Tensor, n_features: int, n_numbers: int) -> Iterator[tuple[Tensor, int]]:
    """Yield samples of nearly equal positive sizes (within 8 or an eighth), and the largest."""
    ordered, order = sizes.sort()
    ordered = ordered.tolist()
    start = sum(size == 0 for size in ordered)
    while start < len(ordered):
        step = max(8, (1 << ordered[start].bit_length()) >> 4)
        top = -(-ordered[start] // step) * step
        # Products with the atoms of a sample want more rows than looking up products does.
        least = 64 if n_features else 8
        end = min(len(ordered), start + max(least, n_numbers // (top * max(top, n_features))))
        stop = start + 1
        while stop < end and ordered[stop] <= top:
            stop += 1
        yield order[start:stop], ordered[stop - 1]
        start = stop


def groups(
    parts: Iterable[tuple[Tensor, int]], n_numbers: int
) -> Iterator[list[tuple[Tensor, int]]]:
    """Yield buckets together whose matrices have that many numbers in all."""
    group, total = [], 0
    for bucket, size in parts:
        total += len(bucket) * size * size
        if group and total > n_numbers:
            yield group
            group, total = [], len(bucket) * size * size
        group.append((bucket, size))
    if group:
        yield group


class System:
    """The normal equations of a bucket of samples, each on its own atoms."""

    def __init__(self, atoms: Atoms, rows: Tensor, places: Tensor, ridge: float) -> None:
        self.atoms, self.places = atoms, places
        n = atoms.n_components
        if atoms.gram is not None:
            # One flat lookup is four times faster than indexing with two index tensors, and
            # 32 bits are enough for a matrix of this size.
            short = places.int()
            flat = (short * (n + 1))[:, :, None] + short[:, None, :]
            gram = atoms.gram.index_select(0, flat.flatten()).view(flat.shape)
        else:
            D = atoms.D[rows[:, None], places] if atoms.A.per_sample else atoms.D[places]
            gram = D @ D.mT
        gram.diagonal(dim1=1, dim2=2).add_((places == n).to(gram.dtype) + ridge)
        self.factor, info = torch.linalg.cholesky_ex(gram)
        failed = info > 0
        if bool(failed.any()):
            # Repeated atoms whose rounding errors exceed the ridge: the refinement that
            # follows makes up for a larger one.
            again = gram[failed]
            again.diagonal(dim1=1, dim2=2).add_(torch.finfo(gram.dtype).eps ** 0.5)
            self.factor[failed] = torch.linalg.cholesky_ex(again)[0]

    def full(self, x: Tensor) -> Tensor:
        """Put compressed codes into their places."""
        return x.new_zeros(len(x), self.atoms.n_components + 1).scatter_(1, self.places, x)

    def solve(self, c: Tensor) -> Tensor:
        """Solve the normal equations."""
        # Twice as fast as torch.cholesky_solve.
        half = torch.linalg.solve_triangular(self.factor, c[:, :, None], upper=False)
        return torch.linalg.solve_triangular(self.factor.mT, half, upper=True)[:, :, 0]

    def correct(self, c: Tensor) -> Tensor:
        """Solve for all entries of c that are on the atoms, in their places."""
        return self.full(self.solve(c.gather(1, self.places)))
