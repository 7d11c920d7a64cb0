"""Objective x schedule -> one loop. Composes with any network of the package."""

from sklearn_unroll.training.augmentation import Augmentation
from sklearn_unroll.training.constraints import Constraint, Descent
from sklearn_unroll.training.grouped import Grouped
from sklearn_unroll.training.history import Epoch, History
from sklearn_unroll.training.loop import Report
from sklearn_unroll.training.objectives import Lasso, Objective, Supervised
from sklearn_unroll.training.optimizers import SGD, Adam, Optimizer
from sklearn_unroll.training.penalties import (
    DepthNorm,
    ParameterPenalty,
    Smoothness,
    SumPenalty,
)
from sklearn_unroll.training.perturbations import LayerNoise, Perturbation
from sklearn_unroll.training.problem_objective import ProblemObjective
from sklearn_unroll.training.schedules import EndToEnd, ParameterGroup, Schedule, Stage, StageWise
from sklearn_unroll.training.steps import DivergenceError
from sklearn_unroll.training.trainer import Trainer
from sklearn_unroll.training.truncated import last_layers

__all__ = [
    "SGD",
    "Adam",
    "Augmentation",
    "Constraint",
    "DepthNorm",
    "Descent",
    "DivergenceError",
    "EndToEnd",
    "Epoch",
    "Grouped",
    "History",
    "Lasso",
    "LayerNoise",
    "Objective",
    "Optimizer",
    "ParameterGroup",
    "ParameterPenalty",
    "Perturbation",
    "ProblemObjective",
    "Report",
    "Schedule",
    "Smoothness",
    "Stage",
    "StageWise",
    "SumPenalty",
    "Supervised",
    "Trainer",
    "last_layers",
]
