"""Coordinate descent on working sets, one sample after another, in steps that numba compiles.

:func:`descend`, the lasso by coordinate descent on a working set, for every sample::

    the set is the support of the first codes
    repeat
        correlate   g = A^T (b - A x) - l2 x, for all atoms
        measure     the duality gap: the end, if it is small
        admit       atoms with |g| > alpha into the set, those near the largest
        gather      the inner products of the set side by side
        cycle       over the set until codes settle: x_i = soft(g_i + G_ii x_i, alpha) / G_ii
        leap        once the set is complete: to the minimum over the nonzeros, by Cholesky

G are inner products of atoms, to be looked up, or has no rows: then products go through the
features. H are the same, or those in float32: then the set is solved in float32, and looked at in
float64 before the end, so that residual and gap never have fewer digits. With G in float32, too,
codes are rough: nothing is looked at in float64, and gaps are what float32 takes them for. The
ridge l2 is on their diagonal: it acts as one feature more for each atom. The first ``size``
entries of x belong to the atoms in members; outer is zero for these and one for others.
"""

from __future__ import annotations

import numpy as np

from sklearn_unroll.solvers._loops import backward, copy, forward, inner, product, subtract

# Share of the largest correlation that an atom needs to enter the set: where atoms are alike, few
# should enter at once; where they are random, many.
# Learned atoms, whose codes are rough, are alike.
_NEAR, _NEAR_ROUGH = 0.6, 0.7
# Energy of an atom outside the span of others, as part of it, from which on there is one minimum.
_ALIKE, _ALIKE_SINGLE = 1e-10, 1e-4
_SINGLE = 1e-6  # moves, as part of alpha, below which float32 is done
_LOOKS = 4  # in float64, at what float32 has found, until it is given up
_ROUNDING = 64 * 2.0**-53  # of inner products, as part of squared lengths


