"""What happens to codes of data unlike those of training, for every estimator.

Two jobs. *patches*: networks minimise the lasso at alpha 0.1 without labels, on 8x8 patches of a
photograph over a dictionary learned from it. ``mean`` is the excess of the mean objective over the
certified optimum's, ``worst`` the largest excess of a sample, relative to its own optimum.
*recovery*: networks learn from pairs, 100 x 200, 8 % nonzeros; ``mean`` is the pooled NMSE in dB,
``worst`` that of the worst sample. ``zeros`` counts samples that are worse than zeros, ``refused``
is the share of the steps that the guard refused. FISTA stopped after 16 iterations, LassoCoder and
OMP are given the same samples.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import MiniBatchDictionaryLearning

from benchmarks.study import Option, Row, Study, with_epochs
from benchmarks.timing import clocked
from sklearn_unroll import (
    AdaLISTARegressor,
    ADMMCSNetRegressor,
    ALISTARegressor,
    FBSNet,
    HyperLISTARegressor,
    LAMPRegressor,
    LassoCoder,
    LISTARegressor,
    OMPCoder,
    TISTARegressor,
)
from sklearn_unroll.datasets import load_image_patches, make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.solvers import FISTA, iterates

ALPHA, SIDE = 0.1, 8
LABEL_FREE = {
    "LISTA": LISTARegressor(alpha=ALPHA),
    "LISTA, guard off": LISTARegressor(alpha=ALPHA, guard=None),
    "LISTA, tied": LISTARegressor(alpha=ALPHA, tied=True),
    "LISTA, free": LISTARegressor(alpha=ALPHA, weights="free"),
    "step-LISTA": LISTARegressor(alpha=ALPHA, weights="adjoint"),
    "Ada-LISTA": AdaLISTARegressor(alpha=ALPHA),
    "FBSNet": FBSNet(alpha=ALPHA),
    "ALISTA": ALISTARegressor(alpha=ALPHA),
}
FROM_PAIRS = {
    "LISTA, from ISTA": LISTARegressor(init="ista"),
    "LISTA-CPSS": LISTARegressor(support_selection=(2.0, 100.0), learn_step=True),
    "LISTA-CPSS, normalize=False": LISTARegressor(
        support_selection=(2.0, 100.0), learn_step=True, normalize=False
    ),
    "TiLISTA": LISTARegressor(tied=True, learn_step=True, support_selection=(2.0, 100.0)),
    "ALISTA": ALISTARegressor(),
    "NA-ALISTA": ALISTARegressor(rule="recurrent"),
    "TISTA": TISTARegressor(),
    "LAMP": LAMPRegressor(),
    "HyperLISTA": HyperLISTARegressor(),
    "FBSNet": FBSNet(),
    "dense ADMM-CSNet": ADMMCSNetRegressor(parametrization="dense"),
}


def scored(est: Any, X: np.ndarray) -> tuple[np.ndarray, float]:
    """Return codes, and the share of refused steps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        codes = est.predict(X)
    counts = est.count_refused(X) if hasattr(est, "count_refused") else np.zeros(1)
    return codes, float(np.mean(counts)) / est.get_params().get("n_layers", 1)


def learn_dictionary(X: np.ndarray, n_components: int, seed: int) -> np.ndarray:
    """Return unit atoms learned from patches."""
    first = X[:n_components] + 1e-3 * np.random.default_rng(seed).standard_normal(
        (n_components, X.shape[1])
    )
    learner = MiniBatchDictionaryLearning(
        n_components,
        alpha=ALPHA,
        batch_size=512,
        max_iter=2,
        fit_algorithm="cd",
        dict_init=first / np.linalg.norm(first, axis=1, keepdims=True),
        random_state=seed,
    )
    D = learner.fit(X.astype(np.float64)).components_
    return (D / np.linalg.norm(D, axis=1, keepdims=True)).astype(np.float32)


