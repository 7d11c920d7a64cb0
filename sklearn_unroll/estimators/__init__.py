"""The scikit-learn shell: validation, tags, fitted attributes. No equation here."""

from sklearn_unroll.estimators._ada_lista import AdaLISTARegressor
from sklearn_unroll.estimators._alista import ALISTARegressor
from sklearn_unroll.estimators._base import BaseUnrolledRegressor
from sklearn_unroll.estimators._hyperlista import HyperLISTARegressor
from sklearn_unroll.estimators._lasso_coder import LassoCoder
from sklearn_unroll.estimators._lasso_solvers import LassoCodes, LassoPath
from sklearn_unroll.estimators._lista import LISTARegressor
from sklearn_unroll.estimators._tista import TISTARegressor
from sklearn_unroll.estimators._trained import TrainedUnrolledRegressor

__all__ = [
    "ALISTARegressor",
    "AdaLISTARegressor",
    "BaseUnrolledRegressor",
    "HyperLISTARegressor",
    "LISTARegressor",
    "LassoCoder",
    "LassoCodes",
    "LassoPath",
    "TISTARegressor",
    "TrainedUnrolledRegressor",
]
