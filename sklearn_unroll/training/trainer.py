"""``Trainer``: how any network of the package is trained, as one parameter object."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from torch import Tensor

from sklearn_unroll._renamed import Renamed
from sklearn_unroll.functional import Observation, Penalty
from sklearn_unroll.nn.base import Unrolled
from sklearn_unroll.training.augmentation import Augmentation
from sklearn_unroll.training.constraints import Constraint
from sklearn_unroll.training.history import History
from sklearn_unroll.training.loop import Report, train
from sklearn_unroll.training.objectives import OBJECTIVES, Objective
from sklearn_unroll.training.optimizers import OPTIMIZERS, Optimizer
from sklearn_unroll.training.parts import constraints_of, objective_of, part_of
from sklearn_unroll.training.perturbations import Perturbation
from sklearn_unroll.training.samples import Samples
from sklearn_unroll.training.schedules import SCHEDULES, Schedule, Stage
from sklearn_unroll.training.stream import take_pass

__all__ = ["Trainer"]


class Trainer(Renamed, BaseEstimator):
    """How to train a network: objective, schedule, and the settings of the one loop.

    A stateless parameter object, searched through as ``trainer__learning_rate``, say.

    Parameters
    ----------
    objective : {"supervised", "lasso"} or Objective, default=None
        What to minimise. None means ``"supervised"`` with y, and ``"lasso"`` without.
    schedule : {"end_to_end", "stage_wise"} or Schedule, default="end_to_end"
        Which parameters are trained when.
    learning_rate : float, default=1e-3
        First step size of the optimiser. Larger ones learn faster, but may leave directions in
        which the layers amplify: look at the worst samples too, not only at the mean.
    decay : {"cosine", "constant", "plateau"}, default="cosine"
        How the rate goes down: along a cosine to zero, not at all, or by 0.3 at each stall.
    max_epochs : int, default=100
        Passes over the data in each stage; with 0 the network stays untrained.
    max_steps : int, default=None
        Minibatches in each stage at most, however many samples there are; a tenth of them is
        then the longest epoch. None does not limit them.
    max_seconds : float, default=None
        Time that a fit may take, in seconds, shared out among the stages that are left. A
        stage whose time is up ends in its best state, and its rate goes down to be small by
        then. Results then depend on the machine.
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
    optimizer : {"adam", "sgd"} or Optimizer, default="adam"
        :class:`~sklearn_unroll.training.Adam`, or :class:`~sklearn_unroll.training.SGD`, which
        with ``loss="mean"``, ``batch_size=None``, ``decay="constant"`` and
        ``max_grad_norm=None`` is the gradient descent of the theory.
    truncate : int or None, default=None
        Back-propagate through that many layers, take a step, and go on from there: memory for
        so many layers instead of all. The objective sees one such segment at a time.
    penalty : object with ``value(network)``, default=None
        Added to the mean of the objective over the samples, a number that depends on the
        parameters.
    constraint : Constraint, or list of them, default=None
        What the layers should do on average, see :class:`~sklearn_unroll.training.Descent`. Its
        multipliers start at zero and weigh against the loss relative to its scale (for pairs:
        against the NMSE). The best epoch is then the one with the least sum of monitored loss
        and mean violation over the layers.
    augmentation : Augmentation, default=None
        Contrasts and noise that training shows the network besides the samples, and held-out
        ones too, see :class:`~sklearn_unroll.training.Augmentation`.
    perturbation : Perturbation, default=None
        What disturbs iterates in training, see :class:`~sklearn_unroll.training.LayerNoise`.
    early_stopping : bool or "auto", default="auto"
        Hold out ``validation_fraction`` of the samples to choose the best epoch on, and stop
        when it stalls. ``"auto"`` does so from 1000 samples on. Otherwise the best epoch is
        chosen on the training data and all ``max_epochs`` are run.
    validation_fraction : float, default=0.1
        Share of the samples to hold out, of many 10,000.
    n_iter_no_change : int, default=20
        Epochs without progress after which to stop.
    tol : float, default=1e-4
        Decrease of the monitored loss, relative to the size of the best, that counts as progress.
    keep_on_interrupt : bool, default=False
        Whether an interrupt from the keyboard ends training with the best weights so far and a
        warning. Otherwise it leaves the estimator as it was before the fit.
    verbose : bool, default=False
        Whether each stage prints, after its first steps, how long it will take at most.

    Notes
    -----
    Every stage ends with the best state it has seen, the first included: trained end to end, a
    network is by the monitored loss never worse than the classical algorithm it started as. A
    monitored sample with more than twice the loss of zeros counts against a state by the rest,
    and with ten times is warned of, :class:`~sklearn_unroll.exceptions.TrainingWarning`.
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
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "max_steps": [Interval(Integral, 1, None, closed="left"), None],
        "max_seconds": [Interval(Real, 0, None, closed="neither"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
        "loss": [StrOptions({"relative", "mean", "log"})],
        "optimizer": [StrOptions(set(OPTIMIZERS)), Optimizer],
        "truncate": [Interval(Integral, 1, None, closed="left"), None],
        "penalty": [HasMethods("value"), None],
        "constraint": [Constraint, list, tuple, None],
        "augmentation": [Augmentation, None],
        "perturbation": [Perturbation, None],
        "early_stopping": ["boolean", StrOptions({"auto"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, 1, closed="left")],
        "keep_on_interrupt": ["boolean"],
        "verbose": ["boolean"],
    }

    def __init__(
        self,
        objective: str | Objective | None = None,
        schedule: str | Schedule = "end_to_end",
        *,
        learning_rate: float = 1e-3,
        decay: str = "cosine",
        max_epochs: int = 100,
        max_steps: int | None = None,
        max_seconds: float | None = None,
        batch_size: int | None = 256,
        max_grad_norm: float | None = 1.0,
        loss: str = "relative",
        optimizer: str | Optimizer = "adam",
        truncate: int | None = None,
        penalty: Any = None,
        constraint: Constraint | Sequence[Constraint] | None = None,
        augmentation: Augmentation | None = None,
        perturbation: Perturbation | None = None,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 20,
        tol: float = 1e-4,
        keep_on_interrupt: bool = False,
        verbose: bool = False,
    ) -> None:
        self.objective = objective
        self.schedule = schedule
        self.learning_rate = learning_rate
        self.decay = decay
        self.max_epochs = max_epochs
        self.max_steps = max_steps
        self.max_seconds = max_seconds
        self.batch_size = batch_size
        self.max_grad_norm = max_grad_norm
        self.loss = loss
        self.optimizer = optimizer
        self.truncate = truncate
        self.penalty = penalty
        self.constraint = constraint
        self.augmentation = augmentation
        self.perturbation = perturbation
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.keep_on_interrupt = keep_on_interrupt
        self.verbose = verbose

    def resolve_objective(self, has_y: bool, alpha: float) -> Objective:
        """Return the objective as an object, and check that it can be evaluated.

        Parameters
        ----------
        has_y : bool
            Whether true codes are at hand.
        alpha : float
            Weight of the l1 norm, for objectives that leave it open.

        Returns
        -------
        Objective
            A validated copy.

        Raises
        ------
        ValueError
            If the objective needs true codes and there are none.
        """
        return objective_of(self, has_y, alpha)

    def resolve_constraints(self, has_y: bool, alpha: float) -> list[Constraint]:
        """Return the constraints as a list, and check that they can be evaluated.

        Parameters
        ----------
        has_y, alpha : object
            As for ``resolve_objective``.

        Returns
        -------
        list of Constraint
            Validated copies.

        Raises
        ------
        TypeError
            If something given is no constraint.
        ValueError
            If one needs true codes and there are none, or cannot be weighed against the loss.
        """
        return constraints_of(self, has_y, alpha)

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
        parts = [objective, *self.resolve_constraints(has_y=True, alpha=0.0)]
        return any(part.requires_y for part in parts)

    def stages(self, network: Unrolled) -> list[Stage]:
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
        return part_of(self.schedule, SCHEDULES).stages(network)

    def run(
        self,
        network: Unrolled,
        obs: Observation,
        y: Tensor | None = None,
        *,
        alpha: float,
        R: Penalty | None = None,
        sample_weight: Tensor | None = None,
        generator: torch.Generator,
        report: Report | None = None,
    ) -> History:
        """Train a network in place.

        Parameters
        ----------
        network : Unrolled
            The network; ends in the best state seen.
        obs, y : Observation, and Tensor of shape (n_samples, n_components) or None
            Training data on the network's device, and true codes.
        alpha, R : float, and Penalty or None
            For objectives that leave them open: a weight, of the l1 norm unless there is another.
        sample_weight : Tensor of shape (n_samples,), default=None
            Nonnegative weights, ones by default.
        generator : torch.Generator
            Source of the shuffles, on the network's device.
        report : Report, default=None
            Hears of stages and epochs as they begin and end, and may end a stage.

        Returns
        -------
        History
            What happened.
        """
        trainer, report = self._resolve(y is not None, alpha, R), report or Report()
        return train(network, Samples.of(obs, y, sample_weight), trainer, generator, report)

    def update(
        self,
        network: Unrolled,
        obs: Observation,
        y: Tensor | None = None,
        *,
        alpha: float,
        R: Penalty | None = None,
        sample_weight: Tensor | None = None,
        generator: torch.Generator,
        optimizer_state: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Take one pass over a batch of a stream: all layers, constant rate, no hold-out.

        Parameters
        ----------
        network, obs, y, alpha, R, sample_weight, generator : object
            As for ``run``; ``obs`` is the batch, and budgets and ``verbose`` are those of fits.
        optimizer_state : dict, default=None
            What the previous call returned; left as it is, on whatever device. Settings are
            today's, and after a change of optimiser or groups it starts anew.

        Returns
        -------
        dict
            State of the optimiser, for the next call.

        Raises
        ------
        DivergenceError
            If a loss or a parameter is not finite.
        """
        trainer = self._resolve(y is not None, alpha, R)
        samples = Samples.of(obs, y, sample_weight)
        return take_pass(network, samples, trainer, generator, optimizer_state)

    def _resolve(self, has_y: bool, alpha: float, R: Penalty | None) -> Trainer:
        """Return a trainer whose parts are objects, checked and complete."""
        self._validate_params()
        parts = {
            "objective": objective_of(self, has_y, alpha, R),
            "constraint": constraints_of(self, has_y, alpha, R),
            "schedule": part_of(self.schedule, SCHEDULES),
            "optimizer": part_of(self.optimizer, OPTIMIZERS),
            "augmentation": None if self.augmentation is None else self.augmentation.check(),
        }
        return type(self)(**self.get_params(deep=False) | parts)
