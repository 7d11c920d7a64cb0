"""Loops over single samples, in steps that numba compiles; without it they are plain Python.

:func:`pursue`, orthogonal matching pursuit, for every sample::

    repeat
        refine      codes by their residual, where its energy is small or doubtful: perhaps the end
        largest     correlation: the next atom, or group of atoms, one by one
        project     it onto the atoms so far, which is the next row of their Cholesky factor
        extend      the codes by it, and take what changed out of the correlations

D are atoms and G their inner products; X and x codes, q = A^T b, c the correlations with the
residual. The first ``size`` entries of x belong to the atoms in members. Factors have the inverse
of their diagonal in its place, to multiply by. Inner loops take a matrix and the number of a row:
a view of the row would count references.
"""

from __future__ import annotations

import numpy as np


def copy(table, row, out):
    """Overwrite out by a row."""
    for i in range(len(out)):
        out[i] = table[row, i]


def sum_rows(table, places, weights, size, out):
    """Write the sum of so many rows of a table, each times its weight."""
    for i in range(len(out)):
        out[i] = 0
    # Four rows at a time, so that the sums are read and written less.
    fours = size - size % 4
    for at in range(0, fours, 4):
        w0, w1, w2, w3 = weights[at], weights[at + 1], weights[at + 2], weights[at + 3]
        p0, p1, p2, p3 = places[at], places[at + 1], places[at + 2], places[at + 3]
        for i in range(len(out)):
            out[i] += w0 * table[p0, i] + w1 * table[p1, i] + w2 * table[p2, i] + w3 * table[p3, i]
    for at in range(fours, size):
        for i in range(len(out)):
            out[i] += weights[at] * table[places[at], i]


def subtract(scale, table, row, size, out):
    """Take a multiple of the first entries of a row from others."""
    for i in range(size):
        out[i] -= scale * table[row, i]


def forward(L, row, value, w):
    """Return an entry of ``L^-1 v``, given that of v and the entries before it."""
    for i in range(row):
        value -= L[row, i] * w[i]
    return value * L[row, row]


def backward(L, size, w):
    """Overwrite w by ``L^-T w``."""
    for row in range(size - 1, -1, -1):
        w[row] *= L[row, row]
        subtract(w[row], L, row, row, w)


def squared_norm(r):
    """Return ``||r||^2``."""
    total = r.dtype.type(0)
    for i in range(len(r)):
        total += r[i] * r[i]
    return total


def inner(D, atom, r):
    """Return the inner product of an atom and r."""
    total = r.dtype.type(0)
    for i in range(len(r)):
        total += D[atom, i] * r[i]
    return total


def product(G, D, one, two):
    """Return the inner product of two atoms, looked up if G has them."""
    return G[one, two] if len(G) else inner_of_atoms(D, one, two)


def inner_of_atoms(D, one, two):
    """Return the inner product of two atoms."""
    total = D.dtype.type(0)
    for i in range(D.shape[1]):
        total += D[one, i] * D[two, i]
    return total


