"""The convex solver: optimality conditions, and codes that may not be negative."""

import pytest
import torch

from sklearn_unroll.functional import alpha_max, duality_gap
from sklearn_unroll.solvers import cvxpy_lasso


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("fraction", [0.5, 0.05])
def test_cvxpy_meets_the_optimality_conditions(problem, fraction, positive):
    obs, _ = problem
    alpha = fraction * alpha_max(obs, positive=positive)
    x = cvxpy_lasso(obs, alpha, positive=positive)
    assert (
        float(duality_gap(x.relu() if positive else x, obs, alpha, positive=positive).max()) < 1e-9
    )
    assert (float(x.min()) > -1e-12) == positive
    correlation = obs.A.adjoint(obs.A.residual(obs.b, x)) / alpha[:, None]
    active = x.abs() > 1e-5
    assert bool(active.any(1).all())
    torch.testing.assert_close(correlation[active], x[active].sign(), atol=1e-5, rtol=0)
    assert float((correlation if positive else correlation.abs()).max()) < 1 + 1e-5
