"""Debiasing in machine code, in as many threads as torch has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional._alone import n_threads
from sklearn_unroll.functional._compiled import HONEST, compiled, compiled_available
from sklearn_unroll.functional.observation import Observation
from sklearn_unroll.solvers._debias_loops import Rules, leave, repair
from sklearn_unroll.solvers._support_loops import Table
from sklearn_unroll.solvers._supports import Atoms

__all__ = ["compiled_pays", "debias_in_threads"]

_SHARE = 2**18  # numbers in the codes of a thread's share of a chunk
_COMPILED_FROM = 2**18  # numbers in the codes, for which numba is loaded (0.5 s)
_MAX_ATOMS = 2**12  # of which numba gets the inner products


def compiled_pays(x: Tensor, obs: Observation) -> bool:
    """Return whether codes are many enough, and of what compiled loops can take."""
    b, A = obs.b, obs.A
    if A.per_sample or b.device.type != "cpu" or A.n_components > _MAX_ATOMS:
        return False
    fits = x.dtype == b.dtype == A.D.dtype and b.dtype in (torch.float32, torch.float64)
    return fits and x.numel() >= _COMPILED_FROM and compiled_available()


def debias_in_threads(
    x: Tensor, b: Tensor, noise: Tensor, atoms: Atoms, rules: Rules, ridge: float
) -> None:
    """Overwrite codes x by those of :func:`sklearn_unroll.solvers.debias`."""
    D, b, noise = atoms.D, b.detach().contiguous(), noise.expand(len(b), 1)[:, 0].contiguous()
    table = Table(
        atoms.gram.view(len(D), -1).numpy(), D.numpy(), atoms.norm.numpy(),
        atoms.inverse_norm.numpy(), ridge, torch.finfo(D.dtype).eps,
    )  # fmt: skip
    n_workers, n = n_threads(), x.shape[1]
    n_rows = min(max(_SHARE // n, 32), -(-len(b) // n_workers))
    chunk, energies = n_rows * n_workers, np.empty((len(b), 2))
    r, c = torch.empty_like(b[:chunk]), x.new_empty(min(chunk, len(b)), n)

    def set_out(start: int, first: int) -> None:
        rows, here = places(start, first)
        own = b[rows].numpy(), x[rows].numpy()
        compiled(leave, HONEST)(table, *own, r[here].numpy(), energies[rows])

    def arrive(start: int, first: int) -> None:
        rows, here = places(start, first)
        given = b[rows].numpy(), c[here].numpy(), energies[rows], noise[rows].numpy()
        compiled(repair, HONEST)(table, *given, rules, x[rows].numpy())

    def places(start: int, first: int) -> tuple[slice, slice]:
        stop = min(first + n_rows, start + chunk, len(b))
        return slice(first, stop), slice(first - start, stop - start)

    with ThreadPoolExecutor(n_workers) as pool:
        for start in range(0, len(b), chunk):
            firsts = range(start, min(start + chunk, len(b)), n_rows)
            list(pool.map(partial(set_out, start), firsts))
            # All threads at once share this product better than each its own.
            torch.mm(r[: len(b) - start], D[:n].T, out=c[: len(b) - start])
            list(pool.map(partial(arrive, start), firsts))
