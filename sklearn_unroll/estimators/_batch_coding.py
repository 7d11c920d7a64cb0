"""Codes of one batch after another, over a dictionary that moves between them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from sklearn_unroll.estimators._arrays import resolve_device
from sklearn_unroll.estimators._lasso_coder import LassoCoder
from sklearn_unroll.estimators._lasso_codes import check_atom_weights
from sklearn_unroll.estimators._missing import observed, split_missing
from sklearn_unroll.functional import Dense, Observation, alpha_max
from sklearn_unroll.functional._compiled import compiled_available
from sklearn_unroll.solvers.coordinate import MAX_ATOMS, descend_all
from sklearn_unroll.solvers.masked import descend_seen_all

_COMPILED_FROM = 2**18  # numbers in all codes, for which numba is loaded (0.4 s)


class CoderCoding:
    """Codes by any coder, fitted anew for every batch.

    Parameters
    ----------
    coder : estimator
        What codes; its dictionary is set.
    """

    def __init__(self, coder: Any) -> None:
        self.coder = clone(coder)

    def __call__(self, b: Tensor, D: Tensor, tol: float) -> tuple[Tensor, Tensor]:
        """Return codes and their penalties; the coder has a tolerance of its own."""
        X = b.numpy()
        with warnings.catch_warnings():
            # On the way to a dictionary codes need not be exact.
            warnings.simplefilter("ignore", ConvergenceWarning)
            codes = self.coder.set_params(dictionary=D.numpy()).fit(X).transform(X)
        codes = torch.from_numpy(codes)
        return codes, self.coder.problem(X).R.value(codes.to(self.coder.compute_like(X)))


class CompiledLassoCoding:
    """Codes of a :class:`LassoCoder` by compiled coordinate descent, without its checks.

    Parameters
    ----------
    coder : LassoCoder
        Says alpha, and the constraints on codes.
    """

    def __init__(self, coder: LassoCoder) -> None:
        self.coder = coder

    def __call__(self, b: Tensor, D: Tensor, tol: float) -> tuple[Tensor, Tensor]:
        """Return codes to a tolerance, that of the coder if it is larger, and their penalties."""
        coder = self.coder
        atoms = None
        if coder.atom_weights is not None:
            atoms = check_atom_weights(coder.atom_weights, len(D), D)
            D = D / atoms[:, None]
        b, visible = split_missing(b)
        obs = Observation(b, observed(Dense(D), visible))
        alpha = torch.full_like(b[:, 0], coder.alpha)
        if coder.alpha_relative:
            alpha *= alpha_max(obs, positive=coder.positive)
        x = b.new_zeros(len(b), len(D))
        passes = torch.zeros(len(b), dtype=torch.long)
        limits = float(max(tol, coder.tol)), coder.max_iter, coder.positive
        if visible is None:
            descend_all(b, D, alpha.numpy(), x, passes, limits)
        else:
            descend_seen_all(obs, alpha, x, passes, limits)
        penalty = alpha * x.abs().sum(1)
        return x if atoms is None else x / atoms, penalty


def coding_of(coder: Any, n_samples: int, n_components: int) -> Any:
    """Return how a coder codes batches; n_samples counts a sample as often as it is coded."""
    fast = (
        isinstance(coder, LassoCoder)
        and coder.warm_start_from is None
        and coder.solver in ("auto", "coordinate_descent")
        and compiled_available()
        and n_components <= MAX_ATOMS
        and n_samples * n_components >= _COMPILED_FROM
        and resolve_device(coder.device, np.empty(0)).type == "cpu"
    )
    return CompiledLassoCoding(coder) if fast else CoderCoding(coder)
