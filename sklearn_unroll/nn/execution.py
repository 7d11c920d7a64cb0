"""A network at work on all samples of a call: on sparse codes where it pays, behind its guard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import L1, Composite, LeastSquares, Observation
from sklearn_unroll.functional._alone import calm
from sklearn_unroll.functional.rows import blocks
from sklearn_unroll.nn._run import Packed, Watched
from sklearn_unroll.nn.base import Unrolled
from sklearn_unroll.nn.guard import guarded, roomy
from sklearn_unroll.nn.sparse import sparse_run
from sklearn_unroll.nn.watch import watched

__all__ = ["Execution"]


_MANY = 0.25  # share of samples from which on copies cost less than to run these again


class Execution:
    """A network, the data of one call, and how it runs on them, which is settled once.

    The answers are those of the network, or of :class:`Guarded` around its layers, sample by
    sample, but for rounding: behind a guard the network runs as it is while every iterate is
    measured, which costs no product, as the next layer needs its residual anyway, and the best
    one is kept. Samples of which an iterate leaves the region run again with the guard, unless a
    compiled run has refused these steps itself.

    Parameters
    ----------
    network : Unrolled
        The network.
    data : Observation or Composite
        All samples, which may be rows that are made when they are asked for; a Composite where
        there is a guard.
    region : {"objective", "residual"}, default=None
        What is guarded; None for no guard.
    whole : bool, default=False
        As for :func:`guarded`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.nn import lista
    >>> from sklearn_unroll.nn.execution import Execution
    >>> A = Dense(torch.eye(3))
    >>> obs = Observation(torch.tensor([[2.0, 0.0, -1.0]]), A)
    >>> with torch.no_grad():
    ...     Execution(lista(A, n_layers=2, alpha=0.5), obs).codes()[0]
    tensor([[ 1.5000,  0.0000, -0.5000]])
    """

    def __init__(
        self,
        network: Unrolled,
        data: Observation | Composite,
        region: str | None = None,
        *,
        whole: bool = False,
    ) -> None:
        self.network, self.data, self.region, self.whole = network, data, region, whole
        self.weight = None if region is None or whole else _weight(data, region)
        # Without either, layers run behind the guard from the first sample on.
        self.plain = region is None or self.weight is not None
        with torch.no_grad():
            how = self.weight, region == "objective"
            self.sparse = sparse_run(network, data, *how) if self.plain else None
        self.keeps = False  # copies of the best iterates, which layers in torch overwrite

    def calm(self) -> AbstractContextManager[None]:
        """Return what keeps torch's threads from cores that compiled loops are to use.

        Returns
        -------
        context manager
            For all that is done between their shares of samples.
        """
        return nullcontext() if self.sparse is None else calm()

    @torch.no_grad()
    def codes(self, rows: slice | None = None) -> tuple[Tensor, Tensor]:
        """Return codes, and how many steps of every sample were refused.

        Parameters
        ----------
        rows : slice, default=None
            Of which samples; of all by default.

        Returns
        -------
        tuple of Tensor
            Of shapes (n_samples, n_components) and (n_samples,).
        """
        part = self.data if rows is None else self.data.take(rows)
        b = part.b
        codes = b.new_empty(len(b), part.A.n_components)
        counts = b.new_empty(len(b), dtype=torch.long).zero_()
        doubtful = torch.ones_like(counts, dtype=torch.bool)
        for some, left, refused in self._run(part, codes):
            doubtful[some], counts[some] = left, refused
        places = doubtful.nonzero()[:, 0]
        if len(places):
            net = guarded(self.network, self.region, whole=self.whole)
            rest = part if len(places) == len(b) else part.take(places)
            for some, chunk in rest.chunks():
                for state in net.states(chunk):
                    last = state
                codes[places[some]] = net.layers[-1].readout(last)
                counts[places[some]] = last.n_fallbacks
        return codes, counts

    @torch.no_grad()
    def stages(self) -> Iterator[Tensor]:
        """Yield the codes of all samples after every layer.

        Where only the answer is guarded, the layers before it are what they are.

        Yields
        ------
        Tensor of shape (n_samples, n_components)
            Not overwritten later.
        """
        if self.sparse is not None:
            yield from self._sparse_stages()
            return
        net = self.network
        if self.region is not None and not self.whole:
            net = guarded(net, self.region)
        for number, x in enumerate(_stages(net, self.data), 1):
            last = self.whole and self.region is not None and number == net.depth
            yield self.codes()[0] if last else x

    def _run(
        self, part: Observation | Composite, codes: Tensor
    ) -> Iterator[tuple[slice, Tensor | bool, Tensor | int]]:
        """Write codes, and yield which samples are to run again, and how many steps were refused.

        Ends early where layers ask for no residuals, which would be measured.
        """
        if self.sparse is not None:
            for rows, seen in self.sparse.chunks(part, codes):
                if seen is None:
                    yield rows, False, 0
                else:
                    yield rows, _leave(part.b[rows], seen.values), seen.refused
        elif self.plain:
            for rows, chunk in part.chunks():
                if self.region is None:
                    codes[rows] = self.network(chunk)
                    yield rows, False, 0
                    continue
                seen = watched(self.network, chunk, self.weight, self.keeps)
                if seen is None:
                    return
                codes[rows], left = seen.x, _leave(chunk.b, seen.values)
                if self.region == "objective" and not self.keeps:
                    behind = ~(seen.values[-1] <= seen.values.amin(0))
                    left |= behind
                    self.keeps = float(behind.double().mean()) > _MANY
                yield rows, left, 0

    def _sparse_stages(self) -> Iterator[Tensor]:
        """Yield the codes after every layer, of lists of their nonzeros that a run has kept."""
        b, n = self.data.b, self.data.A.n_components
        kept, doubtful = [], b.new_empty(len(b), dtype=torch.bool)
        with self.calm():
            for block in blocks(b.new_empty(1, 1).expand(len(b), n)):
                part = self.data.take(block)
                for some, seen, lists in self.sparse.stages(part):
                    rows = slice(block.start + some.start, block.start + some.stop)
                    doubtful[rows] = seen is not None and _leave(part.b[some], seen.values)
                    kept.append((rows, lists, _best(seen, self.region)))
        places, again = doubtful.nonzero()[:, 0], iter(())
        if len(places):
            again = _stages(guarded(self.network, self.region), self.data.take(places))
        for number in range(1, self.network.depth + 1):
            x = b.new_empty(len(b), n).zero_()
            for rows, lists, best in kept:
                _write(lists, number, None if best is None else best[number], x[rows].numpy())
            if len(places):
                x[places] = next(again)
            yield x


def _stages(network: Unrolled, data: Observation | Composite) -> Iterator[Tensor]:
    """Yield the iterates of all samples after every layer."""
    streams = [network.stream(chunk) for _, chunk in data.chunks()]
    for number, parts in enumerate(zip(*streams, strict=True)):
        if number:
            yield torch.cat(parts)


def _leave(b: Tensor, values: Tensor) -> Tensor:
    """Return which samples leave the region; NaN is in none."""
    return ~(values <= roomy(0.5 * b.square().sum(1))).all(0)


def _best(seen: Watched | None, region: str | None) -> np.ndarray | None:
    """Return which iterate of every sample is the best so far, where that is what is read out."""
    if region != "objective":
        return None
    costs = seen.values.numpy()
    least = np.minimum.accumulate(costs)
    numbers = np.arange(len(costs))[:, None]
    return np.maximum.accumulate(np.where(costs <= least, numbers, 0))


def _write(lists: list[Packed], number: int, best: np.ndarray | None, out: np.ndarray) -> None:
    """Write iterates over zeros: those after a layer, or the best of every sample until then."""
    if best is None:
        lists[number - 1].write(out)
        return
    for nth in np.unique(best[best > 0]):
        lists[nth - 1].write(out, best == nth)


def _weight(problem: Composite, region: str) -> float | None:
    """Return the weight of the l1 norm in what is measured; None where it is something else."""
    if not isinstance(problem.f, LeastSquares):
        return None
    if region == "residual":
        return 0.0
    R = problem.R
    return R.weight if isinstance(R, L1) and isinstance(R.weight, float) else None
