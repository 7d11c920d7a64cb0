"""A network at work behind its guard, which costs little where nothing is refused."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sklearn_unroll.functional import L1, Composite, LeastSquares, Observation
from sklearn_unroll.functional.measured import lasso_of_residual
from sklearn_unroll.functional.observation import first_residual
from sklearn_unroll.nn.base import Unrolled
from sklearn_unroll.nn.guard import guarded, roomy
from sklearn_unroll.nn.sparse import sparse_run

__all__ = ["run_guarded"]


class Watch:
    """Measures every iterate when the next layer asks for its residual.

    Parameters
    ----------
    b : Tensor of shape (n_samples, n_features)
        Data.
    weight : float
        Weight of the l1 norm in what is measured.
    depth : int
        Number of layers.
    """

    def __init__(self, b: Tensor, weight: float, depth: int) -> None:
        self.b, self.weight = b, weight
        self.values, self.count = b.new_empty(depth + 1, len(b)), 0
        self.x, self.version = None, 0

    def expect(self, x: Tensor) -> None:
        """Wait for the residual of an iterate."""
        self.x, self.version = x, x._version

    def of(self, obs: Observation, x: Tensor) -> Tensor:
        """Return a residual; if it is the one that is waited for, measure its iterate."""
        if x is not self.x or obs.b is not self.b or x._version != self.version:
            return obs.A.residual(obs.b, x)
        b, A = obs.b, obs.A
        r = A.residual(b, x) if self.count else first_residual(b, A, x)
        lasso_of_residual(x, r, self.weight, self.values[self.count])
        self.x, self.count = None, self.count + 1
        return r


def watched(network: Unrolled, problem: Composite, weight: float) -> tuple[Tensor, Tensor] | None:
    """Return the last iterate, and the values of all; None where layers ask for no residuals."""
    watch = Watch(problem.b, weight, network.depth)
    obs = problem._replace(known=watch)
    for number, state in enumerate(network.states(obs)):
        if watch.count < number:
            return None
        x = network.layers[max(number - 1, 0)].readout(state)
        watch.expect(x)
    obs.residual(x)
    return x, watch.values


@torch.no_grad()
def run_guarded(
    network: Unrolled, problem: Composite, region: str, *, whole: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the answer of a guarded network, and how many steps were refused.

    As :class:`Guarded` has it, sample by sample, but for rounding: the network runs as it is while
    every iterate is measured, which costs no product, as the next layer needs its residual
    anyway. Only samples of which an iterate leaves the region, or the last is not the best, run
    again, behind the guard.

    Parameters
    ----------
    network : Unrolled
        The network.
    problem : Composite
        The data.
    region : {"objective", "residual"}
        What is guarded.
    whole : bool, default=False
        As for :func:`guarded`.

    Returns
    -------
    tuple of Tensor
        Codes of shape (n_samples, n_components), and counts of shape (n_samples,).
    """
    b = problem.b
    codes = b.new_empty(len(b), problem.A.n_components)
    doubtful = torch.ones(len(b), dtype=torch.bool, device=b.device)
    weight = _weight(problem, region)
    if weight is not None and not whole:
        for rows, values in _costs(network, problem, weight, codes):
            bound = roomy(0.5 * b[rows].square().sum(1))
            best = values[-1] if region == "residual" else values.amin(0)
            # NaN is in no region.
            doubtful[rows] = ~((values <= bound).all(0) & (values[-1] <= best))
    counts = torch.zeros(len(b), dtype=torch.long, device=b.device)
    places = doubtful.nonzero()[:, 0]
    if len(places):
        net = guarded(network, region, whole=whole)
        rest = problem if len(places) == len(b) else problem.take(places)
        for rows, chunk in rest.chunks():
            for state in net.states(chunk):
                last = state
            codes[places[rows]] = net.layers[-1].readout(last)
            counts[places[rows]] = last.n_fallbacks
    return codes, counts


def _costs(
    network: Unrolled, problem: Composite, weight: float, codes: Tensor
) -> Iterator[tuple[slice, Tensor]]:
    """Write codes, and yield the values of all iterates, until layers ask for no residuals."""
    sparse = sparse_run(network, problem, weight)
    if sparse is not None:
        yield from sparse.chunks(problem, codes)
        return
    for rows, chunk in problem.chunks():
        found = watched(network, chunk, weight)
        if found is None:
            return
        codes[rows], values = found
        yield rows, values


def _weight(problem: Composite, region: str) -> float | None:
    """Return the weight of the l1 norm in what is measured; None where it is something else."""
    if not isinstance(problem.f, LeastSquares):
        return None
    if region == "residual":
        return 0.0
    R = problem.R
    return R.weight if isinstance(R, L1) and isinstance(R.weight, float) else None
