"""A coordinate-wise network on lists of coordinates, in steps that numba compiles.

:func:`think`, 64 coordinates at a time, for every layer of the LSTM and then the heads::

    gather    1, what is seen or what the layer below says, and what is remembered, side by side
    product   with a table: gates i, f, o, g of a coordinate lie in one piece
    squash    all gates at once: sigmoid(z) = (1 + tanh(z / 2)) / 2, the half is in the table
    remember  c+ = f c + i g and h+ = o tanh(c+)

Without layers, that of the multilayer perceptron, the heads stand on a dense layer with ReLU.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# tanh(x) = x P(x^2) / Q(x^2) for |x| <= 8.2, beyond which it is 1 to 1.5e-7: a fit of least
# relative error, 8e-9, which float32 arithmetic leaves at 3e-7. P, then Q, then where it ends.
TANH = np.array([
    [1.0, 0.13432133197784424, 0.0035566980950534344, 2.16374628507765e-05, 1.484080858205061e-08],
    [1.0, 0.46765458583831787, 0.02610834315419197, 0.00033864600118249655, 8.370708997063048e-07],
    [8.2, 0.5, 0.0, 0.0, 0.0],
], np.float32)  # fmt: skip
TOGETHER = 64  # coordinates in a block; products of so few use one thread
FULL = 8  # a hidden size is filled up to a multiple of it


class Cell(NamedTuple):
    """The numbers of a coordinate-wise network.

    Parameters
    ----------
    table : ndarray of shape (n_rows, 4 hidden_size)
        For every layer the biases, then the weights of what comes in, then those of its state.
        Without LSTM, of one layer of a quarter of the width.
    widths : ndarray of shape (n_layers,)
        Number of inputs of every layer.
    heads : ndarray of shape (n_rows, hidden_size)
        Biases and weights of the dense layer.
    out : ndarray of shape (n_outputs, hidden_size + 1)
        Weights, then the bias, of every output.
    tanh : ndarray of shape (3, 5) or (0, 5)
        :data:`TANH`; empty where tanh is to be exact.
    """

    table: np.ndarray
    widths: np.ndarray
    heads: np.ndarray
    out: np.ndarray
    tanh: np.ndarray


class Desk(NamedTuple):
    """Room to compute in, for lists of up to n coordinates.

    ``seen`` and ``said`` hold what goes in and comes out of them: shapes (n, n_features) and (n,
    n_outputs). The others are of a block: what ``first`` and ``later`` layers of the LSTM and
    the heads (``last``) are given, the gates, and the cells, of shape (64, hidden_size).
    """

    seen: np.ndarray
    said: np.ndarray
    first: np.ndarray
    later: np.ndarray
    last: np.ndarray
    gates: np.ndarray
    cells: np.ndarray


def think(places, size, cell, memory, desk):
    """Overwrite the memory of listed coordinates, and ``desk.said`` by what follows."""
    hidden, recurrent = cell.out.shape[1] - 1, memory.shape[1] > 0
    for start in range(0, size, TOGETHER):
        n, row = min(size - start, TOGETHER), 0
        block = places[start : start + n]
        for layer in range(len(cell.widths)):
            v = desk.later if layer else desk.first
            gather(block, start, layer, cell.widths[layer], memory, desk.seen, v)
            np.dot(v[:n], cell.table[row : row + v.shape[1]], desk.gates[:n])
            row += v.shape[1]
            if recurrent:
                squash(desk.gates, n, cell.tanh)
                remember(block, layer, hidden, cell.tanh, memory, desk.gates, desk.cells)
            else:
                rectify(desk.gates, desk.cells, n)
        answer(start, n, hidden, cell, desk)


def gather(block, start, layer, width, memory, seen, v):
    """Write a block's inputs of a layer side by side: one, what comes in, the state."""
    n_state = v.shape[1] - 1 - width
    at = 2 * n_state * layer
    for nth in range(len(block)):
        place = block[nth]
        v[nth, 0] = 1
        if layer:
            for i in range(width):
                v[nth, 1 + i] = memory[place, at - 2 * n_state + i]
        else:
            for i in range(width):
                v[nth, 1 + i] = seen[start + nth, i]
        for i in range(n_state):
            v[nth, 1 + width + i] = memory[place, at + i]


def squash(z, n, tanh):
    """Overwrite the numbers in n rows by their tanh."""
    flat = z.reshape(-1)[: n * z.shape[1]]
    if len(tanh) == 0:
        for i in range(len(flat)):
            flat[i] = np.tanh(flat[i])
        return
    p0, p1, p2, p3, p4 = tanh[0, 0], tanh[0, 1], tanh[0, 2], tanh[0, 3], tanh[0, 4]
    q0, q1, q2, q3, q4 = tanh[1, 0], tanh[1, 1], tanh[1, 2], tanh[1, 3], tanh[1, 4]
    end = tanh[2, 0]
    for i in range(len(flat)):
        s = flat[i]
        s = end if s > end else s  # NaN stays
        s = -end if s < -end else s
        t = s * s
        above = p0 + t * (p1 + t * (p2 + t * (p3 + t * p4)))
        flat[i] = s * above / (q0 + t * (q1 + t * (q2 + t * (q3 + t * q4))))


def remember(block, layer, hidden, tanh, memory, gates, cells):
    """Overwrite a block's state of a layer by what its gates make of it."""
    at, half = 2 * hidden * layer, gates.dtype.type(0.5)
    for nth in range(len(block)):
        place = block[nth]
        kept, z, c = memory[place, at + hidden : at + 2 * hidden], gates[nth], cells[nth]
        for i in range(hidden):
            into, forget = half + half * z[i], half + half * z[hidden + i]
            c[i] = kept[i] = forget * kept[i] + into * z[3 * hidden + i]
    squash(cells, len(block), tanh)
    for nth in range(len(block)):
        place = block[nth]
        for i in range(hidden):
            cells[nth, i] *= half + half * gates[nth, 2 * hidden + i]
            memory[place, at + i] = cells[nth, i]


def rectify(z, out, n):
    """Write the positive parts of n rows; NaN stays."""
    for nth in range(n):
        for i in range(z.shape[1]):
            out[nth, i] = z.dtype.type(0) if z[nth, i] < 0 else z[nth, i]


def answer(start, n, hidden, cell, desk):
    """Write what the heads make of a block's last states."""
    v, z = desk.last, desk.cells
    for nth in range(n):
        v[nth, 0] = 1
        for i in range(hidden):
            v[nth, 1 + i] = z[nth, i]
    np.dot(v[:n], cell.heads, z[:n])
    rectify(z, z, n)
    for nth in range(n):
        for o in range(len(cell.out)):
            total = cell.out[o, hidden]
            for i in range(hidden):
                total += cell.out[o, i] * z[nth, i]
            desk.said[start + nth, o] = total
