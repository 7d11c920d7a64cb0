"""Optimisers: how gradients become steps, each with its own settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

__all__ = ["OPTIMIZERS", "SGD", "Adam", "Optimizer"]


class Optimizer(BaseEstimator, ABC):
    """How gradients become steps; a stateless parameter object.

    The learning rate is the trainer's, times the factors of its schedule.
    """

    _parameter_constraints: ClassVar[dict] = {}

    @abstractmethod
    def over(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Return a torch optimiser of parameter groups.

        Parameters
        ----------
        groups : list of dict
            Each with ``"params"``, a list of parameters, and ``"lr"``, their learning rate.

        Returns
        -------
        torch.optim.Optimizer
            What takes the steps.
        """


class Adam(Optimizer):
    """``p - lr m / (sqrt(v) + eps)``, m and v running means of the gradient and its square.

    Kingma and Ba 2015, "Adam: a method for stochastic optimization".

    Parameters
    ----------
    betas : tuple of (float, float), default=(0.9, 0.999)
        Decay of the averages of the gradient and of its square, from 0 to 1, 1 excluded.

    Examples
    --------
    >>> from sklearn_unroll import Trainer
    >>> from sklearn_unroll.training import Adam
    >>> trainer = Trainer(optimizer=Adam(betas=(0.9, 0.99)))
    """

    _parameter_constraints: ClassVar[dict] = {"betas": [tuple, list]}

    def __init__(self, betas: Sequence[float] = (0.9, 0.999)) -> None:
        self.betas = betas

    def over(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Return torch's Adam.

        Raises
        ------
        ValueError
            If ``betas`` are not two numbers from 0 to 1.
        """
        if len(self.betas) != 2 or not all(
            isinstance(beta, Real) and 0 <= beta < 1 for beta in self.betas
        ):
            raise ValueError(
                f"betas must be two numbers from 0 to 1, 1 excluded; got {self.betas!r}."
            )
        return torch.optim.Adam(groups, betas=tuple(self.betas))


class SGD(Optimizer):
    """``p - lr v`` with ``v <- momentum v + gradient``, (stochastic) gradient descent.

    Parameters
    ----------
    momentum : float, default=0.0
        Share of the last step that goes on, from 0 to 1, 1 excluded.

    Examples
    --------
    >>> from sklearn_unroll import Trainer
    >>> from sklearn_unroll.training import SGD
    >>> Trainer(optimizer=SGD(momentum=0.9)).get_params()["optimizer__momentum"]
    0.9
    """

    _parameter_constraints: ClassVar[dict] = {"momentum": [Interval(Real, 0, 1, closed="left")]}

    def __init__(self, momentum: float = 0.0) -> None:
        self.momentum = momentum

    def over(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Return torch's SGD."""
        return torch.optim.SGD(groups, momentum=self.momentum)


OPTIMIZERS: dict[str, type[Optimizer]] = {"adam": Adam, "sgd": SGD}
