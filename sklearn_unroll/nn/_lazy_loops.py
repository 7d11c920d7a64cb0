"""Math-L2O sample by sample, where coordinates at rest ask the network later; numba compiles it.

A coordinate is at rest while iterate, extrapolated point and last move are zero and its gradient
does not pass the threshold: whatever step and momentum it got, it would stay zero. So the network
need not say them. It is told what it has missed, step by step, when the coordinate moves: the
iterates are those of the layer, to rounding. An iteration, :func:`iterate`::

    slope     g = -D (b - y D), given the residual of y
    survey    size of the classical step and of the last one, curvature: what features need
    recall    tell the network what coordinates that move now have missed
    think     ask it for those that move: :mod:`sklearn_unroll.nn._lazy_cell`
    move      x+ = prox(y - p g), y+ = x+ + a (x+ - x)
    residuals of x+ and y+, by those rows of D where either is not zero
    guard     where the objective would rise, the classical step, as Guarded does

Samples have a slot of the state each, or take one after the other.
"""

from __future__ import annotations

import numpy as np

from sklearn_unroll.nn._lazy_cell import think
from sklearn_unroll.nn._lazy_products import largest, residuals, slope
from sklearn_unroll.nn._lazy_state import (
    ACCELERATED,
    BOUND,
    CLOCK,
    CURVATURE,
    FALLBACKS,
    LAST_SLOPE,
    LAST_Y,
    LEAST,
    MOMENTUM,
    MOVE,
    NONE,
    OLD,
    READY,
    RISES,
    SCALE,
    SLOPE,
    STEP,
    TRUST,
    TURN,
    VALUE,
    WEIGHT,
    WIDE,
    X,
    Y,
)


def proceed(family, cell, how, state, desk, places, alone, first, last, values, counts, out):
    """Run iterations ``first`` to ``last`` of all samples, and write iterates and fallbacks.

    Values, of shape (last - first + 1, n_samples), are the objectives before and after each,
    where they are watched. ``alone`` says that all samples take the same slot in turn.
    """
    for row in range(len(family.b)):
        slot = 0 if alone else row
        s, v, r = state.numbers[slot], state.vectors[slot], state.residuals[slot]
        memory, told = state.memory[slot], state.told[slot]
        past, now = state.past[slot], state.circumstances[slot]
        b, D = family.b[row], family.D[min(row, len(family.D) - 1)]
        step = family.step[min(row, len(family.step) - 1), 0]
        if first == 0:
            begin(family, row, b, D, step, how, s, v, r, places)
            told[:] = 0
            memory[:] = state.begin[0]
        if how.watched:
            values[0, row] = s[VALUE]
        for k in range(first, last):
            iterate(
                family, k, b, D, step, cell, how, s, v, r, memory, told, past, now, desk, places
            )
            if how.watched:
                values[k + 1 - first, row] = s[VALUE]
        counts[row] = int(s[FALLBACKS])
        for j in range(out.shape[1]):
            out[row, j] = v[X, j]


def begin(family, row, b, D, step, how, s, v, r, places):
    """Write a sample's first state."""
    n = v.shape[1]
    weight = family.weight[min(row, len(family.weight) - 1)]
    for j in range(n):
        v[WEIGHT, j] = weight[min(j, len(weight) - 1)]
        v[X, j] = family.start[row, j] if len(family.start) else 0
        v[Y, j] = v[LAST_Y, j] = v[X, j]
        v[MOVE, j] = 0
    for i in range(len(b)):
        r[1, i] = b[i]
    slope(D, r, 1, v, SLOPE)  # at zero, not at the start: how large the data are
    scale = largest(v, SLOPE)
    s[READY] = 1
    if len(family.start):
        residuals(b, D, v, r, places)
        slope(D, r, 1, v, SLOPE)
    else:
        for i in range(len(b)):
            r[0, i] = b[i]
    if not scale > 0:
        scale = max(largest(v, SLOPE), largest(v, X) / step)
    s[SCALE] = scale if scale > 0 else 1
    s[CLOCK] = s[TRUST] = s[CURVATURE] = 1
    s[TURN] = s[RISES] = s[FALLBACKS] = 0
    for j in range(n):
        v[LAST_SLOPE, j] = v[SLOPE, j]
    s[VALUE] = objective(family, v, r)
    s[LEAST] = s[VALUE]
    s[BOUND] = roomy(s[VALUE], how.rounding)


