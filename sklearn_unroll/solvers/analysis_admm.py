"""ADMM for pictures that are sparse under filters, from samples of their Fourier transform."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sklearn_unroll.functional import (
    MaskedFourier,
    Observation,
    filter_adjoint,
    filter_pictures,
    filter_spectrum,
    soft,
)
from sklearn_unroll.solvers._checks import check_observation, check_positive

__all__ = ["analysis_admm"]


@torch.no_grad()
def analysis_admm(
    obs: Observation,
    filters: Tensor,
    alpha: float,
    *,
    rho: float,
    n_iter: int,
    rate: float = 1.0,
) -> Iterator[Tensor]:
    """Yield iterates of ADMM on ``0.5 ||A x - b||^2 + alpha sum_l ||C_l x||_1``.

    ``x = (A^T A + rho C^T C)^{-1} (A^T b + rho C^T (z - u))``, ``z = soft(C x + u, alpha / rho)``,
    ``u+ = u + rate (C x - z)`` from ``z = u = 0``: Boyd, Parikh, Chu, Peleato and Eckstein 2011,
    Section 6.4.1, with C the periodic correlation with every filter, so that the matrix is
    diagonal in Fourier space.

    Parameters
    ----------
    obs : Observation
        Data and a :class:`~sklearn_unroll.functional.MaskedFourier` operator that samples the
        zero frequency.
    filters : Tensor of shape (n_filters, size, size)
        Filters of odd size.
    alpha : float
        Weight of the l1 norm, positive.
    rho : float
        Weight of the constraint ``z = C x``, positive.
    n_iter : int
        Number of iterates.
    rate : float, default=1.0
        Step of the multiplier; converges up to 1.618.

    Yields
    ------
    Tensor of shape (n_samples, n_components)
        The iterates ``x_1, ..., x_n_iter``.

    Raises
    ------
    TypeError
        If the operator is another one.
    ValueError
        If data and operator do not fit, alpha or rho is not positive, or the zero frequency
        is not sampled.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import MaskedFourier, Observation, dct_filters
    >>> from sklearn_unroll.solvers import analysis_admm
    >>> A = MaskedFourier(torch.ones(8, 8))
    >>> picture = torch.zeros(1, 64, dtype=torch.float64)
    >>> picture[0, 20] = 1.0
    >>> *_, x = analysis_admm(
    ...     Observation(A(picture), A), dct_filters(3), 0.1, rho=1.0, n_iter=50
    ... )
    >>> round(float(x.sum()), 6), bool(x.max() < 1)  # the mean stays, the peak is lowered
    (1.0, True)
    """
    check_observation(obs)
    if not isinstance(obs.A, MaskedFourier):
        raise TypeError(
            f"analysis_admm needs a MaskedFourier operator, got {type(obs.A).__name__}."
        )
    alpha, rho = check_positive("alpha", alpha, obs), check_positive("rho", rho, obs)
    filters = filters.to(obs.b)
    # Exactly zero, where filters have mean zero, but for rounding: then only samples decide.
    symbol = rho * filter_spectrum(filters, obs.A.image_shape, filters.new_ones(len(filters)))
    symbol = torch.where(symbol > 1e-12 * symbol.max(), symbol, torch.zeros_like(symbol))
    correlations = obs.A.adjoint(obs.b)

    def pictures(rows: Tensor) -> Tensor:
        return rows.reshape(-1, *obs.A.image_shape)

    z = u = torch.zeros_like(filter_pictures(pictures(correlations), filters))
    for _ in range(n_iter):
        pull = filter_adjoint(z - u, filters).reshape(correlations.shape)
        x = obs.A.solve_normal(correlations + rho * pull, symbol)
        yield x
        c = filter_pictures(pictures(x), filters)
        z = soft(c + u, alpha / rho)
        u = u + rate * (c - z)
