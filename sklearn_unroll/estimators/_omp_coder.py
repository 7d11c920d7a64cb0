"""Greedy codes that end at a residual, as a scikit-learn transformer."""

from __future__ import annotations

import warnings
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval
from torch import Tensor

from sklearn_unroll.estimators._arrays import as_kind
from sklearn_unroll.estimators._coder import BaseCoder, by_dictionary, room_for, written
from sklearn_unroll.estimators._groups import group_penalty
from sklearn_unroll.estimators._missing import behind_mask
from sklearn_unroll.estimators._operators import check_operators
from sklearn_unroll.estimators._shell import Seen
from sklearn_unroll.estimators._state import as_fitted
from sklearn_unroll.estimators._validation import check_finite_codes, check_per_sample
from sklearn_unroll.functional import Dense, Observation, Operator
from sklearn_unroll.functional.rows import Rows, blocks
from sklearn_unroll.solvers import Pursuit, masked_pursuit, orthogonal_matching_pursuit
from sklearn_unroll.solvers.masks import is_masked

__all__ = ["OMPCoder", "OMPCodes"]


class OMPCodes(NamedTuple):
    """What :meth:`OMPCoder.solve` found, per sample, as arrays of the kind of X.

    Parameters
    ----------
    codes : array of shape (n_samples, n_components)
        Codes, with the float dtype of X.
    residual : array of shape (n_samples,)
        Squared norms of ``X - codes @ dictionary``, with the float dtype of X.
    n_nonzero : array of shape (n_samples,)
        Atoms in use, or groups of atoms.
    converged : array of shape (n_samples,)
        Whether the residual is at most the tolerance or, without one, the atoms are as many as
        asked for; also true where nothing but rounding is left of the residual.
    """

    codes: Any
    residual: Any
    n_nonzero: Any
    converged: Any


