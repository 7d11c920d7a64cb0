"""ADMM-CSNet as a scikit-learn estimator: the operator may be any, y may be pictures."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from scipy.sparse.linalg import LinearOperator
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from sklearn_unroll.estimators._code_methods import CodeMethods
from sklearn_unroll.estimators._codes import Codes
from sklearn_unroll.estimators._learned import Learned
from sklearn_unroll.estimators._pictures import check_image_shape
from sklearn_unroll.estimators._shell import Seen
from sklearn_unroll.estimators._state import Given
from sklearn_unroll.functional import Dense, Operator, Penalty, Zero
from sklearn_unroll.nn import Unrolled, admm_csnet, dense_admm, smooth_admm
from sklearn_unroll.nn.admm_csnet import STAGES
from sklearn_unroll.training import Trainer

__all__ = ["ADMMCSNetRegressor"]

_PIXELS, _STEPS = 16_384, 240  # of a minibatch, and minibatches: two minutes on two cores


class ADMMCSNetRegressor(CodeMethods, Learned):
    """Pictures, or codes, from few linear measurements, by a learned, unrolled ADMM.

    ``fit(X, y)`` learns from observations X and what they were taken of, y. With the default
    ``parametrization="structured"`` it is ADMM-CSNet [1]_ [2]_: each layer solves
    ``(A^T A + rho I) x = A^T b + rho (z - u)`` in closed form for the operator at hand,
    shrinks x by learned filters and learned piecewise-linear functions to z, and moves the
    multiplier u at a learned rate. Untrained it is a good classical method, so that a few
    pictures and minutes suffice to train it.

    Parameters
    ----------
    operator : Operator, LinearOperator, array-like of shape (n_components, n_features) or None, \
            default=None
        What took the observations: one of :mod:`sklearn_unroll.functional`, such as
        :class:`~sklearn_unroll.functional.MaskedFourier` (whose complex observations are
        real rows here, ``[Re | Im]``, see :func:`~sklearn_unroll.functional.pack_complex`); or
        any of scipy, the paper's A; or a dictionary, rows are atoms. None estimates a dictionary
        from the pairs.
    parametrization : {"structured", "dense"}, default="structured"
        ``"dense"``: matrices W1 and W2 are learned in each layer in place of the closed form,
        and the threshold, ``x = W1 b + W2 (z - u)``; for vectors of a few hundred entries.
        This is the network of optimisation guarantees that goes by the name of ADMM-CSNet [3]_.
    image_shape : tuple of (int, int) or None, default=None
        Height and width of the picture, or pictures, that each row of y holds. None: rows are no
        pictures, and the structured network learns one function that shrinks every entry.
    stage : {"generic", "basic"}, default="generic"
        For pictures. ``"generic"``: a pair of convolutions shrinks the picture; any operator.
        ``"basic"``: the responses of learned filters are shrunk, a third of the time a
        layer; for MaskedFourier.
    n_layers : int, default=8
        Number of layers.
    alpha : float or None, default=None
        Weight of the penalty in the problem that the network starts from: first thresholds are
        ``alpha / rho``. None: thresholds of 0.03, for pictures in unit scale without noise;
        dense networks take 0.1.
    rho : float or None, default=None
        First weight of the constraint of ADMM, positive. None takes ``0.03 ||A||_2^2``, and
        ``0.1 ||A||_2^2`` in dense networks.
    filter_size : int or None, default=None
        Height and width of the filters, odd; None is 5 in generic stages and 3 in basic ones.
    n_knots : int, default=101
        Control points of each piecewise-linear function, odd.
    limit : float, default=1.0
        The range of these points, ``[-limit, limit]``; the size of pixels, or of codes.
    tied : bool, default=False
        Share the parameters among the layers, all but their rates; dense networks share
        their matrices.
    consistent : bool, default=False
        End with the nearest pictures that agree with the observations; for structured networks
        and noiseless data.
    init : {"admm", "normal"}, default="admm"
        Where dense networks start: at ADMM, or at N(0, 1) weights, a threshold of one that stays,
        and scales as the guarantees have them.
    sharpness : float, default=inf
        Of the threshold of dense networks, see :func:`~sklearn_unroll.functional.smooth_soft`:
        infinity is the soft threshold, and the guarantees have 1.
    %(normalize)s
    trainer : Trainer, default=None
        How to train; None takes minibatches of about 65,000 pixels, 600 of them or more.
    %(warm_start)s
    %(device)s
    %(random_state)s

    Attributes
    ----------
    %(network_)s
    operator_ : Operator
        The operator in use.
    dictionary_ : array of shape (n_components, n_features) or None
        The dictionary in use, where the operator is one.
    debias_ : None
        As codes here need not be sparse, none.
    %(training_)s
    %(features_)s

    See Also
    --------
    sklearn_unroll.datasets.radial_mask : Which entries of Fourier space to sample.
    sklearn_unroll.solvers.analysis_admm : The classical algorithm of basic stages.

    Notes
    -----
    What is learned does not depend on the units of pictures and samples, but new samples of
    pictures are to come in those of ``fit``. A network is for one operator; for others train
    others, which may start from this one by ``warm_start``.

    References
    ----------
    .. [1] Yang, Y., Sun, J., Li, H. and Xu, Z., "Deep ADMM-Net for compressive sensing MRI",
       NIPS 2016.
    .. [2] Yang, Y., Sun, J., Li, H. and Xu, Z., "ADMM-CSNet: a deep learning approach for image
       compressive sensing", IEEE Transactions on Pattern Analysis and Machine Intelligence
       42, 2020.
    .. [3] Shah, S. B., Pradhan, P., Pu, W., Randhi, R., Rodrigues, M. R. D. and Eldar, Y. C.,
       "Optimization guarantees of unfolded ISTA and ADMM networks with smooth
       soft-thresholding", IEEE Transactions on Signal Processing 72, 2024.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll import ADMMCSNetRegressor, Trainer
    >>> from sklearn_unroll.datasets import make_phantoms, radial_mask
    >>> from sklearn_unroll.functional import MaskedFourier
    >>> from sklearn_unroll.metrics import psnr
    >>> y = make_phantoms(60, (32, 32), random_state=0)
    >>> A = MaskedFourier(radial_mask((32, 32), 0.4))
    >>> X = A(torch.from_numpy(y)).numpy()
    >>> trainer = Trainer(learning_rate=3e-3, max_epochs=3, batch_size=8)
    >>> model = ADMMCSNetRegressor(
    ...     A, image_shape=(32, 32), n_layers=4, filter_size=3, trainer=trainer, random_state=0
    ... )
    >>> pictures = model.fit(X[:50], y[:50]).predict(X[50:])
    >>> zero_filled = A.adjoint(torch.from_numpy(X[50:])).numpy()
    >>> gain = psnr(y[50:], pictures, data_range=1.0) - psnr(y[50:], zero_filled, data_range=1.0)
    >>> bool(gain > 2)  # dB
    True
    """

    task = Codes(operator="operator", needs_pairs=True)
    _parameter_constraints: ClassVar[dict] = {
        **Learned._parameter_constraints,
        **CodeMethods._parameter_constraints,
        "operator": [Operator, LinearOperator, "array-like", "sparse matrix", None],
        "parametrization": [StrOptions({"structured", "dense"})],
        "image_shape": [tuple, list, None],
        "stage": [StrOptions(set(STAGES))],
        "alpha": [Interval(Real, 0, None, closed="neither"), None],
        "rho": [Interval(Real, 0, None, closed="neither"), None],
        "filter_size": [Interval(Integral, 3, None, closed="left"), None],
        "n_knots": [Interval(Integral, 5, None, closed="left")],
        "limit": [Interval(Real, 0, None, closed="neither")],
        "tied": ["boolean"],
        "consistent": ["boolean"],
        "init": [StrOptions({"admm", "normal"})],
        "sharpness": [Interval(Real, 0, math.inf, closed="right")],
    }

    def __init__(
        self,
        operator: Any = None,
        *,
        parametrization: str = "structured",
        image_shape: tuple[int, int] | None = None,
        stage: str = "generic",
        n_layers: int = 8,
        alpha: float | None = None,
        rho: float | None = None,
        filter_size: int | None = None,
        n_knots: int = 101,
        limit: float = 1.0,
        tied: bool = False,
        consistent: bool = False,
        init: str = "admm",
        sharpness: float = math.inf,
        normalize: bool | str = "auto",
        trainer: Trainer | None = None,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        random_state: Any = None,
    ) -> None:
        self.operator = operator
        self.parametrization = parametrization
        self.image_shape = image_shape
        self.stage = stage
        self.n_layers = n_layers
        self.alpha = alpha
        self.rho = rho
        self.filter_size = filter_size
        self.n_knots = n_knots
        self.limit = limit
        self.tied = tied
        self.consistent = consistent
        self.init = init
        self.sharpness = sharpness
        self.normalize = normalize
        self.trainer = trainer
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state

    def normalizes(self, has_y: bool) -> bool:
        """Return whether ``normalize="auto"`` does so: in a fit with y, but for init='normal',
        and not for pictures, in which a dark one is not a bright one of another unit.
        """
        return has_y and self.init != "normal" and self.image_shape is None

    def scales(self, has_y: bool) -> bool:
        """Return whether a fit sees pairs in units of their size: pictures too."""
        return has_y and self.init != "normal"

    def build_network(self, given: Given) -> Unrolled:
        if self.parametrization == "structured":
            return admm_csnet(
                given.obs.A,
                image_shape=self.image_shape,
                stage=self.stage,
                n_layers=self.n_layers,
                alpha=self.alpha,
                rho=self.rho,
                filter_size=self.filter_size,
                n_knots=self.n_knots,
                limit=self.limit,
                tied=self.tied,
                consistent=self.consistent,
                like=given.obs.b.new_empty(0),
            )
        common = {"n_layers": self.n_layers, "tied": self.tied, "sharpness": self.sharpness}
        A = _written_out(given.obs.A, given.obs.b)
        if self.init == "normal":
            return smooth_admm(A, generator=given.generator, learn_gamma=True, **common)
        return dense_admm(
            A, alpha=0.1 if self.alpha is None else self.alpha, rho=self.rho, **common
        )

    def penalty_of(self, seen: Seen, alpha: Any = None) -> Penalty:
        """Return the l1 norm with alpha, none for pictures: their penalty is learned."""
        pictures = alpha is None and self.image_shape is not None
        return Zero() if pictures else super().penalty_of(seen, alpha)

    def _validate_params(self) -> None:
        super()._validate_params()
        check_image_shape(self.image_shape, channels=False)

    def default_trainer(self, n_samples: int, has_y: bool) -> Trainer:
        if self.parametrization == "dense" or self.image_shape is None:
            return super().default_trainer(n_samples, has_y)
        # Of pictures few are enough: each has thousands of pixels, and takes as long as they do.
        batch = min(max(_PIXELS // max(math.prod(self.image_shape), 1), 1), 64)
        epochs = min(math.ceil(_STEPS * batch / max(n_samples, 1)), 100)
        return Trainer(learning_rate=3e-3, max_epochs=epochs, max_steps=_STEPS, batch_size=batch)


def _written_out(A: Operator, like: Tensor) -> Dense:
    if isinstance(A, Dense):
        return A
    return Dense(A(torch.eye(A.n_components, dtype=like.dtype, device=like.device)))
