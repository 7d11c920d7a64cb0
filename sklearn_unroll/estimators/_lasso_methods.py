"""What LassoCoder does with observations, once it is fitted."""

from __future__ import annotations

from typing import Any

from sklearn_unroll.estimators._arrays import as_kind
from sklearn_unroll.estimators._coder import BaseCoder, written
from sklearn_unroll.estimators._lasso_aim import Aim
from sklearn_unroll.estimators._lasso_codes import (
    LassoCodes,
    LassoPath,
    check_applied,
    warn_if_not_converged,
)
from sklearn_unroll.estimators._lasso_path import follow_chunks
from sklearn_unroll.estimators._missing import behind_mask
from sklearn_unroll.estimators._operators import check_operators
from sklearn_unroll.estimators._shell import stated
from sklearn_unroll.estimators._state import as_fitted
from sklearn_unroll.estimators._validation import check_alphas, check_finite_codes
from sklearn_unroll.functional import LeastSquares


class BaseLassoCoder(BaseCoder):
    """The methods of :class:`LassoCoder`, which has the parameters and the solvers."""

    @as_fitted
    def solve(
        self, X: Any, *, alpha: Any = None, error: Any = None, l1_radius: Any = None,
        operators: Any = None,
    ) -> LassoCodes:  # fmt: skip
        """Return codes with their certificate, per sample.

        Parameters
        ----------
        %(X)s
        %(lasso_aim)s

        Returns
        -------
        LassoCodes
            Codes, gaps, iterations, flags and alphas.

        Raises
        ------
        ValueError
            If X or what is to be met is not valid.

        Warns
        -----
        ConvergenceWarning
            If samples miss the tolerance.
        """
        return self._codes(X, "solve", operators, alpha, error, l1_radius)

    @as_fitted
    def transform(
        self, X: Any, alpha: Any = None, error: Any = None, l1_radius: Any = None,
        operators: Any = None, out: Any = None,
    ) -> Any:  # fmt: skip
        """Return the codes of observations.

        Parameters
        ----------
        %(X)s
        %(lasso_aim)s
        %(out)s

        Returns
        -------
        array of shape (n_samples, n_components)
            Codes, with the kind, device and float dtype of X.
        """
        return self._codes(X, "transform", operators, alpha, error, l1_radius, out).codes

    @as_fitted
    def predict(
        self, X: Any, alpha: Any = None, error: Any = None, l1_radius: Any = None,
        operators: Any = None, out: Any = None,
    ) -> Any:  # fmt: skip
        """Return the codes of observations, as ``transform`` does.

        Parameters
        ----------
        %(X)s
        %(lasso_aim)s
        %(out)s

        Returns
        -------
        array of shape (n_samples, n_components) or (n_samples,)
            Codes; one-dimensional where the dictionary was estimated from such y.
        """
        codes = self._codes(X, "predict", operators, alpha, error, l1_radius, out).codes
        return self._ravel(codes) if out is None else out

    @as_fitted
    def certify(
        self, X: Any, alpha: Any = None, error: Any = None, l1_radius: Any = None,
        operators: Any = None,
    ) -> Any:  # fmt: skip
        """Return how far the codes of ``predict`` are from the optimum, at most.

        Parameters
        ----------
        %(X)s
        %(lasso_aim)s

        Returns
        -------
        array of shape (n_samples,)
            Certificates, in float64: the gaps of ``solve``.
        """
        return self._codes(X, "certify", operators, alpha, error, l1_radius).gap

    @as_fitted
    def path(self, X: Any, alphas: Any) -> LassoPath:
        """Return codes for several alpha, each started from those of the next larger one.

        Parameters
        ----------
        %(X)s
        alphas : array-like of shape (n_alphas,)
            Weights of the l1 norm in any order, or, with ``alpha_relative=True``, fractions.

        Returns
        -------
        LassoPath
            Weights in decreasing order, codes, gaps, iterations and flags.

        Raises
        ------
        ValueError
            If X or alphas are not valid.

        Warns
        -----
        ConvergenceWarning
            If samples miss the tolerance.
        """
        seen = self._seen(X, "path", None)
        ordered = check_alphas(alphas, seen.obs.b.device, self.positive)
        ordered = ordered.sort(descending=True).values
        A = self._atoms(seen)
        aim = Aim("alpha", ordered[:, None].expand(-1, len(seen.obs.b)), self.alpha_relative)
        check_applied(self, A, aim)
        found = follow_chunks(seen.obs.b, A, aim, self._how(A))
        warn_if_not_converged(found, self.solver, self.tol, self.max_iter)
        for codes in found.x:
            check_finite_codes(codes, self)
        parts = self._unweighted(found.x), found.gap, found.n_iter, found.converged
        return LassoPath(*(as_kind(part, seen.X) for part in (ordered, *parts)))

    @as_fitted
    def score(
        self, X: Any, y: Any = None, sample_weight: Any = None, alpha: Any = None,
        error: Any = None, l1_radius: Any = None, operators: Any = None,
    ) -> float:  # fmt: skip
        """Return R^2 of the codes, or minus the mean objective where there is no y.

        Parameters
        ----------
        %(X)s
        %(y)s
        %(sample_weight)s
        %(lasso_aim)s

        Returns
        -------
        float
            Greater is better.
        """
        given = {"alpha": alpha, "error": error, "l1_radius": l1_radius}
        seen, found, _ = self._solved(X, "score", operators, given)
        seen = seen.whole()
        obs = seen.obs
        if operators is not None:
            obs = obs._replace(A=behind_mask(obs.A, check_operators(operators, obs.b)))
        problem = stated(obs, LeastSquares(), self._penalty(found.alpha)).exact()
        return self._score(seen, as_kind(found.x, seen.X), y, sample_weight, problem)

    def _codes(
        self, X: Any, method: str, operators: Any, alpha: Any, error: Any, l1_radius: Any,
        out: Any = None,
    ) -> LassoCodes:  # fmt: skip
        given = {"alpha": alpha, "error": error, "l1_radius": l1_radius}
        seen, found, into = self._solved(X, method, operators, given, out)
        parts = found.x, found.gap, found.n_iter, found.converged, found.alpha
        codes = LassoCodes(*(as_kind(part, seen.X) for part in parts))
        return codes._replace(codes=written(codes.codes, found.x, into, out))
