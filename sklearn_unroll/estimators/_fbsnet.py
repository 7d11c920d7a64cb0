"""The basic forward-backward splitting network as a scikit-learn estimator."""

from __future__ import annotations

from copy import deepcopy
from numbers import Real
from typing import Any, ClassVar

import torch
from sklearn.base import clone
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sklearn_unroll.estimators._state import Given, _is_fitted_state
from sklearn_unroll.estimators._trained import TrainedUnrolledRegressor
from sklearn_unroll.functional import Observation, least_squares_value
from sklearn_unroll.functional.penalties import L1, PENALTIES
from sklearn_unroll.nn import Unrolled, fbs, refine
from sklearn_unroll.nn.fbs import INITS
from sklearn_unroll.training import SGD, Grouped, Lasso, Trainer

__all__ = ["FBSNet"]


class FBSNet(TrainedUnrolledRegressor):
    """Codes by a learned, unrolled forward-backward splitting, for any penalty.

    Layer l is ``x + = prox_{h tau_l lam_l R}(x - h tau_l W_l (A x - b))``, the basic network of
    Lin and Wu [1]_: matrices ``W_l``, steps ``tau_l >= 0`` and weights ``lam_l >= 0`` are
    learned, the operator, the penalty R and h are not. With a horizon, ``h = T / n_layers``, it
    has a limit as it gets deeper, a differential inclusion, see
    :func:`~sklearn_unroll.theory.depth_limit`.

    Parameters
    ----------
    dictionary : array-like of shape (n_components, n_features), default=None
        Rows are atoms, ``X ~ codes @ dictionary`` (papers write ``b = A x`` with
        ``A = dictionary.T``). None estimates it from the pairs by ridge regression.
    alpha : float, default=0.1
        Where the weights ``lam_l`` of the penalty start; the weight in the objective of a fit
        without y.
    penalty : {"l1", "nonnegative_l1", "elastic_net", "box", "quadratic", "zero"} or object, \
default="l1"
        R: a name, or any object with ``value(x)`` and ``prox(x, step)``, such as
        :class:`~sklearn_unroll.functional.GroupL1`.
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
    trainer : Trainer, default=None
        How to train; None takes gradient descent with momentum and separate rates, as
        published. Norms over depth as in the learning problem of the paper are
        :class:`~sklearn_unroll.training.DepthNorm`, to be given as ``Trainer(penalty=...)``.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the network of the last fit, or of :meth:`refine`.
    device : str or torch.device, default="auto"
        Where to compute. ``"auto"``: where X is, if it is a tensor; otherwise on the GPU
        where there is one.
    random_state : int, RandomState instance or None, default=None
        Seed of shuffles and of the validation split.

    Attributes
    ----------
    network_ : Unrolled
        The trained network.
    dictionary_ : array of shape (n_components, n_features)
        The dictionary in use.
    debias_ : None
        Codes are not debiased.
    norm_ : None
        Observations are not normalised.
    history_ : History
        Losses, rates and times in seconds, of the last ``fit``.
    n_epochs_ : int
        Epochs trained.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where X had names.

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
    _parameter_constraints: ClassVar[dict] = {
        **TrainedUnrolledRegressor._parameter_constraints,
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
        self.trainer = trainer
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state

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
        depth = self.network_.depth
        new = clone(self).set_params(n_layers=n_layers, warm_start=True)
        absorb = "nothing" if not keep_time else "tau" if self.horizon is None else "h"
        network = refine(self.network_, n_layers, absorb=absorb)
        if self.horizon is not None and not keep_time:
            new.horizon = self.horizon * n_layers / depth
        fitted = {name: value for name, value in vars(self).items() if _is_fitted_state(name)}
        vars(new).update(deepcopy(fitted) | {"network_": network, "_stream": None})
        return new

    def _build_network(self, given: Given) -> Unrolled:
        return fbs(
            given.obs.A,
            n_layers=self.n_layers,
            penalty=self._penalty(),
            alpha=self.alpha,
            tau=self.tau,
            horizon=self.horizon,
            init=self.init,
            x0=self.x0,
        )

    def _resume(self, network: Unrolled, fitted: Unrolled) -> Unrolled:
        # Not the fitted one itself: penalty and horizon are not learned, and may be new.
        network.load_state_dict(fitted.state_dict())
        return network

    def _default_trainer(self, n_samples: int, has_y: bool) -> Trainer:
        scaled = self.horizon is not None
        # With unit steps, larger rates make layers expand, and rare inputs get wild codes.
        rates = {"tau": 0.3, "lam": 0.1} if scaled else {"tau": 0.03, "lam": 0.03}
        return Trainer(
            schedule=Grouped(rates, scale_with_depth=scaled),
            optimizer=SGD(momentum=0.9),
            learning_rate=0.01 if scaled else 0.05,
            decay="constant",
            batch_size=50,
            max_epochs=60,
        )

    def _penalty(self) -> Any:
        return PENALTIES[self.penalty]() if isinstance(self.penalty, str) else self.penalty

    def _given(self, X: Any, y: Any, *args: Any, **kwargs: Any) -> tuple[Trainer, Given]:
        trainer, given = super()._given(X, y, *args, **kwargs)
        objective = trainer.resolve_objective(y is not None, self.alpha)
        if isinstance(objective, Lasso) and not isinstance(self._penalty(), L1):
            raise ValueError(
                f"The objective Lasso is the problem with the l1 norm, but the penalty is "
                f"{self.penalty!r}. Pass y, or an objective of your own, or use penalty='l1'."
            )
        return trainer, given

    def _finish(self, codes: Tensor, obs: Observation) -> Tensor:
        failed = int((~torch.isfinite(codes)).any(1).sum())
        if failed:
            raise ValueError(
                f"The codes of {failed} of {len(codes)} observations are infinite or NaN. Their "
                f"scale may be far from that of the fit, or the prox of "
                f"{type(self._penalty()).__name__} fails for them."
            )
        return codes

    def _score(self, X: Any, y: Any, sample_weight: Any, operators: Any = None) -> float:
        if y is not None:
            return super()._score(X, y, sample_weight, operators)
        X, obs = self._observe(X, "score", operators)
        weight = self._weights(sample_weight, X, obs.b)
        weight = torch.ones_like(obs.b[:, 0]) if weight is None else weight
        codes = self._solve(obs)
        penalised = self._objective_alpha() * self._penalty().value(codes)
        value = least_squares_value(codes, obs) + penalised
        return -float((weight * value).sum() / weight.sum())
