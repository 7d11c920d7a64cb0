"""Arrays of any kind in and out, and where they are computed with."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
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
        # torch knows which devices there are, by any name, and whether they hold float64.
        probe = torch.ones(1, dtype=torch.float64, device=device)
        probe.item()
        return probe.device
    except Exception as error:  # of many classes, by the device's maker
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ValueError(
            f"device={str(device)!r} cannot be used: torch {torch.__version__} says {reason!r}. "
            f"It must be there and take float64: use 'auto', 'cpu', 'cuda', 'cuda:1', or a "
            f"torch.device."
        ) from error


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
    return as_kind(tensor.to(getattr(torch, str(like.dtype).split(".")[-1])), like)


def as_kind(tensor: Tensor, like: Any) -> Any:
    """Return a tensor as an array of the namespace and device of ``like``, dtype kept."""
    if isinstance(like, Tensor):
        return tensor.to(like.device)
    array = tensor.cpu().numpy()
    if isinstance(like, np.ndarray):
        return array
    xp, _, device = get_namespace_and_device(like)
    return move_to(array, xp=xp, device=device)


def to_computed(array: Any, D: Tensor) -> Tensor:
    """Return a validated array in the dtype of the fit, and raise if it does not fit in there."""
    tensor = to_tensor(array, dtype=D.dtype, device=D.device)
    if D.dtype == torch.float32 and not bool(torch.isfinite(tensor).all()):
        raise ValueError(
            "Input contains values too large for float32, the dtype of the fit. Rescale it, or "
            "fit in float64."
        )
    return tensor


def refuse_complex(array: Any, name: str) -> None:
    """Raise for complex arrays of any namespace; scikit-learn sees only numpy's."""
    if "complex" in str(getattr(array, "dtype", "")):
        raise ValueError(
            f"Complex data not supported: {name} is complex. Give real numbers, such as rows "
            f"[Re | Im] made by sklearn_unroll.functional.pack_complex."
        )
