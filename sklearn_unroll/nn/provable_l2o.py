"""Learned steps of gradient descent that provably train: they start as gradient descent.

Song, Lin and Xu 2025, "Learning provably improves the convergence of gradient descent".
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from sklearn_unroll.functional import Composite
from sklearn_unroll.nn.base import Unrolled, UnrolledLayer

__all__ = ["ProvableL2OLayer", "StepNetwork", "provable_l2o"]


class StepNetwork(nn.Module):
    """``P = 2 sigmoid(W_L h_{L-1})`` with ``h_l = relu(W_l h_{l-1})``, by coordinate, no biases.

    The layers below the last start as ``e |Q|`` with Q from the QR factors of Gaussian matrices,
    square ones as e times the permutation nearest to it; the last one at zero, so that P = 1.

    Parameters
    ----------
    n_layers : int
        The number L, at least 2; the layers below the widest keep two numbers.
    width : int
        Outputs of layer L - 1.
    expansion : float
        The number e, positive.
    like : Tensor
        Sets dtype and device.
    generator : torch.Generator
        Source of the Gaussian matrices.
    """

    # NOTE[DIFF]: the code of Song et al. 2025 keeps the signs of Q; the paper makes it
    # nonnegative. With signs some starts have dead units only, or train to diverge on new data.
    # NOTE[DIFF]: a square orthogonal matrix without negative entries is a permutation. The
    # absolute values of another one mix gradient and point, more steps stay at exactly 1, and a
    # trained network improves on gradient descent by 0.43 instead of 0.57 (20 x 32, T = 20).

    def __init__(
        self,
        *,
        n_layers: int,
        width: int,
        expansion: float,
        like: Tensor,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        if n_layers < 2 or width < 2 or not expansion > 0:
            raise ValueError(
                f"n_layers and width must be at least 2 and expansion positive; got {n_layers}, "
                f"{width} and {expansion}."
            )
        sizes = [2] * (n_layers - 1) + [width]
        kind = {"dtype": like.dtype, "device": like.device}
        weights = []
        for n_in, n_out in pairwise(sizes):
            gauss = torch.randn(n_out, n_in, generator=generator, **kind)
            weights.append(expansion * _nonnegative(torch.linalg.qr(gauss).Q))
        weights.append(torch.zeros(1, width, **kind))
        self.weights = nn.ParameterList(nn.Parameter(W) for W in weights)

    def hidden(self, features: Tensor) -> Tensor:
        """Return the outputs of layer L - 1.

        Parameters
        ----------
        features : Tensor of shape (n_rows, 2)
            Gradient and point of every coordinate.

        Returns
        -------
        Tensor of shape (n_rows, width)
            Nonnegative numbers.
        """
        for W in self.weights[:-1]:
            features = (features @ W.T).relu()
        return features

    def forward(self, features: Tensor) -> Tensor:
        """Return the step of every coordinate in units of ``1 / L``, of shape (n_rows,)."""
        return 2 * torch.sigmoid((self.hidden(features) @ self.weights[-1].T)[:, 0])


def _nonnegative(Q: Tensor) -> Tensor:
    """Return absolute values, or of a square matrix the permutation nearest to them."""
    if Q.shape[0] != Q.shape[1]:
        return Q.abs()
    rows, columns = linear_sum_assignment(Q.abs().numpy(force=True), maximize=True)
    P = torch.zeros_like(Q)
    P[rows, columns] = 1
    return P


class ProvableL2OState(NamedTuple):
    """The state of learned gradient descent.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        The iterate.
    trust : Tensor of shape (n_samples, 1)
        Factor on what the steps differ by from 1.
    """

    x: Tensor
    trust: Tensor


class ProvableL2OLayer(UnrolledLayer):
    """``x+ = x - P grad f(x) / L`` with P of ``StepNetwork``; R is applied by its prox.

    Parameters
    ----------
    steps : StepNetwork
        Shared by all iterations.
    """

    def __init__(self, steps: StepNetwork) -> None:
        super().__init__()
        self.steps = steps

    def init(self, obs: Composite) -> ProvableL2OState:
        """Return the problem's start."""
        x = obs.first()
        return ProvableL2OState(x, x.new_ones(len(x), 1))

    def features(self, x: Tensor, g: Tensor) -> Tensor:
        """Return what the network sees, without gradients as published.

        Parameters
        ----------
        x, g : Tensor of shape (n_samples, n_components)
            Point and gradient.

        Returns
        -------
        Tensor of shape (n_samples * n_components, 2)
            Gradient and point of every coordinate.
        """
        return torch.stack([g.detach(), x.detach()], -1).reshape(-1, 2)

    def forward(self, state: ProvableL2OState, obs: Composite) -> ProvableL2OState:
        """Run one iteration."""
        x = state.x
        g = obs.gradient(x)
        P = self.steps(self.features(x, g)).view_as(x)
        P = 1 + state.trust * (P - 1)
        step = obs.step * P
        return ProvableL2OState(obs.R.prox(x - step * g, step), state.trust)

    def resume(
        self, state: ProvableL2OState, x: Tensor, wrong: Tensor, lost: Tensor
    ) -> ProvableL2OState:
        """Return the state with other iterates, and steps nearer to the classical ones."""
        return ProvableL2OState(x, torch.where(wrong, 0.5 * state.trust, state.trust))

    def readout(self, state: ProvableL2OState) -> Tensor:
        """Return the iterate."""
        return state.x

    def with_iterate(self, state: ProvableL2OState, x: Tensor) -> ProvableL2OState:
        """Return the state with another iterate."""
        return state._replace(x=x)


def provable_l2o(
    like: Tensor,
    *,
    n_iter: int = 20,
    n_layers: int = 3,
    width: int = 1024,
    expansion: float = 50.0,
    generator: torch.Generator,
) -> Unrolled:
    """Assemble it; untrained it is gradient descent with step ``1 / L``, to the last bit.

    Trained as published by ``Trainer(ProblemObjective("last", relative=False), loss="mean",
    optimizer="sgd", batch_size=None, decay="constant", max_grad_norm=None,
    early_stopping=False)`` with back-propagation through all iterations. The published loss is the
    sum over instances, so multiply its learning rate by their number;
    :func:`sklearn_unroll.theory.training_control` says which ones suit which expansion.

    Parameters
    ----------
    like : Tensor
        Sets dtype and device; those of the data.
    n_iter : int, default=20
        The number T of iterations.
    n_layers : int, default=3
        The number L of layers that compute a step.
    width : int, default=1024
        Width of the last hidden layer; theory asks for as many as there are coordinates in all.
    expansion : float, default=50.0
        The number e.
    generator : torch.Generator
        Source of the first parameters.

    Returns
    -------
    Unrolled
        The network.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Composite, Dense, LeastSquares, Zero
    >>> from sklearn_unroll.nn import provable_l2o
    >>> b = torch.tensor([[2.0, 1.0]])
    >>> problem = Composite.of(b, Dense(torch.eye(2)), LeastSquares(), Zero())
    >>> net = provable_l2o(b, n_iter=1, generator=torch.Generator().manual_seed(0))
    >>> with torch.no_grad():
    ...     net(problem)
    tensor([[2., 1.]])
    """
    steps = StepNetwork(
        n_layers=n_layers, width=width, expansion=expansion, like=like, generator=generator
    )
    return Unrolled([ProvableL2OLayer(steps)] * n_iter)
