"""What a compiled run of a network gives, however it computes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from torch import Tensor

from sklearn_unroll.functional import Observation
from sklearn_unroll.nn._sparse_steps import Packed

__all__ = ["CompiledRun"]


class CompiledRun(ABC):
    """A network over one operator, for which it has made what it needs."""

    @abstractmethod
    def chunks(self, obs: Observation, out: Tensor) -> Iterator[tuple[slice, Tensor | None]]:
        """Write codes, chunk by chunk.

        Parameters
        ----------
        obs : Observation or Composite
            Data, all or some; the operator is the one of this run.
        out : Tensor of shape (n_samples, n_components)
            Where to write.

        Yields
        ------
        tuple of (slice, Tensor of shape (depth + 1, n_samples) or None)
            Which rows, and the costs of their iterates.
        """

    @abstractmethod
    def stages(self, obs: Observation) -> Iterator[tuple[slice, Tensor | None, list[Packed]]]:
        """Yield codes after every layer, chunk by chunk.

        Parameters
        ----------
        obs : Observation or Composite
            Data, all or some; the operator is the one of this run.

        Yields
        ------
        tuple of (slice, Tensor of shape (depth + 1, n_samples) or None, list of Packed)
            Which rows, the costs of their iterates, and these, but for the first.
        """
