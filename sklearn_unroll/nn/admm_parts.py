"""The parts of a structured ADMM layer: how x is found, and how the split variable is shrunk."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sklearn_unroll.functional import (
    MaskedFourier,
    Operator,
    filter_adjoint,
    filter_pictures,
    filter_spectrum,
    piecewise_linear,
)

__all__ = ["ConvolutionalShrinkage", "FilterSplitting", "PiecewiseLinear", "PlainSplitting"]


class PlainSplitting(nn.Module):
    """``z = x``: the penalty sees the iterate itself; any operator will do.

    Parameters
    ----------
    rho : Tensor of shape ()
        First weight of the constraint, positive; learned through its logarithm.
    """

    def __init__(self, rho: Tensor) -> None:
        super().__init__()
        self.log_rho = nn.Parameter(rho.log())

    def forward(self, x: Tensor) -> Tensor:
        """Return x, what the penalty sees."""
        return x

    def reconstruct(self, A: Operator, correlations: Tensor, w: Tensor | None) -> Tensor:
        """Return ``(A^T A + rho I)^{-1} (A^T b + rho w)``.

        Parameters
        ----------
        A : Operator
            The operator.
        correlations : Tensor of shape (n_samples, n_components)
            ``A^T b``.
        w : Tensor of shape (n_samples, n_components) or None
            Where the penalty wants x to be, ``z - u``; None is zero.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            The iterate.
        """
        rho = self.log_rho.exp()
        return A.solve_normal(correlations if w is None else correlations + rho * w, rho)


class FilterSplitting(nn.Module):
    """``z_l = C_l x`` with learned filters: for Fourier samples, where all is diagonal.

    Parameters
    ----------
    atoms : Tensor of shape (n_filters, size, size)
        Filters to start from; learned ones are combinations of them. Those that analyse and
        those that reconstruct are learned apart.
    rho : Tensor of shape ()
        First weight of the constraints, positive; one for each filter is learned, through its
        logarithm.
    image_shape : tuple of (int, int)
        Height and width of a picture.
    """

    def __init__(self, atoms: Tensor, rho: Tensor, image_shape: tuple[int, int]) -> None:
        super().__init__()
        eye = torch.eye(len(atoms), dtype=atoms.dtype, device=atoms.device)
        self.register_buffer("atoms", atoms)
        self.analysis = nn.Parameter(eye)
        self.synthesis = nn.Parameter(eye.clone())
        self.log_rho = nn.Parameter(rho.log().repeat(len(atoms)))
        self.image_shape = tuple(image_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``C x``, of shape (n_samples, n_pictures, n_filters, height, width)."""
        filters = torch.einsum("kl,lab->kab", self.analysis, self.atoms)
        c = filter_pictures(x.reshape(-1, *self.image_shape), filters)
        return c.unflatten(0, (len(x), -1))

    def reconstruct(self, A: MaskedFourier, correlations: Tensor, w: Tensor | None) -> Tensor:
        """Return ``(A^T A + sum_l rho_l H_l^T H_l)^{-1} (A^T b + sum_l rho_l H_l^T w_l)``.

        Parameters
        ----------
        A : MaskedFourier
            The operator.
        correlations : Tensor of shape (n_samples, n_components)
            ``A^T b``.
        w : Tensor of shape (n_samples, n_pictures, n_filters, height, width) or None
            Where the penalty wants C x to be, ``z - u``; None is zero.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            The iterate.
        """
        rho = self.log_rho.exp()
        filters = torch.einsum("kl,lab->kab", self.synthesis, self.atoms)
        q = correlations
        if w is not None:
            wanted = filter_adjoint(w.flatten(0, 1), filters * rho[:, None, None])
            q = q + wanted.reshape(q.shape)
        return A.solve_normal(q, filter_spectrum(filters, self.image_shape, rho))


class PiecewiseLinear(nn.Module):
    """A learned function of one variable, or one for each channel, by its values at knots.

    Starts as the soft threshold, or as what the soft threshold takes away, on equally spaced
    knots of which the threshold is one, so that it is that function everywhere; but for
    thresholds of less than half a spacing, where it is so at the knots only.

    Parameters
    ----------
    theta : Tensor of shape ()
        First threshold, nonnegative.
    n_channels : int, default=None
        Number of functions, one for each entry of the third dimension from the end; None has
        one for all entries.
    n_knots : int, default=101
        Number of control points, odd and at least 5.
    limit : float, default=1.0
        The knots span about ``[-limit, limit]``, the range of what is to be shrunk, or a little
        more than the threshold; beyond, the last pieces go on.
    removes : bool, default=False
        Whether to start as ``z - soft(z, theta)``.
    """

    def __init__(
        self,
        theta: Tensor,
        n_channels: int | None = None,
        *,
        n_knots: int = 101,
        limit: float = 1.0,
        removes: bool = False,
    ) -> None:
        super().__init__()
        half = n_knots // 2
        # NOTE[DIFF]: the papers' knots are fixed in [-1, 1], and a threshold of 1/20 lies between
        # two of them, so that their untrained network is near ADMM and not equal to it.
        place = min(round(float(theta) * half / limit), half - 1)
        spacing = float(theta) / place if place else limit / half
        knots = spacing * torch.arange(-half, half + 1, dtype=theta.dtype, device=theta.device)
        values = knots.clamp(-float(theta), float(theta))
        values = values if removes else knots - values
        self.register_buffer("knots", knots)
        self.values = nn.Parameter(
            values.clone() if n_channels is None else values.repeat(n_channels, 1)
        )

    def forward(self, z: Tensor) -> Tensor:
        """Return the function of every entry."""
        if self.values.ndim == 1:
            return piecewise_linear(z, self.knots, self.values)
        stacked = z.reshape(-1, *z.shape[-3:])
        return piecewise_linear(stacked, self.knots, self.values).reshape(z.shape)


class ConvolutionalShrinkage(nn.Module):
    """``z = v - W2 f(W1 v)``: filters, a learned function of each response, filters.

    Parameters
    ----------
    filters : Tensor of shape (n_filters, size, size)
        Where W1 starts; W2 starts as its adjoint divided by ``size^2``. With all atoms of the
        DCT but the constant one the start is the mean of the soft thresholds of the DCTs of all
        patches.
    function : PiecewiseLinear
        One function for each filter, starting as what the soft threshold takes away.
    image_shape : tuple of (int, int)
        Height and width of a picture.
    """

    def __init__(
        self, filters: Tensor, function: PiecewiseLinear, image_shape: tuple[int, int]
    ) -> None:
        super().__init__()
        # NOTE[DIFF]: the published generic stage starts from 128 random filters with biases and a
        # rectifier; this start is a denoiser already, and the functions can shift by themselves.
        self.W1 = nn.Parameter(filters.clone())
        self.W2 = nn.Parameter(filters / filters[0].numel())
        self.function = function
        self.image_shape = tuple(image_shape)

    def forward(self, v: Tensor) -> Tensor:
        """Return the shrunk pictures, as rows."""
        responses = filter_pictures(v.reshape(-1, *self.image_shape), self.W1)
        return v - filter_adjoint(self.function(responses), self.W2).reshape(v.shape)
