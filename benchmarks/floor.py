"""The baseline of all ratios: the matrix products of 16 layers, and nothing else.

A layer of ``LISTARegressor`` needs two products, ``A x`` and ``W r``. A dense network of 16
layers cannot be faster than its 32 products, so ``ratio_to_floor = 1`` is its speed limit.
The products go through the batch in the chunks that the package uses, into arrays made
beforehand: the fastest form known to us.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.base import Dataset, Solver
from sklearn_unroll.functional import Dense

N_LAYERS = 16
CHUNK = 512  # rows


class Floor(Solver):
    """Two products per layer, 32 by default; it returns no codes."""

    name = "floor"
    n_layers = N_LAYERS
    parameters = ({"dtype": "float32"}, {"dtype": "float64"})

    def prepare(self, dataset: Dataset) -> None:
        self.D = torch.from_numpy(dataset.dictionary)
        # A^T / L, as in an untrained network: values neither overflow nor become denormal,
        # which would distort the times. Every layer has weights of its own, hence the copies.
        weight = (self.D.T / Dense(self.D).lipschitz()).contiguous()
        self.weights = [weight.clone() for _ in range(self.n_layers)]
        self.r = self.D.new_empty(CHUNK, self.D.shape[1])
        self.z = self.D.new_empty(CHUNK, self.D.shape[0])

    def solve(self, X: np.ndarray) -> None:
        for chunk in torch.from_numpy(X).split(CHUNK):
            r, z = self.r[: len(chunk)], self.z[: len(chunk)]
            source = chunk
            for W in self.weights:
                torch.mm(source, W, out=z)
                torch.mm(z, self.D, out=r)
                source = r