def iterate(family, k, b, D, step, cell, how, s, v, r, memory, told, past, now, desk, places):
    """Run one iteration of a sample."""
    n, kept = v.shape[1], len(past)
    if s[READY] == 0:
        slope(D, r, 1, v, SLOPE)
    s[READY] = 0
    size, moved = survey(family, step, how, s, v, past[k % kept], now[k % kept])
    everybody = memory.shape[1] > 0 and (k + 1) % kept == 0  # what is past will be overwritten
    n_awake = awake(family, v, everybody, places)
    if memory.shape[1]:
        recall(k, n_awake, cell, memory, told, past, now, desk, places)
    see(k % kept, n_awake, step, size, moved, how, s, v, past, now, desk, places)
    think(places, n_awake, cell, memory, desk)
    for nth in range(n_awake):
        told[places[nth]] = k + 1
    for j in range(n):
        v[LAST_Y, j], v[LAST_SLOPE, j], v[OLD, j] = v[Y, j], v[SLOPE, j], v[X, j]
    move(family, step, n_awake, how, s, v, desk, places)
    residuals(b, D, v, r, places)
    before = s[VALUE]
    if how.guarded or how.watched:
        s[VALUE] = objective(family, v, r)
    if how.guarded:
        guard(family, b, D, step, before, how, s, v, r, places)


def shrink(z, step, weight, share, one, positive):
    """Return ``prox(z, step)`` of an entry; NaN stays."""
    theta = step * weight * share
    kept = z - (theta if z > theta else (-theta if z < -theta else z))
    kept = z - z if positive and z <= theta else kept
    return kept / (one + step * weight * (one - share)) if share < one else kept


def survey(family, step, how, s, v, past, now):
    """Write curvature and what is kept of this iteration; return two sizes."""
    n, kind = v.shape[1], v.dtype.type
    if not how.relative:
        for j in range(n):
            past[j] = v[SLOPE, j]
        return kind(1), kind(1)
    bend, length = kind(0), kind(0)
    share, one, positive = kind(family.share), kind(1), family.positive
    inverse = one / s[SCALE]
    for j in range(n):
        change = v[Y, j] - v[LAST_Y, j]
        bend += change * (v[SLOPE, j] - v[LAST_SLOPE, j])
        length += change * change
        to = shrink(v[Y, j] - step * v[SLOPE, j], step, v[WEIGHT, j], share, one, positive)
        v[STEP, j] = v[Y, j] - to  # the classical step, for a while
        past[j] = v[SLOPE, j] * inverse
    bend = bend * step / max(length, kind(how.tiny))
    if bend > 0 and np.isfinite(bend):
        s[CURVATURE] = bend
    now[0], now[1] = s[TURN], s[CURVATURE]
    size, moved = largest(v, STEP), largest(v, MOVE)
    now[2] = np.log10(size / (step * s[SCALE]) + how.floor) / how.decades
    return size, moved


def awake(family, v, everybody, places):
    """List the coordinates that are not at rest, and return how many there are."""
    size, share = 0, v.dtype.type(family.share)
    for j in range(v.shape[1]):
        g, theta = v[SLOPE, j], share * v[WEIGHT, j]
        # Counted without branches, which nobody could foretell. NaN is awake.
        rest = (v[X, j] == 0) & (v[Y, j] == 0) & (v[MOVE, j] == 0) & (g >= -theta)
        rest &= (g <= theta) | (family.positive & (g == g))
        places[size] = j
        size += 1 - int(rest & (not everybody))
    return size


def recall(k, size, cell, memory, told, past, now, desk, places):
    """Tell the network of iterations before k what listed coordinates have missed."""
    since, kept = k, len(past)
    for nth in range(size):
        since = min(since, told[places[nth]])
    if since == k:
        return
    late = places[size:]
    for past_k in range(since, k):
        n_late = 0
        for nth in range(size):
            j = places[nth]
            if told[j] <= past_k:
                late[n_late] = j
                see_at_rest(n_late, j, past_k % kept, past, now, desk)
                n_late += 1
        think(late, n_late, cell, memory, desk)


def see_at_rest(nth, j, at, past, now, desk):
    """Write the features of a coordinate at rest: most of them are zero."""
    seen, n_features = desk.seen, desk.seen.shape[1]
    seen[nth, 0] = past[at, j]
    for i in range(1, n_features):
        seen[nth, i] = 0
    for i in range(4, n_features):
        seen[nth, i] = now[at, i - 4]


def see(at, n_awake, step, size, moved, how, s, v, past, now, desk, places):
    """Write the features of listed coordinates, see nn.l2o_features."""
    seen = desk.seen
    if not how.relative:
        for nth in range(n_awake):
            seen[nth, 0], seen[nth, 1] = past[at, places[nth]], v[Y, places[nth]]
        return
    tiny = v.dtype.type(how.tiny)
    unit, size, moved = step * s[SCALE], max(size, tiny), max(moved, tiny)
    for nth in range(n_awake):
        j = places[nth]
        seen[nth, 0] = past[at, j]
        seen[nth, 1] = v[Y, j] / unit
        seen[nth, 2] = v[MOVE, j] / moved
        seen[nth, 3] = v[STEP, j] / size
        seen[nth, 4], seen[nth, 5], seen[nth, 6] = now[at, 0], now[at, 1], now[at, 2]


