"""Math-L2O without gradients: its network is asked only about coordinates that move.

Most codes of a sparse problem are zero, and nothing the network could say of them would change
that. It is told later what it has missed, when they move, so that iterates stay those of the
layer, to rounding: see :mod:`sklearn_unroll.nn._lazy_loops`. Products with codes take rows of D
where codes are not zero, and a sample stays in the cache for all its iterations.

On the CPU, compiled by numba, in as many threads as torch has, for least squares over dense
operators and penalties that say what they do to an entry (``Penalty.entrywise``). All else runs
as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import Composite, Dense, LeastSquares
from sklearn_unroll.functional._compiled import HONEST, compiled, compiled_available, in_threads
from sklearn_unroll.functional._given import tensor_of
from sklearn_unroll.nn._lazy_loops import proceed
from sklearn_unroll.nn._lazy_state import Family, Manner, State
from sklearn_unroll.nn._lazy_tables import cell_of, desk_for, first_memory
from sklearn_unroll.nn.coordinate import CoordinateLSTM, CoordinateMLP
from sklearn_unroll.nn.guard import PATIENCE, ROUNDING, Guarded
from sklearn_unroll.nn.l2o_features import DECADES, FLOOR
from sklearn_unroll.nn.math_l2o import GIVE_UP, LOSE, REGAIN, MathL2OLayer
from sklearn_unroll.nn.parts import speaks

__all__ = ["LazyRun", "Solved", "lazy_run"]

_KEPT = 2**17  # features of coordinates at rest that are kept, of a sample
_ROWS = 2**9  # samples in a chunk for every thread
_LARGE = 2**22  # entries of D from which on threads share products rather than samples
_VARIANTS = ("P", "A", "PA")
_MOMENTUM = {"accelerated": 1, "sigmoid": 2, "wide": 3}


class Solved(NamedTuple):
    """What a run found.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        The last iterates.
    n_fallbacks : Tensor of shape (n_samples,)
        How often the guard took the classical step.
    values : Tensor of shape (n_iter + 1, n_samples) or None
        Objectives of all iterates, where they are watched.
    """

    x: Tensor
    n_fallbacks: Tensor
    values: Tensor | None


class LazyRun:
    """Math-L2O, guarded or not, as compiled loops over samples.

    Parameters
    ----------
    layer : MathL2OLayer
        The layer.
    guarded : bool
        Whether no objective may rise.
    """

    def __init__(self, layer: MathL2OLayer, guarded: bool) -> None:
        self.layer, self.guarded = layer, guarded
        self.cell = cell_of(layer.network)

    def solve(self, problem: Composite, n_iter: int, watch: bool = False) -> Solved:
        """Return the iterates of all samples after so many iterations.

        Parameters
        ----------
        problem : Composite
            The instances.
        n_iter : int
            Number of iterations.
        watch : bool, default=False
            Whether the objectives of all iterates are wanted.

        Returns
        -------
        Solved
            The last iterates, and what happened on the way.
        """
        values = problem.b.new_empty((n_iter + 1) * watch, len(problem.b))
        x = torch.empty_like(problem.first())
        counts = torch.zeros(len(x), dtype=torch.long)

        def take(rows: slice) -> None:
            part = problem if rows == slice(0, len(x)) else problem.take(rows)
            share = Share(self, part, n_iter, alone=True)
            share(0, n_iter, values[:, rows].numpy(), counts[rows].numpy(), x[rows].numpy())

        in_threads(take, len(x), _ROWS)
        return Solved(x, counts, values if watch else None)

    def stages(self, problem: Composite, n_iter: int) -> Iterator[Tensor]:
        """Yield the iterates of all samples one by one, the same memory again and again.

        Parameters
        ----------
        problem : Composite
            The instances.
        n_iter : int
            Number of iterations.

        Yields
        ------
        Tensor of shape (n_samples, n_components)
            The iterates after 1, 2, ... iterations.
        """
        x = torch.empty_like(problem.first())
        shares: dict[int, Share] = {}

        def begin(rows: slice) -> None:
            shares[rows.start] = Share(self, problem.take(rows), n_iter, alone=False)

        in_threads(begin, len(x), len(x))
        none, counts = x.new_empty(0, len(x)).numpy(), np.empty(len(x), np.int64)
        for k in range(n_iter):

            def take(rows: slice, k: int = k) -> None:
                shares[rows.start](k, k + 1, none[:, rows], counts[rows], x[rows].numpy())

            in_threads(take, len(x), len(x))
            yield x


class Share:
    """Samples that one thread takes through the iterations.

    Parameters
    ----------
    run : LazyRun
        The layer.
    problem : Composite
        The samples.
    n_iter : int
        Number of iterations to come.
    alone : bool
        Whether samples take turns in one slot of the state: from the first iteration to the last.
    """

    def __init__(self, run: LazyRun, problem: Composite, n_iter: int, alone: bool) -> None:
        self.cell, self.alone = run.cell, alone
        n, kind = problem.A.n_components, problem.b.numpy().dtype
        self.family = family_of(problem)
        begin = first_memory(run.layer, n, self.cell)
        self.how = manner_of(run.layer, run.guarded, kind)
        n_slots = 1 if alone else len(problem.b)
        kept = min(n_iter + 1, max(_KEPT // n, 16) if alone else 16) if begin.shape[2] else 1
        net = begin.dtype
        self.state = State(
            np.zeros((n_slots, 11), kind),
            np.zeros((n_slots, 10, n), kind),
            np.zeros((n_slots, 2, problem.b.shape[1]), kind),
            np.zeros((n_slots, *begin.shape[1:]), net),
            begin,
            np.zeros((n_slots, n), np.int64),
            np.zeros((n_slots, kept, n), net),
            np.zeros((n_slots, kept, 3), net),
        )
        self.desk = desk_for(n, self.cell, run.layer, net)
        self.places = np.zeros(2 * n, np.int64)

    def __call__(
        self, first: int, last: int, values: np.ndarray, counts: np.ndarray, out: np.ndarray
    ) -> None:
        """Run iterations; overwrite objectives where there is room for them, counts and codes."""
        how = self.how._replace(watched=len(values) > 0)
        rooms = self.desk, self.places, self.alone, first, last
        loop = compiled(proceed, HONEST, False)
        loop(self.family, self.cell, how, self.state, *rooms, values, counts, out)


def family_of(problem: Composite) -> Family:
    """Return instances as arrays."""
    b, step = problem.b.contiguous(), problem.step
    weight, share, positive = problem.R.entrywise()
    weight = tensor_of(weight, "weight", b)
    D = problem.A.D.contiguous()
    start = b[:0, :0] if problem.x0 is None else problem.x0.contiguous()
    parts = (b, D.view(-1, *D.shape[-2:]), step.reshape(-1, 1), torch.atleast_2d(weight), start)
    arrays = (part.detach().contiguous().numpy() for part in parts)
    return Family(*arrays, share, positive)


def manner_of(layer: MathL2OLayer, guarded: bool, kind: Any) -> Manner:
    """Return the settings of a layer and of its guard."""
    variant = layer.variant
    limits = np.finfo(kind)
    return Manner(
        variant.find("P"),
        variant.find("A"),
        _MOMENTUM[layer.momentum] if "A" in variant else 0,
        layer.features == "relative",
        guarded,
        False,
        float(layer.largest_step),
        REGAIN,
        LOSE,
        GIVE_UP,
        float(PATIENCE),
        float(ROUNDING * limits.eps),
        DECADES,
        FLOOR,
        float(limits.tiny),
    )


def lazy_run(layer: Any, problem: Composite) -> LazyRun | None:
    """Return a layer as compiled loops, where that is possible.

    Parameters
    ----------
    layer : UnrolledLayer
        Math-L2O, guarded or not.
    problem : Composite
        The instances.

    Returns
    -------
    LazyRun or None
        None where the layer is to run as it is.
    """
    guarded = type(layer) is Guarded and layer.region == "descent"
    inner = layer.layer if guarded else layer
    if torch.is_grad_enabled() or not compiled_available():
        return None
    if not (_plain(layer, "init", "readout") and _is_known(inner) and _fits(problem)):
        return None
    return LazyRun(inner, guarded)


def _plain(part: Any, *runs: str) -> bool:
    """Return whether a module does what its class says."""
    return speaks(part, "forward", "forward", *runs)


def _is_known(layer: Any) -> bool:
    if type(layer) is not MathL2OLayer or layer.variant not in _VARIANTS:
        return False
    network = layer.network
    if type(network) not in (CoordinateLSTM, CoordinateMLP):
        return False
    plain = _plain(layer, "init", "readout", "resume") and _plain(network, "first")
    on_cpu = all(p.device.type == "cpu" for p in network.parameters())
    return plain and on_cpu and _plain(network.heads)


def _fits(problem: Composite) -> bool:
    b, A, R = problem.b, problem.A, problem.R
    if b.device.type != "cpu" or b.dtype not in (torch.float32, torch.float64):
        return False
    if type(A) is not Dense or A.D.dtype != b.dtype or type(problem.f) is not LeastSquares:
        return False
    if problem.step is None or len(b) == 0:
        return False
    if len(b) < torch.get_num_threads() and A.n_components * A.n_features > _LARGE:
        return False
    if not hasattr(R, "entrywise") or not speaks(R, "entrywise", "prox", "value", "take"):
        return False
    entrywise = R.entrywise()
    if entrywise is None:
        return False
    shape = tensor_of(entrywise.weight, "weight").shape
    return shape in ((), (1,), (A.n_components,), (len(b), 1), (1, 1), (len(b), A.n_components))
