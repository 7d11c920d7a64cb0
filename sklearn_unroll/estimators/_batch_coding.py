"""Codes of one batch after another, over a dictionary that moves between them."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from sklearn_unroll.estimators._arrays import resolve_device
from sklearn_unroll.estimators._bounded_coding import bound_of, goal_of
from sklearn_unroll.estimators._lasso_coder import LassoCoder
from sklearn_unroll.estimators._lasso_codes import check_atom_weights
from sklearn_unroll.estimators._learned import Learned
from sklearn_unroll.estimators._missing import observed, split_missing
from sklearn_unroll.estimators._network_coding import NetworkCoding, check_layers, check_network
from sklearn_unroll.estimators._online import Coded, Coding
from sklearn_unroll.functional import Dense, Observation, alpha_max
from sklearn_unroll.functional._alone import alone, n_threads
from sklearn_unroll.functional._compiled import compiled_available
from sklearn_unroll.solvers.coordinate import MAX_ATOMS, descend_all, descend_roughly
from sklearn_unroll.solvers.masked import descend_seen_all

_ROUGH_FROM, _SMALL = 1e-4, 1e-6  # tolerance, and size of atoms, from which on float32 will do
_RANGE = 1e25  # of signals, and of alpha, for which it has the room
_COMPILED_FROM = 2**18  # numbers in all codes, for which numba is loaded (0.4 s)
_SHARED_FROM = 2e-3  # seconds of one thread, from which on several pay


class CoderCoding(Coding):
    """Codes by any coder, fitted anew for every batch.

    Parameters
    ----------
    coder : estimator
        What codes; its dictionary is set.
    """

    def __call__(self, b: Tensor, D: Tensor, tol: float) -> Coded:
        """Return codes and their penalties; the coder has a tolerance of its own."""
        X = b.numpy()
        with warnings.catch_warnings():
            # On the way to a dictionary codes need not be exact.
            warnings.simplefilter("ignore", ConvergenceWarning)
            coder = self.derived(D.numpy(), X)
            codes = torch.from_numpy(coder.transform(X))
        return Coded(codes, coder.problem(X).R.value(codes.to(coder.compute_like(X))))


class BoundedCoding(Coding):
    """Codes by a coder that meets a bound, judged by what it makes least.

    Parameters
    ----------
    coder : LassoCoder or OMPCoder
        With an error, an l1 norm or a tolerance.
    """

    def __call__(self, b: Tensor, D: Tensor, tol: float) -> Coded:
        """Return codes and what they cost; the coder has a tolerance of its own."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            goal = goal_of(self.derived(D.numpy(), b.numpy()), b.numpy())
        return Coded(goal.codes, torch.zeros_like(goal.value), cost=goal.relative())


class CompiledLassoCoding(Coding):
    """Codes of a :class:`LassoCoder` by compiled coordinate descent, without its checks.

    Parameters
    ----------
    coder : LassoCoder
        Says alpha, and the constraints on codes.
    """

    compiles = True

    def __init__(self, coder: LassoCoder) -> None:
        super().__init__(coder)
        self.seconds = 0.0  # of one thread, for the last batch

    def calm(self) -> AbstractContextManager[None]:
        """Keep torch to one thread: only the compiled loops have enough to share out."""
        return alone()

    def __call__(self, b: Tensor, D: Tensor, tol: float) -> Coded:
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
        limits = float(max(tol, coder.tol)), coder.max_iter, coder.positive
        if visible is None:
            x = self.descended(b, D, alpha, limits)
        else:
            x, passes = b.new_zeros(len(b), len(D)), torch.zeros(len(b), dtype=torch.long)
            descend_seen_all(obs, alpha, x, passes, limits)
        penalty = alpha * x.abs().sum(1)
        return Coded(x if atoms is None else x / atoms, penalty)

    def descended(self, b: Tensor, D: Tensor, alpha: Tensor, limits: tuple) -> Tensor:
        """Return codes, in float32 where the tolerance is far from its digits, and all fits in."""
        rough = (
            limits[0] >= _ROUGH_FROM
            and float(D.abs().max()) > _SMALL
            and float(alpha.min()) > 1 / _RANGE
            and float(b.abs().max()) < _RANGE
        )
        # Codes are the same bits in any number of threads, so that a clock may choose it.
        start, lone = perf_counter(), self.seconds < _SHARED_FROM
        if rough:
            x = descend_roughly(b, D, alpha.numpy(), limits, lone)
        else:
            x, passes = b.new_zeros(len(b), len(D)), torch.zeros(len(b), dtype=torch.long)
            descend_all(b, D, alpha.numpy(), x, passes, limits, alone=lone)
        self.seconds = (perf_counter() - start) * (1 if lone else n_threads())
        return x


def coding_of(
    coder: Any, fitted: Any, batch_size: int, n_samples: int, D: Tensor, truncate: int = 0
) -> Any:
    """Return how a coder codes batches.

    Parameters
    ----------
    coder : estimator
        Without a dictionary.
    fitted : estimator or None
        The coder of the last fit, where learning goes on.
    batch_size, n_samples : int
        Samples of a batch, and of all: one counts as often as it is coded.
    D : Tensor of shape (n_components, n_features)
        The first dictionary.
    truncate : int, default=0
        Last layers of a network through which the derivative by the dictionary goes.
    """
    if truncate:
        check_layers(coder, truncate)
    if isinstance(coder, Learned):
        check_network(coder, *D.shape)
        return NetworkCoding(coder, fitted, batch_size, truncate)
    if bound_of(coder) is not None:
        return BoundedCoding(coder)
    fast = (
        isinstance(coder, LassoCoder)
        and coder.warm_start_from is None
        and coder.l2 == 0 < coder.alpha
        and coder.solver in ("auto", "coordinate_descent")
        and compiled_available()
        and len(D) <= MAX_ATOMS
        and n_samples * len(D) >= _COMPILED_FROM
        and resolve_device(coder.device, np.empty(0)).type == "cpu"
    )
    return CompiledLassoCoding(coder) if fast else CoderCoding(coder)
