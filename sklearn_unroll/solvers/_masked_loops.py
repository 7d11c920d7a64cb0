"""The lasso of samples of which some entries are seen, in steps that numba compiles.

:func:`descend_seen`, the lasso by coordinate descent on residuals, for every sample::

    look        which entries are seen
    the set is the support of the first codes
    repeat
        correlate   g = A^T r - l2 x, for all atoms
        measure     the duality gap: the end, if it is small
        admit       atoms with |g| > alpha into the set, those near the largest
        gather      the seen entries of the set's new atoms side by side
        cycle       x_i = soft(a_i^T r + ||a_i||^2 x_i, alpha) / (||a_i||^2 + l2), and r follows
        leap        once the set is complete: to the minimum over the nonzeros, by Cholesky

Names are those of ``_masked_steps``.
"""

from __future__ import annotations

import numpy as np

from sklearn_unroll.solvers._descent_loops import _NEAR, admit, begin, peaks
from sklearn_unroll.solvers._loops import backward, forward, subtract, sum_rows
from sklearn_unroll.solvers._masked_steps import dot, energy_of, gather, look, residual


def descend_seen(T, b, seen, X, passes, alpha, l2, tol, max_passes, positive):
    """Overwrite the codes X by the lasso's on seen entries."""
    n_features, n_atoms = T.shape
    ridged = l2.max() > 0.0
    # With a ridge more atoms than features can be independent, hardly ever so many more.
    room = min((4 if ridged else 1) * n_features, n_atoms)
    atoms, factor = np.empty((n_atoms, n_features)), np.empty((room, room))
    members, used = np.empty(n_atoms, np.int64), np.empty(room, np.int64)
    places, own, r = np.empty(n_features, np.int64), np.empty(n_features), np.empty(n_features)
    x, g, outer = np.empty(n_atoms), np.empty(n_atoms), np.empty(n_atoms)
    squares, ridge, move = np.empty(n_atoms), np.empty(n_atoms), np.empty(room)
    for sample in range(len(b)):
        n_seen = look(b, seen, sample, places, own)
        weight, gathered, n_passes = alpha[sample], 0, 0
        energy = energy_of(own, n_seen)
        loose, n_inner, settled = 0.1, 6, True
        size = begin(X[sample], members, x, outer)
        while True:
            gathered = gather(T, members, gathered, size, places, n_seen, atoms, squares)
            left = residual(own, atoms, x, size, n_seen, r)
            sum_rows(T, places, r, n_seen, g)
            left += lean(l2, members, x, size, ridge, g)
            peak, outside = peaks(g, outer, positive)
            gap = measure(own, r, left, n_seen, peak, x, size, weight)
            if gap <= 0.5 * tol * 0.5 * energy or n_passes >= max_passes or loose < 1e-15:
                break
            before = size
            if outside > weight * (1 + 1e-12):
                least = max(weight * (1 + 1e-12), _NEAR * outside)
                size = admit(g, least, positive, members, x, size, outer)
            if size == before:
                n_inner = min(2 * n_inner, 200)
                if settled:
                    loose *= 0.03
            gathered = gather(T, members, gathered, size, places, n_seen, atoms, squares)
            for new in range(before, size):
                ridge[new] = l2[members[new]]
            for _ in range(min(n_inner, max_passes - n_passes)):
                n_passes += 1
                move_most = cycle(atoms, squares, ridge, weight, positive, x, size, r, n_seen)
                settled = move_most <= loose * weight
                if settled:
                    break
            if size == before:
                most = room if ridged else min(n_seen, room)
                leap(atoms, squares, ridge, weight, x, size, r, n_seen, most, factor, used, move)
        passes[sample] = n_passes
        X[sample] = 0.0
        for place in range(size):
            X[sample, members[place]] = x[place]


def lean(l2, members, x, size, ridge, g):
    """Take the ridge's share from the correlations, and return ``sum l2 x^2``."""
    total = 0.0
    for place in range(size):
        ridge[place] = l2[members[place]]
        g[members[place]] -= ridge[place] * x[place]
        total += ridge[place] * x[place] * x[place]
    return total


def measure(b, r, left, n_seen, peak, x, size, weight):
    """Return the duality gap; left is the energy of the residual, with that of the ridge."""
    b_r, l1 = 0.0, 0.0
    for i in range(n_seen):
        b_r += b[i] * r[i]
    for place in range(size):
        l1 += abs(x[place])
    u = min(max(b_r / max(left, 1e-300), 0.0), weight / max(peak, 1e-300))
    return 0.5 * left + weight * l1 - u * b_r + 0.5 * u * u * left


def cycle(atoms, squares, ridge, weight, positive, x, size, r, n_seen):
    """Minimise over each code of the set in turn, and return the largest move."""
    largest = 0.0
    for place in range(size):
        square = squares[place] + ridge[place]
        if square <= 0.0:  # of a first code whose atom is not seen
            x[place] = 0.0
            continue
        z, new = dot(atoms, place, r, n_seen) + x[place] * squares[place], 0.0
        if z > weight:
            new = (z - weight) / square
        elif z < -weight and not positive:
            new = (z + weight) / square
        step = new - x[place]
        if step != 0.0:
            x[place] = new
            subtract(step, atoms, place, n_seen, r)
            largest = max(largest, abs(step) * square)
    return largest


def leap(atoms, squares, ridge, weight, x, size, r, n_seen, most, factor, used, move):
    """Go to the minimum over the nonzeros with their signs; an atom that is in the way goes out.

    The objective falls on the way, which ends where the atoms are dependent.
    """
    for _ in range(most):
        n_used = list_used(x, size, used, most)
        for nth in range(n_used):
            place = used[nth]
            bound = weight if x[place] > 0.0 else -weight
            move[nth] = dot(atoms, place, r, n_seen) - ridge[place] * x[place] - bound
        if n_used == 0 or not newton(atoms, squares, ridge, used, n_used, n_seen, factor, move):
            return
        first, until = -1, 1.0
        for nth in range(n_used):
            code, step = x[used[nth]], move[nth]
            if (code + step) * code <= 0.0 and -code / step < until:
                first, until = nth, -code / step
        for nth in range(n_used):
            x[used[nth]] += until * move[nth]
            subtract(until * move[nth], atoms, used[nth], n_seen, r)
        if first < 0:
            return
        x[used[first]] = 0.0


def list_used(x, size, used, most):
    """List the places of nonzeros; return how many, none where there are more than that."""
    n_used = 0
    for place in range(size):
        if x[place] != 0.0:
            if n_used == most:
                return 0
            used[n_used] = place
            n_used += 1
    return n_used


def newton(atoms, squares, ridge, used, n_used, n_seen, factor, move):
    """Overwrite move by the solution of the normal equations; return whether there is one."""
    for new in range(n_used):
        row, atom = factor[new], atoms[used[new]]
        for old in range(new):
            row[old] = forward(factor, old, dot(atoms, used[old], atom, n_seen), row)
        square = left = squares[used[new]] + ridge[used[new]]
        for old in range(new):
            left -= row[old] * row[old]
        if not left > 1e-10 * square:
            return False
        row[new] = 1.0 / np.sqrt(left)
        move[new] = forward(factor, new, move[new], move)
    backward(factor, n_used, move)
    return True
