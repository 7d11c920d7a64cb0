"""How near ``predict`` is to the speed limit of a dense network.

``python -m benchmarks.prediction_floor`` times ``predict`` of 16 layers (with the validation of
its input and the conversions) and the bare matrix products of 16 layers (``floor.py``) in turn,
in one run, and prints the ratio, for the shape of the test bed and for that of 8x8 patches. The
target on the test bed is at most 1.25 for LISTA, and 2 for ALISTA and HyperLISTA, which select
supports. On small signals with many atoms the products are cheap and the shrinkage, one pass over
the codes per layer, weighs more.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.base import Dataset, Solver
from benchmarks.datasets import gaussian
from benchmarks.floor import N_LAYERS, Floor
from benchmarks.report import RESULTS, print_table, write_csv
from benchmarks.run import positive
from benchmarks.solvers.lista import UntrainedISTA
from benchmarks.timing import cpu_model, installed_versions, limit_threads, measure
from sklearn_unroll import ALISTARegressor, HyperLISTARegressor, Trainer

SHAPES = ((250, 500), (64, 256))  # n_features, n_components
COLUMNS = ("n_features", "n_components", "batch", "dtype", "threads", "network")
COLUMNS += ("floor_us", "predict_us", "ratio", "ratio_of_minima")


class ALISTA(Solver):
    """ALISTA as it starts; learned numbers would change no time."""

    name = "alista"

    def model(self, dataset: Dataset) -> ALISTARegressor | HyperLISTARegressor:
        trainer = Trainer(max_epochs=1, learning_rate=1e-30, early_stopping=False)
        return ALISTARegressor(dataset.dictionary, trainer=trainer, device="cpu", random_state=0)

    def prepare(self, dataset: Dataset) -> None:
        self.fitted = self.model(dataset).fit(dataset.X[:50], dataset.codes[:50])

    def solve(self, X: np.ndarray) -> np.ndarray:
        return self.fitted.predict(X)


class HyperLISTA(ALISTA):
    """HyperLISTA by its rule."""

    name = "hyperlista"

    def model(self, dataset: Dataset) -> HyperLISTARegressor:
        return HyperLISTARegressor(dataset.dictionary, device="cpu")


def compare(
    shape: tuple[int, int], batches: Sequence[int], threads: int, repeats: int
) -> list[dict]:
    """Return one row per batch size and dtype; the times are microseconds per signal.

    ``ratio`` is the median over the rounds of predict's time by the floor's of that round.
    """
    n_features, n_components = shape
    data = gaussian.load(max(batches), n_features, n_components, n_train=2)
    rows = []
    for dtype in ("float32", "float64"):
        dataset = data.astype(dtype)
        settings = {"threads": threads, "dtype": dtype}
        solvers: dict[str, Solver] = {
            "floor": Floor(**settings),
            "LISTA": UntrainedISTA(**settings, n_layers=N_LAYERS),
            "ALISTA": ALISTA(**settings),
            "HyperLISTA": HyperLISTA(**settings),
        }
        for solver in solvers.values():
            solver.prepare(dataset)
        for batch in batches:
            X = dataset.X[:batch]
            jobs = {key: lambda s=s, X=X: s.solve(X) for key, s in solvers.items()}
            measure(jobs, 1)  # warm up
            times = measure(jobs, repeats)
            floor = times.pop("floor")
            for network, predict in times.items():
                rows.append(
                    {
                        "n_features": n_features,
                        "n_components": n_components,
                        "batch": batch,
                        "dtype": dtype,
                        "threads": threads,
                        "network": network,
                        "floor_us": 1e6 * median(floor) / batch,
                        "predict_us": 1e6 * median(predict) / batch,
                        "ratio": median(p / f for p, f in zip(predict, floor, strict=True)),
                        "ratio_of_minima": min(predict) / min(floor),
                        "versions": installed_versions(),
                        "cpu": cpu_model(),
                    }
                )
    return rows


def main(argv: Sequence[str] | None = None) -> Path:
    """Run, print and write ``prediction_floor.csv``; return its path."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prediction_floor")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs")
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument("--repeats", type=positive, default=11)
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the CSV")
    options = parser.parse_args(argv)
    shapes, batches = SHAPES, (1000, 10_000)
    if options.quick:
        shapes, batches = ((50, 100),), (100, 600)
    rows = []
    with limit_threads(options.threads) as threads:
        print(f"{N_LAYERS} layers, {threads}", flush=True)
        for shape in shapes:
            rows += compare(shape, batches, options.threads, options.repeats)
    print_table(rows, COLUMNS, title="predict / bare matrix products")
    return write_csv(rows, options.output / "prediction_floor.csv")


if __name__ == "__main__":
    main()
