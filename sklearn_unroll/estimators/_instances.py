"""The task of solving instances ``min f(x) + R(x)``, one in each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.utils._array_api import check_same_namespace
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sklearn_unroll.estimators._arrays import from_tensor, resolve_device, to_tensor
from sklearn_unroll.estimators._checked import (
    check_magnitude,
    check_numbers,
    check_observations,
    to_computed,
)
from sklearn_unroll.estimators._judge import compared, judge_trained
from sklearn_unroll.estimators._missing import observed, split_missing
from sklearn_unroll.estimators._operators import check_operator, check_operators
from sklearn_unroll.estimators._shell import Seen, Task
from sklearn_unroll.estimators._state import Given
from sklearn_unroll.estimators._tried import check_penalty, check_smooth
from sklearn_unroll.estimators._units import Units
from sklearn_unroll.estimators._validation import (
    check_alpha,
    check_weight,
)
from sklearn_unroll.functional import (
    L1,
    Composite,
    Dense,
    ElasticNet,
    GroupL1,
    LeastSquares,
    Logistic,
    NoData,
    NonnegativeL1,
    Observation,
    Operator,
    Penalty,
    Quadratic,
    Smooth,
    Zero,
)
from sklearn_unroll.nn import Unrolled
from sklearn_unroll.solvers import optimal_values
from sklearn_unroll.training import History, ProblemObjective, Trainer

LOSSES: dict[str, type[Smooth]] = {
    "least_squares": LeastSquares,
    "logistic": Logistic,
    "none": NoData,
}
PENALTIES: dict[str, type[Penalty]] = {
    "l1": L1,
    "nonnegative_l1": NonnegativeL1,
    "elastic_net": ElasticNet,
    "ridge": Quadratic,
    "none": Zero,
}
SAME = Units(None, None)
_LOOK_AT = 256  # instances of the fit


@dataclass(frozen=True)
class Instances(Task):
    """``min f(z) + R(z)``: every row is an instance, learned from without its solution."""

    def prepare(self, est: Any, trainer: Trainer, y: Any, metadata: dict) -> tuple[Trainer, bool]:
        """Return how to train, on the problem itself; y is ignored."""
        if trainer.objective is None:
            trainer = clone(trainer).set_params(objective=ProblemObjective("log"))
        trainer.resolve_objective(False, est.alpha)
        return trainer, False

    def take_in(
        self,
        est: Any,
        X: Any,
        y: Any,
        sample_weight: Any,
        operators: Any = None,
        alpha: Any = None,
        *,
        trainer: Trainer,
        generator: torch.Generator,
        reset: bool = True,
        keep: bool = False,
    ) -> Given:
        """Validate instances, and find their optimal values where the objective wants them."""
        # Where each instance brings its operator, a stream may be of several sizes.
        own_sizes = not reset and operators is not None
        nan = takes_missing(est)
        if own_sizes:
            X = check_rows(X, missing=nan)
        else:
            X = check_observations(est, X, reset=reset, missing=nan)
        b = to_tensor(X, dtype=None, device=resolve_device(est.device, X))
        b, visible = split_missing(b)
        check_magnitude(b, "X", least=torch.finfo(b.dtype).tiny ** 0.5)
        weight = check_weight(sample_weight, X, b)
        own = None
        if est.operator is not None:
            own = check_operator(est.operator, b, "operator")
        elif operators is None:
            own = Dense(torch.eye(b.shape[1], dtype=b.dtype, device=b.device))
        A = observed(own if operators is None else check_operators(operators, b), visible)
        known = est.classes_ if keep else None
        if known is not None:
            known = to_tensor(known, dtype=b.dtype, device=b.device)
        if not isinstance(est.loss, str):
            check_smooth(est.loss, Observation(b, A))
        problem, classes = make_problem(est, b, A, alpha, known)
        check_penalty(problem.R, b, A.n_components)
        if isinstance(trainer.objective, ProblemObjective):
            problem = problem._replace(least=optimal_values(problem.exact()).to(b.dtype))
        fitted = {
            "operator_": from_tensor(own.D.clone(), X) if isinstance(own, Dense) else own,
            "n_components_": A.n_components,
            "classes_": None if classes is None else from_tensor(classes, X),
        }
        return Given(X, None, problem, None, weight, generator, keep, fitted)

    def state(self, est: Any, network: Unrolled, given: Given) -> dict:
        """Return nothing: all is in the network."""
        return {}

    @torch.no_grad()
    def judge(self, est: Any, network: Unrolled, given: Given, history: History | None) -> None:
        """Compare the solutions of the fit with the start, which is what costs nothing."""
        problem = given.obs.take(slice(_LOOK_AT))
        found = network(problem)
        values = [float(problem.value(x).double().sum()) for x in (found, problem.first())]
        least = min(0.0, *values)  # an objective may be negative
        said = compared("the objective", values[0] - least, "the start", values[1] - least)
        instead = "restarted FISTA, sklearn_unroll.solvers, needs no training"
        judge_trained(est, said, history, instead)

    def alpha(self, est: Any) -> float:
        """Return the estimator's alpha."""
        return est.alpha

    def see(
        self,
        est: Any,
        X: Any,
        method: str,
        dtype: Any = None,
        operators: Any = None,
        alpha: Any = None,
        x0: Any = None,
    ) -> Seen:
        """Validate instances for a fitted solver: of any size where they bring operators."""
        check_is_fitted(est)
        if operators is not None:
            checked = check_rows(X, missing=takes_missing(est))
        elif est.operator_ is None:
            raise ValueError(
                f"{type(est).__name__} was fitted with operators of the instances and has "
                f"none of its own: pass operators=..., or operator=... to the constructor."
            )
        else:
            if not isinstance(est.operator_, Operator):
                check_same_namespace(X, est, attribute="operator_", method=method)
            checked = check_observations(est, X, reset=False, missing=takes_missing(est))
        b = to_tensor(checked, dtype=dtype, device=est.compute_like(checked).device)
        b, visible = split_missing(b)
        check_magnitude(b, "X")
        if operators is None:
            A = check_operator(est.operator_, b, "operator")
        else:
            A = check_operators(operators, b)
        A = observed(A, visible)
        classes = est.classes_
        if classes is not None:
            classes = to_tensor(classes, dtype=b.dtype, device=b.device)
        problem, _ = make_problem(est, b, A, alpha, classes)
        return Seen(checked, problem._replace(x0=check_x0(x0, b, A)), SAME)

    def see_codes(self, est: Any, y: Any, seen: Seen) -> Tensor:
        """Return codes of instances."""
        return check_x0(y, seen.obs.b, seen.obs.A, "y")

    def problem(self, est: Any, seen: Seen, alpha: Any = None) -> Composite:
        """Return the instances, which know their problem."""
        return (
            seen.obs if alpha is None else seen.obs._replace(R=penalty_of(est, seen.obs.b, alpha))
        )