class OMPCoder(BaseCoder):
    """Sparse codes by orthogonal matching pursuit, every sample down to its noise.

    Adds the atom that the residual correlates with most, solves for all codes, and so on, for a
    whole batch at once, until the residual of a sample is at most its tolerance or the sample
    has its atoms. Takes the place of :class:`~sklearn.decomposition.SparseCoder` with
    ``transform_algorithm="omp"``, which knows no tolerance. Where few atoms are active and the
    energy of the noise is known, it is what a learned network has to beat. Nothing is learned in
    ``fit``.

    Parameters
    ----------
    dictionary : array-like of shape (n_components, n_features), default=None
        Rows are atoms, of any norm, ``X ~ codes @ dictionary``. None estimates one from the
        pairs of ``fit``.
    n_nonzero_coefs : int, default=None
        Most atoms of a sample. None is a tenth of the number of features (at least one) where
        tol is None too, else as many as there are features; never more than there are atoms.
        With ``groups`` it counts groups, and a tenth is one of atoms, of the largest groups.
    tol : float, default=None
        Largest squared norm of a residual, as in
        :class:`~sklearn.linear_model.OrthogonalMatchingPursuit`: the energy of the noise of a
        sample, ``n_features`` times its variance, or a little less, see
        :func:`~sklearn_unroll.metrics.noise_energy`. One per sample may be given to ``solve``,
        ``transform``, ``predict`` and ``score``. None is for exactly n_nonzero_coefs atoms.
    groups : int or array-like of int of shape (n_components,), default=None
        Groups of atoms that are added together (block OMP): the label of each atom's group, in
        any order, or the size of groups of consecutive atoms. The one whose atoms, of norm one,
        have the largest norm of correlations is next.
    %(device)s

    Attributes
    ----------
    dictionary_ : array of shape (n_components, n_features)
        The dictionary in use.
    %(features_)s

    See Also
    --------
    LassoCoder : The convex problem, to a certificate.
    LISTARegressor : Networks, for groups of atoms too.
    sklearn_unroll.solvers.orthogonal_matching_pursuit : The same for tensors.

    Notes
    -----
    %(seen_only)s
    Its ``tol`` and the default of ``n_nonzero_coefs`` are then those of the entries seen.

    Both limits hold if both are given; scikit-learn ignores n_nonzero_coefs then. Samples that
    miss the tolerance, or the number of atoms because no independent one is left, are counted in
    a ConvergenceWarning, and :meth:`solve` says which they are. The score with codes y is R^2;
    without y it is minus the mean squared norm of the residuals.

    Examples
    --------
    >>> from sklearn_unroll import OMPCoder
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> data = make_sparse_recovery(100, 50, 80, sparsity=4, snr_db=30, random_state=0)
    >>> coder = OMPCoder(data.dictionary).fit(data.X)
    >>> found = coder.solve(data.X, tol=0.8 * 50 * data.noise_std**2)
    >>> bool(found.converged.all()), float(found.n_nonzero.mean())
    (True, 5.33)
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseCoder._parameter_constraints,
        "n_nonzero_coefs": [Interval(Integral, 1, None, closed="left"), None],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "groups": ["array-like", Integral, None],
    }

    def __init__(
        self,
        dictionary: Any = None,
        n_nonzero_coefs: int | None = None,
        tol: float | None = None,
        *,
        groups: Any = None,
        device: str | torch.device = "auto",
    ) -> None:
        self.dictionary = dictionary
        self.n_nonzero_coefs = n_nonzero_coefs
        self.tol = tol
        self.groups = groups
        self.device = device

    def check_fit(self, A: Operator) -> None:
        """Check the groups of atoms."""
        self._labels(A.n_components)

    def _labels(self, n_components: int) -> Tensor | None:
        return None if self.groups is None else group_penalty(self.groups, n_components).groups

    @as_fitted
    def solve(self, X: Any, *, tol: Any = None, operators: Any = None) -> OMPCodes:
        """Return codes with their residuals, per sample.

        Parameters
        ----------
        %(X)s
        %(solver_tol)s
        %(solver_operators)s

        Returns
        -------
        OMPCodes
            Codes, residuals, numbers of atoms and flags.

        Raises
        ------
        ValueError
            If X or tol is not valid.

        Warns
        -----
        ConvergenceWarning
            If samples miss the tolerance, or the number of atoms.
        """
        return self._pursue(X, tol, "solve", operators)[1]

    @as_fitted
    def transform(self, X: Any, tol: Any = None, operators: Any = None, out: Any = None) -> Any:
        """Return the codes of observations.

        Parameters
        ----------
        %(X)s
        %(solver_tol)s
        %(solver_operators)s
        %(out)s

        Returns
        -------
        array of shape (n_samples, n_components)
            Codes, with the kind, device and float dtype of X.
        """
        return self._pursue(X, tol, "transform", operators, out)[1].codes

    @as_fitted
    def predict(self, X: Any, tol: Any = None, operators: Any = None, out: Any = None) -> Any:
        """Return the codes of observations, as ``transform`` does.

        Parameters
        ----------
        %(X)s
        %(solver_tol)s
        %(solver_operators)s
        %(out)s

        Returns
        -------
        array of shape (n_samples, n_components) or (n_samples,)
            Codes; one-dimensional where the dictionary was estimated from such y.
        """
        codes = self._pursue(X, tol, "predict", operators, out)[1].codes
        return self._ravel(codes) if out is None else out

    @as_fitted
    def score(
        self, X: Any, y: Any = None, sample_weight: Any = None, tol: Any = None,
        operators: Any = None,
    ) -> float:  # fmt: skip
        """Return R^2 of the codes, or minus the mean squared residual where there is no y.

        Parameters
        ----------
        %(X)s
        %(y)s
        %(sample_weight)s
        %(solver_tol)s
        %(solver_operators)s

        Returns
        -------
        float
            Greater is better.
        """
        seen, found = self._pursue(X, tol, "score", operators)
        # Its objective is the squared norm of the residual, twice that of the problem.
        twice = 1.0 if y is not None else 2.0
        seen = seen.whole()
        if operators is not None:
            own = behind_mask(seen.obs.A, check_operators(operators, seen.obs.b))
            seen = seen._replace(obs=seen.obs._replace(A=own))
        problem = self.task.problem(self, seen)
        return twice * self._score(seen, found.codes, y, sample_weight, problem)

    def _pursue(
        self, X: Any, tol: Any, method: str, operators: Any, out: Any = None
    ) -> tuple[Seen, OMPCodes]:
        seen = self._seen(X, method, operators)
        into = self._into(seen, out, method)
        b = seen.obs.b
        limit = self.tol if tol is None else check_tol(tol, len(b))
        most, labels = self.n_nonzero_coefs, self._labels(seen.obs.A.n_components)
        if most is None:
            most = usual_number(seen.obs, limit, labels)
        if operators is None:
            whole = into is None and not isinstance(b, Rows)
            run = pursue if whole else partial(_in_parts, into)
            found = run(seen.obs, most, limit, labels)
        else:

            def solve(rows: Tensor, some: Tensor, D: Tensor) -> Pursuit:
                A = behind_mask(seen.obs.A.take(rows), Dense(D))
                own = (v[rows] if isinstance(v, Tensor) else v for v in (most, limit))
                return pursue(Observation(some, A), *own, labels)

            found = by_dictionary(b, operators, solve)
        check_finite_codes(found.x, self)
        if method == "solve" and not bool(torch.isfinite(found.residual).all()):
            raise ValueError(
                f"The squared residuals of X overflow in {b.dtype}. Rescale X, or take transform, "
                f"whose codes do not depend on them."
            )
        warn_if_not_reached(found, limit, most, "atoms" if labels is None else "groups")
        parts = found.x, found.residual, found.n_nonzero, found.converged
        codes = OMPCodes(*(as_kind(part, seen.X) for part in parts))
        return seen, codes._replace(codes=written(codes.codes, found.x, into, out))


def usual_number(obs: Observation, tol: Any, labels: Tensor | None = None) -> int | Tensor:
    """Return as many atoms as entries are seen, or a tenth of it where there is no tolerance.

    Or so many groups; a tenth is that of the atoms of the largest groups.
    """
    n = obs.A.second.visible.sum(1) if is_masked(obs.A) else torch.tensor(obs.b.shape[1])
    sizes = torch.ones(obs.A.n_components) if labels is None else labels.bincount()
    tenth = (n // (10 * int(sizes.max()))).clamp_min(1)
    n = (n if tol is not None else tenth).clamp_max(len(sizes))
    return n if n.ndim else int(n)


def pursue(
    obs: Observation, n_nonzero: int | Tensor, tol: Any, labels: Tensor | None = None
) -> Pursuit:
    """Return the pursuit of what is seen."""
    run = masked_pursuit if is_masked(obs.A) else orthogonal_matching_pursuit
    return run(obs, n_nonzero, tol, groups=labels)


def _in_parts(
    into: Tensor | None, obs: Observation, n_nonzero: int | Tensor, tol: Any, labels: Tensor | None
) -> Pursuit:
    """Return the pursuit of data that are seen a few rows at a time, in the caller's array."""
    n = len(obs.b)
    result = Pursuit(
        room_for(into, obs.b, n, obs.A.n_components),
        obs.b.new_empty(n, dtype=torch.long),
        obs.b.new_empty(n),
        obs.b.new_empty(n, dtype=torch.bool),
    )
    for rows in blocks(obs.b):
        own = (v[rows] if isinstance(v, Tensor) else v for v in (n_nonzero, tol))
        found = pursue(obs.take(rows), *own, labels)
        for one, part in zip(result, found, strict=True):
            one[rows] = part
    return result


