"""Penalties on the parameters of a network, added to what training minimises.

A parameter is a function of depth here: its value in every layer, found by name through
:meth:`~sklearn_unroll.nn.Unrolled.over_depth`, so that any network will do.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from itertools import pairwise
from numbers import Real
from typing import ClassVar

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from sklearn_unroll.nn.base import Unrolled

__all__ = ["DepthNorm", "ParameterPenalty", "Smoothness", "SumPenalty"]


class ParameterPenalty(BaseEstimator, ABC):
    """A penalty on parameters; a stateless parameter object. ``p + q`` is both of them."""

    _parameter_constraints: ClassVar[dict] = {}

    @abstractmethod
    def value(self, network: Unrolled) -> Tensor:
        """Return the penalty, to be added to the mean of the objective over the samples.

        Parameters
        ----------
        network : Unrolled
            The network.

        Returns
        -------
        Tensor of shape ()
            A nonnegative number, differentiable in the parameters.
        """

    def __add__(self, other: ParameterPenalty) -> SumPenalty:
        return SumPenalty(self, other)


class SumPenalty(ParameterPenalty):
    """Two penalties at once, made by ``first + second``.

    Parameters
    ----------
    first, second : ParameterPenalty
        The terms.
    """

    _parameter_constraints: ClassVar[dict] = {
        "first": [ParameterPenalty],
        "second": [ParameterPenalty],
    }

    def __init__(self, first: ParameterPenalty, second: ParameterPenalty) -> None:
        self.first = first
        self.second = second

    def value(self, network: Unrolled) -> Tensor:
        """Return the sum."""
        self._validate_params()
        return self.first.value(network) + self.second.value(network)


class DepthNorm(ParameterPenalty):
    """``sum_w weight_w ||w||_p^power`` with ``||w||_p = (1/L sum_l ||w_l||^p)^(1/p)``.

    The norms of the learning problem of Lin and Wu 2026, "Deep-layer limit and stability analysis
    of the basic forward-backward-splitting induced network (II): learning problems", Section 2.3:
    the factor 1/L makes them those of functions on (0, 1), so that a network and its limit have
    the same. Matrices count by their Frobenius norm.

    Parameters
    ----------
    weights : dict of str to float
        Nonnegative weight of every kind of parameter, by name, such as
        ``{"W": 1e-4, "tau": 1e-4, "lam": 1e-4}``; kinds without one are free.
    p : float, default=2
        At least one; ``inf`` is the largest norm of any layer.
    power : float, default=None
        Power of the norm, at least one; None is p (one for ``p=inf``), the mean over the layers
        of ``||w_l||^p``.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense
    >>> from sklearn_unroll.nn import fbs
    >>> from sklearn_unroll.training import DepthNorm
    >>> net = fbs(Dense(torch.eye(2)), n_layers=3, alpha=0.5)
    >>> DepthNorm({"W": 1.0, "lam": 2.0}).value(net).item()
    2.5
    """

    # NOTE[DIFF]: the text gives Lp norms with the factor 1/L and a locally Lipschitz function of
    # them; exponents and weights of the experiment are not legible in our source.
    _parameter_constraints: ClassVar[dict] = {
        "weights": [dict],
        "p": [Interval(Real, 1, None, closed="both")],
        "power": [Interval(Real, 1, None, closed="left"), None],
    }

    def __init__(
        self, weights: Mapping[str, float], p: float = 2, power: float | None = None
    ) -> None:
        self.weights = weights
        self.p = p
        self.power = power

    def value(self, network: Unrolled) -> Tensor:
        """Return the weighted sum of powers of the norms over depth."""
        self._validate_params()
        power = (1 if math.isinf(self.p) else self.p) if self.power is None else self.power

        def norm(values: list[Tensor]) -> Tensor:
            sizes = _sizes(values)
            if math.isinf(self.p):
                return sizes.max().pow(power)
            mean = sizes.pow(self.p).mean()
            # A root has no derivative at zero; the subgradient there is zero.
            return mean if power == self.p else _power(mean, power / self.p)

        return _weighted(self.weights, network, norm)


class Smoothness(ParameterPenalty):
    """How much parameters change over depth: ``L sum ||w_{l+1} - w_l||^2``, or without square.

    An extra of this package, not of any paper: ``"h1"`` is the squared norm of the derivative
    of a function on (0, 1), ``"tv"`` its total variation, which lets it jump. Theory assumes
    that parameter functions change evenly (equi-continuity); this makes them.

    Parameters
    ----------
    weights : dict of str to float
        Nonnegative weight of every kind of parameter, by name, such as ``{"W": 1e-4}``.
    kind : {"h1", "tv"}, default="h1"
        ``L sum ||w_{l+1} - w_l||^2`` or ``sum ||w_{l+1} - w_l||``.

    Examples
    --------
    >>> from sklearn_unroll import Trainer
    >>> from sklearn_unroll.training import DepthNorm, Smoothness
    >>> penalty = DepthNorm({"W": 1e-4}) + Smoothness({"W": 1e-3}, kind="tv")
    >>> Trainer(penalty=penalty).get_params()["penalty__second__kind"]
    'tv'
    """

    _parameter_constraints: ClassVar[dict] = {
        "weights": [dict],
        "kind": [StrOptions({"h1", "tv"})],
    }

    def __init__(self, weights: Mapping[str, float], kind: str = "h1") -> None:
        self.weights = weights
        self.kind = kind

    def value(self, network: Unrolled) -> Tensor:
        """Return the weighted sum of the changes over depth."""
        self._validate_params()

        def change(values: list[Tensor]) -> Tensor:
            if len(values) == 1:
                return torch.zeros_like(values[0]).sum()
            steps = [after - before for before, after in pairwise(values)]
            if self.kind == "h1":
                return len(values) * sum(step.square().sum() for step in steps)
            return _sizes(steps).sum()

        return _weighted(self.weights, network, change)


def _sizes(values: list[Tensor]) -> Tensor:
    """Return the Euclidean norms; their derivative at zero is zero."""
    return torch.stack([torch.linalg.vector_norm(value) for value in values])


def _power(mean: Tensor, exponent: float) -> Tensor:
    safe = torch.where(mean > 0, mean, torch.ones_like(mean))
    return torch.where(mean > 0, safe.pow(exponent), torch.zeros_like(mean))


def _weighted(weights: Mapping[str, float], network: Unrolled, measure: Callable) -> Tensor:
    total = torch.zeros_like(next(network.parameters()).detach().sum())
    for name, weight in weights.items():
        if not (isinstance(weight, Real) and math.isfinite(weight) and weight >= 0):
            raise ValueError(
                f"weights of a penalty must be nonnegative and finite, got {weight!r} for "
                f"{name!r}."
            )
        total = total + weight * measure(network.over_depth(name))
    return total
