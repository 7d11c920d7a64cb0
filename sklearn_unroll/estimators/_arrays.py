"""Arrays of any kind in and out, and where they are computed with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.utils._array_api import (
    get_namespace_and_device,
    move_to,
    supported_float_dtypes,
)
from torch import Tensor

from sklearn_unroll.functional.rows import Rows

_USUAL = {np.dtype(np.float32): torch.float32, np.dtype(np.float64): torch.float64}


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
        if probe.device.type == "cpu" and torch.device(device).index:
            raise ValueError("there is one CPU, 'cpu'")
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
        array = array if type(array) is np.ndarray else move_to(array, xp=np, device="cpu")
        array = np.require(array, requirements=["C", "W"])
        if min(array.strides, default=0) < 0:  # one number backwards counts as contiguous
            array = array.copy()
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        array = torch.from_numpy(array)
    array = array.detach().to(device=device, dtype=dtype)
    return array.clone() if array.is_inference() else array  # others may be trained on


def to_rows(array: Any, *, dtype: torch.dtype | None, device: torch.device) -> Tensor | Rows:
    """Return a validated matrix as a tensor, or, where that would be a copy, as rows of it.

    Read-only memory maps are so read a few rows at a time.
    """
    if not isinstance(array, np.ndarray) or device.type != "cpu" or array.ndim != 2:
        return to_tensor(array, dtype=dtype, device=device)
    shared = array.flags.c_contiguous and array.flags.writeable and array.dtype.isnative
    if shared and dtype in (None, torch_dtype(array)):
        return to_tensor(array, dtype=dtype, device=device)
    usual = array.dtype.newbyteorder("=")
    kind = torch_dtype(np.empty(0, usual)) if dtype is None else dtype

    def pick(rows: Any) -> Tensor:
        rows = rows.numpy() if isinstance(rows, Tensor) else rows
        return torch.from_numpy(np.array(array[rows], dtype=usual, order="C")).to(kind)

    return Rows(pick, array.shape, torch.empty(0, dtype=kind))


def from_tensor(tensor: Tensor, like: Any) -> Any:
    """Return a tensor as an array with namespace, device and float dtype of ``like``."""
    return as_kind(narrowed(tensor, torch_dtype(like)), like)


def torch_dtype(array: Any) -> torch.dtype:
    """Return the dtype of an array of any namespace, as torch names it."""
    if isinstance(array, np.ndarray) and array.dtype in _USUAL:  # whose names take long
        return _USUAL[array.dtype]
    return getattr(torch, str(array.dtype).split(".")[-1])


def narrowed(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor in the dtype of X, and raise if it does not fit in there."""
    result = tensor.to(dtype)
    if result.dtype.itemsize < tensor.dtype.itemsize and not bool(torch.isfinite(result).all()):
        raise ValueError(
            f"Results are too large for {result.dtype}, the dtype of X. Rescale X, or give it in "
            f"float64."
        )
    return result


def check_out(out: Any, shape: tuple[int, ...], X: Any) -> Tensor:
    """Return the caller's array for results as a tensor on its memory; raise if it will not do.

    Parameters
    ----------
    out : object
        What the caller gave.
    shape : tuple of int
        Shape of the results.
    X : array
        Validated observations: results have their kind, device and dtype.
    """
    refuse_kind(out, "out")
    tensor = isinstance(X, Tensor)
    kinds = (Tensor,) if tensor else (np.ndarray, np.memmap)
    # Nothing is written where an array of a subclass would hide it, or where X is read.
    if not isinstance(X, (Tensor, np.ndarray)) or type(out) not in kinds:
        raise TypeError(
            f"out must be {'a tensor' if tensor else 'an array or a memory map of numpy'}, for X "
            f"that is {type(X).__name__}; got {type(out).__name__}. Without it results are a "
            f"new array."
        )
    wrong = [
        f"{what} {got}, not {wanted}"
        for what, got, wanted in [
            ("shape", tuple(out.shape), tuple(shape)),
            ("dtype", out.dtype, X.dtype),
            *([("device", out.device, X.device)] if tensor else []),
        ]
        if got != wanted
    ]
    if tensor:
        wrong += ["rows that are not contiguous"] * (not out.is_contiguous())
        wrong += ["numbers of torch.inference_mode()"] * out.is_inference()
        shared = out.untyped_storage().data_ptr() == X.untyped_storage().data_ptr()
    else:
        wrong += ["rows that are not contiguous"] * (not out.flags.c_contiguous)
        wrong += ["memory that is read-only"] * (not out.flags.writeable)
        wrong += ["memory that is not aligned"] * (not out.flags.aligned)
        shared = np.may_share_memory(out, X)
    if not wrong and shared and out.nbytes:
        wrong = ["memory of X, which is read while it is written"]
    if wrong:
        made = "torch.empty" if tensor else "numpy.empty, or numpy.lib.format.open_memmap"
        raise ValueError(
            f"out cannot take the results: it has {', and '.join(wrong)}. Make it with {made}, of "
            f"shape {tuple(shape)} and dtype {X.dtype}."
        )
    return out if tensor else torch.from_numpy(np.asarray(out))


def as_kind(tensor: Tensor, like: Any) -> Any:
    """Return a tensor as an array of the namespace and device of ``like``, dtype kept."""
    if isinstance(like, Tensor):
        return tensor.to(like.device)
    array = tensor.cpu().numpy()
    if isinstance(like, np.ndarray):
        return array
    xp, _, device = get_namespace_and_device(like)
    return move_to(array, xp=xp, device=device)


def refuse_kind(array: Any, name: str) -> None:
    """Raise for what holds no real numbers, or says that some of its numbers are none.

    Of any namespace; scikit-learn sees only numpy's, and takes the data of a masked array.
    """
    if type(array) is np.ndarray and array.dtype.kind == "f":
        return
    dtype = str(getattr(array, "dtype", ""))
    if "complex" in dtype:
        raise ValueError(
            f"Complex data not supported: {name} is complex. Give real numbers, such as rows "
            f"[Re | Im] made by sklearn_unroll.functional.pack_complex; pictures with "
            f"MaskedFourier(mask, complex_images=True)."
        )
    if dtype.startswith(("datetime", "timedelta", "<M8", "<m8")):
        raise ValueError(f"{name} must hold real numbers, got dates or times of dtype {dtype}.")
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise ValueError(
            f"{name} is a masked array with {int(np.ma.getmaskarray(array).sum())} masked "
            f"entries, which would be taken for numbers. Fill them, {name}.filled(...), or leave "
            f"their rows out."
        )
    if isinstance(array, Tensor):
        if array.layout != torch.strided:
            raise TypeError(
                f"{name} is a sparse tensor, but dense ones are required: {name}.to_dense()."
            )
        if array.device.type == "meta":
            raise ValueError(f"{name} is a tensor on the device 'meta', which holds no numbers.")
        if array.requires_grad:
            raise ValueError(
                f"{name} is a tensor that requires grad, and no gradient goes through an "
                f"estimator. Pass {name}.detach()."
            )


@contextmanager
def own_arithmetic() -> Iterator[None]:
    """Compute as told and where told, whatever context of torch the caller is in.

    Only what belongs to the caller's thread is changed. The default dtype does not, so that no
    line may depend on it: every tensor that is made says its dtype.
    """
    usual = torch.get_default_device()
    with torch.inference_mode(False), ExitStack() as stack:
        if usual.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for kind in {"cpu", usual.type, "cuda"}:
            if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield
