"""What layers should lower: the sizes that constraints and reports of descent speak of."""

from __future__ import annotations

from torch import Tensor

from sklearn_unroll.functional.operators import Observation
from sklearn_unroll.functional.problems import lasso_value

__all__ = ["DESCENT_KINDS", "descent_size"]

DESCENT_KINDS = ("distance", "gradient", "objective")


def descent_size(
    kind: str, x: Tensor, obs: Observation, y: Tensor | None, alpha: Tensor | float
) -> Tensor:
    """Return what should fall from layer to layer, for every sample.

    Parameters
    ----------
    kind : {"distance", "gradient", "objective"}
        ``||x - y||``, ``||A^T (A x - b)||``, or the objective of the lasso, less its value at y
        where there are true codes.
    x : Tensor of shape (n_samples, n_components)
        The iterate.
    obs : Observation
        Data and operator.
    y : Tensor of shape (n_samples, n_components) or None
        True codes; needed for ``"distance"``.
    alpha : float or Tensor of shape (n_samples,)
        Weight of the l1 norm in the objective.

    Returns
    -------
    Tensor of shape (n_samples,)
        Nonnegative sizes.
    """
    if kind == "distance":
        return (x - y).norm(dim=-1)
    if kind == "gradient":
        return obs.A.adjoint(obs.A.residual(obs.b, x)).norm(dim=-1)
    value = lasso_value(x, obs, alpha)
    return value if y is None else (value - lasso_value(y, obs, alpha)).clamp_min(0)
