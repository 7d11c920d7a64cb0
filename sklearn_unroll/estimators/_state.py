"""What a fit is given, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, NamedTuple

from sklearn.base import BaseEstimator
from torch import Tensor

from sklearn_unroll.functional import Observation
from sklearn_unroll.nn import Unrolled


class Given(NamedTuple):
    """What fit was given, validated: for callbacks as arrays, for training as tensors.

    ``D`` is the user's, None where every sample has its own; ``obs`` and ``codes`` are in the
    units of the network.
    """

    X: Any
    y: Any
    D: Tensor | None
    obs: Observation
    codes: Tensor | None
    weight: Tensor | None


def any_tensor(network: Unrolled) -> Tensor:
    """Return a tensor of a network, for its dtype and device."""
    return next(chain(network.parameters(), network.buffers()))


@contextmanager
def all_or_nothing(estimator: BaseEstimator) -> Iterator[None]:
    """Put back the fitted attributes, all of them, if what runs inside does not end well."""
    # Private names of scikit-learn's callbacks are its own to clean up.
    before = {k: v for k, v in vars(estimator).items() if _is_fitted_state(k)}
    try:
        yield
    except BaseException:
        for name in [k for k in vars(estimator) if _is_fitted_state(k)]:
            delattr(estimator, name)
        vars(estimator).update(before)
        raise


def _is_fitted_state(name: str) -> bool:
    return name in ("_stream", "_y_was_1d") or (name.endswith("_") and not name.startswith("_"))