def descend(G, H, D, b, q, energy, X, passes, gaps, alpha, l2, tol, max_passes, positive):
    """Overwrite the codes X by the lasso's; energy is ``||b||^2``."""
    n_samples, n_atoms = q.shape
    # Rows a multiple of 4096 bytes apart would share a few lines of the cache.
    gram = np.empty((n_atoms, n_atoms // 16 * 16 + 16), H.dtype)
    factor, near = np.empty_like(gram), np.empty(n_atoms + 1, H.dtype)  # one is read ahead
    inverse, move = np.empty(n_atoms, H.dtype), np.empty(n_atoms, H.dtype)
    fast = np.empty_like(move)
    x, g = np.empty(n_atoms), np.empty(n_atoms)
    members, used = np.empty(n_atoms, np.int64), np.empty(n_atoms, np.int64)
    outer, r = np.empty(n_atoms), np.empty(D.shape[1])
    single = H.itemsize < 8
    least, digits = (_ALIKE_SINGLE, _SINGLE) if single else (_ALIKE, 0.0)
    rough = G.itemsize < 8
    nearest = _NEAR_ROUGH if rough else _NEAR
    for sample in range(n_samples):
        weight, gathered, n_passes = alpha[sample], 0, 0
        loose, n_inner, settled = 0.1, 6, True
        size = begin(X[sample], members, x, outer)
        exact, n_looks = not single, 0
        while True:
            if exact:
                correlate(G, D, b, q, sample, l2, members, x, size, r, g)
            else:
                correlate_fast(H, q, sample, l2, members, x, size, fast, g)
            peak, outside = peaks(g, outer, positive)
            gap = measure(q, sample, energy[sample], g, peak, members, x, size, weight)
            if gap <= 0.5 * tol * 0.5 * energy[sample] or n_passes >= max_passes:
                if exact or rough:
                    break
                exact = True
                continue
            if single and exact:
                n_looks += 1
                if n_looks > _LOOKS:
                    break
            before = size
            if outside > weight * (1 + 1e-12):
                lowest = max(weight * (1 + 1e-12), nearest * outside)
                size = admit(g, lowest, positive, members, x, size, outer)
            if size == before:
                n_inner = min(2 * n_inner, 200)
                if settled:
                    loose *= 0.03
            gathered = gather(H, D, l2, g, members, gathered, size, gram, inverse, near)
            for _ in range(min(n_inner, max_passes - n_passes)):
                n_passes += 1
                largest = cycle(gram, inverse, weight, positive, near, x, size)
                settled = largest <= max(loose, digits) * weight
                if settled:
                    break
            gap = np.inf  # until the next look
            if loose < 1e-15:
                break
            if size == before:
                leap(gram, near, weight, x, size, factor, used, move, least)
                exact = not rough
        passes[sample] = n_passes
        X[sample] = 0.0
        for place in range(size):
            X[sample, members[place]] = x[place]
        if X.itemsize < 8 and not rough:
            gap += rounded(G, D, l2, g, weight, X, sample, members, x, size)
        gaps[sample] = certificate(G, D, gap, energy[sample], members, x, size)


def begin(code, members, x, outer):
    """Put the nonzeros of a code into the set, and return its size."""
    size = 0
    for atom in range(len(code)):
        outer[atom] = 1.0 if code[atom] == 0.0 else 0.0
        if code[atom] != 0.0:
            members[size], x[size] = atom, code[atom]
            size += 1
    return size


def correlate(G, D, b, q, sample, l2, members, x, size, r, g):
    """Compute ``g = A^T (b - A x) - l2 x``."""
    if len(G):
        copy(q, sample, g)
        take_away(G, members, x, size, g)
    else:
        copy(b, sample, r)
        for place in range(size):
            if x[place] != 0.0:
                subtract(x[place], D, members[place], len(r), r)
        for atom in range(len(g)):
            g[atom] = inner(D, atom, r)
    for place in range(size):
        g[members[place]] -= l2[members[place]] * x[place]


def correlate_fast(H, q, sample, l2, members, x, size, fast, g):
    """Compute the same by sums in float32."""
    copy(q, sample, fast)
    take_away(H, members, x, size, fast)
    for atom in range(len(g)):
        g[atom] = fast[atom]
    for place in range(size):
        g[members[place]] -= l2[members[place]] * x[place]


def take_away(G, members, x, size, g):
    """Take multiples of rows out of correlations, four at a time: g is read and written less."""
    kind, fours = g.dtype.type, size - size % 4
    for at in range(0, fours, 4):
        x0, x1, x2, x3 = kind(x[at]), kind(x[at + 1]), kind(x[at + 2]), kind(x[at + 3])
        r0, r1, r2, r3 = members[at], members[at + 1], members[at + 2], members[at + 3]
        for i in range(len(g)):
            g[i] -= x0 * G[r0, i] + x1 * G[r1, i] + x2 * G[r2, i] + x3 * G[r3, i]
    for place in range(fours, size):
        subtract(kind(x[place]), G, members[place], len(g), g)


def peaks(g, outer, positive):
    """Return the largest correlation, and the largest of atoms outside the set."""
    peak = outside = 0.0
    for atom in range(len(g)):
        value = g[atom] if positive else abs(g[atom])
        peak = max(peak, value)
        outside = max(outside, value * outer[atom])
    return peak, outside


def measure(q, sample, energy, g, peak, members, x, size, weight):
    """Return the duality gap, from inner products: ``||r||^2 = ||b||^2 - <q, x> - <g, x>``."""
    b_x = g_x = l1 = 0.0
    for place in range(size):
        b_x += q[sample, members[place]] * x[place]
        g_x += g[members[place]] * x[place]
        l1 += abs(x[place])
    b_r, r_r = energy - b_x, max(energy - b_x - g_x, 0.0)
    c = weight / max(peak, 1e-300)
    u = min(max(b_r / max(r_r, 1e-300), 0.0), c)
    return 0.5 * r_r + weight * l1 - u * b_r + 0.5 * u * u * r_r


def certificate(G, D, gap, energy, members, x, size):
    """Return a gap relative to the objective at zero, with what rounding may have hidden."""
    if energy <= 0.0:
        return 0.0
    length = np.sqrt(energy)
    for place in range(size):
        length += abs(x[place]) * np.sqrt(product(G, D, members[place], members[place]))
    return (max(gap, 0.0) + _ROUNDING * length * length) / (0.5 * energy)


def rounded(G, D, l2, g, weight, X, sample, members, x, size):
    """Return a bound on what rounding the codes adds to the objective."""
    linear = length = 0.0
    for place in range(size):
        atom = members[place]
        move = X[sample, atom] - x[place]
        linear += weight * (abs(X[sample, atom]) - abs(x[place])) - g[atom] * move
        length += abs(move) * np.sqrt(product(G, D, atom, atom) + l2[atom])
    return linear + 0.5 * length * length


def admit(g, least, positive, members, x, size, outer):
    """Put atoms with at least that correlation into the set, and return its size."""
    for atom in range(len(g)):
        value = g[atom] if positive else abs(g[atom])
        if value >= least and outer[atom] > 0.0:
            members[size], x[size], outer[atom] = atom, 0.0, 0.0
            size += 1
    return size


def gather(H, D, l2, g, members, gathered, size, gram, inverse, near):
    """Copy the set's correlations, and the inner products of its new atoms."""
    for new in range(gathered, size):
        for old in range(new + 1):
            gram[new, old] = gram[old, new] = product(H, D, members[new], members[old])
        gram[new, new] += l2[members[new]]
        square = gram[new, new]
        inverse[new] = 1 / square if square > 0.0 else 0.0  # a first code of a zero atom goes
    for place in range(size):
        near[place] = g[members[place]]
    return size


def cycle(gram, inverse, weight, positive, near, x, size):
    """Minimise over each code of the set in turn, and return the largest move."""
    kind, largest = near.dtype.type, 0.0
    edge, ahead = kind(weight), near[0]
    for place in range(size):
        own, later = ahead, near[place + 1]
        square = gram[place, place]
        z, step, new = own + x[place] * square, kind(-x[place]), 0.0
        if z > weight:
            step = (own - edge) * inverse[place]
            new = max(x[place] + step, 0.0)
        elif z < -weight and not positive:
            step = (own + edge) * inverse[place]
            new = min(x[place] + step, 0.0)
        # Before it is written: the next step need not wait for memory.
        ahead = later - step * gram[place, place + 1]
        step = kind(new - x[place])
        if step != 0.0:
            x[place] = new
            subtract(step, gram, place, size, near)
            largest = max(largest, abs(step) * square)
    return largest


def leap(gram, near, weight, x, size, factor, used, move, least):
    """Go to the minimum over the nonzeros, if it is the only one and leaves their signs alone."""
    n_used = 0
    for place in range(size):
        if x[place] != 0.0:
            used[n_used] = place
            move[n_used] = near[place] - (weight if x[place] > 0.0 else -weight)
            n_used += 1
    for new in range(n_used):
        row = factor[new]
        for old in range(new):
            row[old] = forward(factor, old, gram[used[new], used[old]], row)
        square = left = gram[used[new], used[new]]
        for old in range(new):
            left -= row[old] * row[old]
        if not left > least * square:
            return
        row[new] = 1 / np.sqrt(left)
        move[new] = forward(factor, new, move[new], move)
    backward(factor, n_used, move)
    for nth in range(n_used):
        if not (x[used[nth]] + move[nth]) * x[used[nth]] > 0.0:
            return
    for nth in range(n_used):
        x[used[nth]] += move[nth]
