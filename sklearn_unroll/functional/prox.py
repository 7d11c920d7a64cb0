"""Proximal operators and other shrinkage functions, elementwise on tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import relu, softshrink

__all__ = ["bernoulli_gauss_mean", "soft", "support_select"]


def soft(z: Tensor, theta: Tensor | float) -> Tensor:
    """Soft threshold ``sign(z) max(|z| - theta, 0)``, the prox of ``theta ||.||_1``.

    Daubechies, Defrise and De Mol 2004 (with ``theta`` in place of their ``mu / 2``).

    Parameters
    ----------
    z : Tensor
        Any shape.
    theta : float or Tensor
        Nonnegative threshold; a tensor broadcasts against ``z``.

    Returns
    -------
    Tensor
        Same shape as ``z``.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import soft
    >>> soft(torch.tensor([-3.0, 0.5, 2.0]), 1.0)
    tensor([-2., 0., 1.])
    """
    if not isinstance(theta, Tensor):
        return softshrink(z, theta)
    if theta.ndim == 0 and z.device.type == "cpu" and not torch.is_grad_enabled():
        # One pass over memory instead of two; on a GPU reading theta would stall the stream.
        number = float(theta.detach())
        if number < math.inf:
            return softshrink(z, number)
    # Five times faster to differentiate than a clamp or a maximum with tensor bounds.
    return relu(z - theta) - relu(-z - theta)


def support_select(
    z: Tensor, theta: Tensor | float, count: Tensor | int, *, spread: float = 0.0
) -> Tensor:
    """Soft threshold, but the ``count`` largest entries above the threshold pass unchanged.

    Chen, Liu, Wang and Yin 2018, "Theoretical linear convergence of unfolded ISTA and its
    practical weights and thresholds", support selection. An entry passes if it is *both* among
    the ``count`` largest magnitudes and above ``theta``: ``count = 0`` is the soft threshold,
    ``count >= n_components`` the hard one.

    Parameters
    ----------
    z : Tensor of shape (n_samples, n_components)
        The point to shrink.
    theta : float or Tensor of shape () or (n_samples, 1)
        Nonnegative threshold.
    count : int or Tensor of shape (n_samples, 1)
        How many entries may pass, in each sample.
    spread : float, default=0.0
        For derivatives only: entries that pass jump by theta as they cross it. The published
        derivative takes no notice of that, which is 0; otherwise the jump counts as a slope
        over ``theta (1 - spread) .. theta (1 + spread)``, in samples where the threshold and not
        the count decides.

    Returns
    -------
    Tensor of shape (n_samples, n_components)
        The shrunk codes.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import support_select
    >>> support_select(torch.tensor([[-3.0, 0.5, 2.0]]), 1.0, 1)
    tensor([[-3., 0., 1.]])
    """
    # Masks are floats: comparing, adding up and multiplying bools takes five times as long.
    with torch.no_grad():
        magnitude = z.abs()
        passes = (magnitude - theta).relu_().sign_()
        excess = (passes.sum(-1, keepdim=True) > count)[:, 0].nonzero()[:, 0]
        # Only samples with more large entries than may pass need their order.
        if len(excess):
            passes[excess] *= mark_largest(
                magnitude[excess], count[excess] if isinstance(count, Tensor) else count
            )
    if not len(excess) and not torch.is_grad_enabled():
        return z * passes
    # An entry passes where its threshold is zero.
    shrunk = soft(z, theta * (1 - passes))
    if spread == 0 or not torch.is_grad_enabled():
        return shrunk
    with torch.no_grad():
        near = ((magnitude - theta).abs() < spread * theta).to(z.dtype) / (2 * spread)
        near[excess] = 0
        sign = z.sign()
    slope = near * (z - sign * theta)
    return shrunk + (slope - slope.detach())  # zero, with the derivatives of the slope


def mark_largest(magnitude: Tensor, count: Tensor | int) -> Tensor:
    """Return ones at the count largest entries of every row, zeros elsewhere."""
    marks = torch.zeros_like(magnitude)
    if isinstance(count, int):
        order = magnitude.topk(min(count, magnitude.shape[1]), sorted=False).indices
        return marks.scatter_(1, order, 1.0)
    order = magnitude.topk(min(max(int(count.max()), 1), magnitude.shape[1])).indices
    ranked = (torch.arange(order.shape[1], device=count.device) < count).to(magnitude.dtype)
    return marks.scatter_(1, order, ranked.expand(order.shape))


def bernoulli_gauss_mean(
    z: Tensor, tau2: Tensor | float, sparsity: float, variance: float
) -> Tensor:
    """Mean of a sparse entry, given ``z = x + N(0, tau2)``: the shrinkage of least mean square.

    ``x`` is zero with probability ``1 - sparsity`` and else ``N(0, variance)``. Ito, Takabe and
    Wadayama 2019, "Trainable ISTA for sparse signal recovery", the MMSE shrinkage; here with
    log odds, which neither overflow nor lose the small ones.

    Parameters
    ----------
    z : Tensor of shape (n_samples, n_components)
        The noisy entries.
    tau2 : float or Tensor of shape () or (n_samples, 1)
        Positive variance of their error.
    sparsity : float
        Probability of a nonzero, strictly between 0 and 1.
    variance : float
        Positive variance of a nonzero.

    Returns
    -------
    Tensor of shape (n_samples, n_components)
        Conditional means.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import bernoulli_gauss_mean
    >>> bernoulli_gauss_mean(torch.tensor([[3.0, 0.1]]), 0.01, sparsity=0.1, variance=1.0)
    tensor([[2.9703, 0.0017]])
    """
    tau2 = torch.as_tensor(tau2, dtype=z.dtype, device=z.device)
    total = variance + tau2
    prior = math.log(sparsity / (1 - sparsity)) + 0.5 * (tau2 / total).log()
    # Its gradient divides by tau2, not by its square, which underflows where errors are tiny.
    odds = prior + (z * tau2.rsqrt()).square() * (0.5 * variance / total)
    # Far below the precision of the rest; smaller odds would be denormal, fifty times slower.
    odds = odds.clamp_min(2 * math.log(torch.finfo(z.dtype).eps))
    return (variance / total) * z * torch.sigmoid(odds)
