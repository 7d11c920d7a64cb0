"""Networks as theorems on their training have them: standard normal entries, scaled in passing.

Every entry starts as N(0, 1), and factors ``1 / sqrt(fan-in)`` stand in the forward pass, where
a step of gradient descent meets them ("NTK parametrisation"); thresholds are fixed, and
the shrinkage is smooth. Shah, Pradhan, Pu, Randhi, Rodrigues and Eldar 2024, "Optimization
guarantees of unfolded ISTA and ADMM networks with smooth soft-thresholding".
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.nn.base import Unrolled
from sklearn_unroll.nn.parts import Weights
from sklearn_unroll.nn.proxgrad import ProxGradLayer
from sklearn_unroll.nn.rules import Rule, Shrink
from sklearn_unroll.nn.shrinkages import SmoothThreshold

__all__ = ["FixedRule", "ScaledWeights", "smooth_lista"]


class ScaledWeights(Weights):
    """``W1 b / sqrt(n_features) + W2 x / sqrt(n_components)``, both learned, either left out.

    Parameters
    ----------
    W1 : Tensor of shape (n_components, n_features), default=None
        First weight on the data; None leaves them out.
    W2 : Tensor of shape (n_components, n_components), default=None
        First weight on the codes; None leaves them out.
    """

    def __init__(self, W1: Tensor | None = None, W2: Tensor | None = None) -> None:
        super().__init__()
        self.W1 = None if W1 is None else nn.Parameter(W1)
        self.W2 = None if W2 is None else nn.Parameter(W2)

    def terms(self, x: Tensor, obs: Observation) -> list[tuple[nn.Parameter, Tensor]]:
        """Return the weights, each with what it is multiplied by, one row a sample.

        All that a tangent kernel needs to know of them, see
        :func:`~sklearn_unroll.theory.tangent_kernel`.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_components)
            The iterate.
        obs : Observation
            Data; the operator is not used.

        Returns
        -------
        list of (Parameter, Tensor)
            Weight and scaled input.
        """
        inputs = ((self.W1, obs.b), (self.W2, x))
        return [(W, h / h.shape[1] ** 0.5) for W, h in inputs if W is not None]

    def forward(self, x: Tensor, obs: Observation, gamma: None = None) -> Tensor:
        """Return the point to shrink."""
        return sum(h @ W.T for W, h in self.terms(x, obs))


class FixedRule(Rule):
    """A threshold that is not learned, and no step.

    Parameters
    ----------
    theta : float
        The threshold, nonnegative.
    """

    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = theta

    def forward(self, x, memory, obs, weights):
        """Return the point, the threshold, and no memory."""
        return weights(x, obs, None), Shrink(self.theta), None


def standard_normal(A: Dense, generator: torch.Generator) -> Callable[[int, int], Tensor]:
    """Return what draws a matrix of a shape, the same in every dtype and on every device."""

    def draw(n_rows: int, n_columns: int) -> Tensor:
        shape, kind = (n_rows, n_columns), {"dtype": torch.float64, "device": generator.device}
        return torch.randn(shape, generator=generator, **kind).to(A.D)

    return draw


def normal_weights(
    A: Dense, n_layers: int, tied: bool, generator: torch.Generator
) -> list[ScaledWeights]:
    """Return the weights of every layer, one module for all where they are tied."""
    m, n = A.n_components, A.n_features
    draw = standard_normal(A, generator)
    n_modules = 1 if tied else n_layers
    modules = [ScaledWeights(draw(m, n), draw(m, m)) for _ in range(n_modules)]
    return modules * n_layers if tied else modules


def smooth_lista(
    A: Dense,
    *,
    generator: torch.Generator,
    n_layers: int = 6,
    theta: float = 1.0,
    sharpness: float = 1.0,
    tied: bool = False,
) -> Unrolled:
    """Assemble the LISTA whose training is analysed: normal free weights, a smooth threshold.

    ``x+ = smooth_soft(W1 b / sqrt(n_features) + W2 x / sqrt(n_components), theta)``, Shah,
    Pradhan, Pu, Randhi, Rodrigues and Eldar 2024, "Optimization guarantees of unfolded ISTA and
    ADMM networks with smooth soft-thresholding". The untrained network solves nothing.

    Parameters
    ----------
    A : Dense
        Any operator; sets shape, dtype and device of the parameters, and nothing else.
    generator : torch.Generator
        Source of the first weights, independent N(0, 1).
    n_layers : int, default=6
        Number of layers.
    theta : float, default=1.0
        Threshold, the same in every layer and not learned.
    sharpness : float, default=1.0
        Of the threshold, see :func:`~sklearn_unroll.functional.smooth_soft`; infinity makes it
        the soft threshold, which the analysis does not cover.
    tied : bool, default=False
        Share the weights among all layers.

    Returns
    -------
    Unrolled
        The network.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense
    >>> from sklearn_unroll.nn import smooth_lista
    >>> A = Dense(torch.empty(100, 20))  # of a shape, with any values
    >>> net = smooth_lista(A, generator=torch.Generator().manual_seed(0))
    >>> sum(p.numel() for p in net.parameters())
    72000
    """
    return Unrolled(
        ProxGradLayer(weights, FixedRule(theta), SmoothThreshold(sharpness))
        for weights in normal_weights(A, n_layers, tied, generator)
    )
