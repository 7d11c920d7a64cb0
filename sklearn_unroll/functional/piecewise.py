"""Piecewise-linear functions of one variable, given by their values at control points."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["piecewise_linear"]


def piecewise_linear(z: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Return ``v_i + (z - p_i) (v_{i+1} - v_i) / (p_{i+1} - p_i)`` on ``p_i <= z < p_{i+1}``.

    Yang, Sun, Li and Xu 2016, "Deep ADMM-Net for compressive sensing MRI", the learned
    shrinkage. Beyond the control points the first and the last piece go on. Differentiable in
    z and in the values.

    Parameters
    ----------
    z : Tensor of shape (n_samples, ...) or (n_samples, n_channels, ...)
        Arguments; any shape where one function serves all.
    knots : Tensor of shape (n_knots,)
        Control points p, increasing and equally spaced, at least two.
    values : Tensor of shape (n_knots,) or (n_channels, n_knots)
        Values v at the control points, of one function or of one for each channel of z.

    Returns
    -------
    Tensor
        Same shape as ``z``.

    Raises
    ------
    ValueError
        If shapes do not fit.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import piecewise_linear
    >>> z, knots = torch.tensor([-3.0, 0.5, 2.0]), torch.tensor([-1.0, 0.0, 1.0])
    >>> piecewise_linear(z, knots, torch.tensor([1.0, 0.0, 1.0]))  # the absolute value
    tensor([3.0000, 0.5000, 2.0000])
    """
    n_knots = values.shape[-1]
    channels = len(values) if values.ndim == 2 else 0
    fits = values.ndim in (1, 2) and knots.shape == (n_knots,) and n_knots > 1
    if not fits or (channels and (z.ndim < 2 or z.shape[1] != channels)):
        raise ValueError(
            f"values must have shape (n_knots,), or (n_channels, n_knots) with n_channels the "
            f"second dimension of z, and at least two knots; got values {tuple(values.shape)}, "
            f"knots {tuple(knots.shape)}, z {tuple(z.shape)}."
        )
    t = (z - knots[0]) * ((n_knots - 1) / (knots[-1] - knots[0]))
    piece = t.detach().clamp(0, n_knots - 2).nan_to_num(0.0).int()
    # Every piece as a line in t, so that two table lookups and one product do.
    slope = torch.nn.functional.pad(values.diff(dim=-1), (0, 1))
    offset = values - slope * torch.arange(n_knots, dtype=values.dtype, device=values.device)
    if channels:
        row = torch.arange(channels, dtype=torch.int32, device=z.device) * n_knots
        piece = piece + row.reshape(-1, *[1] * (z.ndim - 2))
    piece = piece.flatten()
    slope, offset = (
        table.flatten().index_select(0, piece).reshape(z.shape) for table in (slope, offset)
    )
    return torch.addcmul(offset, t, slope)
