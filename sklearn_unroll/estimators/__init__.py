"""The scikit-learn shell: validation, tags, fitted attributes. No equation here."""

from sklearn_unroll.estimators._alista import ALISTARegressor
from sklearn_unroll.estimators._base import BaseUnrolledRegressor
from sklearn_unroll.estimators._hyperlista import HyperLISTARegressor
from sklearn_unroll.estimators._lista import LISTARegressor
from sklearn_unroll.estimators._trained import TrainedUnrolledRegressor

__all__ = [
    "ALISTARegressor",
    "BaseUnrolledRegressor",
    "HyperLISTARegressor",
    "LISTARegressor",
    "TrainedUnrolledRegressor",
]
