"""What users give to operators and penalties: arrays of any kind, and rows of the right kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def tensor_of(value: Any, name: str, like: Tensor | None = None) -> Tensor:
    """Return numbers as a tensor; arrays that torch cannot wrap are copied.

    Parameters
    ----------
    value : array-like
        Numbers or booleans.
    name : str
        Its name, for messages.
    like : Tensor, default=None
        Of which dtype and where; its own by default, float64 where it has none.

    Returns
    -------
    Tensor
        The numbers.

    Raises
    ------
    TypeError
        If it does not hold numbers.
    """
    if isinstance(value, np.ndarray) and not (value.flags.writeable and value.dtype.isnative):
        value = np.array(value, dtype=value.dtype.newbyteorder("="))
    try:
        if like is not None:
            return torch.as_tensor(value, dtype=like.dtype, device=like.device)
        tensor = torch.as_tensor(value)
        if hasattr(value, "dtype") or not tensor.is_floating_point():
            return tensor
        # A float of Python has 53 bits, whatever the default dtype.
        return torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"{name} must hold numbers, got {type(value).__name__}: {error}"
        ) from error


def check_pictures(x: Tensor, n: int, operator: str, switch: str = "") -> Tensor:
    """Return real rows of n entries, and raise for others.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n)
        What an operator is applied to.
    n : int
        How many entries a row has.
    operator : str
        Name of the operator, for messages.
    switch : str, default=""
        What makes it take complex rows.

    Returns
    -------
    Tensor
        The rows.

    Raises
    ------
    TypeError
        If the rows are complex.
    ValueError
        If they have another length.
    """
    if x.is_complex():
        raise TypeError(
            f"{operator} takes real rows, got {x.dtype}. {switch}Pack complex rows with "
            f"pack_complex."
        )
    if x.ndim != 2 or x.shape[1] != n:
        raise ValueError(
            f"{operator} takes rows of {n} entries, shape (n_samples, {n}); got {tuple(x.shape)}."
        )
    return x
