"""The basic forward-backward splitting network as a scikit-learn estimator."""

from __future__ import annotations

from copy import deepcopy
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.base import clone
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sklearn_unroll.estimators._arrays import to_tensor
from sklearn_unroll.estimators._checked import check_numbers
from sklearn_unroll.estimators._code_methods import CodeMethods
from sklearn_unroll.estimators._codes import Codes
from sklearn_unroll.estimators._learned import Learned
from sklearn_unroll.estimators._shell import Seen
from sklearn_unroll.estimators._start import label_free_trainer, passes
from sklearn_unroll.estimators._state import Given, as_fitted, fitted_state
from sklearn_unroll.estimators._tried import check_penalty, check_start
from sklearn_unroll.functional import (
    L1,
    Box,
    GroupL1,
    NonnegativeL1,
    Penalty,
    Scaled,
    Zero,
)
from sklearn_unroll.functional.penalties import PENALTIES
from sklearn_unroll.nn import Unrolled, fbs, refine
from sklearn_unroll.nn.fbs import INITS
from sklearn_unroll.training import SGD, Grouped, Lasso, Objective, Trainer

__all__ = ["FBSNet"]


class FBSNet(CodeMethods, Learned):
    """Codes by a learned, unrolled forward-backward splitting, for any penalty.

    Layer l is ``x + = prox_{h tau_l lam_l R}(x - h tau_l W_l (A x - b))``, the basic network of
    Lin and Wu [1]_: matrices ``W_l``, steps ``tau_l >= 0`` and weights ``lam_l >= 0`` are
    learned, the operator, the penalty R and h are not. With a horizon, ``h = T / n_layers``, it
    has a limit as it gets deeper, a differential inclusion, see
    :func:`~sklearn_unroll.theory.depth_limit`.

    Parameters
    ----------
    %(dictionary)s
    alpha : float, default=0.1
        Where the weights ``lam_l`` of the penalty start; the weight in the objective of a fit
        without y.
    penalty : {"l1", "nonnegative_l1", "elastic_net", "box", "quadratic", "zero"} or object, \
default="l1"
        R: a name, or any object with ``value(x)`` and ``prox(x, step)``, such as
        :class:`~sklearn_unroll.functional.GroupL1`. A fit without y needs the l1 norm or that.
    n_layers : int, default=16
        Number of layers.
    horizon : float or None, default=None
        T, with ``h = T / n_layers``; with the default tau it counts classical steps. None is
        ``h = 1``, where a deeper network simply goes on for longer: the experiment of the paper.
    init : {"polar", "adjoint"}, default="polar"
        Where the matrices start: the transpose of the orthogonal factor of A, as published, or
        ``A^T``, with which the untrained network is the proximal gradient method.
    tau : float or None, default=None
        Where the steps start; None is ``1 / ||W A||_2``.
    x0 : array-like of shape (n_components,), "learned", callable or None, default=None
        The first iterate: the same for all observations; a parameter, zero at first; a function
        from an :class:`~sklearn_unroll.functional.Observation` to a tensor of shape (n_samples,
        n_components); or zero.
    %(normalize)s
    %(alpha_relative)s
    %(guard)s
    %(trainer)s
    %(warm_start)s
    %(device)s
    %(random_state)s

    Attributes
    ----------
    %(network_)s
    %(dictionary_)s
    debias_ : None
        Codes are not debiased.
    %(norm_)s
    %(guard_)s
    %(training_)s
    %(features_)s

    See Also
    --------
    LISTARegressor : One threshold and one matrix a layer, and the l1 norm only.
    sklearn_unroll.theory.depth_limit : What happens as the network gets deeper.

    References
    ----------
    .. [1] Lin, X. and Wu, C., "Deep-layer limit and stability analysis of the basic
       forward-backward-splitting induced network (II): learning problems", 2026.

    Examples
    --------
    >>> from sklearn_unroll import FBSNet
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.metrics import nmse_db
    >>> data = make_sparse_recovery(
    ...     n_samples=400, n_features=20, n_components=30, sparsity=2, random_state=0
    ... )
    >>> coarse = FBSNet(data.dictionary, n_layers=4, horizon=6.0, random_state=0)
    >>> fine = coarse.fit(data.X, data.y).refine(8).fit(data.X, data.y)
    >>> fine.n_layers
    8
    >>> bool(nmse_db(data.y, fine.predict(data.X)) < -10)  # dB
    True
    """

    # NOTE[DIFF]: the values of rates, momentum and initial scalars of the paper's experiment are
    # not legible in our source; those here are ours, and so is the clipping of gradients, without
    # which some runs of twenty layers are lost, and the norms over depth are off by default.
    task = Codes()
    _parameter_constraints: ClassVar[dict] = {
        **Learned._parameter_constraints,
        **CodeMethods._parameter_constraints,
        "dictionary": ["array-like", None],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "penalty": [StrOptions(set(PENALTIES)), HasMethods(["value", "prox"])],
        "horizon": [Interval(Real, 0, None, closed="neither"), None],
        "init": [StrOptions(set(INITS))],
        "tau": [Interval(Real, 0, None, closed="left"), None],
        "x0": ["array-like", StrOptions({"learned"}), callable, None],
    }

    def __init__(
        self,
        dictionary: Any = None,
        *,
        alpha: float = 0.1,
        penalty: Any = "l1",
        n_layers: int = 16,
        horizon: float | None = None,
        init: str = "polar",
        tau: float | None = None,
        x0: Any = None,
        normalize: bool | str = "auto",
        alpha_relative: bool = False,
        guard: str | None = "auto",
        trainer: Trainer | None = None,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        random_state: Any = None,
    ) -> None:
        self.dictionary = dictionary
        self.alpha = alpha
        self.penalty = penalty
        self.n_layers = n_layers
        self.horizon = horizon
        self.init = init
        self.tau = tau
        self.x0 = x0
        self.normalize = normalize
        self.alpha_relative = alpha_relative
        self.guard = guard
        self.trainer = trainer
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state

    @as_fitted
    def refine(self, n_layers: int, *, keep_time: bool = True) -> FBSNet:
        """Return this fitted estimator with another number of layers, to be trained further.

        The learned functions of depth are the same: more layers repeat them, fewer take their
        means, see :func:`~sklearn_unroll.nn.refine`. A few layers are quick to train, so training
        from coarse to fine is quicker than training the fine network: ``fit`` of the new
        estimator goes on from here.

        Parameters
        ----------
        n_layers : int
            Number of layers of the new estimator.
        keep_time : bool, default=True
            Whether all layers together move as far as before: a horizon stays, and without one
            the steps tau are divided. Else more layers go on for longer, and a horizon grows.

        Returns
        -------
        FBSNet
            A fitted estimator, with ``warm_start=True``.
        """
        check_is_fitted(self)
        if isinstance(n_layers, bool) or not isinstance(n_layers, Integral) or n_layers < 1:
            raise ValueError(f"n_layers must be a positive integer, got {n_layers!r}.")
        depth = self.network_.depth
        new = clone(self).set_params(n_layers=n_layers, warm_start=True)
        absorb = "nothing" if not keep_time else "tau" if self.horizon is None else "h"
        network = refine(self.network_, n_layers, absorb=absorb)
        if self.horizon is not None and not keep_time:
            new.horizon = self.horizon * n_layers / depth
        fitted = deepcopy(fitted_state(self))
        vars(new).update(fitted | {"network_": network, "_stream": (0, None)})
        return new

    def build_network(self, given: Given) -> Unrolled:
        obs, x0 = given.obs, self.x0
        check_penalty(self._penalty(), obs.b, obs.A.n_components)
        if callable(x0):
            check_start(x0, obs)
        elif x0 is not None and not isinstance(x0, str):
            x0 = to_tensor(check_numbers(x0, "x0"), dtype=None, device=obs.b.device)
        return fbs(
            given.obs.A,
            n_layers=self.n_layers,
            penalty=self._penalty(),
            alpha=self.alpha,
            tau=self.tau,
            horizon=self.horizon,
            init=self.init,
            x0=x0,
        )

    def default_trainer(self, n_samples: int, has_y: bool) -> Trainer:
        if not has_y:
            return label_free_trainer(self, n_samples)
        scaled = self.horizon is not None
        # With unit steps, larger rates make layers expand, and rare inputs get wild codes.
        rates = {"tau": 0.3, "lam": 0.1} if scaled else {"tau": 0.03, "lam": 0.03}
        return Trainer(
            schedule=Grouped(rates, scale_with_depth=scaled),
            optimizer=SGD(momentum=0.9),
            learning_rate=0.01 if scaled else 0.05,
            decay="constant",
            batch_size=50,
            max_steps=4000,
            max_epochs=passes(n_samples, most=60),
        )

    def check_objective(self, objective: Objective) -> None:
        """Raise where another problem than that of the penalty would be minimised."""
        if isinstance(objective, Lasso) and not isinstance(self._penalty(), (L1, GroupL1)):
            raise ValueError(
                f"The objective Lasso is the problem with the l1 norm, or that of groups, but the "
                f"penalty is {self.penalty!r}. Pass y, or an objective of your own, or use "
                f"penalty='l1' or GroupL1."
            )

    def unit_penalty(self, n_components: int) -> Penalty:
        """Return the penalty that alpha weighs in a fit without y: the l1 norm, or GroupL1."""
        R = self._penalty()
        if not isinstance(R, GroupL1):
            return super().unit_penalty(n_components)
        labels = R.labels(torch.empty(0, n_components))
        weight = torch.as_tensor(R.weight, dtype=torch.float64)
        return GroupL1(labels, weight.expand(int(labels.max()) + 1))

    def penalty_of(self, seen: Seen, alpha: Any = None) -> Penalty:
        """Return ``alpha R``; with another alpha that of the l1 norm."""
        if alpha is not None:
            return super().penalty_of(seen, alpha)
        R, factor = self._penalty(), self.task.alpha(self)
        if isinstance(R, Penalty) and "weight" in R.get_params():
            # It keeps its kind, whose duality gap may be known.
            return type(R)(**R.get_params() | {"weight": factor * R.weight})
        return R if isinstance(R, (Box, Zero)) else Scaled(R, factor)

    def normalizes(self, has_y: bool) -> bool:
        """Return whether ``normalize="auto"`` does so: where penalty and start scale along,
        and there is no horizon, whose limit system is one in the units of the data.
        """
        scales = isinstance(self._penalty(), (L1, NonnegativeL1, GroupL1, Zero))
        scales &= self.x0 is None or isinstance(self.x0, str)
        return has_y and scales and self.horizon is None

    def _penalty(self) -> Any:
        return PENALTIES[self.penalty]() if isinstance(self.penalty, str) else self.penalty
