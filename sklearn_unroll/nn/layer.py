"""The contract of a layer: one iteration of an algorithm.

Classes are abstract or final: a variant is made of other parts, never by subclassing one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from sklearn_unroll.functional import Observation

__all__ = ["UnrolledLayer"]


class UnrolledLayer(nn.Module, ABC):
    """One iteration of an algorithm with learnable parts.

    The state is a NamedTuple of tensors, each entry of which belongs to one sample. Nothing in
    it, and nothing a layer is given, may be the ground truth.
    """

    @abstractmethod
    def init(self, obs: Observation) -> Any:
        """Return the first state.

        Parameters
        ----------
        obs : Observation
            Data and operator.

        Returns
        -------
        NamedTuple of Tensor
            The state before any iteration.
        """

    @abstractmethod
    def forward(self, state: Any, obs: Observation) -> Any:
        """Run one iteration.

        Parameters
        ----------
        state : NamedTuple of Tensor
            The state before it. Without gradients a layer may overwrite its tensors.
        obs : Observation
            Data and operator.

        Returns
        -------
        NamedTuple of Tensor
            The state after it.
        """

    @abstractmethod
    def readout(self, state: Any) -> Tensor:
        """Return the iterate ``x`` in a state.

        Parameters
        ----------
        state : NamedTuple of Tensor
            Any state of this layer.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            The iterate.
        """

    @abstractmethod
    def with_iterate(self, state: Any, x: Tensor) -> Any:
        """Return a state with another iterate, from which the next layer goes on.

        Parameters
        ----------
        state : NamedTuple of Tensor
            Any state of this layer.
        x : Tensor of shape (n_samples, n_components)
            What ``readout`` is to return.

        Returns
        -------
        NamedTuple of Tensor
            The state, with all that is made of the iterate moved along.
        """

    def resume(self, state: Any, x: Tensor, wrong: Tensor, lost: Tensor) -> Any:
        """Return the state in which samples that went wrong have another iterate.

        A guard calls it, see :class:`~sklearn_unroll.nn.Guarded`; default: ``with_iterate``.

        Parameters
        ----------
        state : NamedTuple of Tensor
            The state of all samples.
        x : Tensor of shape (n_samples, n_components)
            The iterates.
        wrong : Tensor of shape (n_samples, 1)
            Where they are not those of the layer.
        lost : Tensor of shape (n_samples, 1)
            Where this went on for so long that momentum should be given up.

        Returns
        -------
        NamedTuple of Tensor
            The state after it.
        """
        return self.with_iterate(state, x)

    def project_(self) -> None:
        """Move the parameters to the nearest admissible ones, in place; default: none to move.

        Training calls it after every optimiser step, so that a threshold stays nonnegative.
        """

    def continue_from_(self, previous: UnrolledLayer) -> None:
        """Start this layer where the previous one has been trained to; default: as it is.

        Stage-wise training calls it before the layer's first stage.

        Parameters
        ----------
        previous : UnrolledLayer
            The layer before this one.
        """
