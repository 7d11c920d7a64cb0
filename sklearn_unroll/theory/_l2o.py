"""What theory says about training learned gradient descent: Song, Lin and Xu 2025."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.functional import Composite, Dense
from sklearn_unroll.nn import Unrolled
from sklearn_unroll.nn.provable_l2o import ProvableL2OLayer

__all__ = [
    "ExpansionBounds",
    "L2OConstants",
    "expansion_bounds",
    "l2o_constants",
    "training_control",
    "training_rate",
]

# Of lr e^(2 (L - 1)): below, hundreds of steps change little; from the upper end on runs of the
# paper's study break down (T = 20, 32 instances of 25 x 32, L = 3).
TRAINS = (0.1, 600.0)


class ExpansionBounds(NamedTuple):
    """Least orders of the expansion e, each up to a constant (Lemmas 5.1 to 5.4).

    Parameters
    ----------
    singular : float
        ``T^(1 / (L - 1))``.
    semi_smooth : float
        ``T^((3 T + 6) / (T L - T - 4 L + 6))``; infinite where the denominator is not positive.
    gradient : float
        ``T^(4 / (L - 1))``.
    rate : float
        ``T^(5 / (L - 1)) L^(1 / (L - 1))``.
    """

    singular: float
    semi_smooth: float
    gradient: float
    rate: float


class L2OConstants(NamedTuple):
    """Constants of Theorem 4.3 for a network on given instances.

    Parameters
    ----------
    alpha_0 : float
        Least singular value of the outputs of layer L - 1 for all coordinates, in the last
        iteration.
    alpha_nonzero : float
        The least of those that are not zero, to rounding.
    rank : int
        Number of the latter.
    delta_3 : float
        Largest norm of these outputs for a coordinate.
    delta_4 : float
        ``s (1 - s)`` with ``s = sigmoid(delta_3 Theta_L)``: the least slope of the sigmoid while
        the last layer has a norm of at most ``Theta_L``.
    """

    alpha_0: float
    alpha_nonzero: float
    rank: int
    delta_3: float
    delta_4: float


def expansion_bounds(n_iter: int, n_layers: int = 3) -> ExpansionBounds:
    """Return the four lower bounds on the expansion e, without their constants.

    Parameters
    ----------
    n_iter : int
        The number T of iterations, at least 1.
    n_layers : int, default=3
        The number L of layers, at least 2.

    Returns
    -------
    ExpansionBounds
        The bounds of Lemmas 5.1 to 5.4.

    Raises
    ------
    ValueError
        If a number is too small.

    Examples
    --------
    >>> from sklearn_unroll.theory import expansion_bounds
    >>> [round(bound, 1) for bound in expansion_bounds(20)]
    [4.5, 335.4, 400.0, 3098.4]
    """
    T, L = n_iter, n_layers
    if T < 1 or L < 2:
        raise ValueError(f"n_iter must be at least 1 and n_layers at least 2, got {T} and {L}.")
    below = T * L - T - 4 * L + 6
    semi_smooth = float(T) ** ((3 * T + 6) / below) if below > 0 else float("inf")
    return ExpansionBounds(
        T ** (1 / (L - 1)),
        semi_smooth,
        T ** (4 / (L - 1)),
        T ** (5 / (L - 1)) * L ** (1 / (L - 1)),
    )


def training_control(learning_rate: float, expansion: float, n_layers: int = 3) -> float:
    """Return ``lr e^(2 (L - 1))``, which decides how training starts; warn outside its range.

    The last layer starts at zero, so that e rescales its gradient and its effect: runs with the
    same value coincide at first. The range is that of the published study.

    Parameters
    ----------
    learning_rate : float
        Of gradient descent on the sum of the final objectives of all instances, positive.
    expansion : float
        The number e, positive.
    n_layers : int, default=3
        The number L of layers.

    Returns
    -------
    float
        The control parameter.

    Warns
    -----
    UserWarning
        If it is below 0.1 or above 600.

    Examples
    --------
    >>> from sklearn_unroll.theory import training_control
    >>> round(training_control(1e-6, 50), 2)
    6.25
    """
    if not (learning_rate > 0 and expansion > 0) or n_layers < 2:
        raise ValueError(
            f"learning_rate and expansion must be positive and n_layers at least 2; got "
            f"{learning_rate!r}, {expansion!r} and {n_layers!r}."
        )
    control = learning_rate * expansion ** (2 * (n_layers - 1))
    low, high = TRAINS
    if not low <= control <= high:
        trouble = "hardly moves" if control < low else "may break down"
        power = 2 * (n_layers - 1)
        warnings.warn(
            f"learning_rate * expansion^{power} = {control:.3g} lies outside [{low:g}, {high:g}]: "
            f"training {trouble}. With expansion={expansion:g}, choose learning_rate between "
            f"{low / expansion**power:.2g} and {high / expansion**power:.2g}.",
            stacklevel=2,
        )
    return control


@torch.no_grad()
def l2o_constants(
    network: Unrolled, problem: Composite, largest_norm: float = 1.0
) -> L2OConstants:
    """Return the constants of the linear rate, computed on a network and its instances.

    Theory wants ``alpha_0 > 0``. With two features a coordinate and nonnegative first layers the
    ReLUs pass everything on, so the outputs have rank 2: alpha_0 is zero for more than two
    coordinates, which is what this function then says, and a remark on the published proof.

    Parameters
    ----------
    network : Unrolled
        Made by :func:`~sklearn_unroll.nn.provable_l2o`.
    problem : Composite
        Least squares; every matrix M must have full row rank.
    largest_norm : float, default=1.0
        The number ``Theta_L``: how large the last layer may become.

    Returns
    -------
    L2OConstants
        ``alpha_0``, what is behind it, and ``delta_4``.

    Raises
    ------
    TypeError
        If the network is not of this kind.
    ValueError
        If a matrix does not have full row rank.
    """
    layer = _layer(network)
    check_full_rank(problem)
    *_, x, _ = network.iterates(problem)
    G = layer.steps.hidden(layer.features(x, problem.gradient(x))).double()
    values = torch.linalg.svdvals(G)
    floor = values[0] * max(G.shape) * torch.finfo(x.dtype).eps
    live = values[values > floor]
    rank = len(live)
    delta_3 = float(G.norm(dim=1).max())
    push = torch.tensor(delta_3 * largest_norm, dtype=torch.float64)
    return L2OConstants(
        float(values[-1]) if rank == len(values) else 0.0,
        float(live[-1]) if rank else 0.0,
        rank,
        delta_3,
        float(torch.sigmoid(push) * torch.sigmoid(-push)),
    )


def training_rate(network: Unrolled, problem: Composite, learning_rate: float) -> float:
    """Return ``r_k = 1 - lr ||grad F||^2 / F``: what one step of training multiplies F with.

    F is the sum of the final objectives, here above their minima, and the gradient is that in
    the parameters; the factor is exact to first order in the learning rate. Training converges
    linearly while r_k stays below one (the paper bounds it by alpha_0 and delta_4).

    Parameters
    ----------
    network : Unrolled
        Any network of :class:`~sklearn_unroll.functional.Composite` problems.
    problem : Composite
        Instances; ``least`` holds their optimal values, zero if it is None.
    learning_rate : float
        Of gradient descent on F.

    Returns
    -------
    float
        The factor.
    """
    parameters = list(network.parameters())
    with torch.enable_grad():
        total = problem.value(network(problem)).sum()
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    squares = sum(float(g.square().sum()) for g in gradients if g is not None)
    least = 0.0 if problem.least is None else float(problem.least.sum())
    return 1 - learning_rate * squares / (float(total.detach()) - least)


def check_full_rank(problem: Composite) -> None:
    """Raise unless the matrix of every instance has full row rank, as the theorem asks."""
    if not isinstance(problem.A, Dense):
        raise TypeError(f"Theory needs a Dense operator, got {type(problem.A).__name__}.")
    D: Tensor = problem.A.D
    rank = torch.linalg.matrix_rank(D)
    short = (rank < D.shape[-1]).nonzero()
    if len(short):
        raise ValueError(
            f"The theorem needs matrices of full row rank {D.shape[-1]}; that of instance "
            f"{int(short[0, 0]) if short.ndim > 1 and short.shape[1] else 0} has rank "
            f"{int(rank.min())}. Drop dependent measurements."
        )


def _layer(network: Unrolled) -> ProvableL2OLayer:
    layer = network.layers[0]
    if not isinstance(layer, ProvableL2OLayer):
        raise TypeError(
            f"The constants are those of provable_l2o's networks; got a network of "
            f"{type(layer).__name__}."
        )
    return layer
