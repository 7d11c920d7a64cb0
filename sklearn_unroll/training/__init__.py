"""Objective x schedule -> one loop. Composes with any network of the package."""

from sklearn_unroll.training.history import Epoch, History
from sklearn_unroll.training.loop import DivergenceError, Report
from sklearn_unroll.training.objectives import Lasso, Objective, Supervised
from sklearn_unroll.training.schedules import EndToEnd, ParameterGroup, Schedule, Stage, StageWise
from sklearn_unroll.training.trainer import Trainer

__all__ = [
    "DivergenceError",
    "EndToEnd",
    "Epoch",
    "History",
    "Lasso",
    "Objective",
    "ParameterGroup",
    "Report",
    "Schedule",
    "Stage",
    "StageWise",
    "Supervised",
    "Trainer",
]
