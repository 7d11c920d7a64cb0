"""What a compiled run of a network gives, however it computes it, and who computes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import Observation
from sklearn_unroll.functional._alone import even_parts, lone_threads, n_threads

__all__ = ["CompiledRun", "Packed", "Watched"]


class Packed(NamedTuple):
    """Codes of some samples as lists, one after the other, of exactly their nonzeros.

    Parameters
    ----------
    sizes : ndarray of shape (n_samples,)
        How many there are of every sample.
    places : ndarray of shape (sum of sizes,)
        Where they are, sample by sample.
    values : ndarray of shape (sum of sizes,)
        What they are.
    """

    sizes: np.ndarray
    places: np.ndarray
    values: np.ndarray

    def write(self, out: np.ndarray, mine: np.ndarray | None = None) -> None:
        """Write the codes over zeros, of all samples or of those that are mine."""
        rows, places, values = np.repeat(np.arange(len(out)), self.sizes), self.places, self.values
        if mine is not None:
            some = mine[rows]
            rows, places, values = rows[some], places[some], values[some]
        out[rows, places] = values


class Watched(NamedTuple):
    """What some samples cost on their way.

    Parameters
    ----------
    values : Tensor of shape (depth + 1, n_samples)
        The costs of all iterates.
    refused : Tensor of shape (n_samples,)
        How many steps were refused, for the classical one.
    """

    values: Tensor
    refused: Tensor


class CompiledRun(ABC):
    """A network over one operator, for which it has made what it needs.

    As many threads as torch has take a share of the samples each, through all layers; where that
    is one, it is the one that calls.

    Parameters
    ----------
    most : int
        Samples in a share.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        # Kept from share to share, one for each thread: new memory would be slow.
        self.desks: list[Any] = []

    @abstractmethod
    def desk(self) -> Any:
        """Return what a thread works on."""

    @abstractmethod
    def code(
        self, b: Tensor, desk: Any, out: Tensor | None, each: Callable[[Packed], None] | None
    ) -> Watched | None:
        """Take samples through all layers.

        Parameters
        ----------
        b : Tensor of shape (n_samples, n_features)
            The data.
        desk : object
            Of the thread.
        out : Tensor of shape (n_samples, n_components) or None
            Where to write codes.
        each : callable or None
            Given the codes after every layer.

        Returns
        -------
        Watched or None
            What all iterates cost.
        """

    def chunks(self, obs: Observation, out: Tensor) -> Iterator[tuple[slice, Watched | None]]:
        """Write codes, chunk by chunk.

        Parameters
        ----------
        obs : Observation or Composite
            Data, all or some; the operator is the one of this run.
        out : Tensor of shape (n_samples, n_components)
            Where to write.

        Yields
        ------
        tuple of (slice, Watched or None)
            Which rows, and what their iterates cost.
        """
        for rows, costs, _ in self._each(obs, out):
            yield rows, costs

    def stages(self, obs: Observation) -> Iterator[tuple[slice, Watched | None, list[Packed]]]:
        """Yield codes after every layer, chunk by chunk.

        Parameters
        ----------
        obs : Observation or Composite
            Data, all or some; the operator is the one of this run.

        Yields
        ------
        tuple of (slice, Watched or None, list of Packed)
            Which rows, what their iterates cost, and these, but for the first.
        """
        yield from self._each(obs, None)

    def _each(
        self, obs: Observation, out: Tensor | None
    ) -> Iterator[tuple[slice, Watched | None, list[Packed]]]:
        """Yield shares as they are done, in order: codes are written, or all iterates kept."""
        quiet = torch.inference_mode if torch.is_inference_mode_enabled() else torch.no_grad

        def run(rows: slice) -> tuple[slice, Watched | None, list[Packed]]:
            lists: list[Packed] = []
            try:
                desk = self.desks.pop()
            except IndexError:
                desk = self.desk()
            with quiet():  # a mode of the thread
                b = obs.b[rows].detach().contiguous()
                mine, each = (None, lists.append) if out is None else (out[rows], None)
                costs = self.code(b, desk, mine, each)
            self.desks.append(desk)
            return rows, costs, lists

        n = n_threads()
        _, shares = even_parts(len(obs.b), self.most, n)
        if n == 1 or len(shares) == 1:
            yield from map(run, shares)
            return
        with lone_threads(n) as pool:
            yield from pool.map(run, shares)
