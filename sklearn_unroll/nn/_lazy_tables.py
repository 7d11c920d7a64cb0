"""A coordinate-wise network as the tables that its compiled loops take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sklearn_unroll.nn._lazy_cell import FULL, TANH, TOGETHER, Cell, Desk
from sklearn_unroll.nn.coordinate import CoordinateLSTM, CoordinateNetwork
from sklearn_unroll.nn.l2o_features import FEATURES
from sklearn_unroll.nn.math_l2o import MathL2OLayer

__all__ = ["cell_of", "desk_for", "first_memory"]


def desk_for(n: int, cell: Cell, layer: MathL2OLayer, kind: Any) -> Desk:
    """Return room for the network of a layer to compute in."""
    hidden, n_features = cell.out.shape[1] - 1, FEATURES[layer.features].count
    recurrent = cell.table.shape[1] > hidden
    widths = {
        "first": 1 + n_features + recurrent * hidden,
        "later": 1 + 2 * hidden,
        "last": 1 + hidden,
        "gates": cell.table.shape[1],
        "cells": hidden,
    }
    block = {name: np.zeros((TOGETHER, width), kind) for name, width in widths.items()}
    seen, said = (np.zeros((n, width), kind) for width in (n_features, len(cell.out)))
    return Desk(seen, said, **block)


def first_memory(layer: MathL2OLayer, n: int, cell: Cell) -> np.ndarray:
    """Return what the network remembers of a sample's coordinates at first."""
    source = None if layer.seed is None else torch.Generator().manual_seed(layer.seed)
    parts = layer.network.first(torch.zeros(1, n), source)
    hidden = cell.out.shape[1] - 1
    memory = np.zeros((1, n, len(parts) * hidden), cell.out.dtype)
    for number, part in enumerate(parts):
        columns = slice(number * hidden, number * hidden + len(part))
        memory[0, :, columns] = part.detach().numpy().T
    return memory


def cell_of(network: CoordinateNetwork) -> Cell:
    """Return the numbers of a coordinate-wise network."""
    heads = network.heads
    n_outputs, n_hidden = heads.out.shape
    hidden = n_hidden + -n_hidden % FULL
    kind = heads.out.detach().numpy().dtype
    if isinstance(network, CoordinateLSTM):
        layers = list(zip(network.biases, network.inputs, network.states, strict=True))
        widths = [network.inputs[0].shape[1]] + [hidden] * (len(layers) - 1)
        half = np.repeat([0.5, 1.0], [3 * hidden, hidden]).astype(kind)
        tables = [
            half * _stacked(layer, (1, width, hidden), 4, hidden)
            for layer, width in zip(layers, widths, strict=True)
        ]
    else:
        widths = [network.weight.shape[1]]
        tables = [_stacked((network.bias, network.weight), (1, *widths), 1, hidden)]
    out = np.zeros((n_outputs, hidden + 1), kind)
    out[:, :n_hidden] = heads.out.detach().numpy()
    out[:, hidden:] = heads.out_bias.detach().numpy()
    exact = kind == np.float64
    return Cell(
        np.concatenate(tables),
        np.array(widths),
        _stacked((heads.bias, heads.weight), (1, hidden), 1, hidden),
        out,
        TANH[:0] if exact else TANH,
    )


def _stacked(parts: Any, widths: Sequence[int], n_gates: int, hidden: int) -> np.ndarray:
    """Return matrices, of gates times what they see, as rows: one for each thing that is seen.

    ``widths`` says how many rows each matrix gets: states are filled up, what comes in is not.
    """
    rows = []
    for part, full in zip(parts, widths, strict=True):
        W = part.detach().numpy()
        n_hidden, width = len(W) // n_gates, W.shape[1]
        wide = np.zeros((full, n_gates, hidden), W.dtype)
        wide[:width, :, :n_hidden] = W.T.reshape(width, n_gates, n_hidden)
        rows.append(wide.reshape(full, -1))
    return np.concatenate(rows)
