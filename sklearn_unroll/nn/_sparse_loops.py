"""Layers on sparse codes, in steps that numba compiles; without it they are plain Python.

:func:`proceed`, some layers of a network, for every sample and every layer::

    correct   u = q - x G: rows of G where x is not zero
    watch     f(x) + weight ||x||_1, where a guard wants to know it
    gauge     the error ||A^+ r||_1, where the rule looks at it
    move      to the point z = x + gamma u + beta (x - last)
    compact   z to its entries above the threshold
    select    which of them pass; all others are shrunk

:func:`look`, before the layers whose matrix acts on the residual, and after the last layer::

    correct   r = b - x D
    watch     as above

q = P b and G = D P^T belong to the layer's weights, see :mod:`sklearn_unroll.nn.sparse`. With a
reference, codes y of which P r is known, it is u = P r - (x - y) G: near y little is rounded.
Codes are lists of places, ascending, and values; ``now`` is the list of the present ones, 0 or 1,
the other one that of those before. Inner loops take a matrix and the number of a row: a view of
the row would count references.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Columns of ``numbers``, which has a row for every layer: the fields of nn.rules.Scalars.
STEP, THETA, PER_ERROR, BETA, LARGEST_BETA, COUNT, PER_PROGRESS = range(7)
# Entries of a guard: the weight of the l1 norm; 1 / s^2 and L, with s the least and L the largest
# singular value of P and of D, or zeros where only values will do.
WEIGHT, FLAT, STEEP = range(3)
REFERENCE, CHANGE = 2, 3  # lists beside the two of codes; without a reference its size is -1
_TINY = 1.1754944e-38


class Product(NamedTuple):
    """``source - x table``, of shapes (n_samples, n_columns) and (n_atoms, n_columns).

    With a table that has no columns it is the source; any more than the source has are not read.
    """

    source: np.ndarray
    table: np.ndarray


class Codes(NamedTuple):
    """Four lists for every sample, of shape (4, n_samples, n_atoms), and how long they are.

    There may be room for more samples, and there is for one more place, written but not counted.
    ``first`` is a sample's first error, -1 before there is one.
    """

    places: np.ndarray
    values: np.ndarray
    sizes: np.ndarray
    first: np.ndarray


def proceed(correction, residual, error, leverages, numbers, guard, now, x, costs, u, r, g):
    """Overwrite the codes x by those as many layers later as ``numbers`` has rows.

    The error is the size of a product, or of ``leverages`` times the correction, where either has
    entries. Costs, of shape (n_layers, n_samples) or without rows, are those before every layer.
    The three products of a sample go to u, r and g.
    """
    marks = np.zeros(len(u) // 8 * 8 + 8, np.uint8)
    words = marks.view(np.uint64)
    for row in range(len(residual.source)):
        at = now
        for layer in range(len(numbers)):
            how = numbers[layer]
            known = at
            if correction.table.shape[1] and x.sizes[REFERENCE, row] >= 0:
                change(x, at, REFERENCE, row)
                known = CHANGE
            correct(correction, x, known, row, u)
            correct(error, x, known, row, g)
            if len(costs):
                costs[layer, row] = watch(residual, u, r, x, at, row, guard)
            theta, count = scales(how, gauge(u, g, leverages), x, row)
            move(u, how, x, at, row)
            at = 1 - at
            compact(u, theta, marks, words, x, at, row)
            select(theta, count, x, at, row)


def look(residual, guard, now, x, before, costs, out):
    """Write costs, given those of the codes before or none, and residuals, where out has rows.

    Codes whose residuals are written are the reference from then on.
    """
    r = np.empty(residual.source.shape[1], x.values.dtype)
    for row in range(len(residual.source)):
        if len(before) and guard[STEEP] > 0.0:
            steps = np.sqrt(change(x, now, 1 - now, row))
            bound = np.sqrt(2.0 * before[row]) + guard[STEEP] * steps
            if within(0.5 * bound * bound, residual, row):
                costs[row] = 0.5 * bound * bound
                continue
        cost = objective(residual, r, x, now, row, guard[WEIGHT])
        if len(costs):
            costs[row] = cost
        if len(out):
            for i in range(len(r)):
                out[row, i] = r[i]
            size = x.sizes[now, row]
            x.sizes[REFERENCE, row] = size
            for nth in range(size):
                x.places[REFERENCE, row, nth] = x.places[now, row, nth]
                x.values[REFERENCE, row, nth] = x.values[now, row, nth]


def correct(product, x, now, row, out):
    """Compute a product, eight rows of its table at a time, so that out is read less."""
    source, table, places, values = product.source, product.table, x.places, x.values
    for i in range(len(out)):
        out[i] = source[row, i]
    size = x.sizes[now, row] if table.shape[1] else 0
    eights = size - size % 8
    for nth in range(0, eights, 8):
        p0, p1 = places[now, row, nth], places[now, row, nth + 1]
        p2, p3 = places[now, row, nth + 2], places[now, row, nth + 3]
        p4, p5 = places[now, row, nth + 4], places[now, row, nth + 5]
        p6, p7 = places[now, row, nth + 6], places[now, row, nth + 7]
        v0, v1 = values[now, row, nth], values[now, row, nth + 1]
        v2, v3 = values[now, row, nth + 2], values[now, row, nth + 3]
        v4, v5 = values[now, row, nth + 4], values[now, row, nth + 5]
        v6, v7 = values[now, row, nth + 6], values[now, row, nth + 7]
        for i in range(len(out)):
            four = v0 * table[p0, i] + v1 * table[p1, i] + v2 * table[p2, i] + v3 * table[p3, i]
            rest = v4 * table[p4, i] + v5 * table[p5, i] + v6 * table[p6, i] + v7 * table[p7, i]
            out[i] -= four + rest
    fours = size - size % 4
    for nth in range(eights, fours, 4):
        p0, p1 = places[now, row, nth], places[now, row, nth + 1]
        p2, p3 = places[now, row, nth + 2], places[now, row, nth + 3]
        v0, v1 = values[now, row, nth], values[now, row, nth + 1]
        v2, v3 = values[now, row, nth + 2], values[now, row, nth + 3]
        for i in range(len(out)):
            out[i] -= v0 * table[p0, i] + v1 * table[p1, i] + v2 * table[p2, i] + v3 * table[p3, i]
    for nth in range(fours, size):
        place, value = places[now, row, nth], values[now, row, nth]
        for i in range(len(out)):
            out[i] -= value * table[place, i]


def squared_norm(r):
    """Return ``||r||^2``."""
    total = r.dtype.type(0)
    for i in range(len(r)):
        total += r[i] * r[i]
    return total


def objective(residual, r, x, now, row, weight):
    """Return ``0.5 ||r||^2 + weight ||x||_1``, and overwrite r by the residual."""
    correct(residual, x, now, row, r)
    size = r.dtype.type(0)
    for nth in range(x.sizes[now, row]):
        size += abs(x.values[now, row, nth])
    return r.dtype.type(0.5) * squared_norm(r) + weight * size


def within(bound, residual, row):
    """Return whether a bound is below the cost of the zero code, with room for rounding."""
    total = residual.source.dtype.type(0)
    for i in range(residual.source.shape[1]):
        total += residual.source[row, i] * residual.source[row, i]
    return bound < 0.49 * total


def watch(residual, u, r, x, now, row, guard):
    """Return the objective, or a bound where that is enough: ``||r|| <= ||P r|| / s``."""
    if guard[FLAT] > 0.0:
        bound = 0.5 * guard[FLAT] * squared_norm(u)
        if within(bound, residual, row):
            return u.dtype.type(bound)
    return objective(residual, r, x, now, row, guard[WEIGHT])


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


def gauge(u, g, leverages):
    """Return the error, ``||g||_1`` or ``sum h |u|``; zero where the rule looks at neither."""
    size = u.dtype.type(0)
    for i in range(len(g)):
        size += abs(g[i])
    for i in range(len(leverages)):
        size += leverages[i] * abs(u[i])
    return size


def scales(how, size, x, row):
    """Return threshold and count, which may follow from the error."""
    theta, count = how[THETA] + how[PER_ERROR] * size, float(how[COUNT])
    if how[PER_PROGRESS] > 0.0:
        if x.first[row] < 0.0:
            x.first[row] = size
        progress = np.log(max(x.first[row], _TINY) / max(size, _TINY))
        largest = float(x.values.shape[2])
        count = min(how[PER_PROGRESS] * progress, largest) if progress > 0.0 else 0.0
    return theta, int(np.rint(count))


def move(u, how, x, now, row):
    """Overwrite a correction by the point to shrink, ``x + gamma u + beta (x - last)``."""
    gamma, places, values = how[STEP], x.places, x.values
    if gamma != 1.0:
        for i in range(len(u)):
            u[i] *= gamma
    size = x.sizes[now, row]
    for nth in range(size):
        u[places[now, row, nth]] += values[now, row, nth]
    if how[BETA] > 0.0:
        beta, last = min(how[BETA] * u.dtype.type(size), how[LARGEST_BETA]), 1 - now
        for nth in range(size):
            u[places[now, row, nth]] += beta * values[now, row, nth]
        for nth in range(x.sizes[last, row]):
            u[places[last, row, nth]] -= beta * values[last, row, nth]


def compact(z, theta, marks, words, x, now, row):
    """Write the entries above the threshold into the codes; NaN is one.

    Marks, a multiple of eight with zeros after the last, are seen as words: in most of them
    nothing is marked.
    """
    size, places, values = 0, x.places, x.values
    for i in range(len(z)):
        # A difference: infinity above infinity is NaN, as everywhere else.
        marks[i] = 0 if abs(z[i]) - theta <= 0.0 else 1
    for word in range(len(words)):
        if words[word]:
            for i in range(8 * word, 8 * word + 8):
                # Written at once and counted then: no branch to foretell.
                places[now, row, size] = i
                size += int(marks[i])
    for nth in range(size):
        values[now, row, nth] = z[places[now, row, nth]]
    x.sizes[now, row] = size


def select(theta, count, x, now, row):
    """Shrink all entries but the largest, as many as count."""
    size, values = x.sizes[now, row], x.values
    if count > 0 and size <= count:
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
    low, high, above = x.first.dtype.type(0), x.first.dtype.type(0), 0
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
            high, above = level, larger
    return high, count - above


def spread(x, now, out):
    """Write codes over a matrix."""
    for row in range(len(out)):
        for i in range(out.shape[1]):
            out[row, i] = 0.0
        for nth in range(x.sizes[now, row]):
            out[row, x.places[now, row, nth]] = x.values[now, row, nth]
