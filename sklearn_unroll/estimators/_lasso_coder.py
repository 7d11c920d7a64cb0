"""Sparse codes with a certificate, as a scikit-learn transformer."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from torch import Tensor

from sklearn_unroll.estimators._arrays import as_kind, to_tensor
from sklearn_unroll.estimators._checked import check_magnitude
from sklearn_unroll.estimators._coder import BaseCoder
from sklearn_unroll.estimators._lasso_solvers import (
    SOLVERS,
    LassoCodes,
    LassoPath,
    check_atom_weights,
    dictionary_of,
    solve_chunks,
    start_codes,
    warn_if_not_converged,
)
from sklearn_unroll.estimators._shell import Seen
from sklearn_unroll.estimators._state import as_fitted
from sklearn_unroll.estimators._validation import check_alpha, check_alphas
from sklearn_unroll.functional import L1, Dense, NonnegativeL1, Observation, Penalty, alpha_max
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
        Codes in float32 cannot be held below about 1e-7. A gap bounds the objective; codes are
        about ``sqrt(tol)`` from the solution, relative to the largest, and so are float32 ones
        from float64 ones: 2e-4 at the default, 6e-6 at 1e-8, and at 1e-12 the digits of
        SparseCoder, measured on 50 by 100 random atoms. The flatter the problem, the farther:
        with a coherence of .99999, 0.14, 3e-4 and rounding.
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
    %(device)s

    Attributes
    ----------
    %(dictionary_)s
    n_iter_ : int
        Looks at the data in ``fit``, always 1; :meth:`solve` gives the iterations of codes.
    %(features_)s

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

    @as_fitted
    def solve(self, X: Any, *, alpha: Any = None) -> LassoCodes:
        """Return codes with their certificate, per sample.

        Parameters
        ----------
        %(X)s
        %(solver_alpha)s

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

    @as_fitted
    def transform(self, X: Any, alpha: Any = None) -> Any:
        """Return the codes of observations.

        Parameters
        ----------
        %(X)s
        %(solver_alpha)s

        Returns
        -------
        array of shape (n_samples, n_components)
            Codes, with the kind, device and float dtype of X.
        """
        return self._certified(X, alpha, "transform")[1].codes

    @as_fitted
    def predict(self, X: Any, alpha: Any = None) -> Any:
        """Return the codes of observations, as ``transform`` does.

        Parameters
        ----------
        %(X)s
        %(solver_alpha)s

        Returns
        -------
        array of shape (n_samples, n_components) or (n_samples,)
            Codes; one-dimensional where the dictionary was estimated from such y.
        """
        return self._ravel(self._certified(X, alpha, "predict")[1].codes)

    @as_fitted
    def certify(self, X: Any, alpha: Any = None) -> Any:
        """Return how far the codes of ``predict`` are from the optimum of ``problem``, at most.

        Parameters
        ----------
        %(X)s
        %(solver_alpha)s

        Returns
        -------
        array of shape (n_samples,)
            Relative duality gaps, in float64: those of ``solve``.
        """
        return self._certified(X, alpha, "certify")[1].gap

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
        seen = self.task.see(self, X, "path")
        b, A = seen.obs.b, self._weighted(seen)
        ordered = check_alphas(alphas, b.device).sort(descending=True).values
        before, parts = None, []
        for alpha in ordered:
            found = self._run(
                b, A, alpha.expand(len(b)), lambda rows, x=before: None if x is None else x[rows]
            )
            parts.append(found._replace(x=self._unweighted(found.x)))
            before = found.x
        whole = (torch.stack(part) for part in zip(*parts, strict=True))
        return LassoPath(as_kind(ordered, seen.X), *(as_kind(part, seen.X) for part in whole))

    @as_fitted
    def score(self, X: Any, y: Any = None, sample_weight: Any = None, alpha: Any = None) -> float:
        """Return R^2 of the codes, or minus the mean objective where there is no y.

        Parameters
        ----------
        %(X)s
        %(y)s
        %(sample_weight)s
        %(solver_alpha)s

        Returns
        -------
        float
            Greater is better.
        """
        seen, found = self._certified(X, alpha, "score")
        problem = self.task.problem(self, seen.whole(), alpha).exact()
        return self._score(seen, found.codes, y, sample_weight, problem)

    def penalty_of(self, seen: Seen, alpha: Any = None) -> Penalty:
        """Return ``alpha ||w z||_1``, for nonnegative z with ``positive=True``."""
        obs = Observation(seen.obs.b.double(), self._weighted(seen))
        weight = self._alphas(alpha, obs.b)
        if self.alpha_relative:
            weight = weight * alpha_max(obs, positive=self.positive)
        weight = weight[:, None]
        if self.atom_weights is not None:
            weight = weight * self._atom_weights(obs.A.n_components, obs.b)
        check_magnitude(weight, "alpha, in units of X,", room=1.0)
        return NonnegativeL1(weight) if self.positive else L1(weight)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.dictionary is None and self.warm_start_from is None
        return tags

    def own_operator(self) -> Any:
        """Return the dictionary, that of ``warm_start_from`` where there is no other."""
        return dictionary_of(self.dictionary, self.warm_start_from)

    def check_fit(self, D: Tensor) -> None:
        """Check the weights of the atoms."""
        if self.atom_weights is not None:
            self._atom_weights(len(D), D)
        self.n_iter_ = 1

    def _atom_weights(self, n_components: int, like: Tensor) -> Tensor:
        return check_atom_weights(self.atom_weights, n_components, like)

    def _weighted(self, seen: Seen) -> Dense:
        """Return the operator in float64, with atoms whose codes all have weight one."""
        D = to_tensor(self.dictionary_, dtype=torch.float64, device=seen.obs.b.device)
        if self.atom_weights is not None:
            D = D / self._atom_weights(len(D), D)[:, None]
        return Dense(D)

    def _unweighted(self, codes: Tensor) -> Tensor:
        if self.atom_weights is None:
            return codes
        return codes / self._atom_weights(codes.shape[1], codes)

    def _alphas(self, alpha: Any, b: Tensor) -> Tensor:
        return check_alpha(self.alpha if alpha is None else alpha, len(b), b.device)

    def _certified(self, X: Any, alpha: Any, method: str) -> tuple[Seen, LassoCodes]:
        seen = self.task.see_rows(self, X, method)
        b, A = seen.obs.b, self._weighted(seen)
        found = self._run(b, A, self._alphas(alpha, b), lambda rows: self._start(X, rows, A))
        found = found._replace(x=self._unweighted(found.x))
        return seen, LassoCodes(*(as_kind(part, seen.X) for part in found))

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
        z = start_codes(self.warm_start_from, some, A.n_components, A.D.device)
        return z if self.atom_weights is None else z * self._atom_weights(z.shape[1], z)
