"""What the public solvers refuse, and how alpha and step are brought into shape."""

from __future__ import annotations

import math
from numbers import Real

import torch
from torch import Tensor

from sklearn_unroll.functional import Dense, Observation, Operator


def check_observation(obs: Observation) -> None:
    """Raise unless data and operator are tensors that fit each other."""
    b, D = obs.b, obs.A.D if isinstance(obs.A, Dense) else None
    if not isinstance(b, Tensor) or (D is not None and not isinstance(D, Tensor)):
        raise TypeError(
            f"obs must hold torch tensors, got b of type {type(b).__name__}"
            + ("" if D is None else f" and a dictionary of type {type(D).__name__}")
            + ". Convert with torch.from_numpy."
        )
    if b.ndim != 2:
        raise ValueError(f"b must be 2-dimensional (n_samples, n_features), got {tuple(b.shape)}.")
    if not len(b):
        raise ValueError("Got an empty batch: b has no rows. Pass at least one observation.")
    if b.shape[1] != obs.A.n_features:
        hint = " It looks transposed." if b.shape[1] == obs.A.n_components else ""
        raise ValueError(
            f"b has {b.shape[1]} features, but the operator gives {obs.A.n_features}; rows of a "
            f"dictionary are atoms.{hint}"
        )
    if D is not None and (D.dtype != b.dtype or D.device != b.device):
        raise ValueError(
            f"b ({b.dtype}, {b.device}) and dictionary ({D.dtype}, {D.device}) must have the "
            f"same dtype and device."
        )
    if D is not None and D.ndim == 3 and len(D) != len(b):
        raise ValueError(f"{len(D)} dictionaries do not fit {len(b)} observations.")
    if not bool(torch.isfinite(b).all()) or (D is not None and not bool(torch.isfinite(D).all())):
        raise ValueError("b or the dictionary contains NaN or infinity.")


def check_codes(x: Tensor, obs: Observation, name: str = "x0", finite: bool = True) -> Tensor:
    """Return codes of observations; raise unless they are (finite) numbers of their shape."""
    shape = (len(obs.b), obs.A.n_components)
    if not isinstance(x, Tensor) or x.is_complex() or tuple(x.shape) != shape:
        given = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(
            f"{name} must be a real tensor of codes, of shape {shape}, one row for each sample; "
            f"got {given}."
        )
    if finite and not bool(torch.isfinite(x).all()):
        raise ValueError(f"{name} contains NaN or infinity.")
    return x if x.is_floating_point() else x.to(obs.b)


def check_dense(solver: str, A: Operator) -> None:
    """Raise unless there are atoms to solve on."""
    if not isinstance(A, Dense):
        raise TypeError(
            f"{solver} needs the atoms themselves, so a Dense operator; got {type(A).__name__}."
        )


def check_positive(name: str, value: Tensor | float, obs: Observation) -> Tensor | float:
    """Return a positive number, or a tensor of shape (n_samples,); raise for anything else."""
    n = len(obs.b)
    if isinstance(value, Real):
        value = float(value)  # fractions, too
        valid = math.isfinite(value) and value > 0
    elif isinstance(value, Tensor):
        if value.numel() == 1:
            value = value.reshape(())
        elif value.shape == (n, 1):
            value = value[:, 0]
        valid = not value.is_complex() and value.shape in ((), (n,))
        valid = valid and bool(((value > 0) & torch.isfinite(value)).all())
        value = value.to(obs.b) if valid else value
    else:
        valid = False
    if not valid:
        raise ValueError(
            f"{name} must be positive and finite, one number or a tensor of shape ({n},); got "
            f"{value!r}."
        )
    return value
