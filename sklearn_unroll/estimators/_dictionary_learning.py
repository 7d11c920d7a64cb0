"""Dictionaries learned from signals alone, as a scikit-learn transformer."""

from __future__ import annotations

from numbers import Integral, Real
from time import perf_counter
from typing import Any, ClassVar

from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from sklearn_unroll.estimators._arrays import own_arithmetic
from sklearn_unroll.estimators._by_coder import ByCoder
from sklearn_unroll.estimators._checked import check_observations, check_parameters
from sklearn_unroll.estimators._document import fill
from sklearn_unroll.estimators._missing import check_seen, takes_missing
from sklearn_unroll.estimators._network_coding import MOST_FINAL
from sklearn_unroll.estimators._online_data import Course, Signals, divided
from sklearn_unroll.estimators._online_start import left_behind, start_learner, warn_if_worthless
from sklearn_unroll.estimators._progress import CallbackReport
from sklearn_unroll.estimators._state import Fitting

__all__ = ["OnlineDictionaryLearning"]


@fill
class OnlineDictionaryLearning(
    ByCoder, CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """A dictionary over which signals have sparse codes, learned batch by batch.

    Minimises the mean over the samples of ``min_z 0.5 ||x - z D||^2 + alpha ||z||_1`` over
    dictionaries D whose atoms have norm one at most, by the online algorithm of [1]_. Takes the
    place of :class:`~sklearn.decomposition.MiniBatchDictionaryLearning`.

    Parameters
    ----------
    n_components : int, default=None
        Number of atoms; None takes that of dict_init, or as many as there are features.
    alpha : float, default=1.0
        Weight of the l1 norm, positive, where coder is None.
    coder : estimator, default=None
        What codes, without a dictionary, such as :class:`OMPCoder` or a :class:`LassoCoder`; None
        is ``LassoCoder(alpha=alpha, positive=positive_code)``. With the compiled coordinate
        descent of the extra ``fast`` a LassoCoder learns many times faster. A network that
        learns without pairs, such as :class:`LISTARegressor` or :class:`ALISTARegressor`, takes
        a pass of training over every batch, or has its weights computed anew as the dictionary
        moves; in the end it is trained by its own recipe for the final dictionary.
    truncate : int, default=0
        Unrolled learning [3]_: last layers of the coder, an iteration each, through which the
        gradient of the objective reaches the dictionary. Zero takes codes as they are, which is
        right where they are nearly optimal. For
        ``LISTARegressor(weights="adjoint")``, whose layers are made of the dictionary.
    batch_size : int, default=512
        Samples of a batch; at least twice n_components is a good size.
    max_iter : int, default=100
        Most passes over the data.
    tol : float, default=5e-3
        ``fit`` ends when seeing twice as many samples has lowered the monitored objective by less
        than this, relatively. Zero takes all passes.
    memory : float, default=100
        Samples, for each atom, that statistics remember: codes over older dictionaries are
        forgotten. At first they remember half of the samples seen, and never more than one pass.
    dict_init : array-like of shape (n_components, n_features), default=None
        Where atoms start, brought into the unit ball; None draws them from the samples. Atoms that
        no code uses are replaced.
    positive_code : bool, default=False
        Constrain codes to be nonnegative, where coder is None.
    positive_dict : bool, default=False
        Constrain atoms to be nonnegative.
    early_stopping : bool or "auto", default="auto"
        Whether to monitor the objective on samples that are held out, not on samples of training.
        ``"auto"`` does so from 1000 samples on.
    validation_fraction : float, default=0.1
        Share of the samples to hold out, 1000 at most.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the dictionary and the statistics of the last fit.
    random_state : int, RandomState instance or None, default=None
        Seed of first atoms, shuffles and held-out samples.

    Attributes
    ----------
    components_ : array of shape (n_components, n_features)
        The atoms, with the float dtype of X: those of the best monitored objective.
    n_components_ : int
        Number of atoms.
    coder_ : estimator
        The fitted coder over them.
    statistics_ : DictionaryStatistics
        Sums over samples and their codes, where learning goes on from.
    history_ : History
        Objectives relative to that of zero codes, and times in seconds, of the last ``fit``: a
        record for ever more batches, with the ``loss`` of the last of them before it was learned
        from, and its share in the statistics as ``learning_rate``. Where the coder meets an
        error, an l1 norm or a tolerance, it is what it makes least, l1 norms relative to norms of
        signals, atoms to their features, and by how much bounds are missed.
    n_iter_ : int
        Passes over the data of the last ``fit``.
    n_steps_ : int
        Batches so far.
    n_seen_ : float
        Samples so far, a sample counted as often as it was coded.
    %(features_)s

    See Also
    --------
    LassoCoder : Codes over a dictionary, with a certificate.
    LISTARegressor : Learns to code over a dictionary in a few layers.
    sklearn_unroll.plotting.DictionaryDisplay : The atoms as pictures.
    sklearn_unroll.plotting.HistoryDisplay : The objective over time.

    Notes
    -----
    A memory map is read a batch at a time, and nothing is kept for a sample but its place in the
    shuffle. Results scale with X and alpha, exactly by powers of two. NaN in X was not seen, where
    the coder takes it: the objective is that of what was seen, and codes over the atoms at hand
    fill in the rest, which bounds it from above and touches it, so that no update raises it [2]_.
    ``inverse_transform(transform(X))`` is complete.

    References
    ----------
    .. [1] Mairal, Bach, Ponce and Sapiro, "Online dictionary learning for sparse coding", ICML
       2009.
    .. [2] Mairal, "Stochastic majorization-minimization algorithms for large-scale optimization",
       NIPS 2013.
    .. [3] Malezieux, Moreau and Kowalski, "Understanding approximate and unrolled dictionary
       learning for pattern recovery", ICLR 2022.

    Examples
    --------
    >>> from sklearn_unroll import OnlineDictionaryLearning
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> X = make_sparse_recovery(500, 10, 15, sparsity=2, random_state=0).X
    >>> learner = OnlineDictionaryLearning(15, alpha=0.1, random_state=0).fit(X)
    >>> codes = learner.transform(X)
    >>> codes.shape, learner.inverse_transform(codes).shape
    ((500, 15), (500, 10))
    >>> bool(learner.history_[0].monitor > 1.3 * learner.history_[-1].monitor)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "coder": [HasMethods(["fit", "transform", "inverse_transform", "problem"]), None],
        "truncate": [Interval(Integral, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "memory": [Interval(Real, 0, None, closed="neither")],
        "dict_init": ["array-like", None],
        "positive_code": ["boolean"],
        "positive_dict": ["boolean"],
        "early_stopping": ["boolean", StrOptions({"auto"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        alpha: float = 1.0,
        coder: Any = None,
        truncate: int = 0,
        batch_size: int = 512,
        max_iter: int = 100,
        tol: float = 5e-3,
        memory: float = 100.0,
        dict_init: Any = None,
        positive_code: bool = False,
        positive_dict: bool = False,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.alpha = alpha
        self.coder = coder
        self.truncate = truncate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.memory = memory
        self.dict_init = dict_init
        self.positive_code = positive_code
        self.positive_dict = positive_dict
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> OnlineDictionaryLearning:
        """Learn a dictionary.

        Parameters
        ----------
        %(X)s
        %(ignored)s
        %(sample_weight)s

        Returns
        -------
        %(fitted)s

        Raises
        ------
        ValueError
            If an input or a parameter is not valid.

        Warns
        -----
        WorthlessFitWarning
            If all codes are zero.
        """
        began = perf_counter()
        with own_arithmetic(), Fitting(self) as fitting:
            work = fitting.work
            given, rng = X, check_random_state(self.random_state)
            resume = self.warm_start and work.__sklearn_is_fitted__()
            X, signals = work._take_in(X, sample_weight, reset=True)
            check_seen(X, signals.weight > 0, features=True)
            few = signals.few()
            signals, held_out = divided(signals, work, rng)
            course = Course.of(signals, held_out, work, rng)
            learner = start_learner(work, signals, resume, self.max_iter, rng)
            learner.horizon, before = float(len(signals)), learner.n_steps

            def state() -> dict:
                return fitting.changes() | left_behind(work, few, learner)

            report = CallbackReport(self, 1, given, None, {"sample_weight": sample_weight}, state)
            history = course.follow(learner, signals, report, rng, began)
            report.fit_ends()
            vars(work).update(left_behind(work, few, learner, signals.some(MOST_FINAL, rng)))
            work.history_ = history
            work.n_iter_ = -(-(learner.n_steps - before) // course.n_batches)
            warn_if_worthless(work)
        return self

    @_fit_context(prefer_skip_nested_validation=False)
    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: Any = None
    ) -> OnlineDictionaryLearning:
        """Learn from one batch of a stream.

        Parameters
        ----------
        %(X)s
        %(ignored)s
        %(sample_weight)s

        Returns
        -------
        %(fitted)s
        """
        with own_arithmetic(), Fitting(self) as fitting:
            work = fitting.work
            resume = work.__sklearn_is_fitted__()
            X, signals = work._take_in(X, sample_weight, reset=not resume)
            check_seen(X, signals.weight > 0, features=False)
            rng = check_random_state(self.random_state)
            learner = start_learner(work, signals, resume, 1, rng)
            learner.learn(*signals.take(slice(None)))
            vars(work).update(left_behind(work, signals.few(), learner))
            warn_if_worthless(work)
        return self

    def _take_in(self, X: Any, sample_weight: Any, *, reset: bool) -> tuple[Any, Signals]:
        X = check_observations(self, X, reset=reset, missing=takes_missing(self.coder))
        return X, Signals.of(X, sample_weight)

    def _validate_params(self) -> None:
        check_parameters(self)
        super()._validate_params()

    def __sklearn_is_fitted__(self) -> bool:
        return "components_" in vars(self)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        tags.input_tags.allow_nan = takes_missing(self.coder)
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
