"""Coders that meet a bound: what they make least, by which a dictionary is judged.

With an error to be met codes are small, or few, and a better dictionary makes them smaller:
their objective at the alpha that was found says nothing of it, nor do their residuals.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.estimators._arrays import to_tensor
from sklearn_unroll.estimators._lasso_coder import LassoCoder
from sklearn_unroll.estimators._lasso_codes import check_atom_weights
from sklearn_unroll.estimators._omp_coder import OMPCoder

_LEAST = 1e-12  # of the energy of signals: a tolerance of zero is no less


class Goal(NamedTuple):
    """Codes that meet a bound, and what is made least of every sample.

    Parameters
    ----------
    codes : Tensor of shape (n_samples, n_components)
        Codes.
    value : Tensor of shape (n_samples,)
        With an error their l1 norm, with a tolerance the number of atoms, or groups of them;
        with an l1 norm half the squared error.
    size : Tensor of shape ()
        What the value is compared with: norms of signals, their features, half their energy.
    missed : Tensor of shape (n_samples,)
        By how much the squared error exceeds the bound, relative to it.
    """

    codes: Tensor
    value: Tensor
    size: Tensor
    missed: Tensor

    def relative(self) -> Tensor:
        """Return one number for each sample, which smaller is better."""
        return self.value / torch.where(self.size > 0, self.size, 1.0) + self.missed


def bound_of(coder: Any) -> str | None:
    """Return the name of the bound that a coder meets; None where it has none."""
    names: tuple[str, ...] = ()
    if isinstance(coder, LassoCoder):
        names = ("error", "l1_radius")
    elif isinstance(coder, OMPCoder):
        names = ("tol",)
    return next((name for name in names if getattr(coder, name) is not None), None)


def goal_of(coder: Any, X: Any) -> Goal:
    """Return the codes of signals by a fitted coder that meets a bound, and what they are for."""
    name, found = bound_of(coder), coder.solve(X)
    kind = {"dtype": torch.float64, "device": torch.device("cpu")}
    codes, b, D = (to_tensor(array, **kind) for array in (found.codes, X, coder.dictionary_))
    seen = ~torch.isnan(b)
    b = torch.where(seen, b, 0)
    energy = b.square().sum(1)
    left = torch.where(seen, b - codes @ D, 0).square().sum(1)
    if name == "l1_radius":
        return Goal(codes, 0.5 * left, 0.5 * energy.mean(), torch.zeros_like(left))
    bound = max(float(getattr(coder, name)), _LEAST * float(energy.mean()))
    missed = (left - bound).clamp_min(0) / (bound if bound > 0 else 1.0)
    if name == "tol":
        value, size = to_tensor(found.n_nonzero, **kind), seen.sum(1).double().mean()
        return Goal(codes, value, size, missed)
    weights = torch.ones_like(D[:, 0])
    if coder.atom_weights is not None:
        weights = check_atom_weights(coder.atom_weights, len(D), D)
    return Goal(codes, codes.abs() @ weights, energy.sqrt().mean(), missed)
