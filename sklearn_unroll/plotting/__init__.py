"""Displays: pictures of fitted estimators, in scikit-learn's manner."""

from sklearn_unroll.plotting._convergence import ConvergenceDisplay
from sklearn_unroll.plotting._history import HistoryDisplay
from sklearn_unroll.plotting._layers import WeightDisplay
from sklearn_unroll.plotting._phase_transition import PhaseTransitionDisplay

__all__ = ["ConvergenceDisplay", "HistoryDisplay", "PhaseTransitionDisplay", "WeightDisplay"]