def pursue(
    G, D, b, q, tol, most, eps, dependent, order, starts, X, n_nonzero, residual, reached
):  # fmt: skip
    """Overwrite the codes X of unit atoms; G and D end with a zero atom, which q leaves out.

    Group g has the atoms order[starts[g] : starts[g + 1]].
    """
    n_samples, n_atoms = q.shape
    single = len(starts) > n_atoms
    room = room_of(most, starts, D.shape[1])
    factor, members = np.empty((room, room), D.dtype), np.empty(room, np.int64)
    x, w, d = np.empty(room, D.dtype), np.empty(room, D.dtype), np.empty(room, D.dtype)
    c, r = np.empty(n_atoms, D.dtype), np.empty(D.shape[1], D.dtype)
    other = np.empty_like(r)
    for sample in range(n_samples):
        size, count, stuck, goal = 0, 0, False, tol[sample]
        copy(q, sample, c)
        copy(b, sample, r)
        energy = squared_norm(r)
        length, doubtful = np.sqrt(energy), np.sqrt(eps) * energy
        while True:
            full = stuck or count >= most[sample]
            if full or energy <= max(goal, doubtful):
                energy = refine(D, b, sample, members, x, size, factor, d, r, other)
                rounding = 2 * eps * (length + l1_norm(x, size))
                reached[sample] = energy <= max(goal, rounding * rounding)
                if full or reached[sample]:
                    break
                doubtful = np.sqrt(eps) * energy
                for atom in range(n_atoms):
                    c[atom] = inner(D, atom, r)
            best = largest(c) if single else largest_group(c, order, starts)
            before, mute = size, is_mute(c, order, starts, best)
            for nth in range(starts[best], starts[best + 1]):
                atom = order[nth]
                if mute or size == room or G[atom, atom] == 0:
                    continue
                outside = project(G, atom, members, size, factor, w)
                if not outside > dependent:
                    continue
                step = c[atom] / outside
                energy -= c[atom] * step
                members[size] = atom
                extend(step, outside, x, size, factor, w, d)
                size += 1
                # Four atoms at a time, so that the correlations are read and written less.
                fours = size - size % 4
                for at in range(0, fours, 4):
                    d0, d1, d2, d3 = d[at], d[at + 1], d[at + 2], d[at + 3]
                    r0, r1, r2, r3 = members[at], members[at + 1], members[at + 2], members[at + 3]
                    for i in range(n_atoms):
                        c[i] -= d0 * G[r0, i] + d1 * G[r1, i] + d2 * G[r2, i] + d3 * G[r3, i]
                for place in range(fours, size):
                    subtract(d[place], G, members[place], n_atoms, c)
            stuck = size == before
            count += not stuck
        n_nonzero[sample], residual[sample] = count, energy
        for place in range(size):
            X[sample, members[place]] = x[place]


def l1_norm(x, size):
    """Return ``||x||_1``."""
    total = x.dtype.type(0)
    for place in range(size):
        total += abs(x[place])
    return total


def refine(D, b, sample, members, x, size, factor, d, r, other):
    """Correct codes by their residual, as ``_Batch.refresh`` does; return its energy."""
    copy(b, sample, r)
    for place in range(size):
        subtract(x[place], D, members[place], len(r), r)
    energy = squared_norm(r)
    for place in range(size):
        d[place] = forward(factor, place, inner(D, members[place], r), d)
    backward(factor, size, d)
    for i in range(len(r)):
        other[i] = r[i]
    for place in range(size - 1, -1, -1):
        subtract(d[place], D, members[place], len(r), other)
    corrected = squared_norm(other)
    if not corrected <= energy:
        return energy
    for i in range(len(r)):
        r[i] = other[i]
    for place in range(size):
        x[place] += d[place]
    return corrected


def largest(c):
    """Return the first atom with the largest correlation."""
    peak = c.dtype.type(0)
    for atom in range(len(c)):
        peak = max(peak, abs(c[atom]))
    best = 0
    while best < len(c) - 1 and abs(c[best]) != peak:
        best += 1
    return best


def largest_group(c, order, starts):
    """Return the first group whose correlations have the largest norm."""
    best, peak = 0, c.dtype.type(-1)
    for group in range(len(starts) - 1):
        square = c.dtype.type(0)
        for nth in range(starts[group], starts[group + 1]):
            square += c[order[nth]] * c[order[nth]]
        if square > peak:
            best, peak = group, square
    return best


def is_mute(c, order, starts, group):
    """Return whether no atom of a group correlates at all."""
    mute = True
    for nth in range(starts[group], starts[group + 1]):
        mute = mute and c[order[nth]] == 0
    return mute


def room_of(most, starts, n_features):
    """Return how many independent atoms so many groups can have."""
    longest = 0
    for group in range(len(starts) - 1):
        longest = max(longest, starts[group + 1] - starts[group])
    return min(most.max() * longest, starts[-1], n_features)


def project(G, atom, members, size, factor, w):
    """Compute the factor's row of an atom; return its energy outside the span of the others."""
    outside = w.dtype.type(1)
    for place in range(size):
        w[place] = forward(factor, place, G[atom, members[place]], w)
        outside -= w[place] * w[place]
    return outside


def extend(step, outside, x, size, factor, w, d):
    """Append the row and the code of an atom; d is by how much all codes change."""
    for place in range(size):
        factor[size, place] = w[place]
    factor[size, size] = 1 / np.sqrt(outside)
    backward(factor, size, w)
    for place in range(size):
        d[place] = -w[place] * step
        x[place] += d[place]
    d[size] = x[size] = step
