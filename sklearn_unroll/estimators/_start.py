"""Where networks with few numbers to learn start, and how they are trained from there."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from sklearn_unroll.estimators._state import Given
from sklearn_unroll.functional import GroupL1
from sklearn_unroll.functional.rows import blocks
from sklearn_unroll.nn import Unrolled, calibrate_thresholds, support_counts
from sklearn_unroll.training import Adam, Augmentation, EndToEnd, Trainer

# Samples from which more can be learned than they themselves.
FEW = 64
# Samples from which a recipe is what it is meant to be.
MANY = 256


def check_support_selection(
    selection: tuple[float, float] | None,
    n_layers: int,
    n_components: int,
    groups: GroupL1 | None = None,
) -> list[int] | None:
    """Return the counts of each layer for a schedule in percent, of groups if any, or None."""
    if selection is None:
        return None
    valid = len(selection) == 2 and all(
        isinstance(percent, Real) and 0 <= percent <= 100 for percent in selection
    )
    if not valid:
        raise ValueError(
            f"support_selection must be two numbers between 0 and 100, percent added by each "
            f"layer and percent at most, or None; got {selection!r}."
        )
    n = n_components if groups is None else len(groups.weight)
    return support_counts(n_layers, n, *selection)


def passes(
    n_samples: int, *, n_steps: int | None = None, batch: int = 256, most: int = 100
) -> int:
    """Return in how many passes to take about ``n_steps`` minibatches, of few samples in few."""
    if n_samples < FEW:
        return min(5, most)
    if n_samples < MANY:
        most = min(most, 60)
    if n_steps is None:
        return most
    return min(max(math.ceil(n_steps * batch / n_samples), 1), most)


def budget(n_samples: int, n_steps: int, *, batch: int = 256, most: int = 100) -> dict[str, int]:
    """Return the passes and the minibatches of a recipe, which do not grow with the samples."""
    n_passes = passes(n_samples, n_steps=n_steps, batch=batch, most=most)
    return {"max_epochs": n_passes, "max_steps": n_steps, "batch_size": batch}


def quick_trainer(n_samples: int, n_steps: int = 600, **changes: Any) -> Trainer:
    """Return how to train scalars through their logarithms, from a good start, in few steps."""
    recipe = {
        "learning_rate": 0.03,
        **budget(n_samples, n_steps, most=300),
        "max_grad_norm": None,
        "loss": "log",
        "optimizer": Adam(betas=(0.9, 0.99)),
        # A few numbers cannot overfit, and rare failures, which decide, must be seen.
        "early_stopping": False,
    }
    return Trainer(**(recipe | changes))


def augmentation_of(est: Any, has_y: bool) -> Augmentation | None:
    """Return what a network that minimises the problem itself is to meet besides its samples.

    Noise, and other contrasts, unless it sees each sample in units of its own.
    """
    if has_y:
        return None
    return Augmentation((1.0, 1.0)) if est.alpha_relative else Augmentation()


def label_free_trainer(est: Any, n_samples: int) -> Trainer:
    """Return how to train a network that starts as ISTA to minimise the problem itself."""
    return Trainer(
        "lasso",
        # Weights of a gradient step are of the size 1 / L, and so must be steps on them.
        schedule=EndToEnd(relative=True),
        learning_rate=0.2,
        max_grad_norm=0.03,  # gradients are relative too
        **budget(n_samples, 1600),
        optimizer=Adam(betas=(0.9, 0.95)),
        augmentation=augmentation_of(est, has_y=False),
    )


def has_sparse_codes(given: Given) -> bool:
    """Return whether there are codes with zeros, so that thresholds can be calibrated."""
    y = given.target
    return y is not None and any(bool((y[rows] == 0).any()) for rows in blocks(y))


def calibrate_on_pairs(network: Unrolled, given: Given) -> None:
    """Set the first thresholds from the first 2000 pairs."""
    some = slice(2000)
    weight = None if given.weight is None else given.weight[some]
    calibrate_thresholds(network, given.obs.take(some), given.target[some], weight)
