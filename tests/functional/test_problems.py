import pytest
import torch

from sklearn_unroll.functional import (
    Dense,
    Observation,
    alpha_max,
    duality_gap,
    lasso_value,
    least_squares_gap,
    least_squares_value,
    range_basis,
)
from sklearn_unroll.solvers import cvxpy_lasso
from tests.conftest import make_problem


def test_values_equal_the_formula_written_out(problem):
    obs, x = problem
    for i in range(len(x)):
        D = obs.A.D[i] if obs.A.per_sample else obs.A.D
        r = obs.b[i] - D.T @ (0.5 * x[i])
        expected = 0.5 * r @ r
        torch.testing.assert_close(least_squares_value(0.5 * x, obs)[i], expected)
        expected = expected + 0.3 * (0.5 * x[i]).abs().sum()
        torch.testing.assert_close(lasso_value(0.5 * x, obs, 0.3)[i], expected)


def test_gap_vanishes_at_the_optimum_and_bounds_the_excess(problem):
    obs, _ = problem
    alpha = 0.1 * alpha_max(obs)
    best = cvxpy_lasso(obs, alpha)
    assert float(duality_gap(best, obs, alpha, relative=True).max()) < 1e-8
    optimum = lasso_value(best, obs, alpha)
    for scale in (0.0, 0.5, 0.99, 1.5):
        gap = duality_gap(scale * best, obs, alpha, relative=False)
        excess = lasso_value(scale * best, obs, alpha) - optimum
        assert bool((gap >= excess - 1e-9).all())
        assert bool((excess > 1e-6).all())


def test_relative_gap_is_the_gap_over_the_value_at_zero(problem):
    obs, x = problem
    torch.testing.assert_close(
        duality_gap(x, obs, 0.2, relative=True) * lasso_value(0 * x, obs, 0.2),
        duality_gap(x, obs, 0.2, relative=False),
    )


def test_zero_is_optimal_from_alpha_max_on(problem):
    obs, x = problem
    zero = torch.zeros_like(x)
    assert float(duality_gap(zero, obs, alpha_max(obs), relative=False).max()) < 1e-12
    assert float(duality_gap(zero, obs, 0.9 * alpha_max(obs), relative=False).min()) > 0


def test_gap_of_a_zero_observation_is_zero():
    obs = Observation(torch.zeros(2, 3), Dense(torch.eye(3)))
    assert torch.equal(duality_gap(torch.zeros(2, 3), obs, 0.1, relative=True), torch.zeros(2))


@pytest.mark.parametrize("shape", [(10, 20), (20, 10)])
def test_least_squares_gap_is_the_exact_excess(shape):
    # Tall and wide, and rank-deficient: the last atom repeats the first.
    obs, x = make_problem(n_features=shape[0], n_components=shape[1])
    D = torch.cat([obs.A.D[:-1], obs.A.D[:1]])
    obs = Observation(obs.b + 0.1, Dense(D))
    best = (torch.linalg.pinv(D.T) @ obs.b.T).T
    excess = least_squares_value(x, obs) - least_squares_value(best, obs)
    torch.testing.assert_close(least_squares_gap(x, obs, range_basis(obs.A)), excess)


def test_the_gap_over_nonnegative_codes_written_out():
    # A residual against b: no multiple of it but zero lies in the dual's range, s = 0.
    obs = Observation(torch.tensor([[1.0]]), Dense(torch.eye(1)))
    gap = duality_gap(torch.tensor([[3.0]]), obs, 0.5, relative=False, positive=True)
    assert float(gap) == 0.5 * 2**2 + 0.5 * 3  # s = -0.5 would give 3.0, and the excess is 3.125
    # At the optimum an atom may be as far on the wrong side as it likes.
    obs = Observation(torch.tensor([[2.0, -3.0]]), Dense(torch.eye(2)))
    assert float(duality_gap(torch.tensor([[1.5, 0.0]]), obs, 0.5, positive=True)) < 1e-6


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.5, 3.0, 10.0])
def test_the_gap_over_nonnegative_codes_bounds_the_excess(problem, scale):
    obs, _ = problem
    best = cvxpy_lasso(obs, 0.1, positive=True)
    gap = duality_gap(scale * best, obs, 0.1, relative=False, positive=True)
    excess = lasso_value(scale * best, obs, 0.1) - lasso_value(best, obs, 0.1)
    assert bool((gap >= excess - 1e-9).all())
