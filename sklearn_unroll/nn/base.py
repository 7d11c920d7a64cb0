"""The contract of every network: a list of layers, each of which is one iteration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_unroll.functional import Observation
from sklearn_unroll.nn.layer import UnrolledLayer

__all__ = ["Perturb", "Unrolled", "UnrolledLayer"]

# Maps (number of layers so far, iterate, data and operator) to another iterate.
Perturb = Callable[[int, Tensor, Observation], Tensor]


class Unrolled(nn.Module):
    """A network made of layers; the only thing that training, theory and estimators see.

    Parameters
    ----------
    layers : iterable of UnrolledLayer
        Applied in turn. Layers may share modules (tied weights), or be one module repeated.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.nn import lista
    >>> A = Dense(torch.eye(3))
    >>> net = lista(A, n_layers=2, alpha=0.5)
    >>> with torch.no_grad():
    ...     net(Observation(torch.tensor([[2.0, 0.0, -1.0]]), A))
    tensor([[ 1.5000,  0.0000, -0.5000]])
    """

    def __init__(self, layers: Iterable[UnrolledLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        if len(self.layers) == 0:
            raise ValueError("An unrolled network needs at least one layer, got none.")

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.layers)

    def stream(
        self,
        obs: Observation,
        depth: int | None = None,
        perturb: Perturb | None = None,
        cut: int | None = None,
    ) -> Iterator[Tensor]:
        """Yield ``x_0 .. x_depth`` one by one, keeping none.

        Without gradients an iterate is valid until the next one is asked for.

        Parameters
        ----------
        obs : Observation
            Data and operator.
        depth : int, default=None
            Number of layers to run, from 0 to ``self.depth`` (the default).
        perturb : callable, default=None
            Maps (number, iterate, observation) to what the next layer sees in place of the
            iterate after that number of layers, from 0 on: a new tensor, as layers may
            overwrite it. Not asked after the last.
        cut : int, default=None
            Number of layers after each of which to go on without the graph so far.

        Yields
        ------
        Tensor of shape (n_samples, n_components)
            The iterate before the first layer, then after each, as the next layer sees it.
        """
        for number, state in enumerate(self.states(obs, depth, perturb, cut)):
            yield self.layers[max(number - 1, 0)].readout(state)

    def states(
        self,
        obs: Observation,
        depth: int | None = None,
        perturb: Perturb | None = None,
        cut: int | None = None,
    ) -> Iterator[Any]:
        """Yield the states whose iterates ``stream`` yields, with all that layers keep.

        Parameters
        ----------
        obs, depth, perturb, cut : object
            As for ``stream``.

        Yields
        ------
        NamedTuple of Tensor
            The state before the first layer, then after each.
        """
        layers = self.layers[: self._check_depth(depth)]
        state = self._perturbed(self.layers[0].init(obs), 0, obs, perturb if layers else None)
        yield state
        for number, layer in enumerate(layers, 1):
            state = layer(state, obs)
            state = self._perturbed(state, number, obs, perturb if number < len(layers) else None)
            yield state
            if cut is not None and number % cut == 0:
                state = _detached(state)

    def _perturbed(
        self, state: Any, number: int, obs: Observation, perturb: Perturb | None
    ) -> Any:
        if perturb is None:
            return state
        layer = self.layers[max(number - 1, 0)]
        return layer.with_iterate(state, perturb(number, layer.readout(state), obs))

    def segments(
        self,
        obs: Observation,
        length: int,
        depth: int | None = None,
        perturb: Perturb | None = None,
    ) -> Iterator[list[Tensor]]:
        """Yield the iterates of ``length`` layers at a time, cut from the graph of those before.

        For truncated back-propagation: between two segments parameters may be changed.

        Parameters
        ----------
        obs : Observation
            Data and operator.
        length : int
            Number of layers in a segment; the last one may be shorter.
        depth : int, default=None
            Number of layers to run, all by default.
        perturb : callable, default=None
            As for ``stream``.

        Yields
        ------
        list of Tensor of shape (n_samples, n_components)
            The iterate before the segment, then those after each of its layers.
        """
        iterates = []
        for x in self.stream(obs, depth, perturb, cut=length):
            iterates.append(x)
            if len(iterates) > length:
                yield iterates
                iterates = [x.detach()]
        if len(iterates) > 1 or depth == 0:
            yield iterates

    def iterates(
        self, obs: Observation, depth: int | None = None, perturb: Perturb | None = None
    ) -> list[Tensor]:
        """Return ``x_0 .. x_depth``: for objectives, constraints, plots and theory.

        Parameters
        ----------
        obs : Observation
            Data and operator.
        depth : int, default=None
            Number of layers to run, all by default.
        perturb : callable, default=None
            As for ``stream``.

        Returns
        -------
        list of Tensor of shape (n_samples, n_components)
            ``depth + 1`` iterates.
        """
        if torch.is_grad_enabled():
            return list(self.stream(obs, depth, perturb))
        return [x.clone() for x in self.stream(obs, depth, perturb)]

    def forward(self, obs: Observation, depth: int | None = None) -> Tensor:
        """Return the last iterate only; no other is kept.

        Parameters
        ----------
        obs : Observation
            Data and operator.
        depth : int, default=None
            Number of layers to run, all by default.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            The iterate after layer ``depth``.
        """
        for x in self.stream(obs, depth):
            last = x
        return last

    def over_depth(self, name: str) -> list[nn.Parameter]:
        """Return a kind of parameter as a function of depth: its values, layer by layer.

        Parameters
        ----------
        name : str
            Name within a layer, ``"rule.tau"``, or the last part of it, ``"tau"``.

        Returns
        -------
        list of Parameter
            One for each layer that has it; a tied one as often as it is used.

        Raises
        ------
        ValueError
            If no parameter has this name, or several have.
        """
        layers = [dict(layer.named_parameters()) for layer in self.layers]
        known = sorted({key for layer in layers for key in layer})
        found = [key for key in known if key == name] or [
            key for key in known if key.endswith(f".{name}")
        ]
        if len(found) != 1:
            raise ValueError(
                f"{name!r} names {len(found)} kinds of parameters of this network's layers; they "
                f"have {known}."
            )
        return [layer[found[0]] for layer in layers if found[0] in layer]

    def new_parameters(self, depth: int) -> list[nn.Parameter]:
        """Return the parameters first used by layer ``depth``, for stage-wise training.

        Parameters
        ----------
        depth : int
            Layer number, counted from 1.

        Returns
        -------
        list of Parameter
            Each once; a tied parameter belongs to the first layer that uses it.
        """
        self._check_depth(depth)
        earlier = {id(p) for layer in self.layers[: depth - 1] for p in layer.parameters()}
        return [p for p in self.layers[depth - 1].parameters() if id(p) not in earlier]

    @torch.no_grad()
    def continue_(self, depth: int) -> None:
        """Start layer ``depth`` where the layer before it has been trained to, in place.

        Parameters
        ----------
        depth : int
            Layer number, counted from 1; for the first layer nothing happens.
        """
        if self._check_depth(depth) > 1:
            self.layers[depth - 1].continue_from_(self.layers[depth - 2])

    @torch.no_grad()
    def project_(self) -> None:
        """Move every parameter to the nearest admissible one, in place."""
        for layer in self.layers:
            layer.project_()

    def _check_depth(self, depth: int | None) -> int:
        if depth is None:
            return self.depth
        if not 0 <= depth <= self.depth:
            raise ValueError(f"depth must lie in [0, {self.depth}] for this network, got {depth}.")
        return depth


def _detached(state: Any) -> Any:
    """Return a state, whose fields may be tuples themselves, without its graph."""
    if isinstance(state, Tensor):
        return state.detach()
    if isinstance(state, tuple):
        parts = (_detached(part) for part in state)
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return state
