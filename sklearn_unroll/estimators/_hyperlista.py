"""HyperLISTA as a scikit-learn estimator: nothing is trained."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from itertools import pairwise
from numbers import Real
from typing import Any, ClassVar, NamedTuple

import torch
from sklearn.base import _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, Options, StrOptions
from torch import Tensor

from sklearn_unroll.estimators._adaptive_rule import largest_waking_c1, prepare
from sklearn_unroll.estimators._alista import WEIGHTS
from sklearn_unroll.estimators._arrays import own_arithmetic
from sklearn_unroll.estimators._code_methods import CodeMethods
from sklearn_unroll.estimators._codes import Codes
from sklearn_unroll.estimators._learned import Networked
from sklearn_unroll.estimators._recovery import DEBIAS
from sklearn_unroll.estimators._state import Fitting, Given
from sklearn_unroll.estimators._validation import are_labels
from sklearn_unroll.exceptions import WorthlessFitWarning
from sklearn_unroll.functional import (
    Convolution,
    Operator,
)
from sklearn_unroll.functional.rows import blocks
from sklearn_unroll.nn import AdaptiveRule, Unrolled, hyperlista

__all__ = ["HyperLISTARegressor"]

TUNE_ON = 2000  # pairs
FACTORS = (0.8, 0.87, 0.93, 0.97, 1.0, 1.07, 1.13, 1.2, 1.27)


class HyperLISTARegressor(CodeMethods, Networked):
    """Sparse codes by HyperLISTA: an analytic weight and three numbers, no training.

    Every layer takes threshold, momentum and support count from its own residual,
    ``theta_k = c1 mu ||A^+ r_k||_1``, ``beta_k = c2 mu ||x_k||_0``,
    ``p_k = c3 log(||A^+ b||_1 / ||A^+ r_k||_1)`` [1]_. ``fit`` computes the weight, the
    pseudo-inverse and the coherence mu. The codes scale with the data, exactly. Atoms are
    normalised inside and codes rescaled.

    Parameters
    ----------
    %(dictionary)s
        A :class:`~sklearn_unroll.functional.Convolution` with a circular boundary is taken too,
        and is only applied.
    c1, c2 : float or "auto", default="auto"
        Threshold and momentum. ``"auto"`` starts from ``0.75 / (mu s)`` and ``0.214 / (mu s)``
        with s the number of nonzeros, a rule that carries over from size to size (published
        constants such as (0.07, 0.02) carry the size 250x500 in them), and from no more than
        0.7 of the c1 that leaves an observation of ``fit`` at the zero code for ever. With y,
        c1 is then tuned on the first 2000 pairs, from 0.8 to 1.2 times that: noise wants more.
    c3 : float or "auto", default="auto"
        Entries that may pass unshrunk, per unit of log progress. ``"auto"`` is infinite: hard
        thresholds after the first layer.
    n_nonzero : float or None, default=None
        Expected number of nonzeros of a code, at least one; no share. None counts them in y;
        without y it is a fifth of n_features, about the most that recovery at this noise can do.
    %(n_layers)s
    %(guard)s
    %(debias)s
    weights : {"analytic", "symmetric", "minimax"}, default="analytic"
        Which analytic weight, see :class:`~sklearn_unroll.ALISTARegressor`. The published one is
        symmetric; the default recovers as well, and saves one of three matrix products a layer.
        Where the symmetric one does not exist the analytic one is taken.
    memory : str or object with the joblib.Memory interface, default=None
        Where to cache the weight, for searches over the three numbers.
    %(device)s

    Attributes
    ----------
    %(network_)s
    %(dictionary_)s
    c1_, c2_, c3_ : float
        The three numbers in use.
    mu_ : float
        Generalised mutual coherence of weight and dictionary.
    %(debias_)s
    %(guard_)s
    n_nonzero_ : float
        Expected number of nonzeros.
    %(features_)s

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

    task = Codes(unit_atoms=True)
    _parameter_constraints: ClassVar[dict] = {
        **Networked._parameter_constraints,
        **CodeMethods._parameter_constraints,
        "dictionary": ["array-like", Convolution, None],
        "debias": ["boolean", StrOptions(set(DEBIAS))],
        "c1": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "c2": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "c3": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"auto"}),
            Options(Real, {float("inf")}),
        ],
        "n_nonzero": [Interval(Real, 1, None, closed="left"), None],
        "weights": [StrOptions(set(WEIGHTS))],
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
        guard: str | None = "auto",
        debias: bool | str = False,
        weights: str = "analytic",
        memory: Any = None,
        device: str | torch.device = "auto",
    ) -> None:
        self.dictionary = dictionary
        self.c1 = c1
        self.c2 = c2
        self.c3 = c3
        self.n_nonzero = n_nonzero
        self.n_layers = n_layers
        self.guard = guard
        self.debias = debias
        self.weights = weights
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
            One label for each sample is ignored where it was.

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
            If c1 is so large that some observations stay at the zero code for ever, or if the
            codes explain the observations worse than zeros would.
        """
        with own_arithmetic(), Fitting(self) as fitting:
            work = fitting.work
            if y is not None and self.dictionary is not None:
                # Labels of a later step of a Pipeline: nothing here needs them.
                D = self.dictionary
                n_components = len(D) if hasattr(D, "__len__") else 0
                n_components = D.n_components if self.applies_operators else n_components
                y = None if are_labels(y, n_components) else y
            given = self.task.take_in(work, X, y, None)
            W, pinv, mu = prepare(self.weights, given.obs.A, self.memory)
            waking = largest_waking_c1(given.obs, W, pinv, mu)
            start = Start(W, pinv, mu, float(waking.min()))
            tuned = [self._tune(start, given, n) for n in self._expected_nonzeros(given)]
            # Pairs are to make nothing worse: also of codes that are nowhere zero.
            c1, c2, c3, n_nonzero, network = min(tuned, key=lambda t: pair_error(t[-1], given))
            work.network_ = network.eval()
            vars(work).update(given.fitted | self.task.state(work, work.network_, given))
            work.c1_, work.c2_, work.c3_ = c1, c2, c3
            work.mu_, work.n_nonzero_ = mu, n_nonzero
            work._warn_if_useless(given, waking)
        return self

    @property
    def applies_operators(self) -> bool:
        """Whether the dictionary is an operator whose weight is one too: a convolution."""
        return isinstance(self.dictionary, Convolution)

    @torch.no_grad()
    def _warn_if_useless(self, given: Given, waking: Tensor) -> None:
        asleep = int((self.c1_ >= waking).sum())
        if not asleep:
            self.task.judge(self, self.network_, given, None)
            return
        least = float(waking.min())
        remedy = (
            f"Set c1='auto', or below {least:.4g}, where all of them leave it"
            if least > 0
            else "Some are orthogonal to all atoms, and nothing can code them"
        )
        warnings.warn(
            f"c1={self.c1_:.4g} is too large: {asleep} of the first {len(waking) - 1} nonzero "
            f"observations never leave the zero code. {remedy}.",
            WorthlessFitWarning,
            stacklevel=3,
        )

    def _tune(self, start: Start, given: Given, n_nonzero: float) -> tuple:
        """Return the three numbers, what they were made for, and the network."""
        W, pinv, mu, waking = start
        # A coherence of zero makes every threshold zero, whatever the constants.
        unit = 1 / (mu * n_nonzero) if mu > 0 else 1.0
        c2 = 0.214 * unit if self.c2 == "auto" else float(self.c2)
        c3 = float("inf") if self.c3 == "auto" else float(self.c3)

        def network(c1: float) -> Unrolled:
            return hyperlista(W, AdaptiveRule(pinv, mu, c1, c2, c3), n_layers=self.n_layers)

        first = min(0.75 * unit, 0.7 * waking)
        if self.c1 != "auto":
            c1 = float(self.c1)
        else:
            c1 = first if given.target is None else best_c1(network, first, given)
        return c1, c2, c3, n_nonzero, network(c1)

    def _expected_nonzeros(self, given: Given) -> list[float]:
        """Return how many nonzeros codes may have: what is known, or what is to be tried."""
        if self.n_nonzero is not None:
            return [float(self.n_nonzero)]
        usual = max(given.obs.A.n_features / 5, 1.0)
        if given.target is None:
            return [usual]
        y = given.target
        count = torch.cat([(y[rows] != 0).sum(1).double() for rows in blocks(y)])
        if bool((count < y.shape[1]).any()):
            return [max(float(count.mean()), 1.0)]
        # Of compressible codes, which are nowhere zero, those count that carry the energy: for
        # normal numbers it is pi / 2 times ||y||_1^2 / ||y||_2^2.
        parts = (y[rows].double() for rows in blocks(y))
        ratio = torch.cat([z.abs().sum(1).square() / z.square().sum(1) for z in parts])
        return [max(float((math.pi / 2 * ratio).mean()), 1.0), usual]


class Start(NamedTuple):
    """What all candidates share: weight, what the rule looks through, coherence, largest c1."""

    W: Tensor | Operator
    pinv: Tensor
    mu: float
    waking: float


@torch.no_grad()
def pair_error(network: Unrolled, given: Given) -> float:
    """Return the squared error on pairs; infinite where it is no number, zero without pairs."""
    if given.target is None:
        return 0.0
    obs, y = given.obs.take(slice(TUNE_ON)), given.target[:TUNE_ON]
    squared = ((network(c) - y[rows]).square().double().sum() for rows, c in obs.chunks())
    return float(sum(squared).nan_to_num(nan=torch.inf))


@torch.no_grad()
def best_c1(network: Callable[[float], Unrolled], start: float, given: Given) -> float:
    """Return the largest c1 around a start whose squared error on pairs is about the least.

    Too large a c1 lets rare samples stall, one in thousands, and so perhaps none of these pairs:
    a candidate counts with the next larger one. A larger c1 bears more noise, so that it is
    preferred where it costs less than 1 dB, errors below -75 dB not counted.
    """
    obs, y = given.obs.take(slice(TUNE_ON)), given.target[:TUNE_ON]
    candidates = [start * factor for factor in FACTORS]

    def error(c1: float) -> float:
        net = network(c1)
        return sum(
            float((net(chunk) - y[rows]).square().sum(dtype=torch.float64))
            for rows, chunk in obs.chunks()
        )

    errors = [error(c1) for c1 in candidates]
    negligible = 10**-7.5 * float(y.square().sum(dtype=torch.float64))
    pairs = [max(two) + negligible for two in pairwise(errors)]
    good = [c1 for c1, worse in zip(candidates, pairs, strict=False) if worse <= 1.26 * min(pairs)]
    return max(good)
