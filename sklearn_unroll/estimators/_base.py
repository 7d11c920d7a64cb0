"""The scikit-learn shell that every unrolled estimator shares. No equation here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import chain
from numbers import Integral
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    MultiOutputMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils import check_array, check_random_state
from sklearn.utils._array_api import check_same_namespace
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)
from torch import Tensor

from sklearn_unroll.estimators._validation import (
    check_codes,
    check_codes_match,
    check_dictionary,
    check_magnitude,
    check_numeric,
    estimate_dictionary,
    float_dtypes,
    from_tensor,
    refuse_complex,
    resolve_device,
    to_computed,
    to_cpu,
    to_tensor,
)
from sklearn_unroll.functional import Dense, Observation, lasso_value
from sklearn_unroll.nn import Unrolled

__all__ = ["BaseUnrolledRegressor"]


class Given(NamedTuple):
    """What fit was given, validated: for callbacks as arrays, for training as tensors."""

    X: Any
    y: Any
    D: Tensor
    obs: Observation
    codes: Tensor | None
    weight: Tensor | None


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

    _parameter_constraints: ClassVar[dict] = {
        "dictionary": ["array-like", None],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
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
        check_is_fitted(self)
        check_same_namespace(X, self, attribute="dictionary_", method="inverse_transform")
        refuse_complex(X, "X")
        codes = check_array(X, dtype=float_dtypes(X), ensure_2d=not self._y_was_1d)
        device = self._move_network(codes)
        D = to_tensor(self.dictionary_, dtype=None, device=device)
        z = to_computed(codes, D)
        z = z[:, None] if z.ndim == 1 else z
        check_codes_match(z, D)
        return from_tensor(Dense(D)(z), codes)

    @torch.no_grad()
    def staged_predict(self, X: Any) -> Iterator[Any]:
        """Yield the codes after every layer; the last ones are those of ``predict``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.

        Yields
        ------
        array of shape (n_samples, n_components) or (n_samples,)
            Codes after layer 1, 2, ...
        """
        X, obs = self._observe(X, "staged_predict")
        chunks = [self.network_.stream(chunk) for _, chunk in obs.chunks()]
        for number, parts in enumerate(zip(*chunks, strict=True)):
            if number > 0:
                yield self._ravel(from_tensor(self._outside(torch.cat(parts)), X))

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
        if y is not None:
            return super().score(X, y, sample_weight)
        X, obs = self._observe(X, "score")
        weight = self._weights(sample_weight, X, obs.b)
        weight = torch.ones_like(obs.b[:, 0]) if weight is None else weight
        D = Dense(to_tensor(self.dictionary_, dtype=obs.b.dtype, device=obs.b.device))
        alpha = self._objective_alpha()
        total = sum(
            (weight[rows] * lasso_value(self._run(chunk), Observation(chunk.b, D), alpha)).sum()
            for rows, chunk in obs.chunks()
        )
        return -float(total / weight.sum())

    def _objective_alpha(self) -> float:
        return 0.0

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        # An instance that cannot do without pairs says so before it is given any.
        tags.target_tags.required = self.dictionary is None
        return tags

    def __getstate__(self) -> dict:
        # A fit made on a GPU must load where there is none.
        state = super().__getstate__().copy()
        if "network_" in state and _device_of(state["network_"]).type != "cpu":
            state["network_"] = deepcopy(state["network_"]).cpu()
            state["_stream"] = to_cpu(state.get("_stream"))
        return state

    @property
    def _n_features_out(self) -> int:
        return self.dictionary_.shape[0]

    def _prepare(
        self, X: Any, y: Any, sample_weight: Any, *, reset: bool, keep_dictionary: bool = False
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
        D = self._resolve_dictionary(b, codes, weight, keep_dictionary)
        if codes is not None:
            check_codes_match(codes, D)
            codes = codes * _norms(D) if self._unit_atoms else codes
        return Given(X, y, D, Observation(b, self._inside(D)), codes, weight)

    def _resolve_dictionary(self, b: Tensor, codes, weight, keep: bool) -> Tensor:
        if self.dictionary is not None:
            return check_dictionary(self.dictionary, b.shape[1], b.dtype, b.device)
        if keep and self.__sklearn_is_fitted__():
            return check_dictionary(self.dictionary_, b.shape[1], b.dtype, b.device)
        return check_magnitude(estimate_dictionary(b, codes, weight))

    def _weights(self, sample_weight: Any, X: Any, b: Tensor) -> Tensor | None:
        if sample_weight is None:
            return None
        if isinstance(sample_weight, (list, tuple)):
            sample_weight = np.asarray(sample_weight)
        checked = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        return to_tensor(checked, dtype=b.dtype, device=b.device)

    def _fitted_state(self, network: Unrolled, D: Tensor, X: Any) -> dict:
        return {"network_": network.eval(), "dictionary_": from_tensor(D.clone(), X)}

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31))

    def _move_network(self, X: Any) -> torch.device:
        device = resolve_device(self.device, X)
        if _device_of(self.network_) != device:
            self.network_.to(device)
        return device

    def _observe(self, X: Any, method: str) -> tuple[Any, Observation]:
        """Validate X for a fitted estimator; the network computes in the dtype of the fit.

        The operator is the network's own, with unit atoms where it wants them.
        """
        check_is_fitted(self)
        check_same_namespace(X, self, attribute="dictionary_", method=method)
        refuse_complex(X, "X")
        X = validate_data(self, X, reset=False, dtype=float_dtypes(X))
        device = self._move_network(X)
        D = to_tensor(self.dictionary_, dtype=None, device=device)
        return X, Observation(to_computed(X, D), self._inside(D))

    def _inside(self, D: Tensor) -> Dense:
        return Dense(D / _norms(D)[:, None] if self._unit_atoms else D)

    def _outside(self, codes: Tensor) -> Tensor:
        if not self._unit_atoms:
            return codes
        D = to_tensor(self.dictionary_, dtype=codes.dtype, device=codes.device)
        return codes / _norms(D)

    @torch.no_grad()
    def _run(self, obs: Observation) -> Tensor:
        return self._outside(self.network_(obs))

    def _codes(self, X: Any, method: str) -> Any:
        X, obs = self._observe(X, method)
        codes = obs.b.new_empty(len(obs.b), obs.A.n_components)
        for rows, chunk in obs.chunks():
            codes[rows] = self._run(chunk)
        return from_tensor(codes, X)

    def _ravel(self, codes: Any) -> Any:
        return codes[:, 0] if self._y_was_1d else codes


def _norms(D: Tensor) -> Tensor:
    """Return the norms of the atoms; one where an estimated atom is never active."""
    norms = D.norm(dim=1)
    return torch.where(norms > 0, norms, torch.ones_like(norms))


def _device_of(network: Unrolled) -> torch.device:
    return next(chain(network.parameters(), network.buffers())).device


@contextmanager
def all_or_nothing(estimator: BaseEstimator) -> Iterator[None]:
    """Put back the fitted attributes, all of them, if what runs inside does not end well."""
    # Private names of scikit-learn's callbacks are its own to clean up.
    before = {k: v for k, v in vars(estimator).items() if _is_fitted_state(k)}
    try:
        yield
    except BaseException:
        for name in [k for k in vars(estimator) if _is_fitted_state(k)]:
            delattr(estimator, name)
        vars(estimator).update(before)
        raise


def _is_fitted_state(name: str) -> bool:
    return name in ("_stream", "_y_was_1d") or (name.endswith("_") and not name.startswith("_"))
