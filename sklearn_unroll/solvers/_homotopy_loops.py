"""The lasso's path from zero codes, one sample after another, in steps that numba compiles.

:func:`follow`, the homotopy of the lasso, for every sample::

    admit       the atom that correlates most: alpha is its correlation
    repeat
        direct      d = G_S^-1 s: codes move by it, correlations by a = A^T A_S d, alpha by 1
        meet        how far the first atom outside reaches the same correlation
        vanish      how far the first code reaches zero
        record      codes of all targets that lie before: polish them by their residual, and
                    measure their gap, from inner products
        advance     to the nearer of both, and admit or remove that atom

S are the atoms in use and s their signs. G are inner products of atoms, to be looked up, or has no
rows: then products go through the features. The first ``size`` entries of x, s, d and w belong to
the atoms in members; outer is 1 for atoms outside, 0 for members and -1 for those that are
dependent on members. Factors have the inverse of their diagonal in its place.
"""

from __future__ import annotations

import numpy as np

from sklearn_unroll.solvers._descent_loops import _ROUNDING, certificate, correlate, measure, peaks
from sklearn_unroll.solvers._loops import (
    backward,
    copy,
    forward,
    inner,
    product,
    squared_norm,
    subtract,
    sum_rows,
)

ALPHA, ERROR, RADIUS = 0, 1, 2  # what targets are
# Squared norm of an atom outside the span of others, as part of it, that counts as dependent.
_DEPENDENT = 1e-12
_SLACK = 64 * 2.0**-52  # by which a bound is missed, relative to it: rounding
_TINY, _NEVER = 1e-290, 1e-300  # their quotient is out of reach


