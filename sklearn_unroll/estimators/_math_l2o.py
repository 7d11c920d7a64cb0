"""Math-L2O as a scikit-learn estimator: it learns to solve a family of problems."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from scipy.sparse.linalg import LinearOperator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from sklearn_unroll.estimators._instances import LOSSES, PENALTIES, Instances, takes_missing
from sklearn_unroll.estimators._learned import Learned
from sklearn_unroll.estimators._solver_methods import SolverMethods
from sklearn_unroll.estimators._start import FEW, MANY, budget
from sklearn_unroll.estimators._state import Given
from sklearn_unroll.functional import Operator, Penalty, Smooth
from sklearn_unroll.nn import Unrolled, guarded, math_l2o
from sklearn_unroll.nn.math_l2o import VARIANTS
from sklearn_unroll.training import ProblemObjective, Trainer

__all__ = ["MathL2OSolver"]


class MathL2OSolver(SolverMethods, Learned):
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
    operator : array-like of shape (n_components, n_features), Operator or LinearOperator, \
            default=None
        The matrix D of all instances, rows are atoms, or what acts as one; used where no
        ``operators`` are passed. None is the identity.
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
    %(warm_start)s
    %(device)s
    %(random_state)s

    Attributes
    ----------
    %(network_)s
    operator_ : array of shape (n_components, n_features), Operator or None
        The operator in use where no ``operators`` are passed; None if ``fit`` had them and
        ``operator`` is None.
    classes_ : array of shape (2,) or None
        The labels that stand for -1 and 1, with ``loss="logistic"``.
    n_components_ : int
        Number of unknowns of the training instances.
    %(training_)s
    %(features_)s

    See Also
    --------
    LassoCoder : Solves the lasso to a certificate without training.

    Notes
    -----
    With least squares, NaN in X stands for entries that were not seen: an instance is the problem
    on those that were.

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

    task = Instances()
    _parameter_constraints: ClassVar[dict] = {
        **Learned._parameter_constraints,
        "operator": ["array-like", Operator, LinearOperator, "sparse matrix", None],
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
        warm_start: bool = False,
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
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = takes_missing(self)
        return tags

    def default_trainer(self, n_samples: int, has_y: bool) -> Trainer:
        """Return the recipe: about 1900 steps, through 20 of 60 iterations each."""
        most = 2 if n_samples < FEW else 6 if n_samples < MANY else 60
        return Trainer(
            ProblemObjective("log"),
            learning_rate=5e-3,
            **budget(n_samples, 640, batch=16, most=most),
            truncate=20,
            early_stopping=False,
        )

    def build_network(self, given: Given) -> Unrolled:
        """Assemble Math-L2O, one layer repeated, safeguarded or not."""
        network = math_l2o(
            # Steps need no more digits than these, whatever the data have.
            given.obs.b.new_empty(0, dtype=torch.float32),
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
            generator=given.generator,
        )
        if self.safeguard is None:
            return network
        guard = guarded(network, "descent").layers[0]
        return Unrolled([guard] * self.n_layers)
