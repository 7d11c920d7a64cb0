"""Displays: pictures of fitted estimators, in scikit-learn's manner."""

from sklearn_unroll.plotting._alphas import AlphaScoresDisplay
from sklearn_unroll.plotting._amplification import AmplificationDisplay
from sklearn_unroll.plotting._convergence import ConvergenceDisplay
from sklearn_unroll.plotting._depth_limit import DepthLossDisplay, DepthParameterDisplay
from sklearn_unroll.plotting._dictionary import DictionaryDisplay
from sklearn_unroll.plotting._history import HistoryDisplay, MultiplierDisplay
from sklearn_unroll.plotting._l2o import ExpansionDisplay
from sklearn_unroll.plotting._layers import WeightDisplay
from sklearn_unroll.plotting._phase_transition import PhaseTransitionDisplay
from sklearn_unroll.plotting._robustness import DescentDisplay, RobustnessDisplay
from sklearn_unroll.plotting._sample_size import SampleSizeDisplay
from sklearn_unroll.plotting._tangent_kernel import KernelSpectrumDisplay, WidthScalingDisplay

__all__ = [
    "AlphaScoresDisplay",
    "AmplificationDisplay",
    "ConvergenceDisplay",
    "DepthLossDisplay",
    "DepthParameterDisplay",
    "DescentDisplay",
    "DictionaryDisplay",
    "ExpansionDisplay",
    "HistoryDisplay",
    "KernelSpectrumDisplay",
    "MultiplierDisplay",
    "PhaseTransitionDisplay",
    "RobustnessDisplay",
    "SampleSizeDisplay",
    "WeightDisplay",
    "WidthScalingDisplay",
]
