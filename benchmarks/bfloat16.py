"""What bfloat16 products save, and what they cost in decibels.

``python -m benchmarks.bfloat16`` recovers codes by 16 layers of HyperLISTA, with the products of
all layers in float32, in bfloat16, or in bfloat16 for the first ten layers only, and times them in
turn, in one run. Products in bfloat16 are summed in float32 by the processor; codes stay in
float32 between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.study import Option, Row, Study, decibels, sides
from benchmarks.timing import compete
from sklearn_unroll import HyperLISTARegressor
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.metrics import nmse_db
from sklearn_unroll.nn import Unrolled


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
def codes(network: Unrolled, obs: Observation) -> Tensor:
    """Return codes, in the chunks that ``predict`` uses."""
    return torch.cat([network(chunk) for _, chunk in obs.chunks()])


def rows(
    *,
    seed: int,
    shape: str = Option("250x500", "60x80", "features x atoms"),
    snrs: Sequence[float] = Option((float("inf"), 40.0, 30.0, 20.0), (float("inf"),), "dB"),
    repeats: int = Option(7, 1),
) -> Iterator[Row]:
    """Yield a row per noise level and precision."""
    for snr in snrs:
        data = make_sparse_recovery(
            2000, *sides(shape), snr_db=decibels(snr), random_state=seed, dtype="float32"
        )
        model = HyperLISTARegressor(data.dictionary).fit(data.X[1000:], data.y[1000:])
        D = torch.from_numpy(model.dictionary_)
        obs = Observation(torch.from_numpy(data.X[:1000]), Dense(D))
        networks = {
            "float32": model.network_,
            "bfloat16": halved(model.network_, D, 16),
            "bfloat16, then float32 in 6 layers": halved(model.network_, D, 10),
        }
        jobs = {name: partial(codes, network, obs) for name, network in networks.items()}
        found, seconds = compete(jobs, repeats)
        for name, times in seconds.items():
            yield {
                "shape": shape,
                "snr_db": snr,
                "products": name,
                "us_per_signal": 1e6 * median(times) / len(obs.b),
                "times_faster": median(seconds["float32"]) / median(times),
                "nmse_db": nmse_db(data.y[:1000], found[name].numpy()),
            }


STUDY = Study(
    rows,
    labels="shape snr_db products",
    measures="us_per_signal times_faster nmse_db",
)

if __name__ == "__main__":
    STUDY.main()
