import pytest
import torch

from sklearn_unroll.functional import (
    Dense,
    Observation,
    alpha_max,
    lasso_value,
    least_squares_value,
)
from sklearn_unroll.solvers import cvxpy_lasso, fista, gradient_descent, ista
from tests.conftest import make_problem

SOLVERS = {
    "ista": ista,
    "fista": fista,
    "fista_without_restart": lambda obs, alpha, **kw: fista(obs, alpha, restart=False, **kw),
}


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("fraction", [0.5, 0.05])
def test_objective_agrees_with_cvxpy(problem, solver, fraction):
    obs, _ = problem
    alpha = fraction * alpha_max(obs)
    solution = solver(obs, alpha, tol=1e-8, max_iter=100_000)
    assert bool(solution.converged.all())
    optimum = lasso_value(cvxpy_lasso(obs, alpha), obs, alpha)
    torch.testing.assert_close(lasso_value(solution.x, obs, alpha), optimum, rtol=1e-6, atol=0)


def test_objective_agrees_with_scikit_learn():
    from sklearn.linear_model import Lasso

    obs, _ = make_problem()
    A = obs.A.D.T.numpy()
    x = fista(obs, 0.05, tol=1e-12).x.numpy()
    lasso = Lasso(alpha=0.05 / len(A), fit_intercept=False, tol=1e-12, max_iter=100_000)
    for b, code in zip(obs.b.numpy(), x, strict=True):
        torch.testing.assert_close(
            torch.from_numpy(lasso.fit(A, b).coef_), torch.from_numpy(code), atol=1e-5, rtol=0
        )


def test_the_gap_it_reports_bounds_the_excess_and_meets_the_tolerance(problem):
    obs, _ = problem
    optimum = lasso_value(cvxpy_lasso(obs, 0.1), obs, 0.1)
    solution = ista(obs, 0.1, tol=1e-3)
    assert float(solution.gap.max()) <= 1e-3
    excess = (lasso_value(solution.x, obs, 0.1) - optimum) / lasso_value(0 * solution.x, obs, 0.1)
    assert bool((excess <= solution.gap + 1e-12).all())


def test_samples_are_independent_of_their_company(problem):
    obs, _ = problem
    together = fista(obs, 0.1, tol=1e-10)
    for i in range(len(obs.b)):
        alone = fista(obs.take(slice(i, i + 1)), 0.1, tol=1e-10)
        torch.testing.assert_close(alone.x[0], together.x[i], atol=1e-9, rtol=0)
        assert int(alone.n_iter[0]) == int(together.n_iter[i])


def test_alpha_per_sample_equals_alpha_one_by_one(problem):
    obs, _ = problem
    alpha = torch.linspace(0.02, 0.5, len(obs.b), dtype=torch.float64)
    together = fista(obs, alpha, tol=1e-10).x
    for i, weight in enumerate(alpha):
        alone = fista(obs.take(slice(i, i + 1)), float(weight), tol=1e-10).x[0]
        torch.testing.assert_close(alone, together[i], atol=1e-9, rtol=0)


def test_restart_takes_fewer_iterations():
    obs, _ = make_problem(n_samples=40)
    with_restart = fista(obs, 0.05, tol=1e-10, max_iter=100_000).n_iter.sum()
    without = fista(obs, 0.05, tol=1e-10, max_iter=100_000, restart=False).n_iter.sum()
    assert int(with_restart) < int(without)


def test_more_samples_than_a_chunk():
    obs, _ = make_problem(n_samples=600, n_features=4, n_components=6)
    solution = fista(obs, 0.1, tol=1e-8)
    assert solution.x.shape == (600, 6)
    tail = fista(obs.take(slice(590, 600)), 0.1, tol=1e-8)
    torch.testing.assert_close(solution.x[590:], tail.x, atol=1e-7, rtol=0)


def test_from_alpha_max_on_the_answer_is_zero_without_iterating(problem):
    obs, _ = problem
    solution = fista(obs, 1.01 * alpha_max(obs))
    assert not solution.x.any()
    assert not solution.n_iter.any()
    assert bool(solution.converged.all())


def test_not_converged_is_said():
    obs, _ = make_problem()
    solution = ista(obs, 0.01, tol=1e-14, max_iter=3)
    assert not solution.converged.any()
    assert bool((solution.n_iter == 3).all())


@pytest.mark.parametrize("n_components", [6, 20])
def test_gradient_descent_reaches_the_least_squares_value(n_components):
    obs, _ = make_problem(n_components=n_components)
    obs = Observation(obs.b + 0.1, obs.A)
    solution = gradient_descent(obs, tol=1e-10, max_iter=100_000)
    assert bool(solution.converged.all())
    best = torch.linalg.lstsq(obs.A.D.T, obs.b.T).solution.T
    torch.testing.assert_close(
        least_squares_value(solution.x, obs), least_squares_value(best, obs), atol=1e-9, rtol=0
    )


def test_float32_stays_float32():
    obs, _ = make_problem()
    single = Observation(obs.b.float(), Dense(obs.A.D.float()))
    solution = fista(single, 0.1, tol=1e-5)
    assert solution.x.dtype == torch.float32
    assert bool(solution.converged.all())
    torch.testing.assert_close(
        solution.x.double(), fista(obs, 0.1, tol=1e-10).x, atol=3e-2, rtol=0
    )


@pytest.mark.parametrize("alpha", [0.0, -1.0, torch.tensor([0.1, -0.1])])
def test_alpha_must_be_positive(shared_problem, alpha):
    with pytest.raises(ValueError, match="alpha must be positive"):
        fista(shared_problem[0], alpha)


def test_an_empty_batch_is_an_error(shared_problem):
    with pytest.raises(ValueError, match="empty batch"):
        ista(shared_problem[0].take(slice(0, 0)), 0.1)
