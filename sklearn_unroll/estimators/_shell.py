"""What every estimator of the package shares, whatever it solves: its task says the rest."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.metrics import r2_score
from torch import Tensor

from sklearn_unroll._renamed import Renamed
from sklearn_unroll.estimators._arrays import from_tensor
from sklearn_unroll.estimators._checked import (
    check_dtype,
    check_magnitude,
    check_numbers,
    check_parameters,
    to_computed,
)
from sklearn_unroll.estimators._document import fill
from sklearn_unroll.estimators._groups import group_penalty, weighted
from sklearn_unroll.estimators._sizes import option
from sklearn_unroll.estimators._state import Given, as_fitted, kept_if_refused, to_host
from sklearn_unroll.estimators._units import Units
from sklearn_unroll.estimators._validation import (
    check_alpha,
    check_codes_match,
    check_weight,
)
from sklearn_unroll.functional import (
    L1,
    Composite,
    GroupL1,
    Observation,
    Penalty,
    Smooth,
    Zero,
)
from sklearn_unroll.functional.rows import whole
from sklearn_unroll.nn import Unrolled
from sklearn_unroll.training import History, Trainer


class Seen(NamedTuple):
    """What a fitted estimator was shown: validated array, data in the user's units, the units."""

    X: Any
    obs: Observation
    units: Units

    def whole(self) -> Seen:
        """Return what was seen with data as a tensor, where they are seen a few rows at a time."""
        return self._replace(obs=self.obs._replace(b=whole(self.obs.b)))


def stated(obs: Observation, f: Smooth, R: Penalty) -> Composite:
    """Return a problem to be evaluated; its classical step is left to who takes it."""
    return Composite(obs.b, obs.A, f, R)


class Task(ABC):
    """Which problem is solved, and how arrays get to the network and back; has no state."""

    @abstractmethod
    def prepare(
        self, estimator: Any, trainer: Trainer, y: Any, metadata: dict
    ) -> tuple[Trainer, bool]:
        """Return how to train, and whether y is looked at; raise where they do not fit."""

    @abstractmethod
    def take_in(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        trainer: Trainer,
        generator: torch.Generator,
        reset: bool,
        keep: bool,
        **metadata: Any,
    ) -> Given:
        """Validate what fit was given; ``keep`` goes on with what the last fit has seen."""

    @abstractmethod
    def state(self, estimator: Any, network: Unrolled, given: Given) -> dict:
        """Return the fitted attributes that depend on the trained network."""

    @abstractmethod
    def judge(
        self, estimator: Any, network: Unrolled, given: Given, history: History | None
    ) -> None:
        """Warn where a fit is worth nothing; without history after a batch of a stream."""

    @abstractmethod
    def alpha(self, estimator: Any) -> float:
        """Return the weight of the penalty for objectives of training that leave it open."""

    def penalty(self, estimator: Any, obs: Observation) -> Penalty | None:
        """Return what alpha weighs for objectives that leave it open; None for the l1 norm."""
        return None

    @abstractmethod
    def see(self, estimator: Any, X: Any, method: str, dtype: Any = None, **extra: Any) -> Seen:
        """Validate what a method of a fitted estimator was given."""

    @abstractmethod
    def see_codes(self, estimator: Any, y: Any, seen: Seen) -> Tensor:
        """Return codes that belong to what was seen, in the units of the network."""

    @abstractmethod
    def problem(self, estimator: Any, seen: Seen, alpha: Any = None) -> Composite:
        """Return the problem ``min f + R`` of data in the user's units; see :func:`stated`."""


@fill
class Shell(Renamed, BaseEstimator, ABC):
    """Fitted state, devices, and the two methods that theory, metrics and plots look through."""

    task: ClassVar[Task]
    _parameter_constraints: ClassVar[dict] = {"device": [str, torch.device]}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        fill(cls)

    def set_params(self, **params: Any) -> Shell:
        """Set parameters of this estimator and of nested objects: all of them, or none.

        Parameters
        ----------
        **params : dict
            Parameters, such as ``alpha``.

        Returns
        -------
        self : estimator
            This estimator.
        """
        with kept_if_refused(self):
            return super().set_params(**params)

    @as_fitted
    def observe(
        self, X: Any, y: Any = None, *, dtype: torch.dtype | None = None, **metadata: Any
    ) -> tuple[Observation, Tensor | None]:
        """Return data and operator as the network sees them, and codes in its units.

        Parameters
        ----------
        %(X)s
        %(y)s
        dtype : torch.dtype, default=None
            Of all tensors; that of the network by default.
        **metadata : Any
            What ``predict`` or ``transform`` takes for each sample, such as ``operators``.

        Returns
        -------
        tuple of (Observation, Tensor or None)
            For ``network_``.
        """
        check_dtype(dtype)
        seen = self._see(X, "observe", dtype, metadata)
        codes = None if y is None else self.task.see_codes(self, y, seen)
        return seen.units.inside(seen.obs), codes

    @as_fitted
    def problem(self, X: Any, *, alpha: Any = None, **metadata: Any) -> Composite:
        """Return the problem ``min_z f(z) + R(z)`` that is solved for observations.

        One definition for ``score``, ``certify``, scorers, theory and displays; in the units of
        X, on the estimator's device.

        Parameters
        ----------
        %(X)s
        alpha : float or array-like of shape (n_samples,), default=None
            Weight of the penalty; the estimator's own by default.
        **metadata : Any
            What ``predict`` or ``transform`` takes for each sample, such as ``operators``.

        Returns
        -------
        Composite
            Data, operator, smooth part f and penalty R, which is zero where the estimator has
            none.
        """
        problem = self.task.problem(self, self._see(X, "problem", None, metadata), alpha)
        check_magnitude(problem.b, "X")
        return Composite.of(problem.b, problem.A, problem.f, problem.R, problem.x0)

    @abstractmethod
    def compute_like(self, X: Any) -> Tensor:
        """Return a tensor with the dtype and on the device that results for X are computed in.

        Parameters
        ----------
        %(X)s

        Returns
        -------
        Tensor
            Any; a fitted network is moved to where it is.
        """

    def _see(self, X: Any, method: str, dtype: torch.dtype | None, metadata: dict) -> Seen:
        known = inspect.signature(self.task.see).parameters
        for name in metadata:
            if name not in known or name in ("est", "X", "method", "dtype"):
                raise TypeError(
                    f"{type(self).__name__}.{method} got an unexpected {name!r}: it takes what "
                    f"predict or transform takes for each sample."
                )
        return self.task.see(self, X, method, dtype, **metadata)

    def _validate_params(self) -> None:
        check_parameters(self)
        super()._validate_params()

    def __getstate__(self) -> dict:
        # What a fit on a GPU leaves must load where there is none.
        return to_host(super().__getstate__())


