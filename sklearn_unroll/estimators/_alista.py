"""ALISTA as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_memory
from torch import Tensor

from sklearn_unroll.estimators._code_methods import CodeMethods
from sklearn_unroll.estimators._codes import Codes
from sklearn_unroll.estimators._groups import groups_of_fit
from sklearn_unroll.estimators._learned import Learned
from sklearn_unroll.estimators._recovery import DEBIAS
from sklearn_unroll.estimators._start import (
    augmentation_of,
    calibrate_on_pairs,
    check_support_selection,
    has_sparse_codes,
    quick_trainer,
)
from sklearn_unroll.estimators._state import Given
from sklearn_unroll.functional import (
    Convolution,
    Dense,
    GroupL1,
    Operator,
    analytic_weight,
    block_analytic_weight,
    convolution_weight,
    minimax_weight,
    symmetric_weight,
)
from sklearn_unroll.nn import Unrolled, alista, na_alista
from sklearn_unroll.training import Trainer

__all__ = ["ALISTARegressor", "compute_weight", "convolutional", "from_cache", "weight_operator"]


def _symmetric(D: Tensor) -> Tensor:
    return symmetric_weight(D).W


WEIGHTS = {"analytic": analytic_weight, "symmetric": _symmetric, "minimax": minimax_weight}


def compute_weight(
    name: str, A: Dense | Convolution, memory: Any, groups: GroupL1 | None = None
) -> Tensor | Convolution:
    """Return an analytic weight, of groups if any, from the cache where there is one."""
    if isinstance(A, Convolution):
        return convolutional(name, A, groups)
    D = A.D
    if groups is None:
        return from_cache(memory, _weight, name, D)[0]
    if name != "analytic":
        raise ValueError(
            f"groups go with weights='analytic', which is known for groups of atoms too; got "
            f"weights={name!r}."
        )
    prepare = partial(_block_weight, labels=groups.groups.tolist())
    return from_cache(memory, prepare, name, D)[0]


def convolutional(name: str, A: Convolution, groups: GroupL1 | None = None) -> Convolution:
    """Return the weight of shifted kernels, quicker made than looked up."""
    if name != "analytic" or groups is not None:
        raise ValueError(
            f"A Convolution goes with weights='analytic', whose closed form is known for shifted "
            f"kernels, and without groups; got weights={name!r} and "
            f"{'no ' if groups is None else ''}groups."
        )
    return convolution_weight(A, support="signal" if A.boundary == "circular" else "kernel")


def weight_operator(W: Tensor | Operator) -> Operator:
    """Return a weight as the operator that it is, or that is its matrix."""
    return W if isinstance(W, Operator) else Dense(W)


def _weight(name: str, D: Tensor) -> tuple[Tensor]:
    return (WEIGHTS[name](D),)


def _block_weight(name: str, D: Tensor, *, labels: list[int]) -> tuple[Tensor]:
    return (block_analytic_weight(D, torch.tensor(labels)),)


def from_cache(memory: Any, prepare: Callable, name: str, D: Tensor) -> Sequence:
    """Return ``prepare(name, D)``, tensors and numbers, from the cache where there is one.

    The cache is shown numpy: joblib tells tensors apart by where they lie.
    """
    if memory is None:
        return prepare(name, D)
    array = np.ascontiguousarray(D.cpu().numpy())
    release = version("sklearn-unroll")  # of another one nothing is taken
    found = check_memory(memory).cache(_on_arrays)(prepare, name, array, release)
    # Copies, as what lies in a cache may be a read-only map of its file.
    return [torch.tensor(p, device=D.device) if isinstance(p, np.ndarray) else p for p in found]


def _on_arrays(prepare: Callable, name: str, D: np.ndarray, release: str) -> list:
    found = prepare(name, torch.from_numpy(D))
    return [part.numpy() if isinstance(part, Tensor) else part for part in found]


class ALISTARegressor(CodeMethods, Learned):
    """Sparse codes by analytic LISTA: the weight is computed, two scalars a layer are learned.

    ``x+ = shrink(x + gamma_k W (b - A x), theta_k)`` with the weight of least generalised
    coherence, ``w_i^T a_i = 1``. Atoms are normalised inside and codes rescaled.

    Parameters
    ----------
    %(dictionary)s
        A :class:`~sklearn_unroll.functional.Convolution` is taken too: its weight is one as well,
        see :func:`~sklearn_unroll.functional.convolution_weight`, of kernels as large as the
        signal where the boundary is circular. At other boundaries shifts are not alike: kernels
        are as large as those of the dictionary, and right for the atoms that do not reach out.
    alpha : float, default=0.1
        Weight of the l1 norm in the objective of a fit without y; not used with y.
    %(n_layers)s
    weights : {"analytic", "symmetric", "minimax"}, default="analytic"
        Least squared coherence in closed form [1]_, the same under ``W = Q A`` [2]_ (equally
        good, needed by theory), or least maximal coherence by one linear program per atom
        (minutes at 250x500).
    rule : {"learned", "recurrent"}, default="learned"
        Where step and threshold come from: learned numbers, the same for all observations, or
        a recurrent network (NA-ALISTA [3]_), which chooses them for every observation from the
        size of its residual.
    hidden_size : int, default=64
        Size of the recurrent network's memory.
    support_selection : tuple of (float, float) or None, default=(2.0, 100.0)
        The largest entries pass unshrunk: ``min(first * k, second)`` percent of them in layer
        k. Published for 10 % support was (1.2, 13.0); signals with more nonzeros than the cap
        lets pass then fail, and rare as they are, they decide the pooled error. None shrinks
        all.
    %(groups)s
    %(normalize)s
    %(alpha_relative)s
    %(guard)s
    %(debias)s
    %(trainer)s
    memory : str or object with the joblib.Memory interface, default=None
        Where to cache the weight of a matrix, for searches over other parameters.
    %(warm_start)s
    %(device)s
    %(random_state)s

    Attributes
    ----------
    %(network_)s
    %(dictionary_)s
    %(debias_)s
    %(norm_)s
    %(guard_)s
    %(training_)s
    %(features_)s

    See Also
    --------
    HyperLISTARegressor : Nothing to train, and better on clean Gaussian data.
    LISTARegressor : Learns the weights too.

    Notes
    -----
    Trained layers are not monotone: do not use fewer of them than were trained.

    References
    ----------
    .. [1] Liu, J., Chen, X., Wang, Z. and Yin, W., "ALISTA: Analytic weights are as good as
       learned weights in LISTA", ICLR 2019.
    .. [2] Chen, X., Liu, J., Wang, Z. and Yin, W., "Hyperparameter tuning is all you need for
       LISTA", NeurIPS 2021.
    .. [3] Behrens, F., Sauder, J. and Jung, P., "Neurally augmented ALISTA", ICLR 2021.

    Examples
    --------
    >>> from sklearn_unroll import ALISTARegressor
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.metrics import nmse_db
    >>> data = make_sparse_recovery(600, 50, 80, sparsity=4, random_state=0)
    >>> model = ALISTARegressor(data.dictionary, n_layers=6, random_state=0)
    >>> codes = model.fit(data.X, data.y).predict(data.X)
    >>> bool(nmse_db(data.y, codes) < -20)  # dB
    True
    """

    task = Codes(unit_atoms=True)
    _parameter_constraints: ClassVar[dict] = {
        **Learned._parameter_constraints,
        **CodeMethods._parameter_constraints,
        "dictionary": ["array-like", Convolution, None],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "debias": ["boolean", StrOptions(set(DEBIAS))],
        "weights": [StrOptions(set(WEIGHTS))],
        "rule": [StrOptions({"learned", "recurrent"})],
        "hidden_size": [Interval(Integral, 1, None, closed="left")],
        "support_selection": [tuple, list, None],
        "memory": [str, HasMethods(["cache"]), None],
    }

    def __init__(
        self,
        dictionary: Any = None,
        *,
        alpha: float = 0.1,
        n_layers: int = 16,
        weights: str = "analytic",
        rule: str = "learned",
        hidden_size: int = 64,
        support_selection: tuple[float, float] | None = (2.0, 100.0),
        groups: Any = None,
        normalize: bool | str = "auto",
        alpha_relative: bool = False,
        guard: str | None = "auto",
        debias: bool | str = False,
        trainer: Trainer | None = None,
        memory: Any = None,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        random_state: Any = None,
    ) -> None:
        self.dictionary = dictionary
        self.alpha = alpha
        self.n_layers = n_layers
        self.weights = weights
        self.rule = rule
        self.hidden_size = hidden_size
        self.support_selection = support_selection
        self.groups = groups
        self.normalize = normalize
        self.alpha_relative = alpha_relative
        self.guard = guard
        self.debias = debias
        self.trainer = trainer
        self.memory = memory
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state

    @property
    def applies_operators(self) -> bool:
        """Whether the dictionary is an operator whose weight is one too: a convolution."""
        return isinstance(self.dictionary, Convolution)

    def build_network(self, given: Given) -> Unrolled:
        obs, groups = given.obs, groups_of_fit(self, given)
        W, n = compute_weight(self.weights, obs.A, self.memory, groups), obs.A.n_components
        counts = check_support_selection(self.support_selection, self.n_layers, n, groups)
        if self.rule == "recurrent":
            return na_alista(
                W,
                n_layers=self.n_layers,
                counts=counts,
                hidden_size=self.hidden_size,
                generator=given.generator,
                penalty=groups,
            )
        if has_sparse_codes(given) and not given.resumes:
            network = alista(obs.A, W, n_layers=self.n_layers, counts=counts, penalty=groups)
            calibrate_on_pairs(network, given)
            return network
        # On the test bed this is 0.1; relative to the data it scales with them.
        back = weight_operator(W).adjoint
        sizes = torch.cat([back(chunk.b).abs().mean(1) for _, chunk in obs.chunks()])
        weight = torch.ones_like(sizes) if given.weight is None else given.weight
        theta = 0.4 * float((weight * sizes).sum() / weight.sum())
        return alista(obs.A, W, n_layers=self.n_layers, counts=counts, theta=theta, penalty=groups)

    def default_trainer(self, n_samples: int, has_y: bool) -> Trainer:
        shown = augmentation_of(self, has_y)
        if self.rule == "recurrent":
            return quick_trainer(n_samples, 800, learning_rate=5e-3, augmentation=shown)
        return quick_trainer(n_samples, augmentation=shown)
