"""Ada-LISTA as a scikit-learn estimator: the dictionary is an input, one per observation."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from sklearn_unroll.estimators._code_methods import CodeMethods
from sklearn_unroll.estimators._codes import Codes
from sklearn_unroll.estimators._groups import groups_of_fit
from sklearn_unroll.estimators._learned import Learned
from sklearn_unroll.estimators._recovery import DEBIAS
from sklearn_unroll.estimators._start import label_free_trainer
from sklearn_unroll.estimators._state import Given
from sklearn_unroll.nn import Unrolled, ada_lista
from sklearn_unroll.training import Trainer

__all__ = ["AdaLISTARegressor"]

FIRST_STEP_FROM = 64  # dictionaries


class AdaLISTARegressor(CodeMethods, Learned):
    """Sparse codes by a network that is given the dictionary with every observation.

    ``x+ = soft(x + gamma_k A^T (W2^T b - W1^T W1 A x), theta_k)`` [1]_: two matrices that act
    on signals are learned, so that one network serves a family of dictionaries. Untrained it
    is ISTA.

    ``operators``, of shape (n_samples, n_components, n_features), is metadata: ``fit``,
    ``predict`` and all other methods accept it, and scikit-learn slices and routes it like
    ``sample_weight`` (call ``set_fit_request(operators=True)`` and the like, see
    scikit-learn's guide on metadata routing). Without it every observation has ``dictionary``.

    Parameters
    ----------
    dictionary : array-like of shape (n_components, n_features), default=None
        Rows are atoms; used where no ``operators`` are passed. None estimates it from the
        pairs of a fit without ``operators``.
    %(alpha)s
    %(n_layers)s
    %(groups)s
    %(normalize)s
    %(alpha_relative)s
    %(guard)s
    debias : bool or {"least_squares", "repair"}, default=False
        Follow the codes by least squares on their support, see
        :class:`~sklearn_unroll.LISTARegressor`.
    %(trainer)s
    %(warm_start)s
    %(device)s
    %(random_state)s

    Attributes
    ----------
    %(network_)s
    %(dictionary_)s
    n_components_ : int
        Number of atoms.
    %(debias_)s
    %(norm_)s
    %(guard_)s
    %(training_)s
    %(features_)s

    See Also
    --------
    LISTARegressor : For one dictionary; faster, and better on that one.

    References
    ----------
    .. [1] Aberdam, A., Golts, A. and Elad, M., "Ada-LISTA: Learned solvers adaptive to varying
       models", IEEE Transactions on Pattern Analysis and Machine Intelligence 44, 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_unroll import AdaLISTARegressor, Trainer
    >>> rng = np.random.default_rng(0)
    >>> dictionaries = rng.standard_normal((200, 30, 20))
    >>> dictionaries /= np.linalg.norm(dictionaries, axis=2, keepdims=True)
    >>> y = rng.standard_normal((200, 30)) * (rng.random((200, 30)) < 0.1)
    >>> X = np.einsum("in,inm->im", y, dictionaries)
    >>> model = AdaLISTARegressor(n_layers=4, trainer=Trainer(max_epochs=5), random_state=0)
    >>> model.fit(X, y, operators=dictionaries).predict(X, operators=dictionaries).shape
    (200, 30)
    """

    task = Codes()
    takes_operators = True
    _parameter_constraints: ClassVar[dict] = {
        **Learned._parameter_constraints,
        **CodeMethods._parameter_constraints,
        "dictionary": ["array-like", None],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "debias": ["boolean", StrOptions(set(DEBIAS))],
    }

    def __init__(
        self,
        dictionary: Any = None,
        *,
        alpha: float = 0.1,
        n_layers: int = 16,
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
        self.groups = groups
        self.normalize = normalize
        self.alpha_relative = alpha_relative
        self.guard = guard
        self.debias = debias
        self.trainer = trainer
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state

    def build_network(self, given: Given) -> Unrolled:
        A = given.obs.A
        if A.per_sample:
            # The longest step that is safe for all; these have the largest norms, to a bound.
            sizes = A.D.square().sum((1, 2))
            if given.weight is not None:
                sizes = sizes * (given.weight > 0)
            A = A.take(sizes.topk(min(FIRST_STEP_FROM, len(sizes))).indices)
        groups = groups_of_fit(self, given)
        return ada_lista(A, n_layers=self.n_layers, alpha=self.alpha, penalty=groups)

    def default_trainer(self, n_samples: int, has_y: bool) -> Trainer:
        if not has_y:
            return label_free_trainer(self, n_samples)
        return super().default_trainer(n_samples, has_y)