def disturbed(X: np.ndarray, D: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return samples in other sizes, with noise, and noise alone."""
    xi = rng.standard_normal(X.shape)
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    xi *= norms / np.linalg.norm(xi, axis=1, keepdims=True)
    noisy = {"noise of 10 dB": X + 10**-0.5 * xi, "pure noise": xi}
    made = {"same": X, "times 3": 3 * X, "times 30": 30 * X, "times 0.1": 0.1 * X} | noisy
    return {name: signals.astype(X.dtype) for name, signals in made.items()}


def other_dictionary(D: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return atoms that are 10 % off."""
    E = rng.standard_normal(D.shape)
    E *= 0.1 * np.linalg.norm(D, axis=1, keepdims=True) / np.linalg.norm(E, axis=1, keepdims=True)
    return (D + E).astype(D.dtype)


def patches_job(
    n: int, n_test: int, n_components: int, epochs: int | None, seed: int
) -> Iterator[Row]:
    """Yield the rows of networks that were trained without labels."""
    shape = {"patch_size": (SIDE, SIDE), "random_state": seed, "dtype": np.float32}
    X = load_image_patches("china.jpg", n_patches=n + n_test, **shape).X
    X, unseen = X[:n], X[n:]
    D, rng = learn_dictionary(X, n_components, seed), np.random.default_rng(seed)
    codes = LassoCoder(D, alpha=ALPHA, tol=1e-3).fit(X).transform(unseen)
    sets = disturbed(unseen, D, rng) | {
        "other photograph": load_image_patches("flower.jpg", n_patches=n_test, **shape).X,
        "dictionary 10 % off": unseen + codes @ (other_dictionary(D, rng) - D),
    }
    exact = LassoCoder(D.astype(np.float64), alpha=ALPHA, tol=1e-9).fit(X[:2].astype(np.float64))
    optima = {
        name: values(S, D, exact.transform(S.astype(np.float64))) for name, S in sets.items()
    }

    def measure(codes: np.ndarray, name: str) -> Row:
        found, least = values(sets[name], D, codes), optima[name]
        counts = least > 1e-9
        zeros = found > 0.5 * np.square(sets[name].astype(np.float64)).sum(1) * (1 + 1e-6) + 1e-12
        return {
            "mean": found.mean() / least.mean() - 1,
            "worst": (found[counts] / least[counts] - 1).max(),
            "zeros": int(zeros.sum()),
        }

    rivals = {"LassoCoder, tol 1e-4": LassoCoder(D, alpha=ALPHA, tol=1e-4)}
    yield from fista_rows(sets, D, measure)
    yield from table("patches", LABEL_FREE | rivals, sets, measure, (X,), D, epochs, seed)


def fista_rows(sets: dict, D: np.ndarray, measure: Callable) -> Iterator[Row]:
    """Yield what FISTA has after as many iterations as networks have layers."""
    for name, X in sets.items():
        obs = Observation(torch.from_numpy(X), Dense(torch.from_numpy(D)))
        *_, x = iterates(FISTA(obs, ALPHA), obs, 16)
        where = {"job": "patches", "estimator": "FISTA, 16 iterations", "data": name}
        yield where | measure(x.numpy(), name)


def values(X: np.ndarray, D: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return objectives, in float64."""
    X, D, codes = (a.astype(np.float64) for a in (X, D, codes))
    return 0.5 * np.square(X - codes @ D).sum(1) + ALPHA * np.abs(codes).sum(1)


def recovery_job(n: int, n_test: int, epochs: int | None, seed: int) -> Iterator[Row]:
    """Yield the rows of networks that were trained on pairs."""
    law = {"sparsity": 0.08, "dtype": np.float32}
    train = make_sparse_recovery(n, 100, 200, random_state=seed, **law)
    D, rng = train.dictionary, np.random.default_rng(seed)

    def draw(sparsity: float, dictionary: np.ndarray = D) -> Any:
        given = law | {"sparsity": sparsity, "dictionary": dictionary}
        return make_sparse_recovery(n_test, random_state=seed + 1000, **given)

    test = draw(0.08)
    factors = {"times 3": 3.0, "times 30": 30.0, "times 0.1": 0.1}
    sets = disturbed(test.X, D, rng)
    wanted = {name: factors.get(name, 1.0) * test.y for name in sets if name != "pure noise"}
    del sets["pure noise"]
    for name, data in {
        "density times 2": draw(0.16),
        "density times 4": draw(0.32),
        "dictionary 10 % off": draw(0.08, other_dictionary(D, rng)),
    }.items():
        sets[name], wanted[name] = data.X, data.y

    def measure(codes: np.ndarray, name: str) -> Row:
        error = np.square(codes.astype(np.float64) - wanted[name]).sum(1)
        energy = np.square(wanted[name].astype(np.float64)).sum(1)
        tiny = np.finfo(np.float64).tiny
        return {
            "mean": 10 * np.log10(max(error.sum() / energy.sum(), tiny)),
            "worst": 10 * np.log10(max((error / energy).max(), tiny)),
            "zeros": int((error > energy).sum()),
        }

    rivals = {"OMPCoder, 16 atoms": OMPCoder(D, n_nonzero_coefs=16)}
    pairs = (train.X, train.y)
    yield from table("recovery", FROM_PAIRS | rivals, sets, measure, pairs, D, epochs, seed)


def table(
    job: str,
    estimators: dict,
    sets: dict,
    measure: Callable,
    given: tuple,
    D: np.ndarray,
    epochs: int | None,
    seed: int,
) -> Iterator[Row]:
    """Yield a row for every estimator and kind of data."""
    for label, template in estimators.items():
        name = "operator" if isinstance(template, ADMMCSNetRegressor) else "dictionary"
        model = template.set_params(**{name: D})
        if "trainer" in model.get_params():
            model = with_epochs(model.set_params(random_state=seed), epochs)
        _, seconds = clocked(lambda model=model: model.fit(*given))
        for data, X in sets.items():
            codes, refused = scored(model, X)
            where = {"job": job, "estimator": label, "data": data}
            yield where | measure(codes, data) | {"refused": refused, "fit_seconds": seconds}


def rows(
    *,
    seed: int,
    n: int = Option(10_000, 300, help="samples to train on"),
    n_test: int = Option(2000, 100, help="samples to code"),
    n_components: int = Option(128, 32, help="atoms of the patches' dictionary"),
    epochs: int | None = Option(None, 1, help="of training, the recipe of each by default"),
    job: str = Option("both", choices=("both", "patches", "recovery"), help="which"),
) -> Iterator[Row]:
    """Yield both jobs."""
    if job != "recovery":
        yield from patches_job(n, n_test, n_components, epochs, seed)
    if job != "patches":
        yield from recovery_job(n, n_test, epochs, seed)


STUDY = Study(rows, "job estimator data", "mean worst zeros refused fit_seconds")

if __name__ == "__main__":
    STUDY.main()
