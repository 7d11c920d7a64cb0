"""Small networks that see one coordinate at a time; coordinates share the weights.

Features, states and outputs have shape (n, n_rows), where n_rows counts the coordinates of all
samples: the gates of an LSTM then lie in one piece each, and all coordinates are two products.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["CoordinateLSTM", "CoordinateMLP", "CoordinateNetwork"]


class CoordinateNetwork(nn.Module, ABC):
    """From features of coordinates, and what it remembers of them, to a few numbers for each."""

    n_outputs: int

    @abstractmethod
    def forward(self, features: Tensor, memory: Any) -> tuple[Tensor, Any]:
        """Return outputs and memory.

        Parameters
        ----------
        features : Tensor of shape (n_features, n_rows)
            What is known of each coordinate.
        memory : tuple of Tensor
            What the last call returned; the value of ``first`` before any.

        Returns
        -------
        tuple of (Tensor of shape (n_outputs, n_rows), tuple of Tensor)
            Outputs and memory. Without gradients the memory may be overwritten by the next call.
        """

    @abstractmethod
    def first(self, x: Tensor, generator: torch.Generator | None) -> Any:
        """Return the memory before any call.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_components)
            The first iterate, each entry a coordinate; sets shape and device.
        generator : torch.Generator or None
            Source of a normal first state, the same for every sample; None for zeros.

        Returns
        -------
        tuple of Tensor
            The memory.
        """


def draw_uniform(like: Tensor, bound: float, generator: torch.Generator) -> Tensor:
    """Return uniform numbers in [-bound, bound], the same on every device."""
    values = torch.empty(like.shape, dtype=like.dtype, device=generator.device)
    return values.uniform_(-bound, bound, generator=generator).to(like.device)


def _uniform(shape: tuple[int, ...], fan: int, like: Tensor, generator: torch.Generator):
    return nn.Parameter(draw_uniform(like.new_empty(shape), 1 / math.sqrt(fan), generator))


class _Heads(nn.Module):
    """A dense layer with ReLU and one linear output for each number; zero at the start or not."""

    def __init__(
        self, hidden_size: int, n_outputs: int, zero: bool, like: Tensor, generator
    ) -> None:
        super().__init__()
        self.weight = _uniform((hidden_size, hidden_size), hidden_size, like, generator)
        self.bias = _uniform((hidden_size, 1), hidden_size, like, generator)
        self.out = _uniform((n_outputs, hidden_size), hidden_size, like, generator)
        self.out_bias = _uniform((n_outputs, 1), hidden_size, like, generator)
        if zero:
            with torch.no_grad():
                self.out.zero_()
                self.out_bias.zero_()

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = torch.addmm(self.bias, self.weight, hidden)
        hidden = hidden.relu() if torch.is_grad_enabled() else hidden.relu_()
        return torch.addmm(self.out_bias, self.out, hidden)


class CoordinateLSTM(CoordinateNetwork):
    """An LSTM, a dense layer and linear heads for every coordinate.

    ``i, f, o = sigmoid(W x + U h + b)``, ``c+ = f c + i tanh(V x + R h + d)``,
    ``h+ = o tanh(c+)``: Liu, Chen, Wang, Yin and Cai 2023, with two layers of 20.

    Parameters
    ----------
    n_features : int
        Number of features.
    n_outputs : int
        Numbers to return for each coordinate.
    hidden_size : int
        Size of a layer's state.
    n_layers : int
        Number of layers.
    zero : bool
        Whether the heads start at zero.
    like : Tensor
        Sets dtype and device.
    generator : torch.Generator
        Source of the first parameters.
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        *,
        hidden_size: int,
        n_layers: int,
        zero: bool,
        like: Tensor,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.n_outputs, self.hidden_size = n_outputs, hidden_size
        sizes = [n_features, *[hidden_size] * (n_layers - 1)]
        gates = 4 * hidden_size

        def layer_of(*widths: int) -> nn.ParameterList:
            shapes = [(gates, width) for width in widths]
            return nn.ParameterList(_uniform(s, hidden_size, like, generator) for s in shapes)

        self.inputs = layer_of(*sizes)
        self.states = layer_of(*[hidden_size] * n_layers)
        self.biases = layer_of(*[1] * n_layers)
        self.heads = _Heads(hidden_size, n_outputs, zero, like, generator)

    def first(self, x: Tensor, generator: torch.Generator | None) -> Any:
        n_states, kind = 2 * len(self.inputs), {"dtype": self.biases[0].dtype}
        if generator is None:
            sizes = n_states, self.hidden_size, x.numel()
            return tuple(torch.zeros(sizes, device=x.device, **kind).unbind())
        shape = n_states, self.hidden_size, x.shape[1]
        state = torch.randn(shape, generator=generator, device=generator.device, **kind)
        return tuple(state.to(x.device).repeat(1, 1, len(x)).unbind())

    def forward(self, features: Tensor, memory: Any) -> tuple[Tensor, Any]:
        n, n_gates = self.hidden_size, 3 * self.hidden_size
        below, after = features, []
        layers = zip(self.inputs, self.states, self.biases, strict=True)
        for number, (W, U, bias) in enumerate(layers):
            h, c = memory[2 * number : 2 * number + 2]
            if torch.is_grad_enabled():
                z = torch.addmm(torch.addmm(bias, W, below), U, h)
                i, f, o = z[:n_gates].sigmoid().chunk(3)
                c = f * c + i * z[n_gates:].tanh()
                below = o * c.tanh()
            else:
                z = torch.addmm(bias, W, below).addmm_(U, h)
                i, f, o = z[:n_gates].sigmoid_().view(3, n, -1)
                c.mul_(f).addcmul_(i, z[n_gates:].tanh_())
                below = torch.tanh(c, out=h).mul_(o)
            after += [below, c]
        return self.heads(below), tuple(after)


class CoordinateMLP(CoordinateNetwork):
    """Two dense layers with ReLU and linear heads for every coordinate; no memory.

    Parameters
    ----------
    n_features : int
        Number of features.
    n_outputs : int
        Numbers to return for each coordinate.
    hidden_size : int
        Size of a layer.
    zero : bool
        Whether the heads start at zero.
    like : Tensor
        Sets dtype and device.
    generator : torch.Generator
        Source of the first parameters.
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        *,
        hidden_size: int,
        zero: bool,
        like: Tensor,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.n_outputs = n_outputs
        self.weight = _uniform((hidden_size, n_features), n_features, like, generator)
        self.bias = _uniform((hidden_size, 1), n_features, like, generator)
        self.heads = _Heads(hidden_size, n_outputs, zero, like, generator)

    def first(self, x: Tensor, generator: torch.Generator | None) -> Any:
        return ()

    def forward(self, features: Tensor, memory: Any) -> tuple[Tensor, Any]:
        return self.heads(torch.addmm(self.bias, self.weight, features).relu()), ()
