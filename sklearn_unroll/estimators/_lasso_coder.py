"""Sparse codes with a certificate, as a scikit-learn transformer."""

from __future__ import annotations

from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from scipy.sparse.linalg import LinearOperator
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from torch import Tensor

from sklearn_unroll.estimators._arrays import to_tensor
from sklearn_unroll.estimators._checked import check_magnitude
from sklearn_unroll.estimators._lasso_aim import Found, How, aim_of
from sklearn_unroll.estimators._lasso_codes import (
    check_applied,
    check_atom_weights,
    dictionary_of,
    start_codes,
    warn_if_not_converged,
)
from sklearn_unroll.estimators._lasso_methods import BaseLassoCoder
from sklearn_unroll.estimators._lasso_solvers import (
    SOLVERS,
    no_start,
    solve_chunks,
    solve_groups,
)
from sklearn_unroll.estimators._missing import behind_mask
from sklearn_unroll.estimators._operators import group_operators
from sklearn_unroll.estimators._shell import Seen
from sklearn_unroll.estimators._validation import check_finite_codes
from sklearn_unroll.functional import (
    L1,
    Dense,
    ElasticNet,
    NonnegativeL1,
    Observation,
    Operator,
    Penalty,
    alpha_max,
)
from sklearn_unroll.functional._alone import calm
from sklearn_unroll.functional.rows import whole

__all__ = ["LassoCoder"]


