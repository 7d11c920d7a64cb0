"""What disturbs the iterates between layers while a network is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from numbers import Real
from typing import ClassVar

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from sklearn_unroll.functional import Observation, layer_noise
from sklearn_unroll.functional.noise import NOISE_SCHEDULES

__all__ = ["LayerNoise", "Perturbation"]


class Perturbation(BaseEstimator, ABC):
    """What the next layer sees in place of an iterate; a stateless parameter object."""

    _parameter_constraints: ClassVar[dict] = {}

    @abstractmethod
    def perturb(
        self, number: int, x: Tensor, obs: Observation, generator: torch.Generator
    ) -> Tensor:
        """Return another iterate.

        Parameters
        ----------
        number : int
            How many layers there have been: 0 for the first iterate.
        x : Tensor of shape (n_samples, n_components)
            The iterate; not to be overwritten.
        obs : Observation
            Data and operator.
        generator : torch.Generator
            Source of randomness, on the device of x.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            What the next layer sees.
        """


class LayerNoise(Perturbation):
    """Gaussian noise on every iterate but the last.

    Parameters
    ----------
    schedule : {"log_gradient", "unit_norm", "constant"}, default="log_gradient"
        How much, see :func:`~sklearn_unroll.functional.layer_noise`.
    scale : float, default=1.0
        Factor on it.

    Examples
    --------
    >>> from sklearn_unroll import Trainer
    >>> from sklearn_unroll.training import LayerNoise
    >>> Trainer(perturbation=LayerNoise("constant", scale=0.1))
    Trainer(perturbation=LayerNoise(scale=0.1, schedule='constant'))
    """

    _parameter_constraints: ClassVar[dict] = {
        "schedule": [StrOptions(set(NOISE_SCHEDULES))],
        "scale": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, schedule: str = "log_gradient", scale: float = 1.0) -> None:
        self.schedule = schedule
        self.scale = scale

    def perturb(
        self, number: int, x: Tensor, obs: Observation, generator: torch.Generator
    ) -> Tensor:
        """Return x plus noise."""
        xi = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        return x + self.scale * layer_noise(xi, number, x.detach(), obs, self.schedule)
