"""Noise between layers, given standard normal numbers."""

from __future__ import annotations

from torch import Tensor

from sklearn_unroll.functional.composite import gradient_of
from sklearn_unroll.functional.observation import Observation

__all__ = ["NOISE_SCHEDULES", "layer_noise"]

NOISE_SCHEDULES = ("log_gradient", "unit_norm", "constant")


def layer_noise(
    xi: Tensor, number: int, x: Tensor, obs: Observation, schedule: str = "log_gradient"
) -> Tensor:
    """Noise after layer l: ``log(1 + ||A^T (A x - b)||) xi``, ``xi / ((l + 1) ||xi||)`` or ``xi``.

    Hadou, NaderiAlizadeh and Ribeiro 2024, "Robust stochastically-descending unrolled networks":
    the first in their study of sparse codes, the second in that of inpainting.

    Parameters
    ----------
    xi : Tensor of shape (n_samples, n_components)
        Standard normal numbers.
    number : int
        Number of layers so far, l, from 0 on.
    x : Tensor of shape (n_samples, n_components)
        The iterate to be disturbed.
    obs : Observation or Composite
        Data and operator; instances that know their problem have its gradient.
    schedule : {"log_gradient", "unit_norm", "constant"}, default="log_gradient"
        Which of the three. The first falls as the iterates approach a solution.

    Returns
    -------
    Tensor of shape (n_samples, n_components)
        What to add to x.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation, layer_noise
    >>> obs = Observation(torch.zeros(1, 2), Dense(torch.eye(2)))
    >>> layer_noise(torch.tensor([[3.0, 4.0]]), 1, torch.zeros(1, 2), obs, "unit_norm")
    tensor([[0.3000, 0.4000]])
    """
    if schedule == "constant":
        return xi
    if schedule == "unit_norm":
        return xi / ((number + 1) * xi.norm(dim=1, keepdim=True))
    # NOTE[DIFF]: the paper's code has log(g), whose size grows as the gradient g vanishes.
    return gradient_of(x, obs).norm(dim=1, keepdim=True).log1p() * xi