def move(family, step, n_awake, how, s, v, desk, places):
    """Write x+ and y+, and what the next iteration needs of this one."""
    n, kind = v.shape[1], v.dtype.type
    share, one, positive, tiny = kind(family.share), kind(1), family.positive, kind(how.tiny)
    for j in range(n):
        v[STEP, j], v[MOMENTUM, j] = step, 0
    if how.p >= 0:
        most = kind(how.largest_step)
        for nth in range(n_awake):
            u = desk.said[nth, how.p] * s[TRUST]
            # c sigmoid(u - log(c - 1))
            v[STEP, places[nth]] = step * (most / (one + (most - one) * np.exp(-u)))
    up, length, back = kind(0), kind(0), kind(0)
    for j in range(n):
        p, y = v[STEP, j], v[Y, j]
        new = shrink(y - p * v[SLOPE, j], p, v[WEIGHT, j], share, one, positive)
        v[MOVE, j] = new - v[X, j]
        v[X, j] = new
        up += (y - new) * v[MOVE, j]
        back += (y - new) * (y - new)
        length += v[MOVE, j] * v[MOVE, j]
    s[TURN] = up / max(np.sqrt(back) * np.sqrt(length), tiny)
    beta = kind(0)
    if how.momentum == ACCELERATED:
        t = one if up > 0 else s[CLOCK]
        s[CLOCK] = (one + np.sqrt(one + 4 * t * t)) / 2
        beta = (t - one) / s[CLOCK]
    if how.momentum != NONE:
        for nth in range(n_awake):
            u = desk.said[nth, how.a] * s[TRUST]
            v[MOMENTUM, places[nth]] = blend(how.momentum, beta, u, one)
    for j in range(n):
        v[Y, j] = v[X, j] + v[MOMENTUM, j] * v[MOVE, j]
    s[TRUST] = min(kind(how.regain) * s[TRUST], one)


def blend(momentum, beta, u, one):
    """Return a: ``sigmoid(logit(beta) + u)``, ``sigmoid(u)`` or ``2 sigmoid(u)``."""
    if momentum != ACCELERATED:
        a = one / (one + np.exp(-u))
        return a + a if momentum == WIDE else a
    return beta / (beta + (one - beta) * np.exp(-u)) if beta > 0 else beta + u * 0


def objective(family, v, r):
    """Return ``f(x) + R(x)``, infinity outside the domain."""
    kind = v.dtype.type
    share, half, total, size = kind(family.share), kind(0.5), kind(0), kind(0)
    for i in range(r.shape[1]):
        total += r[0, i] * r[0, i]
    rest, least = half * (kind(1) - share), kind(0)
    for j in range(v.shape[1]):
        x = v[X, j]
        size += v[WEIGHT, j] * (share * abs(x) + rest * x * x)
        least = min(least, x)
    if family.positive and least < 0:
        return kind(np.inf)
    return half * total + size


def roomy(value, rounding):
    """Return the largest value that rounding may make of one."""
    return value + abs(value) * type(value)(rounding)


def guard(family, b, D, step, before, how, s, v, r, places):
    """Take the classical step where the objective would rise; ``before`` is the last one."""
    if s[VALUE] <= s[BOUND]:
        s[RISES] = 0
    else:  # or is NaN
        refuse(family, b, D, step, before, how, s, v, r, places)
    s[LEAST] = min(s[LEAST], s[VALUE])
    s[BOUND] = roomy(s[LEAST], how.rounding)


def refuse(family, b, D, step, before, how, s, v, r, places):
    """Take the classical step from the iterate before, and lose trust in the network."""
    n, kind = v.shape[1], v.dtype.type
    share, one = kind(family.share), kind(1)
    for j in range(n):
        v[X, j] = v[OLD, j]
    residuals(b, D, v, r, places)
    slope(D, r, 0, v, STEP)
    for j in range(n):
        z = v[OLD, j] - step * v[STEP, j]
        v[X, j] = shrink(z, step, v[WEIGHT, j], share, one, family.positive)
    residuals(b, D, v, r, places)
    s[VALUE] = objective(family, v, r)
    if not s[VALUE] <= s[BOUND]:  # by rounding
        for j in range(n):
            v[X, j] = v[OLD, j]
        residuals(b, D, v, r, places)
        s[VALUE] = before
    s[FALLBACKS] += 1
    s[RISES] += 1
    s[TRUST] *= kind(how.lose)
    if s[RISES] > how.patience:
        s[TRUST] *= kind(how.give_up) / kind(how.lose)
        s[RISES], s[CLOCK] = 0, 1
        for j in range(n):
            v[Y, j] = v[X, j]
        for i in range(r.shape[1]):
            r[1, i] = r[0, i]
