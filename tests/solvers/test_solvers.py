import math

import pytest
import torch

from sklearn_unroll.functional import (
    Dense,
    Observation,
    alpha_max,
    lasso_value,
)
from sklearn_unroll.solvers import FISTA, ISTA, cvxpy_lasso, fista, ista, iterates
from tests.conftest import make_problem

SOLVERS = {
    "ista": ista,
    "fista": fista,
    "fista_without_restart": lambda obs, alpha, **kw: fista(obs, alpha, restart=False, **kw),
}


def shrink(z, theta, positive):
    return (z - theta).clamp_min(0) if positive else z.sign() * (z.abs() - theta).clamp_min(0)


def written_out(obs, alpha, step, x, positive, momentum, restart):
    """ISTA and FISTA of one sample, one line an equation."""
    A = obs.A.D.reshape(20, 10).T
    y, t = x, 1.0
    while True:
        yield x
        new = shrink(y + step * A.T @ (obs.b[0] - A @ y), step * alpha, positive)
        if restart and float((y - new) @ (new - x)) > 0:
            t = 1.0
        t_next = (1 + math.sqrt(1 + 4 * t * t)) / 2
        y = new + momentum * (t - 1) / t_next * (new - x)
        x, t = new, t_next


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("step", [None, 0.07, torch.linspace(0.02, 0.09, 7).double()[:, None]])
@pytest.mark.parametrize(
    "method, momentum, options",
    [(ISTA, 0, {}), (FISTA, 1, {}), (FISTA, 1, {"restart": False})],
    ids=["ISTA", "FISTA", "no restart"],
)
def test_methods_take_the_printed_steps(problem, method, momentum, options, step, positive):
    obs, _ = problem
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn(7, 20, generator=generator, dtype=torch.float64)
    alpha = torch.linspace(0.02, 0.5, 7, dtype=torch.float64)
    found = list(iterates(method(obs, alpha, step, x0=x0, positive=positive, **options), obs, 40))
    for i in range(7):
        own = obs.take(slice(i, i + 1))
        length = step if isinstance(step, float) else None if step is None else float(step[i])
        length = length or 1 / float(torch.linalg.matrix_norm(own.A.D.reshape(20, 10), 2)) ** 2
        start = x0[i].clamp_min(0) if positive else x0[i]
        restart = options.get("restart", True)
        steps = written_out(own, alpha[i], length, start, positive, momentum, restart)
        for codes, expected in zip(found, steps, strict=False):
            torch.testing.assert_close(codes[i], expected, atol=1e-12, rtol=0)


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


def test_a_gap_of_exactly_the_tolerance_is_enough():
    obs = Observation(torch.tensor([[2.0, 0.25]]), Dense(torch.eye(2)))
    solution = ista(obs, 0.5, tol=0.0, max_iter=1000)
    assert solution.x.tolist() == [[1.5, 0.0]]
    assert int(solution.n_iter) == 10  # the first look
