"""Steps of compiled loops in vectors do what they say in numpy, and panels hold their matrix."""

import numpy as np
import pytest
import torch

from sklearn_unroll.functional._compiled import HONEST, compiled
from sklearn_unroll.functional._vectors import (
    PANEL,
    above,
    lowest,
    panels,
    soften,
    step_along,
    subtract_rows,
)

KINDS = pytest.mark.parametrize("kind", ["float32", "float64"])


def subtract(source, table, places, values, size, out):
    for panel in range(len(table)):
        subtract_rows(source, table, places, values, 0, 1, size, panel, out)


def step(source, table, places, values, size, out, gamma):
    for panel in range(len(table)):
        step_along(source, table, places, values, 0, 1, size, panel, out, gamma)


def mark(z, theta, words):
    width = PANEL // z.itemsize
    for nth in range(len(words)):
        words[nth] = above(z, 0, nth * width, width, theta)


def shrink(z, theta, words):
    width = PANEL // z.itemsize
    for nth in range(len(words)):
        words[nth] = soften(z, 0, nth * width, width, theta)


def count(word, out):
    size = 0
    while word != 0:
        out[size] = lowest(word)
        word &= word - 1
        size += 1


@KINDS
@pytest.mark.parametrize("n_columns", [1, 64, 100])
@pytest.mark.parametrize("size", [0, 1, 5])
def test_rows_of_panels(size, n_columns, kind):
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((9, n_columns)).astype(kind)
    table = panels(torch.from_numpy(matrix)).numpy()
    wide = len(table) * table.shape[2]
    source = np.zeros((2, wide), kind)
    source[:, :n_columns] = rng.standard_normal((2, n_columns))
    places = np.array([[[0] * 9, [8, 0, 3, 3, 7, 0, 0, 0, 0]]], np.uint32)
    values = rng.standard_normal((1, 2, 9)).astype(kind)
    x = np.zeros(9, kind)
    np.add.at(x, places[0, 1, :size], values[0, 1, :size])
    wanted = source[1, :n_columns] - x @ matrix
    begin = rng.standard_normal((2, wide)).astype(kind)
    for run in (lambda loop: loop, lambda loop: compiled(loop, HONEST)):
        out = begin.copy()
        run(subtract)(source, table, places, values, size, out)
        close = {"rtol": 0, "atol": 20 * np.finfo(kind).eps}
        np.testing.assert_allclose(out[1, :n_columns], wanted, **close)
        assert not out[1, n_columns:].any() and (out[0] == begin[0]).all()
        out = begin.copy()
        run(step)(source, table, places, values, size, out, np.dtype(kind).type(0.3))
        moved = begin[1, :n_columns] + np.dtype(kind).type(0.3) * wanted
        np.testing.assert_allclose(out[1, :n_columns], moved, **close)
        assert (out[0] == begin[0]).all()


@KINDS
def test_what_is_above_a_threshold(kind):
    pytest.importorskip("numba")
    width = PANEL // np.dtype(kind).itemsize
    z = np.zeros((1, 2 * width), kind)
    z[0, [0, 1, 2, 5, width - 1, width]] = [1.0, -1.0, 0.5, np.nan, -np.inf, 0.75]
    for theta in (0.5, 0.0, np.inf):
        theta = np.dtype(kind).type(theta)
        with np.errstate(invalid="ignore"):
            high = ~(np.abs(z[0]) - theta <= 0)
            soft = np.where(high, z[0] - np.copysign(theta, z[0]), 0)
            for run in (lambda loop: loop, lambda loop: compiled(loop, HONEST)):
                words, shrunk = np.zeros((2, 2), np.uint64), z.copy()
                run(mark)(z, theta, words[0])
                run(shrink)(shrunk, theta, words[1])
                bits = np.unpackbits(words.view(np.uint8), bitorder="little").reshape(2, 2, 64)
                for found in bits[:, :, :width].reshape(2, -1):
                    assert found.astype(bool).tolist() == high.tolist()
                np.testing.assert_array_equal(shrunk[0], soft)


def test_the_lowest_bit():
    pytest.importorskip("numba")
    for run in (lambda loop: loop, lambda loop: compiled(loop, HONEST)):
        out = np.full(4, -1)
        run(count)((1 << 62) + (1 << 13) + 1, out)
        assert out.tolist() == [0, 13, 62, -1]
