"""What theory says about a network, computed on the network: diagnostics, no training.

Functions take a fitted *estimator*, of which they use ``network_``, ``observe``, ``problem`` and
``trainer_``, or a network: an :class:`~sklearn_unroll.nn.Unrolled` together with an
:class:`~sklearn_unroll.functional.Observation` in place of X.
"""

from sklearn_unroll.theory._amplification import Amplification, amplification
from sklearn_unroll.theory._depth_limit import DepthLimit, depth_distance, depth_limit
from sklearn_unroll.theory._descent import ConvergenceReport, convergence_report
from sklearn_unroll.theory._gradient_descent import (
    DescentPath,
    gradient_descent_path,
    gradient_descent_step,
    untrained,
)
from sklearn_unroll.theory._hessian import gradient_norm, hessian_spectral_norm
from sklearn_unroll.theory._kernel_spectrum import (
    KernelSpectrum,
    kernel_spectrum,
    tangent_kernel_operator,
)
from sklearn_unroll.theory._l2o import (
    ExpansionBounds,
    L2OConstants,
    expansion_bounds,
    l2o_constants,
    training_control,
    training_rate,
)
from sklearn_unroll.theory._limit_system import limit_system
from sklearn_unroll.theory._phase_transition import l1_phase_transition
from sklearn_unroll.theory._pl_star import PLStarPath, PLStarReport, pl_star_report
from sklearn_unroll.theory._robustness import Robustness, robustness
from sklearn_unroll.theory._stability import PerturbationStability, perturbation_stability
from sklearn_unroll.theory._tangent_kernel import tangent_kernel
from sklearn_unroll.theory._weights import block_coherence, coherence, weight_coupling
from sklearn_unroll.theory._width import WidthScaling, width_scaling

__all__ = [
    "Amplification",
    "ConvergenceReport",
    "DepthLimit",
    "DescentPath",
    "ExpansionBounds",
    "KernelSpectrum",
    "L2OConstants",
    "PLStarPath",
    "PLStarReport",
    "PerturbationStability",
    "Robustness",
    "WidthScaling",
    "amplification",
    "block_coherence",
    "coherence",
    "convergence_report",
    "depth_distance",
    "depth_limit",
    "expansion_bounds",
    "gradient_descent_path",
    "gradient_descent_step",
    "gradient_norm",
    "hessian_spectral_norm",
    "kernel_spectrum",
    "l1_phase_transition",
    "l2o_constants",
    "limit_system",
    "perturbation_stability",
    "pl_star_report",
    "robustness",
    "tangent_kernel",
    "tangent_kernel_operator",
    "training_control",
    "training_rate",
    "untrained",
    "weight_coupling",
    "width_scaling",
]
