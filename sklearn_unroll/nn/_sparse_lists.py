"""Codes as lists, in steps that numba compiles: made of points, selected from, written out again.

See :mod:`sklearn_unroll.nn._sparse_loops`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sklearn_unroll.functional._vectors import PANEL, above, lowest, soften

REFERENCE, CHANGE = 2, 3  # lists beside the two of codes; without a reference its size is -1
BEST = 4  # the list of the codes with the least costs, where these are asked for


class Codes(NamedTuple):
    """Five lists for every sample, of shape (5, n_samples, n_atoms), and how long they are.

    There may be room for more samples, and there is for one more place, written but not counted.
    ``first`` is a sample's first error, -1 before there is one, ``least`` its least cost. Places
    have no sign, so that numba need not look if they count from the end. ``every`` has the numbers
    of all samples, and ``listed`` room for those of some.
    No cost may be above ``limits``, and ``refused`` counts how many were.
    """

    places: np.ndarray
    values: np.ndarray
    sizes: np.ndarray
    first: np.ndarray
    least: np.ndarray
    every: np.ndarray
    listed: np.ndarray
    limits: np.ndarray
    refused: np.ndarray


def copy(x, now, to, row):
    """Copy a list."""
    size = x.sizes[now, row]
    x.sizes[to, row] = size
    for nth in range(size):
        x.places[to, row, nth] = x.places[now, row, nth]
        x.values[to, row, nth] = x.values[now, row, nth]


def change(x, now, before, row):
    """List ``x - before``, of lists whose places ascend, and return its squared norm."""
    places, values, n, m = x.places, x.values, x.sizes[now, row], x.sizes[before, row]
    end, i, j, size, total = x.values.shape[2], 0, 0, 0, 0.0
    while i < n or j < m:
        p = places[now, row, i] if i < n else end
        q = places[before, row, j] if j < m else end
        step = values[now, row, i] if p <= q else x.first.dtype.type(0)
        if q <= p:
            step -= values[before, row, j]
        places[CHANGE, row, size], values[CHANGE, row, size] = min(p, q), step
        total += step * step
        i, j, size = i + (p <= q), j + (q <= p), size + (step != 0.0)
    x.sizes[CHANGE, row] = size
    return total


def compact(z, theta, x, now, row):
    """Write the entries above the threshold into the codes; NaN is one."""
    size, n_atoms, width = 0, x.values.shape[2], PANEL // z.itemsize
    for first in range(0, n_atoms, width):
        size = gather(above(z, row, first, width, theta), first, z, x, now, row, size)
    x.sizes[now, row] = size


def harvest(z, theta, x, now, row):
    """Overwrite z by its soft threshold, and write the entries that are left into the codes."""
    size, n_atoms, width = 0, x.values.shape[2], PANEL // z.itemsize
    for first in range(0, n_atoms, width):
        size = gather(soften(z, row, first, width, theta), first, z, x, now, row, size)
    x.sizes[now, row] = size


def gather(word, first, z, x, now, row, size):
    """Append the entries that bits tell of to a list of a size; return its size then."""
    n_atoms = x.values.shape[2]
    if first + PANEL // z.itemsize > n_atoms:  # behind the last entry there may be anything
        word &= (1 << (n_atoms - first)) - 1
    while word != 0:
        place = first + lowest(word)
        x.places[now, row, size], x.values[now, row, size] = place, z[row, place]
        word &= word - 1
        size += 1
    return size


def select(theta, count, x, now, row):
    """Shrink all entries but the largest, as many as count."""
    size, values = x.sizes[now, row], x.values
    if count <= 0:
        for nth in range(size):
            values[now, row, nth] -= np.copysign(theta, values[now, row, nth])
        return
    if size <= count:
        return
    level, ties = level_of(count, x, now, row)
    for nth in range(size):
        value = values[now, row, nth]
        tie = abs(value) == level
        if abs(value) < level or (tie and ties <= 0):
            values[now, row, nth] = value - np.copysign(theta, value)
        ties -= tie


def level_of(count, x, now, row):
    """Return a level, and how many that are equal to it are among the count largest entries.

    By bisection, which ends where a level parts them, or no number is left between its ends: for
    lists of a hundred that is faster than sorting them.
    """
    size, values, half = x.sizes[now, row], x.values, x.first.dtype.type(0.5)
    low, high, higher = x.first.dtype.type(0), x.first.dtype.type(0), 0
    for nth in range(size):
        high = max(high, abs(values[now, row, nth]))
    while count > 0:
        level = low + half * (high - low)
        if not low < level < high:
            break
        larger = 0
        for nth in range(size):
            larger += abs(values[now, row, nth]) > level
        if larger == count:
            return level, 0
        if larger > count:
            low = level
        else:
            high, higher = level, larger
    return high, count - higher


def spread(x, now, out):
    """Write codes over a matrix."""
    for row in range(len(out)):
        write_row(x, now, row, out)


def write_row(x, now, row, out):
    """Write codes of a sample over a row."""
    for i in range(out.shape[1]):
        out[row, i] = 0.0
    for nth in range(x.sizes[now, row]):
        out[row, x.places[now, row, nth]] = x.values[now, row, nth]
