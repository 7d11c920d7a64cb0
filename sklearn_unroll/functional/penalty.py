"""What a penalty is: a value per sample and a proximal operator, as a parameter object."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.functional._given import tensor_of

__all__ = ["Entrywise", "Norm", "Penalty", "Scaled"]


class Entrywise(NamedTuple):
    """``R(x) = sum_j w_j (s |x_j| + (1 - s) / 2 x_j^2)``, over all codes or nonnegative ones.

    Parameters
    ----------
    weight : float or array
        The weights w, of a shape that broadcasts against codes.
    share : float
        The share s of magnitudes.
    positive : bool
        Whether R is infinite where an entry is negative.
    """

    weight: Any
    share: float
    positive: bool = False


class Penalty(ABC):
    """A convex function ``R`` of a code, and ``prox(x, s) = argmin_u 0.5 ||u - x||^2 + s R(u)``.

    A parameter object: constructors assign what they are given, so that scikit-learn clones
    penalties and searches over their parameters. Tensors and arrays among these are brought to
    the dtype and device of the codes when they are used. Whatever has ``value(x)`` and
    ``prox(x, step)`` as described here may stand where a penalty is expected.
    """

    @abstractmethod
    def value(self, x: Tensor) -> Tensor:
        """Return ``R(x)`` of every row; infinity outside the domain.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        Tensor of shape (n_samples,)
            Values.
        """

    @abstractmethod
    def prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        """Return ``argmin_u 0.5 ||u - x||^2 + step R(u)`` for every row.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_components)
            Points; not overwritten.
        step : float or Tensor of shape () or (n_samples, 1)
            Nonnegative.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            The points after the proximal step.
        """

    def entrywise(self) -> Entrywise | None:
        """Return what it does to every entry; default: None, it is not known.

        Compiled loops ask for it, see :mod:`sklearn_unroll.nn.lazy`.

        Returns
        -------
        Entrywise or None
            Weights, and which norm they are of.
        """
        return None

    def take(self, rows: Tensor | slice) -> Penalty:
        """Return the penalty of a subset of samples.

        Parameters
        ----------
        rows : Tensor or slice
            Which samples to keep.

        Returns
        -------
        Penalty
            Two-dimensional parameters, one row a sample, lose the other rows.
        """
        params = self.get_params()
        sliced = {
            name: tensor_of(value, name)[rows]
            for name, value in params.items()
            if getattr(value, "ndim", 0) == 2
        }
        return type(self)(**(params | sliced)) if sliced else self

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's parameters, as scikit-learn's estimators do.

        Parameters
        ----------
        deep : bool, default=True
            No difference here.

        Returns
        -------
        dict
            Names and values.
        """
        return {name: getattr(self, name) for name in _parameters(type(self))}

    def set_params(self, **params: Any) -> Penalty:
        """Set parameters, checked as in the constructor.

        Parameters
        ----------
        **params : dict
            Names and values.

        Returns
        -------
        Penalty
            This one.
        """
        known = self.get_params()
        for name in params:
            if name not in known:
                raise ValueError(
                    f"Invalid parameter {name!r} for {type(self).__name__}; it has "
                    f"{sorted(known) or 'none'}."
                )
        self.__init__(**(known | params))
        return self

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({given})"


class Norm(Penalty):
    """A norm, or one of nonnegative codes: its conjugate is zero in the ball of its dual norm."""

    @abstractmethod
    def dual_norm(self, w: Tensor) -> Tensor:
        """Return the largest inner product of every row with codes in the unit ball.

        Parameters
        ----------
        w : Tensor of shape (n_samples, n_components)
            Points of the dual space.

        Returns
        -------
        Tensor of shape (n_samples,)
            Norms.
        """


@cache
def _parameters(kind: type) -> tuple[str, ...]:
    """Return the names of a constructor's parameters."""
    return tuple(inspect.signature(kind).parameters)


class Scaled(Penalty):
    """``R(x) = factor P(x)``: what remains to be minimised beside f in ``f(x) + alpha P(x)``.

    Parameters
    ----------
    penalty : Penalty
        P, or any object with ``value(x)`` and ``prox(x, step)``, whose parameters are then the
        same for all samples.
    factor : float or array of shape (n_samples, 1), default=1.0
        Nonnegative; zero leaves the domain of P.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import L1, Scaled
    >>> Scaled(L1(weight=2.0), 0.5).value(torch.tensor([[-3.0, 0.5]]))
    tensor([3.5000])
    """

    def __init__(self, penalty: Any, factor: Any = 1.0) -> None:
        self.penalty = penalty
        self.factor = nonnegative("factor", factor)

    def value(self, x: Tensor) -> Tensor:
        """Return ``factor P(x)``, infinity outside the domain."""
        value = self.penalty.value(x)
        scaled = (like(x, self.factor) * value[:, None])[:, 0]
        return torch.where(value.isinf(), value, scaled)

    def prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        """Return the prox of P for ``factor step``."""
        return self.penalty.prox(x, like(x, self.factor) * step)

    def take(self, rows: Tensor | slice) -> Penalty:
        """Return the penalty of a subset of samples."""
        penalty = self.penalty
        if isinstance(penalty, Penalty):
            penalty = penalty.take(rows)
        return Scaled(penalty, super().take(rows).factor)


def nonnegative(name: str, value: Any) -> Any:
    """Return a weight as it is, and raise if it is negative or not finite."""
    as_tensor = tensor_of(value, name)
    if not bool((torch.isfinite(as_tensor) & (as_tensor >= 0)).all()):
        raise ValueError(f"{name} must be nonnegative and finite, got {value!r}.")
    return value


def like(x: Tensor, value: Any) -> Any:
    """Return a parameter that combines with x: numbers stay, arrays get its dtype and device."""
    if isinstance(value, (int, float)):
        return value
    return tensor_of(value, "weight", x)
