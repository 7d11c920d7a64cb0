"""The scikit-learn shell that every unrolled estimator shares. No equation here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    MultiOutputMixin,
    RegressorMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils._array_api import check_same_namespace
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)
from torch import Tensor

from sklearn_unroll.estimators._progress import CallbackReport
from sklearn_unroll.estimators._validation import (
    check_codes_match,
    check_dictionary,
    estimate_dictionary,
    float_dtypes,
    from_tensor,
    resolve_device,
    to_tensor,
)
from sklearn_unroll.functional import Dense, Observation, lasso_value
from sklearn_unroll.nn import Unrolled
from sklearn_unroll.training import Trainer

__all__ = ["BaseUnrolledRegressor"]


class BaseUnrolledRegressor(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    MultiOutputMixin,
    RegressorMixin,
    CallbackSupportMixin,
    BaseEstimator,
    ABC,
):
    """Fit, predict and everything around them; a subclass says which network.

    A subclass has a constructor that only assigns, with at least the parameters below, and
    ``_build_network``.
    """

    _parameter_constraints: ClassVar[dict] = {
        "dictionary": ["array-like", None],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "trainer": [Trainer, None],
        "warm_start": ["boolean"],
        "device": [str, torch.device],
        "random_state": ["random_state"],
    }

    @abstractmethod
    def _build_network(self, A: Dense) -> Unrolled:
        """Return the untrained network for an operator."""

    def _default_trainer(self, has_y: bool) -> Trainer:
        """Return the published recipe; subclasses override it where they have their own."""
        return Trainer()

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> BaseUnrolledRegressor:
        """Learn the network's parameters, from pairs or from observations alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.
        y : array-like of shape (n_samples, n_components), default=None
            True codes, ``X ~ y @ dictionary``. Without them the network learns to minimise
            ``0.5 ||x - z D||^2 + alpha ||z||_1``. Ignored if the dictionary is given and the
            trainer's objective needs no codes, so that y may be the labels of a classifier
            that follows in a Pipeline.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights of the samples in the loss, and in the estimate of the
            dictionary.

        Returns
        -------
        self : estimator
            The fitted estimator.

        Raises
        ------
        ValueError
            If an input or a parameter is not valid.
        DivergenceError
            If the training loss becomes infinite or NaN; the estimator is left as it was.
        """
        with _all_or_nothing(self):
            trainer, X, y, obs, codes, weight = self._prepare(X, y, sample_weight, reset=True)
            network = self._initial_network(obs.A, resume=self.warm_start)

            def state() -> dict:
                return self._fitted_state(deepcopy(network), obs.A, X)

            report = CallbackReport(
                self, len(trainer.stages(network)), trainer.max_epochs, X, y, sample_weight, state
            )
            history = trainer.run(
                network,
                obs,
                codes,
                alpha=self.alpha,
                sample_weight=weight,
                generator=self._generator(obs.b.device),
                report=report,
            )
            report.fit_ends()
            vars(self).update(self._fitted_state(network, obs.A, X))
            self.history_ = history
            self.n_iter_ = history.n_epochs
            self._stream = None
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: Any = None
    ) -> BaseUnrolledRegressor:
        """Take one pass over a batch of a stream.

        The first call sets the dictionary (estimated from that batch if none was given) and
        the network; later calls, and calls after ``fit``, go on from there. All layers train
        at the trainer's ``learning_rate``, without hold-out, decay or callbacks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.
        y : array-like of shape (n_samples, n_components), default=None
            True codes, as in ``fit``.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights of the samples in the loss.

        Returns
        -------
        self : estimator
            The fitted estimator.

        Raises
        ------
        ValueError
            If an input or a parameter is not valid.
        DivergenceError
            If the loss or a parameter becomes infinite or NaN; the estimator is left as it was.
        """
        with _all_or_nothing(self):
            first = not self.__sklearn_is_fitted__()
            trainer, X, y, obs, codes, weight = self._prepare(X, y, sample_weight, reset=first)
            network = self._initial_network(obs.A, resume=not first)
            n_updates, optimizer_state = getattr(self, "_stream", None) or (0, None)
            optimizer_state = trainer.update(
                network,
                obs,
                codes,
                alpha=self.alpha,
                sample_weight=weight,
                generator=self._generator(obs.b.device, skip=n_updates),
                optimizer_state=deepcopy(optimizer_state),
            )
            vars(self).update(self._fitted_state(network, obs.A, X))
            self._stream = (n_updates + 1, optimizer_state)
            self.n_iter_ = getattr(self, "n_iter_", 0) + 1
        return self

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
        X : array-like of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        array of shape (n_samples, n_features)
            Signals.
        """
        check_is_fitted(self)
        check_same_namespace(X, self, attribute="dictionary_", method="inverse_transform")
        codes = check_array(X, dtype=float_dtypes(X))
        device = self._move_network(codes)
        D = to_tensor(self.dictionary_, dtype=None, device=device)
        z = to_tensor(codes, dtype=D.dtype, device=device)
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
                yield self._ravel(from_tensor(torch.cat(parts), X))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return R^2 of the codes, or minus the mean lasso objective where there is no y.

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
        total = sum(
            (weight[rows] * lasso_value(self._run(chunk), chunk, self.alpha)).sum()
            for rows, chunk in obs.chunks()
        )
        return -float(total / weight.sum())

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
        return state

    @property
    def _n_features_out(self) -> int:
        return self.dictionary_.shape[0]

    def _prepare(self, X, y, sample_weight, *, reset: bool):
        """Validate what fit was given: the one validation path."""
        trainer = self._default_trainer(y is not None) if self.trainer is None else self.trainer
        trainer._validate_params()
        objective = trainer.resolve_objective(y is not None, self.alpha)
        if not objective.requires_y and self.dictionary is not None:
            y = None  # labels of a later step of a Pipeline, say: nothing here needs them
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
            codes = to_tensor(y, dtype=b.dtype, device=device).reshape(len(b), -1)
        D = self._resolve_dictionary(b, codes, weight, reset)
        if codes is not None:
            check_codes_match(codes, D)
        return trainer, X, y, Observation(b, Dense(D)), codes, weight

    def _resolve_dictionary(self, b: Tensor, codes, weight, reset: bool) -> Tensor:
        if self.dictionary is not None:
            return check_dictionary(self.dictionary, b.shape[1], b.dtype, b.device)
        keep = self.__sklearn_is_fitted__() and (self.warm_start or not reset)
        if keep:
            return to_tensor(self.dictionary_, dtype=b.dtype, device=b.device)
        return estimate_dictionary(b, codes, weight)

    def _weights(self, sample_weight: Any, X: Any, b: Tensor) -> Tensor | None:
        if sample_weight is None:
            return None
        checked = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        return to_tensor(checked, dtype=b.dtype, device=b.device)

    def _initial_network(self, A: Dense, *, resume: bool) -> Unrolled:
        network = self._build_network(A)
        if not (resume and self.__sklearn_is_fitted__()):
            return network
        fitted = deepcopy(self.network_).to(dtype=A.D.dtype, device=A.D.device)
        shapes = {name: tuple(p.shape) for name, p in network.named_parameters()}
        fitted_shapes = {name: tuple(p.shape) for name, p in fitted.named_parameters()}
        if shapes != fitted_shapes:
            changed = sorted(dict(shapes.items() ^ fitted_shapes.items()))
            raise ValueError(
                f"Training cannot go on from the fitted network: its parameters and those that "
                f"{type(self).__name__} now describes differ at {changed[:3]}. Keep n_layers, "
                f"weights, tied and the shapes of the data, or set warm_start=False and call fit."
            )
        return fitted

    def _fitted_state(self, network: Unrolled, A: Dense, X: Any) -> dict:
        return {"network_": network.eval(), "dictionary_": from_tensor(A.D, X)}

    def _generator(self, device: torch.device, skip: int = 0) -> torch.Generator:
        seed = check_random_state(self.random_state).randint(2**31)
        return torch.Generator(device).manual_seed(int(seed) + skip)

    def _move_network(self, X: Any) -> torch.device:
        device = resolve_device(self.device, X)
        if _device_of(self.network_) != device:
            self.network_.to(device)
        return device

    def _observe(self, X: Any, method: str) -> tuple[Any, Observation]:
        """Validate X for a fitted estimator; the network computes in the dtype of the fit."""
        check_is_fitted(self)
        check_same_namespace(X, self, attribute="dictionary_", method=method)
        X = validate_data(self, X, reset=False, dtype=float_dtypes(X))
        device = self._move_network(X)
        D = to_tensor(self.dictionary_, dtype=None, device=device)
        return X, Observation(to_tensor(X, dtype=D.dtype, device=device), Dense(D))

    @torch.no_grad()
    def _run(self, obs: Observation) -> Tensor:
        return self.network_(obs)

    def _codes(self, X: Any, method: str) -> Any:
        X, obs = self._observe(X, method)
        codes = obs.b.new_empty(len(obs.b), obs.A.n_components)
        for rows, chunk in obs.chunks():
            codes[rows] = self._run(chunk)
        return from_tensor(codes, X)

    def _ravel(self, codes: Any) -> Any:
        return codes[:, 0] if self._y_was_1d else codes


def _device_of(network: Unrolled) -> torch.device:
    return next(network.parameters()).device


@contextmanager
def _all_or_nothing(estimator: BaseEstimator) -> Iterator[None]:
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
