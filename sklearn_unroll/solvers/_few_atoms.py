"""Codes over a few atoms: one set of signs after another is tried, sample by sample, compiled.

Where the signs s of the codes are known, the lasso is linear: ``x = (G_S + L)^-1 (q_S - alpha s)``
on the atoms S that are used, G their inner products, L the ridge and ``q = A^T b``. Few atoms have
few such sets, whose inverses are computed once for all samples (Tondel, Johansen and Bemporad
2003, the explicit solution of a quadratic program). The path from zero codes costs more there.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from sklearn_unroll.functional._compiled import compiled, in_threads
from sklearn_unroll.solvers._descent_loops import certificate, correlate, measure, peaks
from sklearn_unroll.solvers._loops import copy, inner, subtract
from sklearn_unroll.solvers._samples import Batch, Products

_SETS = 16  # of signs: with more of them the path is shorter
_DEPENDENT = 1e-10  # least eigenvalue of unit atoms, from which on they have no inverse
_ROWS = 2**14  # of a thread at a time


def are_few(n_components: int, positive: bool) -> bool:
    """Return whether so few atoms have few sets of signs."""
    return (2 if positive else 3) ** n_components - 1 <= _SETS


def few_atoms(
    known: Products,
    batch: Batch,
    alpha: np.ndarray,
    positive: bool,
    ridge: np.ndarray,
    found: tuple[np.ndarray, np.ndarray],
) -> None:
    """Overwrite codes, and gaps, where a set of signs is right.

    Weights are positive, and inner products of atoms stored.
    """
    table = sets_of_signs(known.gram + np.diag(ridge), positive)
    loop = compiled(try_sets)

    def run(rows: slice) -> None:
        given, out = (part[rows] for part in (*batch, alpha)), (part[rows] for part in found)
        loop(known.gram, known.D, *given, ridge, *table, positive, *out)

    in_threads(run, len(batch.b), _ROWS)


def sets_of_signs(gram: np.ndarray, positive: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return signs (n_sets, n_atoms), those of most atoms first, and inverses of inner products.

    The inverses are zero outside of the atoms in use; sets of dependent atoms are left out.
    """
    signs, inverses = [], []
    values = (0.0, 1.0) if positive else (0.0, 1.0, -1.0)
    for some in sorted(product(values, repeat=len(gram)), key=lambda s: -np.count_nonzero(s)):
        used = np.flatnonzero(some)
        scale = np.sqrt(gram[used, used])
        if not len(used) or not scale.all():
            continue
        unit = gram[np.ix_(used, used)] / scale / scale[:, None]
        if np.linalg.eigvalsh(unit)[0] > _DEPENDENT:
            inverse = np.zeros_like(gram)
            inverse[np.ix_(used, used)] = np.linalg.inv(unit) / scale / scale[:, None]
            signs.append(some)
            inverses.append(inverse)
    shape = (len(signs), *gram.shape)
    return np.array(signs).reshape(shape[:2]), np.array(inverses).reshape(shape)


def try_sets(G, D, b, q, energies, alpha, l2, signs, inverses, positive, X, gaps):
    """Overwrite the codes X and gaps of samples for which a set of signs is right."""
    n_samples, n_atoms = q.shape
    x, g, lack, outer = np.empty(n_atoms), np.empty(n_atoms), np.empty(n_atoms), np.ones(n_atoms)
    r, members = np.empty(D.shape[1]), np.arange(n_atoms)
    for sample in range(n_samples):
        weight = alpha[sample]
        for nth in range(len(signs)):
            for atom in range(n_atoms):
                lack[atom] = q[sample, atom] - weight * signs[nth, atom]
                x[atom] = 0.0
            if not solve(inverses, signs, nth, lack, x):
                continue
            # Once more, from the residual.
            copy(b, sample, r)
            for atom in range(n_atoms):
                subtract(x[atom], D, atom, len(r), r)
            for atom in range(n_atoms):
                lack[atom] = inner(D, atom, r) - l2[atom] * x[atom] - weight * signs[nth, atom]
            if not solve(inverses, signs, nth, lack, x):
                continue
            correlate(G, D, b, q, sample, l2, members, x, n_atoms, r, g)
            peak, _ = peaks(g, outer, positive)
            if peak > weight * (1.0 + 1e-9):
                continue
            energy = energies[sample]
            gap = measure(q, sample, energy, g, peak, members, x, n_atoms, weight)
            gaps[sample] = certificate(G, D, gap, energy, members, x, n_atoms)
            for atom in range(n_atoms):
                X[sample, atom] = x[atom]
            break


def solve(inverses, signs, nth, lack, x):
    """Add what is lacking to x, and return whether it has the signs of a set."""
    fits = True
    for atom in range(len(x)):
        for other in range(len(x)):
            x[atom] += inverses[nth, atom, other] * lack[other]
        fits = fits and (signs[nth, atom] == 0.0 or x[atom] * signs[nth, atom] > 0.0)
    return fits
