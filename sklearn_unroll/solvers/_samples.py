"""Compiled loops over samples: shares of them for threads, and what they look up."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import Observation, duality_gap, error_gap, l1_radius_gap
from sklearn_unroll.functional._compiled import compiled
from sklearn_unroll.functional._compiled import in_threads as shared_out
from sklearn_unroll.solvers._atom_loops import alike

MAX_ATOMS = 2**12  # whose inner products are stored, and a working copy of them for each thread
_ROWS, _NUMBERS = 512, 2**13  # of a thread at a time, or that many codes
_RANGE = 1e12  # between squared norms of atoms, and of one, up to which float32 is used
# A sample for so many atoms, or so many samples, from which on inner products are stored.
_PAYS, _ENOUGH = 16, 48


class Products(NamedTuple):
    """What loops over samples look up, in float64: atoms, and their inner products."""

    D: np.ndarray  # (n_components, n_features)
    gram: np.ndarray  # (n_components, n_components), or without rows: to be computed
    single: np.ndarray | None = None  # these inner products in float32, where it has the range
    q: Tensor | None = None  # (n_samples, n_components), with observations; None: to be computed

    def take(self, rows: Tensor) -> Products:
        """Return those of some samples."""
        return self if self.q is None else self._replace(q=self.q[rows])

    def is_coherent(self, least: float) -> bool:
        """Return whether two atoms are that much alike, as far as it is known."""
        outcome = np.zeros(1, bool)
        compiled(alike)(self.gram, least, outcome)
        return bool(outcome[0])


class Batch(NamedTuple):
    """Samples as loops take them, in float64, and row after row in memory."""

    b: np.ndarray  # (n_samples, n_features)
    q: np.ndarray  # (n_samples, n_components), their correlations with atoms
    energy: np.ndarray  # (n_samples,), their squared norms

    def take(self, rows: np.ndarray) -> Batch:
        """Return some samples."""
        return Batch(*(part[rows] for part in self))


def batch_of(b: Tensor, known: Products) -> Batch:
    """Return samples with their correlations, those that are known or new ones.

    Before threads start: products in each would start threads of their own.
    """
    b = b.detach().double().contiguous()
    q = b @ torch.from_numpy(known.D).T if known.q is None else known.q.contiguous()
    return Batch(b.numpy(), q.numpy(), b.square().sum(1).numpy())


def look_again(
    gap: Tensor, x: Tensor, obs: Observation, target: Tensor, kind: str, tol: float,
    positive: bool, ridge: Tensor,
) -> None:  # fmt: skip
    """Measure the gaps that inner products have not found to be small by residuals, in place."""
    doubtful = (~(gap <= tol)).nonzero()[:, 0]
    if not len(doubtful):
        return
    some = obs.take(doubtful)
    own = x[doubtful].double(), some._replace(b=some.b.double()), target[doubtful]
    if kind == "alpha":
        gap[doubtful] = duality_gap(*own, positive=positive, l2=ridge)
    else:
        certify = error_gap if kind == "error" else l1_radius_gap
        gap[doubtful] = certify(*own, positive=positive)


def products_of(D: Tensor, n_samples: int, single: bool = False) -> Products:
    """Return what is to be looked up: inner products only where enough samples pay for them.

    With ``single`` also in float32.
    """
    D, n_atoms = D.detach().double(), D.shape[0]
    atoms = D.contiguous().numpy()
    if n_atoms > MAX_ATOMS or n_samples < min(n_atoms / _PAYS, _ENOUGH):
        return Products(atoms, np.empty((0, 0)))
    gram = (D @ D.T).numpy()
    if not single:
        return Products(atoms, gram)
    squares = gram.diagonal()
    least, most = squares[squares > 0].min(initial=np.inf), squares.max(initial=0.0)
    fits = 1 / _RANGE < most < _RANGE * min(least, 1.0)
    return Products(atoms, gram, gram.astype(np.float32) if fits else None)


def in_threads(
    run: Callable[[slice], None], n_samples: int, n_components: int, alone: bool = False
) -> None:
    """Call ``run`` with slices that cover all samples, in as many threads as torch, or in one."""
    if alone:
        run(slice(0, n_samples))
    else:
        shared_out(run, n_samples, max(_ROWS, _NUMBERS // n_components))


def ridges(l2: Tensor | float, D: Tensor) -> Tensor:
    """Return the weights of squared codes, one for each atom, in float64."""
    l2 = torch.as_tensor(l2, dtype=torch.float64, device=D.device)
    return l2.expand(len(D)).contiguous()
