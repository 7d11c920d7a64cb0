"""What a diagnostic of training examines: a network, observations and codes, in float64."""

from __future__ import annotations

from copy import deepcopy
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.nn import Unrolled


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


def examine(estimator: Any, X: Any, y: Any = None) -> Subject:
    """Return what to examine of a fitted estimator, or of a network with an Observation.

    Estimators that rescale data or codes inside are examined in the units of their network.
    """
    network = estimator if isinstance(estimator, Unrolled) else _network(estimator)
    network = deepcopy(network)
    device = next(chain(network.parameters(), network.buffers())).device
    obs = X if isinstance(X, Observation) else _observe(estimator, X, device)
    b = obs.b.detach().double()
    network, obs = network.double(), Observation(b, obs.A.to(b))
    if not len(obs.b):
        raise ValueError("X has no samples.")
    codes = None if y is None else _codes(y, obs)
    if not isinstance(X, Observation) and hasattr(estimator, "_units"):
        units = estimator._units(obs)
        obs = units.inside(obs)
        codes = None if codes is None else units.enter(codes)
    return Subject(network.requires_grad_(True), obs, codes)


def examine_trainable(estimator: Any, X: Any, y: Any = None) -> Subject:
    """Return what to examine, and raise if there is nothing to learn."""
    subject = examine(estimator, X, y)
    if not subject.n_parameters:
        raise ValueError("The network has no parameters: there is nothing to train or examine.")
    return subject


def _network(estimator: Any) -> Unrolled:
    network = getattr(estimator, "network_", None)
    if not isinstance(network, Unrolled):
        raise TypeError(
            f"A fitted estimator with an Unrolled network_ is needed, or an Unrolled network; got "
            f"{type(estimator).__name__}. An estimator that is not fitted can be examined where "
            f"its training would begin: see sklearn_unroll.theory.untrained."
        )
    return network


def _observe(estimator: Any, X: Any, device: torch.device) -> Observation:
    A, D = getattr(estimator, "operator_", None), getattr(estimator, "dictionary_", None)
    if A is None and D is None:
        raise TypeError(
            f"{type(estimator).__name__} has no dictionary_ to make an observation with. Pass "
            f"Observation(X, Dense(dictionary)) in place of X."
        )
    A = Dense(to_double(D, "dictionary_", device)) if A is None else A
    b = to_double(X, "X", device)
    if b.ndim != 2 or b.shape[1] != A.n_features:
        raise ValueError(
            f"X must have shape (n_samples, {A.n_features}), as the dictionary has {A.n_features} "
            f"features; got shape {tuple(b.shape)}."
        )
    return Observation(b, A.to(b))


def _codes(y: Any, obs: Observation) -> Tensor:
    codes = to_double(y, "y", obs.b.device)
    codes = codes[:, None] if codes.ndim == 1 else codes
    expected = (len(obs.b), obs.A.n_components)
    if tuple(codes.shape) != expected:
        raise ValueError(f"y must hold codes of shape {expected}, got {tuple(codes.shape)}.")
    return codes


def to_double(array: Any, name: str, device: torch.device) -> Tensor:
    """Return an array of any kind as a finite float64 tensor on a device."""
    if isinstance(array, Tensor):
        tensor = array.detach()
    elif hasattr(array, "__dlpack__") and not isinstance(array, np.ndarray):
        tensor = torch.from_dlpack(array)
    else:
        tensor = torch.tensor(np.asarray(array, dtype=np.float64))
    tensor = tensor.to(device, torch.float64)
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"{name} contains NaN or infinity.")
    return tensor
