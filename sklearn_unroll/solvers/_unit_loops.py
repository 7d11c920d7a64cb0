"""Samples in units of their own and codes in the user's, in steps that numba compiles.

A sample is divided by the power of two below its largest entry, which rounds nothing, so that no
square leaves the range and codes do not depend on units.
"""

from __future__ import annotations

import math

import numpy as np

# Sums may be reordered, but a division stays one: inverses may leave the range.
DIVIDES = frozenset({"nnan", "reassoc", "contract", "nsz"})


def enter(b, out, size, energy):
    """Overwrite out by samples of size one, in float64; also their sizes, and ``||out||^2``."""
    for sample in range(len(b)):
        peak = 0.0
        for i in range(b.shape[1]):
            peak = max(peak, abs(np.float64(b[sample, i])))
        unit, total = math.ldexp(1.0, math.frexp(peak)[1] - 1) if peak > 0.0 else 1.0, 0.0
        size[sample] = unit
        for i in range(b.shape[1]):
            # Divided, not multiplied: the inverse of a size may leave the range.
            out[sample, i] = b[sample, i] / unit
        # Apart, so that the order of the sum does not depend on where arrays are in memory.
        for i in range(b.shape[1]):
            total += out[sample, i] * out[sample, i]
        energy[sample] = total


def largest(q, positive, peak):
    """Overwrite peak by the largest correlation of a sample, of magnitude unless positive."""
    for sample in range(len(q)):
        most = 0.0
        for i in range(q.shape[1]):
            value = q[sample, i] if positive else abs(q[sample, i])
            most = max(most, value)
        peak[sample] = most


def leave(x, place, factor, out, moved):
    """Write codes times a factor, in the dtype of out, where a sample has a place in x, or zero.

    ``moved`` becomes whether rounding has moved the codes at a place.
    """
    for sample in range(len(out)):
        nth = place[sample]
        if nth < 0:
            for i in range(out.shape[1]):
                out[sample, i] = 0.0
            continue
        for i in range(out.shape[1]):
            out[sample, i] = x[nth, i] * factor[nth]
        if out.itemsize < 8:
            changed = 0
            for i in range(out.shape[1]):
                changed += np.float64(out[sample, i]) != x[nth, i] * factor[nth]
            moved[nth] = changed > 0
