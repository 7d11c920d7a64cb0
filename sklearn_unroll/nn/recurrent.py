"""NA-ALISTA's rule: a small recurrent network chooses step and threshold of every sample."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sklearn_unroll.nn.coordinate import draw_uniform
from sklearn_unroll.nn.rules import Rule, Shrink

__all__ = ["Controller", "RecurrentRule"]

# Where gamma = 1 and theta = 2 (1 - 1/n) mean |W r| before training; softplus is 1 at this input.
_ONE = math.log(math.e - 1)
_FIRST_THETA = 2.0


class ControllerMemory(NamedTuple):
    """State of the recurrent cell, and the sizes of ``b`` and ``W b``; columns are per sample."""

    hidden: Tensor
    cell: Tensor
    sizes: Tensor


class Controller(nn.Module):
    """Steps and thresholds from how far the residual has come down; one for all layers.

    Behrens, Sauder and Jung 2021, "Neurally augmented ALISTA": an LSTM cell sees
    ``||r_k||_1`` and ``||W r_k||_1``, a dense layer turns its state into two positive numbers.

    Parameters
    ----------
    hidden_size : int
        Size of the cell's state.
    like : Tensor
        Sets dtype and device.
    generator : torch.Generator
        Source of the first parameters.
    """

    # NOTE[DIFF]: the official code standardises both norms by the mean and spread of the first
    # batch it sees, and its thresholds are absolute. Here norms are logarithms relative to those
    # of b and thresholds multiply the mean of abs(W r_k): codes scale with the data, exactly.

    def __init__(self, hidden_size: int, like: Tensor, generator: torch.Generator) -> None:
        super().__init__()
        kind = {"dtype": like.dtype, "device": like.device}
        # Made empty: the parameters below come from our generator, not from torch's own.
        self.cell = nn.utils.skip_init(nn.LSTMCell, 2, hidden_size, **kind)
        self.out = nn.utils.skip_init(nn.Linear, hidden_size, 2, **kind)
        self.first = nn.Parameter(torch.zeros(2, hidden_size, **kind))
        bound = 1 / math.sqrt(hidden_size)
        with torch.no_grad():
            for parameter in self.cell.parameters():
                parameter.copy_(draw_uniform(parameter, bound, generator))
            self.out.weight.copy_(0.1 * draw_uniform(self.out.weight, bound, generator))
            self.out.bias.fill_(_ONE)

    def forward(
        self, r: Tensor, update: Tensor, memory: ControllerMemory | None
    ) -> tuple[Tensor, Tensor, ControllerMemory]:
        """Return step, threshold and memory of every sample."""
        sizes = torch.stack([r.abs().mean(1), update.abs().mean(1)], 1)
        if memory is None:
            hidden, cell = (row.expand(len(r), -1) for row in self.first)
            memory = ControllerMemory(hidden, cell, sizes)
        # Below the rounding error of b nothing is known; the floor keeps b = 0 finite.
        eps, tiny = torch.finfo(r.dtype).eps, torch.finfo(r.dtype).tiny
        floor = eps * memory.sizes + tiny
        progress = torch.log((sizes + floor) / (memory.sizes + floor))
        hidden, cell = self.cell(progress, memory[:2])
        gamma, theta = nn.functional.softplus(self.out(hidden)).split(1, dim=1)
        # Crosstalk comes from the other atoms: a single one has none.
        others = 1 - 1 / update.shape[1]
        theta = _FIRST_THETA * others * theta * sizes[:, 1:]
        return gamma, theta, ControllerMemory(hidden, cell, memory.sizes)


class RecurrentRule(Rule):
    """Step and threshold of every sample from a controller that remembers its residuals.

    Parameters
    ----------
    controller : Controller
        Shared by the layers.
    count : int, default=0
        How many entries may pass unshrunk; not learned.
    """

    needs, offers = ("correction", "memory"), ("threshold", "count")

    def __init__(self, controller: Controller, count: int = 0) -> None:
        super().__init__()
        self.controller = controller
        self.count = count

    def forward(self, x, memory, obs, weights):
        """Return the point, the scalars of every sample, and the controller's memory."""
        r, update = weights.correction(x, obs)
        gamma, theta, memory = self.controller(r, update, memory)
        return torch.addcmul(x, gamma, update), Shrink(theta, self.count), memory