def check_tol(tol: Any, n_samples: int) -> Tensor:
    """Return the tolerances of samples, of shape (n_samples,); raise for anything else."""
    tensor = check_per_sample("tol", tol, n_samples)
    if not bool(((tensor >= 0) & torch.isfinite(tensor)).all()):
        raise ValueError(
            f"tol must be finite and not negative; got values from {float(tensor.min())} to "
            f"{float(tensor.max())}. It is the squared norm of a residual."
        )
    return tensor.expand(n_samples)


def warn_if_not_reached(
    found: Pursuit, tol: Any, n_nonzero_coefs: int | Tensor, what: str
) -> None:
    """Say how many samples are above the tolerance, or have too few atoms or groups of them."""
    missed = ~found.converged
    left = int(missed.sum())
    if not left:
        return
    dependent = int((missed & (found.n_nonzero < n_nonzero_coefs)).sum())
    most = int(torch.as_tensor(n_nonzero_coefs).max())
    if tol is None:
        goal = f"got n_nonzero_coefs={most} {what}"
    else:
        goal = (
            f"reached their tol, the largest squared norm of a residual is "
            f"{float(found.residual[missed].max()):.2g}, with at most {most} {what}"
        )
    warnings.warn(
        f"{left} of {len(found.x)} samples have not {goal}; for {dependent} of them no linearly "
        f"independent atom was left that the residual correlates with. Their codes are the best "
        f"found. Raise tol, or check the dictionary.",
        ConvergenceWarning,
        stacklevel=5,
    )
