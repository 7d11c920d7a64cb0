"""ADMM, methods from given codes, and the solvers that certify every sample."""

import pytest
import torch

from sklearn_unroll.functional import (
    Dense,
    Observation,
    alpha_max,
    duality_gap,
    lasso_value,
)
from sklearn_unroll.solvers import (
    ADMM,
    FISTA,
    ISTA,
    admm,
    certified_lasso,
    coordinate_descent,
    cvxpy_lasso,
    fista,
    ista,
    iterates,
    minimize,
)
from tests.conftest import make_problem


@pytest.mark.parametrize("shape", [(10, 20), (20, 10)])
@pytest.mark.parametrize("per_sample", [False, True])
def test_admm_solves_its_normal_equations(shape, per_sample):
    obs, x = make_problem(n_features=shape[0], n_components=shape[1], per_sample=per_sample)
    method = ADMM(obs, 0.1, rho=0.01)
    q = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    v = method.least_squares(q, obs)
    residual = obs.A.adjoint(obs.A(v)) + 0.01 * v - q
    assert float(residual.abs().max()) < 1e-10


def test_admm_takes_the_printed_steps():
    obs, _ = make_problem(n_samples=1)
    A, b, rho, alpha = obs.A.D.T, obs.b[0], 0.3, 0.1
    x, u = torch.zeros(20, dtype=torch.float64), A.T @ b / rho
    codes = list(iterates(ADMM(obs, alpha, rho=rho), obs, 5))
    for code in codes[1:]:
        left = A.T @ A + rho * torch.eye(20, dtype=torch.float64)
        v = torch.linalg.solve(left, A.T @ b + rho * (x - u))
        v = 1.8 * v - 0.8 * x
        x, u = torch.nn.functional.softshrink(v + u, alpha / rho), u + v
        u = u - x
        torch.testing.assert_close(code[0], x, atol=1e-12, rtol=0)


@pytest.mark.parametrize("fraction", [0.5, 0.05])
def test_admm_agrees_with_cvxpy(problem, fraction):
    obs, _ = problem
    alpha = fraction * alpha_max(obs)
    solution = admm(obs, alpha, tol=1e-9, max_iter=100_000)
    assert bool(solution.converged.all())
    optimum = lasso_value(cvxpy_lasso(obs, alpha), obs, alpha)
    torch.testing.assert_close(lasso_value(solution.x, obs, alpha), optimum, rtol=1e-6, atol=0)


def test_admm_refuses():
    obs, _ = make_problem()
    with pytest.raises(ValueError, match="rho must be positive"):
        admm(obs, 0.1, rho=-1.0)
    with pytest.raises(ValueError, match="rho must be one number"):
        admm(obs, 0.1, rho=torch.ones(7))
    with pytest.raises(ValueError, match="alpha must be positive"):
        admm(obs, 0.0)


