"""What training minimises: one value per sample, from the iterates.

The loop weights and pools these values, so that a loss is always
``sum(w value) / sum(w scale)``: relative, and exact under ``sample_weight``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from numbers import Real
from typing import ClassVar

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from torch import Tensor

from sklearn_unroll.functional import Observation, Penalty, lasso_value

__all__ = ["OBJECTIVES", "Lasso", "Objective", "Supervised"]


class Objective(BaseEstimator, ABC):
    """A training objective; a stateless parameter object, clone-able and grid-searchable."""

    requires_y: ClassVar[bool]
    # Whether the scale is the value of the zero code: above it a sample is worse than zeros.
    relative_to_zero: ClassVar[bool] = False
    _parameter_constraints: ClassVar[dict] = {}

    @abstractmethod
    def value(self, iterates: list[Tensor], obs: Observation, y: Tensor | None) -> Tensor:
        """Return the objective of every sample.

        Parameters
        ----------
        iterates : list of Tensor of shape (n_samples, n_components)
            ``x_0 .. x_depth``.
        obs : Observation
            Data and operator.
        y : Tensor of shape (n_samples, n_components) or None
            True codes, never None where ``requires_y``.

        Returns
        -------
        Tensor of shape (n_samples,)
            Values to be minimised.
        """

    def scale(self, obs: Observation, y: Tensor | None) -> Tensor:
        """Return what a value is relative to, its size for the zero code; ones by default.

        Parameters
        ----------
        obs : Observation
            Data and operator.
        y : Tensor of shape (n_samples, n_components) or None
            True codes.

        Returns
        -------
        Tensor of shape (n_samples,)
            Nonnegative scales.
        """
        return torch.ones_like(obs.b[:, 0])


class Supervised(Objective):
    """Squared distance to the true codes, ``||x_K - y||^2`` relative to ``||y||^2``.

    Pooled over samples this is the NMSE.

    Parameters
    ----------
    layers : {"last", "all"}, default="last"
        Whether the last iterate counts or the mean over all layers; with ``"all"`` the
        intermediate layers stay meaningful (see ``staged_predict``).

    Examples
    --------
    >>> from sklearn_unroll import LISTARegressor, Trainer
    >>> from sklearn_unroll.training import Supervised
    >>> model = LISTARegressor(trainer=Trainer(objective=Supervised(layers="all")))
    """

    requires_y: ClassVar[bool] = True
    relative_to_zero: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict] = {"layers": [StrOptions({"last", "all"})]}

    def __init__(self, layers: str = "last") -> None:
        self.layers = layers

    def value(self, iterates: list[Tensor], obs: Observation, y: Tensor | None) -> Tensor:
        """Return the squared distance of every sample."""
        chosen = _counted(iterates, self.layers)
        return sum((x - y).square().sum(-1) for x in chosen) / len(chosen)

    def scale(self, obs: Observation, y: Tensor | None) -> Tensor:
        """Return ``||y||^2``."""
        return y.square().sum(-1)


class Lasso(Objective):
    """The problem itself, ``0.5 ||A x - b||^2 + alpha ||x||_1`` relative to ``0.5 ||b||^2``.

    Needs no true codes. With a penalty R in place of the l1 norm it is ``alpha R(x)``.

    Parameters
    ----------
    alpha : float, default=None
        Weight of the penalty; None takes the estimator's.
    layers : {"last", "all"}, default="last"
        Whether the last iterate counts or the mean over all layers.
    penalty : Penalty, default=None
        What alpha weighs; None takes the estimator's, the l1 norm unless it has groups.

    Examples
    --------
    >>> from sklearn_unroll import LISTARegressor, Trainer
    >>> from sklearn_unroll.training import Lasso
    >>> model = LISTARegressor(alpha=0.2, trainer=Trainer(objective=Lasso()))
    """

    requires_y: ClassVar[bool] = False
    relative_to_zero: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict] = {
        "alpha": [Interval(Real, 0, None, closed="left"), None],
        "layers": [StrOptions({"last", "all"})],
        "penalty": [HasMethods(["value"]), None],
    }

    def __init__(
        self, alpha: float | None = None, layers: str = "last", penalty: Penalty | None = None
    ) -> None:
        self.alpha = alpha
        self.layers = layers
        self.penalty = penalty

    def value(self, iterates: list[Tensor], obs: Observation, y: Tensor | None) -> Tensor:
        """Return the objective of every sample."""
        chosen = _counted(iterates, self.layers)
        return sum(lasso_value(x, obs, self.alpha, self.penalty) for x in chosen) / len(chosen)

    def scale(self, obs: Observation, y: Tensor | None) -> Tensor:
        """Return ``0.5 ||b||^2``, the objective of the zero code."""
        return 0.5 * obs.b.square().sum(-1)


def _counted(iterates: list[Tensor], layers: str) -> list[Tensor]:
    """Return the iterates that enter a loss; the first one never does."""
    return iterates[-1:] if layers == "last" else iterates[1:]


OBJECTIVES: dict[str, type[Objective]] = {"supervised": Supervised, "lasso": Lasso}
