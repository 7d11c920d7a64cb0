"""Classical solvers, to compare with and to check against; they never see a network."""

from sklearn_unroll.reference.admm import ADMM, admm
from sklearn_unroll.reference.analysis_admm import analysis_admm
from sklearn_unroll.reference.certified import certified_lasso
from sklearn_unroll.reference.composite import (
    AdamDescent,
    CompositeDescent,
    NesterovDescent,
    best_step,
    optimal_values,
)
from sklearn_unroll.reference.coordinate import coordinate_descent
from sklearn_unroll.reference.first_order import (
    FISTA,
    ISTA,
    GradientDescent,
    fista,
    gradient_descent,
    ista,
)
from sklearn_unroll.reference.ground_truth import cvxpy_lasso
from sklearn_unroll.reference.proximal import ProximalGradient
from sklearn_unroll.reference.solver import Method, Solution, iterates, minimize

__all__ = [
    "ADMM",
    "FISTA",
    "ISTA",
    "AdamDescent",
    "CompositeDescent",
    "GradientDescent",
    "Method",
    "NesterovDescent",
    "ProximalGradient",
    "Solution",
    "admm",
    "analysis_admm",
    "best_step",
    "certified_lasso",
    "coordinate_descent",
    "cvxpy_lasso",
    "fista",
    "gradient_descent",
    "ista",
    "iterates",
    "minimize",
    "optimal_values",
]
