"""The methods of estimators that give codes."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any, ClassVar

import torch
from sklearn.base import MultiOutputMixin, RegressorMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_unroll.estimators._arrays import as_kind, check_out, from_tensor
from sklearn_unroll.estimators._checked import check_dtype
from sklearn_unroll.estimators._document import fill
from sklearn_unroll.estimators._guard import GUARDS, Run
from sklearn_unroll.estimators._learned import Learned
from sklearn_unroll.estimators._shell import Transforms
from sklearn_unroll.estimators._sizes import units_of
from sklearn_unroll.estimators._state import any_tensor, as_fitted
from sklearn_unroll.estimators._units import Units
from sklearn_unroll.estimators._validation import check_weight, weighted_mean
from sklearn_unroll.functional import Observation, Operator, Zero, composite_gap

__all__ = ["CodeMethods"]


@fill
class CodeMethods(Transforms, MultiOutputMixin, RegressorMixin):
    """The methods of an estimator whose ``task`` is :class:`Codes`, beside ``Learned``."""

    _parameter_constraints: ClassVar[dict] = {
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "guard": [StrOptions(set(GUARDS)), None],
        "normalize": ["boolean", StrOptions({"auto"})],
        "alpha_relative": ["boolean"],
        "groups": ["array-like", Interval(Integral, 1, None, closed="left"), None],
    }
    # Where results go is no metadata, which a meta-estimator would split or route.
    __metadata_request__predict: ClassVar[dict] = {"out": UNUSED}
    __metadata_request__transform: ClassVar[dict] = {"out": UNUSED}
    # Whether the network can be given another dictionary with each observation.
    takes_operators: bool = False
    # Whether a dictionary may be an operator, which is only applied.
    applies_operators: bool = False
    # Whether inner layers hold no codes, so that only the answer can be guarded.
    guards_whole: bool = False

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, operators: Any = None) -> Any:
        """Learn the network's parameters, from pairs or from observations alone.

        Parameters
        ----------
        %(X)s
        y : array-like of shape (n_samples, n_components), default=None
            True codes, ``X ~ y @ dictionary``. Without them the network learns to minimise
            the problem itself. Ignored if the dictionary is given and the
            trainer's objective needs no codes, so that y may be the labels of a classifier
            that follows in a Pipeline.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights of the samples in the loss, and in the estimate of the
            dictionary.
        %(operators)s

        Returns
        -------
        %(fitted)s

        Raises
        ------
        %(fit_errors)s
        """
        return self.learn(X, y, sample_weight, operators=operators)

    @available_if(lambda self: isinstance(self, Learned))
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, operators: Any = None
    ) -> Any:
        """Take one pass over a batch of a stream.

        The first call sets the dictionary (estimated from that batch if none was given) and
        the network; later calls, and calls after ``fit``, go on from there. All layers train
        at the trainer's ``learning_rate``, without hold-out, decay or callbacks.

        Parameters
        ----------
        %(X)s
        y : array-like of shape (n_samples, n_components), default=None
            True codes, as in ``fit``.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights of the samples in the loss; only their ratios within the batch
            matter.
        %(operators)s

        Returns
        -------
        %(fitted)s

        Raises
        ------
        %(fit_errors)s
        """
        return self.learn_more(X, y, sample_weight, operators=operators)

    @as_fitted
    def predict(self, X: Any, operators: Any = None, out: Any = None) -> Any:
        """Return the codes of observations, the last iterate of the network.

        Parameters
        ----------
        %(X)s
        %(operators)s
        %(out)s

        Returns
        -------
        %(codes)s
        """
        return self._codes(X, "predict", operators, out, as_y=True)

    @as_fitted
    def transform(self, X: Any, operators: Any = None, out: Any = None) -> Any:
        """Return the codes of observations, as ``predict`` does, always two-dimensional.

        Parameters
        ----------
        %(X)s
        %(operators)s
        %(out)s

        Returns
        -------
        array of shape (n_samples, n_components)
            Codes.
        """
        return self._codes(X, "transform", operators, out)

    @as_fitted
    def inverse_transform(self, X: Any, operators: Any = None) -> Any:
        """Return the signals of codes, ``X @ dictionary_``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components) or (n_samples,)
            Codes; one-dimensional where y was.
        %(operators)s

        Returns
        -------
        array of shape (n_samples, n_features)
            Signals.
        """
        return self._signals(X, operators)

    @as_fitted
    def staged_predict(self, X: Any, operators: Any = None) -> Iterator[Any]:
        """Yield the codes after every layer; the last ones are those of ``predict``.

        Only the last ones are debiased, where the estimator does so.

        Parameters
        ----------
        %(X)s
        %(operators)s

        Yields
        ------
        array of shape (n_samples, n_components) or (n_samples,)
            Codes after layer 1, 2, ...
        """
        seen = self.task.see(self, X, "staged_predict", None, operators)
        for number, codes in enumerate(Run.of(self, seen).execution.stages(), 1):
            codes = seen.units.leave(codes)
            if number == self.network_.depth:
                codes = self.task.finish(self, codes, seen.obs)
            yield self._ravel(from_tensor(codes, seen.X))

    @as_fitted
    def score(
        self, X: Any, y: Any = None, sample_weight: Any = None, operators: Any = None
    ) -> float:
        """Return R^2 of the codes, or minus the mean objective where there is no y.

        The objective is that of ``problem``: ``0.5 ||x - z D||^2`` alone for estimators that
        have no penalty. Models with different alpha minimise different objectives:
        do not choose alpha by this score.

        R^2 is the mean over components, which weighs rare atoms heavily; for sparse codes
        :func:`sklearn_unroll.metrics.nmse_db` says more.

        Parameters
        ----------
        %(X)s
        %(y)s
        %(sample_weight)s
        %(operators)s

        Returns
        -------
        float
            Greater is better.
        """
        seen = self.task.see(self, X, "score", None, operators)
        codes = self.task.solve(self, seen)
        if y is not None:
            return self._r2(seen, from_tensor(codes, seen.X), y, sample_weight)
        value = self.task.problem(self, seen).value(codes)
        return -weighted_mean(value, check_weight(sample_weight, seen.X, value))

    @as_fitted
    def certify(self, X: Any, alpha: Any = None, operators: Any = None) -> Any:
        """Return how far the codes of ``predict`` are from the optimum of ``problem``, at most.

        The relative duality gap of every sample: what its objective exceeds the minimum by is at
        most that times the objective of the zero code. ``LassoCoder(warm_start_from=self)``
        closes it.

        Parameters
        ----------
        %(X)s
        alpha : float or array-like of shape (n_samples,), default=None
            Weight of the l1 norm, positive. None takes the estimator's own penalty; estimators
            without one need it.
        %(operators)s

        Returns
        -------
        array of shape (n_samples,)
            Relative gaps, evaluated in float64.

        Raises
        ------
        ValueError
            If there is no alpha, or it is not valid.
        """
        seen = self.task.see(self, X, "certify", None, operators)
        problem = self.task.problem(self, seen, alpha)
        if isinstance(problem.R, Zero):
            raise ValueError(
                f"{type(self).__name__} has no alpha of its own: pass alpha=..., the weight "
                f"of the l1 norm of the lasso to compare with."
            )
        problem = problem.exact()
        codes = self.task.solve(self, seen).to(problem.b)
        gaps = [composite_gap(codes[rows], part) for rows, part in problem.chunks()]
        return as_kind(torch.cat(gaps), seen.X)

    def normalizes(self, has_y: bool) -> bool:
        """Return whether ``normalize="auto"`` brings observations to one norm: in a fit with y.

        Parameters
        ----------
        has_y : bool
            Whether the fit learns from pairs.

        Returns
        -------
        bool
            Whether it does.
        """
        return has_y

    def scales(self, has_y: bool) -> bool:
        """Return whether ``normalize="auto"`` sees pairs in units of their sizes.

        Parameters
        ----------
        has_y : bool
            Whether the fit learns from pairs.

        Returns
        -------
        bool
            Whether it does; by default where it brings observations to one norm.
        """
        return self.normalizes(has_y)

    @as_fitted
    def count_refused(self, X: Any, operators: Any = None) -> Any:
        """Return how many layers' steps the guard refuses in ``predict``.

        Parameters
        ----------
        %(X)s
        %(operators)s

        Returns
        -------
        array of int of shape (n_samples,)
            Counts, at most ``n_layers``; zeros where the guard is off.
        """
        seen = self.task.see(self, X, "count_refused", None, operators)
        return as_kind(Run.of(self, seen).codes()[1], seen.X)

    @as_fitted
    def network_operator(self, dtype: torch.dtype | None = None) -> Operator:
        """Return what maps codes to observations, as the network sees it.

        %(network_operator)s
        """
        check_is_fitted(self)
        check_dtype(dtype)
        if self.dictionary_ is None and self.task.operator == "dictionary":
            return super().network_operator(dtype)
        b = any_tensor(self.network_).new_zeros(1, self.n_features_in_, dtype=dtype)
        obs = Observation(b, self.task.fitted_operator(self, b))
        atoms = units_of(self.task, self, obs, None, self.scale_).atoms
        return Units(atoms, None).inside(obs).A

    def _codes(self, X: Any, method: str, operators: Any, out: Any, *, as_y: bool = False) -> Any:
        seen = self.task.see_rows(self, X, method, None, operators)
        if out is None:
            codes = from_tensor(self.task.solve(self, seen), seen.X)
            return self._ravel(codes) if as_y else codes
        shape = len(seen.obs.b), seen.obs.A.n_components
        into = check_out(out, shape[:1] if as_y and self._y_was_1d else shape, seen.X)
        self.task.solve(self, seen, into.view(shape))
        return out

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        # An instance that cannot do without pairs says so before it is given any.
        tags.target_tags.required = self.task.needs_pairs or not (
            self.takes_operators or self.task.knows_operator(self)
        )
        return tags
