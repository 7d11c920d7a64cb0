"""Estimators that have a network: ``Networked``, and ``Learned`` where it is trained."""

from __future__ import annotations

from abc import abstractmethod
from copy import deepcopy
from typing import Any, ClassVar

import torch
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import _num_samples
from torch import Tensor

from sklearn_unroll.estimators._arrays import own_arithmetic, resolve_device
from sklearn_unroll.estimators._checked import check_dtype, check_parameters
from sklearn_unroll.estimators._document import fill
from sklearn_unroll.estimators._progress import CallbackReport
from sklearn_unroll.estimators._shell import Shell
from sklearn_unroll.estimators._start import passes
from sklearn_unroll.estimators._state import Fitting, Given, any_tensor, kept_if_refused
from sklearn_unroll.functional import Operator
from sklearn_unroll.nn import Unrolled, Weights
from sklearn_unroll.training import Objective, Trainer

__all__ = ["Learned"]


@fill
class Networked(Shell):
    """An estimator that is fitted when it has a ``network_``."""

    def compute_like(self, X: Any) -> Tensor:
        """Return a tensor of the network, which goes to where X is to be computed."""
        device = resolve_device(self.device, X)
        if any_tensor(self.network_).device != device:
            self.network_.to(device)
        return any_tensor(self.network_)

    def network_operator(self, dtype: torch.dtype | None = None) -> Operator:
        """Return what maps codes to observations, as the network sees it.

        %(network_operator)s
        """
        check_dtype(dtype)
        raise ValueError(
            f"{type(self).__name__} has no operator of its own that would be the same for all "
            f"samples. Take one of those that observe(X, ...) returns."
        )

    def __sklearn_is_fitted__(self) -> bool:
        return "network_" in vars(self)


