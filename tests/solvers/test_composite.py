"""Classical methods on f + R: they agree with those of least squares, and with textbooks."""

import pytest
import torch

from sklearn_unroll.functional import (
    L1,
    Composite,
    Dense,
    LeastSquares,
    Logistic,
    Zero,
    lasso_value,
    least_squares_value,
)
from sklearn_unroll.solvers import (
    FISTA,
    ISTA,
    AdamDescent,
    CompositeDescent,
    NesterovDescent,
    best_step,
    certified_lasso,
    iterates,
    minimize,
    optimal_values,
)
from tests.conftest import make_problem


def lasso(per_sample=True, alpha=0.1):
    obs, _ = make_problem(per_sample=per_sample)
    return Composite.of(obs.b, obs.A, LeastSquares(), L1(alpha)), obs


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize(
    "ours, theirs",
    [
        (CompositeDescent(), lambda obs: ISTA(obs, 0.1)),
        (NesterovDescent(), lambda obs: FISTA(obs, 0.1)),
        (NesterovDescent(restart=False), lambda obs: FISTA(obs, 0.1, restart=False)),
    ],
    ids=["ISTA", "restarted", "FISTA"],
)
def test_on_the_lasso_they_are_ista_and_fista(ours, theirs, per_sample):
    problem, obs = lasso(per_sample)
    expected = iterates(theirs(obs), obs, 30)
    for x, known in zip(iterates(ours, problem, 30), expected, strict=True):
        torch.testing.assert_close(x, known, atol=1e-12, rtol=0)


def test_without_a_penalty_it_is_gradient_descent():
    problem, obs = lasso()
    problem = problem._replace(R=Zero())
    x = torch.zeros(7, 20, dtype=torch.float64)
    for found in iterates(CompositeDescent(1.5), problem, 20):
        torch.testing.assert_close(found, x, atol=1e-12, rtol=0)
        x = x + 1.5 * problem.step * obs.A.adjoint(obs.b - obs.A(x))


@pytest.mark.parametrize("n_components", [6, 20])
def test_without_a_penalty_it_reaches_the_least_squares_value(n_components):
    obs, _ = make_problem(n_components=n_components)
    problem = Composite.of(obs.b + 0.1, obs.A, LeastSquares(), Zero())
    solution = minimize(CompositeDescent(), problem, tol=1e-10, max_iter=100_000)
    assert bool(solution.converged.all())
    best = torch.linalg.lstsq(obs.A.D.T, problem.b.T).solution.T
    found, least = (least_squares_value(x, problem) for x in (solution.x, best))
    torch.testing.assert_close(found, least, atol=1e-9, rtol=0)


def test_adam_is_torchs_own():
    problem, _ = lasso()
    problem = problem._replace(R=Zero())
    x = torch.zeros(7, 20, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([x], lr=0.03, betas=(0.8, 0.95))
    for known in iterates(AdamDescent(0.03, (0.8, 0.95)), problem, 20):
        torch.testing.assert_close(x.detach(), known)
        optimizer.zero_grad()
        problem.value(x).sum().backward()
        optimizer.step()


def test_adam_nears_the_lasso_solution():
    problem, obs = lasso()
    least = lasso_value(certified_lasso(obs, 0.1, tol=1e-12).x, obs, 0.1)
    *_, x = iterates(AdamDescent(0.01), problem, 1500)
    excess = problem.value(x) - least
    assert bool((excess >= -1e-12).all())
    assert float((excess / least).max()) < 1e-2


def test_minimize_drives_them_to_a_gap():
    problem, _ = lasso()
    found = minimize(NesterovDescent(), problem, tol=1e-9, max_iter=2000)
    assert bool(found.converged.all())


@pytest.mark.parametrize("per_sample", [False, True])
def test_optimal_values_are_certified(per_sample):
    problem, obs = lasso(per_sample)
    known = lasso_value(certified_lasso(obs, 0.1, tol=1e-13).x, obs, 0.1)
    torch.testing.assert_close(optimal_values(problem), known, rtol=1e-11, atol=0)


def test_optimal_value_of_separable_classes_and_of_zero_data():
    b = torch.tensor([[1.0, -1.0], [1.0, -1.0]]).double()
    A = Dense(torch.tensor([[1.0, -1.0]]).double())
    problem = Composite.of(b, A, Logistic(), Zero())
    assert float(optimal_values(problem, max_iter=500).max()) < 0.05  # the infimum is zero
    zero, _ = lasso()
    assert not optimal_values(zero._replace(b=torch.zeros_like(zero.b))).any()


def test_the_best_step_is_longer_than_the_safe_one():
    problem, _ = lasso()
    problem = problem._replace(R=Zero())
    assert best_step(problem, 20, [0.5, 1.0, 1.5, 2.5]) == 1.5
    # One that diverges is never best.
    assert best_step(problem, 2000, [1.0, 3.0]) == best_step(problem, 2000, [3.0, 1.0]) == 1.0
