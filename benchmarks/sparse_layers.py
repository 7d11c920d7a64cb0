"""What a sparse run of trained networks costs, in units of their bare dense products.

``python -m benchmarks.sparse_layers`` times ``predict`` (with its validation, conversions and
guard), the same with all layers as they are in training, and the bare products of as many layers
(``floor.py``), in turn and in one run. ``ratio`` is the median over the rounds of predict's time
by the floor's, ``ratio_dense`` that of the dense layers; ``nonzeros`` are those of a code. Patches
of a photograph are learned without labels, the others from pairs without noise. Also:
``OMP_NUM_THREADS=2 python -m benchmarks.sparse_layers --threads 2``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.base import Dataset
from benchmarks.datasets import patches
from benchmarks.floor import Floor
from benchmarks.study import Option, Row, Study, sides, with_epochs
from benchmarks.timing import compete
from sklearn_unroll import ALISTARegressor, HyperLISTARegressor, LISTARegressor
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.nn import execution

SELECT = (1.2, 13.0)
PAIRED = {
    "HyperLISTA": HyperLISTARegressor,
    "ALISTA": partial(ALISTARegressor, support_selection=SELECT, random_state=0),
    "TiLISTA": partial(
        LISTARegressor, tied=True, learn_step=True, support_selection=SELECT, random_state=0
    ),
    "LISTA-CPSS": partial(LISTARegressor, support_selection=SELECT, random_state=0),
}
LABEL_FREE = {
    "LISTA": {},
    "LISTA, tied": {"tied": True, "learn_step": True},
    "step-LISTA": {"weights": "adjoint"},
}


def gaussian(shape: str, n_samples: int, n_train: int, seed: int) -> tuple[Dataset, np.ndarray]:
    """Return signals with 10 % nonzeros, and the codes of those to learn from."""
    m, n = sides(shape)
    data = make_sparse_recovery(n_samples + n_train, m, n, sparsity=0.1, random_state=seed)
    X, y = data.X, data.y
    found = Dataset(shape, X[:n_samples], X[n_samples:], data.dictionary, 0.1)
    return found, y[n_samples:]


def networks(
    of_500: Sequence[str], shapes: Sequence[str], n_samples: int, n_train: int, epochs: int,
    dtype: str, seed: int,
) -> Iterator[tuple[str, Any, Dataset]]:  # fmt: skip
    """Yield names, fitted networks and what they are to code."""
    for shape, n_layers, names in zip(shapes, (16, 8), (of_500, ["HyperLISTA"]), strict=True):
        dataset, y = gaussian(shape, n_samples, n_train, seed)
        dataset = dataset.astype(dtype)
        for name in names:
            model = PAIRED[name](dataset.dictionary, n_layers=n_layers)
            trains = "trainer" in model.get_params(deep=False)
            model = with_epochs(model, epochs if trains else None)
            yield name, model.fit(dataset.X_train, y.astype(dtype)), dataset
    size = {"n_components": 256} if n_samples > 1000 else patches.SIZES["quick"]
    dataset = patches.load(4 * n_samples, **(size | {"n_train": n_train}), seed=seed).astype(dtype)
    for name, given in LABEL_FREE.items():
        model = LISTARegressor(dataset.dictionary, alpha=dataset.alpha, random_state=0, **given)
        yield f"{name}, label-free", with_epochs(model, epochs).fit(dataset.X_train), dataset


def dense(predict: Callable[[], np.ndarray]) -> np.ndarray:
    """Return codes of layers as they are in training."""
    with patch.object(execution, "sparse_run", lambda *_: None):
        return predict()


def rows(
    *,
    seed: int,
    shapes: Sequence[str] = Option(("250x500", "1000x2000"), ("20x40", "30x60"), "two of them"),
    of_500: Sequence[str] = Option(tuple(PAIRED), ("HyperLISTA",), "networks of the first shape"),
    dtypes: Sequence[str] = Option(("float32", "float64"), ("float32",)),
    n_samples: int = Option(2000, 100, "four times as many patches"),
    n_train: int = Option(4000, 300, "pairs, or patches"),
    epochs: int = Option(8, 1, "of training; what takes long changes few nonzeros"),
    repeats: int = Option(11, 2),
) -> Iterator[Row]:
    """Yield a row per network and dtype."""
    for dtype in dtypes:
        given = (of_500, shapes, n_samples, n_train, epochs, dtype, seed)
        for name, model, dataset in networks(*given):
            floor = Floor(dtype=dtype)
            floor.n_layers = model.n_layers
            floor.prepare(dataset)
            predict = partial(model.predict, dataset.X)
            jobs = {
                "floor": partial(floor.solve, dataset.X),
                "dense": partial(dense, predict),
                "own": predict,
            }
            codes, times = compete(jobs, repeats)
            bare, n_coded = times["floor"], len(dataset.X)

            def ratio(key: str, times: dict = times) -> float:
                pairs = zip(times[key], times["floor"], strict=True)
                return median(time / bare for time, bare in pairs)

            yield {
                "shape": "x".join(map(str, dataset.dictionary.T.shape)),
                "dtype": dtype,
                "network": f"{name}, {model.n_layers} layers",
                "nonzeros": float((codes["own"] != 0).sum(1).mean()),
                "floor_us": 1e6 * median(bare) / n_coded,
                "predict_us": 1e6 * median(times["own"]) / n_coded,
                "ratio": ratio("own"),
                "ratio_of_minima": min(times["own"]) / min(bare),
                "ratio_dense": ratio("dense"),
                "difference": float(np.abs(codes["own"] - codes["dense"]).max()),
            }


STUDY = Study(
    rows,
    labels="shape dtype network",
    measures="nonzeros floor_us predict_us ratio ratio_of_minima ratio_dense difference",
)

if __name__ == "__main__":
    STUDY.main()