@fill
class Learned(CallbackSupportMixin, Networked):
    """The base of every estimator that is trained: one fit, one stream, one state.

    A subclass has a constructor that only assigns, with at least ``trainer``, ``warm_start``,
    ``device`` and ``random_state``; a ``task``, such as :class:`Codes`; the methods that go with
    it, such as :class:`CodeMethods`; and ``build_network``.
    """

    _parameter_constraints: ClassVar[dict] = {
        **Shell._parameter_constraints,
        "trainer": [Trainer, None],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(self) -> None:
        """Do nothing: a subclass assigns its parameters."""

    @abstractmethod
    def build_network(self, given: Given) -> Unrolled:
        """Return the network before training.

        Parameters
        ----------
        given : Given
            Data and operator, in the units of the network, and a source of random numbers.

        Returns
        -------
        Unrolled
            The network, with dtype and on the device of the data.
        """

    def default_trainer(self, n_samples: int, has_y: bool) -> Trainer:
        """Return how the network is trained where ``trainer`` is None.

        Parameters
        ----------
        n_samples : int
            Number of samples to train on.
        has_y : bool
            Whether there are pairs.

        Returns
        -------
        Trainer
            The recipe.
        """
        return Trainer(max_epochs=passes(n_samples), max_steps=2000)

    def check_objective(self, objective: Objective) -> None:
        """Raise if an objective of training does not fit the network; by default all do.

        Parameters
        ----------
        objective : Objective
            That of the trainer.
        """

    def set_params(self, **params: Any) -> Learned:
        """Set parameters of this estimator, of its trainer, and of the trainer's parts.

        Parameters
        ----------
        **params : dict
            Parameters, such as ``n_layers`` or ``trainer__learning_rate``. The latter makes the
            recipe for 1000 samples a trainer of its own where ``trainer`` is None.

        Returns
        -------
        self : estimator
            This estimator.
        """
        of_trainer = {k: v for k, v in params.items() if k.startswith("trainer__")}
        if not of_trainer or self.trainer is not None or "trainer" in params:
            return super().set_params(**params)
        with kept_if_refused(self):
            # The recipe may depend on the other parameters.
            super().set_params(**{k: v for k, v in params.items() if k not in of_trainer})
            trainer = self.default_trainer(n_samples=1000, has_y=True)
            self.trainer = trainer.set_params(
                **{name.removeprefix("trainer__"): value for name, value in of_trainer.items()}
            )
        return self

    def fitted_attributes(self, network: Unrolled, given: Given) -> dict:
        """Return what a fit leaves behind.

        Parameters
        ----------
        network : Unrolled
            The trained network.
        given : Given
            What it was trained on.

        Returns
        -------
        dict
            Attributes by name.
        """
        network = network.eval()
        return {"network_": network, **given.fitted, **self.task.state(self, network, given)}

    def learn(self, X: Any, y: Any = None, sample_weight: Any = None, **metadata: Any) -> Learned:
        """Fit: the one training of the package, which leaves all of its results or none.

        Parameters
        ----------
        %(X)s
        %(y)s
        %(sample_weight)s
        **metadata : Any
            What else ``fit`` was given for each sample.

        Returns
        -------
        %(fitted)s
        """
        with own_arithmetic(), Fitting(self) as fitting, torch.enable_grad():
            work = fitting.work
            resume = self.warm_start and work.__sklearn_is_fitted__()
            trainer, given = work._take_in(X, y, sample_weight, metadata, reset=True, keep=resume)
            network = work._first_network(given, resume)

            def state() -> dict:
                return fitting.changes() | work.fitted_attributes(deepcopy(network), given)

            report = CallbackReport(
                self,
                len(trainer.stages(network)),
                X,  # as fit was given them, with feature names; y only where it is used
                None if given.y is None else y,
                {"sample_weight": sample_weight, **metadata},
                state,
            )
            history = trainer.run(
                network,
                given.obs,
                given.target,
                alpha=work.task.alpha(work),
                R=work.task.penalty(work, given.obs),
                sample_weight=given.weight,
                generator=work._generator(given),
                report=report,
            )
            report.fit_ends()
            vars(work).update(work.fitted_attributes(network, given))
            work.trainer_, work.history_ = trainer, history
            work.n_epochs_ = history.n_epochs
            work._stream = (0, None)
            if history.n_epochs:
                work.task.judge(work, network, given, history)
        return self

    def learn_more(
        self, X: Any, y: Any = None, sample_weight: Any = None, **metadata: Any
    ) -> Learned:
        """Take one pass over a batch of a stream.

        Parameters
        ----------
        %(X)s
        %(y)s
        %(sample_weight)s
        **metadata : Any
            What else ``partial_fit`` was given for each sample.

        Returns
        -------
        %(fitted)s
        """
        with own_arithmetic(), Fitting(self) as fitting, torch.enable_grad():
            work = fitting.work
            resume = work.__sklearn_is_fitted__()
            trainer, given = work._take_in(
                X, y, sample_weight, metadata, reset=not resume, keep=resume
            )
            network = work._first_network(given, resume)
            n_updates, moments = work._stream if resume else (0, None)
            moments = trainer.update(
                network,
                given.obs,
                given.target,
                alpha=work.task.alpha(work),
                R=work.task.penalty(work, given.obs),
                sample_weight=given.weight,
                generator=work._generator(given, skip=n_updates),
                optimizer_state=moments,
            )
            vars(work).update(work.fitted_attributes(network, given))
            work.trainer_, work._stream = trainer, (n_updates + 1, moments)
            work.n_epochs_ = work.n_epochs_ + 1 if resume else 1
            if n_updates & (n_updates + 1) == 0:  # now and then: after 1, 2, 4, 8, ... batches
                work.task.judge(work, network, given, None)
        return self

    def _take_in(
        self, X: Any, y: Any, sample_weight: Any, metadata: dict, *, reset: bool, keep: bool
    ) -> tuple[Trainer, Given]:
        trainer = self.trainer
        if trainer is None:
            trainer = self.default_trainer(_num_samples(X), has_y=y is not None)
        check_parameters(trainer)
        trainer._validate_params()
        trainer, uses_y = self.task.prepare(self, trainer, y, metadata)
        seed = int(check_random_state(self.random_state).randint(2**31))
        given = self.task.take_in(
            self,
            X,
            y if uses_y else None,
            sample_weight,
            **metadata,
            trainer=trainer,
            generator=torch.Generator().manual_seed(seed),
            reset=reset,
            keep=keep,
        )
        return trainer, given

    def _generator(self, given: Given, skip: int = 0) -> torch.Generator:
        """Return the source of shuffles, on the device of the data."""
        generator = torch.Generator(given.obs.b.device)
        return generator.manual_seed(given.generator.initial_seed() + skip)

    def _first_network(self, given: Given, resume: bool) -> Unrolled:
        """Return a new network, with what the fitted one has learned where training goes on."""
        network = self.build_network(given)
        if not resume:
            return network
        fitted = deepcopy(self.network_).to(any_tensor(network).device)
        shapes = {name: tuple(p.shape) for name, p in network.state_dict().items()}
        fitted_shapes = {name: tuple(p.shape) for name, p in fitted.state_dict().items()}
        if shapes != fitted_shapes:
            changed = sorted(dict(shapes.items() ^ fitted_shapes.items()))
            raise ValueError(
                f"Training cannot go on from the fitted network: its parameters and those that "
                f"{type(self).__name__} now describes differ at {changed[:3]}. Keep n_layers, "
                f"weights, tied and the shapes of the data, or set warm_start=False and call fit."
            )
        # What is not learned, such as alpha, or a weight that is computed from the dictionary, may
        # be new; what is comes from the fitted network.
        computed = {
            f"{name}.{own}"
            for name, part in network.named_modules(remove_duplicate=False)
            if isinstance(part, Weights)
            for own, _ in part.named_buffers(recurse=False)
        }
        learned = {k: v for k, v in fitted.state_dict().items() if k not in computed}
        network.load_state_dict(learned, strict=False)
        return network
