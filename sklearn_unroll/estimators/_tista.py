"""TISTA as a scikit-learn estimator."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from sklearn_unroll.estimators._code_methods import CodeMethods
from sklearn_unroll.estimators._codes import Codes
from sklearn_unroll.estimators._learned import Learned
from sklearn_unroll.estimators._recovery import DEBIAS
from sklearn_unroll.estimators._start import FEW, MANY, budget
from sklearn_unroll.estimators._state import Given
from sklearn_unroll.functional import Observation
from sklearn_unroll.functional.rows import Rows, blocks
from sklearn_unroll.nn import Unrolled, tista
from sklearn_unroll.training import StageWise, Trainer

__all__ = ["TISTARegressor"]


class TISTARegressor(CodeMethods, Learned):
    """Sparse codes by trainable ISTA: a step a layer is learned, the prior is known.

    ``x+ = E[x | x + gamma_k A^+ (b - A x)]`` where codes are zero with probability
    ``1 - sparsity`` and else normal, with an error whose variance follows from the residual
    [1]_. Where codes are like that, few layers and little training give the least mean square
    error of this family, noise or not. Atoms are normalised inside and codes rescaled.

    Parameters
    ----------
    %(dictionary)s
    sparsity : float or None, default=None
        Probability of a nonzero. None takes the share of nonzeros in y.
    variance : float or None, default=None
        Variance of a nonzero of unit atoms. None takes the mean square of those in y.
    noise_std : float or None, default=None
        Standard deviation of the noise in each feature. None takes the root mean square of
        ``X - y @ dictionary``.
    n_layers : int, default=12
        Number of layers.
    %(normalize)s
    %(guard)s
    debias : bool or {"least_squares", "repair"}, default=False
        Follow the codes by least squares on their support, see
        :class:`~sklearn_unroll.LISTARegressor`. Codes here are means, with many small entries,
        so that ``"least_squares"`` keeps too many; use ``"repair"``.
    %(trainer)s
    %(warm_start)s
    %(device)s
    %(random_state)s

    Attributes
    ----------
    %(network_)s
    %(dictionary_)s
    sparsity_, variance_, noise_std_ : float
        The prior and the noise in use.
    %(debias_)s
    %(norm_)s
    %(guard_)s
    %(training_)s
    %(features_)s

    See Also
    --------
    HyperLISTARegressor : Needs neither prior nor training.

    Notes
    -----
    Trained layers are not monotone: do not use fewer of them than were trained.

    References
    ----------
    .. [1] Ito, D., Takabe, S. and Wadayama, T., "Trainable ISTA for sparse signal recovery",
       IEEE Transactions on Signal Processing 67, 2019.

    Examples
    --------
    >>> from sklearn_unroll import TISTARegressor
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.metrics import nmse_db
    >>> data = make_sparse_recovery(600, 50, 80, sparsity=4, random_state=0)
    >>> model = TISTARegressor(data.dictionary, n_layers=6, random_state=0)
    >>> codes = model.fit(data.X, data.y).predict(data.X)
    >>> bool(nmse_db(data.y, codes) < -15)  # dB
    True
    """

    task = Codes(unit_atoms=True, needs_pairs=True)
    _parameter_constraints: ClassVar[dict] = {
        **Learned._parameter_constraints,
        **CodeMethods._parameter_constraints,
        "dictionary": ["array-like", None],
        "debias": ["boolean", StrOptions(set(DEBIAS))],
        "sparsity": [Interval(Real, 0, 1, closed="neither"), None],
        "variance": [Interval(Real, 0, None, closed="neither"), None],
        "noise_std": [Interval(Real, 0, None, closed="left"), None],
    }

    def __init__(
        self,
        dictionary: Any = None,
        *,
        sparsity: float | None = None,
        variance: float | None = None,
        noise_std: float | None = None,
        n_layers: int = 12,
        normalize: bool | str = "auto",
        guard: str | None = "auto",
        debias: bool | str = False,
        trainer: Trainer | None = None,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        random_state: Any = None,
    ) -> None:
        self.dictionary = dictionary
        self.sparsity = sparsity
        self.variance = variance
        self.noise_std = noise_std
        self.n_layers = n_layers
        self.normalize = normalize
        self.guard = guard
        self.debias = debias
        self.trainer = trainer
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state

    def build_network(self, given: Given) -> Unrolled:
        """Assemble TISTA, with the prior of the pairs or of the fit that goes on."""
        size = _size(given)  # of codes, in units of which the network sees them
        if given.resumes:
            sparsity, variance = self.sparsity_, self.variance_ / size**2
            noise_std = self.noise_std_ / size
        else:
            sparsity, variance = self._prior(given.target, given.weight, size)
            noise_std = self._noise(given.obs, given.target, given.weight, size)
        return tista(
            given.obs.A,
            sparsity=sparsity,
            variance=variance,
            noise_variance=noise_std**2,
            n_layers=self.n_layers,
        )

    def fitted_attributes(self, network: Unrolled, given: Given) -> dict:
        """Return what a fit leaves behind, the prior of the network too."""
        layer, size = network.layers[0], _size(given)
        return {
            **super().fitted_attributes(network, given),
            "sparsity_": layer.shrinkage.sparsity,
            "variance_": layer.shrinkage.variance * size**2,
            "noise_std_": layer.rule.noise_variance**0.5 * size,
        }

    def _prior(self, y: Tensor | Rows, weight: Tensor | None, size: float) -> tuple[float, float]:
        weight = y.new_empty(len(y)).fill_(1) if weight is None else weight
        count = energy = 0.0
        for rows in blocks(y):
            w, z = weight[rows], y[rows]
            count += float((w @ (z != 0).to(z.dtype)).sum())
            energy += float((w @ z.square()).sum())
        if not count:
            raise ValueError(
                "y is all zero: neither prior nor steps can be learned from it. Pass pairs with "
                "active codes."
            )
        share = count / float(weight.sum() * y.shape[1])
        # Dense codes are the limit where everything is a nonzero.
        sparsity = min(share, 1 - 1e-6) if self.sparsity is None else float(self.sparsity)
        variance = energy / count
        return sparsity, variance if self.variance is None else float(self.variance) / size**2

    def _noise(
        self, obs: Observation, y: Tensor | Rows, weight: Tensor | None, size: float
    ) -> float:
        if self.noise_std is not None:
            return float(self.noise_std) / size
        squared = torch.cat(
            [p.A.residual(p.b, y[rows]).square().mean(1) for rows, p in obs.chunks()]
        )
        weight = torch.ones_like(squared) if weight is None else weight
        return float((weight * squared).sum() / weight.sum()) ** 0.5

    def default_trainer(self, n_samples: int, has_y: bool) -> Trainer:
        """Return the recipe: layer after layer, at rates relative to the steps."""
        most = 1 if n_samples < FEW else 4 if n_samples < MANY else 20
        return Trainer(
            "supervised",
            schedule=StageWise(rates=(0.1, 0.03), layer_decay=1.0),
            learning_rate=1.0,
            # About 100 steps a stage from 4000 pairs on, in as many passes as that takes.
            **budget(n_samples, 94, batch=128, most=most),
            early_stopping=False,  # a few numbers cannot overfit
        )


def _size(given: Given) -> float:
    """Return the size of codes in units of which the network sees them."""
    scale = given.fitted["scale_"]
    return 1.0 if scale is None else scale.codes
