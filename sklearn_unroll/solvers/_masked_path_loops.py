"""The lasso's path of samples of which some entries are seen, in steps that numba compiles.

:func:`follow_seen`, the homotopy of ``_homotopy_loops``, for every sample::

    look        which entries are seen
    gather      those of all atoms: the sample's own dictionary
    correlate   its atoms with the sample
    follow      the path, its products through the features

What is gathered costs as much as one corner of the path; no inner product of atoms is stored.
"""

from __future__ import annotations

import numpy as np

from sklearn_unroll.solvers._homotopy_loops import follow
from sklearn_unroll.solvers._loops import squared_norm, sum_rows
from sklearn_unroll.solvers._masked_steps import look


def follow_seen(D, T, b, seen, targets, kind, room, most, positive, l2, X, alpha, gaps, kinks):
    """Overwrite codes X, alpha and gaps, (targets, samples), by those of paths on seen entries."""
    n_atoms, n_features = D.shape
    places, own = np.empty(n_features, np.int64), np.empty(n_features)
    table, q = np.empty(n_atoms * n_features), np.empty((1, n_atoms))
    energy = np.empty(1)
    none = np.empty((0, 0))
    for sample in range(len(b)):
        n_seen = look(b, seen, sample, places, own)
        atoms = table[: n_atoms * n_seen].reshape(n_atoms, n_seen)
        for atom in range(n_atoms):
            for i in range(n_seen):
                atoms[atom, i] = D[atom, places[i]]
        sum_rows(T, places, own, n_seen, q[0])
        energy[0] = squared_norm(own[:n_seen])
        one = slice(sample, sample + 1)
        follow(
            none, atoms, own[:n_seen].reshape(1, n_seen), q, energy, targets[:, one], kind,
            room if room > n_features else min(room, n_seen), most, positive, l2,
            X[:, one], alpha[:, one], gaps[:, one], kinks[one],
        )  # fmt: skip
