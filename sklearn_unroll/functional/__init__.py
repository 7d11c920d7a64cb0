"""Pure torch functions: one function, one printed equation. No state, no randomness."""

from sklearn_unroll.functional.active_set import Finish, active_set
from sklearn_unroll.functional.debias import debias
from sklearn_unroll.functional.operators import Dense, Observation, Operator
from sklearn_unroll.functional.problems import (
    alpha_max,
    duality_gap,
    lasso_value,
    least_squares_gap,
    least_squares_value,
    range_basis,
)
from sklearn_unroll.functional.prox import bernoulli_gauss_mean, soft, support_select
from sklearn_unroll.functional.steps import adapted_step, adjoint_step, coupled_step, free_step
from sklearn_unroll.functional.weights import (
    SymmetricWeight,
    analytic_weight,
    minimax_weight,
    mutual_coherence,
    pseudo_inverse,
    symmetric_weight,
)

__all__ = [
    "Dense",
    "Finish",
    "Observation",
    "Operator",
    "SymmetricWeight",
    "active_set",
    "adapted_step",
    "adjoint_step",
    "alpha_max",
    "analytic_weight",
    "bernoulli_gauss_mean",
    "coupled_step",
    "debias",
    "duality_gap",
    "free_step",
    "lasso_value",
    "least_squares_gap",
    "least_squares_value",
    "minimax_weight",
    "mutual_coherence",
    "pseudo_inverse",
    "range_basis",
    "soft",
    "support_select",
    "symmetric_weight",
]
