"""The plain network that unrolled ones are compared with, as a scikit-learn estimator."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from sklearn_unroll.estimators._normal import (
    SHRINKAGES,
    normal_generator,
    normal_trainer,
    sharpness_of,
)
from sklearn_unroll.estimators._state import Given
from sklearn_unroll.estimators._trained import TrainedUnrolledRegressor
from sklearn_unroll.nn import Unrolled, feed_forward
from sklearn_unroll.training import Trainer

__all__ = ["FeedForwardRegressor"]


class FeedForwardRegressor(TrainedUnrolledRegressor):
    """Codes by a plain network of equal layers: the baseline of the optimisation guarantees.

    ``x_1 = shrink(W_1 b / sqrt(n_features))`` and
    ``x_k+1 = shrink(W_k+1 x_k / sqrt(n_components))``, with weights that start as standard
    normal numbers [1]_. Unlike in an unrolled network, observations enter the first layer only.
    :func:`~sklearn_unroll.nn.equivalent_depth` gives the ``n_layers`` with which it has as many
    parameters as ``LISTARegressor(weights="free", shrinkage="smooth", init="normal")``.

    Parameters
    ----------
    dictionary : array-like of shape (n_components, n_features), default=None
        Rows are atoms, ``X ~ codes @ dictionary``. The network does not use it:
        ``inverse_transform``, and training and ``score`` without y, do. None estimates it from the
        pairs.
    alpha : float, default=1.0
        The threshold of every layer, not learned; and the weight of the l1 norm where there is
        no y.
    n_layers : int, default=8
        Number of layers.
    shrinkage : {"smooth", "soft"}, default="smooth"
        Smooth threshold, which the guarantees need, or soft threshold.
    sharpness : float, default=1.0
        Of the smooth threshold, see :func:`~sklearn_unroll.functional.smooth_soft`.
    trainer : Trainer, default=None
        How to train; None takes about 2000 steps of Adam.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the network of the last fit.
    device : str or torch.device, default="auto"
        Where to compute, see :class:`~sklearn_unroll.LISTARegressor`.
    random_state : int, RandomState instance or None, default=None
        Seed of the first weights, of shuffles and of the validation split.

    Attributes
    ----------
    network_ : Unrolled
        The trained network.
    dictionary_ : array of shape (n_components, n_features)
        The dictionary in use.
    debias_ : None
        Codes are not debiased.
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
    LISTARegressor : The unrolled network.
    sklearn_unroll.theory.pl_star_report : What is guaranteed of the training of either.

    References
    ----------
    .. [1] Shah, S. B., Pradhan, P., Pu, W., Randhi, R., Rodrigues, M. R. D. and Eldar, Y. C.,
       "Optimization guarantees of unfolded ISTA and ADMM networks with smooth
       soft-thresholding", IEEE Transactions on Signal Processing 72, 2024.

    Examples
    --------
    >>> from sklearn_unroll import FeedForwardRegressor, Trainer
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.metrics import nmse_db
    >>> data = make_sparse_recovery(4, 8, 40, sparsity=2, random_state=0)
    >>> trainer = Trainer(learning_rate=0.02, max_epochs=300)
    >>> model = FeedForwardRegressor(n_layers=3, trainer=trainer, random_state=0)
    >>> codes = model.fit(data.X, data.y).predict(data.X)
    >>> bool(nmse_db(data.y, codes) < -20)  # learned by heart
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **TrainedUnrolledRegressor._parameter_constraints,
        "shrinkage": [StrOptions(set(SHRINKAGES))],
        "sharpness": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        dictionary: Any = None,
        *,
        alpha: float = 1.0,
        n_layers: int = 8,
        shrinkage: str = "smooth",
        sharpness: float = 1.0,
        trainer: Trainer | None = None,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        random_state: Any = None,
    ) -> None:
        self.dictionary = dictionary
        self.alpha = alpha
        self.n_layers = n_layers
        self.shrinkage = shrinkage
        self.sharpness = sharpness
        self.trainer = trainer
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state

    def _build_network(self, given: Given) -> Unrolled:
        return feed_forward(
            given.obs.A,
            generator=normal_generator(self),
            n_layers=self.n_layers,
            theta=float(self.alpha),
            sharpness=sharpness_of(self.shrinkage, self.sharpness),
        )

    def _default_trainer(self, n_samples: int, has_y: bool) -> Trainer:
        return normal_trainer(n_samples)

    def _resume(self, network: Unrolled, fitted: Unrolled) -> Unrolled:
        # Not the fitted one itself: threshold and sharpness may be new.
        network.load_state_dict(fitted.state_dict())
        return network
