"""Derivatives through the last layers of a network, by whatever its data and operator hold."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_unroll.functional import Observation
from sklearn_unroll.nn.base import Unrolled

__all__ = ["last_layers"]


def last_layers(network: Unrolled, obs: Observation, truncate: int) -> Tensor:
    """Return the last iterate, with a graph through the last layers only.

    Malezieux, Moreau and Kowalski 2022, "Understanding approximate and unrolled dictionary
    learning for pattern recovery", Sec. 2: derivatives of codes by the dictionary are good in the
    last layers of a network that is near a solution, and explode through those before, where
    the support still changes. Where the operator is to be learned it is a leaf of the graph.

    Parameters
    ----------
    network : Unrolled
        The network.
    obs : Observation
        Data and operator.
    truncate : int
        How many layers have a graph, from 0 to ``network.depth``.

    Returns
    -------
    Tensor of shape (n_samples, n_components)
        The iterate after all layers.

    Raises
    ------
    ValueError
        If the network has fewer layers.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.nn import lista
    >>> from sklearn_unroll.training import last_layers
    >>> D = torch.eye(2).requires_grad_()
    >>> net = lista(Dense(D.detach()), n_layers=3, weights="adjoint", alpha=0.5)
    >>> x = last_layers(net, Observation(torch.tensor([[2.0, 0.0]]), Dense(D)), truncate=1)
    >>> torch.autograd.grad(x.sum(), D)[0]
    tensor([[-1.,  0.],
            [ 0.,  0.]])
    """
    if not 0 <= truncate <= network.depth:
        raise ValueError(
            f"truncate must lie in [0, {network.depth}] for this network, got {truncate}."
        )
    first = network.depth - truncate
    with torch.no_grad():
        for state in network.states(obs, first):
            last = state
    for layer in network.layers[first:]:
        last = layer(last, obs)
    return network.layers[-1].readout(last)
