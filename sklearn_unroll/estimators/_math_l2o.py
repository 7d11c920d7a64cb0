"""Math-L2O as a scikit-learn estimator: it learns to solve a family of problems."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.base import _fit_context, clone
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, validate_data
from torch import Tensor

from sklearn_unroll.estimators._l2o_base import BaseL2OSolver
from sklearn_unroll.estimators._l2o_problem import LOSSES, PENALTIES, check_operators
from sklearn_unroll.estimators._progress import CallbackReport
from sklearn_unroll.estimators._state import all_or_nothing
from sklearn_unroll.estimators._validation import (
    float_dtypes,
    from_tensor,
    refuse_complex,
    resolve_device,
    to_tensor,
)
from sklearn_unroll.functional import Composite, Dense, Operator, Penalty, Smooth
from sklearn_unroll.nn import Monotone, Unrolled, math_l2o
from sklearn_unroll.nn.math_l2o import VARIANTS
from sklearn_unroll.solvers import optimal_values
from sklearn_unroll.training import ProblemObjective, Trainer

__all__ = ["MathL2OSolver"]


class MathL2OSolver(CallbackSupportMixin, BaseL2OSolver):
    """An optimiser for ``min_z f(z) + R(z)`` that learns from instances of the problem.

    Every row x of X is one instance: by default the lasso ``0.5 ||x - z D||^2 + alpha ||z||_1``.
    Each iteration is an accelerated proximal gradient step whose step sizes and momentum, one
    for each coordinate, a small recurrent network chooses [1]_. Coordinates share the network, so
    a fitted solver takes instances of any size, for any number of iterations. Untrained it is
    FISTA with restarts; and an iteration that would raise the objective of an instance takes the
    classical step there instead, so that no instance diverges.

    ``operators`` and ``alpha`` are metadata: all methods accept them, one for each instance, and
    scikit-learn slices and routes them like ``sample_weight`` (call
    ``set_fit_request(operators=True)`` and the like).

    Parameters
    ----------
    operator : array-like of shape (n_components, n_features) or Operator, default=None
        The matrix D of all instances, rows are atoms; used where no ``operators`` are passed.
        None is the identity.
    loss : {"least_squares", "logistic", "none"} or Smooth, default="least_squares"
        The smooth part f. For ``"logistic"`` every row of X holds the labels of a classification
        problem and D is the transposed design: ``mean_j log(1 + exp(-x_j (z D)_j))`` with labels
        as -1 and 1. For ``"none"`` only the penalty is left.
    penalty : {"l1", "nonnegative_l1", "elastic_net", "ridge", "none"} or Penalty, default="l1"
        The other part R, times alpha where it is named. An object is taken as it is; it must be
        a sum over coordinates.
    alpha : float, default=0.1
        Weight of a named penalty.
    n_iter : int, default=100
        Iterations of ``predict``.
    variant : {"PBA12", "PBA1", "PBA2", "PBA", "PA", "P", "A"}, default="PA"
        What is learned: steps P, blend B, momentum A, and two biases.
    network : {"lstm", "mlp"}, default="lstm"
        What chooses it.
    hidden_size : int, default=16
        Size of the network's state or layers.
    n_hidden_layers : int, default=1
        Layers of the LSTM.
    features : {"relative", "raw"}, default="relative"
        What the network sees: ratios, so that rescaling an instance changes nothing, or the
        published gradient and iterate.
    state : {"zero", "normal"}, default="zero"
        First memory of the network.
    momentum : {"accelerated", "sigmoid", "wide"}, default="accelerated"
        Momentum in (0, 1), around that of FISTA or around a half; or in (0, 2) as published.
    largest_step : float, default=4.0
        Largest step in units of ``1 / L``; the published one is 2.
    init : {"classical", "random"}, default="classical"
        Whether training starts at the classical method or at random.
    safeguard : {"monotone"} or None, default="monotone"
        Whether an iteration that would raise the objective takes the classical step instead.
    n_layers : int, default=60
        Iterations unrolled in training.
    trainer : Trainer, default=None
        How to train. None takes minibatches of 16 instances and truncated back-propagation
        through 20 iterations on the logarithm of the error, whose optima are computed first.
        Memory is about 1 kB for each coordinate of a minibatch and truncated iteration.
    device : str or torch.device, default="auto"
        Where to compute, see :class:`~sklearn_unroll.LISTARegressor`.
    random_state : int, RandomState instance or None, default=None
        Seed of the first weights, the shuffles and a normal first memory.

    Attributes
    ----------
    network_ : Unrolled
        The trained network.
    operator_ : array of shape (n_components, n_features), Operator or None
        The operator in use where no ``operators`` are passed; None if ``fit`` had them and
        ``operator`` is None.
    classes_ : array of shape (2,) or None
        The labels that stand for -1 and 1, with ``loss="logistic"``.
    n_components_ : int
        Number of unknowns of the training instances.
    history_ : History
        Losses, rates and times in seconds.
    n_epochs_ : int
        Epochs trained.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where X had names.

    See Also
    --------
    LassoCoder : Solves the lasso to a certificate without training.

    References
    ----------
    .. [1] Liu, J., Chen, X., Wang, Z., Yin, W. and Cai, H., "Towards constituting mathematical
       structures for learning to optimize", ICML 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_unroll import MathL2OSolver, Trainer
    >>> from sklearn_unroll.training import ProblemObjective
    >>> rng = np.random.default_rng(0)
    >>> operators = rng.standard_normal((32, 30, 20)) / np.sqrt(20)
    >>> codes = rng.standard_normal((32, 30)) * (rng.random((32, 30)) < 0.1)
    >>> X = np.einsum("in,inm->im", codes, operators)
    >>> trainer = Trainer(ProblemObjective("log"), batch_size=16, truncate=10, max_epochs=2)
    >>> solver = MathL2OSolver(n_layers=20, trainer=trainer, random_state=0)
    >>> solution = solver.fit(X, operators=operators).solve(X, operators=operators)
    >>> solution.trajectory.shape, bool(np.median(solution.gap) < 1e-6)
    ((101, 32), True)
    """

    _parameter_constraints: ClassVar[dict] = {
        "operator": ["array-like", Operator, None],
        "loss": [StrOptions(set(LOSSES)), HasMethods(["value", "gradient", "lipschitz"])],
        "penalty": [StrOptions(set(PENALTIES)), HasMethods(["value", "prox"]), None],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "variant": [StrOptions(set(VARIANTS))],
        "network": [StrOptions({"lstm", "mlp"})],
        "hidden_size": [Interval(Integral, 1, None, closed="left")],
        "n_hidden_layers": [Interval(Integral, 1, None, closed="left")],
        "features": [StrOptions({"relative", "raw"})],
        "state": [StrOptions({"zero", "normal"})],
        "momentum": [StrOptions({"accelerated", "sigmoid", "wide"})],
        "largest_step": [Interval(Real, 1, None, closed="neither")],
        "init": [StrOptions({"classical", "random"})],
        "safeguard": [StrOptions({"monotone"}), None],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "trainer": [Trainer, None],
        "device": [str, torch.device],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        operator: Any = None,
        *,
        loss: str | Smooth = "least_squares",
        penalty: str | Penalty | None = "l1",
        alpha: float = 0.1,
        n_iter: int = 100,
        variant: str = "PA",
        network: str = "lstm",
        hidden_size: int = 16,
        n_hidden_layers: int = 1,
        features: str = "relative",
        state: str = "zero",
        momentum: str = "accelerated",
        largest_step: float = 4.0,
        init: str = "classical",
        safeguard: str | None = "monotone",
        n_layers: int = 60,
        trainer: Trainer | None = None,
        device: str | torch.device = "auto",
        random_state: Any = None,
    ) -> None:
        self.operator = operator
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.n_iter = n_iter
        self.variant = variant
        self.network = network
        self.hidden_size = hidden_size
        self.n_hidden_layers = n_hidden_layers
        self.features = features
        self.state = state
        self.momentum = momentum
        self.largest_step = largest_step
        self.init = init
        self.safeguard = safeguard
        self.n_layers = n_layers
        self.trainer = trainer
        self.device = device
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        operators: Any = None,
        alpha: Any = None,
    ) -> MathL2OSolver:
        """Learn from instances, without their solutions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Instances.
        y : object, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights of the instances in the loss.
        operators : array-like of shape (n_samples, n_components, n_features), default=None
            The operator of every instance, or one for all of shape (n_components, n_features).
        alpha : float or array-like of shape (n_samples,), default=None
            Weight of a named penalty for every instance.

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
        with all_or_nothing(self), torch.enable_grad():
            refuse_complex(X, "X")
            checked = validate_data(self, X, dtype=float_dtypes(X))
            device = resolve_device(self.device, checked)
            b = to_tensor(checked, dtype=None, device=device)
            problem, classes = self._problem(b, operators, alpha, None)
            weight = None
            if sample_weight is not None:
                weight = _check_sample_weight(sample_weight, checked, ensure_non_negative=True)
                weight = to_tensor(weight, dtype=b.dtype, device=device)
            trainer = self._trainer(len(b))
            if isinstance(trainer.objective, ProblemObjective):
                problem = problem._replace(least=_optima(problem).to(b.dtype))
            seed = int(check_random_state(self.random_state).randint(2**31))
            generator = torch.Generator(device).manual_seed(seed)
            network = self._build(device, generator)
            state = {
                "network_": network.eval(),
                "operator_": self._own_operator(operators, checked, problem),
                "n_components_": problem.A.n_components,
                "classes_": None if classes is None else from_tensor(classes, checked),
            }
            metadata = {"sample_weight": sample_weight, "operators": operators, "alpha": alpha}
            report = CallbackReport(
                self, len(trainer.stages(network)), trainer.max_epochs, X, None, metadata,
                lambda: state,
            )  # fmt: skip
            history = trainer.run(
                network, problem, alpha=self.alpha, sample_weight=weight, generator=generator,
                report=report,
            )  # fmt: skip
            report.fit_ends()
            vars(self).update(state)
            self.history_ = history
            self.n_epochs_ = history.n_epochs
        return self

    def set_params(self, **params: Any) -> MathL2OSolver:
        """Set parameters of this estimator, of its trainer, and of the trainer's parts.

        Parameters
        ----------
        **params : dict
            Parameters, such as ``n_layers`` or ``trainer__max_epochs``. The latter makes the
            recipe for 500 instances a trainer of its own where ``trainer`` is None.

        Returns
        -------
        self : estimator
            This estimator.
        """
        of_trainer = any(name.startswith("trainer__") for name in params)
        if of_trainer and self.trainer is None and "trainer" not in params:
            self.trainer = default_trainer(500)
        return super().set_params(**params)

    def _trainer(self, n_samples: int) -> Trainer:
        """Return the trainer with an objective that is the problem's."""
        if self.trainer is None:
            return default_trainer(n_samples)
        self.trainer._validate_params()
        if self.trainer.objective is not None:
            return self.trainer
        return clone(self.trainer).set_params(objective=ProblemObjective("log"))

    def _build(self, device: torch.device, generator: torch.Generator) -> Unrolled:
        network = math_l2o(
            # Steps need no more digits than these, whatever the data have.
            torch.empty(0, dtype=torch.float32, device=device),
            n_layers=self.n_layers,
            variant=self.variant,
            network=self.network,
            hidden_size=self.hidden_size,
            n_hidden_layers=self.n_hidden_layers,
            features=self.features,
            state=self.state,
            momentum=self.momentum,
            largest_step=self.largest_step,
            init=self.init,
            generator=generator,
        )
        if self.safeguard is None:
            return network
        return Unrolled([Monotone(network.layers[0])] * self.n_layers)

    def _own_operator(self, operators: Any, checked: Any, problem: Composite) -> Any:
        if isinstance(self.operator, Operator) or (
            self.operator is None and operators is not None
        ):
            return self.operator
        A = (
            problem.A
            if operators is None
            else check_operators(self.operator, problem.b, "operator")
        )
        return from_tensor(A.D.clone(), checked)


def default_trainer(n_samples: int) -> Trainer:
    """Return the recipe: about 1900 steps, through 20 of 60 iterations each."""
    batch = 16
    return Trainer(
        ProblemObjective("log"),
        learning_rate=5e-3,
        max_epochs=min(max(round(640 * batch / max(n_samples, 1)), 1), 60),
        batch_size=batch,
        truncate=20,
        early_stopping=False,
    )


def _optima(problem: Composite) -> Tensor:
    """Return the optimal values, in float64."""
    A = problem.A
    if problem.b.dtype != torch.float64:
        b = problem.b.double()
        A = Dense(A.D.double()) if isinstance(A, Dense) else A.to(b)
        problem = Composite.of(b, A, problem.f, problem.R)
    return optimal_values(problem)
