import pytest
import torch

from sklearn_unroll.functional import Dense, Observation, alpha_max, duality_gap, lasso_value
from sklearn_unroll.solvers import active_set, certified_lasso, cvxpy_lasso, fista
from tests.conftest import make_problem


def random_problem(n_samples=40, n_features=20, n_components=30, seed=0):
    generator = torch.Generator().manual_seed(seed)
    D = torch.randn(n_components, n_features, generator=generator, dtype=torch.float64)
    b = torch.randn(n_samples, n_features, generator=generator, dtype=torch.float64)
    return Observation(b, Dense(D))


def constructed(n_samples=6, n_features=12, n_components=20, n_nonzero=4, alpha=0.3, seed=0):
    """Return a problem whose solution is known: a dual certificate, then the data for it."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    D = randn(n_samples, n_components, n_features)
    u = randn(n_samples, n_features)
    u /= torch.linalg.vector_norm(u, dim=1, keepdim=True)
    x = torch.zeros(n_samples, n_components, dtype=torch.float64)
    x[:, :n_nonzero] = randn(n_samples, n_nonzero)
    # Scale the atoms so that |a^T u| is 1 on the support, with its signs, and less elsewhere.
    c = torch.einsum("bnm,bm->bn", D, u)
    target = torch.where(x != 0, x.sign(), 0.9 * c.clamp(-1, 1))
    D = D + (target - c)[:, :, None] * u[:, None, :]
    A = Dense(D)
    return Observation(A(x) + alpha * u, A), x


def test_a_constructed_solution_is_found():
    obs, x = constructed()
    found = active_set(fista(obs, 0.3, tol=1e-3).x, obs, 0.3, tol=1e-13)
    assert float(found.gap.max()) < 1e-13
    torch.testing.assert_close(found.x, x, atol=1e-9, rtol=0)


@pytest.mark.parametrize("fraction", [0.5, 0.1, 0.02])
def test_objective_agrees_with_cvxpy(problem, fraction):
    obs, _ = problem
    alpha = fraction * alpha_max(obs)
    found = active_set(fista(obs, alpha, tol=1e-3).x, obs, alpha, tol=1e-12)
    assert float(found.gap.max()) < 1e-12
    optimum = lasso_value(cvxpy_lasso(obs, alpha), obs, alpha)
    torch.testing.assert_close(lasso_value(found.x, obs, alpha), optimum, rtol=1e-9, atol=0)


def test_the_gap_is_the_one_written_out(problem):
    obs, x = problem
    alpha = 0.2 * alpha_max(obs)
    for codes in (0.9 * x, 0 * x, 0.5 * x):
        r = obs.b - obs.A(codes)
        c = alpha / obs.A.adjoint(r).abs().amax(1)
        u = ((obs.b * r).sum(1) / r.square().sum(1)).clamp(-c, c)[:, None] * r
        dual = (obs.b * u).sum(1) - 0.5 * u.square().sum(1)
        expected = (lasso_value(codes, obs, alpha) - dual) / (0.5 * obs.b.square().sum(1))
        found = duality_gap(codes, obs, alpha)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)
        found = active_set(codes, obs, alpha, max_rounds=0)
        torch.testing.assert_close(found.gap, expected, rtol=1e-10, atol=1e-14)
        torch.testing.assert_close(found.x, codes)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("fraction", [0.5, 0.05, 0.005])
@pytest.mark.parametrize("positive", [False, True])
def test_no_round_raises_the_objective(seed, fraction, positive):
    obs = random_problem(seed=seed)
    alpha = fraction * alpha_max(obs)
    # Far from any solution, and with as many nonzeros as may be.
    x = torch.randn(40, 30, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x[:, 18:] = 0
    x = x.relu() if positive else x
    value = lasso_value(x, obs, alpha)
    for _ in range(15):
        x = active_set(x, obs, alpha, max_rounds=1, positive=positive, tol=0.0).x
        lower = lasso_value(x, obs, alpha)
        assert bool((lower <= value * (1 + 1e-13)).all())
        value = lower
    assert not positive or bool((x >= 0).all())


def test_from_zero_and_from_a_bad_start_the_end_is_the_same():
    obs = random_problem()
    alpha = 0.1 * alpha_max(obs)
    zero = torch.zeros(40, 30, dtype=torch.float64)
    bad = torch.zeros_like(zero)
    bad[:, :15] = 1
    for start in (zero, bad):
        found = active_set(start, obs, alpha, max_rounds=100, tol=1e-12)
        assert float(found.gap.max()) < 1e-12
        reference = fista(obs, alpha, tol=1e-13, max_iter=100_000).x
        torch.testing.assert_close(found.x, reference, atol=1e-5, rtol=0)


def test_nonnegative_codes_agree_with_scikit_learn():
    from sklearn.linear_model import Lasso

    obs = random_problem()
    found = active_set(torch.zeros(40, 30), obs, 0.5, max_rounds=100, positive=True)
    assert float(found.gap.max()) < 1e-10
    A = obs.A.D.T.numpy()
    lasso = Lasso(0.5 / len(A), fit_intercept=False, positive=True, tol=1e-14, max_iter=100_000)
    for b, code in zip(obs.b.numpy(), found.x, strict=True):
        expected = torch.from_numpy(lasso.fit(A, b).coef_)
        torch.testing.assert_close(code, expected, atol=1e-6, rtol=0)


def test_the_gap_over_nonnegative_codes_bounds_the_excess():
    obs = random_problem()
    best = active_set(torch.zeros(40, 30), obs, 0.5, max_rounds=100, positive=True).x
    optimum = lasso_value(best, obs, 0.5)
    energy = 0.5 * obs.b.square().sum(1)
    for scale in (0.0, 0.5, 0.99, 1.5):
        gap = duality_gap(scale * best, obs, 0.5, positive=True)
        excess = (lasso_value(scale * best, obs, 0.5) - optimum) / energy
        assert bool((gap >= excess - 1e-12).all())


@pytest.mark.parametrize("kind", ["repeated", "mirrored", "zero", "rank"])
def test_dependent_atoms(kind):
    obs = random_problem(n_features=8, n_components=12)
    D = obs.A.D.clone()
    if kind == "repeated":
        D[6:] = D[:6]
    elif kind == "mirrored":
        D[6:] = -2 * D[:6]
    elif kind == "zero":
        D[3] = 0
    else:
        D = D[:, :3] @ torch.ones(3, 8, dtype=torch.float64).tril() + 0 * D
    obs = Observation(obs.b, Dense(D))
    alpha = 0.1 * alpha_max(obs)
    found = active_set(fista(obs, alpha, tol=1e-4).x, obs, alpha, tol=1e-10)
    assert bool(found.x.isfinite().all())
    optimum = lasso_value(fista(obs, alpha, tol=1e-12, max_iter=200_000).x, obs, alpha)
    reached = found.gap <= 1e-10
    assert int(reached.sum()) >= 36
    value = lasso_value(found.x, obs, alpha)
    torch.testing.assert_close(value[reached], optimum[reached], rtol=1e-8, atol=0)


def test_more_nonzeros_than_features_are_dropped_one_by_one():
    obs = random_problem()
    found = active_set(torch.ones(40, 30), obs, 1.0, max_rounds=200)
    assert float(found.gap.max()) <= 1e-10
    assert int((found.x != 0).sum(1).max()) <= 20


def test_codes_that_no_round_has_changed_come_back_bit_for_bit():
    obs = random_problem()
    x = torch.randn(40, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.equal(active_set(x, obs, 0.1, max_rounds=0).x, x)
    assert torch.equal(active_set(x, obs, 0.1, max_rounds=0, positive=True).x, x.relu())


def test_permuted_scaled_stacked():
    obs = random_problem()
    alpha = 0.1 * alpha_max(obs)
    start = fista(obs, alpha, tol=1e-3).x
    x = active_set(start, obs, alpha).x
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    permuted = Observation(obs.b, Dense(obs.A.D[order]))
    torch.testing.assert_close(active_set(start[:, order], permuted, alpha).x, x[:, order])
    scaled = Observation(1e6 * obs.b, obs.A)
    torch.testing.assert_close(active_set(1e6 * start, scaled, 1e6 * alpha).x, 1e6 * x)
    alone = torch.cat([
        active_set(start[i : i + 1], obs.take(slice(i, i + 1)), alpha[i : i + 1]).x
        for i in range(40)
    ])  # fmt: skip
    torch.testing.assert_close(alone, x, atol=1e-10, rtol=0)


def test_float32_codes_are_finished_in_float64():
    obs = random_problem()
    single = Observation(obs.b.float(), Dense(obs.A.D.float()))
    found = active_set(fista(single, 0.5, tol=1e-4).x, single, 0.5, tol=1e-12)
    assert found.x.dtype == torch.float64
    assert float(found.gap.max()) < 1e-12


def test_zero_data_and_large_alpha():
    obs = random_problem(n_samples=3)
    obs.b[1] = 0
    found = active_set(torch.zeros(3, 30), obs, 1e6)
    assert not found.x.any()
    assert not found.gap.any()
    assert not found.n_iter.any()


def test_samples_are_processed_in_chunks(monkeypatch):
    import sys

    obs, _ = make_problem(n_samples=30, per_sample=True)
    whole = active_set(fista(obs, 0.1, tol=1e-3).x, obs, 0.1)
    monkeypatch.setattr(sys.modules[active_set.__module__], "_CHUNK", 400)
    parts = active_set(fista(obs, 0.1, tol=1e-3).x, obs, 0.1)
    torch.testing.assert_close(parts.x, whole.x, atol=1e-12, rtol=0)


def test_the_atoms_are_needed():
    with pytest.raises(TypeError, match="Dense"):
        active_set(torch.zeros(1, 2), Observation(torch.zeros(1, 2), object()), 0.1)


@pytest.mark.parametrize("per_sample", [False, True])
def test_codes_of_zero_atoms_are_no_part_of_the_answer(per_sample):
    obs, _ = make_problem(n_samples=5)
    D = obs.A.D.clone()
    D[3] = 0
    obs = obs._replace(A=Dense(D.expand(5, -1, -1) if per_sample else D))
    x0 = torch.zeros(5, len(D), dtype=torch.float64)
    x0[:, 3] = 5.0
    for found in (active_set(x0, obs, 0.1), certified_lasso(obs, 0.1, x0=x0, tol=1e-10)):
        assert not bool(found.x[:, 3].any())
        gap = duality_gap(found.x, obs, 0.1)
        torch.testing.assert_close(found.gap, gap, rtol=0, atol=1e-12)
