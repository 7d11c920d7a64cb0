"""Every iterate of a network measured, which costs no product: layers need residuals anyway."""

from __future__ import annotations

from torch import Tensor

from sklearn_unroll.functional import Composite, Observation
from sklearn_unroll.functional.measured import lasso_of_residual
from sklearn_unroll.functional.observation import first_residual
from sklearn_unroll.nn.base import Unrolled

__all__ = ["watched"]


class Watch:
    """Measures every iterate when the next layer asks for its residual.

    Parameters
    ----------
    b : Tensor of shape (n_samples, n_features)
        Data.
    weight : float
        Weight of the l1 norm in what is measured.
    depth : int
        Number of layers.
    """

    def __init__(self, b: Tensor, weight: float, depth: int) -> None:
        self.b, self.weight = b, weight
        self.values, self.count = b.new_empty(depth + 1, len(b)), 0
        self.x, self.version = None, 0

    def expect(self, x: Tensor) -> None:
        """Wait for the residual of an iterate."""
        self.x, self.version = x, x._version

    def of(self, obs: Observation, x: Tensor) -> Tensor:
        """Return a residual; if it is the one that is waited for, measure its iterate."""
        if x is not self.x or obs.b is not self.b or x._version != self.version:
            return obs.A.residual(obs.b, x)
        b, A = obs.b, obs.A
        r = A.residual(b, x) if self.count else first_residual(b, A, x)
        lasso_of_residual(x, r, self.weight, self.values[self.count])
        self.x, self.count = None, self.count + 1
        return r


def watched(network: Unrolled, problem: Composite, weight: float) -> tuple[Tensor, Tensor] | None:
    """Return the last iterate, and the values of all; None where layers ask for no residuals.

    Parameters
    ----------
    network : Unrolled
        The network.
    problem : Composite
        The data.
    weight : float
        Weight of the l1 norm in what is measured.

    Returns
    -------
    tuple of Tensor, or None
        Of shapes (n_samples, n_components) and (depth + 1, n_samples).
    """
    watch = Watch(problem.b, weight, network.depth)
    obs = problem._replace(known=watch)
    for number, state in enumerate(network.states(obs)):
        if watch.count < number:
            return None
        x = network.layers[max(number - 1, 0)].readout(state)
        watch.expect(x)
    obs.residual(x)
    return x, watch.values
