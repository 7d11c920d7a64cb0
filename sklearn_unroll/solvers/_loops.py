"""Loops over single samples, in steps that numba compiles; without it they are plain Python.

:func:`descend`, the lasso by coordinate descent on a working set, for every sample::

    the set is the support of the first codes
    repeat
        correlate   g = A^T (b - A x), for all atoms
        measure     the duality gap: the end, if it is small
        admit       atoms with |g| > alpha into the set, those near the largest
        gather      the inner products of the set side by side
        cycle       over the set until codes settle: x_i = soft(g_i + G_ii x_i, alpha) / G_ii
        leap        once the set is complete: to the minimum over the nonzeros, by Cholesky

:func:`pursue`, orthogonal matching pursuit, for every sample::

    repeat
        refine      codes by their residual, where its energy is small or doubtful: perhaps the end
        largest     correlation: the next atom
        project     it onto the atoms so far, which is the next row of their Cholesky factor
        extend      the codes by it, and take what changed out of the correlations

D are atoms and G their inner products; X and x codes, q = A^T b, g and c the correlations with the
residual. The first ``size`` entries of x belong to the atoms in members; outer is zero for these
and one for others. Factors have the inverse of their diagonal in its place, to multiply by. Inner
loops take a matrix and the number of a row: a view of the row would count references.
"""

from __future__ import annotations

import numpy as np

# Share of the largest correlation that an atom needs to enter the set: where atoms are alike, few
# should enter at once; where they are random, many.
_NEAR = 0.6


def copy(table, row, out):
    """Overwrite out by a row."""
    for i in range(len(out)):
        out[i] = table[row, i]


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


