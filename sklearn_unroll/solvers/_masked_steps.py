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