def make_problem(
    est: Any, b: Tensor, A: Operator, alpha: Any, classes: Tensor | None
) -> tuple[Composite, Tensor | None]:
    """Return instances, and the classes of their labels; a named penalty gets alpha."""
    if est.loss == "logistic":
        b, classes = check_labels(b, classes)
    f = LOSSES[est.loss]() if isinstance(est.loss, str) else est.loss
    return Composite.of(b, A, f, penalty_of(est, b, alpha)), classes


def penalty_of(est: Any, b: Tensor, alpha: Any) -> Penalty:
    """Return the penalty of instances; a named one gets alpha."""
    R = Zero() if est.penalty is None else est.penalty
    if isinstance(R, str):
        kind = PENALTIES[R]
        R = kind() if kind is Zero else kind(_weights(est.alpha if alpha is None else alpha, b))
    if isinstance(R, GroupL1):
        raise ValueError(
            "penalty=GroupL1 is not separable: its prox with a step per coordinate is not known. "
            "Use a penalty that is a sum over coordinates, such as L1."
        )
    return R


def check_labels(b: Tensor, classes: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return labels as -1 and 1, and the two classes, which are those given where there are."""
    found = torch.unique(b)
    known = found if classes is None else classes.to(b)
    if len(known) != 2 or not bool(torch.isin(found, known).all()):
        raise ValueError(
            f"loss='logistic' needs labels of two classes in X, "
            f"{'such as 0 and 1' if classes is None else known.tolist()}; got "
            f"{len(found)} different values: {found[:5].tolist()}."
        )
    return torch.where(b == known[1], 1.0, -1.0).to(b), known


def _weights(alpha: Any, b: Tensor) -> Any:
    weights = check_alpha(alpha, len(b), b.device).to(b.dtype)
    check_magnitude(weights, "alpha", room=1.0)
    return float(alpha) if np.ndim(alpha) == 0 else weights[:, None].contiguous()


def takes_missing(est: Any) -> bool:
    """Return whether NaN stands for what was not seen: squares of the rest are what is left."""
    return isinstance(est.loss, str) and est.loss == "least_squares"


def check_rows(X: Any, missing: bool = False) -> Any:
    """Return instances of any number of features."""
    return check_numbers(X, "X", missing=missing, ensure_2d=True, allow_nd=False)


def check_x0(x0: Any, b: Tensor, A: Operator, name: str = "x0") -> Tensor | None:
    """Return codes of all samples as a tensor, or None."""
    if x0 is None:
        return None
    x0 = to_computed(check_numbers(x0, name), b, name)
    if x0.shape != (len(b), A.n_components):
        raise ValueError(
            f"{name} must be finite codes of shape ({len(b)}, {A.n_components}), got shape "
            f"{tuple(x0.shape)}."
        )
    return check_magnitude(x0, name)


def check_n_iter(n_iter: Any) -> int:
    """Return a number of iterations; raise unless it is a positive integer."""
    if isinstance(n_iter, bool) or not isinstance(n_iter, (int, np.integer)) or n_iter < 1:
        raise ValueError(f"n_iter must be an integer of at least 1, got {n_iter!r}.")
    return int(n_iter)
