"""Loops of dictionary learning, in steps that numba compiles; without it they are plain Python.

:func:`accumulate`, ``gram += Z^T W Z`` and ``cross += Z^T W X``, over the nonzeros of codes::

    for every sample: list its atoms; for each of them
        add         its products with itself and the atoms before it, and with the signal
    mirror          the lower half of gram into the upper one

:func:`descend_block`, one pass over some atoms, for each that is in use::

    target          u_j = d_j + s_j / a_jj, where the surrogate is least without the ball
    project         d_j = u_j / max(||u_j||, 1), of its positive part if atoms are positive
    take away       what has changed, from the slopes of the block's atoms after it

Z are codes and D atoms; a_j is a row of gram, and ``s_j = b_j - a_j D``, b_j a row of cross.
"""

from __future__ import annotations

import numpy as np


def accumulate(Z, X, weight, gram, cross):
    """Add the products of codes with each other and with signals; gram is symmetric."""
    n_samples, n_atoms = Z.shape
    members = np.empty(n_atoms, np.int64)
    for sample in range(n_samples):
        size = 0
        for atom in range(n_atoms):
            if Z[sample, atom] != 0.0:
                members[size] = atom
                size += 1
        for place in range(size):
            atom = members[place]
            scaled = weight[sample] * Z[sample, atom]
            for other in range(place + 1):
                gram[atom, members[other]] += scaled * Z[sample, members[other]]
            for i in range(X.shape[1]):
                cross[atom, i] += scaled * X[sample, i]
    for atom in range(n_atoms):
        for other in range(atom):
            gram[other, atom] = gram[atom, other]


def descend_block(D, gram, slope, positive):
    """Overwrite some atoms D by those of one pass; gram is theirs, and slope is used up."""
    u = np.empty(D.shape[1])
    for atom in range(len(D)):
        if gram[atom, atom] > 0.0:
            target(D, gram, slope, atom, u)
            project(u, positive)
            take_away(D, gram, slope, atom, u)


def target(D, gram, slope, atom, u):
    """Compute where the surrogate is least in one atom."""
    for i in range(len(u)):
        u[i] = D[atom, i] + slope[atom, i] / gram[atom, atom]


def project(u, positive):
    """Bring u into the unit ball, or into its positive part."""
    square = 0.0
    for i in range(len(u)):
        if positive:
            u[i] = max(u[i], 0.0)
        square += u[i] * u[i]
    if square > 1.0:
        length = np.sqrt(square)
        for i in range(len(u)):
            u[i] /= length


def take_away(D, gram, slope, atom, u):
    """Put u in the place of an atom, and its change into the slopes of the atoms after it."""
    for i in range(len(u)):
        u[i], D[atom, i] = u[i] - D[atom, i], u[i]
    for other in range(atom + 1, len(D)):
        share = gram[other, atom]
        if share != 0.0:
            for i in range(len(u)):
                slope[other, i] -= share * u[i]


def alike(gram, least, outcome):
    """Set the first entry of outcome to whether two atoms have a coherence above least."""
    norm = np.empty(len(gram))
    for atom in range(len(gram)):
        norm[atom] = np.sqrt(gram[atom, atom])
    for atom in range(len(gram)):
        limit, count = least * norm[atom], 0
        for other in range(atom):
            count += abs(gram[atom, other]) > limit * norm[other]
        outcome[0] = count > 0
        if count > 0:
            return
