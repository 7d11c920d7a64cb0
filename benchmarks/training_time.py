"""How long ALISTA trains here, beside what the published recipe would cost.

``python -m benchmarks.training_time`` fits ``ALISTARegressor`` at 250x500 on 20,000 pairs and
counts its optimiser steps. The published recipe (Liu, Chen, Wang and Yin 2019, their code) trains
three stages a layer, of at least 5000 steps each, on batches of 64: a few of its steps are timed
at every depth, and added up.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import torch

from benchmarks.report import RESULTS, print_table, write_csv
from benchmarks.run import positive
from benchmarks.timing import cpu_model, installed_versions, limit_threads
from sklearn_unroll import ALISTARegressor
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation, analytic_weight
from sklearn_unroll.metrics import nmse_db, nmse_db_median
from sklearn_unroll.nn import alista, support_counts

COLUMNS = ("recipe", "snr_db", "steps", "minutes", "nmse_db", "median_db")
STAGES, LEAST_STEPS, BATCH = 3, 5000, 64


def ours(n_pairs: int, snr: float | None, shape: tuple[int, int]) -> dict:
    """Return the row of a fit, judged on 2000 fresh signals."""
    data = make_sparse_recovery(
        n_pairs + 2000, *shape, snr_db=snr, random_state=0, dtype="float32"
    )
    model = ALISTARegressor(data.dictionary, device="cpu", random_state=0)
    start = perf_counter()
    model.fit(data.X[:n_pairs], data.y[:n_pairs])
    minutes = (perf_counter() - start) / 60
    codes, y = model.predict(data.X[n_pairs:]), data.y[n_pairs:]
    return {
        "recipe": "ours",
        "snr_db": snr or "inf",
        "steps": model.n_epochs_ * -(-n_pairs // 256),
        "minutes": minutes,
        "nmse_db": nmse_db(y, codes),
        "median_db": nmse_db_median(y, codes),
    }


def published(shape: tuple[int, int], n_layers: int, repeats: int) -> dict:
    """Return the row of the published recipe at its least number of steps, extrapolated."""
    data = make_sparse_recovery(BATCH, *shape, random_state=0, dtype="float32")
    A, y = Dense(torch.from_numpy(data.dictionary)), torch.from_numpy(data.y)
    obs = Observation(torch.from_numpy(data.X), A)
    counts = support_counts(n_layers, shape[1])
    network = alista(A, analytic_weight(A.D), n_layers=n_layers, counts=counts)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    seconds = 0.0
    for depth in range(1, n_layers + 1):
        start = perf_counter()
        for _ in range(repeats):
            optimizer.zero_grad()
            (network(obs, depth) - y).square().sum().backward()
            optimizer.step()
        seconds += STAGES * LEAST_STEPS * (perf_counter() - start) / repeats
    return {
        "recipe": "published, extrapolated",
        "steps": STAGES * LEAST_STEPS * n_layers,
        "minutes": seconds / 60,
    }


def main(argv: Sequence[str] | None = None) -> Path:
    """Run, print and write ``training_time.csv``; return its path."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_time")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs")
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the CSV")
    options = parser.parse_args(argv)
    shape, n_pairs, snrs, repeats = (250, 500), 20_000, (None, 40, 30, 20), 5
    if options.quick:
        shape, n_pairs, snrs, repeats = (20, 40), 200, (30,), 1
    with limit_threads(options.threads) as threads:
        print(threads, flush=True)
        rows = [published(shape, 16, repeats)] + [ours(n_pairs, snr, shape) for snr in snrs]
    rows = [row | {"versions": installed_versions(), "cpu": cpu_model()} for row in rows]
    print_table(rows, COLUMNS, title=f"training ALISTA, {shape[0]}x{shape[1]}, 16 layers")
    return write_csv(rows, options.output / "training_time.csv")


if __name__ == "__main__":
    main()
