"""Orthogonal matching pursuit for numba to compile, one sample after another."""

from __future__ import annotations

import numpy as np


def pursue(G, D, b, q, tol, most, eps, dependent, X, n_nonzero, residual, reached):
    """Overwrite the codes X of unit atoms D with inner products G; q are correlations with b."""
    # G and D end with a zero atom, which q leaves out.
    n_samples, n = q.shape
    m, room = D.shape[1], most.max()
    factor = np.empty((room, room), D.dtype)
    members = np.empty(room, np.int64)
    x, w, d = np.empty(room, D.dtype), np.empty(room, D.dtype), np.empty(room, D.dtype)
    c, r, other = np.empty(n, D.dtype), np.empty(m, D.dtype), np.empty(m, D.dtype)
    zero = x.dtype.type(0)
    for s in range(n_samples):
        k, stuck, energy = 0, False, zero
        for i in range(n):
            c[i] = q[s, i]
        for i in range(m):
            energy += b[s, i] * b[s, i]
        size, doubtful = np.sqrt(energy), np.sqrt(eps) * energy
        while True:
            if energy <= max(tol[s], doubtful) or k >= most[s] or stuck:
                # As in _Batch.refresh.
                for i in range(m):
                    r[i] = b[s, i]
                for a in range(k):
                    row, step = members[a], x[a]
                    for i in range(m):
                        r[i] -= step * D[row, i]
                energy = new = l1 = zero
                for i in range(m):
                    energy += r[i] * r[i]
                    other[i] = r[i]
                for a in range(k):
                    row, total = members[a], zero
                    for i in range(m):
                        total += D[row, i] * r[i]
                    for i in range(a):
                        total -= factor[a, i] * d[i]
                    d[a] = total * factor[a, a]
                for a in range(k - 1, -1, -1):
                    d[a] *= factor[a, a]
                    row, step = members[a], d[a]
                    for i in range(a):
                        d[i] -= factor[a, i] * step
                    for i in range(m):
                        other[i] -= step * D[row, i]
                for i in range(m):
                    new += other[i] * other[i]
                if new <= energy:
                    energy = new
                    for a in range(k):
                        x[a] += d[a]
                    for i in range(m):
                        r[i] = other[i]
                for a in range(k):
                    l1 += abs(x[a])
                rounding = 2 * eps * (size + l1)
                reached[s] = energy <= max(tol[s], rounding * rounding)
                if reached[s] or k >= most[s] or stuck:
                    break
                doubtful = np.sqrt(eps) * energy
                for j in range(n):
                    total = zero
                    for i in range(m):
                        total += D[j, i] * r[i]
                    c[j] = total
            peak = zero
            for i in range(n):
                peak = max(peak, abs(c[i]))
            best = 0
            while best < n - 1 and abs(c[best]) != peak:
                best += 1
            outside = x.dtype.type(1)
            for a in range(k):
                total = G[best, members[a]]
                for i in range(a):
                    total -= factor[a, i] * w[i]
                w[a] = total * factor[a, a]
                outside -= w[a] * w[a]
            if peak == zero or not outside > dependent:
                stuck = True
                continue
            step = c[best] / outside
            energy -= c[best] * step
            members[k], d[k] = best, step
            for a in range(k):
                factor[k, a] = w[a]
            factor[k, k] = 1 / np.sqrt(outside)  # inverted, to multiply by
            for a in range(k - 1, -1, -1):
                w[a] *= factor[a, a]
                d[a] = -w[a] * step
                for i in range(a):
                    w[i] -= factor[a, i] * w[a]
                x[a] += d[a]
            x[k] = step
            k += 1
            # Four atoms at a time, so that the correlations are read and written less.
            for a in range(0, k - k % 4, 4):
                d0, d1, d2, d3 = d[a], d[a + 1], d[a + 2], d[a + 3]
                r0, r1, r2, r3 = members[a], members[a + 1], members[a + 2], members[a + 3]
                for i in range(n):
                    c[i] -= d0 * G[r0, i] + d1 * G[r1, i] + d2 * G[r2, i] + d3 * G[r3, i]
            for a in range(k - k % 4, k):
                row, step = members[a], d[a]
                for i in range(n):
                    c[i] -= step * G[row, i]
        n_nonzero[s], residual[s] = k, energy
        for a in range(k):
            X[s, members[a]] = x[a]
