"""HyperLISTA as a scikit-learn estimator: nothing is trained."""

from __future__ import annotations

import warnings
from numbers import Real
from typing import Any, ClassVar

import torch
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import HasMethods, Interval, Options, StrOptions
from torch import Tensor

from sklearn_unroll.estimators._alista import WEIGHTS, compute_weight
from sklearn_unroll.estimators._base import BaseUnrolledRegressor, Given, all_or_nothing
from sklearn_unroll.functional import Observation, mutual_coherence, pseudo_inverse
from sklearn_unroll.nn import AdaptiveRule, hyperlista

__all__ = ["HyperLISTARegressor"]


class HyperLISTARegressor(BaseUnrolledRegressor):
    """Sparse codes by HyperLISTA: an analytic weight and three numbers, no training.

    Every layer takes threshold, momentum and support count from its own residual,
    ``theta_k = c1 mu ||A^+ r_k||_1``, ``beta_k = c2 mu ||x_k||_0``,
    ``p_k = c3 log(||A^+ b||_1 / ||A^+ r_k||_1)`` [1]_. ``fit`` computes the weight, the
    pseudo-inverse and the coherence mu. The codes scale with the data, exactly. Atoms are
    normalised inside and codes rescaled.

    Parameters
    ----------
    dictionary : array-like of shape (n_components, n_features), default=None
        Rows are atoms, ``X ~ codes @ dictionary``. None estimates it from the pairs.
    c1, c2 : float or "auto", default="auto"
        Threshold and momentum. ``"auto"`` takes ``0.75 / (mu s)`` and ``0.214 / (mu s)`` with s
        the number of nonzeros, a rule that carries over from size to size (published constants
        such as (0.07, 0.02) carry the size 250x500 in them), and for c1 no more than 0.7 of
        what leaves an observation of ``fit`` at the zero code for ever.
    c3 : float or "auto", default="auto"
        Entries that may pass unshrunk, per unit of log progress. ``"auto"`` is infinite: hard
        thresholds after the first layer.
    n_nonzero : float or None, default=None
        Expected number of nonzeros of a code. None counts them in y; without y it is a fifth
        of n_features, about the most that recovery at this noise can do.
    n_layers : int, default=16
        Number of layers. With noise, stop at 8 to 12.
    weight : {"analytic", "symmetric", "minimax"}, default="analytic"
        Which analytic weight, see :class:`~sklearn_unroll.ALISTARegressor`. The published one is
        symmetric; the default recovers as well, and saves one of three matrix products a layer.
        Where the symmetric one does not exist the analytic one is taken.
    memory : str or object with the joblib.Memory interface, default=None
        Where to cache the weight, for searches over the three numbers.
    device : str or torch.device, default="auto"
        Where to compute, see :class:`~sklearn_unroll.LISTARegressor`.

    Attributes
    ----------
    network_ : Unrolled
        The network.
    dictionary_ : array of shape (n_components, n_features)
        The dictionary in use, as given.
    c1_, c2_, c3_ : float
        The three numbers in use.
    mu_ : float
        Generalised mutual coherence of weight and dictionary.
    n_nonzero_ : float
        Expected number of nonzeros.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where X had names.

    See Also
    --------
    ALISTARegressor : Learns two scalars a layer, for data unlike the theory's.

    References
    ----------
    .. [1] Chen, X., Liu, J., Wang, Z. and Yin, W., "Hyperparameter tuning is all you need for
       LISTA", NeurIPS 2021.

    Examples
    --------
    >>> from sklearn_unroll import HyperLISTARegressor
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.metrics import nmse_db
    >>> data = make_sparse_recovery(200, 125, 250, random_state=0)
    >>> model = HyperLISTARegressor(data.dictionary).fit(data.X, data.y)
    >>> bool(nmse_db(data.y, model.predict(data.X)) < -20)  # dB
    True
    """

    _unit_atoms: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict] = {
        **BaseUnrolledRegressor._parameter_constraints,
        "c1": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "c2": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "c3": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"auto"}),
            Options(Real, {float("inf")}),
        ],
        "n_nonzero": [Interval(Real, 0, None, closed="neither"), None],
        "weight": [StrOptions(set(WEIGHTS))],
        "memory": [str, HasMethods(["cache"]), None],
    }

    def __init__(
        self,
        dictionary: Any = None,
        *,
        c1: float | str = "auto",
        c2: float | str = "auto",
        c3: float | str = "auto",
        n_nonzero: float | None = None,
        n_layers: int = 16,
        weight: str = "analytic",
        memory: Any = None,
        device: str | torch.device = "auto",
    ) -> None:
        self.dictionary = dictionary
        self.c1 = c1
        self.c2 = c2
        self.c3 = c3
        self.n_nonzero = n_nonzero
        self.n_layers = n_layers
        self.weight = weight
        self.memory = memory
        self.device = device

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> HyperLISTARegressor:
        """Compute the weight and the three numbers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations: they set dtype and device, and show whether c1 lets them wake up.
        y : array-like of shape (n_samples, n_components), default=None
            True codes, for the number of nonzeros, and for the dictionary if none was given.

        Returns
        -------
        self : estimator
            The fitted estimator.

        Raises
        ------
        ValueError
            If an input or a parameter is not valid.

        Warns
        -----
        ConvergenceWarning
            If c1 is so large that some observations stay at the zero code for ever.
        """
        with all_or_nothing(self):
            given = self._prepare(X, y, None, reset=True)
            D = given.obs.A.D
            W = compute_weight(self.weight, D, self.memory)
            mu = float(mutual_coherence(W, D)) if len(D) > 1 else 0.0
            n_nonzero = self._expected_nonzeros(given)
            pinv = pseudo_inverse(D)
            # A coherence of zero makes every threshold zero, whatever the constants.
            unit = 1 / (mu * n_nonzero) if mu > 0 else 1.0
            waking = largest_waking_c1(given.obs, W, pinv, mu)
            if self.c1 == "auto":
                c1 = min(0.75 * unit, 0.7 * float(waking.min()))
            else:
                c1 = float(self.c1)
            c2 = 0.214 * unit if self.c2 == "auto" else float(self.c2)
            c3 = float("inf") if self.c3 == "auto" else float(self.c3)
            if self.weight == "analytic":
                pinv = (pinv * D).sum(1)  # leverages: one matrix product less in every layer
            rule = AdaptiveRule(pinv, mu, c1, c2, c3)
            network = hyperlista(W, rule, n_layers=self.n_layers)
            vars(self).update(self._fitted_state(network, given.D, given.X))
            self.c1_, self.c2_, self.c3_ = c1, c2, c3
            self.mu_, self.n_nonzero_ = mu, n_nonzero
        if c1 >= float(waking.min()):
            warnings.warn(
                f"c1={c1:.4g} is too large: {int((c1 >= waking).sum())} of the first "
                f"{len(waking) - 1} nonzero observations never leave the zero code. All of them "
                f"do for c1 < {float(waking.min()):.4g}.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def _expected_nonzeros(self, given: Given) -> float:
        if self.n_nonzero is not None:
            return float(self.n_nonzero)
        if given.codes is None:
            return max(given.D.shape[1] / 5, 1.0)
        return max(float((given.codes != 0).sum(1).double().mean()), 1.0)


def largest_waking_c1(obs: Observation, W: Tensor, pinv: Tensor, mu: float) -> Tensor:
    """Return, per sample, the c1 from which on the zero code is a fixed point.

    The first layer leaves zero where ``c1 mu ||A^+ b||_1 < ||W b||_inf``.
    """
    b = obs.b[:5000]
    b = b[b.any(1)]
    reach = (b @ W.T).abs().amax(1)
    error = mu * (b @ pinv.T).abs().sum(1)
    # With a coherence or observations of zero there is nothing to wake up from.
    return torch.cat([reach / error, b.new_tensor([float("inf")])])