class Transforms(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Transformers to codes, whose ``fit_transform`` gives both methods what is theirs."""

    def fit_transform(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Fit, and return the codes of the observations.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.
        y : array-like of shape (n_samples, n_components), default=None
            As in ``fit``.
        **params : Any
            What ``fit`` and ``transform`` take for each sample; what both take goes to both.

        Returns
        -------
        array of shape (n_samples, n_components)
            Codes.
        """
        # scikit-learn's gives all of it to fit, and nothing to transform.
        takes = [inspect.signature(method).parameters for method in (self.fit, self.transform)]
        both = [{k: v for k, v in params.items() if k in names} for names in takes]
        for name in params:
            if name not in takes[0] and name not in takes[1]:
                raise TypeError(
                    f"{type(self).__name__}.fit_transform got an unexpected {name!r}: neither fit "
                    f"nor transform takes it."
                )
        return self.fit(X, y, **both[0]).transform(X, **both[1])

    def own_operator(self) -> Any:
        """Return what the constructor was given to map codes to observations.

        Returns
        -------
        object
            None where it is to be estimated from pairs.
        """
        return self.get_params(deep=False)[self.task.operator]

    def penalty_of(self, seen: Seen, alpha: Any = None) -> Penalty:
        """Return R of the problem in the user's units: ``alpha ||z||_1`` in the network's, or that
        of the estimator's groups.

        Parameters
        ----------
        seen : Seen
            What was seen, and its units.
        alpha : float or array-like of shape (n_samples,), default=None
            Another weight, in the user's units.

        Returns
        -------
        Penalty
            R, zero for estimators without alpha.
        """
        b = seen.obs.b
        if alpha is not None:
            weight = check_alpha(alpha, len(b), b.device)[:, None].to(b)
        else:
            weight = seen.units.weight(self.task.alpha(self))
        check_magnitude(torch.as_tensor(weight, dtype=b.dtype), "alpha, in units of X,", room=1.0)
        if alpha is None and not self.task.alpha(self):
            return Zero()
        R = self.unit_penalty(seen.obs.A.n_components)
        return weighted(R, weight) if isinstance(R, GroupL1) else L1(weight)

    def unit_penalty(self, n_components: int) -> Penalty:
        """Return the penalty that alpha weighs: the l1 norm, or that of the estimator's groups.

        Parameters
        ----------
        n_components : int
            Number of atoms.

        Returns
        -------
        Penalty
            L1 or GroupL1.
        """
        groups = option(self, "groups")
        return L1() if groups is None else group_penalty(groups, n_components)

    def _signals(self, X: Any, operators: Any = None) -> Any:
        """Return the signals of codes."""
        self.task.check_ready(self, X, "inverse_transform", operators)
        codes = check_numbers(X, "X", ensure_2d=not self._y_was_1d, allow_nd=False)
        z = check_magnitude(to_computed(codes, self.compute_like(codes)), "X")
        z = z[:, None] if z.ndim == 1 else z
        A = self.task.fitted_operator(self, z, operators)
        check_codes_match(z, A, self, "X")
        return from_tensor(A(z), codes)

    def _r2(self, seen: Seen, codes: Any, y: Any, sample_weight: Any) -> float:
        """Return R^2 of codes."""
        self.task.see_codes(self, y, seen)
        check_weight(sample_weight, seen.X, seen.obs.b)
        return r2_score(y, self._ravel(codes), sample_weight=sample_weight)

    def _ravel(self, codes: Any) -> Any:
        return codes[:, 0] if self._y_was_1d else codes

    @property
    def _n_features_out(self) -> int:
        return self.n_components_
