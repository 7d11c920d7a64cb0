"""Debiasing of one sample after another, in steps that numba compiles; without it plain Python.

:func:`leave`, the residual of the codes as they came, or b where that is smaller. Then, given the
correlations of all atoms with it, :func:`repair`::

    judge       the codes as they came
    detect      the support: their entries above the noise
    repeat
        settle  codes on the support
        judge   them; the best so far are kept
        propose what leaves and what enters: perhaps nothing, the end
        revise  the support

See :func:`sklearn_unroll.solvers.debias` for the equations, and
:mod:`sklearn_unroll.solvers._support_loops` for what settles. Codes are those of unit atoms.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sklearn_unroll.solvers._loops import copy
from sklearn_unroll.solvers._support_loops import (
    change,
    dot,
    drop,
    enter,
    make_room,
    restart,
    settle,
    take_out,
)

DETECT = 1.5  # noise levels that an entry of the given codes must exceed
REACHED = 1.2  # noise levels from which on it counts as reached
STALL = 2  # rounds in a row without progress that end the repair of a sample


class Rules(NamedTuple):
    """What holds for all samples, see :func:`sklearn_unroll.solvers.debias`."""

    n_rounds: int
    lower: float  # factor per round by which thresholds approach a known noise level
    threshold: float
    tiny: float  # the least length of a sample
    first: int  # most atoms of the first support


class Fit(NamedTuple):
    """What decides about a support, and the criterion."""

    sigma: float
    t: float
    q: float
    cost: float


def list_codes(X, sample, norm, members, x):
    """List the nonzeros of codes, for unit atoms, and return how many there are."""
    size = 0
    for atom in range(len(norm)):
        value = X[sample, atom] * norm[atom]
        if value != 0.0:
            members[size], x[size] = atom, value
            size += 1
    return size


def leave(table, b, X, residual, energies):
    """Write residuals of codes, or b where that is smaller; energies of the former, and of b."""
    members, x = np.empty(len(table.norm), np.int64), np.empty_like(table.norm)
    r = np.empty(b.shape[1], b.dtype)
    for sample in range(len(b)):
        copy(b, sample, r)
        energies[sample, 1] = dot(r, r, len(r))
        size = list_codes(X, sample, table.norm, members, x)
        energies[sample, 0] = take_out(table.D, b, sample, members, x, size, r)
        if not energies[sample, 0] < energies[sample, 1]:
            copy(b, sample, r)
        for i in range(len(r)):
            residual[sample, i] = r[i]


def judge(x, size, energy, length, n, m, noise):
    """Compute the criterion and what it is made of."""
    k = 0
    for nth in range(size):
        k += x[nth] != 0.0
    q = max(1.0 - k / m, 1.0 / m)
    sigma = max(math.sqrt(energy / (m * q)), noise)
    spread = math.log1p((length / sigma) * (length / sigma) * q / max(k, 1))
    # The derivative by k of the prior's terms in the cost; at least 2, as for dense codes.
    odds = 2.0 * math.log((n - k) / max(k, 1)) if k < n else 0.0
    v = energy / noise / noise / (m * q)
    misfit = m * (q * min(v, 1.0) + math.log(max(v, 1.0)))
    rate, entropy = k / n, 0.0
    if 0 < k < n:
        entropy = -rate * math.log(rate) - (1.0 - rate) * math.log(1.0 - rate)
    cost = misfit + 2.0 * n * entropy + k * (spread + dot(x, x, size) / length / length)
    return Fit(sigma, math.sqrt(max(odds + spread, 2.0)), q, cost)


def count_above(score, size, level):
    """Return how many scores are above a level."""
    count = 0
    for nth in range(size):
        count += score[nth] > level
    return count


def limit(score, size, most):
    """Overwrite all but the largest positive scores by -1; of equal ones the first are kept."""
    low, high = 0.0, 0.0
    for nth in range(size):
        high = max(high, float(score[nth]))
    if count_above(score, size, low) <= most:
        return
    # More than most are above low and no more above high; halving costs less than sorting.
    for _ in range(64):
        level = 0.5 * (low + high)
        if count_above(score, size, level) > most:
            low = level
        else:
            high = level
    free = most - count_above(score, size, high)
    for nth in range(size):
        if low < score[nth] <= high and free > 0:
            free -= 1
        elif not score[nth] > high:
            score[nth] = -1.0


def begin(table, X, sample, given, known, length, noise, rules, room):
    """Make the first support; return its size, how many atoms are left out, and the criterion.

    ``known`` says that correlations are with the residual of the codes, not with b.
    """
    n, m, bar, level = len(room.c), len(room.r), np.inf, np.inf
    y, score, listed = room.y, room.score, room.listed
    n_listed = list_codes(X, sample, table.norm, listed, y)
    if given < np.inf and length > rules.tiny:
        bar = judge(y, n_listed, given, length, n, m, noise).cost
        level = DETECT * max(math.sqrt(given / m), noise)
        for nth in range(n_listed):
            level = max(level, rules.threshold * abs(float(y[nth])))
    for nth in range(n_listed):
        score[nth] = abs(y[nth]) if abs(y[nth]) > level else -1.0
    limit(score, n_listed, rules.first)
    size, n_gone = 0, 0
    for nth in range(n_listed):
        if score[nth] > 0.0:
            enter(table.G, listed[nth], y[nth] if known else 0.0, size, room)
            size += 1
        elif known:
            room.gone[n_gone], y[n_gone] = listed[nth], -y[nth]
            n_gone += 1
    return size, n_gone, bar


def propose(size, stay, come, most, room):
    """Score members above one level and other atoms that correlate above another.

    Returns how many others there are, and whether the support is to change.
    """
    score, c, n_listed, changed = room.score, room.c, 0, False
    for nth in range(size):
        value = abs(room.x[nth])
        score[nth] = value if value > stay else -1.0
    for atom in range(len(c)):
        if abs(c[atom]) > come and room.inside[atom] == 0:
            room.listed[n_listed], score[size + n_listed] = atom, abs(c[atom])
            n_listed += 1
    limit(score, size + n_listed, most)
    for nth in range(size + n_listed):
        changed |= (score[nth] > 0.0) != (nth < size)
    return n_listed, changed


def revise(table, size, n_listed, room):
    """Change the support as proposed; return its size, and how many atoms left."""
    before, n_gone = size, 0
    for place in range(before - 1, -1, -1):
        if room.score[place] < 0.0:
            room.gone[n_gone], room.y[n_gone] = room.members[place], -room.x[place]
            n_gone += 1
            drop(place, size, room)
            size -= 1
    for nth in range(n_listed):
        if room.score[before + nth] > 0.0:
            enter(table.G, room.listed[nth], 0.0, size, room)
            size += 1
    return size, n_gone


def keep(size, room, members, x):
    """Copy the codes of the support, and return how many there are."""
    for nth in range(size):
        members[nth], x[nth] = room.members[nth], room.x[nth]
    return size


def write(members, x, size, inverse, X, sample):
    """Overwrite a sample's codes."""
    for atom in range(X.shape[1]):
        X[sample, atom] = 0.0
    for nth in range(size):
        X[sample, members[nth]] = x[nth] * inverse[members[nth]]


