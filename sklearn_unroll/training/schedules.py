"""What is trained when: a schedule turns a network into a list of stages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from sklearn.base import BaseEstimator
from torch import nn

from sklearn_unroll.nn.base import Unrolled

__all__ = ["SCHEDULES", "EndToEnd", "ParameterGroup", "Schedule", "Stage"]


class ParameterGroup(NamedTuple):
    """Parameters that share a learning rate.

    Parameters
    ----------
    parameters : list of Parameter
        What to train.
    rate : float
        Factor on the trainer's learning rate.
    """

    parameters: list[nn.Parameter]
    rate: float = 1.0


class Stage(NamedTuple):
    """One stage of training: a depth, and what moves at which rate.

    Parameters
    ----------
    name : str
        For messages and histories.
    depth : int
        The objective sees the iterates up to this layer.
    groups : list of ParameterGroup
        What the optimiser moves; everything else stays.
    """

    name: str
    depth: int
    groups: list[ParameterGroup]


class Schedule(BaseEstimator, ABC):
    """An order of training; a stateless parameter object."""

    _parameter_constraints: ClassVar[dict] = {}

    @abstractmethod
    def stages(self, network: Unrolled) -> list[Stage]:
        """Return the stages, in order.

        Parameters
        ----------
        network : Unrolled
            The network to be trained.

        Returns
        -------
        list of Stage
            At least one.
        """


class EndToEnd(Schedule):
    """All layers at once, one stage.

    Examples
    --------
    >>> from sklearn_unroll import Trainer
    >>> from sklearn_unroll.training import EndToEnd
    >>> Trainer(schedule=EndToEnd())
    Trainer(schedule=EndToEnd())
    """

    def stages(self, network: Unrolled) -> list[Stage]:
        """Return the one stage."""
        return [Stage("end_to_end", network.depth, [ParameterGroup(list(network.parameters()))])]


SCHEDULES: dict[str, type[Schedule]] = {"end_to_end": EndToEnd}
