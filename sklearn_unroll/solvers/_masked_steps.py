"""Steps of the loops over samples of which some entries are seen, that numba compiles.

T are the atoms, one a column, so that a seen entry is a row. ``atoms`` has the seen entries of
the atoms in members, b and r those of a sample and of its residual, and ``places`` says where
they are. No inner product of atoms outlives a sample. The rest is named as in ``_loops``.
"""

from __future__ import annotations

from sklearn_unroll.solvers._loops import subtract


def look(table, seen, sample, places, out):
    """Copy the seen entries of a row, and return their number."""
    n_seen = 0
    for i in range(table.shape[1]):
        if seen[sample, i]:
            places[n_seen], out[n_seen] = i, table[sample, i]
            n_seen += 1
    return n_seen


def correlate(T, places, r, n_seen, g):
    """Compute the inner products of all atoms with the residual."""
    for i in range(len(g)):
        g[i] = 0
    # Four entries at a time, so that the sums are read and written less.
    fours = n_seen - n_seen % 4
    for at in range(0, fours, 4):
        r0, r1, r2, r3 = r[at], r[at + 1], r[at + 2], r[at + 3]
        p0, p1, p2, p3 = places[at], places[at + 1], places[at + 2], places[at + 3]
        for i in range(len(g)):
            g[i] += r0 * T[p0, i] + r1 * T[p1, i] + r2 * T[p2, i] + r3 * T[p3, i]
    for at in range(fours, n_seen):
        for i in range(len(g)):
            g[i] += r[at] * T[places[at], i]


def gather(T, members, gathered, size, places, n_seen, atoms, squares):
    """Copy the seen entries of the set's new atoms, and return its size."""
    for place in range(gathered, size):
        for i in range(n_seen):
            atoms[place, i] = T[places[i], members[place]]
        squares[place] = dot(atoms, place, atoms[place], n_seen)
    return size


def dot(table, row, v, size):
    """Return the inner product of a row's first entries with others."""
    total = v.dtype.type(0)
    for i in range(size):
        total += table[row, i] * v[i]
    return total


def residual(b, atoms, x, size, n_seen, r):
    """Compute ``r = b - A x``, and return its energy."""
    for i in range(n_seen):
        r[i] = b[i]
    for place in range(size):
        if x[place] != 0:
            subtract(x[place], atoms, place, n_seen, r)
    return energy_of(r, n_seen)


def energy_of(r, n_seen):
    """Return ``||r||^2``."""
    total = r.dtype.type(0)
    for i in range(n_seen):
        total += r[i] * r[i]
    return total
