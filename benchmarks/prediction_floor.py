"""How near ``predict`` is to the speed limit of a dense network.

``python -m benchmarks.prediction_floor`` times ``predict`` of 16 layers (with the validation of
its input and the conversions) and the bare matrix products of 16 layers (``floor.py``) in turn,
in one run, and prints the ratio, for the shape of the test bed and for that of 8x8 patches. The
target on the test bed is at most 1.25 for LISTA, and 2 for ALISTA and HyperLISTA, which select
supports. On small signals with many atoms the products are cheap and the shrinkage, one pass over
the codes per layer, weighs more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import median

import numpy as np

from benchmarks.base import Dataset
from benchmarks.datasets import gaussian
from benchmarks.floor import N_LAYERS, Floor
from benchmarks.solvers.lista import untrained
from benchmarks.study import Option, Row, Study, sides
from benchmarks.timing import compete
from sklearn_unroll import ALISTARegressor, HyperLISTARegressor, LISTARegressor


def networks(dataset: Dataset) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return ``predict`` of networks as they start; learned numbers would change no time."""
    D, given = dataset.dictionary, {"device": "cpu", "random_state": 0, "trainer": untrained()}
    models = {
        "LISTA": LISTARegressor(D, alpha=dataset.alpha, n_layers=N_LAYERS, **given),
        "ALISTA": ALISTARegressor(D, n_layers=N_LAYERS, **given),
        "HyperLISTA": HyperLISTARegressor(D, n_layers=N_LAYERS, device="cpu"),
    }
    return {
        name: model.fit(dataset.X[:50], dataset.codes[:50]).predict
        for name, model in models.items()
    }


def rows(
    *,
    seed: int,
    shapes: Sequence[str] = Option(("250x500", "64x256"), ("50x100",), "features x atoms"),
    batches: Sequence[int] = Option((1000, 10_000), (100, 600)),
    repeats: int = Option(11, 2),
) -> Iterator[Row]:
    """Yield a row per shape, dtype, batch size and network; times are microseconds per signal.

    ``ratio`` is the median over the rounds of predict's time by the floor's of that round.
    """
    for shape in shapes:
        data = gaussian.load(max(batches), *sides(shape), n_train=2, seed=seed)
        for dtype in ("float32", "float64"):
            dataset = data.astype(dtype)
            floor = Floor(dtype=dtype)
            floor.prepare(dataset)
            solvers = {"floor": floor.solve, **networks(dataset)}
            for batch in batches:
                X = dataset.X[:batch]
                jobs = {name: partial(solve, X) for name, solve in solvers.items()}
                _, times = compete(jobs, repeats)
                bare = times.pop("floor")
                for network, predict in times.items():
                    yield {
                        "shape": shape,
                        "dtype": dtype,
                        "batch": batch,
                        "network": network,
                        "floor_us": 1e6 * median(bare) / batch,
                        "predict_us": 1e6 * median(predict) / batch,
                        "ratio": median(p / f for p, f in zip(predict, bare, strict=True)),
                        "ratio_of_minima": min(predict) / min(bare),
                    }


STUDY = Study(
    rows,
    labels="shape dtype batch network",
    measures="floor_us predict_us ratio ratio_of_minima",
)

if __name__ == "__main__":
    STUDY.main()
