"""Products with the atoms of a sample, by rows where codes are not zero; numba compiles them."""

from __future__ import annotations

from sklearn_unroll.nn._lazy_state import X, Y


def slope(D, r, of, v, to):
    """Write ``g = -D r`` with one of the residuals, four atoms at a time."""
    n, m = D.shape
    fours = n - n % 4
    for j in range(0, fours, 4):
        t0 = t1 = t2 = t3 = r.dtype.type(0)
        for i in range(m):
            t0 += D[j, i] * r[of, i]
            t1 += D[j + 1, i] * r[of, i]
            t2 += D[j + 2, i] * r[of, i]
            t3 += D[j + 3, i] * r[of, i]
        v[to, j], v[to, j + 1], v[to, j + 2], v[to, j + 3] = -t0, -t1, -t2, -t3
    for j in range(fours, n):
        t0 = r.dtype.type(0)
        for i in range(m):
            t0 += D[j, i] * r[of, i]
        v[to, j] = -t0


def residuals(b, D, v, r, used):
    """Write those of x and y, by rows of D where either is not zero, four at a time."""
    n, m = D.shape
    size = 0
    for j in range(n):  # without branches, which nobody could foretell; NaN is used
        used[size] = j
        size += int((v[X, j] != 0) | (v[Y, j] != 0))
    for i in range(m):
        r[0, i] = r[1, i] = b[i]
    fours = size - size % 4
    for nth in range(0, fours, 4):
        j0, j1, j2, j3 = used[nth], used[nth + 1], used[nth + 2], used[nth + 3]
        x0, x1, x2, x3 = v[X, j0], v[X, j1], v[X, j2], v[X, j3]
        y0, y1, y2, y3 = v[Y, j0], v[Y, j1], v[Y, j2], v[Y, j3]
        for i in range(m):
            d0, d1, d2, d3 = D[j0, i], D[j1, i], D[j2, i], D[j3, i]
            r[0, i] -= x0 * d0 + x1 * d1 + x2 * d2 + x3 * d3
            r[1, i] -= y0 * d0 + y1 * d1 + y2 * d2 + y3 * d3
    for nth in range(fours, size):
        x0, y0 = v[X, used[nth]], v[Y, used[nth]]
        for i in range(m):
            r[0, i] -= x0 * D[used[nth], i]
            r[1, i] -= y0 * D[used[nth], i]


def largest(v, which):
    """Return the largest magnitude of a vector, by four entries at a time: none waits for all."""
    t0 = t1 = t2 = t3 = v.dtype.type(0)
    n = v.shape[1]
    fours = n - n % 4
    for j in range(0, fours, 4):
        t0, t1 = max(t0, abs(v[which, j])), max(t1, abs(v[which, j + 1]))
        t2, t3 = max(t2, abs(v[which, j + 2])), max(t3, abs(v[which, j + 3]))
    for j in range(fours, n):
        t0 = max(t0, abs(v[which, j]))
    return max(max(t0, t1), max(t2, t3))
