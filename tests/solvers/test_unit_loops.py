"""Samples into units of their own and back: exact powers of two, whatever their size."""

import numpy as np
import pytest
import torch

from sklearn_unroll.functional._compiled import compiled
from sklearn_unroll.solvers._atom_loops import alike
from sklearn_unroll.solvers._samples import products_of
from sklearn_unroll.solvers._unit_loops import DIVIDES, enter, largest, leave

pytest.importorskip("numba")
SIZES = np.array([1.0, 3e-7, 1e160, 1e-160, 3e-310, 5e-324, 1.7e308, 0.0])


@pytest.mark.parametrize("loop", [enter, compiled(enter, DIVIDES)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_units_are_powers_of_two_and_round_nothing(loop, dtype):
    draws = np.random.default_rng(0).uniform(-1, 1, (len(SIZES), 13))
    with np.errstate(over="ignore", under="ignore"):
        b = (SIZES[:, None] * draws).astype(dtype)
    b[~np.isfinite(b)] = np.finfo(dtype).max
    out, size, energy = np.empty(b.shape), np.empty(len(b)), np.empty(len(b))
    loop(b, out, size, energy)
    peak = np.abs(b).max(1).astype(float)
    assert np.all(np.frexp(size)[0] == 0.5)
    assert np.all((size <= peak) & (peak / 2 < size) | (peak == 0) & (size == 1))
    np.testing.assert_array_equal(out * size[:, None], b)
    np.testing.assert_allclose(energy, (out**2).sum(1))


@pytest.mark.parametrize("loop", [largest, compiled(largest)])
def test_the_largest_correlation_is_of_magnitude_unless_codes_are_positive(loop):
    q, peak = np.array([[1.0, -3.0, 2.0], [-1.0, -2.0, -3.0]]), np.empty(2)
    for positive, expected in ((False, [3.0, 3.0]), (True, [2.0, 0.0])):
        loop(q, positive, peak)
        assert peak.tolist() == expected


@pytest.mark.parametrize("loop", [leave, compiled(leave)])
def test_codes_leave_for_their_rows_and_rounding_is_told(loop):
    x = np.array([[0.5, 0.0], [1.0 + 2.0**-30, 3.0], [2.0**-30, 1.0]])
    place, factor = np.array([1, -1, 0, 2]), np.array([4.0, 0.5, 2.0**-130])
    for dtype, expected in ((np.float64, [False] * 3), (np.float32, [False, True, True])):
        out, moved = np.full((4, 2), np.nan, dtype), np.zeros(3, bool)
        loop(x, place, factor, out, moved)
        np.testing.assert_array_equal(out[[1]], 0)
        np.testing.assert_array_equal(out[[2, 0, 3]], (x * factor[:, None]).astype(dtype))
        assert moved.tolist() == expected


@pytest.mark.parametrize("size", [1.0, 1e-150])
def test_atoms_that_are_alike_are_found_at_any_size(size):
    D = torch.eye(6, dtype=torch.float64) * size
    D[5] = 0
    assert not products_of(D, 10).is_coherent(0.5)
    D[3, 0] = size
    for least, expected in ((0.7, True), (0.71, False)):
        outcome = np.zeros(1, bool)
        alike((D @ D.T).numpy(), least, outcome)
        assert outcome[0] == expected == products_of(D, 10).is_coherent(least)
    assert not products_of(torch.eye(400, dtype=torch.float64), 1).is_coherent(0.0)  # unknown