class LassoCoder(BaseLassoCoder):
    """Sparse codes that solve the lasso, every sample to a certificate.

    Minimises ``0.5 ||x - z D||^2 + alpha ||z||_1`` for a whole batch at once, until the duality
    gap of every sample, a bound on what its objective exceeds the minimum by, is at most tol
    times the objective at zero. Or ``||z||_1`` where the error is bounded, or the error where
    ``||z||_1`` is. Takes the place of
    :class:`~sklearn.decomposition.SparseCoder` with ``transform_algorithm="lasso_lars"`` or
    ``"lasso_cd"``. Nothing is learned in ``fit``.

    Parameters
    ----------
    dictionary : array-like of shape (n_components, n_features), Operator or LinearOperator, \
            default=None
        Rows are atoms, of any norm, ``X ~ codes @ dictionary``. None takes that of
        ``warm_start_from``, or without it estimates one from the pairs of ``fit``. An operator,
        such as :class:`~sklearn_unroll.functional.Convolution`, is only applied: by ADMM where
        its boundary is circular, by restarted FISTA otherwise. ``solver="admm"`` takes fewer
        iterations wherever the operator has ``solve_normal`` in closed form.
    alpha : float, default=0.1
        Weight of the l1 norm, positive, or zero with ``positive=True``: nonnegative least
        squares. One per sample may be given to ``solve``, ``transform``, ``predict`` and
        ``score``; so may the next two.
    error : float, default=None
        Instead of alpha: the largest ``||x - z D||^2``, for which the least l1 norm is found
        (``mode=1`` of ``spams.lasso``). Of white noise of standard deviation s it is
        ``n_features * s**2``; for each sample's own, with NaN in X or at a confidence, pass that
        of :func:`~sklearn_unroll.metrics.noise_energy` to ``transform``.
    l1_radius : float, default=None
        Instead of alpha: the largest l1 norm, for which the least error is found (``mode=0``).
    l2 : float, default=0.0
        Weight of ``0.5 ||z||^2``, the elastic net; with alpha only.
    solver : {"auto", "coordinate_descent", "homotopy", "active_set", "fista", "ista", "admm", \
            "cvxpy"}, default="auto"
        Where numba is installed, on a CPU, "auto" is compiled: "coordinate_descent" on working
        sets, or, where passes over them are many, as with coherent atoms, "homotopy", the path
        from zero codes to alpha; up to 32 samples tell which. Elsewhere it takes a few
        iterations of restarted FISTA in float32 until the support settles (none where two atoms
        have a coherence above .95), then solves for the codes on it and repairs it in float64,
        see :func:`~sklearn_unroll.solvers.active_set`: "active_set" does only that, from zero,
        or from the codes of ``warm_start_from``. "cvxpy" is slow, for checks. Error and
        l1_radius are met by the path, or a search for alpha.
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
    %(seen_only)s
    An ``error`` is then one of the entries that were seen. Samples are solved together; by other
    solvers than "auto", "coordinate_descent" and "homotopy", and without numba with ``alpha=0``,
    those of one mask after those of another.

    Samples that miss the tolerance are counted in a ConvergenceWarning, and :meth:`solve` says
    which they are, and the alpha at which an error or an l1 norm is met. ``problem`` is the lasso
    with that alpha then. The first call of a process that compiles takes some tenths of a second
    to load numba, the first on a machine some seconds.

    The score with codes y is R^2, so that ``GridSearchCV`` can choose alpha from pairs; without y
    it is minus the mean objective, by which alpha cannot be chosen.

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

    applies_operators = True
    _parameter_constraints: ClassVar[dict] = {
        **BaseLassoCoder._parameter_constraints,
        "dictionary": ["array-like", Operator, LinearOperator, None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "error": [Interval(Real, 0, None, closed="neither"), None],
        "l1_radius": [Interval(Real, 0, None, closed="neither"), None],
        "l2": [Interval(Real, 0, None, closed="left")],
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
        error: float | None = None,
        l1_radius: float | None = None,
        l2: float = 0.0,
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
        self.error = error
        self.l1_radius = l1_radius
        self.l2 = l2
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.alpha_relative = alpha_relative
        self.positive = positive
        self.atom_weights = atom_weights
        self.warm_start_from = warm_start_from
        self.device = device

    def penalty_of(self, seen: Seen, alpha: Any = None) -> Penalty:
        """Return ``alpha ||w z||_1 + 0.5 l2 ||z||^2``, of nonnegative z with ``positive=True``."""
        b, A = seen.obs.b.double(), self._atoms(seen)
        aim = aim_of(self, len(b), b.device, alpha=alpha)
        if aim.name != "alpha":
            return self._penalty(solve_chunks(b, A, aim, no_start, self._how(A)).alpha)
        if not aim.relative:
            return self._penalty(aim.value)
        peak = alpha_max(Observation(b, A), positive=self.positive)
        return self._penalty(aim.value * peak)

    def _penalty(self, alpha: Tensor) -> Penalty:
        weight = alpha[:, None]
        if self.atom_weights is not None:
            weight = weight * self._atom_weights(len(self.atom_weights), alpha)
        check_magnitude(weight, "alpha, in units of X,", room=1.0)
        if self.l2:
            return ElasticNet(weight + self.l2, weight / (weight + self.l2), self.positive)
        return NonnegativeL1(weight) if self.positive else L1(weight)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.dictionary is None and self.warm_start_from is None
        return tags

    def own_operator(self) -> Any:
        """Return the dictionary, that of ``warm_start_from`` where there is no other."""
        return dictionary_of(self.dictionary, self.warm_start_from)

    def check_fit(self, A: Operator) -> None:
        """Check what is to be met, and the weights of the atoms."""
        check_applied(self, A, aim_of(self, 1, A.like.device))
        if self.atom_weights is not None:
            self._atom_weights(A.n_components, A.like)
        self.n_iter_ = 1

    def _atom_weights(self, n_components: int, like: Tensor) -> Tensor:
        return check_atom_weights(self.atom_weights, n_components, like)

    def _atoms(self, seen: Seen, own: Tensor | None = None, rows: Any = slice(None)) -> Operator:
        """Return the operator in float64, with atoms whose codes all have weight one."""
        if own is None and isinstance(self.dictionary_, Operator):
            return seen.obs.A.to(torch.empty(0, dtype=torch.float64, device=seen.obs.b.device))
        D = to_tensor(
            self.dictionary_ if own is None else own, dtype=torch.float64,
            device=seen.obs.b.device,
        )  # fmt: skip
        if self.atom_weights is not None:
            D = D / self._atom_weights(len(D), D)[:, None]
        return behind_mask(seen.obs.A.take(rows), Dense(D))

    def _unweighted(self, codes: Tensor) -> Tensor:
        if self.atom_weights is None:
            return codes
        return codes.div_(self._atom_weights(codes.shape[-1], codes))

    def _how(self, A: Operator) -> How:
        kind = {"dtype": torch.float64, "device": A.like.device}
        l2 = torch.full((A.n_components,), float(self.l2), **kind)
        if self.atom_weights is not None:
            l2 = l2 / self._atom_weights(len(l2), l2).square()
        return How(self.solver, self.positive, l2, self.tol, self.max_iter)

    def _solved(
        self, X: Any, method: str, operators: Any, given: dict, out: Any = None
    ) -> tuple[Seen, Found, Tensor | None]:
        """Return codes that meet what the method was given, and the caller's array."""
        with calm():  # threads of our own follow
            seen = self._seen(X, method, operators)
        into = self._into(seen, out, method)
        b = seen.obs.b
        aim = aim_of(self, len(b), b.device, **given)
        if operators is None:
            A = self._atoms(seen)
            check_applied(self, A, aim)
            own = no_start
            if self.warm_start_from is not None:
                own = partial(self._start, X, A)
            found = solve_chunks(b, A, aim, own, self._how(A), into)
        elif self.warm_start_from is not None:
            raise ValueError("warm_start_from has codes of one dictionary: not with operators.")
        else:
            b = whole(b)
            groups = group_operators(operators, len(b), b)
            atoms = ((rows, self._atoms(seen, D, rows)) for rows, D in groups)
            found = solve_groups(b, atoms, aim, self._how(seen.obs.A))
        warn_if_not_converged(found, self.solver, self.tol, self.max_iter)
        with calm():
            found = found._replace(x=check_finite_codes(self._unweighted(found.x), self))
        return seen, found, into

    def _start(self, X: Any, A: Operator, rows: slice) -> Tensor:
        """Return the codes of the other estimator, in the units in which atoms weigh one."""
        some = X[rows, ...] if hasattr(X, "shape") and not hasattr(X, "iloc") else None
        some = _safe_indexing(X, rows) if some is None else some
        z = start_codes(self.warm_start_from, some, A.n_components, A.like.device)
        return z if self.atom_weights is None else z * self._atom_weights(z.shape[1], z)
