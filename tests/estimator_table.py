"""The one table of estimators: what each is, and data that it takes. Small, and fitted once."""

from __future__ import annotations

import warnings
from copy import deepcopy
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import clone

from sklearn_unroll import (
    AdaLISTARegressor,
    ADMMCSNetRegressor,
    ALISTARegressor,
    FBSNet,
    FeedForwardRegressor,
    GlowProxInpainter,
    HyperLISTARegressor,
    LAMPRegressor,
    LassoCoder,
    LISTARegressor,
    MathL2OSolver,
    OMPCoder,
    OnlineDictionaryLearning,
    TISTARegressor,
    Trainer,
)
from sklearn_unroll.datasets import load_image_patches, make_sparse_recovery
from sklearn_unroll.exceptions import WorthlessFitWarning
from sklearn_unroll.functional import Convolution
from sklearn_unroll.training import ProblemObjective

# Of sixteen atoms, unequal and interleaved, with labels of any kind of integer.
BLOCKS = [7, -2, 7, 0, 5, -2, 7, 0, 5, 5, 5, 3, 3, 0, 9, -2]
QUICK = Trainer(max_epochs=2, batch_size=40)


class Case(NamedTuple):
    """An estimator with its data: what fit takes, and what its methods take."""

    estimator: Any
    X: np.ndarray
    y: np.ndarray | None
    metadata: dict

    @property
    def method(self) -> str:
        """The method that gives results."""
        return "predict" if hasattr(self.estimator, "predict") else "transform"

    def fit(self, X: Any = None, **changes: Any) -> Any:
        """Return a fitted clone."""
        estimator = clone(self.estimator).set_params(**changes)
        return self.refit(estimator, X)

    def refit(self, estimator: Any, X: Any = None) -> Any:
        """Fit an estimator on the data of this case."""
        X = self.X if X is None else X
        with warnings.catch_warnings():
            # Trainings are short, and those of two networks worth nothing.
            warnings.simplefilter("ignore", WorthlessFitWarning)
            fitted = estimator.fit(X, self.y, **self.metadata)
        assert fitted is estimator
        return fitted

    def run(self, fitted: Any, X: Any = None, method: str | None = None) -> Any:
        """Return the results of a fitted estimator."""
        X = self.holes() if X is None else X
        return getattr(fitted, method or self.method)(X, **self.metadata)

    def holes(self) -> np.ndarray:
        """Return what methods take: X, with holes where they are to be filled."""
        if not isinstance(self.estimator, GlowProxInpainter):
            return self.X
        missing = np.random.default_rng(1).random(self.X.shape) < 0.3
        return np.where(missing, np.nan, self.X).astype(self.X.dtype)


@cache
def pairs() -> Any:
    """Return 80 pairs of 10 features and 16 components."""
    return make_sparse_recovery(80, 10, 16, sparsity=2, random_state=0)


@cache
def family() -> Any:
    """Return 80 pairs, each with a dictionary of its own."""
    rng = np.random.default_rng(0)
    D = rng.standard_normal((80, 16, 10))
    D /= np.linalg.norm(D, axis=2, keepdims=True)
    return np.einsum("in,inm->im", pairs().y, D), D


def _codes(make: Any, labels: bool = True, **parameters: Any) -> Case:
    data = pairs()
    D = data.dictionary
    name = "operator" if make is ADMMCSNetRegressor else "dictionary"
    if "trainer" in make().get_params(deep=False):
        parameters = {"trainer": QUICK, "random_state": 0, **parameters}
    return Case(make(**{name: D}, **parameters), data.X, data.y if labels else None, {})


def _shifting() -> Case:
    """Return pairs of two kernels at eight positions each."""
    A = Convolution(np.random.default_rng(0).standard_normal((2, 3)), 10, boundary="full")
    X = A(torch.from_numpy(pairs().y)).numpy()
    model = ALISTARegressor(A, n_layers=4, trainer=QUICK, random_state=0)
    return Case(model, X, pairs().y, {})


def _instances() -> Case:
    X, D = family()
    trainer = Trainer(ProblemObjective("log"), max_epochs=1, batch_size=40, truncate=4)
    solver = MathL2OSolver(
        n_layers=8, hidden_size=4, n_iter=40, trainer=trainer, random_state=0, alpha=0.05
    )
    return Case(solver, X, None, {"operators": D})


def _pictures() -> Case:
    X = load_image_patches(patch_size=(8, 8), n_patches=40, center=False, random_state=0).X
    trainer = Trainer(max_epochs=1, batch_size=20)
    model = GlowProxInpainter((8, 8), n_layers=2, n_hidden=4, trainer=trainer, random_state=0)
    return Case(model, X, None, {})


