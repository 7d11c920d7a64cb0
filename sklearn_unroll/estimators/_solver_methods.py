"""The methods of learned solvers: instances in, solutions out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from sklearn.base import _fit_context
from torch import Tensor

from sklearn_unroll.estimators._arrays import as_kind, from_tensor
from sklearn_unroll.estimators._document import fill
from sklearn_unroll.estimators._instances import check_n_iter
from sklearn_unroll.estimators._shell import Transforms
from sklearn_unroll.estimators._state import as_fitted
from sklearn_unroll.estimators._validation import check_weight, weighted_mean
from sklearn_unroll.functional import Composite, composite_gap
from sklearn_unroll.nn.guard import GuardedState
from sklearn_unroll.nn.lazy import lazy_run

__all__ = ["L2OSolution", "SolverMethods"]

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


@fill
class SolverMethods(Transforms):
    """The methods of an estimator whose ``task`` is :class:`Instances`, beside ``Learned``.

    It has at least the parameters ``operator``, ``loss``, ``penalty``, ``alpha`` and ``n_iter``.
    """

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        operators: Any = None,
        alpha: Any = None,
    ) -> Any:
        """Learn from instances, without their solutions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Instances.
        y : object, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights of the instances in the loss.
        %(problem_operators)s
        %(problem_alpha)s

        Returns
        -------
        %(fitted)s

        Raises
        ------
        %(fit_errors)s
        """
        return self.learn(X, y, sample_weight, operators=operators, alpha=alpha)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        operators: Any = None,
        alpha: Any = None,
    ) -> Any:
        """Take one pass over a batch of a stream of instances.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Instances.
        y : object, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights of the instances in the loss.
        %(problem_operators)s
        %(problem_alpha)s

        Returns
        -------
        %(fitted)s

        Raises
        ------
        %(fit_errors)s
        """
        return self.learn_more(X, y, sample_weight, operators=operators, alpha=alpha)

    @as_fitted
    def predict(
        self,
        X: Any,
        *,
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
        %(n_iter)s
        %(problem_operators)s
        %(problem_alpha)s
        %(x0)s

        Returns
        -------
        array of shape (n_samples, n_components)
            Codes, with the kind, device and float dtype of X.
        """
        seen = self.task.see(self, X, "predict", None, operators, alpha, x0)
        return from_tensor(self._run(seen.obs, n_iter)[0], seen.X)

    @as_fitted
    def transform(
        self, X: Any, *, n_iter: int | None = None, operators: Any = None, alpha: Any = None
    ) -> Any:
        """Return the solutions of instances, as ``predict`` does.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Instances.
        %(n_iter)s
        %(problem_operators)s
        %(problem_alpha)s

        Returns
        -------
        array of shape (n_samples, n_components)
            Codes.
        """
        seen = self.task.see(self, X, "transform", None, operators, alpha)
        return from_tensor(self._run(seen.obs, n_iter)[0], seen.X)

    @as_fitted
    def solve(
        self,
        X: Any,
        *,
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
        %(n_iter)s
        %(problem_operators)s
        %(problem_alpha)s
        %(x0)s

        Returns
        -------
        L2OSolution
            Codes, objectives, gaps, fallbacks and the objectives on the way.
        """
        seen = self.task.see(self, X, "solve", None, operators, alpha, x0)
        x, n_fallbacks, trajectory = self._run(seen.obs, n_iter, watch=True)
        numbers = (trajectory[-1], composite_gap(x, seen.obs), n_fallbacks, trajectory)
        return L2OSolution(
            from_tensor(x, seen.X), *(as_kind(number, seen.X) for number in numbers)
        )

    @as_fitted
    def staged_predict(
        self,
        X: Any,
        *,
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
        %(n_iter)s
        %(problem_operators)s
        %(problem_alpha)s
        %(x0)s

        Yields
        ------
        array of shape (n_samples, n_components)
            Codes after iteration 1, 2, ...
        """
        seen = self.task.see(self, X, "staged_predict", None, operators, alpha, x0)
        n_iter = check_n_iter(self.n_iter if n_iter is None else n_iter)
        layer = self.network_.layers[0]
        fast = lazy_run(layer, seen.obs)
        if fast is not None:
            for x in fast.stages(seen.obs, n_iter):
                yield from_tensor(x.clone(), seen.X)
            return
        state = layer.init(seen.obs)
        for _ in range(n_iter):
            state = layer(state, seen.obs)
            yield from_tensor(layer.readout(state).clone(), seen.X)

    @as_fitted
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
        %(sample_weight)s
        %(problem_operators)s
        %(problem_alpha)s

        Returns
        -------
        float
            Greater is better.
        """
        seen = self.task.see(self, X, "score", None, operators, alpha)
        value = seen.obs.value(self._run(seen.obs, None)[0])
        return -weighted_mean(value, check_weight(sample_weight, seen.X, value))

    @as_fitted
    def certify(self, X: Any, operators: Any = None, alpha: Any = None) -> Any:
        """Return how far the solutions of ``predict`` are from the optimum, at most.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Instances.
        %(problem_operators)s
        %(problem_alpha)s

        Returns
        -------
        array of shape (n_samples,)
            Duality gaps relative to the objective at the start, in float64; infinite for
            problems whose dual is not known.
        """
        seen = self.task.see(self, X, "certify", None, operators, alpha)
        problem = seen.obs.exact()
        codes = self._run(seen.obs, None)[0].to(problem.b)
        return as_kind(composite_gap(codes, problem), seen.X)

    def _run(
        self, problem: Composite, n_iter: int | None, watch: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return codes, fallbacks and, where they are watched, the objectives on the way."""
        n_iter = check_n_iter(self.n_iter if n_iter is None else n_iter)
        layer, parts = self.network_.layers[0], []
        fast = lazy_run(layer, problem)
        if fast is not None:
            return tuple(fast.solve(problem, n_iter, watch))
        on_cpu = problem.b.device.type == "cpu"
        coordinates = _COORDINATES if on_cpu else 512 * _COORDINATES
        for _, part in problem.chunks(max(coordinates // problem.A.n_components, 1)):
            state = layer.init(part)
            values = [part.value(layer.readout(state))] if watch else []
            for _ in range(n_iter):
                state = layer(state, part)
                if watch:
                    values.append(part.value(layer.readout(state)))
            guarded = isinstance(state, GuardedState)
            counts = state.n_fallbacks if guarded else torch.zeros_like(part.b[:, 0]).long()
            parts.append((layer.readout(state), counts, torch.stack(values) if watch else None))
        x, n_fallbacks, trajectories = zip(*parts, strict=True)
        trajectory = torch.cat(trajectories, 1) if watch else None
        return torch.cat(x), torch.cat(n_fallbacks), trajectory

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
