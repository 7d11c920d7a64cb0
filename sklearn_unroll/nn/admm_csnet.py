"""ADMM-CSNet: unrolled ADMM with learned filters and shrinkage for any operator.

Yang, Sun, Li and Xu 2016, "Deep ADMM-Net for compressive sensing MRI" (the basic stage), and
2020, "ADMM-CSNet: a deep learning approach for image compressive sensing" (the generic one).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sklearn_unroll.functional import MaskedFourier, Observation, Operator, dct_filters
from sklearn_unroll.nn.admm_parts import (
    ConvolutionalShrinkage,
    FilterSplitting,
    PiecewiseLinear,
    PlainSplitting,
)
from sklearn_unroll.nn.base import Unrolled, UnrolledLayer

__all__ = ["STAGES", "ADMMLayer", "ADMMState", "admm_csnet"]

STAGES = ("generic", "basic")


class ADMMState(NamedTuple):
    """The state of unrolled ADMM.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        The iterate, which fits the data.
    u : Tensor of shape (n_samples, ...)
        The scaled multiplier of ``z = x``, or of ``z = C x`` with filters C.
    correlations : Tensor of shape (n_samples, n_components)
        ``A^T b``.
    """

    x: Tensor
    u: Tensor
    correlations: Tensor


class ADMMLayer(UnrolledLayer):
    """``z = shrink(C x + u)``, ``u+ = u + eta (C x - z)``, ``x+`` fits the data and ``z - u+``.

    Ends with the x-update, as the published networks do, so that every parameter of the last
    layer takes part; the start is that of ADMM with ``z = u = 0``.

    Parameters
    ----------
    splitting : PlainSplitting or FilterSplitting
        What C is, and how x is found.
    shrinkage : Module
        Maps ``C x + u`` to z.
    rate : Tensor of shape ()
        First learning rate eta of the multiplier, one in ADMM; nonnegative.
    consistent : bool, default=False
        Whether to end with the nearest x that agrees with the data.
    """

    def __init__(
        self, splitting: nn.Module, shrinkage: nn.Module, rate: Tensor, consistent: bool = False
    ) -> None:
        super().__init__()
        self.splitting = splitting
        self.shrinkage = shrinkage
        self.rate = nn.Parameter(rate.clone())
        self.consistent = consistent

    def init(self, obs: Observation) -> ADMMState:
        """Return what fits the data and zero best, and no multiplier."""
        # NOTE[DIFF]: in the papers the first x has a weight rho and filters of its own, and the
        # multiplier's rate starts at 1.6; here both are those of ADMM in the first layer.
        correlations = obs.A.adjoint(obs.b)
        x = self.splitting.reconstruct(obs.A, correlations, None)
        return ADMMState(x, torch.zeros_like(self.splitting(x)), correlations)

    def forward(self, state: ADMMState, obs: Observation) -> ADMMState:
        """Run one iteration."""
        x, u, correlations = state
        c = self.splitting(x)
        z = self.shrinkage(c + u)
        u = u + self.rate * (c - z)
        x = self.splitting.reconstruct(obs.A, correlations, z - u)
        return ADMMState(obs.A.consistent(obs.b, x) if self.consistent else x, u, correlations)

    def readout(self, state: ADMMState) -> Tensor:
        """Return the iterate."""
        return state.x

    def with_iterate(self, state: ADMMState, x: Tensor) -> ADMMState:
        """Return the state with another iterate, which is shrunk next."""
        return state._replace(x=x)

    def project_(self) -> None:
        """Clip the rate at zero."""
        self.rate.clamp_min_(0)

    def continue_from_(self, previous: ADMMLayer) -> None:
        """Start where the previous layer has been trained to, but for what is tied."""
        if self.splitting is not previous.splitting:
            self.splitting.load_state_dict(previous.splitting.state_dict())
            self.shrinkage.load_state_dict(previous.shrinkage.state_dict())
        self.rate.copy_(previous.rate)


def admm_csnet(
    A: Operator,
    *,
    image_shape: tuple[int, int] | None = None,
    stage: str = "generic",
    n_layers: int = 8,
    alpha: float | None = None,
    rho: float | None = None,
    filter_size: int | None = None,
    n_knots: int = 101,
    limit: float = 1.0,
    tied: bool = False,
    consistent: bool = False,
    like: Tensor | None = None,
) -> Unrolled:
    """Assemble ADMM-CSNet, the structured unrolled ADMM.

    Untrained it is ADMM: for ``0.5 ||A x - b||^2 + alpha sum_l ||C_l x||_1`` with the filters
    of the DCT (``stage="basic"``), for the lasso (no ``image_shape``); and else with
    the soft threshold of the DCTs of all patches in place of a proximal operator.

    Parameters
    ----------
    A : Operator
        The operator that the network is for.
    image_shape : tuple of (int, int), default=None
        Height and width of the pictures that rows of x hold, one or several after each other.
        None: rows are no pictures, and one function shrinks every entry.
    stage : {"generic", "basic"}, default="generic"
        ``"basic"``: filters split x, and pictures are penalised by their responses; for
        :class:`~sklearn_unroll.functional.MaskedFourier`. ``"generic"``: the picture itself is
        split, and a pair of convolutions shrinks it; for any operator.
    n_layers : int, default=8
        Number of layers.
    alpha : float, default=None
        Weight of the penalty in the problem that the network starts from, positive; thresholds
        start at ``alpha / rho``. By default 0.03 rho, for pictures in unit scale without noise.
    rho : float, default=None
        Weight of the constraint, positive; ``0.03 ||A||_2^2`` by default.
    filter_size : int, default=None
        Height and width of the filters, odd; 3 in basic stages and 5 in generic ones by
        default. There are ``filter_size ** 2 - 1`` of them.
    n_knots : int, default=101
        Control points of the piecewise-linear functions, odd and at least 5.
    limit : float, default=1.0
        They span about ``[-limit, limit]``, what responses of filters, or codes, go through.
    tied : bool, default=False
        Share all parameters among the layers but the rates.
    consistent : bool, default=False
        Whether to end with the nearest x that agrees with the data; for noiseless ones.
    like : Tensor, default=None
        A tensor with the dtype and device of the parameters; by default those of the operator.

    Returns
    -------
    Unrolled
        The network.

    Raises
    ------
    ValueError
        If a parameter is out of range, or operator, stage and pictures do not fit.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import MaskedFourier, Observation
    >>> from sklearn_unroll.nn import admm_csnet
    >>> A = MaskedFourier(torch.ones(8, 8))
    >>> x = torch.rand(1, 64, dtype=torch.float64)
    >>> net = admm_csnet(A, image_shape=(8, 8), rho=1e-9, alpha=1e-9)
    >>> with torch.no_grad():  # all is sampled, and nothing is penalised
    ...     torch.allclose(net(Observation(A(x), A)), x)
    True
    """
    _check_fit(A, image_shape, stage)
    if rho is None:
        rho = 0.03 * float(A.lipschitz().max()) or 1.0
    alpha = 0.03 * rho if alpha is None else alpha
    for name, value in (("rho", rho), ("alpha", alpha), ("limit", limit)):
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be positive and finite, got {value}.")
    if n_knots < 5 or n_knots % 2 == 0:
        raise ValueError(f"n_knots must be odd and at least 5, got {n_knots}.")
    like = A.like if like is None else like
    weight, theta = like.new_tensor(rho), like.new_tensor(alpha / rho)

    def parts() -> tuple[nn.Module, nn.Module]:
        if image_shape is None:
            return PlainSplitting(weight), PiecewiseLinear(theta, n_knots=n_knots, limit=limit)
        basic = stage == "basic"
        filters = dct_filters(filter_size or (3 if basic else 5)).to(like)
        function = PiecewiseLinear(
            theta, len(filters), n_knots=n_knots, limit=limit, removes=not basic
        )
        if basic:
            return FilterSplitting(filters, weight, image_shape), function
        return PlainSplitting(weight), ConvolutionalShrinkage(filters, function, image_shape)

    shared = parts() if tied else None
    return Unrolled(
        ADMMLayer(*(shared or parts()), like.new_ones(()), consistent and k == n_layers - 1)
        for k in range(n_layers)
    )


def _check_fit(A: Operator, image_shape: tuple[int, int] | None, stage: str) -> None:
    if stage not in STAGES:
        raise ValueError(f"stage must be one of {STAGES}, got {stage!r}.")
    own = A.image_shape if isinstance(A, MaskedFourier) else None
    if stage == "basic" and (own is None or image_shape is None):
        raise ValueError(
            f"stage='basic' needs pictures, and an operator that is diagonal in Fourier space "
            f"with filters, MaskedFourier; got {type(A).__name__} and image_shape={image_shape}. "
            f"Use stage='generic'."
        )
    if stage == "basic" and not bool(A.mask[0, 0]):
        raise ValueError(
            "stage='basic' needs a mask that samples the zero frequency, mask[0, 0]: filters do "
            "not see the mean of a picture. A centred mask wants numpy.fft.ifftshift."
        )
    if image_shape is None:
        return
    sides = tuple(image_shape)
    if len(sides) != 2 or min(sides) < 1 or A.n_components % (sides[0] * sides[1]):
        raise ValueError(
            f"image_shape={sides} does not tile rows of {A.n_components} entries: height times "
            f"width must divide that."
        )
    if own is not None and sides != own:
        raise ValueError(f"image_shape={sides} is not the shape of the operator's mask, {own}.")
