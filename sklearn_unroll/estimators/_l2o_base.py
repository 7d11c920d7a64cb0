"""What every learned solver shares: instances in, solutions out. No equation here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils._array_api import check_same_namespace
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from sklearn_unroll.estimators._l2o_problem import (
    check_labels,
    check_n_iter,
    check_operators,
    check_x0,
    make_problem,
)
from sklearn_unroll.estimators._state import any_tensor
from sklearn_unroll.estimators._validation import (
    as_kind,
    float_dtypes,
    from_tensor,
    refuse_complex,
    resolve_device,
    to_tensor,
)
from sklearn_unroll.functional import Composite, Dense, Operator, composite_gap

__all__ = ["BaseL2OSolver", "L2OSolution"]

_COORDINATES = 2**13  # solved at a time on the CPU, so that features stay in the cache


class L2OSolution(NamedTuple):
    """What :meth:`MathL2OSolver.solve` found, as arrays of the kind of X.

    Parameters
    ----------
    codes : array of shape (n_samples, n_components)
        The last iterates.
    objective : array of shape (n_samples,)
        Their objectives.
    gap : array of shape (n_samples,)
        Duality gaps relative to the objective at the start: bounds on what the objective exceeds
        its minimum by. Infinite for problems whose dual is not known.
    n_fallbacks : array of shape (n_samples,)
        In how many iterations the classical step was taken; zeros without safeguard.
    trajectory : array of shape (n_iter + 1, n_samples)
        Objectives of all iterates, the start included.
    """

    codes: Any
    objective: Any
    gap: Any
    n_fallbacks: Any
    trajectory: Any


class BaseL2OSolver(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """Prediction and its validation; a subclass says how to fit.

    A subclass has a constructor that only assigns, with at least ``operator``, ``loss``,
    ``penalty``, ``alpha``, ``n_iter`` and ``device``.
    """

    @abstractmethod
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        operators: Any = None,
        alpha: Any = None,
    ) -> BaseL2OSolver:
        """Set ``network_``, ``n_components_`` and ``classes_``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Instances.
        y : object, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights of the instances in the loss.
        operators : array-like of shape (n_samples, n_components, n_features), default=None
            The operator of every instance, or one for all.
        alpha : float or array-like of shape (n_samples,), default=None
            Weight of a named penalty for every instance.

        Returns
        -------
        self : estimator
            The fitted estimator.
        """

    def predict(
        self,
        X: Any,
        n_iter: int | None = None,
        operators: Any = None,
        alpha: Any = None,
        x0: Any = None,
    ) -> Any:
        """Return the solutions of instances.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Instances, of any size where ``operators`` are passed.
        n_iter : int, default=None
            Iterations; the estimator's own by default.
        operators : array-like of shape (n_samples, n_components, n_features), default=None
            The operator of every instance, or one for all.
        alpha : float or array-like of shape (n_samples,), default=None
            Weight of a named penalty for every instance.
        x0 : array-like of shape (n_samples, n_components), default=None
            Where to start, zero by default.

        Returns
        -------
        array of shape (n_samples, n_components)
            Codes, with the kind, device and float dtype of X.
        """
        checked, problem = self._observe(X, operators, alpha, x0, "predict")
        return from_tensor(self._run(problem, n_iter)[0], checked)

    def transform(
        self, X: Any, n_iter: int | None = None, operators: Any = None, alpha: Any = None
    ) -> Any:
        """Return the solutions of instances, as ``predict`` does.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Instances.
        n_iter : int, default=None
            Iterations; the estimator's own by default.
        operators : array-like of shape (n_samples, n_components, n_features), default=None
            The operator of every instance, or one for all.
        alpha : float or array-like of shape (n_samples,), default=None
            Weight of a named penalty for every instance.

        Returns
        -------
        array of shape (n_samples, n_components)
            Codes.
        """
        checked, problem = self._observe(X, operators, alpha, None, "transform")
        return from_tensor(self._run(problem, n_iter)[0], checked)

    def solve(
        self,
        X: Any,
        n_iter: int | None = None,
        operators: Any = None,
        alpha: Any = None,
        x0: Any = None,
    ) -> L2OSolution:
        """Return the solutions of instances with objectives, gaps and counts.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Instances, of any size where ``operators`` are passed.
        n_iter : int, default=None
            Iterations; the estimator's own by default.
        operators : array-like of shape (n_samples, n_components, n_features), default=None
            The operator of every instance, or one for all.
        alpha : float or array-like of shape (n_samples,), default=None
            Weight of a named penalty for every instance.
        x0 : array-like of shape (n_samples, n_components), default=None
            Where to start, zero by default.

        Returns
        -------
        L2OSolution
            Codes, objectives, gaps, fallbacks and the objectives on the way.
        """
        checked, problem = self._observe(X, operators, alpha, x0, "solve")
        x, n_fallbacks, trajectory = self._run(problem, n_iter, watch=True)
        gap = composite_gap(x, problem)
        found = (from_tensor(x, checked), trajectory[-1], gap, n_fallbacks, trajectory)
        return L2OSolution(*(as_kind(f, checked) if isinstance(f, Tensor) else f for f in found))

    @torch.no_grad()
    def staged_predict(
        self,
        X: Any,
        n_iter: int | None = None,
        operators: Any = None,
        alpha: Any = None,
        x0: Any = None,
    ) -> Iterator[Any]:
        """Yield the iterates of instances, the last of which ``predict`` returns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Instances, of any size where ``operators`` are passed.
        n_iter : int, default=None
            Iterations; the estimator's own by default.
        operators : array-like of shape (n_samples, n_components, n_features), default=None
            The operator of every instance, or one for all.
        alpha : float or array-like of shape (n_samples,), default=None
            Weight of a named penalty for every instance.
        x0 : array-like of shape (n_samples, n_components), default=None
            Where to start, zero by default.

        Yields
        ------
        array of shape (n_samples, n_components)
            Codes after iteration 1, 2, ...
        """
        checked, problem = self._observe(X, operators, alpha, x0, "staged_predict")
        layer = self.network_.layers[0]
        state = layer.init(problem)
        for _ in range(check_n_iter(self.n_iter if n_iter is None else n_iter)):
            state = layer(state, problem)
            yield from_tensor(layer.readout(state).clone(), checked)

    def score(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        operators: Any = None,
        alpha: Any = None,
    ) -> float:
        """Return minus the mean objective after ``n_iter`` iterations.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Instances.
        y : object, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the instances.
        operators : array-like of shape (n_samples, n_components, n_features), default=None
            The operator of every instance, or one for all.
        alpha : float or array-like of shape (n_samples,), default=None
            Weight of a named penalty for every instance.

        Returns
        -------
        float
            Greater is better.
        """
        checked, problem = self._observe(X, operators, alpha, None, "score")
        value = problem.value(self._run(problem, None)[0]).double()
        weight = torch.ones_like(value)
        if sample_weight is not None:
            given = _check_sample_weight(sample_weight, checked, ensure_non_negative=True)
            weight = to_tensor(given, dtype=value.dtype, device=value.device)
        return -float((weight * value).sum() / weight.sum())

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def _problem(
        self, b: Tensor, operators: Any, alpha: Any, classes: Any
    ) -> tuple[Composite, Tensor | None]:
        """Return instances, and the classes of their labels."""
        if self.loss == "logistic":
            b, classes = check_labels(b, classes)
        if operators is not None:
            A = check_operators(operators, b)
        elif self.operator is not None:
            A = check_operators(self.operator, b, "operator")
        else:
            A = Dense(torch.eye(b.shape[1], dtype=b.dtype, device=b.device))
        weight = self.alpha if alpha is None else alpha
        return make_problem(b, A, self.loss, self.penalty, weight), classes

    def _observe(
        self, X: Any, operators: Any, alpha: Any, x0: Any, method: str
    ) -> tuple[Any, Composite]:
        check_is_fitted(self)
        refuse_complex(X, "X")
        if operators is None:
            if self.operator_ is None:
                raise ValueError(
                    f"{type(self).__name__} was fitted with operators of the instances and has "
                    f"none of its own: pass operators=..., or operator=... to the constructor."
                )
            if not isinstance(self.operator_, Operator):
                check_same_namespace(X, self, attribute="operator_", method=method)
            checked = validate_data(self, X, reset=False, dtype=float_dtypes(X))
            operators = self.operator_
        else:
            # Instances of any size.
            checked = check_array(X, dtype=float_dtypes(X), input_name="X")
        device = resolve_device(self.device, checked)
        if any_tensor(self.network_).device != device:
            self.network_.to(device)
        b = to_tensor(checked, dtype=None, device=device)
        classes = None
        if self.classes_ is not None:
            classes = to_tensor(self.classes_, dtype=b.dtype, device=device)
        problem, _ = self._problem(b, operators, alpha, classes)
        return checked, problem._replace(x0=check_x0(x0, b, problem.A))

    @torch.no_grad()
    def _run(
        self, problem: Composite, n_iter: int | None, watch: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return codes, fallbacks and, where they are watched, the objectives on the way."""
        n_iter = check_n_iter(self.n_iter if n_iter is None else n_iter)
        layer, parts = self.network_.layers[0], []
        on_cpu = problem.b.device.type == "cpu"
        coordinates = _COORDINATES if on_cpu else 512 * _COORDINATES
        for _, part in problem.chunks(max(coordinates // problem.A.n_components, 1)):
            state = layer.init(part)
            values = [part.value(layer.readout(state))] if watch else []
            for _ in range(n_iter):
                state = layer(state, part)
                if watch:
                    values.append(part.value(layer.readout(state)))
            counts = getattr(state, "n_fallbacks", torch.zeros_like(part.b[:, 0]).long())
            parts.append((layer.readout(state), counts, torch.stack(values) if watch else None))
        x, n_fallbacks, trajectories = zip(*parts, strict=True)
        trajectory = torch.cat(trajectories, 1) if watch else None
        return torch.cat(x), torch.cat(n_fallbacks), trajectory