def repair(table, b, correlations, energies, noises, rules, X):
    """Overwrite codes X by those of the least criterion, where the given ones are not better.

    Correlations are with what :func:`leave` wrote.
    """
    n, m = len(table.norm), b.shape[1]
    room = make_room(n, m, b)
    best, best_x = np.empty_like(room.members), np.empty_like(room.x)
    for sample in range(len(b)):
        given, of_b, noise = energies[sample, 0], energies[sample, 1], float(noises[sample])
        if not of_b < np.inf:
            continue
        copy(correlations, sample, room.c)
        length, known = max(math.sqrt(of_b), rules.tiny), given < of_b
        size, n_gone, bar = begin(table, X, sample, given, known, length, noise, rules, room)
        computed = now = given if known else of_b
        n_best, least, energy, level, stalled = 0, np.inf, np.inf, np.inf, 0
        fit, changed, dependent = Fit(0.0, 0.0, 1.0, np.inf), True, False
        for nth_round in range(rules.n_rounds + 1):
            if changed:
                if dependent:
                    now = computed = restart(table, b, sample, size, room)
                else:
                    now -= change(table.G, room.gone, room.y, n_gone, room.c)
                now, computed, dependent = settle(
                    table, b, sample, size, now, computed, table.eps * length, nth_round == 0, room
                )
                fit = judge(room.x, size, now, length, n, m, noise)
            level, stalled = min(fit.sigma, rules.lower * level), stalled + 1
            if fit.cost < least:
                n_best, least, energy = keep(size, room, best, best_x), fit.cost, now
                stalled = 0
            if nth_round == rules.n_rounds:
                break
            if level < REACHED * noise:
                level = noise
            stay, come = fit.t * level / math.sqrt(fit.q), fit.t * level * math.sqrt(fit.q)
            n_listed, changed = propose(size, stay, come, min(n, m), room)
            if not (changed and stalled < STALL) and not (rules.lower < 1.0 and level > noise):
                break
            if changed:
                size, n_gone = revise(table, size, n_listed, room)
        if least < np.inf and not least > bar and (rules.n_rounds > 0 or not energy > given):
            write(best, best_x, n_best, table.inverse, X, sample)
        for nth in range(size):
            room.inside[room.members[nth]] = 0
