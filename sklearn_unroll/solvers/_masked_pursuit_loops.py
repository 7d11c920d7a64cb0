"""Greedy codes of samples of which some entries are seen, in steps that numba compiles.

:func:`pursue_seen`, orthogonal matching pursuit, for every sample::

    repeat
        settle      codes and their residual, where its energy is small: perhaps the end
        correlate   all atoms with the residual: the one of the least angle, or such a group
        append      its direction outside the span of the atoms so far, by Gram and Schmidt
        step        along that direction, and take it out of the residual

Names are those of ``_masked_steps``.
"""

from __future__ import annotations

import numpy as np

from sklearn_unroll.solvers._loops import (
    is_mute,
    l1_norm,
    largest,
    largest_group,
    room_of,
    subtract,
    sum_rows,
)
from sklearn_unroll.solvers._masked_steps import dot, energy_of, look, residual


def pursue_seen(
    T, b, seen, tol, most, eps, dependent, order, starts, X, n_nonzero, energies, reached
):  # fmt: skip
    """Overwrite the codes X by those of the pursuit on seen entries; groups as in ``pursue``."""
    n_features, n_atoms = T.shape
    single, kind = len(starts) > n_atoms, T.dtype
    room = room_of(most, starts, n_features)
    Q, atoms = np.empty((room, n_features), kind), np.empty((room, n_features), kind)
    R, members = np.empty((room, room), kind), np.empty(room, np.int64)
    x, along, d = np.empty(room, kind), np.empty(room, kind), np.empty(room, kind)
    places, own = np.empty(n_features, np.int64), np.empty(n_features, kind)
    r, other = np.empty(n_features, kind), np.empty(n_features, kind)
    c, inverse = np.empty(n_atoms, kind), np.empty(n_atoms, kind)
    for sample in range(len(b)):
        n_seen = look(b, seen, sample, places, own)
        inverse_norms(T, places, n_seen, inverse)
        size, count, stuck, goal = 0, 0, False, tol[sample]
        energy = residual(own, atoms, x, 0, n_seen, r)
        length, doubtful = np.sqrt(energy), np.sqrt(eps) * energy
        while True:
            full = stuck or count >= most[sample]
            if full or energy <= max(goal, doubtful):
                energy = settle(own, atoms, Q, R, along, size, n_seen, x, d, r, other)
                rounding = 2 * eps * (length + l1_norm(x, size))
                reached[sample] = energy <= max(goal, rounding * rounding)
                if full or reached[sample]:
                    break
                doubtful = np.sqrt(eps) * energy
            sum_rows(T, places, r, n_seen, c)
            for atom in range(n_atoms):
                c[atom] *= inverse[atom]
            best = largest(c) if single else largest_group(c, order, starts)
            before, mute = size, is_mute(c, order, starts, best)
            for nth in range(starts[best], starts[best + 1]):
                atom = order[nth]
                if mute or size == min(room, n_seen):
                    continue
                for i in range(n_seen):
                    Q[size, i] = atoms[size, i] = T[places[i], atom] * inverse[atom]
                if not append(Q, R, size, n_seen) > dependent:
                    continue
                members[size], along[size] = atom, dot(Q, size, r, n_seen)
                subtract(along[size], Q, size, n_seen, r)
                energy = energy_of(r, n_seen)
                size += 1
            stuck = size == before
            count += not stuck
        n_nonzero[sample], energies[sample] = count, energy
        for place in range(size):
            X[sample, members[place]] = x[place] * inverse[members[place]]


def inverse_norms(T, places, n_seen, inverse):
    """Compute the inverse norms of all atoms on seen entries, zero where nothing is left."""
    for i in range(len(inverse)):
        inverse[i] = 0
    for at in range(n_seen):
        for i in range(len(inverse)):
            inverse[i] += T[places[at], i] * T[places[at], i]
    for i in range(len(inverse)):
        inverse[i] = 1 / np.sqrt(inverse[i]) if inverse[i] > 0 else 0


def append(Q, R, size, n_seen):
    """Orthogonalise the new direction, twice; return its energy outside the span of the others."""
    for old in range(size):
        R[size, old] = 0
    for _ in range(2):
        for old in range(size):
            share = dot(Q, old, Q[size], n_seen)
            R[size, old] += share
            subtract(share, Q, old, n_seen, Q[size])
    outside = energy_of(Q[size], n_seen)
    length = np.sqrt(outside)
    R[size, size] = length
    if length > 0:
        for i in range(n_seen):
            Q[size, i] /= length
    return outside


def solve(R, rhs, size, out):
    """Compute ``out = R^-1 rhs``; row j of R holds column j of the triangle."""
    for row in range(size - 1, -1, -1):
        out[row] = rhs[row] / R[row, row]
        for later in range(row + 1, size):
            out[row] -= R[later, row] * out[later] / R[row, row]


def settle(b, atoms, Q, R, along, size, n_seen, x, d, r, other):
    """Compute codes, correct them once, and return the energy of their residual."""
    solve(R, along, size, x)
    energy = residual(b, atoms, x, size, n_seen, r)
    for place in range(size):
        d[place] = dot(Q, place, r, n_seen)
    solve(R, d, size, d)
    for place in range(size):
        d[place] += x[place]
    corrected = residual(b, atoms, d, size, n_seen, other)
    if not corrected <= energy:
        return energy
    for place in range(size):
        x[place] = d[place]
    for i in range(n_seen):
        r[i] = other[i]
    return corrected
