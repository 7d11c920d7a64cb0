"""Estimators whose network is trained: fit, partial_fit, warm start, callbacks."""

from __future__ import annotations

from abc import abstractmethod
from copy import deepcopy
from numbers import Real
from typing import Any, ClassVar

import torch
from sklearn.base import _fit_context
from sklearn.callback import CallbackSupportMixin
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _num_samples

from sklearn_unroll.estimators._base import BaseUnrolledRegressor
from sklearn_unroll.estimators._progress import CallbackReport
from sklearn_unroll.estimators._state import Given, all_or_nothing
from sklearn_unroll.nn import Unrolled
from sklearn_unroll.training import Trainer

__all__ = ["TrainedUnrolledRegressor"]


class TrainedUnrolledRegressor(CallbackSupportMixin, BaseUnrolledRegressor):
    """Training of a network by a :class:`~sklearn_unroll.Trainer`.

    A subclass has a constructor that only assigns, with at least the parameters below, and
    ``_build_network``.
    """

    # For estimators that have no such parameter.
    alpha: float = 0.0
    # Whether y is what makes the network, whatever the objective.
    _needs_pairs: ClassVar[bool] = False

    _parameter_constraints: ClassVar[dict] = {
        **BaseUnrolledRegressor._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "trainer": [Trainer, None],
        "warm_start": ["boolean"],
    }

    @abstractmethod
    def _build_network(self, given: Given) -> Unrolled:
        """Return the untrained network for an operator and the data to train on."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> TrainedUnrolledRegressor:
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
        return self._fit(X, y, sample_weight)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, operators: Any = None
    ) -> TrainedUnrolledRegressor:
        with all_or_nothing(self), torch.enable_grad():
            trainer, given = self._given(X, y, sample_weight, operators, True, self.warm_start)
            network = self._initial_network(given, resume=self.warm_start)

            def state() -> dict:
                return self._fitted_state(deepcopy(network), given)

            n_stages = len(trainer.stages(network))
            # As fit was given them, with feature names; y only where it is used.
            y = None if given.y is None else y
            metadata = {"sample_weight": sample_weight, "operators": operators}
            report = CallbackReport(self, n_stages, trainer.max_epochs, X, y, metadata, state)
            history = trainer.run(
                network,
                given.obs,
                given.codes,
                alpha=self.alpha,
                sample_weight=given.weight,
                generator=self._generator(given.obs.b.device),
                report=report,
            )
            report.fit_ends()
            vars(self).update(self._fitted_state(network, given))
            self.history_ = history
            self.n_epochs_ = history.n_epochs
            self._stream = None
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: Any = None
    ) -> TrainedUnrolledRegressor:
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
            Nonnegative weights of the samples in the loss; only their ratios within the batch
            matter.

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
        return self._partial_fit(X, y, sample_weight)

    def _partial_fit(
        self, X: Any, y: Any, sample_weight: Any, operators: Any = None
    ) -> TrainedUnrolledRegressor:
        with all_or_nothing(self), torch.enable_grad():
            first = not self.__sklearn_is_fitted__()
            trainer, given = self._given(X, y, sample_weight, operators, first, True)
            network = self._initial_network(given, resume=not first)
            n_updates, optimizer_state = getattr(self, "_stream", None) or (0, None)
            optimizer_state = trainer.update(
                network,
                given.obs,
                given.codes,
                alpha=self.alpha,
                sample_weight=given.weight,
                generator=self._generator(given.obs.b.device, skip=n_updates),
                optimizer_state=deepcopy(optimizer_state),
            )
            vars(self).update(self._fitted_state(network, given))
            self._stream = (n_updates + 1, optimizer_state)
            self.n_epochs_ = getattr(self, "n_epochs_", 0) + 1
        return self

    def set_params(self, **params: Any) -> TrainedUnrolledRegressor:
        """Set parameters of this estimator, of its trainer, and of the trainer's parts.

        Parameters
        ----------
        **params : dict
            Parameters, such as ``n_layers`` or ``trainer__learning_rate``. The latter makes the
            recipe of this network a trainer of its own where ``trainer`` is None.

        Returns
        -------
        self : estimator
            This estimator.
        """
        of_trainer = {k: v for k, v in params.items() if k.startswith("trainer__")}
        if of_trainer and self.trainer is None and "trainer" not in params:
            # The recipe may depend on the other parameters.
            super().set_params(**{k: v for k, v in params.items() if k not in of_trainer})
            self.trainer = self._default_trainer(n_samples=1000, has_y=True)
            params = of_trainer
        return super().set_params(**params)

    def _objective_alpha(self) -> float:
        objective = None if self.trainer is None else self.trainer.objective
        own = getattr(objective, "alpha", None)
        return self.alpha if own is None else own

    def _default_trainer(self, n_samples: int, has_y: bool) -> Trainer:
        """Return the recipe of this network; subclasses override it where they have their own."""
        return Trainer()

    def _given(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        operators: Any,
        reset: bool,
        keep_dictionary: bool,
    ) -> tuple[Trainer, Given]:
        trainer = self.trainer
        if trainer is None:
            trainer = self._default_trainer(_num_samples(X), has_y=y is not None)
        trainer._validate_params()
        objective = trainer.resolve_objective(y is not None, self.alpha)
        if self._needs_pairs and y is not None and not objective.requires_y:
            raise ValueError(
                f"{type(self).__name__} learns from pairs, but the objective "
                f"{type(objective).__name__} of its trainer does not use y. Use one that does, "
                f"such as Trainer('supervised')."
            )
        if not trainer.requires_y(objective) and self._knows_operator(operators):
            y = None  # labels of a later step of a Pipeline, say: nothing here needs them
        return trainer, self._prepare(
            X, y, sample_weight, operators, reset=reset, keep_dictionary=keep_dictionary
        )

    def _initial_network(self, given: Given, *, resume: bool) -> Unrolled:
        network = self._build_network(given)
        if not (resume and self.__sklearn_is_fitted__()):
            return network
        fitted = deepcopy(self.network_).to(dtype=given.obs.b.dtype, device=given.obs.b.device)
        shapes = {name: tuple(p.shape) for name, p in network.named_parameters()}
        fitted_shapes = {name: tuple(p.shape) for name, p in fitted.named_parameters()}
        if shapes != fitted_shapes:
            changed = sorted(dict(shapes.items() ^ fitted_shapes.items()))
            raise ValueError(
                f"Training cannot go on from the fitted network: its parameters and those that "
                f"{type(self).__name__} now describes differ at {changed[:3]}. Keep n_layers, "
                f"weights, tied and the shapes of the data, or set warm_start=False and call fit."
            )
        return self._resume(network, fitted)

    def _resume(self, network: Unrolled, fitted: Unrolled) -> Unrolled:
        """Return what to go on from, given a new network and the one already fitted."""
        return fitted

    def _generator(self, device: torch.device, skip: int = 0) -> torch.Generator:
        return torch.Generator(device).manual_seed(self._seed() + skip)
