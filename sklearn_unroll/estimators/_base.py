"""The scikit-learn shell that every unrolled estimator shares. No equation here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from copy import deepcopy
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    MultiOutputMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.metrics import r2_score
from sklearn.utils import check_array, check_random_state
from sklearn.utils._array_api import check_same_namespace
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)
from torch import Tensor

from sklearn_unroll.estimators._recovery import DEBIAS, choose_debias, debias_codes
from sklearn_unroll.estimators._state import Given, any_tensor
from sklearn_unroll.estimators._units import Units, atom_norms, mean_norm, relative_norms
from sklearn_unroll.estimators._validation import (
    as_kind,
    check_alpha,
    check_codes,
    check_codes_match,
    check_dictionary,
    check_magnitude,
    check_numeric,
    check_own_dictionaries,
    estimate_dictionary,
    float_dtypes,
    from_tensor,
    refuse_complex,
    resolve_device,
    to_computed,
    to_cpu,
    to_tensor,
    warn_if_unexplained,
)
from sklearn_unroll.functional import Dense, Observation, Operator, duality_gap, lasso_value
from sklearn_unroll.nn import Unrolled

__all__ = ["BaseUnrolledRegressor"]


class BaseUnrolledRegressor(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    MultiOutputMixin,
    RegressorMixin,
    BaseEstimator,
    ABC,
):
    """Prediction, validation and everything around them; a subclass says how to fit.

    A subclass has a constructor that only assigns, with at least the parameters below.
    """

    # Whether the network sees unit-norm atoms; its codes are rescaled on the way out.
    _unit_atoms: ClassVar[bool] = False
    # For estimators that have no such parameter.
    normalize: bool = False
    debias: bool | str = False

    _parameter_constraints: ClassVar[dict] = {
        "dictionary": ["array-like", None],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "normalize": ["boolean"],
        "debias": ["boolean", StrOptions(set(DEBIAS))],
        "device": [str, torch.device],
        "random_state": ["random_state"],
    }

    @abstractmethod
    def fit(self, X: Any, y: Any = None) -> BaseUnrolledRegressor:
        """Set ``network_``, ``dictionary_`` and what else a subclass has.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.
        y : array-like of shape (n_samples, n_components), default=None
            True codes.

        Returns
        -------
        self : estimator
            The fitted estimator.
        """

    def predict(self, X: Any) -> Any:
        """Return the codes of observations, the last iterate of the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.

        Returns
        -------
        array of shape (n_samples, n_components) or (n_samples,)
            Codes, with the kind, device and float dtype of X; one-dimensional where y was.
        """
        return self._ravel(self._codes(X, "predict"))

    def transform(self, X: Any) -> Any:
        """Return the codes of observations, as ``predict`` does, always two-dimensional.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.

        Returns
        -------
        array of shape (n_samples, n_components)
            Codes.
        """
        return self._codes(X, "transform")

    def inverse_transform(self, X: Any) -> Any:
        """Return the signals of codes, ``X @ dictionary_``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components) or (n_samples,)
            Codes; one-dimensional where y was.

        Returns
        -------
        array of shape (n_samples, n_features)
            Signals.
        """
        return self._signals(X)

    def staged_predict(self, X: Any) -> Iterator[Any]:
        """Yield the codes after every layer; the last ones are those of ``predict``.

        Only the last ones are debiased, where the estimator does so.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.

        Yields
        ------
        array of shape (n_samples, n_components) or (n_samples,)
            Codes after layer 1, 2, ...
        """
        yield from self._stages(X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return R^2 of the codes, or minus the mean objective where there is no y.

        The objective is ``0.5 ||x - z D||^2 + alpha ||z||_1``, with ``alpha = 0`` for
        estimators that have none. Models with different alpha minimise different objectives:
        do not choose alpha by this score.

        R^2 is the mean over components, which weighs rare atoms heavily; for sparse codes
        :func:`sklearn_unroll.metrics.nmse_db` says more.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.
        y : array-like of shape (n_samples, n_components), default=None
            True codes.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        float
            Greater is better.
        """
        return self._score(X, y, sample_weight)

    def certify(self, X: Any, alpha: Any = None) -> Any:
        """Return how far the codes of ``predict`` are from the lasso's optimum, at most.

        The relative duality gap of every sample: what its objective
        ``0.5 ||x - z D||^2 + alpha ||z||_1`` exceeds the minimum by is at most that times
        ``0.5 ||x||^2``. ``LassoCoder(warm_start_from=self)`` closes it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.
        alpha : float or array-like of shape (n_samples,), default=None
            Weight of the l1 norm, positive. None takes that which the estimator has been
            trained for; estimators without an alpha need one.

        Returns
        -------
        array of shape (n_samples,)
            Relative gaps, evaluated in float64.

        Raises
        ------
        ValueError
            If there is no alpha, or it is not valid.
        """
        return self._certify(X, alpha)

    def _objective_alpha(self) -> float:
        return 0.0

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        # An instance that cannot do without pairs says so before it is given any.
        tags.target_tags.required = not self._knows_operator()
        return tags

    def __getstate__(self) -> dict:
        # A fit made on a GPU must load where there is none.
        state = super().__getstate__().copy()
        if "network_" in state and any_tensor(state["network_"]).device.type != "cpu":
            state["network_"] = deepcopy(state["network_"]).cpu()
            state["_stream"] = to_cpu(state.get("_stream"))
        return state

    @property
    def _n_features_out(self) -> int:
        return self.dictionary_.shape[0]

    def _prepare(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        operators: Any = None,
        *,
        reset: bool,
        keep_dictionary: bool = False,
    ) -> Given:
        """Validate what fit was given: the one validation path."""
        refuse_complex(X, "X")
        check_codes(y)
        dtypes = float_dtypes(X)
        if y is None:
            X = validate_data(self, X, y, reset=reset, dtype=dtypes)
        else:
            X, y = validate_data(
                self, X, y, reset=reset, dtype=dtypes, multi_output=True, y_numeric=True
            )
        self._y_was_1d = y is not None and y.ndim == 1
        device = resolve_device(self.device, X)
        b = to_tensor(X, dtype=None, device=device)
        weight = self._weights(sample_weight, X, b)
        codes = None
        if y is not None:
            check_numeric(y)
            codes = to_tensor(y, dtype=b.dtype, device=device).reshape(len(b), -1)
        keep = keep_dictionary and self.__sklearn_is_fitted__()
        D, A = self._resolve_operator(b, codes, weight, operators, keep)
        obs = Observation(b, A)
        if not keep:
            self.norm_ = mean_norm(b, weight) if self.normalize else None
        units = self._units(obs)
        if codes is not None:
            check_codes_match(codes, A)
            if self._knows_operator(operators):
                warn_if_unexplained(obs, codes, weight)
            codes = units.enter(codes)
        return Given(X, y, D, units.inside(obs), codes, weight)

    def _knows_operator(self, operators: Any = None) -> bool:
        """Return whether the operator is given, and need not be estimated from pairs."""
        return self.dictionary is not None or operators is not None

    def _resolve_operator(
        self, b: Tensor, codes: Tensor | None, weight: Tensor | None, operators: Any, keep: bool
    ) -> tuple[Tensor | None, Operator]:
        """Return the dictionary, if there is one for all samples, and the operator to train on."""
        own = keep and self.dictionary_ is not None
        D = None
        if operators is None or self.dictionary is not None or own:
            D = self._resolve_dictionary(b, codes, weight, own)
        if operators is None:
            return D, Dense(D)
        return D, check_own_dictionaries(operators, b, b.shape[1])

    def _resolve_dictionary(self, b: Tensor, codes, weight, keep: bool) -> Tensor:
        if self.dictionary is not None:
            return check_dictionary(self.dictionary, b.shape[1], b.dtype, b.device)
        if keep:
            return check_dictionary(self.dictionary_, b.shape[1], b.dtype, b.device)
        if codes is None:
            raise ValueError(
                f"{type(self).__name__} has no dictionary, and requires y to be passed to "
                f"estimate one, but the target y is None. Pass dictionary=..., or pairs."
            )
        return check_magnitude(estimate_dictionary(b, codes, weight))

    def _weights(self, sample_weight: Any, X: Any, b: Tensor) -> Tensor | None:
        if sample_weight is None:
            return None
        if isinstance(sample_weight, (list, tuple)):
            sample_weight = np.asarray(sample_weight)
        checked = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        return to_tensor(checked, dtype=b.dtype, device=b.device)

    def _fitted_state(self, network: Unrolled, given: Given) -> dict:
        return {
            "network_": network.eval(),
            "dictionary_": None if given.D is None else from_tensor(given.D.clone(), given.X),
            "debias_": self._choose_debias(network, given),
        }

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31))

    def _move_network(self, X: Any) -> None:
        device = resolve_device(self.device, X)
        if any_tensor(self.network_).device != device:
            self.network_.to(device)

    def _observe(self, X: Any, method: str, operators: Any = None) -> tuple[Any, Observation]:
        """Validate X for a fitted estimator, which computes in the dtype of its fit."""
        self._check_ready(X, method, operators)
        X = validate_data(self, X, reset=False, dtype=float_dtypes(X))
        self._move_network(X)
        b = to_computed(X, any_tensor(self.network_))
        return X, Observation(b, self._operator(b, operators))

    def _check_ready(self, X: Any, method: str, operators: Any) -> None:
        check_is_fitted(self)
        refuse_complex(X, "X")
        if self.dictionary_ is not None:
            check_same_namespace(X, self, attribute="dictionary_", method=method)
        elif operators is None:
            raise ValueError(
                f"{type(self).__name__} was fitted with one dictionary per observation and has "
                f"none of its own: pass operators=..., of shape (n_samples, n_components, "
                f"n_features), to {method}, or dictionary=... to the constructor."
            )

    def _operator(self, b: Tensor, operators: Any) -> Operator:
        """Return the operator of a fitted estimator for the observations b."""
        if operators is not None:
            return check_own_dictionaries(operators, b, self.n_features_in_, self._n_features_out)
        return Dense(to_tensor(self.dictionary_, dtype=b.dtype, device=b.device))

    def _units(self, obs: Observation) -> Units:
        """Return the units that the network wants data and operator in."""
        return Units(
            atom_norms(obs.A.D) if self._unit_atoms else None,
            None if self.norm_ is None else relative_norms(obs.b, self.norm_),
        )

    @torch.no_grad()
    def _solve(self, obs: Observation) -> Tensor:
        """Return the codes of observations, both in the user's units."""
        units = self._units(obs)
        codes = obs.b.new_empty(len(obs.b), obs.A.n_components)
        for rows, chunk in units.inside(obs).chunks():
            codes[rows] = units.leave(self.network_(chunk), rows)
        return self._finish(codes, obs)

    def _finish(self, codes: Tensor, obs: Observation) -> Tensor:
        return debias_codes(codes, obs, self.debias_)

    def _choose_debias(self, network: Unrolled, given: Given) -> str | None:
        if isinstance(self.debias, str):
            return self.debias
        return choose_debias(network, given) if self.debias else None

    def _codes(self, X: Any, method: str, operators: Any = None) -> Any:
        X, obs = self._observe(X, method, operators)
        return from_tensor(self._solve(obs), X)

    @torch.no_grad()
    def _stages(self, X: Any, operators: Any = None) -> Iterator[Any]:
        X, obs = self._observe(X, "staged_predict", operators)
        units = self._units(obs)
        chunks = [self.network_.stream(chunk) for _, chunk in units.inside(obs).chunks()]
        for number, parts in enumerate(zip(*chunks, strict=True)):
            if number == 0:
                continue
            codes = units.leave(torch.cat(parts))
            if number == self.network_.depth:
                codes = self._finish(codes, obs)
            yield self._ravel(from_tensor(codes, X))

    def _score(self, X: Any, y: Any, sample_weight: Any, operators: Any = None) -> float:
        if y is not None:
            predicted = self._ravel(self._codes(X, "score", operators))
            return r2_score(y, predicted, sample_weight=sample_weight)
        X, obs = self._observe(X, "score", operators)
        weight = self._weights(sample_weight, X, obs.b)
        weight = torch.ones_like(obs.b[:, 0]) if weight is None else weight
        alpha = self._units(obs).alpha(self._objective_alpha())
        value = lasso_value(self._solve(obs), obs, alpha)
        return -float((weight * value).sum() / weight.sum())

    @torch.no_grad()
    def _certify(self, X: Any, alpha: Any, operators: Any = None) -> Any:
        X, obs = self._observe(X, "certify", operators)
        if alpha is None:
            alpha = self._units(obs).alpha(self._objective_alpha())
            if not torch.as_tensor(alpha).any():
                raise ValueError(
                    f"{type(self).__name__} has no alpha of its own: pass alpha=..., the weight "
                    f"of the l1 norm of the lasso to compare with."
                )
        alpha = check_alpha(alpha, len(obs.b), obs.b.device)
        codes = self._solve(obs)
        if isinstance(obs.A, Dense):
            codes, obs = codes.double(), Observation(obs.b.double(), Dense(obs.A.D.double()))
        gaps = [duality_gap(codes[rows], chunk, alpha[rows]) for rows, chunk in obs.chunks()]
        return as_kind(torch.cat(gaps), X)

    def _signals(self, X: Any, operators: Any = None) -> Any:
        self._check_ready(X, "inverse_transform", operators)
        codes = check_array(X, dtype=float_dtypes(X), ensure_2d=not self._y_was_1d)
        self._move_network(codes)
        z = to_computed(codes, any_tensor(self.network_))
        z = z[:, None] if z.ndim == 1 else z
        A = self._operator(z, operators)
        check_codes_match(z, A)
        return from_tensor(A(z), codes)

    def _ravel(self, codes: Any) -> Any:
        return codes[:, 0] if self._y_was_1d else codes
