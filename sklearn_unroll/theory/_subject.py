"""What a diagnostic examines: a network, observations and codes, in float64."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import Composite, Observation
from sklearn_unroll.nn import Unrolled

GIVEN = (Observation, Composite)


@runtime_checkable
class Fitted(Protocol):
    """What theory asks of an estimator: its network, data as that sees them, its problem."""

    network_: Unrolled

    def observe(self, X: Any, y: Any = None, *, dtype: Any = None, **metadata: Any) -> tuple: ...

    def problem(self, X: Any, *, alpha: Any = None, **metadata: Any) -> Composite: ...


@runtime_checkable
class Trained(Fitted, Protocol):
    """An estimator that says how it was trained."""

    trainer_: Any


class Subject(NamedTuple):
    """A copy of the network in float64, and the data in the network's units."""

    network: Unrolled
    obs: Observation
    y: Tensor | None

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The parameters by name, detached; tied ones once."""
        return {name: p.detach() for name, p in self.network.named_parameters()}

    @property
    def n_parameters(self) -> int:
        """P, how many numbers can be learned."""
        return sum(p.numel() for p in self.network.parameters())

    @property
    def n_outputs(self) -> int:
        """``m T``, how many numbers are to be fitted."""
        return len(self.obs.b) * self.obs.A.n_components


def examine(estimator: Any, X: Any, y: Any = None, **metadata: Any) -> Subject:
    """Return what to examine of a fitted estimator, or of a network with an Observation.

    Estimators that rescale data or codes inside are examined in the units of their network.
    """
    network = network_of(estimator)
    if isinstance(X, GIVEN):
        b = to_double(X.b, "X", X.b.device)
        obs = X._replace(b=b, A=X.A.to(b))
        if not len(b):
            raise ValueError("X has no samples.")
        codes = None if y is None else _codes(y, obs)
    elif network is estimator:
        raise TypeError(
            f"A network has no operator to make an observation with. Pass "
            f"Observation(X, Dense(dictionary)) in place of X, a {type(X).__name__}."
        )
    else:
        obs, codes = estimator.observe(X, y, dtype=torch.float64, **metadata)
    return Subject(deepcopy(network).double().requires_grad_(True), obs, codes)


def examine_trainable(estimator: Any, X: Any, y: Any = None) -> Subject:
    """Return what to examine, and raise if there is nothing to learn."""
    subject = examine(estimator, X, y)
    if not subject.n_parameters:
        raise ValueError("The network has no parameters: there is nothing to train or examine.")
    return subject


def network_of(estimator: Any) -> Unrolled:
    """Return the network of a fitted estimator, or the network that was given."""
    if isinstance(estimator, Unrolled):
        return estimator
    if isinstance(estimator, Fitted):
        return estimator.network_
    raise TypeError(
        f"A fitted estimator with an Unrolled network_ is needed, or an Unrolled network; got "
        f"{type(estimator).__name__}. An estimator that is not fitted can be examined where "
        f"its training would begin: see sklearn_unroll.theory.untrained."
    )


def leaving(estimator: Any, X: Any, shape: tuple[int, ...], **metadata: Any) -> Callable:
    """Return what maps the network's codes to the user's units, in which they have a shape.

    Units are an affine map of every entry, which the codes zero and one tell.
    """
    if isinstance(X, GIVEN):
        return lambda x: x
    codes = np.zeros(shape), np.ones(shape)
    zero, one = (estimator.observe(X, y, dtype=torch.float64, **metadata)[1] for y in codes)
    return lambda x: (x - zero) / (one - zero)


def _codes(y: Any, obs: Observation) -> Tensor:
    codes = to_double(y, "y", obs.b.device)
    codes = codes[:, None] if codes.ndim == 1 else codes
    expected = (len(obs.b), obs.A.n_components)
    if tuple(codes.shape) != expected:
        raise ValueError(f"y must hold codes of shape {expected}, got {tuple(codes.shape)}.")
    return codes


def to_double(array: Any, name: str, device: torch.device) -> Tensor:
    """Return an array as a finite float64 tensor on a device."""
    if not isinstance(array, Tensor):
        array = torch.tensor(np.asarray(array, dtype=np.float64))
    tensor = array.detach().to(device, torch.float64)
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"{name} contains NaN or infinity.")
    return tensor