@pytest.mark.parametrize("solve", [ista, fista, admm])
@pytest.mark.parametrize("shape", [(4, 3), (2, 4, 3)])
def test_a_dictionary_of_zeros(solve, shape):
    obs = Observation(torch.ones(2, 3), Dense(torch.zeros(shape)))
    solution = solve(obs, 0.1)
    assert not solution.x.any()
    assert bool(solution.converged.all())
    for method in (ISTA, FISTA, ADMM):
        assert not any(x.any() for x in iterates(method(obs, 0.1), obs, 3))


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("method", [ISTA, FISTA, ADMM])
def test_what_belongs_to_samples_stays_theirs_in_chunks(method, per_sample):
    obs, _ = make_problem(n_samples=520, n_features=4, n_components=6, per_sample=per_sample)
    alpha = torch.linspace(0.05, 0.5, 520, dtype=torch.float64)
    x0 = torch.randn(520, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = minimize(method(obs, alpha, x0=x0), obs, tol=0.0, max_iter=25)
    for rows in (slice(0, 3), slice(510, 520)):
        part = obs.take(rows)
        # The same rho, which is one for all samples.
        options = {"rho": method(obs, alpha).rho} if method is ADMM else {}
        own = minimize(
            method(part, alpha[rows], x0=x0[rows], **options), part, tol=0.0, max_iter=25
        )
        torch.testing.assert_close(own.x, whole.x[rows], atol=1e-12, rtol=0)


@pytest.mark.parametrize("method", [ISTA, FISTA, ADMM])
def test_a_start_at_the_solution_needs_no_iteration(problem, method):
    obs, _ = problem
    x = fista(obs, 0.1, tol=1e-10, max_iter=100_000).x
    solution = minimize(method(obs, 0.1, x0=x), obs, tol=1e-8, max_iter=100)
    assert not solution.n_iter.any()
    after = list(iterates(method(obs, 0.1, x0=x), obs, 3))[-1]
    torch.testing.assert_close(after, x, atol=1e-4, rtol=0)


@pytest.mark.parametrize("method", [ISTA, FISTA, ADMM])
def test_nonnegative_codes(problem, method):
    obs, _ = problem
    solution = minimize(method(obs, 0.1, positive=True), obs, tol=1e-10, max_iter=100_000)
    assert bool(solution.converged.all())
    certified = certified_lasso(obs, 0.1, positive=True, tol=1e-12)
    assert bool((certified.x >= 0).all())
    torch.testing.assert_close(certified.x, solution.x, atol=1e-3, rtol=0)


@pytest.mark.parametrize("fraction", [0.9, 0.1, 0.01])
@pytest.mark.parametrize("first_order", [True, False])
def test_every_sample_is_certified(problem, fraction, first_order):
    obs, _ = problem
    alpha = fraction * alpha_max(obs)
    solution = certified_lasso(obs, alpha, tol=1e-12, first_order=first_order)
    assert bool(solution.converged.all())
    assert float(duality_gap(solution.x, obs, alpha).max()) <= 1e-12
    assert bool((solution.n_iter > 0).all())
    optimum = lasso_value(cvxpy_lasso(obs, alpha), obs, alpha)
    torch.testing.assert_close(lasso_value(solution.x, obs, alpha), optimum, rtol=1e-8, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tiny_alpha_on_a_coherent_dictionary(dtype):
    generator = torch.Generator().manual_seed(0)
    D = torch.randn(60, 30, generator=generator, dtype=dtype)
    D = D + 3 * torch.randn(1, 30, generator=generator, dtype=dtype)
    obs = Observation(torch.randn(50, 30, generator=generator, dtype=dtype), Dense(D))
    alpha = 1e-3 * alpha_max(obs)
    solution = certified_lasso(obs, alpha, tol=1e-8)
    assert bool(solution.converged.all())
    double = Observation(obs.b.double(), Dense(D.double()))
    assert float(duality_gap(solution.x, double, alpha.double()).max()) <= 1e-8


@pytest.mark.parametrize("kind", ["repeated", "mirrored", "rank"])
def test_dependent_atoms(kind):
    obs, _ = make_problem(n_samples=40, n_features=8, n_components=12)
    D = obs.A.D.clone()
    if kind == "rank":
        D = D[:, :3] @ torch.randn(3, 8, generator=torch.Generator().manual_seed(0)).double()
    else:
        D[6:] = D[:6] if kind == "repeated" else -2 * D[:6]
    obs = Observation(obs.b + 0.1, Dense(D))
    alpha = 0.02 * alpha_max(obs)
    solution = certified_lasso(obs, alpha, tol=1e-8)
    assert bool(solution.converged.all())
    optimum = lasso_value(cvxpy_lasso(obs, alpha), obs, alpha)
    value = lasso_value(solution.x, obs, alpha)
    torch.testing.assert_close(value, optimum, rtol=1e-6, atol=1e-9)


def test_more_atoms_in_the_support_than_features():
    # One feature and many atoms alike: first-order methods use them all.
    D = 1 + 1e-9 * torch.arange(9, dtype=torch.float64)[:, None]
    obs = Observation(torch.tensor([[3.0], [-2.0], [0.0]], dtype=torch.float64), Dense(D))
    solution = certified_lasso(obs, 0.5, tol=1e-12)
    assert bool(solution.converged.all())
    torch.testing.assert_close(
        obs.A(solution.x), torch.tensor([[2.5], [-1.5], [0.0]], dtype=torch.float64)
    )


def test_from_alpha_max_on_the_answer_is_zero_without_iterating(problem):
    obs, _ = problem
    solution = certified_lasso(obs, 1.001 * alpha_max(obs))
    assert not solution.x.any()
    assert not solution.gap.any()
    assert not solution.n_iter.any()


def test_a_good_start_saves_iterations_and_a_bad_one_does_no_harm():
    obs, _ = make_problem(n_samples=60, n_features=30, n_components=60)
    cold = certified_lasso(obs, 0.05, tol=1e-10)
    warm = certified_lasso(obs, 0.05, tol=1e-10, x0=fista(obs, 0.05, tol=1e-5).x.float())
    assert int(warm.n_iter.sum()) < 0.5 * int(cold.n_iter.sum())
    noise = torch.randn(60, 60, generator=torch.Generator().manual_seed(0))
    far = certified_lasso(obs, 0.05, tol=1e-10, x0=noise)
    for solution in (cold, warm, far):
        assert bool(solution.converged.all())
        torch.testing.assert_close(solution.x, cold.x, atol=1e-6, rtol=0)


def test_not_converged_is_said_and_nothing_is_lost():
    obs, _ = make_problem(n_samples=60, n_features=30, n_components=60)
    alpha = 1e-3 * alpha_max(obs)
    solution = certified_lasso(obs, alpha, tol=0.0, max_iter=5)
    assert not bool(solution.converged.all())
    start = lasso_value(torch.zeros_like(solution.x), obs, alpha)
    assert bool((lasso_value(solution.x, obs, alpha) <= start).all())
    torch.testing.assert_close(
        solution.gap, duality_gap(solution.x, obs, alpha), rtol=1e-6, atol=1e-13
    )


def test_chunks_change_nothing(monkeypatch):
    import sys

    obs, _ = make_problem(n_samples=150)
    whole = certified_lasso(obs, 0.05, tol=1e-12)
    monkeypatch.setattr(sys.modules[certified_lasso.__module__], "_CHUNK", 1)
    parts = certified_lasso(obs, 0.05, tol=1e-12)
    torch.testing.assert_close(parts.x, whole.x, atol=1e-9, rtol=0)


def test_codes_scale_with_the_data():
    obs, _ = make_problem()
    x = certified_lasso(obs, 0.1, tol=1e-12).x
    for factor in (1e-30, 1e30):
        scaled = Observation(factor * obs.b, obs.A)
        found = certified_lasso(scaled, factor * 0.1, tol=1e-12)
        torch.testing.assert_close(found.x / factor, x, atol=1e-9, rtol=0)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("fraction", [0.5, 0.05, 0.005])
def test_coordinate_descent_agrees(fraction, positive):
    pytest.importorskip("numba")
    obs, _ = make_problem(n_samples=600, n_features=16, n_components=40)
    alpha = fraction * alpha_max(obs)
    solution = coordinate_descent(obs, alpha, tol=1e-9, positive=positive, max_passes=10_000)
    # A few ill-conditioned samples would take a million passes: for those there is the finish.
    assert int(solution.converged.sum()) >= 550
    # It comes from inner products, with a bound on their rounding.
    gap = duality_gap(solution.x, obs, alpha, positive=positive)
    torch.testing.assert_close(solution.gap, gap, rtol=1e-6, atol=1e-11)
    assert bool((solution.gap >= gap - 1e-12).all())
    expected = certified_lasso(obs, alpha, tol=1e-13, positive=positive)
    excess = lasso_value(solution.x, obs, alpha) - lasso_value(expected.x, obs, alpha)
    energy = 0.5 * obs.b.square().sum(1)
    assert bool((excess <= solution.gap * energy + 1e-12).all())
    again = coordinate_descent(obs, alpha, tol=1e-4, positive=positive, x0=solution.x)
    assert not again.n_iter[solution.converged].any()


def test_coordinate_descent_of_zeros_and_repeats():
    pytest.importorskip("numba")
    D = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    b = torch.tensor([[2.0, -1.0], [0.0, 0.0]], dtype=torch.float64)
    solution = coordinate_descent(Observation(b, Dense(D)), 0.5, tol=1e-12)
    assert bool(solution.converged.all())
    torch.testing.assert_close(solution.x[0, 0] + solution.x[0, 1], b.new_tensor(1.5))
    torch.testing.assert_close(solution.x[:, 3], b.new_tensor([-0.375, 0.0]))
    assert not solution.x[1].any()


def test_coordinate_descent_on_two_threads_and_what_it_refuses(monkeypatch):
    pytest.importorskip("numba")
    obs, _ = make_problem(n_samples=1100)
    one = coordinate_descent(obs, 0.1, tol=1e-10).x
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    obs.A.D.requires_grad_()
    two = coordinate_descent(obs, 0.1, tol=1e-10).x
    assert torch.equal(two, one)
    assert not two.requires_grad
    with pytest.raises(TypeError, match="Use fista"):
        coordinate_descent(make_problem(per_sample=True)[0], 0.1)
    with pytest.raises(ValueError, match="alpha must be positive"):
        coordinate_descent(obs, 0.0)


def test_certified_lasso_refuses():
    obs, _ = make_problem()
    for alpha in (0.0, -1.0, torch.ones(3), float("nan")):
        with pytest.raises(ValueError, match="alpha must be positive"):
            certified_lasso(obs, alpha)
    with pytest.raises(ValueError, match="NaN"):
        certified_lasso(Observation(obs.b * float("nan"), obs.A), 0.1)
    with pytest.raises(TypeError, match="Use fista"):
        certified_lasso(Observation(obs.b, type("Other", (), {"n_features": 10})()), 0.1)
