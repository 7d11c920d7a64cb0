"""The scikit-learn shell: validation, tags, fitted attributes. No equation here."""

from sklearn_unroll.estimators._ada_lista import AdaLISTARegressor
from sklearn_unroll.estimators._admm_csnet import ADMMCSNetRegressor
from sklearn_unroll.estimators._alista import ALISTARegressor
from sklearn_unroll.estimators._base import BaseUnrolledRegressor
from sklearn_unroll.estimators._fbsnet import FBSNet
from sklearn_unroll.estimators._feed_forward import FeedForwardRegressor
from sklearn_unroll.estimators._glow_prox import GlowProxInpainter
from sklearn_unroll.estimators._hyperlista import HyperLISTARegressor
from sklearn_unroll.estimators._l2o_base import BaseL2OSolver, L2OSolution
from sklearn_unroll.estimators._lasso_coder import LassoCoder
from sklearn_unroll.estimators._lasso_solvers import LassoCodes, LassoPath
from sklearn_unroll.estimators._lista import LISTARegressor
from sklearn_unroll.estimators._math_l2o import MathL2OSolver
from sklearn_unroll.estimators._omp_coder import OMPCoder, OMPCodes
from sklearn_unroll.estimators._tista import TISTARegressor
from sklearn_unroll.estimators._trained import TrainedUnrolledRegressor

__all__ = [
    "ADMMCSNetRegressor",
    "ALISTARegressor",
    "AdaLISTARegressor",
    "BaseL2OSolver",
    "BaseUnrolledRegressor",
    "FBSNet",
    "FeedForwardRegressor",
    "GlowProxInpainter",
    "HyperLISTARegressor",
    "L2OSolution",
    "LISTARegressor",
    "LassoCoder",
    "LassoCodes",
    "LassoPath",
    "MathL2OSolver",
    "OMPCoder",
    "OMPCodes",
    "TISTARegressor",
    "TrainedUnrolledRegressor",
]
