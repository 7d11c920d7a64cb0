"""LAMP: approximate message passing with learned matrices and thresholds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sklearn_unroll.functional import Dense
from sklearn_unroll.nn.base import Unrolled
from sklearn_unroll.nn.parts import CoupledWeights
from sklearn_unroll.nn.proxgrad import ProxGradLayer
from sklearn_unroll.nn.rules import Rule, Shrink

__all__ = ["OnsagerRule", "lamp"]


class OnsagerRule(Rule):
    """``v_k = b - A x_k + beta ||x_k||_0 / m v_{k-1}``, AMP's memory, in place of the residual.

    The point is ``x_k + gamma B v_k`` and its threshold ``lam ||v_k||_2 / sqrt(m)``: with a
    large matrix of i.i.d. entries the Onsager term makes the error of the point look like
    independent normal noise of the size ``||v_k||_2 / sqrt(m)``.

    Parameters
    ----------
    lam : Tensor of shape ()
        First factor on the threshold, nonnegative; gamma and beta start at one.
    """

    # The count of nonzeros is the divergence of a soft threshold, not of one that joins entries.
    needs = ("correction", "memory", "entries")

    def __init__(self, lam: Tensor) -> None:
        super().__init__()
        self.lam = nn.Parameter(lam.clone())
        self.gamma = nn.Parameter(torch.ones_like(lam))
        self.beta = nn.Parameter(torch.ones_like(lam))

    # NOTE[DIFF]: the paper learns B and a factor on the codes, which is in the Onsager term too;
    # here step and Onsager term have factors of their own, with which few steps of training do.
    def forward(self, x, memory, obs, weights):
        """Return the point, its threshold, and ``v_k``."""
        m = obs.b.shape[1]
        last = torch.zeros_like(obs.b) if memory is None else memory
        share = x.detach().sign().abs_().sum(1, keepdim=True) / m  # a count has no derivative
        v, update = weights.correction(x, obs._replace(b=obs.b + self.beta * share * last))
        theta = self.lam * torch.linalg.vector_norm(v, dim=1, keepdim=True) / m**0.5
        return torch.addcmul(x, self.gamma, update), Shrink(theta), v

    def project_(self) -> None:
        """Clip lam at zero."""
        self.lam.clamp_min_(0)


def lamp(
    A: Dense,
    *,
    n_layers: int = 8,
    tied: bool = False,
    lam: float = 1.1,
    W: Tensor | None = None,
) -> Unrolled:
    """Assemble LAMP, ``x+ = soft(x + gamma B v, lam ||v||_2 / sqrt(m))`` with AMP's v.

    Borgerding, Schniter and Rangan 2017, "AMP-inspired deep networks for sparse linear inverse
    problems"; v is that of :class:`OnsagerRule`. The untrained network is AMP (Donoho, Maleki
    and Montanari 2009), layer by layer. Codes scale with the data. Like AMP it is for matrices
    with i.i.d. entries: on others it may diverge until it is trained.

    Parameters
    ----------
    A : Dense
        The operator, one for all samples; sets shape, dtype and device of the parameters. Its
        atoms should be of about equal norm.
    n_layers : int, default=8
        Number of layers.
    tied : bool, default=False
        Share the matrix among all layers; each keeps its own scalars.
    lam : float, default=1.1
        Where the factors on the threshold start, nonnegative. Divided by c, the root mean
        square of the atoms' norms, as codes are c times smaller than with unit atoms.
    W : Tensor of shape (n_components, n_features), default=None
        Where the matrices B start, AMP's ``A^T / c^2`` by default. From an analytic weight
        training gets much further, see :func:`~sklearn_unroll.functional.analytic_weight`.

    Returns
    -------
    Unrolled
        The network.

    Raises
    ------
    ValueError
        If every sample has its own operator, or lam is negative.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense
    >>> from sklearn_unroll.nn import lamp
    >>> net = lamp(Dense(torch.eye(4)), n_layers=3, tied=True)
    >>> sum(p.numel() for p in net.parameters())  # a matrix, and three scalars in each layer
    25
    """
    # NOTE[DIFF]: the official code starts at B = A^T / (1.01 ||A||_2^2), which is not AMP.
    if A.per_sample:
        raise ValueError("LAMP needs one operator for all samples, got one for each.")
    if not lam >= 0:
        raise ValueError(f"lam must be nonnegative, got {lam!r}.")
    c2 = A.D.square().sum(1).mean()
    c2 = torch.where(c2 > 0, c2, torch.ones_like(c2))
    first = A.D / c2 if W is None else W
    shared = CoupledWeights(first) if tied else None
    return Unrolled(
        ProxGradLayer(shared or CoupledWeights(first), OnsagerRule(lam / c2.sqrt()))
        for _ in range(n_layers)
    )
