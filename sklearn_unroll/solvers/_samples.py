"""Compiled loops over samples: shares of them for threads, and what they look up."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

MAX_ATOMS = 2**12  # whose inner products are stored, and a working copy of them for each thread
_ROWS = 512  # of a thread at a time


def in_threads(run: Callable[[slice], None], n_samples: int) -> None:
    """Call ``run`` with slices that cover all samples, in as many threads as torch has."""
    n_threads = torch.get_num_threads()
    n_rows = min(_ROWS, -(-n_samples // n_threads))
    shares = [slice(first, first + n_rows) for first in range(0, n_samples, n_rows)]
    if n_threads == 1 or len(shares) == 1:  # to start one for every small batch costs a tenth
        for rows in shares:
            run(rows)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(run, shares))


def inner_products(D: Tensor, n_samples: int) -> np.ndarray:
    """Return those of all atoms, or no rows where so few samples do not pay for them."""
    if len(D) > MAX_ATOMS or 16 * n_samples < len(D):
        return np.empty((0, 0))
    return (D @ D.T).numpy()


def ridges(l2: Tensor | float, D: Tensor) -> Tensor:
    """Return the weights of squared codes, one for each atom."""
    return torch.as_tensor(l2, dtype=D.dtype, device=D.device).expand(len(D)).contiguous()
