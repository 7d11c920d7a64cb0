"""GLOW-Prox: proximal-gradient layers whose proximal operator lives in the latents of a flow.

After Wei, van Gorp, Gonzalez-Carabarin, Freedman, Eldar and van Sloun 2021, "Deep unfolding with
normalizing flow priors for inverse problems", as in Hadou, NaderiAlizadeh and Ribeiro 2024,
"Robust stochastically-descending unrolled networks".
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sklearn_unroll.functional import Mask, Observation, adjoint_step, smooth_fill
from sklearn_unroll.nn._glow import Glow
from sklearn_unroll.nn.base import Unrolled, UnrolledLayer

__all__ = ["X0S", "GlowProxLayer", "GlowProxState", "calibrate_flows", "glow_prox"]

X0S = ("biharmonic", "harmonic", "flat")


class GlowProxState(NamedTuple):
    """The state of GLOW-Prox.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        The iterate, flattened pictures.
    """

    x: Tensor


class GlowProxLayer(UnrolledLayer):
    """``u = x + mu A^T (b - A x)``, ``z = F(u)``, ``x+ = clip(F^-1(.., z_K / (1 + lam)))``.

    The second half is the proximal operator of ``lam / 2 ||z_K||^2`` in the latents of the flow F,
    of which z_K is the coarsest; for ``lam = 0`` it is the identity.

    Parameters
    ----------
    flow : Module
        Maps pictures to (latents, log-determinant), and back by ``inverse``, see
        :func:`glow_prox`.
    image_shape : tuple of (int, int) or (int, int, int)
        Height, width and number of channels of the pictures.
    step : Tensor of shape ()
        First mu, nonnegative.
    shrinkage : Tensor of shape ()
        First lam, nonnegative.
    x0 : callable, default=None
        Maps an Observation to the first iterate; by default ``A^T b``. Only that of a
        network's first layer is asked.
    consistent : bool, default=False
        Whether to end with the nearest x that agrees with the data.
    """

    def __init__(
        self,
        flow: nn.Module,
        image_shape: tuple[int, ...],
        step: Tensor,
        shrinkage: Tensor,
        x0: Callable[[Observation], Tensor] | None = None,
        consistent: bool = False,
    ) -> None:
        super().__init__()
        self.flow = flow
        self.image_shape = tuple(image_shape)
        # NOTE[DIFF]: the paper's code has relu(mu) and relu(lam) of numbers that start around
        # zero: half of them never move. These start above zero and are projected.
        self.step = nn.Parameter(step.clone())
        self.shrinkage = nn.Parameter(shrinkage.clone())
        self.x0 = x0
        self.consistent = consistent

    def init(self, obs: Observation) -> GlowProxState:
        """Return the first iterate."""
        first = self.x0 or _seen
        return GlowProxState(first(obs))

    def forward(self, state: GlowProxState, obs: Observation) -> GlowProxState:
        """Run one iteration."""
        x = clip(self.prox(self.data_step(state.x, obs)))
        return GlowProxState(obs.A.consistent(obs.b, x) if self.consistent else x)

    def data_step(self, x: Tensor, obs: Observation) -> Tensor:
        """Return ``x + mu A^T (b - A x)``.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_components)
            An iterate.
        obs : Observation
            Data and operator.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            For ``0 < mu < 2 / ||A||^2`` nearer to the data.
        """
        # NOTE[DIFF]: the paper's code subtracts this, and leaves A out in training.
        return adjoint_step(x, obs, self.step)

    def prox(self, x: Tensor) -> Tensor:
        """Return the pictures of the latents with the coarsest one shrunk.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_components)
            Flattened pictures.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            Flattened pictures, not clipped.
        """
        latents, _ = self.flow(to_pictures(x, self.image_shape))
        latents[-1] = latents[-1] / (1 + self.shrinkage)
        # NOTE[DIFF]: all other latents are kept; the paper's code draws them from a prior, so that
        # its way back is no inverse.
        pictures, _ = self.flow.inverse(latents)
        return pictures.movedim(1, -1).reshape(x.shape)

    def latent(self, x: Tensor) -> Tensor:
        """Return the coarsest latents z_K of pictures, the gradient of ``||z_K||^2 / 2``.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_components)
            Flattened pictures.

        Returns
        -------
        Tensor of shape (n_samples, n_latents)
            Flattened latents.
        """
        latents, _ = self.flow(to_pictures(x, self.image_shape))
        return latents[-1].flatten(1)

    def readout(self, state: GlowProxState) -> Tensor:
        """Return the iterate."""
        return state.x

    def with_iterate(self, state: GlowProxState, x: Tensor) -> GlowProxState:
        """Return the state with another iterate."""
        return GlowProxState(x)

    def project_(self) -> None:
        """Clip step and shrinkage at zero."""
        self.step.clamp_min_(0)
        self.shrinkage.clamp_min_(0)

    def continue_from_(self, previous: GlowProxLayer) -> None:
        """Start where the previous layer has been trained to."""
        if self.flow is not previous.flow:
            self.flow.load_state_dict(previous.flow.state_dict())
        self.step.copy_(previous.step)
        self.shrinkage.copy_(previous.shrinkage)


def to_pictures(x: Tensor, image_shape: tuple[int, ...]) -> Tensor:
    """Return rows, colour fastest, as pictures of shape (n_samples, channels, height, width)."""
    return x.reshape(len(x), *(*image_shape, 1)[:3]).movedim(-1, 1)


def clip(x: Tensor) -> Tensor:
    """Return x clipped to [0, 1], with the derivative of x itself.

    That of the clipped one is zero outside, where a pixel could not be called back; towards
    targets in [0, 1] this one never points out.
    """
    # NOTE[DIFF]: the paper's code has the derivative of the clipped one.
    if not torch.is_grad_enabled():
        return x.clamp(0, 1)
    return x.detach().clamp(0, 1) + (x - x.detach())


def glow_prox(
    image_shape: tuple[int, ...],
    *,
    n_layers: int = 3,
    n_levels: int = 2,
    n_steps: int = 2,
    n_hidden: int = 16,
    step: float = 1.0,
    shrinkage: float = 0.1,
    x0: str = "biharmonic",
    consistent: bool = True,
    generator: torch.Generator,
    like: Tensor | None = None,
) -> Unrolled:
    """Assemble GLOW-Prox, for observations through a :class:`~sklearn_unroll.functional.Mask`.

    With ``shrinkage=0`` it is projected gradient descent on ``0.5 ||A x - b||^2`` over [0, 1].

    Parameters
    ----------
    image_shape : tuple of (int, int) or (int, int, int)
        Height, width and number of channels of the pictures in rows of x, colour fastest.
    n_layers : int, default=3
        Number of layers; 5 in the paper.
    n_levels : int, default=2
        Levels of every flow, whose coarsest latent holds ``2 ** (1 - n_levels)`` of all entries;
        4 in the paper. Height and width must be multiples of ``2 ** n_levels``.
    n_steps : int, default=2
        Flow steps in every level; 18 in the paper.
    n_hidden : int, default=16
        Hidden channels of the couplings; 512 in the paper.
    step : float, default=1.0
        First mu of every layer; of a mask 1 puts back all that is seen.
    shrinkage : float, default=0.1
        First lam of every layer.
    x0 : {"biharmonic", "harmonic", "flat"}, default="biharmonic"
        First iterate: what is seen, smoothly continued (see
        :func:`~sklearn_unroll.functional.smooth_fill`), or 0.5 everywhere.
    consistent : bool, default=True
        Whether to end with the nearest x that agrees with the data.
    generator : torch.Generator
        Source of the first weights.
    like : Tensor, default=None
        A tensor with the dtype and device of the parameters; float32 on the CPU by default.

    Returns
    -------
    Unrolled
        The network; its flows are to be calibrated, see :func:`calibrate_flows`.

    Raises
    ------
    ImportError
        If normflows is not installed.
    ValueError
        If the sizes do not fit the flow, or the start is not known.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Mask, Observation
    >>> from sklearn_unroll.nn import glow_prox
    >>> net = glow_prox((8, 8), shrinkage=0.0, generator=torch.Generator().manual_seed(0))
    >>> A = Mask(torch.arange(64).reshape(1, 64) % 3 > 0)
    >>> b = A(torch.full((1, 64), 0.25))
    >>> bool(((net(Observation(b, A)) - 0.25).abs() < 1e-4).all())
    True
    """
    height, width, n_channels = _checked_shape(image_shape, n_levels)
    if x0 not in X0S:
        raise ValueError(f"x0 must be one of {X0S}, got {x0!r}.")
    like = torch.empty(0, dtype=torch.float32) if like is None else like
    first = {
        "biharmonic": partial(_smooth, image_shape=(height, width, n_channels), order=2),
        "harmonic": partial(_smooth, image_shape=(height, width, n_channels), order=1),
        "flat": _flat,
    }[x0]
    layers = []
    # On the CPU: the same on every device.
    source = torch.Generator().manual_seed(_draw_seed(generator))
    for number in range(1, n_layers + 1):
        flow = Glow(n_channels, n_levels, n_steps, n_hidden, source).to(like)
        numbers = like.new_tensor(step), like.new_tensor(shrinkage)
        shape = (height, width, n_channels)
        layers.append(
            GlowProxLayer(flow, shape, *numbers, first, consistent and number == n_layers)
        )
    return Unrolled(layers)


@torch.no_grad()
def calibrate_flows(network: Unrolled, obs: Observation) -> None:
    """Normalise the channels of every flow on what it is given, layer by layer, in place.

    Parameters
    ----------
    network : Unrolled
        A network of :func:`glow_prox`.
    obs : Observation
        Data and operator.
    """
    state = network.layers[0].init(obs)
    for layer in network.layers:
        x = layer.data_step(layer.readout(state), obs)
        layer.flow.calibrate_(to_pictures(x, layer.image_shape))
        state = layer(state, obs)


def _seen(obs: Observation) -> Tensor:
    return obs.A.adjoint(obs.b)


def _flat(obs: Observation) -> Tensor:
    return torch.full_like(obs.b, 0.5)


def _smooth(obs: Observation, image_shape: tuple[int, ...], order: int) -> Tensor:
    if not isinstance(obs.A, Mask):
        raise ValueError(
            f"x0='harmonic' and 'biharmonic' need a Mask, which says what is seen; got "
            f"{type(obs.A).__name__}. Use x0='flat'."
        )
    return smooth_fill(obs.b, obs.A.visible, image_shape, order=order, tol=1e-2).clamp_(0, 1)


def _draw_seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))


def _checked_shape(image_shape: tuple[int, ...], n_levels: int) -> tuple[int, int, int]:
    sides = tuple(int(side) for side in image_shape)
    if len(sides) not in (2, 3) or min(sides) < 1:
        raise ValueError(
            f"image_shape must be (height, width) or (height, width, n_channels); got "
            f"{tuple(image_shape)}."
        )
    multiple = 2**n_levels
    if sides[0] % multiple or sides[1] % multiple:
        raise ValueError(
            f"A flow of {n_levels} levels halves pictures {n_levels} times: height and width must "
            f"be multiples of {multiple}, got {sides[0]} by {sides[1]}. Crop or pad the "
            f"pictures, or lower n_levels."
        )
    return (*sides, 1)[:3]
