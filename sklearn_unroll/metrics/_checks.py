"""What every metric does with its input."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import _check_sample_weight

PAIR = {"y_true": ["array-like"], "y_pred": ["array-like"], "sample_weight": ["array-like", None]}


def to_numpy(array: Any) -> Any:
    """Return a tensor as a numpy array of the host; anything else as it is."""
    torch = sys.modules.get("torch")  # where it was never imported there are no tensors
    if torch is None or not isinstance(array, torch.Tensor):
        return array
    array = array.detach().cpu()
    # numpy has no bfloat16; a complex tensor is left for check_array to refuse.
    return array.numpy() if array.is_complex() else array.double().numpy()


def check(array: Any, name: str, **options: Any) -> np.ndarray:
    array = to_numpy(array)
    if hasattr(array, "adjoint"):  # one of scipy or of the package, no array
        raise TypeError(
            f"{name} must be a matrix of shape (n_components, n_features), got the operator "
            f"{type(array).__name__}. Write it out: its rows are the signals of single codes."
        )
    return check_array(array, dtype=np.float64, input_name=name, **options)


def check_pair(y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple[np.ndarray, ...]:
    y_true = check(y_true, "y_true", ensure_2d=False, allow_nd=True)
    y_pred = check(y_pred, "y_pred", ensure_2d=False, allow_nd=True)
    check_consistent_length(y_true, y_pred)
    # One component may come as (n_samples,) or (n_samples, 1).
    y_true, y_pred = (y[:, None] if y.ndim == 1 else y for y in (y_true, y_pred))
    if y_true.shape != y_pred.shape:
        raise ValueError(
            f"y_true has shape {y_true.shape} and y_pred has shape {y_pred.shape}; "
            "they must be equal, rows are samples."
        )
    weight = to_numpy(sample_weight)
    weight = _check_sample_weight(weight, y_true, dtype=np.float64, ensure_non_negative=True)
    return y_true, y_pred, weight


def decibel(ratio: Any) -> Any:
    with np.errstate(divide="ignore"):
        return 10 * np.log10(ratio)
