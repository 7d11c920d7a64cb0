"""Learned optimisers without structure, to compare Math-L2O with: L2O-DM and RNNprop."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import elu

from sklearn_unroll.functional import Composite
from sklearn_unroll.nn.base import Unrolled, UnrolledLayer
from sklearn_unroll.nn.coordinate import CoordinateLSTM, CoordinateNetwork

__all__ = ["FreeUpdateLayer", "FreeUpdateState", "l2o_dm", "rnnprop"]

_EPS = 1e-8  # added to the root of the mean square


class FreeUpdateState(NamedTuple):
    """The state of an optimiser that adds what its network says.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        The iterate.
    memory : tuple of Tensor
        What the network remembers of each coordinate.
    mean, square : Tensor of shape (n_samples, n_components)
        Averages of the subgradient and of its square.
    weight : Tensor of shape (n_samples, 1)
        Weight of all subgradients so far in these averages.
    """

    x: Tensor
    memory: Any
    mean: Tensor
    square: Tensor
    weight: Tensor


class FreeUpdateLayer(UnrolledLayer):
    """``x+ = x + 0.1 d``: the direction d is the output of a network, whatever it may be.

    Parameters
    ----------
    network : CoordinateNetwork
        With two features and one output.
    kind : {"l2o_dm", "rnnprop"}
        It sees subgradient and point, and d is an ELU of its output (Andrychowicz et al. 2016, as
        compared with by Liu et al. 2023); or it sees the subgradient and its mean, both over the
        root of the mean square, and d is a hyperbolic tangent (Lv, Jiang and Li 2017).
    beta : float, default=0.95
        Decay of the averages.
    """

    # NOTE[DIFF]: in the compared code the first layer of RNNprop is a dense one with ELU; here
    # both networks are the LSTM with a dense layer after it that Math-L2O has.

    def __init__(self, network: CoordinateNetwork, kind: str, beta: float = 0.95) -> None:
        super().__init__()
        self.network, self.kind, self.beta = network, kind, beta

    def init(self, obs: Composite) -> FreeUpdateState:
        """Return the problem's start and an empty memory."""
        x = obs.first()
        none = torch.zeros_like(x)
        memory = self.network.first(x, None)
        return FreeUpdateState(x, memory, none, none, x.new_zeros(len(x), 1))

    def forward(self, state: FreeUpdateState, obs: Composite) -> FreeUpdateState:
        """Run one iteration."""
        x = state.x
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(obs.R.value(point).sum(), point)
        with torch.no_grad():
            g = obs.gradient(x) + slope
            mean = torch.lerp(g, state.mean, self.beta)
            square = torch.lerp(g.square(), state.square, self.beta)
            weight = self.beta * state.weight + 1 - self.beta
            seen = torch.stack([g, x])
            if self.kind == "rnnprop":
                root = (square / weight).sqrt() + _EPS
                seen = torch.stack([g / root, mean / weight / root])
        like = self.network.heads.out
        out, memory = self.network(seen.to(like.dtype).flatten(1), state.memory)
        out = out.to(x.dtype).view_as(x)
        d = elu(out) if self.kind == "l2o_dm" else torch.tanh(out)
        return FreeUpdateState(x + 0.1 * d, memory, mean, square, weight)

    def resume(
        self, state: FreeUpdateState, x: Tensor, wrong: Tensor, lost: Tensor
    ) -> FreeUpdateState:
        """Return the state with other iterates."""
        return state._replace(x=x)

    def readout(self, state: FreeUpdateState) -> Tensor:
        """Return the iterate."""
        return state.x

    def with_iterate(self, state: FreeUpdateState, x: Tensor) -> FreeUpdateState:
        """Return the state with another iterate."""
        return state._replace(x=x)


def _recipe(kind: str, like: Tensor, n_layers: int, hidden_size: int, generator: torch.Generator):
    network = CoordinateLSTM(
        2, 1, hidden_size=hidden_size, n_layers=2, zero=False, like=like, generator=generator
    )
    return Unrolled([FreeUpdateLayer(network, kind)] * n_layers)


def l2o_dm(
    like: Tensor, *, n_layers: int = 60, hidden_size: int = 20, generator: torch.Generator
) -> Unrolled:
    """Assemble L2O-DM: an LSTM turns subgradient and point of a coordinate into its update.

    Andrychowicz et al. 2016, "Learning to learn by gradient descent by gradient descent". Give
    penalties that are finite everywhere.

    Parameters
    ----------
    like : Tensor
        Sets dtype and device of the parameters.
    n_layers : int, default=60
        Number of iterations to unroll.
    hidden_size : int, default=20
        Size of the LSTM's two layers.
    generator : torch.Generator
        Source of the first parameters.

    Returns
    -------
    Unrolled
        The network.
    """
    return _recipe("l2o_dm", like, n_layers, hidden_size, generator)


def rnnprop(
    like: Tensor, *, n_layers: int = 60, hidden_size: int = 20, generator: torch.Generator
) -> Unrolled:
    """Assemble RNNprop: an LSTM sees the directions of Adam and RMSprop, and bounds its steps.

    Lv, Jiang and Li 2017, "Learning gradient descent: better generalization and longer horizons".
    Give penalties that are finite everywhere.

    Parameters
    ----------
    like : Tensor
        Sets dtype and device of the parameters.
    n_layers : int, default=60
        Number of iterations to unroll.
    hidden_size : int, default=20
        Size of the LSTM's two layers.
    generator : torch.Generator
        Source of the first parameters.

    Returns
    -------
    Unrolled
        The network.
    """
    return _recipe("rnnprop", like, n_layers, hidden_size, generator)
