"""What a fit is given, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import chain
from typing import Any, NamedTuple

import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from sklearn_unroll.functional import Observation, Operator
from sklearn_unroll.nn import Unrolled

__all__ = ["Given"]


class Given(NamedTuple):
    """What a fit was given, validated: what :meth:`~sklearn_unroll.estimators.Learned.build_network` sees.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        Observations, as the user's kind of array.
    y : array or None
        What came with them; None where nothing uses it.
    obs : Observation
        Data and operator in the units of the network.
    target : Tensor of shape (n_samples, n_components) or None
        What the network is to find, in its units.
    weight : Tensor of shape (n_samples,) or None
        Weights of the samples.
    generator : torch.Generator
        Source of first weights, on the CPU, so that they are the same on every device.
    resumes : bool
        Whether training goes on from the fitted network: what it has learned will be copied.
    fitted : dict
        Fitted attributes that follow from the data alone, such as ``dictionary_``.
    """  # noqa: E501

    X: Any
    y: Any
    obs: Observation
    target: Tensor | None
    weight: Tensor | None
    generator: torch.Generator
    resumes: bool
    fitted: dict


def any_tensor(network: Unrolled) -> Tensor:
    """Return a tensor of a network, for its dtype and device."""
    return next(chain(network.parameters(), network.buffers()))


def to_host(nested: Any) -> Any:
    """Return a value, and what dicts, lists and tuples hold, with all tensors on the CPU.

    What is there already is returned as it is, not copied.
    """
    if isinstance(nested, Tensor):
        return nested.cpu()
    if isinstance(nested, nn.Module):
        tensors = chain(nested.parameters(), nested.buffers())
        there = all(tensor.device.type == "cpu" for tensor in tensors)
        return nested if there else deepcopy(nested).cpu()
    if isinstance(nested, Operator):
        return nested.to(torch.empty(0, dtype=nested.like.dtype))
    if isinstance(nested, dict):
        return {key: to_host(value) for key, value in nested.items()}
    if isinstance(nested, (list, tuple)) and any(isinstance(v, KINDS) for v in nested):
        values = [to_host(value) for value in nested]
        return type(nested)(*values) if hasattr(nested, "_fields") else type(nested)(values)
    return nested


KINDS = (Tensor, nn.Module, Operator, dict, list, tuple)


@contextmanager
def all_or_nothing(estimator: BaseEstimator) -> Iterator[None]:
    """Put back the fitted attributes, all of them, if what runs inside does not end well."""
    # Private names of scikit-learn's callbacks are its own to clean up.
    before = fitted_state(estimator)
    try:
        yield
    except BaseException:
        for name in fitted_state(estimator):
            delattr(estimator, name)
        vars(estimator).update(before)
        raise


def fitted_state(estimator: BaseEstimator) -> dict:
    """Return the attributes that a fit sets."""
    return {name: value for name, value in vars(estimator).items() if _is_fitted(name)}


def _is_fitted(name: str) -> bool:
    return name in ("_stream", "_y_was_1d") or (name.endswith("_") and not name.startswith("_"))
