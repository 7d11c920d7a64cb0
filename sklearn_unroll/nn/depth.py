"""Parameters as functions of depth-time, carried from one depth to another."""

from __future__ import annotations

from copy import deepcopy

import torch

from sklearn_unroll.nn.base import Unrolled

__all__ = ["refine"]

CARRIED = ("weights.W", "rule.tau", "rule.lam")


@torch.no_grad()
def refine(network: Unrolled, n_layers: int, *, absorb: str = "h") -> Unrolled:
    """Carry a network made by :func:`fbs` to another depth.

    A parameter is a function of depth-time in [0, 1), constant over each layer; the new layers
    take its means over their share of it. More layers repeat, where their number is a multiple,
    and fewer average: the extension and the projection of Lin and Wu 2026, Section 2.3. To
    refine by a whole factor and coarsen again is the identity.

    Parameters
    ----------
    network : Unrolled
        The network.
    n_layers : int
        Number of layers of the new one.
    absorb : {"h", "tau", "nothing"}, default="h"
        What takes up the factor of old to new number of layers, so that all layers together
        move as far as before: the step in depth-time, as with a horizon, or the learned steps,
        which leaves h as it is. With ``"nothing"`` more layers go on for longer.

    Returns
    -------
    Unrolled
        A new network.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense
    >>> from sklearn_unroll.nn import fbs, refine
    >>> net = refine(fbs(Dense(torch.eye(3)), n_layers=2, horizon=1.0), 4)
    >>> net.depth, net.layers[0].rule.h
    (4, 0.25)
    """
    L = network.depth
    if absorb not in ("h", "tau", "nothing"):
        raise ValueError(f"absorb must be 'h', 'tau' or 'nothing', got {absorb!r}.")
    if n_layers < 1:
        raise ValueError(f"n_layers must be at least 1, got {n_layers}.")
    values = {name: network.over_depth(name) for name in CARRIED}
    layers = []
    for number in range(n_layers):
        layer = deepcopy(network.layers[number * L // n_layers])
        # In units of 1 / (L n_layers) all times are whole numbers.
        begin, end = number * L, (number + 1) * L
        shares = {
            old: (min(end, (old + 1) * n_layers) - max(begin, old * n_layers)) / L
            for old in range(begin // n_layers, -(-end // n_layers))
        }
        for name in CARRIED:
            mean = sum(share * values[name][old] for old, share in shares.items())
            layer.get_parameter(name).copy_(mean)
        if number:
            layer.x0 = None
        if absorb == "h":
            layer.rule.h *= L / n_layers
        if absorb == "tau":
            layer.rule.tau *= L / n_layers
        layers.append(layer)
    return Unrolled(layers)
