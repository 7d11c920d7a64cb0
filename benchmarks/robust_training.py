"""Training under descent constraints and noise: what each buys, on two problems.

``python -m benchmarks.robust_training`` trains LISTA networks from random weights to predict
the lasso's codes: plain, with noise between the layers, and with constraints, and prints clean
error, error under noise at test time, error on disturbed observations (against their own optimum),
and how many layers bring most samples nearer. ``--full`` takes the sizes of Hadou,
NaderiAlizadeh and Ribeiro 2024: 32x32 tiles over 1228 learned atoms, which takes hours.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.decomposition import MiniBatchDictionaryLearning

from benchmarks.report import RESULTS, print_table, write_csv
from benchmarks.timing import cpu_model, installed_versions, limit_threads
from sklearn_unroll import LassoCoder, LISTARegressor, Trainer
from sklearn_unroll.datasets import load_image_patches, make_sparse_recovery
from sklearn_unroll.theory import convergence_report, robustness
from sklearn_unroll.training import Descent, LayerNoise

SCALES = (0.0, 1.0, 3.0, 10.0, 30.0)
COLUMNS = ("problem", "network", "clean", *(f"noise_{s:g}" for s in SCALES[1:]), "disturbed_input")
COLUMNS += ("descending_layers", "nearest_layer", "seconds")


class Problem(NamedTuple):
    """Signals, the lasso's codes of them, and the dictionary; the first ones are for training."""

    X: np.ndarray
    y: np.ndarray
    D: np.ndarray
    coder: LassoCoder
    n_train: int


def gaussian(n_samples: int, seed: int) -> Problem:
    """Return sparse codes over a random dictionary, 30x60."""
    data = make_sparse_recovery(n_samples, 30, 60, sparsity=0.1, random_state=seed)
    return _solved(data.X, data.dictionary, 0.1)


def patches(n_samples: int, seed: int, size: int = 8) -> Problem:
    """Return tiles of a photograph, each of mean zero, over 1.2 times as many learned atoms."""
    X = load_image_patches(patch_size=(size, size), n_patches=n_samples, random_state=seed).X
    X = X / np.linalg.norm(X, axis=1).mean()
    learner = MiniBatchDictionaryLearning(
        int(1.2 * size * size), alpha=0.1, max_iter=20, batch_size=256, random_state=seed
    )
    return _solved(X, learner.fit(X).components_, 0.05)


def _solved(X: np.ndarray, D: np.ndarray, alpha: float) -> Problem:
    X, D = X.astype("float32"), D.astype("float32")
    coder = LassoCoder(D, alpha).fit(X)
    return Problem(X, coder.transform(X), D, coder, 4 * len(X) // 5)


def networks(quick: bool) -> Iterator[tuple[str, Trainer]]:
    """Yield names and how to train."""
    first, second = (Descent(kind, dual_learning_rate=1.0) for kind in ("gradient", "distance"))
    constraints = {"": None, " + C-I": first, " + C-II": second, " + both": [first, second]}
    for noise in (None, 0.1, 1.0):
        for name, constraint in constraints.items():
            yield (
                ("plain" if noise is None else f"noise {noise:g}") + name,
                Trainer(
                    learning_rate=1e-3,
                    decay="constant",
                    max_epochs=2 if quick else 200,
                    batch_size=500,
                    max_grad_norm=None,
                    early_stopping=False,
                    constraint=constraint,
                    perturbation=None if noise is None else LayerNoise(scale=noise),
                ),
            )


def examine(problem: Problem, trainer: Trainer, seed: int, start: str = "random") -> dict:
    """Train one network and return its row."""
    X, y, D, coder, n = problem
    model = LISTARegressor(
        D, alpha=coder.alpha, n_layers=10, weights="free", init=start, trainer=trainer,
        random_state=seed,
    )  # fmt: skip
    began = time.perf_counter()
    model.fit(X[:n], y[:n])
    seconds = time.perf_counter() - began
    fresh = X[n:], y[n:]
    layers = robustness(model, *fresh, where=["layers"], scales=SCALES).error["layers"]
    told = robustness(model, *fresh, where=["input"], scales=[0.4], solve=coder.transform)
    report = convergence_report(model, *fresh)
    row = {"clean": layers[0], "disturbed_input": told.error["input"][0]}
    row |= {f"noise_{s:g}": e for s, e in zip(SCALES[1:], layers[1:], strict=True)}
    row["descending_layers"] = int((report.descending > 0.5).sum())
    return row | {"nearest_layer": int(report.sizes.argmin()), "seconds": seconds}


def main(argv: Sequence[str] | None = None) -> Path:
    """Run, print and write ``robust_training.csv``; return its path."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.robust_training")
    parser.add_argument("--quick", action="store_true", help="two epochs: shows that it runs")
    parser.add_argument("--full", action="store_true", help="32x32 tiles, 1228 atoms: hours")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the CSV")
    options = parser.parse_args(argv)
    n, rows = 500 if options.quick else 5000, []
    with limit_threads(1) as threads:
        print(f"{threads}; mean distance from the lasso's codes, fresh samples", flush=True)
        problems = {"gaussian 30x60": gaussian(n, options.seed)}
        size = 32 if options.full else 8
        problems[f"tiles {size}x{size}"] = patches(n, options.seed, size)
        for name, problem in problems.items():
            size_of_codes = np.linalg.norm(problem.y[problem.n_train :], axis=1).mean()
            found = []
            for network, trainer in networks(options.quick):
                row = {"problem": name, "network": network}
                found.append(row | examine(problem, trainer, options.seed))
            trainer = dict(networks(options.quick))["noise 1 + C-II"]
            row = {"problem": name, "network": "noise 1 + C-II, from ISTA"}
            found.append(row | examine(problem, trainer, options.seed, init="ista"))
            print_table(found, COLUMNS, title=f"{name}; codes have mean norm {size_of_codes:.3g}")
            rows += found
    rows = [row | {"versions": installed_versions(), "cpu": cpu_model()} for row in rows]
    return write_csv(rows, options.output / "robust_training.csv")


if __name__ == "__main__":
    main()
