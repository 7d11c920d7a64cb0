"""Invertible networks of pictures, assembled from the flows of normflows."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

# Channels that vary less are not blown up further: what normalises them would amplify rounding
# errors on the way there and back.
SMALLEST_STD = 0.02


class Glow(nn.Module):
    """A bijection of pictures and lists of latents, finest first, coarsest last.

    Kingma and Dhariwal 2018, "Glow: Generative flow with invertible 1x1 convolutions": at every
    level 2x2 pixels become channels, then steps of actnorm, invertible 1x1 convolution and affine
    coupling follow, and half of the channels are done. Before training it is a wavelet transform,
    whose coarsest latent holds the finest details.

    Parameters
    ----------
    n_channels : int
        Channels of the pictures.
    n_levels : int
        Levels, each of which halves height and width.
    n_steps : int
        Steps of a level.
    n_hidden : int
        Hidden channels of the networks in the couplings.
    generator : torch.Generator
        Source of their first weights, on the CPU.
    """

    def __init__(
        self,
        n_channels: int,
        n_levels: int,
        n_steps: int,
        n_hidden: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        flows = _normflows().flows
        self.levels = nn.ModuleList()
        for level in range(n_levels):
            width = n_channels * 2 ** (level + 2)
            parts = [flows.Squeeze()]
            for step in range(n_steps):
                matrix = _first_matrix(width, step, n_steps)
                parts += _step(width, n_hidden, matrix, generator)
            self.levels.append(nn.ModuleList(parts))
        self.merge = flows.Merge()

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the latents of pictures, and the log-determinant of the derivative.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_channels, height, width)
            Pictures.

        Returns
        -------
        tuple of (list of Tensor, Tensor of shape (n_samples,))
            Latents, finest first, and log-determinants.
        """
        latents, total = [], x.new_zeros(len(x))
        for level in self.levels:
            if level is not self.levels[0]:
                (x, done), _ = self.merge.inverse(x)
                latents.append(done)
            for flow in level:  # normflows calls this direction the inverse
                x, log_det = flow.inverse(x)
                total = total + log_det
        return [*latents, x], total

    def inverse(self, latents: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the pictures of latents, and the log-determinant of the derivative.

        Parameters
        ----------
        latents : list of Tensor
            What ``forward`` returns first.

        Returns
        -------
        tuple of (Tensor of shape (n_samples, n_channels, height, width), Tensor of shape \
                (n_samples,))
            Pictures and log-determinants.
        """
        *latents, x = latents
        total = x.new_zeros(len(x))
        for level in reversed(self.levels):
            for flow in reversed(level):
                x, log_det = flow(x)
                total = total + log_det
            if latents:
                x, _ = self.merge([x, latents.pop()])
        return x, total

    @torch.no_grad()
    def calibrate_(self, x: Tensor) -> None:
        """Set every actnorm so that its channels have mean 0 and variance 1 on these pictures.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_channels, height, width)
            Pictures.
        """
        norm = _normflows().flows.ActNorm
        for level in self.levels:
            if level is not self.levels[0]:
                (x, _), _ = self.merge.inverse(x)
            for flow in level:
                if isinstance(flow, norm):
                    std, mean = torch.std_mean(x, (0, 2, 3), correction=0, keepdim=True)
                    flow.s.copy_(std.clamp_min(SMALLEST_STD).log())
                    flow.t.copy_(mean)
                x, _ = flow.inverse(x)


class BoundedScale(nn.Module):
    """What a coupling shifts and scales by, the latter by no more than a factor of two.

    Parameters
    ----------
    net : Module
        Maps half of the channels to two numbers for each of the other half, in turns.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Return shifts, and scales before the sigmoid, in turns.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_channels, height, width)
            Half of the channels.

        Returns
        -------
        Tensor of shape (n_samples, 2 * n_channels, height, width)
            Both.
        """
        shift, scale = self.net(x).unflatten(1, (-1, 2)).unbind(2)
        # NOTE[DIFF]: GLOW's scales are not bounded; edges, which are far out in the latents, then
        # make the way back overflow within some hundred steps of training.
        return torch.stack([shift, 2 * torch.tanh(scale / 2)], 2).flatten(1, 2)


def _step(
    width: int, n_hidden: int, matrix: Tensor, generator: torch.Generator
) -> list[nn.Module]:
    """Return the flows of a step: actnorm, invertible 1x1 convolution, affine coupling."""
    library = _normflows()
    norm = library.flows.ActNorm((width, 1, 1))
    norm.data_dep_init_done.fill_(1)  # not on whatever batch comes first: see calibrate_
    channels = (width // 2, n_hidden, n_hidden, width)
    # Their own first numbers would be those of the global generator, which all threads share.
    with torch.device("meta"):
        # NOTE[DIFF]: GLOW learns the LU factors of the matrix; those of normflows call what torch
        # is to remove. Here it is learned as it is, and inverted in float64.
        mixing = library.flows.Invertible1x1Conv(width, use_lu=False)
        net = library.nets.ConvNet2d(channels, (3, 1, 3))
    mixing.W = nn.Parameter(matrix)
    net = _drawn(net.to_empty(device="cpu").float(), generator)
    coupling = library.flows.AffineCouplingBlock(BoundedScale(net), scale_map="sigmoid")
    return [norm, mixing, coupling]


def _drawn(net: nn.Module, generator: torch.Generator) -> nn.Module:
    """Return a network with first weights as torch draws them, zeros in its last layer."""
    convolutions = [part for part in net.modules() if isinstance(part, nn.Conv2d)]
    for part in convolutions[:-1]:
        bound = 1 / math.sqrt(part.weight[0].numel())
        for parameter in part.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
    for parameter in convolutions[-1].parameters():
        nn.init.zeros_(parameter)
    return net


def _first_matrix(width: int, step: int, n_steps: int) -> Tensor:
    """Return the Haar transform of 2x2 pixels, and in later steps a swap of the halves.

    Means come first and details last, or the other way round: so that after all swaps the half
    that goes on to the coarsest latent holds the details.
    """
    # NOTE[DIFF]: GLOW starts from random rotations. Shrinking a random mixture destroys a picture,
    # shrinking details only smooths it: training then starts decibels further on.
    if step > 0:
        return torch.eye(width, dtype=torch.float32).roll(width // 2, 0)
    signs = [[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]
    haar = torch.tensor(signs, dtype=torch.float32) / 2
    eye = torch.eye(width // 4, dtype=torch.float32)
    matrix = torch.kron(haar[:, None], eye[:, :, None]).reshape(width, width)
    return matrix if n_steps % 2 == 0 else matrix.roll(width // 2, 0)


def _normflows() -> Any:
    """Return the library of flows."""
    try:
        import normflows
    except ImportError as error:
        raise ImportError(
            "GLOW needs normflows, which is not installed: pip install sklearn-unroll[flows]"
        ) from error
    return normflows
