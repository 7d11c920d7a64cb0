"""Layers on sparse codes, in steps that numba compiles; without it they are plain Python.

:func:`proceed`, some layers of a network, layer after layer for all samples of a share::

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
Tables come in panels of a few columns, which stay in the cache while all samples take their rows
of one. Codes are lists of places, ascending, and values; ``now`` is the list of the present ones,
0 or 1, the other one that of those before. Steps take a matrix and the number of a row: a view of
the row would count references.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sklearn_unroll.functional._vectors import (
    PANEL,
    above,
    lowest,
    soften,
    step_along,
    subtract_rows,
)

# Columns of ``numbers``, which has a row for every layer: the fields of nn.rules.Scalars.
STEP, THETA, PER_ERROR, BETA, LARGEST_BETA, COUNT, PER_PROGRESS = range(7)
# Entries of a guard: the weight of the l1 norm; 1 / s^2 and L, with s the least and L the largest
# singular value of P and of D, or zeros where only values will do.
# The classical step 1 / L, where samples that leave the region take it, else zero.
WEIGHT, FLAT, STEEP, CLASSICAL = range(4)
REFERENCE, CHANGE = 2, 3  # lists beside the two of codes; without a reference its size is -1
BEST = 4  # the list of the codes with the least costs, where these are asked for
_TINY = 1.1754944e-38


class Product(NamedTuple):
    """``source - x table``, of a matrix and of panels of a table (functional._vectors).

    Sources are as wide as the panels are together. Without panels it is the source.
    """

    source: np.ndarray
    table: np.ndarray


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


def proceed(correction, residual, error, leverages, numbers, guard, now, x, costs, u, r, g):
    """Overwrite the codes x by those as many layers later as ``numbers`` has rows.

    The error is the size of a product, or of ``leverages`` times the correction, where either has
    entries. Costs, of shape (n_layers, n_samples) or without rows, are those before every layer.
    The three products go to u, r and g; u may be the source of the first.
    """
    n_samples, at = len(u), now
    for layer in range(len(numbers)):
        how = numbers[layer]
        known = at
        if len(correction.table) > 0 and n_samples > 0 and x.sizes[REFERENCE, 0] >= 0:
            known = CHANGE
            for row in range(n_samples):
                change(x, at, REFERENCE, row)
        correct(correction, x, known, x.every[:n_samples], u)
        correct(error, x, at, x.every[:n_samples], g)
        if len(costs):
            watch(residual, u, r, x, at, guard, costs[layer])
        for row in range(n_samples):
            theta, count = scales(how, gauge(u, g, row, leverages), x, row)
            move(u, how, x, at, row)
            compact(u, theta, x, 1 - at, row)
            select(theta, count, x, 1 - at, row)
        at = 1 - at


def descend(correction, residual, numbers, guard, now, x, costs, done, u, r):
    """Do what :func:`proceed` does where all layers are soft thresholds of ``x + gamma u``.

    The codes stand in u, too, with their zeros, before and after: so they are moved and shrunk in
    vectors, and only then listed. Costs, without rows or of all layers, of which some are done.
    """
    n_samples, at = len(u), now
    for layer in range(len(numbers)):
        gamma, theta, known = numbers[layer, STEP], numbers[layer, THETA], at
        if len(correction.table) > 0 and n_samples > 0 and x.sizes[REFERENCE, 0] >= 0:
            known = CHANGE
            for row in range(n_samples):
                change(x, at, REFERENCE, row)
        if len(costs):
            watch(residual, u, r, x, at, guard, costs[done + layer])
            hold(residual, guard, x, at, costs, done + layer, u, r)
        advance(correction, x, known, gamma, u)
        for row in range(n_samples):
            harvest(u, theta, x, 1 - at, row)
        at = 1 - at


def hold(residual, guard, x, now, costs, layer, u, r):
    """Have samples whose codes cost too much take the classical step from the codes before.

    Where that costs too much, too, by rounding, they stay where they were, as in nn.Guarded. The
    codes stand in u, too.
    """
    step, weight = guard[CLASSICAL], guard[WEIGHT]
    if layer == 0 or step <= 0.0:
        return
    for row in range(len(u)):
        if costs[layer, row] <= x.limits[row]:
            continue
        x.refused[row] += 1
        x.listed[0] = row
        correct(residual, x, 1 - now, x.listed[:1], r)
        write_row(x, 1 - now, row, u)
        climb(residual.table, r, step, row, u)
        harvest(u, step * weight, x, now, row)
        measure(residual, r, x, now, x.listed[:1], weight, costs[layer])
        if not costs[layer, row] <= x.limits[row]:
            copy(x, 1 - now, now, row)
            write_row(x, now, row, u)
            measure(residual, r, x, now, x.listed[:1], weight, costs[layer])


def climb(table, r, step, row, u):
    """Add ``step D r`` to the codes of a sample."""
    width = table.shape[2]
    for panel in range(len(table)):
        for j in range(table.shape[1]):
            slope = r.dtype.type(0)
            for i in range(width):
                slope += table[panel, j, i] * r[row, panel * width + i]
            u[row, j] += step * slope


def look(residual, guard, now, x, costs, done, u, r, refer):
    """Write costs, where there are rows for them, of which some are done, and residuals to r.

    All residuals, if they are to be the reference from then on; otherwise bounds on costs may do.
    """
    n_samples = len(residual.source)
    if len(costs) == 0:
        correct(residual, x, now, x.every[:n_samples], r)
    elif guard[STEEP] > 0.0 and not refer:
        for row in range(n_samples):
            steps = np.sqrt(change(x, now, 1 - now, row))
            bound = np.sqrt(2.0 * costs[done - 1, row]) + guard[STEEP] * steps
            costs[done, row] = 0.5 * bound * bound
        rows = unsure(costs[done], residual, x)
        measure(residual, r, x, now, rows, guard[WEIGHT], costs[done])
    else:
        measure(residual, r, x, now, x.every[:n_samples], guard[WEIGHT], costs[done])
        hold(residual, guard, x, now, costs, done, u, r)
    if refer:
        for row in range(n_samples):
            copy(x, now, REFERENCE, row)


def watch(residual, u, r, x, now, guard, costs):
    """Write the objective, or a bound where that is enough: ``||r|| <= ||P r|| / s``."""
    rows = x.every[: len(costs)]
    if guard[FLAT] > 0.0:
        for row in rows:
            costs[row] = 0.5 * guard[FLAT] * squared_norm(u, row)
        rows = unsure(costs, residual, x)
    measure(residual, r, x, now, rows, guard[WEIGHT], costs)


def unsure(bounds, residual, x):
    """Return rows whose bounds are not below the cost of the zero code, with room for rounding."""
    size = 0
    for row in range(len(bounds)):
        x.listed[size] = row
        size += not bounds[row] < 0.98 * 0.5 * squared_norm(residual.source, row)
    return x.listed[:size]


def measure(residual, r, x, now, rows, weight, costs):
    """Write ``0.5 ||r||^2 + weight ||x||_1`` of some samples, and keep the best codes."""
    correct(residual, x, now, rows, r)
    for row in rows:
        size = r.dtype.type(0)
        for nth in range(x.sizes[now, row]):
            size += abs(x.values[now, row, nth])
        costs[row] = r.dtype.type(0.5) * squared_norm(r, row) + weight * size
        if costs[row] <= x.least[row]:  # NaN is no cost
            x.least[row] = costs[row]
            copy(x, now, BEST, row)


def squared_norm(r, row):
    """Return ``||r||^2``."""
    total = r.dtype.type(0)
    for i in range(r.shape[1]):
        total += r[row, i] * r[row, i]
    return total


def correct(product, x, now, rows, out):
    """Compute a product for some samples, panel by panel."""
    for panel in range(len(product.table)):
        for row in rows:
            size = x.sizes[now, row]
            subtract_rows(
                product.source, product.table, x.places, x.values, now, row, size, panel, out
            )


def advance(product, x, now, gamma, out):
    """Add gamma times a product, panel by panel."""
    for panel in range(len(product.table)):
        for row in range(len(out)):
            size = x.sizes[now, row]
            step_along(
                product.source,
                product.table,
                x.places,
                x.values,
                now,
                row,
                size,
                panel,
                out,
                gamma,
            )
    if len(product.table) == 0:
        for row in range(len(out)):
            for i in range(out.shape[1]):
                out[row, i] += gamma * product.source[row, i]


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


def gauge(u, g, row, leverages):
    """Return the error, ``||g||_1`` or ``sum h |u|``; zero where the rule looks at neither."""
    size = u.dtype.type(0)
    for i in range(g.shape[1]):
        size += abs(g[row, i])
    for i in range(len(leverages)):
        size += leverages[i] * abs(u[row, i])
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
        for i in range(u.shape[1]):
            u[row, i] *= gamma
    size = x.sizes[now, row]
    for nth in range(size):
        u[row, places[now, row, nth]] += values[now, row, nth]
    if how[BETA] > 0.0:
        beta, last = min(how[BETA] * x.first.dtype.type(size), how[LARGEST_BETA]), 1 - now
        for nth in range(size):
            u[row, places[now, row, nth]] += beta * values[now, row, nth]
        for nth in range(x.sizes[last, row]):
            u[row, places[last, row, nth]] -= beta * values[last, row, nth]


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
