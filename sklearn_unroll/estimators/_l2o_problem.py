"""From what MathL2OSolver is given to instances of ``min f(x) + R(x)``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.utils import check_array
from torch import Tensor

from sklearn_unroll.estimators._validation import (
    check_alpha,
    check_magnitude,
    float_dtypes,
    refuse_complex,
    to_tensor,
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
    Operator,
    Penalty,
    Quadratic,
    Smooth,
    Zero,
)

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


def check_operators(operators: Any, b: Tensor, name: str = "operators") -> Operator:
    """Return the operator of instances: of one matrix for all, or of one for each."""
    if isinstance(operators, Operator):
        A: Operator = operators.to(b)
    else:
        refuse_complex(operators, name)
        if isinstance(operators, (list, tuple)):
            shapes = {np.shape(D) for D in operators}
            if len(shapes) > 1:
                raise ValueError(
                    f"{name} must all have one shape, got {sorted(shapes, key=str)[:5]}. Solve "
                    f"instances of each size on their own: one fitted solver serves all sizes."
                )
        if not isinstance(operators, Tensor):
            operators = check_array(
                operators, dtype=float_dtypes(operators), allow_nd=True, ensure_2d=False,
                input_name=name,
            )  # fmt: skip
        D = to_tensor(operators, dtype=b.dtype, device=b.device)
        if D.ndim not in (2, 3) or 0 in D.shape:
            raise ValueError(
                f"{name} must have shape (n_components, n_features), one for all instances, or "
                f"(n_samples, n_components, n_features), one for each; got {tuple(D.shape)}."
            )
        if D.ndim == 3 and name == "operator":
            raise ValueError(
                f"operator must be one matrix for all instances, of shape (n_components, "
                f"n_features); got {tuple(D.shape)}. Pass one for each as operators=... to fit."
            )
        if not bool(torch.isfinite(D).all()):
            raise ValueError(f"Input {name} contains NaN or infinity.")
        if D.ndim == 3 and len(D) != len(b):
            raise ValueError(
                f"{name} holds {len(D)} operators, but X has {len(b)} instances: one for each is "
                f"needed, or one of shape (n_components, n_features) for all."
            )
        A = Dense(check_magnitude(D))
    if A.n_features != b.shape[1]:
        hint = " It looks transposed." if A.n_components == b.shape[1] else ""
        raise ValueError(
            f"X has {b.shape[1]} features, but {name} of shape (..., {A.n_components}, "
            f"{A.n_features}) give {A.n_features}: X ~ codes @ operator.{hint}"
        )
    return A


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


def make_problem(
    b: Tensor, A: Operator, loss: str | Smooth, penalty: str | Penalty | None, alpha: Any
) -> Composite:
    """Return instances with their weights; a named penalty gets alpha, which may be per sample."""
    f = LOSSES[loss]() if isinstance(loss, str) else loss
    if isinstance(penalty, str):
        kind = PENALTIES[penalty]
        R = kind() if kind is Zero else kind(_weights(alpha, b))
    else:
        R = Zero() if penalty is None else penalty
    if isinstance(R, GroupL1):
        raise ValueError(
            "penalty=GroupL1 is not separable: its prox with a step per coordinate is not known. "
            "Use a penalty that is a sum over coordinates, such as L1."
        )
    return Composite.of(b, A, f, R)


def _weights(alpha: Any, b: Tensor) -> Any:
    weights = check_alpha(alpha, len(b), b.device).to(b.dtype)
    if not hasattr(alpha, "__len__") and not isinstance(alpha, Tensor):
        return float(alpha)
    return weights[:, None].contiguous()


def check_x0(x0: Any, b: Tensor, A: Operator) -> Tensor | None:
    """Return where to start as a tensor, or None."""
    if x0 is None:
        return None
    if not isinstance(x0, Tensor):
        x0 = check_array(x0, dtype=float_dtypes(x0), input_name="x0")
    x0 = to_tensor(x0, dtype=b.dtype, device=b.device)
    if x0.shape != (len(b), A.n_components) or not bool(torch.isfinite(x0).all()):
        raise ValueError(
            f"x0 must be finite codes of shape ({len(b)}, {A.n_components}), got shape "
            f"{tuple(x0.shape)}."
        )
    return x0


def check_n_iter(n_iter: Any) -> int:
    """Return a number of iterations; raise unless it is a positive integer."""
    if isinstance(n_iter, bool) or not isinstance(n_iter, (int, np.integer)) or n_iter < 1:
        raise ValueError(f"n_iter must be an integer of at least 1, got {n_iter!r}.")
    return int(n_iter)
