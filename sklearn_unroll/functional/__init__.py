"""Pure torch functions: one function, one printed equation. No state, no randomness."""

from sklearn_unroll.functional.operators import Dense, Observation, Operator
from sklearn_unroll.functional.problems import (
    alpha_max,
    duality_gap,
    lasso_value,
    least_squares_gap,
    least_squares_value,
    range_basis,
)
from sklearn_unroll.functional.prox import soft
from sklearn_unroll.functional.steps import adjoint_step, coupled_step, free_step

__all__ = [
    "Dense",
    "Observation",
    "Operator",
    "adjoint_step",
    "alpha_max",
    "coupled_step",
    "duality_gap",
    "free_step",
    "lasso_value",
    "least_squares_gap",
    "least_squares_value",
    "range_basis",
    "soft",
]
