"""Prediction from a file into a file, beside prediction in memory.

``python -m benchmarks.disk`` (on Linux) codes as many observations from a read-only map of a file
into another map, ``predict(X, out=...)``, and from an array into a new one, in turn. ``ratio`` is
the median over the rounds of rows per second from disk by those in memory; files are in the
system's cache, so that what is measured is the package, not the disk. ``held_mb`` is the peak of
the process's own memory (RssAnon; pages of files, which the system may drop, are not in it) beyond
what it held before, ``codes_mb`` what an array of the codes takes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import Any

import numpy as np

from benchmarks.memory import make_model, memory
from benchmarks.study import Option, Row, Study, sides
from benchmarks.timing import compete
from sklearn_unroll import LassoCoder, OMPCoder
from sklearn_unroll.datasets import make_sparse_recovery

MODELS = ("LISTA", "ALISTA", "HyperLISTA", "LassoCoder", "OMPCoder")


@contextmanager
def peak(field: str = "RssAnon") -> Iterator[Callable[[], int]]:
    """Give the largest number of bytes seen so far, by looks every two milliseconds."""
    seen, ends = [memory(field)], Event()

    def look() -> None:
        while not ends.wait(0.002):
            seen.append(memory(field))

    thread = Thread(target=look)
    thread.start()
    try:
        yield lambda: max(seen)
    finally:
        ends.set()
        thread.join()


def rows(
    *,
    seed: int,
    shape: str = Option("64x256", "16x32", "features x atoms"),
    n_samples: int = Option(1_000_000, 3000),
    models: Sequence[str] = Option(MODELS, MODELS[2:], choices=MODELS),
    repeats: int = Option(3, 2),
) -> Iterator[Row]:
    """Yield a row per network or coder."""
    n_features, n_components = sides(shape)
    pairs = make_sparse_recovery(
        min(n_samples, 20_000), n_features, n_components, sparsity=3, random_state=seed,
        dtype="float32",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        X = np.lib.format.open_memmap(
            Path(folder) / "X.npy", "w+", np.float32, (n_samples, n_features)
        )
        for start in range(0, n_samples, len(pairs.X)):
            part = X[start : start + len(pairs.X)]
            part[:] = pairs.X[: len(part)]
        X.flush()
        for name in models:
            model = made(name, pairs.dictionary, seed).fit(pairs.X, pairs.y)
            yield {"model": name, **measured(model, Path(folder), n_samples, repeats)}


def made(name: str, dictionary: np.ndarray, seed: int) -> Any:
    """Return what codes, to be fitted."""
    if name == "LassoCoder":
        return LassoCoder(dictionary, alpha=0.1, tol=1e-4)
    if name == "OMPCoder":
        return OMPCoder(dictionary, n_nonzero_coefs=3)
    return make_model(name, dictionary, True, seed)


def measured(model: Any, folder: Path, n_samples: int, repeats: int) -> Row:
    """Return what prediction from disk and in memory takes."""
    X = np.load(folder / "X.npy", mmap_mode="r")
    size = n_samples, model.n_components_
    out = np.lib.format.open_memmap(folder / "codes.npy", "w+", np.float32, size)
    model.predict(X[:100_000], out=out[:100_000])  # imports, compiled loops
    before = memory("RssAnon")
    with peak() as top:
        model.predict(X, out=out)
    held = top() - before
    array = np.array(X)
    jobs = {"disk": partial(model.predict, X, out=out), "array": partial(model.predict, array)}
    _, seconds = compete(jobs, repeats)
    ratios = [a / d for a, d in zip(seconds["array"], seconds["disk"], strict=True)]
    return {
        "rows_per_s_disk": n_samples / median(seconds["disk"]),
        "rows_per_s_array": n_samples / median(seconds["array"]),
        "ratio": median(ratios),
        "held_mb": held / 1e6,
        "codes_mb": out.nbytes / 1e6,
    }


STUDY = Study(
    rows,
    labels="model",
    measures="rows_per_s_disk rows_per_s_array ratio held_mb codes_mb",
)

if __name__ == "__main__":
    STUDY.main()