def _dictionary_learning(coder: Any = None, **parameters: Any) -> Case:
    model = OnlineDictionaryLearning(
        16, alpha=0.1, coder=coder, max_iter=3, batch_size=40, random_state=0, **parameters
    )
    return Case(model, pairs().X, None, {})


def _unrolled_learning() -> Case:
    network = LISTARegressor(weights="adjoint", n_layers=4, trainer=QUICK, random_state=0)
    return _dictionary_learning(network, truncate=2)


def _own_dictionaries() -> Case:
    X, D = family()
    model = AdaLISTARegressor(n_layers=4, trainer=QUICK, random_state=0)
    return Case(model, X, pairs().y, {"operators": D})


def _own_dictionaries_of_steps() -> Case:
    X, D = family()
    model = LISTARegressor(weights="adjoint", n_layers=4, trainer=QUICK, random_state=0)
    return Case(model, X, None, {"operators": D})


MAKERS = {
    "LISTA": lambda: _codes(LISTARegressor, n_layers=4),
    "LISTA, free, tied": lambda: _codes(LISTARegressor, n_layers=4, weights="free", tied=True),
    "LISTA, without pairs": lambda: _codes(LISTARegressor, labels=False, n_layers=4, alpha=0.2),
    "LISTA, normalize": lambda: _codes(LISTARegressor, n_layers=4, normalize=True, debias=True),
    "LISTA, smooth": lambda: _codes(
        LISTARegressor, n_layers=2, weights="free", shrinkage="smooth", init="normal", alpha=1.0
    ),
    "LISTA-CPSS": lambda: _codes(
        LISTARegressor, n_layers=4, learn_step=True, support_selection=(2.0, 100.0)
    ),
    "step-LISTA": lambda: _codes(LISTARegressor, labels=False, n_layers=4, weights="adjoint"),
    "LISTA, groups": lambda: _codes(LISTARegressor, labels=False, n_layers=4, groups=BLOCKS),
    "ALISTA, groups": lambda: _codes(ALISTARegressor, n_layers=4, groups=BLOCKS),
    "ALISTA": lambda: _codes(ALISTARegressor, n_layers=4),
    "ALISTA, convolution": _shifting,
    "NA-ALISTA": lambda: _codes(ALISTARegressor, n_layers=3, rule="recurrent", hidden_size=4),
    "HyperLISTA": lambda: _codes(HyperLISTARegressor, n_layers=6),
    "LAMP": lambda: _codes(LAMPRegressor, n_layers=3),
    "step-LISTA, operators": _own_dictionaries_of_steps,
    "TISTA": lambda: _codes(TISTARegressor, n_layers=3),
    "Ada-LISTA": lambda: _codes(AdaLISTARegressor, n_layers=4),
    "Ada-LISTA, operators": _own_dictionaries,
    "FBSNet": lambda: _codes(FBSNet, n_layers=4),
    "FBSNet, elastic net": lambda: _codes(FBSNet, n_layers=4, penalty="elastic_net", horizon=4.0),
    "feed-forward": lambda: _codes(FeedForwardRegressor, n_layers=2),
    "ADMM-CSNet": lambda: _codes(ADMMCSNetRegressor, n_layers=2),
    "ADMM-CSNet, dense": lambda: _codes(
        ADMMCSNetRegressor, parametrization="dense", n_layers=3, alpha=0.1
    ),
    "Math-L2O": _instances,
    "GLOW-Prox": _pictures,
    "LassoCoder": lambda: _codes(LassoCoder, labels=False, alpha=0.1),
    "LassoCoder, relative": lambda: _codes(
        LassoCoder, labels=False, alpha=0.2, alpha_relative=True, positive=True
    ),
    "OMPCoder": lambda: _codes(OMPCoder, labels=False),
    "dictionary learning": _dictionary_learning,
    "dictionary learning, unrolled": _unrolled_learning,
}
# Those of no network, or of none that is trained; and those that learn what a network codes over.
_NOT_LEARNED = ("LassoCoder", "OMPCoder", "Hyper", "dictionary learning")
LEARNED = [name for name in MAKERS if not name.startswith(_NOT_LEARNED)]


@cache
def case(name: str) -> Case:
    """Return an entry of the table."""
    return MAKERS[name]()


@cache
def _fitted(name: str) -> Any:
    return case(name).fit()


def fitted(name: str) -> Any:
    """Return the fitted estimator of an entry, trained once, and copied for every test."""
    return deepcopy(_fitted(name))
