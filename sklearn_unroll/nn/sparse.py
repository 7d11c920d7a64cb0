"""Networks of proximal-gradient layers on sparse codes: rows of matrices in place of products.

Iterates of good networks have few nonzeros. With ``q = P b`` and ``G = D P^T`` of a layer's matrix
P the point to shrink is ``x + gamma (q - x G)``, which costs as many rows of G as x has nonzeros,
not two products with all of D and P. Layers that share their weights share q and G. A layer with a
matrix of its own saves one of its products: ``r = b - x D`` by rows, then ``P r``.

On the CPU, without gradients, over one dense operator, compiled by numba, in as many threads as
torch has, where it can be kept to one in each of ours (:mod:`sklearn_unroll.functional._alone`).
Layers declare what they do (``Weights.affine``, ``Rule.scalars``, ``Rule.gauge``,
``Shrinkage.factor``); a network with any part that does not runs as it is, such as NA-ALISTA,
whose rule is a network itself. Where codes are too dense for it, see :func:`pays`, layers that
are soft thresholds of products take fewer passes: :mod:`sklearn_unroll.nn.fused`.

Memory: G is made for up to 4096 atoms (128 MB in float64), once for a network, beside copies of D
and P to see if they have changed; free weights of each layer take a transposed copy of ``W2`` for
the time of a call; lists of codes have room of 41 MB a thread at 2000 atoms in float32, of which
only what is filled is ever touched, points and residuals take 10 MB there, and stages 8 to 12
bytes a nonzero of each layer.

In float32 ``P b - x G`` leaves -132 dB of noiseless codes where residuals leave -145. Where no l1
norm is measured residuals are therefore taken anew every eight layers, as soon as those of any
sample in a share are below -60 dB: -144.6 dB.

Entries that are selected pass whole, so that codes jump where one meets its threshold, and there
rounding decides. At 1000x2000 HyperLISTA in float32 differed so from dense layers in one sample of
1000, by .02: an entry was 4e-7 from its threshold; dense layers err by 5e-7 there, and G by 2e-6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import Dense
from sklearn_unroll.functional._alone import can_compute_alone
from sklearn_unroll.functional._compiled import compiled_available
from sklearn_unroll.functional._vectors import panels
from sklearn_unroll.nn._run import CompiledRun, Packed, Watched
from sklearn_unroll.nn._sparse_steps import Desk, Share, Stage, Step
from sklearn_unroll.nn._sparse_tables import table_of
from sklearn_unroll.nn.base import Unrolled
from sklearn_unroll.nn.fused import FusedRun, can_fuse
from sklearn_unroll.nn.parts import speaks
from sklearn_unroll.nn.proxgrad import ProxGradLayer
from sklearn_unroll.nn.rules import Rule, Scalars
from sklearn_unroll.nn.shrinkages import Shrinkage

__all__ = ["SparseRun", "pays", "sparse_run"]

_CHUNK, _FEWEST = 2**17, 512  # numbers in the codes of a thread's share of a chunk, and rows
_LEAST_WORK = 2**30  # multiplications below which compiled code is not worth loading
# What an entry of a row of a table costs, in multiplications of a dense product, and what one of
# the codes costs a layer beside its products: by a table, by residuals, as the network is, in one
# pass, and to select as the network does. An entry costs more than in a dense product, where sums
# and data stay in registers: every vector of a row is loaded, by one multiplication (1.3 times),
# from the second cache (1.8), and of 2000 atoms once for every share from the third (2.6).
_ROW, _TABLED, _LOOSE, _DENSE, _FUSED, _SELECT = 1.7, 30.0, 45.0, 20.0, 15.0, 60.0
_PROMISE = 0.9  # of the cost of layers as they are, which a run must be expected to stay below
_PROBE = 128  # one sample of so many, from 4 to 64, says how many nonzeros there are


def stages_of(network: Unrolled, A: Dense) -> list[Stage] | None:
    """Return the stages of a network, None if one of its parts says too little of itself."""
    stages: list[Stage] = []
    if type(network) is not Unrolled:
        return None
    for layer in network.layers:
        scalars = _scalars(layer)
        if scalars is None or not speaks(layer.weights, "affine", "forward", "correction"):
            return None
        if not stages and layer.x0 is not None:
            return None
        gauge = layer.rule.gauge()
        last = stages[-1] if stages else None
        if last is not None and (last.gauge is None) != (gauge is None):
            return None  # rules with a memory beside others without
        same = last is not None and last.weights is layer.weights
        affine = last.affine if same else layer.weights.affine(A)
        if affine is None or not _fits(A, affine.P, affine.M, gauge):
            return None
        # Adjoint weights are of one matrix, too.
        same |= (
            last is not None and affine.M is last.affine.M is None and affine.P is last.affine.P
        )
        if same and last.gauge is gauge:
            last.scalars.append(scalars)
        else:
            stages.append(Stage(layer.weights, affine, gauge, [scalars]))
    return stages


def _scalars(layer: Any) -> Scalars | None:
    """Return what a layer does, None if it does not say, or if it does anything else too."""
    if type(layer) is not ProxGradLayer or not speaks(
        layer, "forward", "forward", "init", "readout"
    ):
        return None
    rule, shrinkage = layer.rule, layer.shrinkage
    if not (isinstance(rule, Rule) and speaks(rule, "scalars", "forward")):
        return None
    if not (isinstance(shrinkage, Shrinkage) and speaks(shrinkage, "factor", "__call__")):
        return None
    scalars, factor = rule.scalars(), shrinkage.factor()
    if scalars is None or factor is None:
        return None
    scalars = scalars._replace(theta=factor * scalars.theta, per_error=factor * scalars.per_error)
    if not shrinkage.selects:
        scalars = scalars._replace(count=0.0, per_progress=0.0)
    honest = all(abs(number) < np.inf for number in scalars[:-1]) and scalars.per_progress >= 0
    return scalars if honest and scalars.theta >= 0 and scalars.per_error >= 0 else None


def _fits(A: Dense, *parts: Tensor | None) -> bool:
    return all(
        part is None or (part.dtype == A.D.dtype and part.device == A.D.device) for part in parts
    )


class SparseRun(CompiledRun):
    """A network on sparse codes.

    Parameters
    ----------
    stages : list of Stage
        Its layers.
    A : Dense
        The operator.
    weight : float, default=None
        Weight of the l1 norm in the costs ``0.5 ||b - A x||^2 + weight ||x||_1`` of all iterates;
        None for no costs.
    classical : float, default=None
        The step that samples take from the iterate before one that costs more than the zero code,
        where all layers are soft thresholds; codes are those of the iterate that costs least.
        None for the last ones, whatever they cost.
    """

    def __init__(
        self,
        stages: list[Stage],
        A: Dense,
        weight: float | None = None,
        classical: float | None = None,
    ) -> None:
        D = A.D.detach()
        self.D, self.kind, self.n_atoms = panels(D).numpy(), D.numpy().dtype, len(D)
        self.best = classical is not None
        tables = [table_of(s.weights, s.affine, A) if s.tabled else None for s in stages]
        # Without the l1 norm costs are only to be below those of zero, which a bound may show.
        flat = any(table is not None and table.flat > 0 for table in tables)
        bounds = weight == 0 and not self.best and flat
        holds = self.best and all(stage.plain for stage in stages)
        self.steps = [
            Step(stage, table, A, weight or 0.0, bounds, classical if holds else 0.0)
            for stage, table in zip(stages, tables, strict=True)
        ]
        self.n_costs = 0 if weight is None else sum(len(s.numbers) for s in self.steps) + 1
        super().__init__(max(_CHUNK // len(D), _FEWEST))

    def desk(self) -> Desk:
        """Return what a thread works on."""
        return Desk(self.most, self.n_atoms, self.kind)

    def code(
        self, b: Tensor, desk: Desk, out: Tensor | None, each: Callable[[Packed], None] | None
    ) -> Watched | None:
        """Take samples through all layers.

        With a weight of zero costs that are far below that of the zero code may be upper bounds,
        unless the best iterate is asked for.
        """
        share = Share(b, self.D, desk, self.n_costs, self.best, each)
        for step in self.steps:
            step(share, self.n_costs > 0)
        if self.n_costs:
            share.look(self.steps[-1].guard)
        share.tell(share.now)
        if out is not None:
            share.write(out.numpy())
        return share.watched() if self.n_costs else None


def sparse_run(
    network: Unrolled, obs: Any, weight: float | None = None, best: bool = False
) -> CompiledRun | None:
    """Return a network on sparse codes, or in fewer passes, where that is possible and pays.

    Parameters
    ----------
    network : Unrolled
        The network.
    obs : Observation or Composite
        All samples.
    weight : float, default=None
        Weight of the l1 norm in the costs; None for no costs.
    best : bool, default=False
        Whether codes are those of the iterate that costs least, and not the last; samples that
        leave the region take the step of the problem, a Composite, where layers allow it.

    Returns
    -------
    SparseRun, FusedRun or None
        None where the network is to run as it is.
    """
    A, b = obs.A, obs.b
    if torch.is_grad_enabled() or not isinstance(A, Dense) or A.per_sample:
        return None
    if b.device.type != "cpu" or b.dtype not in (torch.float32, torch.float64):
        return None
    if A.D.dtype != b.dtype or not compiled_available():
        return None
    if torch.get_num_threads() > 1 and not can_compute_alone():
        return None
    stages = stages_of(network, A)
    if stages is None:
        return None
    classical = None
    if best:
        classical = float(obs.of(*obs[:4]).step if obs.step is None else obs.step)
    if pays(network, stages, obs, weight):
        return SparseRun(stages, A, weight, classical)
    large = len(b) * _total(stages, A) >= _LEAST_WORK
    return FusedRun(stages, A, weight, classical) if large and can_fuse(stages) else None


def pays(network: Unrolled, stages: list[Stage], obs: Any, weight: float | None) -> bool:
    """Return whether few enough entries are nonzero, for so many samples.

    The first samples run as they are and are counted. What follows from it alone, not from the
    clock, is the same whenever and wherever it is asked: both ways round differently, and a
    choice by the clock would make the last bits of codes depend on what else the machine does.
    The price are costs that were measured on one machine; so a run must promise to save a tenth
    of what layers cost as they are, or fused.

    Parameters
    ----------
    network : Unrolled
        The network.
    stages : list of Stage
        Its layers.
    obs : Observation or Composite
        All samples.
    weight : float or None
        Weight of the l1 norm in the costs; None for no costs.

    Returns
    -------
    bool
        Whether a sparse run is expected to take less time.
    """
    n_samples, (n, m) = len(obs.b), obs.A.D.shape
    dense = _total(stages, obs.A)
    made = sum(n * n * m for stage in stages if stage.tabled and stage.affine.M is None)
    if n_samples * dense < max(_LEAST_WORK, 2 * made):
        return False
    few = obs.take(slice(max(4, min(n_samples // _PROBE, 64))))
    counts = [float(x.count_nonzero()) / len(x) for x in network.stream(few)]
    sparse, layer = 0.0, 0
    for stage in stages:
        n_layers = len(stage.scalars)
        n_nonzero = sum(counts[layer : layer + n_layers])
        columns = n * (1 + (stage.gauge is not None and stage.gauge.ndim == 2)) * stage.tabled
        # Residuals are asked for by costs, too.
        columns += m * (weight is not None or not stage.tabled)
        products = (1 if stage.tabled else n_layers) * n * m
        own = _TABLED if stage.tabled else _LOOSE
        sparse += products + _ROW * n_nonzero * columns + own * n_layers * n
        layer += n_layers
    return n_samples * sparse + made <= _PROMISE * n_samples * dense


def _total(stages: list[Stage], A: Dense) -> float:
    """Return how many multiplications layers take for a sample, as they are or fused."""
    n, m = A.D.shape
    own = _FUSED if can_fuse(stages) else _DENSE
    n_selecting = sum(bool(s.count or s.per_progress) for stage in stages for s in stage.scalars)
    products = sum(len(stage.scalars) * (_products(stage, n, m) + own * n) for stage in stages)
    return products + _SELECT * n_selecting * n


def _products(stage: Stage, n: int, m: int) -> float:
    """Return how many multiplications the products of a layer as it is take for a sample."""
    own = n * n if stage.affine.M is not None else n * m
    return n * m + own + (n * m if stage.gauge is not None and stage.gauge.ndim == 2 else 0)