def descend(G, q, energy, X, passes, alpha, tol, max_passes, positive):
    """Overwrite the codes X by the lasso's; energy is ``||b||^2``."""
    n_samples, n_atoms = q.shape
    # Rows a multiple of 4096 bytes apart would share a few lines of the cache.
    gram = np.empty((n_atoms, n_atoms // 8 * 8 + 8))
    factor, x = np.empty_like(gram), np.empty(n_atoms)
    g, near, move = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    members, used = np.empty(n_atoms, np.int64), np.empty(n_atoms, np.int64)
    outer = np.empty(n_atoms)
    for sample in range(n_samples):
        weight, gathered, n_passes = alpha[sample], 0, 0
        loose, n_inner, settled = 0.1, 6, True
        size = begin(X[sample], members, x, outer)
        while True:
            correlate(G, q[sample], members, x, size, g)
            peak, outside = peaks(g, outer, positive)
            gap = measure(q[sample], energy[sample], g, peak, members, x, size, weight)
            if gap <= 0.5 * tol * 0.5 * energy[sample] or n_passes >= max_passes:
                break
            before = size
            if outside > weight * (1 + 1e-12):
                least = max(weight * (1 + 1e-12), _NEAR * outside)
                size = admit(g, least, positive, members, x, size, outer)
            if size == before:
                n_inner = min(2 * n_inner, 200)
                if settled:
                    loose *= 0.03
            gathered = gather(G, g, members, gathered, size, gram, near)
            for _ in range(min(n_inner, max_passes - n_passes)):
                n_passes += 1
                settled = cycle(gram, weight, positive, near, x, size) <= loose * weight
                if settled:
                    break
            if loose < 1e-15:
                break
            if size == before:
                leap(gram, near, weight, x, size, factor, used, move)
        passes[sample] = n_passes
        X[sample] = 0.0
        for place in range(size):
            X[sample, members[place]] = x[place]


def begin(code, members, x, outer):
    """Put the nonzeros of a code into the set, and return its size."""
    size = 0
    for atom in range(len(code)):
        outer[atom] = 1.0 if code[atom] == 0.0 else 0.0
        if code[atom] != 0.0:
            members[size], x[size] = atom, code[atom]
            size += 1
    return size


def correlate(G, q, members, x, size, g):
    """Compute ``g = q - G x``."""
    for atom in range(len(g)):
        g[atom] = q[atom]
    for place in range(size):
        if x[place] != 0.0:
            subtract(x[place], G, members[place], len(g), g)


def peaks(g, outer, positive):
    """Return the largest correlation, and the largest of atoms outside the set."""
    peak = outside = 0.0
    for atom in range(len(g)):
        value = g[atom] if positive else abs(g[atom])
        peak = max(peak, value)
        outside = max(outside, value * outer[atom])
    return peak, outside


def measure(q, energy, g, peak, members, x, size, weight):
    """Return the duality gap, from inner products: ``||r||^2 = ||b||^2 - <q, x> - <g, x>``."""
    b_x = g_x = l1 = 0.0
    for place in range(size):
        b_x += q[members[place]] * x[place]
        g_x += g[members[place]] * x[place]
        l1 += abs(x[place])
    b_r, r_r = energy - b_x, max(energy - b_x - g_x, 0.0)
    c = weight / max(peak, 1e-300)
    u = min(max(b_r / max(r_r, 1e-300), 0.0), c)
    return 0.5 * r_r + weight * l1 - u * b_r + 0.5 * u * u * r_r


def admit(g, least, positive, members, x, size, outer):
    """Put atoms with at least that correlation into the set, and return its size."""
    for atom in range(len(g)):
        value = g[atom] if positive else abs(g[atom])
        if value >= least and outer[atom] > 0.0:
            members[size], x[size], outer[atom] = atom, 0.0, 0.0
            size += 1
    return size


def gather(G, g, members, gathered, size, gram, near):
    """Copy the set's correlations, and the inner products of its new atoms."""
    for new in range(gathered, size):
        for old in range(new + 1):
            gram[new, old] = gram[old, new] = G[members[new], members[old]]
    for place in range(size):
        near[place] = g[members[place]]
    return size


def cycle(gram, weight, positive, near, x, size):
    """Minimise over each code of the set in turn, and return the largest move."""
    largest = 0.0
    for place in range(size):
        square = gram[place, place]
        if square <= 0.0:
            continue
        z, new = near[place] + x[place] * square, 0.0
        if z > weight:
            new = (z - weight) / square
        elif z < -weight and not positive:
            new = (z + weight) / square
        step = new - x[place]
        if step != 0.0:
            x[place] = new
            subtract(step, gram, place, size, near)
            largest = max(largest, abs(step) * square)
    return largest


def leap(gram, near, weight, x, size, factor, used, move):
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
        if not left > 1e-10 * square:
            return
        row[new] = 1.0 / np.sqrt(left)
        move[new] = forward(factor, new, move[new], move)
    backward(factor, n_used, move)
    for nth in range(n_used):
        if not (x[used[nth]] + move[nth]) * x[used[nth]] > 0.0:
            return
    for nth in range(n_used):
        x[used[nth]] += move[nth]


def pursue(G, D, b, q, tol, most, eps, dependent, X, n_nonzero, residual, reached):
    """Overwrite the codes X of unit atoms; G and D end with a zero atom, which q leaves out."""
    n_samples, n_atoms = q.shape
    room = most.max()
    factor, members = np.empty((room, room), D.dtype), np.empty(room, np.int64)
    x, w, d = np.empty(room, D.dtype), np.empty(room, D.dtype), np.empty(room, D.dtype)
    c, r = np.empty(n_atoms, D.dtype), np.empty(D.shape[1], D.dtype)
    other = np.empty_like(r)
    for sample in range(n_samples):
        size, stuck, goal = 0, False, tol[sample]
        copy(q, sample, c)
        copy(b, sample, r)
        energy = squared_norm(r)
        length, doubtful = np.sqrt(energy), np.sqrt(eps) * energy
        while True:
            full = stuck or size >= most[sample]
            if full or energy <= max(goal, doubtful):
                energy = refine(D, b, sample, members, x, size, factor, d, r, other)
                rounding = 2 * eps * (length + l1_norm(x, size))
                reached[sample] = energy <= max(goal, rounding * rounding)
                if full or reached[sample]:
                    break
                doubtful = np.sqrt(eps) * energy
                for atom in range(n_atoms):
                    c[atom] = inner(D, atom, r)
            best = largest(c)
            outside = project(G, best, members, size, factor, w)
            stuck = c[best] == 0 or not outside > dependent
            if not stuck:
                step = c[best] / outside
                energy -= c[best] * step
                members[size] = best
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
        n_nonzero[sample], residual[sample] = size, energy
        for place in range(size):
            X[sample, members[place]] = x[place]


def squared_norm(r):
    """Return ``||r||^2``."""
    total = r.dtype.type(0)
    for i in range(len(r)):
        total += r[i] * r[i]
    return total


def l1_norm(x, size):
    """Return ``||x||_1``."""
    total = x.dtype.type(0)
    for place in range(size):
        total += abs(x[place])
    return total


def inner(D, atom, r):
    """Return the inner product of an atom and r."""
    total = r.dtype.type(0)
    for i in range(len(r)):
        total += D[atom, i] * r[i]
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
