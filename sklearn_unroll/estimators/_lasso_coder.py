"""Sparse codes with a certificate, as a scikit-learn transformer."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.metrics import r2_score
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sklearn_unroll.estimators._coder import BaseCoder, weighted_mean
from sklearn_unroll.estimators._lasso_solvers import (
    SOLVERS,
    LassoCodes,
    LassoPath,
    check_atom_weights,
    solve_chunks,
    warn_if_not_converged,
)
from sklearn_unroll.estimators._units import Units
from sklearn_unroll.estimators._validation import as_kind, check_alpha, to_tensor
from sklearn_unroll.functional import Dense, Observation, alpha_max, lasso_value
from sklearn_unroll.solvers import Solution

__all__ = ["LassoCoder"]


class LassoCoder(BaseCoder):
    """Sparse codes that solve the lasso, every sample to a certificate.

    Minimises ``0.5 ||x - z D||^2 + alpha ||z||_1`` for a whole batch at once, until the duality
    gap of every sample, a bound on what its objective exceeds the minimum by, is at most tol
    times the objective at zero. Takes the place of
    :class:`~sklearn.decomposition.SparseCoder` with ``transform_algorithm="lasso_lars"`` or
    ``"lasso_cd"``. Nothing is learned in ``fit``.

    Parameters
    ----------
    dictionary : array-like of shape (n_components, n_features), default=None
        Rows are atoms, of any norm, ``X ~ codes @ dictionary``. None takes that of
        ``warm_start_from``, or without it estimates one from the pairs of ``fit``.
    alpha : float, default=0.1
        Weight of the l1 norm, positive. One per sample may be given to ``solve``, ``transform``,
        ``predict`` and ``score``.
    solver : {"auto", "coordinate_descent", "active_set", "fista", "ista", "admm", "cvxpy"}, \
            default="auto"
        "auto" takes a few iterations of restarted FISTA in float32 until the support settles,
        then solves for the codes on it and repairs it in float64, see
        :func:`~sklearn_unroll.solvers.active_set`. "coordinate_descent" replaces the first part
        by compiled coordinate descent, where numba is installed: the fastest on a CPU, and what
        "auto" does there from 262144 numbers in the codes on, such as 525 samples of 500 atoms
        (fewer do not pay for loading numba). "active_set" does only the second part, from zero,
        or from the codes of ``warm_start_from``, and "auto" where it fails. "cvxpy" is slow, for
        checks.
    tol : float, default=1e-6
        Tolerance on the duality gap relative to the objective at zero, evaluated in float64.
        Codes in float32 cannot be held below about 1e-7.
    max_iter : int, default=10000
        Largest number of iterations of a sample.
    alpha_relative : bool, default=False
        Whether alpha is a fraction of each sample's smallest alpha with zero codes,
        ``max |D x|``.
    positive : bool, default=False
        Constrain codes to be nonnegative.
    atom_weights : array-like of shape (n_components,), default=None
        Positive factors on alpha, one per atom: ``alpha sum_i w_i |z_i|``. None is one for all.
    warm_start_from : estimator, default=None
        A fitted estimator whose ``predict`` gives codes, such as
        :class:`~sklearn_unroll.LISTARegressor`: they are where to start. As ``clone`` forgets
        what nested estimators have learned, wrap it in :class:`~sklearn.frozen.FrozenEstimator`
        for cross-validation.
    device : str or torch.device, default="auto"
        Where to compute, see :class:`~sklearn_unroll.LISTARegressor`.

    Attributes
    ----------
    dictionary_ : array of shape (n_components, n_features)
        The dictionary in use.
    n_iter_ : int
        Looks at the data in ``fit``, always 1; :meth:`solve` gives the iterations of codes.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where X had names.

    See Also
    --------
    LISTARegressor : Learns to come close in a few layers.
    sklearn_unroll.metrics.duality_gap : The certificate, for codes of any origin.

    Notes
    -----
    Samples that miss the tolerance are counted in a ConvergenceWarning, and :meth:`solve` says
    which they are. The score with codes y is R^2, so that ``GridSearchCV`` can choose alpha from
    pairs; without y it is minus the mean objective, by which alpha cannot be chosen.

    Examples
    --------
    >>> from sklearn_unroll import LassoCoder
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> data = make_sparse_recovery(100, 50, 80, sparsity=4, random_state=0)
    >>> coder = LassoCoder(data.dictionary, alpha=0.1, alpha_relative=True, tol=1e-10)
    >>> found = coder.fit(data.X).solve(data.X)
    >>> bool(found.converged.all()), bool(found.gap.max() <= 1e-10)
    (True, True)
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseCoder._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "solver": [StrOptions(set(SOLVERS))],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "alpha_relative": ["boolean"],
        "positive": ["boolean"],
        "atom_weights": ["array-like", None],
        "warm_start_from": [HasMethods(["fit", "predict"]), None],
    }

    def __init__(
        self,
        dictionary: Any = None,
        alpha: float = 0.1,
        *,
        solver: str = "auto",
        tol: float = 1e-6,
        max_iter: int = 10_000,
        alpha_relative: bool = False,
        positive: bool = False,
        atom_weights: Any = None,
        warm_start_from: Any = None,
        device: str | torch.device = "auto",
    ) -> None:
        self.dictionary = dictionary
        self.alpha = alpha
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.alpha_relative = alpha_relative
        self.positive = positive
        self.atom_weights = atom_weights
        self.warm_start_from = warm_start_from
        self.device = device

    def solve(self, X: Any, alpha: Any = None) -> LassoCodes:
        """Return codes with their certificate, per sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.
        alpha : float or array-like of shape (n_samples,), default=None
            Weight of the l1 norm, or, with ``alpha_relative=True``, fraction of each sample's
            largest; the estimator's own by default.

        Returns
        -------
        LassoCodes
            Codes, gaps, iterations and flags.

        Raises
        ------
        ValueError
            If X or alpha is not valid.

        Warns
        -----
        ConvergenceWarning
            If samples miss the tolerance.
        """
        return self._certified(X, alpha, "solve")[1]

    def transform(self, X: Any, alpha: Any = None) -> Any:
        """Return the codes of observations.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.
        alpha : float or array-like of shape (n_samples,), default=None
            As in ``solve``.

        Returns
        -------
        array of shape (n_samples, n_components)
            Codes, with the kind, device and float dtype of X.
        """
        return self._certified(X, alpha, "transform")[1].codes

    def predict(self, X: Any, alpha: Any = None) -> Any:
        """Return the codes of observations, as ``transform`` does.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.
        alpha : float or array-like of shape (n_samples,), default=None
            As in ``solve``.

        Returns
        -------
        array of shape (n_samples, n_components) or (n_samples,)
            Codes; one-dimensional where the dictionary was estimated from such y.
        """
        return self._ravel(self._certified(X, alpha, "predict")[1].codes)

    def path(self, X: Any, alphas: Any) -> LassoPath:
        """Return codes for several alpha, each started from those of the next larger one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.
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
        X, b, A = self._problem(X, "path")
        n_alphas = alphas.numel() if isinstance(alphas, Tensor) else np.size(alphas)
        given = check_alpha(alphas, n_alphas, b.device)
        ordered = given.sort(descending=True).values
        start, parts = None, []
        for alpha in ordered:
            before = start
            found = self._run(
                b, A, alpha.expand(len(b)), lambda rows, x=before: None if x is None else x[rows]
            )
            parts.append(found._replace(x=self._units(A.D).leave(found.x)))
            start = found.x
        whole = (torch.stack(part) for part in zip(*parts, strict=True))
        return LassoPath(as_kind(ordered, X), *(as_kind(part, X) for part in whole))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None, alpha: Any = None) -> float:
        """Return R^2 of the codes, or minus the mean objective where there is no y.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.
        y : array-like of shape (n_samples, n_components), default=None
            True codes.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        alpha : float or array-like of shape (n_samples,), default=None
            As in ``solve``.

        Returns
        -------
        float
            Greater is better.
        """
        (checked, b, A), found = self._certified(X, alpha, "score")
        if y is not None:
            return r2_score(y, self._ravel(found.codes), sample_weight=sample_weight)
        obs = Observation(b.double(), A)
        alphas = self._alphas(alpha, b)
        alphas = alphas * alpha_max(obs, positive=self.positive) if self.alpha_relative else alphas
        codes = to_tensor(found.codes, dtype=torch.float64, device=b.device)
        value = lasso_value(self._units(A.D).enter(codes), obs, alphas)
        return -weighted_mean(value, sample_weight, checked)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.dictionary is None and self.warm_start_from is None
        return tags

    def _given_dictionary(self) -> Any:
        if self.warm_start_from is None:
            return self.dictionary
        check_is_fitted(
            self.warm_start_from,
            msg="warm_start_from=%(name)s is not fitted. Fit it first, and wrap it in "
            "sklearn.frozen.FrozenEstimator so that clone and cross-validation keep the fit.",
        )
        theirs = getattr(self.warm_start_from, "dictionary_", None)
        if self.dictionary is None and theirs is None:
            raise ValueError(
                "warm_start_from has no dictionary of its own: pass dictionary=... to LassoCoder."
            )
        if self.dictionary is None:
            return theirs
        if theirs is not None and np.shape(self.dictionary) != np.shape(theirs):
            raise ValueError(
                f"dictionary has shape {np.shape(self.dictionary)}, but that of warm_start_from "
                f"has shape {np.shape(theirs)}: its codes are no start."
            )
        return self.dictionary

    def _check_fit(self, D: Tensor) -> None:
        if self.atom_weights is not None:
            check_atom_weights(self.atom_weights, len(D), D)
        self.n_iter_ = 1

    def _problem(self, X: Any, method: str) -> tuple[Any, Tensor, Dense]:
        """Return X validated, as a tensor, and the operator with weighted atoms."""
        checked, b = self._observe(X, method)
        D = self._tensor_dictionary(torch.float64, b.device)
        units = self._units(D)
        return checked, b, Dense(D if units.atoms is None else D / units.atoms[:, None])

    def _units(self, D: Tensor) -> Units:
        """Return the units in which all atoms have weight one."""
        if self.atom_weights is None:
            return Units(None, None)
        return Units(check_atom_weights(self.atom_weights, len(D), D), None)

    def _alphas(self, alpha: Any, b: Tensor) -> Tensor:
        return check_alpha(self.alpha if alpha is None else alpha, len(b), b.device)

    def _certified(self, X: Any, alpha: Any, method: str) -> tuple[tuple, LassoCodes]:
        checked, b, A = self._problem(X, method)
        units = self._units(A.D)
        found = self._run(b, A, self._alphas(alpha, b), lambda rows: self._start(X, rows, A))
        found = found._replace(x=units.leave(found.x))
        return (checked, b, A), LassoCodes(*(as_kind(part, checked) for part in found))

    def _run(self, b: Tensor, A: Dense, alpha: Tensor, start: Any) -> Solution:
        found = solve_chunks(
            self.solver, b, A, alpha, start, relative=self.alpha_relative,
            positive=self.positive, tol=self.tol, max_iter=self.max_iter,
        )  # fmt: skip
        warn_if_not_converged(found, self.solver, self.tol, self.max_iter)
        return found

    def _start(self, X: Any, rows: slice, A: Dense) -> Tensor | None:
        """Return the codes of the other estimator, in the units in which atoms weigh one."""
        if self.warm_start_from is None:
            return None
        some = X[rows, ...] if hasattr(X, "shape") and not hasattr(X, "iloc") else None
        some = _safe_indexing(X, rows) if some is None else some
        codes = self.warm_start_from.predict(some)
        z = to_tensor(codes, dtype=torch.float64, device=A.D.device)
        return self._units(A.D).enter(z.reshape(len(z), -1))
