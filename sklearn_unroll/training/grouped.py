"""Separate learning rates for separate kinds of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import ClassVar

from sklearn_unroll.nn.base import Unrolled
from sklearn_unroll.training.schedules import ParameterGroup, Schedule, Stage

__all__ = ["Grouped"]


class Grouped(Schedule):
    """All layers at once, every kind of parameter at its own rate.

    Parameters
    ----------
    rates : dict of str to float, default=None
        Positive factors on the learning rate by the name of the parameter in its layer, such as
        ``{"tau": 0.3, "lam": 0.1}``; others have factor one. None has none.
    scale_with_depth : bool, default=False
        Multiply the rate by the number of layers where every layer has its own parameter. In a
        network with steps ``h = T / L`` the gradient at one layer is 1/L of that of the function
        of depth which the parameter stands for; with plain gradient descent deeper networks
        then only train slower. Adam takes no notice of the size of gradients.

    Examples
    --------
    >>> from sklearn_unroll import Trainer
    >>> from sklearn_unroll.training import SGD, Grouped
    >>> Trainer(schedule=Grouped({"lam": 0.1}), optimizer=SGD(momentum=0.9))
    Trainer(optimizer=SGD(momentum=0.9), schedule=Grouped(rates={'lam': 0.1}))
    """

    _parameter_constraints: ClassVar[dict] = {
        "rates": [dict, None],
        "scale_with_depth": ["boolean"],
    }

    def __init__(
        self, rates: Mapping[str, float] | None = None, scale_with_depth: bool = False
    ) -> None:
        self.rates = rates
        self.scale_with_depth = scale_with_depth

    def stages(self, network: Unrolled) -> list[Stage]:
        """Return the one stage.

        Raises
        ------
        ValueError
            If a rate is not positive, or no parameter has its name.
        """
        rates = self.rates or {}
        if not all(isinstance(rate, Real) and rate > 0 for rate in rates.values()):
            raise ValueError(f"rates must be positive, got {rates!r}.")
        of = {id(p): rate for name, rate in rates.items() for p in network.over_depth(name)}
        kinds: dict[str, dict] = {}
        for layer in network.layers:
            for name, parameter in layer.named_parameters():
                kinds.setdefault(name, {})[id(parameter)] = parameter  # a tied one once
        groups = []
        for kind in kinds.values():
            rate = of.get(next(iter(kind)), 1.0)
            if self.scale_with_depth and len(kind) == network.depth:
                rate *= network.depth
            groups.append(ParameterGroup(list(kind.values()), rate))
        return [Stage("grouped", network.depth, groups)]

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
