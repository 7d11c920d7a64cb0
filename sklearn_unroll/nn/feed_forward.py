"""The plain network that unrolled ones are compared with, and its depth at equal size."""

from __future__ import annotations

import warnings

import torch

from sklearn_unroll.functional import Dense
from sklearn_unroll.nn.base import Unrolled
from sklearn_unroll.nn.normal import FixedRule, ScaledWeights, standard_normal
from sklearn_unroll.nn.proxgrad import ProxGradLayer
from sklearn_unroll.nn.shrinkages import SmoothThreshold

__all__ = ["equivalent_depth", "feed_forward"]


def feed_forward(
    A: Dense,
    *,
    generator: torch.Generator,
    n_layers: int = 8,
    theta: float = 1.0,
    sharpness: float = 1.0,
    scale: float = 1.0,
) -> Unrolled:
    """Assemble the baseline of the guarantees: data enter the first layer, and no other.

    ``x_1 = smooth_soft(W_1 b / sqrt(n_features), theta)`` and
    ``x_k+1 = smooth_soft(W_k+1 x_k / sqrt(n_components), theta)``, Shah, Pradhan, Pu, Randhi,
    Rodrigues and Eldar 2024, "Optimization guarantees of unfolded ISTA and ADMM networks with
    smooth soft-thresholding".

    Parameters
    ----------
    A : Dense
        Any operator; sets shape, dtype and device of the parameters, and nothing else.
    generator : torch.Generator
        Source of the first weights, independent normal numbers.
    n_layers : int, default=8
        Number of layers; :func:`equivalent_depth` gives as many parameters as an unrolled
        network has.
    theta : float, default=1.0
        Threshold, the same in every layer and not learned.
    sharpness : float, default=1.0
        Of the threshold, see :func:`~sklearn_unroll.functional.smooth_soft`.
    scale : float, default=1.0
        Standard deviation of the first weights. One is what is analysed; the inverse of the
        threshold's smallest slope keeps signals from fading from layer to layer.

    Returns
    -------
    Unrolled
        The network.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense
    >>> from sklearn_unroll.nn import feed_forward
    >>> A = Dense(torch.empty(100, 20))
    >>> net = feed_forward(A, n_layers=8, generator=torch.Generator().manual_seed(0))
    >>> sum(p.numel() for p in net.parameters())
    72000
    """
    m, n = A.n_components, A.n_features
    draw = standard_normal(A, generator)
    weights = [ScaledWeights(W1=scale * draw(m, n))]
    weights += [ScaledWeights(W2=scale * draw(m, m)) for _ in range(n_layers - 1)]
    shrinkage = SmoothThreshold(sharpness)
    return Unrolled(ProxGradLayer(part, FixedRule(theta), shrinkage) for part in weights)


def equivalent_depth(n_features: int, n_components: int, n_layers: int) -> int:
    """Return the depth of the feed-forward network as large as an unrolled one.

    ``L + 1 + (L - 1) n_features / n_components``, from ``L (m n + m^2) = m n + (depth - 1) m^2``
    with ``m = n_components`` and ``n = n_features``.

    Parameters
    ----------
    n_features : int
        Length of an observation.
    n_components : int
        Length of a code.
    n_layers : int
        Layers of the unrolled network, each with two matrices of its own.

    Returns
    -------
    int
        The depth, rounded where it is no integer.

    Raises
    ------
    ValueError
        If a number is not positive.

    Warns
    -----
    UserWarning
        If the depth is no integer: the networks then differ in size, by how much is told.

    Examples
    --------
    >>> from sklearn_unroll.nn import equivalent_depth
    >>> equivalent_depth(n_features=20, n_components=100, n_layers=6)
    8
    """
    if min(n_features, n_components, n_layers) < 1:
        raise ValueError(
            f"All three numbers must be at least 1, got n_features={n_features}, "
            f"n_components={n_components}, n_layers={n_layers}."
        )
    more, rest = divmod((n_layers - 1) * n_features, n_components)
    depth = n_layers + 1 + more
    if rest:
        depth += 2 * rest >= n_components
        exact = n_layers + 1 + (n_layers - 1) * n_features / n_components
        unrolled = n_layers * n_components * (n_features + n_components)
        plain = n_components * (n_features + (depth - 1) * n_components)
        warnings.warn(
            f"No feed-forward network has as many parameters as {n_layers} unrolled layers of "
            f"{n_features} features and {n_components} components: the depth would be "
            f"{exact:.4g}. With {depth} layers it has {plain:,}, against {unrolled:,}.",
            stacklevel=2,
        )
    return depth
