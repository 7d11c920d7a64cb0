"""Compiled loops over samples: shares of them for threads, and what they look up."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional._compiled import in_threads as shared_out

MAX_ATOMS = 2**12  # whose inner products are stored, and a working copy of them for each thread
_ROWS, _NUMBERS = 512, 2**13  # of a thread at a time, or that many codes
_RANGE = 1e12  # between squared norms of atoms, and of one, up to which float32 is used
_PAYS = 16  # samples for each atom, from which on inner products are stored


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
        if not len(self.gram):
            return False
        norm = np.sqrt(self.gram.diagonal())
        norm[norm == 0] = 1
        limit = least * norm[:, None] * norm
        np.fill_diagonal(limit, np.inf)
        return bool((np.abs(self.gram) > limit).any())


def products_of(D: Tensor, n_samples: int, single: bool = False) -> Products:
    """Return what is to be looked up: inner products only where enough samples pay for them.

    With ``single`` also in float32.
    """
    D = D.detach().double()
    stored = len(D) <= MAX_ATOMS and _PAYS * n_samples >= len(D)
    gram = (D @ D.T).numpy() if stored else np.empty((0, 0))
    squares = gram.diagonal()
    least, most = squares[squares > 0].min(initial=np.inf), squares.max(initial=0.0)
    fits = single and stored and 1 / _RANGE < most < _RANGE * min(least, 1.0)
    return Products(D.contiguous().numpy(), gram, gram.astype(np.float32) if fits else None)


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
