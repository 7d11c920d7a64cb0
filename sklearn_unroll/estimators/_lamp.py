"""Learned approximate message passing as a scikit-learn estimator."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import HasMethods, StrOptions

from sklearn_unroll.estimators._alista import compute_weight
from sklearn_unroll.estimators._code_methods import CodeMethods
from sklearn_unroll.estimators._codes import Codes
from sklearn_unroll.estimators._learned import Learned
from sklearn_unroll.estimators._recovery import DEBIAS
from sklearn_unroll.estimators._start import quick_trainer
from sklearn_unroll.estimators._state import Given
from sklearn_unroll.nn import Unrolled, lamp
from sklearn_unroll.training import EndToEnd, Trainer

__all__ = ["LAMPRegressor"]

# Of matrices, relative to their size.
MATRIX_RATE = 0.01


class LAMPRegressor(CodeMethods, Learned):
    """Sparse codes by learned approximate message passing (LAMP).

    ``x+ = soft(x + gamma_k B_k v_k, lam_k ||v_k||_2 / sqrt(m))`` with AMP's memory
    ``v_k = b - A x_k + beta_k ||x_k||_0 / m v_(k-1)`` in place of the residual [1]_. Thresholds
    follow the sample's own residual: codes scale with the data, exactly. Atoms are normalised
    inside and codes rescaled.

    Parameters
    ----------
    %(dictionary)s
    n_layers : int, default=8
        Number of layers.
    tied : bool, default=False
        Share the matrix among the layers; each layer keeps its own scalars.
    init : {"analytic", "amp"}, default="analytic"
        Where the matrices start: from ALISTA's weight, from which training gets much further, or
        from AMP's ``A^T``, with which the untrained network is AMP [2]_.
    %(guard)s
    %(debias)s
    %(trainer)s
    memory : str or object with the joblib.Memory interface, default=None
        Where to cache the analytic weight.
    %(warm_start)s
    %(device)s
    %(random_state)s

    Attributes
    ----------
    %(network_)s
    %(dictionary_)s
    %(debias_)s
    %(guard_)s
    %(training_)s
    %(features_)s

    See Also
    --------
    LISTARegressor : The residual in place of AMP's memory.
    sklearn_unroll.solvers.amp : The classical algorithm.

    Notes
    -----
    The Onsager term is right for large matrices with i.i.d. entries. On others AMP may diverge;
    training mends that for data like those of ``fit``.

    References
    ----------
    .. [1] Borgerding, M., Schniter, P. and Rangan, S., "AMP-inspired deep networks for sparse
       linear inverse problems", IEEE Transactions on Signal Processing 65, 2017.
    .. [2] Donoho, D. L., Maleki, A. and Montanari, A., "Message-passing algorithms for
       compressed sensing", Proceedings of the National Academy of Sciences 106, 2009.

    Examples
    --------
    >>> from sklearn_unroll import LAMPRegressor
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.metrics import nmse_db
    >>> data = make_sparse_recovery(600, 50, 80, sparsity=4, random_state=0)
    >>> model = LAMPRegressor(data.dictionary, n_layers=6, random_state=0)
    >>> codes = model.fit(data.X, data.y).predict(data.X)
    >>> bool(nmse_db(data.y, codes) < -20)  # dB
    True
    """

    task = Codes(unit_atoms=True, needs_pairs=True)
    _parameter_constraints: ClassVar[dict] = {
        **Learned._parameter_constraints,
        **CodeMethods._parameter_constraints,
        "dictionary": ["array-like", None],
        "tied": ["boolean"],
        "init": [StrOptions({"analytic", "amp"})],
        "debias": ["boolean", StrOptions(set(DEBIAS))],
        "memory": [str, HasMethods(["cache"]), None],
    }

    def __init__(
        self,
        dictionary: Any = None,
        *,
        n_layers: int = 8,
        tied: bool = False,
        init: str = "analytic",
        guard: str | None = "auto",
        debias: bool | str = False,
        trainer: Trainer | None = None,
        memory: Any = None,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        random_state: Any = None,
    ) -> None:
        self.dictionary = dictionary
        self.n_layers = n_layers
        self.tied = tied
        self.init = init
        self.guard = guard
        self.debias = debias
        self.trainer = trainer
        self.memory = memory
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state

    def build_network(self, given: Given) -> Unrolled:
        """Assemble LAMP."""
        A = given.obs.A
        W = compute_weight("analytic", A, self.memory) if self.init == "analytic" else None
        return lamp(A, n_layers=self.n_layers, tied=self.tied, W=W)

    def default_trainer(self, n_samples: int, has_y: bool) -> Trainer:
        """Return the recipe: few steps from a good start, matrices slower than scalars."""
        return quick_trainer(n_samples, schedule=EndToEnd(matrix_rate=MATRIX_RATE))
