"""What a fitted coder answers for the estimator that has learned its dictionary."""

from __future__ import annotations

from typing import Any

from sklearn.utils._array_api import check_same_namespace
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_unroll.estimators._arrays import refuse_kind
from sklearn_unroll.estimators._bounded_coding import bound_of, goal_of
from sklearn_unroll.estimators._checked import check_observations
from sklearn_unroll.estimators._document import fill
from sklearn_unroll.estimators._missing import takes_missing
from sklearn_unroll.estimators._validation import check_weight, weighted_mean
from sklearn_unroll.functional import Composite

__all__ = ["ByCoder"]


def _certifies(estimator: Any) -> bool:
    return estimator.coder is None or hasattr(estimator.coder, "certify")


@fill
class ByCoder:
    """Codes, signals, scores and certificates by ``coder_``, over ``components_``."""

    def transform(self, X: Any) -> Any:
        """Return the codes of signals, by ``coder_``.

        Parameters
        ----------
        %(X)s

        Returns
        -------
        array of shape (n_samples, n_components)
            Codes, with the kind, device and float dtype of X.
        """
        X = self._seen(X, "transform")
        return self.coder_.transform(X)

    def inverse_transform(self, X: Any) -> Any:
        """Return the signals of codes, ``X @ components_``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        array of shape (n_samples, n_features)
            Signals.
        """
        check_is_fitted(self)
        return self.coder_.inverse_transform(X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return minus the mean objective, which greater is better.

        Parameters
        ----------
        %(X)s
        %(ignored)s
        %(sample_weight)s

        Returns
        -------
        float
            The score of ``coder_``: minus the mean of ``0.5 ||x - z D||^2 + alpha ||z||_1``, of
            an :class:`OMPCoder` minus the mean squared residual. Where it meets a bound, minus
            the mean of what it makes least: the l1 norm for an ``error``, the number of atoms
            for a ``tol``, half the squared error for an ``l1_radius``.
        """
        X = self._seen(X, "score")
        if bound_of(self.coder_) is None:
            return self.coder_.score(X, sample_weight=sample_weight)
        value = goal_of(self.coder_, X).value
        return -weighted_mean(value, check_weight(sample_weight, X, value))

    def problem(self, X: Any, *, alpha: Any = None) -> Composite:
        """Return the problem over ``components_`` whose solutions are the codes.

        Parameters
        ----------
        %(X)s
        alpha : float or array-like of shape (n_samples,), default=None
            Weight of the penalty; that of ``coder_`` by default.

        Returns
        -------
        Composite
            Data, operator, smooth part and penalty, in the units of X.
        """
        X = self._seen(X, "problem")
        return self.coder_.problem(X, alpha=alpha)

    @available_if(_certifies)
    def certify(self, X: Any, alpha: Any = None) -> Any:
        """Return how far codes are from the optimum over ``components_``, at most.

        Parameters
        ----------
        %(X)s
        alpha : float or array-like of shape (n_samples,), default=None
            Weight of the l1 norm; that of ``coder_`` by default.

        Returns
        -------
        array of shape (n_samples,)
            Relative duality gaps, in float64.
        """
        X = self._seen(X, "certify")
        return self.coder_.certify(X, alpha=alpha)

    def _seen(self, X: Any, method: str) -> Any:
        check_is_fitted(self)
        refuse_kind(X, "X")
        check_same_namespace(X, self, attribute="components_", method=method)
        return check_observations(self, X, reset=False, missing=takes_missing(self.coder))

    @property
    def _n_features_out(self) -> int:
        return self.components_.shape[0]
