"""The scikit-learn shell: one base, one task for each kind of problem. No equation here."""

from sklearn_unroll._renamed import not_found
from sklearn_unroll.estimators._ada_lista import AdaLISTARegressor
from sklearn_unroll.estimators._admm_csnet import ADMMCSNetRegressor
from sklearn_unroll.estimators._alista import ALISTARegressor
from sklearn_unroll.estimators._code_methods import CodeMethods
from sklearn_unroll.estimators._codes import Codes
from sklearn_unroll.estimators._dictionary_learning import OnlineDictionaryLearning
from sklearn_unroll.estimators._fbsnet import FBSNet
from sklearn_unroll.estimators._feed_forward import FeedForwardRegressor
from sklearn_unroll.estimators._glow_prox import GlowProxInpainter
from sklearn_unroll.estimators._hyperlista import HyperLISTARegressor
from sklearn_unroll.estimators._lamp import LAMPRegressor
from sklearn_unroll.estimators._lasso_coder import LassoCoder
from sklearn_unroll.estimators._lasso_codes import LassoCodes, LassoPath
from sklearn_unroll.estimators._learned import Learned
from sklearn_unroll.estimators._lista import LISTARegressor
from sklearn_unroll.estimators._math_l2o import MathL2OSolver
from sklearn_unroll.estimators._omp_coder import OMPCoder, OMPCodes
from sklearn_unroll.estimators._solver_methods import L2OSolution
from sklearn_unroll.estimators._state import Given
from sklearn_unroll.estimators._tista import TISTARegressor

__all__ = [
    "ADMMCSNetRegressor",
    "ALISTARegressor",
    "AdaLISTARegressor",
    "CodeMethods",
    "Codes",
    "FBSNet",
    "FeedForwardRegressor",
    "Given",
    "GlowProxInpainter",
    "HyperLISTARegressor",
    "L2OSolution",
    "LAMPRegressor",
    "LISTARegressor",
    "LassoCoder",
    "LassoCodes",
    "LassoPath",
    "Learned",
    "MathL2OSolver",
    "OMPCoder",
    "OMPCodes",
    "OnlineDictionaryLearning",
    "TISTARegressor",
]


def __getattr__(name: str):
    raise not_found(__name__, name)
