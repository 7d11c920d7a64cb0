"""What is trained when: a schedule turns a network into a list of stages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Real
from typing import ClassVar, NamedTuple

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from torch import nn

from sklearn_unroll.nn.base import Unrolled

__all__ = ["SCHEDULES", "EndToEnd", "ParameterGroup", "Schedule", "Stage", "StageWise"]


class ParameterGroup(NamedTuple):
    """Parameters that share a learning rate.

    Parameters
    ----------
    parameters : list of Parameter
        What to train.
    rate : float
        Factor on the trainer's learning rate.
    relative : bool
        Whether the rate is relative to the size (root mean square) that each parameter has
        when the stage begins: Adam's steps have the size of its rate, whatever the gradient,
        so scalars of unlike sizes need unlike rates.
    """

    parameters: list[nn.Parameter]
    rate: float = 1.0
    relative: bool = False


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
    new_layer : bool
        Whether layer ``depth`` starts from what the layer before it has become.
    """

    name: str
    depth: int
    groups: list[ParameterGroup]
    new_layer: bool = False


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

    def all_at_once(self, network: Unrolled) -> Stage:
        """Return a stage that trains everything, for batches of a stream.

        Parameters
        ----------
        network : Unrolled
            The network to be trained.

        Returns
        -------
        Stage
            All layers.
        """
        return EndToEnd().stages(network)[0]


class EndToEnd(Schedule):
    """All layers at once, one stage.

    Parameters
    ----------
    relative : bool, default=False
        Whether rates are relative to the size of each parameter.
    matrix_rate : float or None, default=None
        Factor on the rate of parameters that are matrices, which is then relative to their
        size: their many entries need smaller steps than the few numbers beside them. None
        treats them like the others.

    Examples
    --------
    >>> from sklearn_unroll import Trainer
    >>> from sklearn_unroll.training import EndToEnd
    >>> Trainer(schedule=EndToEnd(relative=True), learning_rate=0.03)
    Trainer(learning_rate=0.03, schedule=EndToEnd(relative=True))
    """

    _parameter_constraints: ClassVar[dict] = {
        "relative": ["boolean"],
        "matrix_rate": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(self, relative: bool = False, matrix_rate: float | None = None) -> None:
        self.relative = relative
        self.matrix_rate = matrix_rate

    def stages(self, network: Unrolled) -> list[Stage]:
        """Return the one stage."""
        parameters = list(network.parameters())
        if self.matrix_rate is None:
            groups = [ParameterGroup(parameters, relative=self.relative)]
        else:
            others = [p for p in parameters if p.ndim <= 1]
            matrices = [p for p in parameters if p.ndim > 1]
            groups = [
                ParameterGroup(others, relative=self.relative),
                ParameterGroup(matrices, self.matrix_rate, relative=True),
            ]
        return [Stage("end_to_end", network.depth, [g for g in groups if g.parameters])]

    def all_at_once(self, network: Unrolled) -> Stage:
        """Return the one stage.

        Parameters
        ----------
        network : Unrolled
            The network to be trained.

        Returns
        -------
        Stage
            All layers.
        """
        return self.stages(network)[0]


class StageWise(Schedule):
    """Layer after layer: first what is new in it, then all layers so far at lower rates.

    Layer t is trained in ``len(rates)`` stages: the first moves the parameters first used in
    layer t, the others move those of all layers up to t. A new layer starts from the scalars
    of the layer before it. Chen, Liu, Wang and Yin 2018, and Liu, Chen, Wang and Yin 2019,
    train in this way.

    Parameters
    ----------
    rates : tuple of float, default=(1.0, 0.2, 0.02)
        Factor on the learning rate in each stage of a layer.
    layer_decay : float, default=0.3
        Further factor for every layer below the newest, where all move.
    relative : bool, default=True
        Whether rates are relative to the size of each parameter.

    Examples
    --------
    >>> from sklearn_unroll import Trainer
    >>> from sklearn_unroll.training import StageWise
    >>> Trainer(schedule=StageWise(rates=(1.0, 0.1)), learning_rate=0.03)
    Trainer(learning_rate=0.03, schedule=StageWise(rates=(1.0, 0.1)))
    """

    # NOTE[DIFF]: the official code multiplies gradients by 0.3^age, which Adam undoes; here the
    # learning rate of each group is multiplied.

    _parameter_constraints: ClassVar[dict] = {
        "rates": [tuple, list],
        "layer_decay": [Interval(Real, 0, 1, closed="right")],
        "relative": ["boolean"],
    }

    def __init__(
        self,
        rates: Sequence[float] = (1.0, 0.2, 0.02),
        layer_decay: float = 0.3,
        relative: bool = True,
    ) -> None:
        self.rates = rates
        self.layer_decay = layer_decay
        self.relative = relative

    def stages(self, network: Unrolled) -> list[Stage]:
        """Return ``depth * len(rates)`` stages.

        Raises
        ------
        ValueError
            If there is no rate, or one that is not positive.
        """
        if not self.rates or min(self.rates) <= 0:
            raise ValueError(f"rates must be positive and at least one, got {self.rates!r}.")
        new = [network.new_parameters(depth) for depth in range(1, network.depth + 1)]
        stages = []
        for depth in range(1, network.depth + 1):
            for number, rate in enumerate(self.rates):
                ages = range(1) if number == 0 else range(depth)
                groups = [
                    ParameterGroup(
                        new[depth - 1 - age], rate * self.layer_decay**age, self.relative
                    )
                    for age in ages
                    if new[depth - 1 - age]
                ]
                if groups:  # a layer whose parameters are all tied has nothing new
                    name = f"layer {depth}, {'new' if number == 0 else 'all'} x{rate:g}"
                    stages.append(Stage(name, depth, groups, number == 0))
        return stages

    def all_at_once(self, network: Unrolled) -> Stage:
        """Return a stage that trains everything, at rates relative as in the other stages.

        Parameters
        ----------
        network : Unrolled
            The network to be trained.

        Returns
        -------
        Stage
            All layers.
        """
        return EndToEnd(self.relative).stages(network)[0]


SCHEDULES: dict[str, type[Schedule]] = {"end_to_end": EndToEnd, "stage_wise": StageWise}
