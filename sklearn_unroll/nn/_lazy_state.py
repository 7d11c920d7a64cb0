"""What the compiled loops of Math-L2O take: problems, settings, and what is known of samples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Columns of ``State.numbers``.
CLOCK, TRUST, TURN, CURVATURE, SCALE, VALUE, BOUND, LEAST, RISES, FALLBACKS, READY = range(11)
# Rows of ``State.vectors``.
X, Y, MOVE, SLOPE, LAST_Y, LAST_SLOPE, STEP, MOMENTUM, WEIGHT, OLD = range(10)
NONE, ACCELERATED, SIGMOID, WIDE = range(4)  # kinds of momentum


class Family(NamedTuple):
    """Lasso problems and their like: ``0.5 ||b - x D||^2 + sum w (s |x| + (1 - s) / 2 x^2)``.

    Arrays have one row for all samples or one for each: b of shape (n_samples, n_features), D
    (n, n_components, n_features), step (n, 1), weight (n, 1 or n_components), start
    (n_samples or 0, n_components). ``share`` is s; ``positive`` keeps codes nonnegative.
    """

    b: np.ndarray
    D: np.ndarray
    step: np.ndarray
    weight: np.ndarray
    start: np.ndarray
    share: float
    positive: bool


class Manner(NamedTuple):
    """What the layer does with outputs: columns of P and A or -1, and its other settings.

    ``regain``, ``lose``, ``give_up``, ``patience`` and ``rounding`` are those of the layer and of
    the guard; ``decades``, ``floor`` and ``tiny`` those of the features.
    """

    p: int
    a: int
    momentum: int
    relative: bool
    guarded: bool
    watched: bool
    largest_step: float
    regain: float
    lose: float
    give_up: float
    patience: float
    rounding: float
    decades: float
    floor: float
    tiny: float


class State(NamedTuple):
    """What is known of samples; first axis: slots.

    Parameters
    ----------
    numbers : ndarray of shape (n_slots, 11)
        Numbers of a sample, named above.
    vectors : ndarray of shape (n_slots, 10, n_components)
        Numbers of its coordinates, named above.
    residuals : ndarray of shape (n_slots, 2, n_features)
        Of x and of y.
    memory, begin : ndarray of shape (n_slots, n_components, n), (1, n_components, n)
        What the network remembers of coordinates, now and at first.
    told : ndarray of int of shape (n_slots, n_components)
        In how many iterations it has been asked.
    past, circumstances : ndarray of shape (n_slots, n_kept, n_components), (n_slots, n_kept, 3)
        Features of coordinates at rest: that of each, and those of the sample.
    """

    numbers: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    memory: np.ndarray
    begin: np.ndarray
    told: np.ndarray
    past: np.ndarray
    circumstances: np.ndarray
