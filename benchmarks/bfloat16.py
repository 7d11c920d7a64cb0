"""What bfloat16 products save, and what they cost in decibels.

``python -m benchmarks.bfloat16`` recovers codes by 16 layers of HyperLISTA, with the products of
all layers in float32, in bfloat16, or in bfloat16 for the first ten layers only, and times them in
turn, in one run, on one thread. Products in bfloat16 are summed in float32 by the processor; codes
stay in float32 between them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.report import RESULTS, print_table, write_csv
from benchmarks.timing import cpu_model, installed_versions, limit_threads, measure
from sklearn_unroll import HyperLISTARegressor
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.metrics import nmse_db
from sklearn_unroll.nn import Unrolled

COLUMNS = ("snr_db", "products", "us_per_signal", "times_faster", "nmse_db")


class HalfWeights(nn.Module):
    """``W (b - A x)`` with both products in bfloat16."""

    def __init__(self, W: Tensor, D: Tensor) -> None:
        super().__init__()
        self.W, self.D = W.T.contiguous().bfloat16(), D.bfloat16()

    def correction(self, x: Tensor, obs: Observation) -> tuple[Tensor, Tensor]:
        r = obs.b - (x.bfloat16() @ self.D).float()
        return r, (r.bfloat16() @ self.W).float()


def halved(network: Unrolled, D: Tensor, depth: int) -> Unrolled:
    """Return a copy of HyperLISTA whose first layers multiply in bfloat16."""
    half = deepcopy(network.layers[0])
    half.weights = HalfWeights(half.weights.W, D)
    return Unrolled([half] * depth + list(network.layers[depth:]))


@torch.no_grad()
def run(network: Unrolled, obs: Observation) -> Tensor:
    """Return codes, in the chunks that ``predict`` uses."""
    return torch.cat([network(chunk) for _, chunk in obs.chunks()])


def compare(shape: tuple[int, int], snr: float | None, repeats: int) -> list[dict]:
    """Return one row per precision."""
    data = make_sparse_recovery(2000, *shape, snr_db=snr, random_state=0, dtype="float32")
    model = HyperLISTARegressor(data.dictionary).fit(data.X[1000:], data.y[1000:])
    D = torch.from_numpy(model.dictionary_)
    obs = Observation(torch.from_numpy(data.X[:1000]), Dense(D))
    networks = {
        "float32": model.network_,
        "bfloat16": halved(model.network_, D, 16),
        "bfloat16, then float32 in 6 layers": halved(model.network_, D, 10),
    }
    jobs = {name: lambda n=network: run(n, obs) for name, network in networks.items()}
    codes = {name: job() for name, job in jobs.items()}
    seconds = {name: median(times) for name, times in measure(jobs, repeats).items()}
    return [
        {
            "shape": f"{shape[0]}x{shape[1]}",
            "snr_db": snr or "inf",
            "products": name,
            "us_per_signal": 1e6 * seconds[name] / len(obs.b),
            "times_faster": seconds["float32"] / seconds[name],
            "nmse_db": nmse_db(data.y[:1000], found.numpy()),
            "versions": installed_versions(),
            "cpu": cpu_model(),
        }
        for name, found in codes.items()
    ]


def main(argv: Sequence[str] | None = None) -> Path:
    """Run, print and write ``bfloat16.csv``; return its path."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bfloat16")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the CSV")
    options = parser.parse_args(argv)
    shape, snrs, repeats = (250, 500), (None, 40, 30, 20), 7
    if options.quick:
        shape, snrs, repeats = (40, 80), (30,), 1
    with limit_threads(1) as threads:
        print(threads, flush=True)
        rows = [row for snr in snrs for row in compare(shape, snr, repeats)]
    print_table(rows, COLUMNS, title=f"16 layers of HyperLISTA, {shape[0]}x{shape[1]}")
    return write_csv(rows, options.output / "bfloat16.csv")


if __name__ == "__main__":
    main()
