"""Proximal operators and other shrinkage functions, elementwise on tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softshrink

__all__ = ["soft", "support_select"]


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
        return softshrink(z, float(theta.detach()))
    return z - torch.clamp(z, -theta, theta)


def support_select(z: Tensor, theta: Tensor | float, count: Tensor | int) -> Tensor:
    """Soft threshold, but the ``count`` largest entries above the threshold pass unchanged.

    Chen, Liu, Wang and Yin 2018, "Theoretical linear convergence of unfolded ISTA and its
    practical weights and thresholds", support selection. An entry passes if it is *both* among
    the ``count`` largest magnitudes and above ``theta``: ``count = 0`` is the soft threshold,
    ``count >= n_components`` the hard one. Which entries pass is not differentiated.

    Parameters
    ----------
    z : Tensor of shape (n_samples, n_components)
        The point to shrink.
    theta : float or Tensor of shape () or (n_samples, 1)
        Nonnegative threshold.
    count : int or Tensor of shape (n_samples, 1)
        How many entries may pass, in each sample.

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
    with torch.no_grad():
        magnitude = z.abs()
        passes = magnitude > theta
        excess = (passes.sum(-1, keepdim=True) > count)[:, 0].nonzero()[:, 0]
    out = torch.where(passes, z, z.new_zeros(()))
    if not len(excess):
        return out
    # Only samples with more large entries than may pass need their order, and a soft threshold.
    with torch.no_grad():
        few = count[excess] if isinstance(count, Tensor) else count
        most = max(int(few.max()) if isinstance(few, Tensor) else few, 1)
        _, order = magnitude[excess].topk(most)
        ranked = (torch.arange(most, device=z.device) < few).expand(order.shape)
        passes = passes[excess] & torch.zeros_like(passes[excess]).scatter_(1, order, ranked)
    per_sample = isinstance(theta, Tensor) and theta.ndim > 0
    z = z[excess]
    shrunk = soft(z, theta[excess] if per_sample else theta)
    return out.index_copy(0, excess, torch.where(passes, z, shrunk))
