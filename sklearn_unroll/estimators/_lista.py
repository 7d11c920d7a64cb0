"""LISTA and its variants as a scikit-learn estimator."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import torch
from scipy.sparse.linalg import LinearOperator
from sklearn.utils._param_validation import Interval, StrOptions

from sklearn_unroll.estimators._code_methods import CodeMethods
from sklearn_unroll.estimators._codes import Codes
from sklearn_unroll.estimators._groups import groups_of_fit
from sklearn_unroll.estimators._learned import Learned
from sklearn_unroll.estimators._lista_start import (
    SELECTION,
    Start,
    nearer_start,
    selecting_start,
)
from sklearn_unroll.estimators._normal import (
    SHRINKAGES,
    draw_weights,
    normal_trainer,
    sharpness_of,
)
from sklearn_unroll.estimators._recovery import DEBIAS
from sklearn_unroll.estimators._start import (
    check_support_selection,
    has_sparse_codes,
    label_free_trainer,
    quick_trainer,
)
from sklearn_unroll.estimators._state import Given
from sklearn_unroll.functional import Operator
from sklearn_unroll.nn import SmoothThreshold, Unrolled, lista, smooth_lista
from sklearn_unroll.nn.lista import WEIGHTS
from sklearn_unroll.training import EndToEnd, Trainer

__all__ = ["LISTARegressor"]

# Of matrices that start from an analytic weight, relative to their size.
MATRIX_RATE = 0.01


class LISTARegressor(CodeMethods, Learned):
    """Sparse codes by a learned, unrolled ISTA.

    Before training the network is ISTA with ``n_layers`` iterations on
    ``0.5 ||x - z D||^2 + alpha ||z||_1``. With pairs, ``fit(X, y)`` learns to recover the
    codes y; without, ``fit(X)`` learns to minimise the problem itself.

    Parameters
    ----------
    %(dictionary)s
    alpha : float, default=0.1
        Weight of the l1 norm. It is the objective of a fit without y, and sets the first
        thresholds of a fit with y; with ``init="normal"`` it is the threshold of all layers.
    %(n_layers)s
    weights : {"coupled", "free", "adjoint"}, default="coupled"
        ``"coupled"``: ``x + W_k (b - A x)``, LISTA-CP [2]_. ``"free"``: ``W1_k b + W2_k x``,
        LISTA [1]_; more parameters, and no use of the dictionary after the first step.
        ``"adjoint"``: ``x + gamma_k A^T (b - A x)`` with threshold ``alpha gamma_k``,
        step-LISTA [3]_: one number a layer, for fits without y; the dictionary may then be an
        :class:`~sklearn_unroll.functional.Operator` or a
        :class:`scipy.sparse.linalg.LinearOperator`, ``A = dictionary.T``, too.
    tied : bool, default=False
        Share the weights among the layers; each layer keeps its own scalars.
    learn_step : bool or "auto", default="auto"
        Give each layer a learned step size too; for coupled weights (adjoint ones always do).
        ``"auto"`` does so where ``init="auto"`` begins from pairs.
    support_selection : tuple of (float, float), "auto" or None, default="auto"
        The largest entries pass unshrunk: ``min(first * k, second)`` percent of them in layer
        k; (1.2, 13.0) was published for 10 % support, (2.0, 100.0) has no cap that signals
        with many nonzeros could exceed. None shrinks all. ``"auto"`` takes the latter where
        ``init="auto"`` begins with analytic weights, else none.
    shrinkage : {"soft", "smooth"}, default="soft"
        ``"smooth"`` has derivatives of every order, as optimisation guarantees need, and no
        codes that are exactly zero; the untrained network is then not ISTA.
    sharpness : float, default=1.0
        Of the smooth shrinkage, see :func:`~sklearn_unroll.functional.smooth_soft`.
    init : {"auto", "ista", "analytic", "random", "normal"}, default="auto"
        Where training starts: from ISTA, or from ALISTA's weight and thresholds that fit the
        pairs, which is a hundred times nearer where signals are truly sparse and the
        dictionary is incoherent. ``"auto"`` takes, for coupled weights and codes y with zeros,
        that of the two whose codes are nearer to y, and else ISTA; ``start_`` says which.
        ``"random"``: from weights of standard deviation 0.01, with
        ISTA's thresholds: the layers then need not descend, see
        :class:`~sklearn_unroll.training.Descent`. ``"normal"``: from standard normal numbers,
        for free weights, with scales ``1 / sqrt(n)`` inside and thresholds alpha that are not
        learned, the network whose training is analysed in [4]_ (there with ``shrinkage="smooth"``,
        ``alpha=1`` and ``n_layers=6``).
    %(groups)s
    %(normalize)s
    %(alpha_relative)s
    %(guard)s
    %(debias)s
    %(trainer)s
    %(warm_start)s
    %(device)s
    %(random_state)s

    Attributes
    ----------
    %(network_)s
    %(dictionary_)s
    start_ : Start
        Where training began: weights, support selection, and whether steps are learned.
    %(debias_)s
    %(norm_)s
    %(guard_)s
    %(training_)s
    %(features_)s

    See Also
    --------
    sklearn.decomposition.SparseCoder : Classical solvers for the same codes.
    sklearn_unroll.solvers.fista : The batched classical solver to compare with.

    Notes
    -----
    The network computes in the dtype of the fit (float32 is about twice as fast as float64)
    and returns codes in the dtype of its input.

    References
    ----------
    .. [1] Gregor, K. and LeCun, Y., "Learning fast approximations of sparse coding", ICML 2010.
    .. [2] Chen, X., Liu, J., Wang, Z. and Yin, W., "Theoretical linear convergence of
       unfolded ISTA and its practical weights and thresholds", NeurIPS 2018.
    .. [3] Ablin, P., Moreau, T., Massias, M. and Gramfort, A., "Learning step sizes for
       unfolded sparse coding", NeurIPS 2019.
    .. [4] Shah, S. B., Pradhan, P., Pu, W., Randhi, R., Rodrigues, M. R. D. and Eldar, Y. C.,
       "Optimization guarantees of unfolded ISTA and ADMM networks with smooth
       soft-thresholding", IEEE Transactions on Signal Processing 72, 2024.

    Examples
    --------
    >>> from sklearn_unroll import LISTARegressor, Trainer
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.metrics import nmse_db
    >>> data = make_sparse_recovery(
    ...     n_samples=400, n_features=20, n_components=30, sparsity=2, random_state=0
    ... )
    >>> model = LISTARegressor(
    ...     data.dictionary, n_layers=8, trainer=Trainer(learning_rate=3e-3), random_state=0
    ... )
    >>> codes = model.fit(data.X, data.y).predict(data.X)
    >>> codes.shape
    (400, 30)
    >>> bool(nmse_db(data.y, codes) < -10)  # dB
    True
    """

    task = Codes()
    _parameter_constraints: ClassVar[dict] = {
        **Learned._parameter_constraints,
        **CodeMethods._parameter_constraints,
        "dictionary": ["array-like", Operator, LinearOperator, None],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "debias": ["boolean", StrOptions(set(DEBIAS))],
        "weights": [StrOptions(set(WEIGHTS))],
        "tied": ["boolean"],
        "learn_step": ["boolean", StrOptions({"auto"})],
        "support_selection": [tuple, list, StrOptions({"auto"}), None],
        "shrinkage": [StrOptions(set(SHRINKAGES))],
        "sharpness": [Interval(Real, 0, None, closed="neither")],
        "init": [StrOptions({"auto", "ista", "analytic", "random", "normal"})],
    }

    def __init__(
        self,
        dictionary: Any = None,
        *,
        alpha: float = 0.1,
        n_layers: int = 16,
        weights: str = "coupled",
        tied: bool = False,
        learn_step: bool | str = "auto",
        support_selection: tuple[float, float] | str | None = "auto",
        shrinkage: str = "soft",
        sharpness: float = 1.0,
        init: str = "auto",
        groups: Any = None,
        normalize: bool | str = "auto",
        alpha_relative: bool = False,
        guard: str | None = "auto",
        debias: bool | str = False,
        trainer: Trainer | None = None,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        random_state: Any = None,
    ) -> None:
        self.dictionary = dictionary
        self.alpha = alpha
        self.n_layers = n_layers
        self.weights = weights
        self.tied = tied
        self.learn_step = learn_step
        self.support_selection = support_selection
        self.shrinkage = shrinkage
        self.sharpness = sharpness
        self.init = init
        self.groups = groups
        self.normalize = normalize
        self.alpha_relative = alpha_relative
        self.guard = guard
        self.debias = debias
        self.trainer = trainer
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state

    @property
    def _selects(self) -> bool:
        return self.support_selection not in ("auto", None)

    @property
    def takes_operators(self) -> bool:
        """Whether each observation may have a dictionary of its own."""
        return self.weights == "adjoint"

    applies_operators = takes_operators  # no weight has the dictionary's size

    @property
    def guards_whole(self) -> bool:
        """Whether inner layers hold no codes, so that only the answer can be guarded."""
        return self.init == "normal"

    def build_network(self, given: Given) -> Unrolled:
        """Assemble LISTA."""
        self._check_parts()
        if self.init == "normal":
            given.fitted["start_"] = Start("normal", None, False)
            return smooth_lista(
                given.obs.A,
                generator=given.generator,
                n_layers=self.n_layers,
                theta=float(self.alpha),
                sharpness=sharpness_of(self.shrinkage, self.sharpness),
                tied=self.tied,
            )
        start, network = self._settle_start(given)
        given.fitted["start_"] = start
        if self.init == "random":
            draw_weights(network, given.generator)
        if self.shrinkage == "smooth":
            for layer in network.layers:
                layer.shrinkage = SmoothThreshold(self.sharpness)
        return network

    def normalizes(self, has_y: bool) -> bool:
        """Return whether ``normalize="auto"`` does so: in a fit with y, but for init='normal'."""
        return has_y and self.init != "normal"

    def _check_parts(self) -> None:
        if self.learn_step is True and self.weights == "free":
            raise ValueError("learn_step=True needs weights='coupled': free weights have no step.")
        if self.init == "normal" and self.weights != "free":
            raise ValueError(
                f"init='normal' needs weights='free', matrices on the data and on the codes; got "
                f"weights={self.weights!r}, which use the dictionary in every layer."
            )
        if self.init == "random" and self.weights == "adjoint":
            raise ValueError("init='random' needs weights='free' or 'coupled' to be drawn.")
        if self.init == "normal" and self._selects:
            raise ValueError(
                "init='normal' has no support selection, which is for layers that approach "
                "codes: use support_selection=None."
            )
        if self.shrinkage == "smooth" and self._selects:
            raise ValueError(
                "shrinkage='smooth' leaves no entry unshrunk: use support_selection=None."
            )
        if self.shrinkage == "smooth" and self.init == "analytic":
            raise ValueError(
                "init='analytic' fits thresholds to the pairs, soft ones: shrinkage='soft'."
            )
        if self.groups is not None and (self.shrinkage == "smooth" or self.init == "normal"):
            raise ValueError(
                f"groups are shrunk by the soft threshold of their norms, without init='normal'; "
                f"got shrinkage={self.shrinkage!r} and init={self.init!r}."
            )
        if self.shrinkage == "smooth" and self.debias:
            raise ValueError(
                "debias needs codes with zeros, and shrinkage='smooth' has none: debias=False."
            )

    def _settle_start(self, given: Given) -> tuple[Start, Unrolled]:
        """Return where training begins, as the fitted network did where it goes on."""
        if given.resumes:
            asked = {"support_selection": self.support_selection, "learn_step": self.learn_step}
            asked = {name: value for name, value in asked.items() if value != "auto"}
            start = self.start_._replace(**asked)
            return start, self._network(start, given)
        sparse = has_sparse_codes(given)
        if sparse and self._seeks_start:
            step = self.weights == "coupled" and self.learn_step is not False
            if self.support_selection == "auto" and self.init == "auto":
                return nearer_start(self, given, step)
            selection = SELECTION if self.support_selection == "auto" else self.support_selection
            start = Start("analytic", selection, step)
        elif self.init == "analytic":
            raise ValueError(
                "init='analytic' needs weights to start from, and pairs whose codes have zeros, "
                f"to fit thresholds to; got weights={self.weights!r} and "
                f"{'such' if sparse else 'no such'} pairs. Use init='ista'."
            )
        else:
            selection = None if self.support_selection == "auto" else self.support_selection
            start = Start("ista", selection, self.learn_step is True)
        return start, self._network(start, given)

    def _network(self, start: Start, given: Given) -> Unrolled:
        if start.weights != "ista":
            return selecting_start(self, given, start)
        groups = groups_of_fit(self, given)
        return lista(
            given.obs.A,
            n_layers=self.n_layers,
            weights=self.weights,
            tied=self.tied,
            learn_step=start.learn_step,
            counts=check_support_selection(
                start.support_selection, self.n_layers, given.obs.A.n_components, groups
            ),
            alpha=self.alpha,
            penalty=groups,
        )

    @property
    def _seeks_start(self) -> bool:
        """Whether pairs with sparse codes make training start elsewhere than at ISTA."""
        if self.init == "analytic":
            return self.weights != "adjoint"
        if self.init != "auto" or self.weights == "adjoint" or self.shrinkage == "smooth":
            return False
        if self.support_selection == "auto":
            return self.weights == "coupled"
        return self.support_selection is not None

    def default_trainer(self, n_samples: int, has_y: bool) -> Trainer:
        """Return the recipe of weights that start as ISTA's, analytic, or normal."""
        if self.init == "normal":
            return normal_trainer(n_samples)
        if has_y and self._seeks_start:
            return quick_trainer(n_samples, schedule=EndToEnd(matrix_rate=MATRIX_RATE))
        if not has_y:
            return label_free_trainer(self, n_samples)
        return super().default_trainer(n_samples, has_y)
