"""``Trainer``: how any network of the package is trained, as one parameter object."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from torch import Tensor

from sklearn_unroll.functional import Observation
from sklearn_unroll.nn.base import Unrolled
from sklearn_unroll.training.constraints import Constraint
from sklearn_unroll.training.history import History
from sklearn_unroll.training.loop import (
    LoopOptions,
    Report,
    Samples,
    check_finite,
    largest_parameter,
    make_optimizer,
    mean_scale,
    run_epoch,
    train,
)
from sklearn_unroll.training.objectives import OBJECTIVES, Objective
from sklearn_unroll.training.perturbations import Perturbation
from sklearn_unroll.training.schedules import SCHEDULES, Schedule

__all__ = ["Trainer"]

# From this many samples on, "auto" holds some of them out to stop early.
EARLY_STOPPING_FROM = 1000


class Trainer(BaseEstimator):
    """How to train a network: objective, schedule, and the settings of the one loop.

    A stateless parameter object, to be given to an estimator and searched through it, as in
    ``GridSearchCV(model, {"trainer__learning_rate": [1e-3, 1e-4]})``.

    Parameters
    ----------
    objective : {"supervised", "lasso"} or Objective, default=None
        What to minimise. None means ``"supervised"`` where y is given and ``"lasso"`` where
        it is not.
    schedule : {"end_to_end", "stage_wise"} or Schedule, default="end_to_end"
        Which parameters are trained when.
    learning_rate : float, default=1e-3
        First step size of Adam. Larger ones learn faster, but may leave directions in which
        the layers amplify, and rare inputs then get codes far from any optimum: look at the
        worst samples too, not only at the mean.
    decay : {"cosine", "constant", "plateau"}, default="cosine"
        How the learning rate goes down: to zero along a cosine over ``max_epochs``, not at
        all, or by 0.3 when the monitored loss stalls.
    max_epochs : int, default=100
        Passes over the training data in each stage.
    batch_size : int or None, default=256
        Samples in a minibatch; None takes all of them.
    max_grad_norm : float, default=1.0
        Clip the gradient to this norm; None does not clip.
    loss : {"relative", "mean", "log"}, default="relative"
        What the gradient is taken of. ``"relative"``: the loss over what it is when a stage
        begins, so that clipping and Adam's epsilon mean the same at any scale. ``"mean"``: the
        mean over the samples of what the objective says, for step sizes that theory gives.
        ``"log"``: the logarithm of every minibatch's loss, so that no minibatch with a signal
        that fails outweighs the others; for losses that fall by many orders of magnitude.
    optimizer : {"adam", "sgd"}, default="adam"
        Adam, or (stochastic) gradient descent, which with ``loss="mean"``,
        ``batch_size=None``, ``decay="constant"`` and ``max_grad_norm=None`` is the plain one
        of the theory.
    momentum : float, default=0.0
        Momentum of ``optimizer="sgd"``.
    betas : tuple of (float, float), default=(0.9, 0.999)
        Decay of Adam's averages of the gradient and of its square.
    truncate : int or None, default=None
        Back-propagate through that many layers only, and take a step after every such segment,
        from which the next one goes on: memory for ``truncate`` layers instead of all. The
        objective sees one segment at a time.
    penalty : object with ``value(network)``, default=None
        Added to the mean of the objective over the samples, a number that depends on the
        parameters.
    constraint : Constraint, or list of them, default=None
        What the layers should do on average, see :class:`~sklearn_unroll.training.Descent`. Its
        multipliers start at zero and weigh against the loss relative to its scale (for pairs:
        against the NMSE). The best epoch is then the one with the least sum of monitored loss
        and mean violation over the layers.
    perturbation : Perturbation, default=None
        What disturbs the iterates between layers in training, see
        :class:`~sklearn_unroll.training.LayerNoise`; never in ``predict``.
    early_stopping : bool or "auto", default="auto"
        Hold out ``validation_fraction`` of the samples to choose the best epoch on, and stop
        when it stalls. ``"auto"`` does so from 1000 samples on. Otherwise the best epoch is
        chosen on the training data and all ``max_epochs`` are run.
    validation_fraction : float, default=0.1
        Share of the samples to hold out.
    n_iter_no_change : int, default=20
        Epochs without progress after which to stop.
    tol : float, default=1e-4
        Relative decrease of the monitored loss that counts as progress.

    Notes
    -----
    Every stage ends with the best state it has seen, the first included: by the monitored
    loss a trained network is never worse than the classical algorithm it started as.
    A loss that is not finite raises :class:`~sklearn_unroll.training.DivergenceError`.

    Examples
    --------
    >>> from sklearn_unroll import Trainer
    >>> Trainer(objective="lasso", learning_rate=5e-4)
    Trainer(learning_rate=0.0005, objective='lasso')
    """

    _parameter_constraints: ClassVar[dict] = {
        "objective": [StrOptions(set(OBJECTIVES)), Objective, None],
        "schedule": [StrOptions(set(SCHEDULES)), Schedule],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "decay": [StrOptions({"cosine", "constant", "plateau"})],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
        "loss": [StrOptions({"relative", "mean", "log"})],
        "optimizer": [StrOptions({"adam", "sgd"})],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "betas": [tuple, list],
        "truncate": [Interval(Integral, 1, None, closed="left"), None],
        "penalty": [HasMethods("value"), None],
        "constraint": [Constraint, list, tuple, None],
        "perturbation": [Perturbation, None],
        "early_stopping": ["boolean", StrOptions({"auto"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        objective: str | Objective | None = None,
        schedule: str | Schedule = "end_to_end",
        *,
        learning_rate: float = 1e-3,
        decay: str = "cosine",
        max_epochs: int = 100,
        batch_size: int | None = 256,
        max_grad_norm: float | None = 1.0,
        loss: str = "relative",
        optimizer: str = "adam",
        momentum: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        truncate: int | None = None,
        penalty: Any = None,
        constraint: Constraint | Sequence[Constraint] | None = None,
        perturbation: Perturbation | None = None,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 20,
        tol: float = 1e-4,
    ) -> None:
        self.objective = objective
        self.schedule = schedule
        self.learning_rate = learning_rate
        self.decay = decay
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.max_grad_norm = max_grad_norm
        self.loss = loss
        self.optimizer = optimizer
        self.momentum = momentum
        self.betas = betas
        self.truncate = truncate
        self.penalty = penalty
        self.constraint = constraint
        self.perturbation = perturbation
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol

    def resolve_objective(self, has_y: bool, alpha: float) -> Objective:
        """Return the objective as an object, and check that it can be evaluated.

        Parameters
        ----------
        has_y : bool
            Whether true codes are at hand.
        alpha : float
            The estimator's weight of the l1 norm, for objectives that leave it open.

        Returns
        -------
        Objective
            A validated copy.

        Raises
        ------
        ValueError
            If the objective needs true codes and there are none.
        """
        chosen = self.objective or ("supervised" if has_y else "lasso")
        objective = OBJECTIVES[chosen]() if isinstance(chosen, str) else clone(chosen)
        objective._validate_params()
        if objective.requires_y and not has_y:
            raise ValueError(
                f"The objective {type(objective).__name__} of the trainer requires y to be "
                f"passed, but the target y is None. Pass y, the true codes, or use an objective "
                f"that needs none, such as Trainer(objective='lasso')."
            )
        if "alpha" in objective.get_params() and objective.alpha is None:
            objective.set_params(alpha=alpha)
        return objective

    def requires_y(self, objective: Objective) -> bool:
        """Return whether training with an objective takes true codes.

        Parameters
        ----------
        objective : Objective
            What ``resolve_objective`` has returned.

        Returns
        -------
        bool
            Whether objective or constraint need them.
        """
        return objective.requires_y or any(part.requires_y for part in self.resolve_constraints())

    def run(
        self,
        network: Unrolled,
        obs: Observation,
        y: Tensor | None = None,
        *,
        alpha: float,
        sample_weight: Tensor | None = None,
        generator: torch.Generator,
        report: Report | None = None,
    ) -> History:
        """Train a network in place.

        Parameters
        ----------
        network : Unrolled
            The network; ends in the best state seen.
        obs : Observation
            Training data and operator, on the network's device.
        y : Tensor of shape (n_samples, n_components), default=None
            True codes.
        alpha : float
            Weight of the l1 norm, for objectives that leave it open.
        sample_weight : Tensor of shape (n_samples,), default=None
            Nonnegative weights, ones by default.
        generator : torch.Generator
            Source of the shuffles, on the network's device.
        report : Report, default=None
            Hears of stages and epochs as they begin and end, and may end a stage.

        Returns
        -------
        History
            Losses, rates and times.
        """
        self._validate_params()
        objective = self.resolve_objective(y is not None, alpha)
        stages = self.stages(network)
        samples = _weighted(obs, y, sample_weight)
        training = monitor = samples
        hold_out = self.early_stopping
        if hold_out == "auto":
            hold_out = int((samples.weight > 0).sum()) >= EARLY_STOPPING_FROM
        if hold_out:
            training, monitor = self._split(samples, generator)
        constraints = tuple(
            self._resolve_constraint(part, y is not None, alpha)
            for part in self.resolve_constraints()
        )
        options = self._options(self.n_iter_no_change if hold_out else None, constraints)
        return train(
            network, training, monitor, objective, stages, options, generator, report or Report()
        )

    def update(
        self,
        network: Unrolled,
        obs: Observation,
        y: Tensor | None = None,
        *,
        alpha: float,
        sample_weight: Tensor | None = None,
        generator: torch.Generator,
        optimizer_state: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Take one pass over a batch of a stream: all layers, constant rate, no hold-out.

        Parameters
        ----------
        network : Unrolled
            The network, trained in place.
        obs : Observation
            The batch, on the network's device.
        y : Tensor of shape (n_samples, n_components), default=None
            True codes.
        alpha : float
            Weight of the l1 norm, for objectives that leave it open.
        sample_weight : Tensor of shape (n_samples,), default=None
            Nonnegative weights, ones by default.
        generator : torch.Generator
            Source of the shuffles, on the network's device.
        optimizer_state : dict, default=None
            What the previous call returned.

        Returns
        -------
        dict
            State of the optimiser, for the next call.

        Raises
        ------
        DivergenceError
            If a loss or a parameter is not finite.
        """
        self._validate_params()
        objective = self.resolve_objective(y is not None, alpha)
        stage = self._schedule().all_at_once(network)
        samples = _weighted(obs, y, sample_weight)
        if self.resolve_constraints():
            raise ValueError(
                "A stream of batches has no multipliers: use fit, or a trainer without constraint."
            )
        options = self._options(patience=None)
        optimizer = make_optimizer(stage, options)
        if optimizer_state is not None:
            rates = [group["lr"] for group in optimizer.param_groups]
            optimizer.load_state_dict(optimizer_state)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate  # today's, not that of the previous call
        scale = mean_scale(objective, samples)
        loss = run_epoch(network, samples, objective, stage, optimizer, options, generator, scale)
        check_finite(loss + largest_parameter(network), stage, 1, options)
        return optimizer.state_dict()

    def stages(self, network: Unrolled) -> list:
        """Return the stages of the schedule for a network.

        Parameters
        ----------
        network : Unrolled
            The network.

        Returns
        -------
        list of Stage
            At least one.
        """
        return self._schedule().stages(network)

    def _schedule(self) -> Schedule:
        named = isinstance(self.schedule, str)
        schedule = SCHEDULES[self.schedule]() if named else self.schedule
        schedule._validate_params()
        return schedule

    def resolve_constraints(self) -> list[Constraint]:
        """Return the constraints, as they were given.

        Returns
        -------
        list of Constraint
            Empty where there are none.

        Raises
        ------
        TypeError
            If something given is no constraint.
        """
        if self.constraint is None:
            return []
        given = (
            self.constraint if isinstance(self.constraint, (list, tuple)) else [self.constraint]
        )
        for part in given:
            if not isinstance(part, Constraint):
                raise TypeError(
                    f"constraint must be a Constraint, such as Descent(), or a list of them; got "
                    f"{part!r}."
                )
        return list(given)

    def _resolve_constraint(self, constraint: Constraint, has_y: bool, alpha: float) -> Constraint:
        constraint = clone(constraint)
        constraint._validate_params()
        if constraint.requires_y and not has_y:
            raise ValueError(
                f"The constraint {constraint!r} needs y, the codes that layers are to approach, "
                f"but the target y is None. Pass y, or use Descent(kind='gradient')."
            )
        if self.loss == "log" or self.truncate is not None:
            raise ValueError(
                f"A constraint is weighed against the loss itself, over all layers: use "
                f"loss='relative' or 'mean' and truncate=None; got loss={self.loss!r}, "
                f"truncate={self.truncate}."
            )
        if "alpha" in constraint.get_params() and constraint.alpha is None:
            constraint.set_params(alpha=alpha)
        return constraint

    def _options(
        self, patience: int | None, constraints: tuple[Constraint, ...] = ()
    ) -> LoopOptions:
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(
                f"betas must be two numbers from 0 to 1, 1 excluded; got {self.betas!r}."
            )
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(
                f"momentum={self.momentum} needs optimizer='sgd'; Adam's is the first of betas."
            )
        return LoopOptions(
            loss=self.loss,
            optimizer=self.optimizer,
            momentum=self.momentum,
            betas=tuple(self.betas),
            truncate=self.truncate,
            penalty=self.penalty,
            constraints=constraints,
            perturbation=self.perturbation,
            learning_rate=self.learning_rate,
            decay=self.decay,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            patience=patience,
            tol=self.tol,
            max_grad_norm=self.max_grad_norm,
        )

    def _split(self, samples: Samples, generator: torch.Generator) -> tuple[Samples, Samples]:
        counted = samples.weight.nonzero()[:, 0]  # a weight of zero takes a sample out
        n = len(counted)
        held_out = max(1, round(self.validation_fraction * n))
        if held_out >= n:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} of {n} samples leaves none to "
                f"train on. Lower it, or set early_stopping=False."
            )
        order = counted[torch.randperm(n, generator=generator, device=counted.device)]
        return samples.take(order[held_out:]), samples.take(order[:held_out])


def _weighted(obs: Observation, y: Tensor | None, sample_weight: Tensor | None) -> Samples:
    """Bundle the data; weights are scaled to mean one, so that only their ratios matter."""
    if sample_weight is None:
        sample_weight = torch.ones_like(obs.b[:, 0])
    return Samples(obs, y, sample_weight / sample_weight.mean())