def follow(G, D, b, q, energies, targets, kind, room, most, positive, l2, X, alpha, gaps, kinks):
    """Overwrite codes X, alpha and gaps, (targets, samples), by those of the lasso's path."""
    n_samples, n_atoms = q.shape
    factor, members = np.empty((room, room // 8 * 8 + 8)), np.empty(room, np.int64)
    x, s, d = np.empty(room), np.empty(room), np.empty(room)
    w, z, move = np.empty(room), np.empty(room), np.empty(room)
    c, a, g = np.empty(n_atoms), np.empty(n_atoms), np.empty(n_atoms)
    ahead, outer = np.empty(n_atoms), np.empty(n_atoms)
    r, longest = np.empty(D.shape[1]), 0.0
    for i in range(n_atoms):
        longest = max(longest, np.sqrt(product(G, D, i, i)))
    for sample in range(n_samples):
        copy(q, sample, c)
        outer[:] = 1.0
        energy = total = energies[sample]
        level, atom = strongest(c, positive)
        nth = at_zero(targets, kind, sample, level, energy, alpha, gaps)
        size = n_kinks = 0
        norm, gone, wait = 0.0, -1, -1
        while nth < len(targets) and level > 0.0 and n_kinks < most:
            n_kinks += 1
            if atom >= 0:
                size = admit(G, D, l2, atom, c, positive, members, size, outer, factor, x, s, w)
            if gone >= 0:
                size = remove(members, gone, size, outer, factor, x, s, w)
            if size == 0:
                break
            slope = direct(factor, size, s, w, d)
            turn(G, D, l2, members, d, size, r, a)
            meet(c, a, level, outer, positive, ahead)
            if wait >= 0:
                ahead[wait] = again(c[wait], a[wait], level, positive)
            reach, joins = least(ahead), True
            if size == room or not reach < level:
                reach, joins = level, False
            length, gone = vanish(x, s, d, size, reach)
            if gone >= 0:
                reach, joins = length, False
            while nth < len(targets):
                step = until(kind, targets[nth, sample], level, energy, norm, slope)
                if not step <= reach:
                    break
                for place in range(size):
                    z[place] = x[place] + step * d[place]
                alpha[nth, sample] = polish(
                    D, b, sample, l2, kind, targets[nth, sample], level - step, slope, members,
                    z, s, size, factor, r, move,
                )  # fmt: skip
                for place in range(size):
                    X[nth, sample, members[place]] = z[place]
                if kind == ALPHA and targets[nth, sample] > 0.0:
                    correlate(G, D, b, q, sample, l2, members, z, size, r, g)
                    peak, _ = peaks(g, outer, positive)
                    gap = measure(
                        q, sample, total, g, peak, members, z, size, targets[nth, sample]
                    )
                    gaps[nth, sample] = certificate(G, D, gap, total, members, z, size)
                elif kind != ALPHA:
                    correlate(G, D, b, q, sample, l2, members, z, size, r, g)
                    peak, _ = peaks(g, outer, positive)
                    gaps[nth, sample] = bounded(
                        D, b, sample, kind, targets[nth, sample], total, longest, g, peak,
                        members, z, size, r,
                    )  # fmt: skip
                nth += 1
            if nth == len(targets):
                break
            atom = first(ahead, reach) if joins else -1
            wait = members[gone] if gone >= 0 else -1
            energy += slope * ((level - reach) * (level - reach) - level * level)
            norm += reach * slope
            level -= reach
            for place in range(size):
                x[place] += reach * d[place]
            for i in range(n_atoms):
                c[i] -= reach * a[i]
        kinks[sample] = n_kinks
        for late in range(nth, len(targets)):  # out of reach: the end of the path
            alpha[late, sample] = level
            settle(kind, targets[late, sample], x, s, size)
            for place in range(size):
                X[late, sample, members[place]] = x[place]


def strongest(c, positive):
    """Return the largest correlation, and the first atom that has it."""
    level, atom = 0.0, 0
    for i in range(len(c)):
        level = max(level, c[i] if positive else abs(c[i]))
    while atom < len(c) - 1 and c[atom] != level and (positive or c[atom] != -level):
        atom += 1
    return level, atom if level > 0.0 else -1


def at_zero(targets, kind, sample, level, energy, alpha, gaps):
    """Record the targets that zero codes meet, and return how many these are."""
    for nth in range(len(targets)):
        target = targets[nth, sample]
        if (kind == ALPHA and target < level) or (kind == ERROR and target < energy):
            return nth
        if kind == RADIUS and target > 0.0:
            return nth
        alpha[nth, sample] = target if kind == ALPHA else level
        gaps[nth, sample] = 0.0
    return len(targets)


def admit(G, D, l2, atom, c, positive, members, size, outer, factor, x, s, w):
    """Put an atom behind the members, unless it depends on them, and return their number."""
    square = left = product(G, D, atom, atom) + l2[atom]
    for place in range(size):
        entry = product(G, D, atom, members[place])
        factor[size, place] = forward(factor, place, entry, factor[size])
        left -= factor[size, place] * factor[size, place]
    if not left > _DEPENDENT * square:
        outer[atom] = -1.0
        return size
    factor[size, size] = 1.0 / np.sqrt(left)
    members[size], x[size], outer[atom] = atom, 0.0, 0.0
    s[size] = 1.0 if positive or c[atom] > 0.0 else -1.0
    w[size] = forward(factor, size, s[size], w)
    return size + 1


def remove(members, gone, size, outer, factor, x, s, w):
    """Take a member out, rotate its factor to triangular form, and return their number."""
    for i in range(len(outer)):
        outer[i] = abs(outer[i])  # what depended on the members may not any more
    outer[members[gone]] = 1.0
    size -= 1
    for row in range(gone, size):
        members[row], x[row], s[row] = members[row + 1], x[row + 1], s[row + 1]
        for column in range(row + 1):
            factor[row, column] = factor[row + 1, column]
        factor[row, row + 1] = 1.0 / factor[row + 1, row + 1]
    for row in range(gone, size):
        one, two = factor[row, row], factor[row, row + 1]
        length = np.sqrt(one * one + two * two)
        cosine, sine = one / length, two / length
        for below in range(row, size):
            one, two = factor[below, row], factor[below, row + 1]
            factor[below, row] = cosine * one + sine * two
            factor[below, row + 1] = cosine * two - sine * one
    for row in range(gone, size):
        factor[row, row] = 1.0 / factor[row, row]
        w[row] = forward(factor, row, s[row], w)
    return size


def direct(factor, size, s, w, d):
    """Compute ``d = G_S^-1 s`` from ``w = L^-1 s``; return ``s^T d``."""
    slope = 0.0
    for place in range(size):
        slope += w[place] * w[place]
    # Apart from the sum, whose order would depend on where in memory w and d are.
    for place in range(size):
        d[place] = w[place]
    backward(factor, size, d)
    return slope


def turn(G, D, l2, members, d, size, r, a):
    """Compute how fast the correlations of all atoms fall, ``a = A^T A_S d + l2 d``."""
    if len(G):
        sum_rows(G, members, d, size, a)
    else:
        for i in range(len(r)):
            r[i] = 0.0
        for place in range(size):
            subtract(-d[place], D, members[place], len(r), r)
        for atom in range(len(a)):
            a[atom] = inner(D, atom, r)
    for place in range(size):
        a[members[place]] += l2[members[place]] * d[place]


def meet(c, a, level, outer, positive, reach):
    """Overwrite reach by how far atoms outside are from the members' correlation."""
    # As one expression for all atoms, it runs on several at once.
    for i in range(len(c)):
        falls = (1.0 - a[i]) * outer[i]
        reach[i] = (max(level - c[i], 0.0) + _TINY) / (falls if falls > 1e-12 else _NEVER)
    if not positive:
        for i in range(len(c)):
            falls = (1.0 + a[i]) * outer[i]
            other = (max(level + c[i], 0.0) + _TINY) / (falls if falls > 1e-12 else _NEVER)
            reach[i] = min(reach[i], other)


def again(c, a, level, positive):
    """Return how far what has just left is from coming back, which it can with the other sign."""
    sign = 1.0 if c > 0.0 else -1.0
    falls = 1.0 + sign * a
    return (level + sign * c) / (falls if falls > 1e-12 and not positive else _NEVER)


def least(reach):
    """Return the least of these lengths."""
    shortest = reach[0]
    for i in range(len(reach)):
        shortest = min(shortest, reach[i])
    return shortest


def first(reach, shortest):
    """Return the first atom that has this length."""
    atom = 0
    while atom < len(reach) - 1 and reach[atom] != shortest:
        atom += 1
    return atom


def vanish(x, s, d, size, reach):
    """Return how far the first code of a member is from zero, and its place, if it is nearer."""
    gone = -1
    for place in range(size):
        if d[place] * s[place] < 0.0:
            length = max(-x[place] / d[place], 0.0)
            if length < reach:
                reach, gone = length, place
    return reach, gone


def until(kind, target, level, energy, norm, slope):
    """Return how far a target is, on a line that goes on for ever."""
    if kind == ALPHA:
        return max(level - target, 0.0)
    if kind == RADIUS:
        return (target - norm) / slope
    square = level * level - (energy - target) / slope
    return level - np.sqrt(square) if square >= 0.0 else 1.0 / _NEVER


def bounded(D, b, sample, kind, target, total, longest, g, peak, members, z, size, r):
    """Return the gap of codes to a bound, with what rounding may have hidden of it.

    Those of ``l1_radius_gap`` and ``error_gap``; longest is the largest norm of an atom.
    """
    norm, g_z, length = 0.0, 0.0, np.sqrt(total)
    for place in range(size):
        norm += abs(z[place])
        g_z += g[members[place]] * z[place]
    reach = length + norm * longest
    if kind == RADIUS:
        if norm > target * (1.0 + _SLACK):
            return np.inf
        hidden = _ROUNDING * reach * max(reach, target * longest)
        return (max(target * peak - g_z, 0.0) + hidden) / (0.5 * total)
    copy(b, sample, r)
    for place in range(size):
        subtract(z[place], D, members[place], len(r), r)
    energy, b_r = squared_norm(r), 0.0
    for i in range(len(r)):
        b_r += b[sample, i] * r[i]
    if energy > target * (1.0 + _SLACK) + 0.25 * _SLACK * total or not norm * peak > 0.0:
        return np.inf
    least = (b_r - np.sqrt(target * energy)) / peak
    hidden = _ROUNDING * reach * (longest + reach / norm) / peak
    return max(1.0 - least / norm, 0.0) + hidden


def polish(D, b, sample, l2, kind, target, alpha, slope, members, z, s, size, factor, r, move):
    """Correct codes of members by their residual, and the alpha that meets a target."""
    for _ in range(1 if kind == ALPHA else 3):
        copy(b, sample, r)
        norm = 0.0
        for place in range(size):
            subtract(z[place], D, members[place], len(r), r)
            norm += abs(z[place])
        if kind == ERROR:
            alpha = np.sqrt(max(alpha * alpha + (target - squared_norm(r)) / slope, 0.0))
        if kind == RADIUS:
            alpha = max(alpha + (norm - target) / slope, 0.0)
        for place in range(size):
            atom = members[place]
            lack = inner(D, atom, r) - l2[atom] * z[place] - alpha * s[place]
            move[place] = forward(factor, place, lack, move)
        backward(factor, size, move)
        for place in range(size):
            z[place] += move[place]
    settle(kind, target, z, s, size)
    return alpha


def settle(kind, target, z, s, size):
    """Bring codes, off by rounding, to where their signs and a bound on their norm hold."""
    norm = 0.0
    for place in range(size):
        if not z[place] * s[place] > 0.0:
            z[place] = 0.0
        norm += abs(z[place])
    if kind == RADIUS and norm > target:
        for place in range(size):
            z[place] *= target / norm
