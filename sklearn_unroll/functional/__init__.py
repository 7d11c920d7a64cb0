"""Pure torch functions: one function, one printed equation. No state, no randomness."""

from sklearn_unroll._renamed import not_found
from sklearn_unroll.functional.block_weights import block_analytic_weight, block_coherence
from sklearn_unroll.functional.bounds import error_gap, l1_radius_gap
from sklearn_unroll.functional.composite import (
    Composite,
    LeastSquares,
    Logistic,
    NoData,
    Smooth,
)
from sklearn_unroll.functional.composite_gap import composite_gap
from sklearn_unroll.functional.convolution import Convolution
from sklearn_unroll.functional.convolution_weight import convolution_weight
from sklearn_unroll.functional.filters import (
    dct_filters,
    filter_adjoint,
    filter_pictures,
    filter_spectrum,
)
from sklearn_unroll.functional.groups import group_norms, group_resize, group_soft
from sklearn_unroll.functional.mask import Mask, smooth_fill
from sklearn_unroll.functional.matrix_free import Composed, MatrixFree
from sklearn_unroll.functional.noise import layer_noise
from sklearn_unroll.functional.observation import Observation
from sklearn_unroll.functional.operators import Dense, Operator
from sklearn_unroll.functional.penalties import (
    L1,
    Box,
    ElasticNet,
    GroupL1,
    NonnegativeL1,
    Quadratic,
    Zero,
)
from sklearn_unroll.functional.penalty import Penalty, Scaled
from sklearn_unroll.functional.piecewise import piecewise_linear
from sklearn_unroll.functional.problems import (
    alpha_max,
    duality_gap,
    lasso_value,
    least_squares_gap,
    least_squares_value,
    range_basis,
)
from sklearn_unroll.functional.prox import bernoulli_gauss_mean, soft, support_select
from sklearn_unroll.functional.risk import degrees_of_freedom, sure
from sklearn_unroll.functional.smooth import (
    SmoothSoftConstants,
    smooth_soft,
    smooth_soft_constants,
)
from sklearn_unroll.functional.steps import adapted_step, adjoint_step, coupled_step, free_step
from sklearn_unroll.functional.structured import MaskedFourier, pack_complex, unpack_complex
from sklearn_unroll.functional.transforms import PartialDCT, PartialHadamard, dct, hadamard, idct
from sklearn_unroll.functional.weights import (
    SymmetricWeight,
    analytic_weight,
    minimax_weight,
    mutual_coherence,
    pseudo_inverse,
    symmetric_weight,
)

__all__ = [
    "L1",
    "Box",
    "Composed",
    "Composite",
    "Convolution",
    "Dense",
    "ElasticNet",
    "GroupL1",
    "LeastSquares",
    "Logistic",
    "Mask",
    "MaskedFourier",
    "MatrixFree",
    "NoData",
    "NonnegativeL1",
    "Observation",
    "Operator",
    "PartialDCT",
    "PartialHadamard",
    "Penalty",
    "Quadratic",
    "Scaled",
    "Smooth",
    "SmoothSoftConstants",
    "SymmetricWeight",
    "Zero",
    "adapted_step",
    "adjoint_step",
    "alpha_max",
    "analytic_weight",
    "bernoulli_gauss_mean",
    "block_analytic_weight",
    "block_coherence",
    "composite_gap",
    "convolution_weight",
    "coupled_step",
    "dct",
    "dct_filters",
    "degrees_of_freedom",
    "duality_gap",
    "error_gap",
    "filter_adjoint",
    "filter_pictures",
    "filter_spectrum",
    "free_step",
    "group_norms",
    "group_resize",
    "group_soft",
    "hadamard",
    "idct",
    "l1_radius_gap",
    "lasso_value",
    "layer_noise",
    "least_squares_gap",
    "least_squares_value",
    "minimax_weight",
    "mutual_coherence",
    "pack_complex",
    "piecewise_linear",
    "pseudo_inverse",
    "range_basis",
    "smooth_fill",
    "smooth_soft",
    "smooth_soft_constants",
    "soft",
    "support_select",
    "sure",
    "symmetric_weight",
    "unpack_complex",
]


def __getattr__(name: str):
    raise not_found(__name__, name)
