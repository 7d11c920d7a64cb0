"""The plain network that unrolled ones are compared with, as a scikit-learn estimator."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from sklearn_unroll.estimators._code_methods import CodeMethods
from sklearn_unroll.estimators._codes import Codes
from sklearn_unroll.estimators._learned import Learned
from sklearn_unroll.estimators._normal import (
    SHRINKAGES,
    normal_trainer,
    sharpness_of,
)
from sklearn_unroll.estimators._state import Given
from sklearn_unroll.nn import Unrolled, feed_forward
from sklearn_unroll.training import Trainer

__all__ = ["FeedForwardRegressor"]


class FeedForwardRegressor(CodeMethods, Learned):
    """Codes by a plain network of equal layers: the baseline of the optimisation guarantees.

    ``x_1 = shrink(W_1 b / sqrt(n_features))`` and
    ``x_k+1 = shrink(W_k+1 x_k / sqrt(n_components))``, with weights that start as standard
    normal numbers [1]_. Unlike in an unrolled network, observations enter the first layer only.
    :func:`~sklearn_unroll.nn.equivalent_depth` gives the ``n_layers`` with which it has as many
    parameters as ``LISTARegressor(weights="free", shrinkage="smooth", init="normal")``.

    Parameters
    ----------
    %(dictionary)s
    alpha : float, default=1.0
        The threshold of every layer, not learned; and the weight of the l1 norm where there is
        no y.
    n_layers : int, default=8
        Number of layers.
    shrinkage : {"smooth", "soft"}, default="smooth"
        Smooth threshold, which the guarantees need, or soft threshold.
    sharpness : float, default=1.0
        Of the smooth threshold, see :func:`~sklearn_unroll.functional.smooth_soft`.
    %(normalize)s
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

    task = Codes()
    guards_whole = True
    _parameter_constraints: ClassVar[dict] = {
        **Learned._parameter_constraints,
        **CodeMethods._parameter_constraints,
        "dictionary": ["array-like", None],
        "alpha": [Interval(Real, 0, None, closed="neither")],
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
        normalize: bool | str = "auto",
        guard: str | None = "auto",
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
        self.normalize = normalize
        self.guard = guard
        self.trainer = trainer
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state

    def normalizes(self, has_y: bool) -> bool:
        """Return whether ``normalize="auto"`` does so: the network of the theory does not."""
        return False

    def build_network(self, given: Given) -> Unrolled:
        return feed_forward(
            given.obs.A,
            generator=given.generator,
            n_layers=self.n_layers,
            theta=float(self.alpha),
            sharpness=sharpness_of(self.shrinkage, self.sharpness),
        )

    def default_trainer(self, n_samples: int, has_y: bool) -> Trainer:
        return normal_trainer(n_samples)
