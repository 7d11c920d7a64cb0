"""What a fit is given, and what it leaves behind."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import wraps
from itertools import chain
from typing import Any, NamedTuple

import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from sklearn_unroll.estimators._arrays import own_arithmetic
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
        Data and operator in the units of the network. Data may be rows that are made when they
        are asked for: ``obs.take(slice(2000))`` and ``obs.chunks()`` hold tensors.
    target : Tensor or Rows of shape (n_samples, n_components) or None
        What the network is to find, in its units; ``target[rows]`` is a tensor.
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


def twin(estimator: BaseEstimator) -> Any:
    """Return another estimator with the attributes that this one has now, not copied.

    What it is fitted to, or what a thread fits the first one to meanwhile, the other does not see.
    """
    other = object.__new__(type(estimator))
    vars(other).update(vars(estimator))
    return other


class Fitting:
    """Fits a twin; the estimator gets what that has changed in one step, if all ends well.

    So an interrupt at any place, and another thread, find it as it was or as it will be.

    Parameters
    ----------
    estimator : estimator
        To be fitted.
    """

    def __init__(self, estimator: BaseEstimator) -> None:
        self.estimator, self.before = estimator, dict(vars(estimator))
        self.work = twin(estimator)

    def __enter__(self) -> Fitting:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is not None:
            return
        changed = self.changes()
        gone = self.before.keys() - vars(self.work).keys()
        now = vars(self.estimator)
        # Not name by name: one assignment cannot be interrupted.
        self.estimator.__dict__ = {k: v for k, v in now.items() if k not in gone} | changed

    def changes(self) -> dict:
        """Return the attributes that the fit has set so far."""
        missing = object()
        now = vars(self.work).items()
        return {name: v for name, v in now if self.before.get(name, missing) is not v}


def fitted_state(estimator: BaseEstimator) -> dict:
    """Return the attributes that a fit sets."""
    return {name: value for name, value in vars(estimator).items() if _is_fitted(name)}


def _is_fitted(name: str) -> bool:
    return name in ("_stream", "_y_was_1d") or (name.endswith("_") and not name.startswith("_"))


@contextmanager
def kept_if_refused(estimator: BaseEstimator) -> Iterator[None]:
    """Put back all parameters, also of nested objects, if what runs inside does not end well."""
    values = [estimator, *estimator.get_params().values()]
    owners = [v for v in values if isinstance(v, BaseEstimator)]
    before = [dict(vars(owner)) for owner in owners]
    try:
        yield
    except BaseException:
        for owner, attributes in zip(owners, before, strict=True):
            owner.__dict__ = attributes
        raise


def as_fitted(method: Callable) -> Callable:
    """Let a method work on a twin of its estimator, and compute as told.

    So one call sees one fit, whatever another thread does to the estimator meanwhile.
    """
    if inspect.isgeneratorfunction(method):

        @wraps(method)
        def staged(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
            stages = method(twin(self), *args, **kwargs)
            while True:
                # Of the caller's thread, who has it back between two stages.
                with own_arithmetic(), torch.no_grad():
                    try:
                        stage = next(stages)
                    except StopIteration:
                        return
                yield stage

        return staged

    @wraps(method)
    def whole(self: Any, *args: Any, **kwargs: Any) -> Any:
        with own_arithmetic(), torch.no_grad():
            return method(twin(self), *args, **kwargs)

    return whole
