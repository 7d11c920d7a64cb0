"""What layers should lower: the sizes that constraints and reports of descent speak of."""

from __future__ import annotations

from torch import Tensor

from sklearn_unroll.functional.composite import Composite, gradient_of
from sklearn_unroll.functional.observation import Observation
from sklearn_unroll.functional.penalty import Penalty
from sklearn_unroll.functional.problems import lasso_value

__all__ = ["DESCENT_KINDS", "descent_size"]

DESCENT_KINDS = ("distance", "gradient", "objective")


def descent_size(
    kind: str,
    x: Tensor,
    obs: Observation,
    y: Tensor | None,
    alpha: Tensor | float,
    penalty: Penalty | None = None,
) -> Tensor:
    """Return what should fall from layer to layer, for every sample.

    Parameters
    ----------
    kind : {"distance", "gradient", "objective"}
        ``||x - y||``, the norm of the gradient ``A^T (A x - b)``, or the objective of the lasso,
        less its value at y where there are true codes.
    x : Tensor of shape (n_samples, n_components)
        The iterate.
    obs : Observation or Composite
        Data and operator; instances that know their problem have its gradient and objective.
    y : Tensor of shape (n_samples, n_components) or None
        True codes; needed for ``"distance"``.
    alpha : float or Tensor of shape (n_samples,)
        Weight of the penalty in the objective.
    penalty : Penalty, default=None
        The l1 norm by default.

    Returns
    -------
    Tensor of shape (n_samples,)
        Nonnegative sizes.
    """
    if kind == "distance":
        return (x - y).norm(dim=-1)
    if kind == "gradient":
        return gradient_of(x, obs).norm(dim=-1)
    knows = isinstance(obs, Composite)
    value, *least = (
        obs.value(z) if knows else lasso_value(z, obs, alpha, penalty)
        for z in (x, y)
        if z is not None
    )
    return (value - least[0]).clamp_min(0) if least else value
