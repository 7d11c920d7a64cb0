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

from sklearn_unroll.functional._vectors import step_along, subtract_rows
from sklearn_unroll.nn._sparse_lists import (
    BEST,
    CHANGE,
    REFERENCE,
    change,
    compact,
    copy,
    harvest,
    select,
    write_row,
)

# Columns of ``numbers``, which has a row for every layer: the fields of nn.rules.Scalars.
STEP, THETA, PER_ERROR, BETA, LARGEST_BETA, COUNT, PER_PROGRESS = range(7)
# Entries of a guard: the weight of the l1 norm; 1 / s^2 and L, with s the least and L the largest
# singular value of P and of D, or zeros where only values will do.
# The classical step 1 / L, where samples that leave the region take it, else zero.
WEIGHT, FLAT, STEEP, CLASSICAL = range(4)
_TINY = 1.1754944e-38


class Product(NamedTuple):
    """``source - x table``, of a matrix and of panels of a table (functional._vectors).

    Sources are as wide as the panels are together. Without panels it is the source.
    """

    source: np.ndarray
    table: np.ndarray


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
        correct(error, x, known, x.every[:n_samples], g)
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
