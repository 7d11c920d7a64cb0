"""Least squares on a support that changes, in steps that numba compiles; without it plain Python.

:func:`enter` and :func:`drop` keep the Gram block of the support: an atom costs a row of it.
:func:`settle` minimises over the codes::

    conjugate   gradients on the block, from zero for all codes or for their change
    factorise   the block instead, where gradients take too long: atoms are nearly dependent
    change      codes, correlations of all atoms with the residual, and its energy
    renew       the residual itself, where differences have lost half of their digits

From one support to the next all moves by differences, which are small, so that little is rounded:
for a change y of the codes, ``c' = c - G y`` and ``||r'||^2 = ||r||^2 - <y, c + c'>``.

D are unit atoms, G their inner products; codes are those of unit atoms; scalars are in float64.
Inner loops take a matrix and the number of a row: a view of the row would count references.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sklearn_unroll.solvers._loops import backward, copy, forward, inner

_PASSES = 3  # at most, of iterative refinement
_STEPS = 64  # of conjugate gradients, which cost about as much as a factor
_ROUNDED = 64  # machine precisions of a residual within which another one is all rounding


class Table(NamedTuple):
    """What is known of the dictionary."""

    G: np.ndarray  # inner products of its atoms
    D: np.ndarray
    norm: np.ndarray
    inverse: np.ndarray  # of the norms, zero for a zero atom
    ridge: float  # on the diagonal of a block, before it is factorised
    eps: float  # of the arithmetic


class Room(NamedTuple):
    """Where the codes of a sample are worked on; vectors have an entry for every atom."""

    members: np.ndarray  # the atoms of the support
    x: np.ndarray  # their codes
    c: np.ndarray  # correlations of all atoms
    r: np.ndarray  # (n_features,), the residual where it was computed last
    inside: np.ndarray  # 1 for members
    listed: np.ndarray  # other atoms, which may enter
    gone: np.ndarray  # other atoms, which left
    score: np.ndarray  # what members and listed atoms are worth, -1 for nothing
    y: np.ndarray  # a change of codes
    left: np.ndarray  # what is left of a right side
    p: np.ndarray  # a direction
    w: np.ndarray  # minus its product with the block
    order: np.ndarray  # 0, 1, 2, ...
    block: np.ndarray  # (most, most), inner products of members
    factor: np.ndarray  # (most, most), its Cholesky factor


def make_room(n, m, like):
    """Return room for samples of n atoms and m features."""
    members, x, most = np.empty(n, np.int64), np.empty(n, like.dtype), min(n, m)
    # Rows a multiple of 4096 bytes apart would share a few lines of the cache.
    block = np.empty((most, most // 8 * 8 + 8), like.dtype)
    return Room(
        members, x, np.empty_like(x), np.empty(m, like.dtype), np.zeros(n, np.uint8),
        np.empty_like(members), np.empty_like(members), np.empty_like(x), np.empty_like(x),
        np.empty_like(x), np.empty_like(x), np.empty_like(x), np.arange(n), block,
        np.empty_like(block),
    )  # fmt: skip


def dot(x, y, size):
    """Return an inner product in float64."""
    total = 0.0
    for i in range(size):
        total += float(x[i]) * float(y[i])
    return total


def subtract_rows(table, rows, scale, size, width, out):
    """Take multiples of rows from out, eight at a time, so that it is read less."""
    eights = size - size % 8
    for nth in range(0, eights, 8):
        r0, r1, r2, r3 = rows[nth], rows[nth + 1], rows[nth + 2], rows[nth + 3]
        r4, r5, r6, r7 = rows[nth + 4], rows[nth + 5], rows[nth + 6], rows[nth + 7]
        s0, s1, s2, s3 = scale[nth], scale[nth + 1], scale[nth + 2], scale[nth + 3]
        s4, s5, s6, s7 = scale[nth + 4], scale[nth + 5], scale[nth + 6], scale[nth + 7]
        for i in range(width):
            four = s0 * table[r0, i] + s1 * table[r1, i] + s2 * table[r2, i] + s3 * table[r3, i]
            rest = s4 * table[r4, i] + s5 * table[r5, i] + s6 * table[r6, i] + s7 * table[r7, i]
            out[i] -= four + rest
    for nth in range(eights, size):
        row, factor = rows[nth], scale[nth]
        for i in range(width):
            out[i] -= factor * table[row, i]


def take_out(D, b, sample, members, x, size, r):
    """Compute the residual ``b - A x`` and return its energy."""
    copy(b, sample, r)
    subtract_rows(D, members, x, size, len(r), r)
    return dot(r, r, len(r))


def change(G, members, y, size, c):
    """Let the codes of members change by y: update correlations; return how much energy falls."""
    fall = 0.0
    for nth in range(size):
        fall += float(y[nth]) * float(c[members[nth]])
    subtract_rows(G, members, y, size, len(c), c)
    for nth in range(size):
        fall += float(y[nth]) * float(c[members[nth]])
    return fall


def enter(G, atom, value, size, room):
    """Append an atom to the support, and its inner products to the block."""
    room.members[size], room.x[size], room.inside[atom] = atom, value, 1
    for nth in range(size + 1):
        room.block[size, nth] = room.block[nth, size] = G[atom, room.members[nth]]


def drop(place, size, room):
    """Take an atom out of the support, and put the last one into its place."""
    last, block = size - 1, room.block
    room.inside[room.members[place]] = 0
    room.members[place], room.x[place] = room.members[last], room.x[last]
    for nth in range(last):
        block[place, nth] = block[last, nth]
    block[place, place] = block[last, last]
    for nth in range(last):
        block[nth, place] = block[place, nth]


def aim(size, anew, room):
    """Write what is left of the right side: for all of the codes, or for their change."""
    for nth in range(size):
        room.left[nth] = -room.c[room.members[nth]]
    if anew:
        subtract_rows(room.block, room.order, room.x, size, size, room.left)
    for nth in range(size):
        room.left[nth] = -room.left[nth]


def conjugate(size, goal, flat, room):
    """Solve for y by conjugate gradients, from zero; return whether they settle.

    They do not along directions of less curvature than ``flat``, where their rounding errors
    would be large: atoms are nearly dependent.
    """
    y, left, p, w = room.y, room.left, room.p, room.w
    for nth in range(size):
        y[nth], p[nth] = 0.0, left[nth]
    square = dot(left, left, size)
    for _ in range(_STEPS):
        if square <= goal * goal:
            return True
        for nth in range(size):
            w[nth] = 0.0
        subtract_rows(room.block, room.order, p, size, size, w)
        curve = -dot(p, w, size)
        if not curve > flat * dot(p, p, size):
            return False
        step, before = y.dtype.type(square / curve), square
        for nth in range(size):
            y[nth] += step * p[nth]
            left[nth] += step * w[nth]
        square = dot(left, left, size)
        ratio = y.dtype.type(square / before)
        for nth in range(size):
            p[nth] = left[nth] + ratio * p[nth]
    return False


def factorise(size, ridge, eps, room):
    """Compute the Cholesky factor of the block with a ridge."""
    block, L, nth = room.block, room.factor, 0
    while nth < size:
        row, square = L[nth], float(block[nth, nth]) + ridge
        for other in range(nth):
            row[other] = forward(L, other, block[nth, other], row)
            square -= float(row[other]) * float(row[other])
        if not square > 0.0 and ridge < math.sqrt(eps):
            # Repeated atoms, whose rounding errors exceed the ridge; refinement makes up for a
            # larger one.
            ridge, nth = math.sqrt(eps), 0
            continue
        row[nth] = 1.0 / math.sqrt(max(square, eps))
        nth += 1


def substitute(size, room):
    """Solve for y by the factor."""
    for nth in range(size):
        room.y[nth] = forward(room.factor, nth, room.left[nth], room.y)
    backward(room.factor, size, room.y)


def restart(table, b, sample, size, room):
    """Set the codes of the support to zero, and return the energy of the residual, which is b."""
    for nth in range(size):
        room.x[nth] = 0.0
    energy = take_out(table.D, b, sample, room.members, room.x, 0, room.r)
    for atom in range(len(room.c)):
        room.c[atom] = inner(table.D, atom, room.r)
    return energy


def renew(table, b, sample, size, computed, room):
    """Compute the residual and correlations with it, of all atoms where these are rounding."""
    energy = take_out(table.D, b, sample, room.members, room.x, size, room.r)
    if energy <= (_ROUNDED * table.eps) ** 2 * computed:
        for atom in range(len(room.c)):
            room.c[atom] = inner(table.D, atom, room.r)
    else:
        for nth in range(size):
            room.c[room.members[nth]] = inner(table.D, room.members[nth], room.r)
    return energy


def settle(table, b, sample, size, energy, computed, rounding, anew, room):
    """Minimise over the codes of the support, from the present ones or ``anew`` from zero.

    The latter finds the least codes where atoms are dependent. Energies of the residual are that
    now, and that when it was last computed and not updated; both are returned, and whether a
    factor was needed: such codes may be large and cancel, and are no start for the next support.
    """
    by_factor, nth_pass = False, 0
    goal = max(0.03 * rounding, table.eps ** (2 / 3) * math.sqrt(max(energy, 0.0)))
    while nth_pass < _PASSES:
        aim(size, anew, room)
        if by_factor:
            substitute(size, room)
        elif not conjugate(size, goal, math.sqrt(table.eps), room):
            factorise(size, table.ridge, table.eps, room)
            by_factor, anew = True, anew or nth_pass == 0
            continue
        for nth in range(size):
            if anew:
                room.y[nth] -= room.x[nth]
            room.x[nth] += room.y[nth]
        energy -= change(table.G, room.members, room.y, size, room.c)
        if by_factor:  # codes may be large and cancel
            energy, computed = 0.0, np.inf
        if not energy > math.sqrt(table.eps) * computed:
            computed = energy = renew(table, b, sample, size, computed, room)
        # As good as the residual deserves, which is far smaller now where there is no noise.
        goal, square = max(0.03 * rounding, table.eps ** (2 / 3) * math.sqrt(energy)), 0.0
        for nth in range(size):
            square += float(room.c[room.members[nth]]) ** 2
        if square <= (8.0 * goal) ** 2:
            break
        nth_pass, anew = nth_pass + 1, False
    return energy, computed, by_factor
