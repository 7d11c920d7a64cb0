"""Proximal operators and other shrinkage functions, elementwise on tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softshrink

__all__ = ["soft"]


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
