"""The scikit-learn shell: validation, tags, fitted attributes. No equation here."""

from sklearn_unroll.estimators._base import BaseUnrolledRegressor
from sklearn_unroll.estimators._lista import LISTARegressor

__all__ = ["BaseUnrolledRegressor", "LISTARegressor"]
