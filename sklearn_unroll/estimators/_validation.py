"""Everything that enters or leaves an estimator passes here: arrays, dictionary, device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.utils import check_array
from sklearn.utils._array_api import (
    get_namespace_and_device,
    move_to,
    supported_float_dtypes,
)
from torch import Tensor


def float_dtypes(array: Any) -> list:
    """Return the float dtypes to keep, in the array's own namespace; others become the first."""
    xp, _, device = get_namespace_and_device(array)
    half = getattr(xp, "float16", None)  # too coarse to train in
    return [dtype for dtype in supported_float_dtypes(xp, device) if dtype != half]


def resolve_device(device: str | torch.device, X: Any) -> torch.device:
    """Return where to compute: ``"auto"`` is where a tensor lives, else a GPU if there is one."""
    if isinstance(device, str) and device == "auto":
        if isinstance(X, Tensor):
            return X.device
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device={device!r} is not known. Use 'auto', 'cpu', 'cuda', 'cuda:1', 'mps', or a "
            f"torch.device."
        ) from error
    missing = (
        (chosen.type == "cuda" and not torch.cuda.is_available())
        or (chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count())
        or (chosen.type == "mps" and not torch.backends.mps.is_available())
    )
    if missing:
        raise ValueError(
            f"device={str(chosen)!r} was asked for, but torch {torch.__version__} sees no such "
            f"device here. Use device='auto' or device='cpu'."
        )
    return chosen


def to_tensor(array: Any, *, dtype: torch.dtype | None, device: torch.device) -> Tensor:
    """Return a validated array of any namespace as a tensor; tensors stay on their device."""
    if not isinstance(array, Tensor):
        # A copy only of what torch cannot wrap (read-only maps, negative strides); the package
        # never writes to it.
        array = np.require(move_to(array, xp=np, device="cpu"), requirements=["C", "W"])
        array = torch.from_numpy(array)
    return array.detach().to(device=device, dtype=dtype)


def from_tensor(tensor: Tensor, like: Any) -> Any:
    """Return a tensor as an array with namespace, device and float dtype of ``like``."""
    if isinstance(like, Tensor):
        return tensor.to(device=like.device, dtype=like.dtype)
    xp, _, device = get_namespace_and_device(like)
    array = tensor.cpu().numpy().astype(np.dtype(str(like.dtype).split(".")[-1]), copy=False)
    return array if isinstance(like, np.ndarray) else move_to(array, xp=xp, device=device)


def check_dictionary(dictionary: Any, n_features: int, dtype: torch.dtype, device) -> Tensor:
    """Return a user's dictionary as a tensor of shape (n_components, n_features)."""
    if isinstance(dictionary, Tensor):
        D = dictionary.detach()
        if D.is_complex():
            raise ValueError("Complex data not supported: dictionary is a complex tensor.")
        if D.ndim != 2:
            raise ValueError(
                f"dictionary must have 2 dimensions (n_components, n_features), got {D.ndim}."
            )
        if not bool(torch.isfinite(D).all()):
            raise ValueError("Input dictionary contains NaN or infinity.")
    else:
        D = check_array(dictionary, dtype=float_dtypes(dictionary), input_name="dictionary")
    D = to_tensor(D, dtype=dtype, device=device)
    if D.shape[1] != n_features:
        hint = (
            " It looks transposed: rows must be atoms, so pass dictionary.T."
            if D.shape[0] == n_features
            else ""
        )
        raise ValueError(
            f"dictionary has shape {tuple(D.shape)}, but X has {n_features} features; expected "
            f"shape (n_components, {n_features}).{hint}"
        )
    zero = torch.nonzero((D == 0).all(1)).flatten().tolist()
    if zero:
        raise ValueError(
            f"dictionary has {len(zero)} zero atom(s), at rows {zero[:5]}"
            f"{'...' if len(zero) > 5 else ''}: no code can use them. Remove these rows."
        )
    return D


def check_codes_match(y: Tensor, D: Tensor) -> None:
    """Raise unless codes and dictionary have the same number of components."""
    if y.shape[1] != D.shape[0]:
        raise ValueError(
            f"y has {y.shape[1]} components per sample, but the dictionary has {D.shape[0]} "
            f"atoms (shape {tuple(D.shape)}). y holds the codes, of shape (n_samples, "
            f"n_components), with X ~ y @ dictionary. If y are labels for a later step of a "
            f"Pipeline, use trainer=Trainer(objective='lasso'), which ignores them."
        )


def estimate_dictionary(X: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Return the ridge estimate of D in ``X ~ y D``, on the data's device, in float64.

    The ridge is 1e-6 of the mean squared activity: it only matters for atoms whose activity
    the pairs cannot tell apart. Atoms that are never active come out as zero.
    """
    # Own line of algebra instead of sklearn's Ridge: it keeps data on their device.
    codes, signals = y.double(), X.double()
    weighted = codes if weight is None else codes * weight.double()[:, None]
    gram = weighted.T @ codes
    ridge = 1e-6 * gram.diagonal().mean()
    if not ridge > 0:
        raise ValueError(
            "y is all zero: no dictionary can be estimated from it. Pass dictionary=..., or "
            "pairs with active codes."
        )
    gram.diagonal().add_(ridge)
    return torch.linalg.solve(gram, weighted.T @ signals).to(X.dtype)
