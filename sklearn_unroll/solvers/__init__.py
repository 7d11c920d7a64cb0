"""Classical and exact solvers: to code with, to certify, to compare with. Never sees a network."""

from sklearn_unroll.solvers.active_set import active_set
from sklearn_unroll.solvers.admm import ADMM, admm
from sklearn_unroll.solvers.amp import AMP, amp
from sklearn_unroll.solvers.analysis_admm import analysis_admm
from sklearn_unroll.solvers.bounded import bounded_lasso
from sklearn_unroll.solvers.certified import certified_lasso
from sklearn_unroll.solvers.composite import (
    AdamDescent,
    CompositeDescent,
    NesterovDescent,
    best_step,
    optimal_values,
)
from sklearn_unroll.solvers.coordinate import coordinate_descent
from sklearn_unroll.solvers.debias import debias
from sklearn_unroll.solvers.dictionary import DictionaryStatistics, update_atoms
from sklearn_unroll.solvers.first_order import FISTA, ISTA, fista, ista
from sklearn_unroll.solvers.greedy import Pursuit, orthogonal_matching_pursuit
from sklearn_unroll.solvers.ground_truth import cvxpy_lasso
from sklearn_unroll.solvers.homotopy import PathCodes, homotopy
from sklearn_unroll.solvers.masked import masked_lasso, masked_pursuit
from sklearn_unroll.solvers.solver import Method, Solution, iterates, minimize

__all__ = [
    "ADMM",
    "AMP",
    "FISTA",
    "ISTA",
    "AdamDescent",
    "CompositeDescent",
    "DictionaryStatistics",
    "Method",
    "NesterovDescent",
    "PathCodes",
    "Pursuit",
    "Solution",
    "active_set",
    "admm",
    "amp",
    "analysis_admm",
    "best_step",
    "bounded_lasso",
    "certified_lasso",
    "coordinate_descent",
    "cvxpy_lasso",
    "debias",
    "fista",
    "homotopy",
    "ista",
    "iterates",
    "masked_lasso",
    "masked_pursuit",
    "minimize",
    "optimal_values",
    "orthogonal_matching_pursuit",
    "update_atoms",
]
