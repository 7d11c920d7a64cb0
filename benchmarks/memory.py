"""How much memory fit and predict take, beside the data and the answer.

``python -m benchmarks.memory`` (on Linux) measures the peak of the resident memory of a process
of its own for each row, from arrays and from read-only maps of files. ``fit`` is the peak over
the bytes of X (and y), which count as one; ``predict`` is the peak over the bytes of the codes,
without X. What the process held before it had any data is not counted; a few samples were fitted
before that.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.study import Option, Row, Study, sides
from benchmarks.timing import limit_threads
from sklearn_unroll import (
    ALISTARegressor,
    HyperLISTARegressor,
    LassoCoder,
    LISTARegressor,
    OMPCoder,
    Trainer,
)
from sklearn_unroll.datasets import make_sparse_recovery

MODELS = {
    "LISTA": LISTARegressor,
    "ALISTA": ALISTARegressor,
    "HyperLISTA": HyperLISTARegressor,
    "OMPCoder": OMPCoder,
    "LassoCoder": LassoCoder,
}
CODERS = ("OMPCoder", "LassoCoder")


def memory(field: str) -> int:
    """Return the bytes of memory that this process holds, VmRSS, or has held at most, VmHWM.

    Not ``ru_maxrss``, which begins with the peak of the process that started this one.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])


def make_model(name: str, dictionary: Any, pairs: bool, seed: int) -> Any:
    """Return an estimator: one pass, with the parts of its own recipe."""
    model = MODELS[name](dictionary)
    params = model.get_params(deep=False)
    if "n_nonzero_coefs" in params:
        model.set_params(n_nonzero_coefs=4)
    if "trainer" in params:
        recipe: Trainer = model.default_trainer(10**6, has_y=pairs)
        model.set_params(trainer=recipe.set_params(max_epochs=1), n_layers=4, random_state=seed)
    return model


def job(told: str) -> None:
    """Do what a row measures, in this process, and print its bytes."""
    task = json.loads(told)
    warnings.simplefilter("ignore")
    folder = Path(task["folder"])
    dictionary = np.load(folder / "dictionary.npy")
    files = ["X", "y"] if task["pairs"] else ["X"]
    model = make_model(task["model"], dictionary, task["pairs"], task["seed"])
    few = [np.load(folder / f"{file}.npy", mmap_mode="r")[:4000].copy() for file in files]
    mode = "r" if task["source"] == "map" else None
    with limit_threads(task["threads"]):
        model.fit(*few).predict(few[0])  # imports, compiled loops
        before = memory("VmRSS")
        data = [np.load(folder / f"{file}.npy", mmap_mode=mode) for file in files]
        model.fit(*data) if task["method"] == "fit" else model.predict(data[0])
    print(memory("VmHWM") - before, sum(array.nbytes for array in data))


def measure(**task: Any) -> tuple[int, int]:
    """Return the bytes at the peak, and those of the data, of a process of its own."""
    code = "import sys; from benchmarks.memory import job; job(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(task)], check=True, capture_output=True, text=True
    )
    top, data = map(int, done.stdout.split()[-2:])
    return top, data


def rows(
    *,
    seed: int,
    threads: int,
    shape: str = Option("64x256", "16x32", "features x atoms"),
    n_samples: int = Option(400_000, 6000),
    models: Sequence[str] = Option(tuple(MODELS), ("LISTA",), choices=tuple(MODELS)),
    sources: Sequence[str] = Option(("array", "map"), ("map",), choices=("array", "map")),
) -> Iterator[Row]:
    """Yield a row per estimator, method, kind of training and kind of data."""
    n_features, n_components = sides(shape)
    with tempfile.TemporaryDirectory() as folder:
        made = make_sparse_recovery(
            n_samples, n_features, n_components, sparsity=3, random_state=seed, dtype="float32"
        )
        for file in ("X", "y", "dictionary"):
            np.save(Path(folder) / f"{file}.npy", made[file])
        answer = made.y.nbytes
        del made
        for name in models:
            ways = [("predict", False)]
            if name not in CODERS:
                ways += [("fit", True), ("fit", False)]
            for method, pairs in ways:
                for source in sources:
                    told = {"model": name, "method": method, "pairs": pairs, "source": source}
                    top, data = measure(folder=folder, seed=seed, threads=threads, **told)
                    beside = top / data if method == "fit" else (top - data) / answer
                    yield told | {"ratio": beside, "peak_mb": top / 1e6, "data_mb": data / 1e6}


STUDY = Study(
    rows,
    labels="model method pairs source",
    measures="ratio peak_mb data_mb",
)

if __name__ == "__main__":
    STUDY.main()
