"""What estimators of networks with standard normal weights share."""

from __future__ import annotations

import math

import torch

from sklearn_unroll.estimators._start import FEW, MANY
from sklearn_unroll.nn import Unrolled
from sklearn_unroll.training import Trainer

SHRINKAGES = ("soft", "smooth")


def sharpness_of(shrinkage: str, sharpness: float) -> float:
    """Return the sharpness of a shrinkage by name; the soft threshold's is infinite."""
    return float(sharpness) if shrinkage == "smooth" else math.inf


@torch.no_grad()
def draw_weights(network: Unrolled, generator: torch.Generator, std: float = 0.01) -> None:
    """Overwrite the weights of every layer by normal numbers; tied ones more than once."""
    for layer in network.layers:
        for weight in layer.weights.parameters():
            xi = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            weight.copy_(std * xi)


def normal_trainer(n_samples: int, n_steps: int = 2000) -> Trainer:
    """Return how to train from normal weights, which is farther to go than from an algorithm."""
    if n_samples < FEW:
        return Trainer(learning_rate=5e-3, max_epochs=5)
    if n_samples < MANY:
        n_steps = n_steps // 8
    epochs = max(math.ceil(n_steps * 256 / n_samples), 20)
    return Trainer(learning_rate=5e-3, max_epochs=min(epochs, n_steps), max_steps=n_steps)
