"""Training under descent constraints and noise: what each buys, on two problems.

``python -m benchmarks.robust_training`` trains LISTA networks from random weights to predict
the lasso's codes: plain, with noise between the layers, and with constraints, and prints clean
error, error under noise at test time, error on disturbed observations (against their own optimum),
and how many layers bring most samples nearer. All errors are mean distances from the lasso's codes
of fresh samples. ``--tile 32`` takes the size of Hadou, NaderiAlizadeh and Ribeiro 2024: 32x32
tiles over 1228 learned atoms, which takes hours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from benchmarks.datasets.patches import learn_atoms
from benchmarks.study import Option, Row, Study
from benchmarks.timing import clocked
from sklearn_unroll import LassoCoder, LISTARegressor, Trainer
from sklearn_unroll.datasets import load_image_patches, make_sparse_recovery
from sklearn_unroll.theory import convergence_report, robustness
from sklearn_unroll.training import Descent, LayerNoise

FIRST, SECOND = (Descent(kind, dual_learning_rate=1.0) for kind in ("gradient", "distance"))
CONSTRAINTS = {"none": None, "C-I": FIRST, "C-II": SECOND, "both": [FIRST, SECOND]}
SCALES = (0.0, 1.0, 3.0, 10.0, 30.0)


class Problem(NamedTuple):
    """Signals, the lasso's codes of them, and the dictionary; the first ones are for training."""

    X: np.ndarray
    y: np.ndarray
    D: np.ndarray
    coder: LassoCoder


def problems(n_samples: int, tile: int, seed: int) -> Iterator[tuple[str, Problem]]:
    """Yield sparse codes over a random dictionary, and tiles over 1.2 times as many atoms."""
    data = make_sparse_recovery(n_samples, 30, 60, sparsity=0.1, random_state=seed)
    yield "gaussian 30x60", _solved(data.X, data.dictionary, 0.1)
    X = load_image_patches(patch_size=(tile, tile), n_patches=n_samples, random_state=seed).X
    X /= np.linalg.norm(X, axis=1).mean()
    D = learn_atoms(X, int(1.2 * tile * tile), seed, alpha=0.1, max_iter=20, batch_size=256)
    yield f"tiles {tile}x{tile}", _solved(X, D, 0.05)


def _solved(X: np.ndarray, D: np.ndarray, alpha: float) -> Problem:
    X, D = X.astype("float32"), D.astype("float32")
    coder = LassoCoder(D, alpha).fit(X)
    return Problem(X, coder.transform(X), D, coder)


def trainers(
    noises: Mapping[str, Any], constraints: Mapping[str, Any], **settings: Any
) -> Iterator[tuple[str, Trainer]]:
    """Yield a name and a trainer for every noise and constraint."""
    for noise, constraint in product(noises, constraints):
        parts = {"perturbation": noises[noise], "constraint": constraints[constraint]}
        name = noise if constraint == "none" else f"{noise} + {constraint}"
        yield name, Trainer(early_stopping=False, **parts, **settings)


def examine(problem: Problem, trainer: Trainer, seed: int, init: str) -> Row:
    """Train one network and return its measures."""
    X, y, D, coder = problem
    n = 4 * len(X) // 5
    model = LISTARegressor(
        D, alpha=coder.alpha, n_layers=10, weights="free", init=init, trainer=trainer,
        random_state=seed,
    )  # fmt: skip
    _, seconds = clocked(lambda: model.fit(X[:n], y[:n]))
    fresh = X[n:], y[n:]
    layers = robustness(model, *fresh, where=["layers"], scales=SCALES).error["layers"]
    told = robustness(model, *fresh, where=["input"], scales=[0.4], solve=coder.transform)
    report = convergence_report(model, *fresh)
    return {
        "codes_norm": float(np.linalg.norm(y[n:], axis=1).mean()),
        "clean": layers[0],
        **{f"noise_{s:g}": error for s, error in zip(SCALES[1:], layers[1:], strict=True)},
        "disturbed_input": told.error["input"][0],
        "descending_layers": int((report.descending > 0.5).sum()),
        "nearest_layer": int(report.sizes.argmin()),
        "trained_seconds": seconds,
    }


def rows(
    *,
    seed: int,
    n_samples: int = Option(5000, 80, "four fifths of them to train on"),
    tile: int = Option(8, 4, "side of the photograph's tiles"),
    noises: Sequence[float] = Option((0.1, 1.0), (1.0,), "in training"),
    constraints: Sequence[str] = Option(
        tuple(CONSTRAINTS), ("none", "C-II"), "descent", CONSTRAINTS
    ),
    epochs: int = Option(200, 2),
) -> Iterator[Row]:
    """Yield a row per problem and network."""
    ways = trainers(
        {"plain": None} | {f"noise {scale:g}": LayerNoise(scale=scale) for scale in noises},
        {name: CONSTRAINTS[name] for name in constraints},
        learning_rate=1e-3, decay="constant", max_epochs=epochs, batch_size=500,
        max_grad_norm=None,
    )  # fmt: skip
    networks = [(name, trainer, "random") for name, trainer in ways]
    best = f"noise {noises[-1]:g} + C-II"
    networks += [(f"{best}, from ISTA", way, "ista") for name, way, _ in networks if name == best]
    for problem, data in problems(n_samples, tile, seed):
        for name, trainer, init in networks:
            yield {"problem": problem, "network": name, **examine(data, trainer, seed, init)}


STUDY = Study(
    rows,
    labels="problem network",
    measures="codes_norm clean noise_1 noise_3 noise_10 noise_30 disturbed_input descending_layers"
    " nearest_layer trained_seconds",
)

if __name__ == "__main__":
    STUDY.main()
