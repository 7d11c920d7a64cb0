"""Problems as others that there are solvers for: no penalty but signs, and the elastic net."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from sklearn_unroll.functional import Dense, Observation, duality_gap
from sklearn_unroll.solvers.solver import Solution

__all__ = ["nonnegative_least_squares", "with_ridge"]


def nonnegative_least_squares(obs: Observation, tol: float) -> Solution:
    """Solve one sample after another by scipy's active set (Lawson and Hanson), on the CPU."""
    D, b = obs.A.D.cpu().numpy(), obs.b.cpu().numpy()
    x = np.stack([nnls((D if D.ndim == 2 else D[i]).T, row)[0] for i, row in enumerate(b)])
    x = torch.from_numpy(x).to(obs.b)
    gap = duality_gap(x, obs, 0.0, positive=True)
    return Solution(x, gap, torch.ones_like(gap, dtype=torch.long), gap <= tol)


def with_ridge(obs: Observation, l2: Tensor) -> Observation:
    """Return the elastic net as a lasso, whose signals have a feature more for each atom: zero."""
    if not bool((l2 > 0).any()):
        return obs
    D, square = obs.A.D, torch.diag(l2.sqrt())
    D = torch.cat([D, square.expand(*D.shape[:-1], len(l2))], dim=-1)
    b = torch.nn.functional.pad(obs.b, (0, len(l2)))
    return Observation(b, Dense(D))
