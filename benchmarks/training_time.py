"""How long ALISTA trains here, beside what the published recipe would cost.

``python -m benchmarks.training_time`` fits ``ALISTARegressor`` at 250x500 on 20,000 pairs and
counts its optimiser steps. The published recipe (Liu, Chen, Wang and Yin 2019, their code) trains
three stages a layer, of at least 5000 steps each, on batches of 64: a few of its steps are timed
at every depth, and added up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from benchmarks.study import Option, Row, Study, decibels, sides, with_epochs
from benchmarks.timing import clocked
from sklearn_unroll import ALISTARegressor
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation, analytic_weight
from sklearn_unroll.metrics import nmse_db, nmse_db_median
from sklearn_unroll.nn import alista, support_counts

STAGES, LEAST_STEPS, BATCH = 3, 5000, 64


def published(shape: str, n_layers: int, repeats: int, seed: int) -> Row:
    """Return the row of the published recipe at its least number of steps, extrapolated."""
    data = make_sparse_recovery(BATCH, *sides(shape), random_state=seed, dtype="float32")
    A, y = Dense(torch.from_numpy(data.dictionary)), torch.from_numpy(data.y)
    obs = Observation(torch.from_numpy(data.X), A)
    counts = support_counts(n_layers, A.n_components)
    network = alista(A, analytic_weight(A.D), n_layers=n_layers, counts=counts)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    minutes = 0.0
    for depth in range(1, n_layers + 1):

        def steps(depth: int = depth) -> None:
            for _ in range(repeats):
                optimizer.zero_grad()
                (network(obs, depth) - y).square().sum().backward()
                optimizer.step()

        minutes += STAGES * LEAST_STEPS * clocked(steps)[1] / repeats / 60
    told = {"recipe": "published, extrapolated", "snr_db": float("inf")}
    return told | {"steps": STAGES * LEAST_STEPS * n_layers, "minutes": minutes}


def rows(
    *,
    seed: int,
    threads: int = Option(2, 1, "of BLAS, OpenMP and torch"),
    shape: str = Option("250x500", "20x40", "features x atoms"),
    n_layers: int = Option(16, 4),
    n_pairs: int = Option(20_000, 200),
    snrs: Sequence[float] = Option((float("inf"), 40.0, 30.0, 20.0), (30.0,), "dB, or inf"),
    epochs: int | None = Option(None, 20, "instead of the network's own recipe"),
    repeats: int = Option(5, 1, "steps that are timed at every depth"),
) -> Iterator[Row]:
    """Yield the row of the published recipe, and of a fit per noise level, on fresh signals."""
    told = {"shape": shape, "n_layers": n_layers}
    yield told | published(shape, n_layers, repeats, seed)
    for snr in snrs:
        data = make_sparse_recovery(
            n_pairs + 2000, *sides(shape), snr_db=decibels(snr), random_state=seed, dtype="float32"
        )
        model = ALISTARegressor(
            data.dictionary, n_layers=n_layers, device="cpu", random_state=seed
        )
        with_epochs(model, epochs)
        _, seconds = clocked(lambda d=data, m=model: m.fit(d.X[:n_pairs], d.y[:n_pairs]))
        codes, y = model.predict(data.X[n_pairs:]), data.y[n_pairs:]
        yield told | {
            "recipe": "ours",
            "snr_db": snr,
            "steps": model.n_epochs_ * -(-n_pairs // 256),
            "minutes": seconds / 60,
            "nmse_db": nmse_db(y, codes),
            "median_db": nmse_db_median(y, codes),
        }


STUDY = Study(
    rows,
    labels="shape n_layers recipe snr_db",
    measures="steps minutes nmse_db median_db",
)

if __name__ == "__main__":
    STUDY.main()
