"""Problems f + R: values, gradients, constants, slices and duality gaps."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from sklearn_unroll.functional import (
    L1,
    Box,
    Composite,
    Dense,
    ElasticNet,
    LeastSquares,
    Logistic,
    NoData,
    NonnegativeL1,
    Observation,
    Quadratic,
    Scaled,
    Smooth,
    Zero,
    composite_gap,
    duality_gap,
    lasso_value,
)
from sklearn_unroll.solvers import NesterovDescent, iterates
from tests.conftest import make_problem


class Huber(Smooth):
    """The user's own, as in the module's docstring."""

    def value(self, x, obs):
        r = obs.A.residual(obs.b, x).abs()
        return torch.where(r < 1, 0.5 * r.square(), r - 0.5).sum(-1)

    def gradient(self, x, obs):
        return -obs.A.adjoint(obs.A.residual(obs.b, x).clamp(-1, 1))

    def lipschitz(self, obs):
        return obs.A.lipschitz()


SMOOTH = [LeastSquares(), Logistic(), Huber(), NoData()]
PENALTIES = [L1(0.1), NonnegativeL1(0.1), ElasticNet(0.1, 0.5), Box(-0.2, 0.3), Quadratic(0.1)]


def instances(f, R, *, per_sample=True, seed=0):
    obs, _ = make_problem(per_sample=per_sample, seed=seed)
    b = torch.where(obs.b > 0, 1.0, -1.0).double() if isinstance(f, Logistic) else obs.b
    return Composite.of(b, obs.A, f, R)


def some_point(problem, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(problem.b), 20, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("f", SMOOTH[:3], ids=lambda f: type(f).__name__)
def test_gradients_are_those_of_the_values(f, per_sample):
    problem = instances(f, Zero(), per_sample=per_sample)
    x = some_point(problem).requires_grad_()
    (expected,) = torch.autograd.grad(problem.f.value(x, problem).sum(), x)
    torch.testing.assert_close(problem.gradient(x), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("f", [LeastSquares(), Logistic()], ids=lambda f: type(f).__name__)
def test_the_constant_is_the_largest_curvature(f):
    problem = instances(f, Zero())
    L = f.lipschitz(problem)
    assert L.shape == (7, 1)
    for n in range(7):
        one = problem.take(slice(n, n + 1))
        zero = torch.zeros(20, dtype=torch.float64)  # where the logistic loss is most curved
        hessian = torch.autograd.functional.hessian(lambda x, p=one: p.value(x[None])[0], zero)
        largest = torch.linalg.eigvalsh(hessian)[-1]
        torch.testing.assert_close(L[n, 0], largest, rtol=1e-10, atol=0)


@pytest.mark.parametrize("f", SMOOTH, ids=lambda f: type(f).__name__)
@pytest.mark.parametrize("R", PENALTIES, ids=lambda R: type(R).__name__)
def test_the_classical_step_lowers_the_objective(f, R):
    problem = instances(f, R)
    x = problem.R.prox(some_point(problem), 0.0)
    for _ in range(5):
        new = problem.classical(x)
        assert bool((problem.value(new) <= problem.value(x) + 1e-12).all())
        x = new


def test_lasso_values_and_gaps_are_those_of_the_lasso():
    weight = torch.linspace(0.05, 0.3, 7, dtype=torch.float64)[:, None]
    problem = instances(LeastSquares(), L1(weight))
    obs, x = Observation(problem.b, problem.A), some_point(problem)
    torch.testing.assert_close(problem.value(x), lasso_value(x, obs, weight[:, 0]))
    *_, x = iterates(NesterovDescent(), problem, 800)
    assert float(composite_gap(x, problem).max()) < 1e-10
    torch.testing.assert_close(
        composite_gap(x, problem), duality_gap(x, obs, weight[:, 0]), atol=1e-11, rtol=0
    )


@pytest.mark.parametrize("f", [LeastSquares(), Logistic()], ids=lambda f: type(f).__name__)
@pytest.mark.parametrize("R", PENALTIES[:4], ids=lambda R: type(R).__name__)
def test_gaps_bound_the_error_and_vanish_at_the_optimum(f, R):
    problem = instances(f, R)
    problem = problem._replace(x0=R.prox(some_point(problem), 0.0))
    *path, x = iterates(NesterovDescent(), problem, 800)
    least = problem.value(x)
    assert float(composite_gap(x, problem).max()) < 1e-9
    for early in path[:5]:
        gap = composite_gap(early, problem, relative=False)
        assert bool((gap >= problem.value(early) - least - 1e-12).all())


def test_gap_of_least_squares_alone_is_exact():
    problem = instances(LeastSquares(), Zero())
    x = some_point(problem)
    solution = torch.linalg.lstsq(problem.A.D.mT, problem.b[..., None]).solution[..., 0]
    excess = problem.value(x) - problem.value(solution)
    torch.testing.assert_close(composite_gap(x, problem, relative=False), excess)


def test_nothing_is_known_of_other_duals():
    scaled = instances(LeastSquares(), Scaled(L1(0.2), 0.5))
    x = some_point(scaled)
    torch.testing.assert_close(scaled.value(x), scaled._replace(R=L1(0.1)).value(x))
    assert bool(torch.isinf(composite_gap(x, scaled)).all())
    problem = instances(Huber(), L1(0.1))
    assert bool(torch.isinf(composite_gap(some_point(problem), problem)).all())


def test_logistic_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    points, labels = rng.standard_normal((30, 4)), rng.choice([-1.0, 1.0], 30)
    theirs = LogisticRegression(l1_ratio=1.0, solver="liblinear", C=1 / (30 * 0.05), tol=1e-10)
    theirs.fit_intercept = False
    problem = Composite.of(
        torch.from_numpy(labels[None]), Dense(torch.from_numpy(points.T)), Logistic(), L1(0.05)
    )
    *_, x = iterates(NesterovDescent(), problem, 300)
    coefficients = theirs.fit(points, labels).coef_
    np.testing.assert_allclose(x.numpy(), coefficients, atol=1e-5)


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("rows", [slice(2, 5), torch.tensor([4, 0, 6])], ids=["slice", "index"])
def test_rows_keep_what_is_theirs(per_sample, rows):
    weight = torch.linspace(0.05, 0.3, 7, dtype=torch.float64)[:, None]
    problem = instances(LeastSquares(), L1(weight), per_sample=per_sample)
    x = some_point(problem)
    problem = problem._replace(x0=x, least=problem.value(x) - 1)
    part = problem.take(rows)
    torch.testing.assert_close(part.value(x[rows]), problem.value(x)[rows])
    torch.testing.assert_close(part.classical(x[rows]), problem.classical(x)[rows])
    assert torch.equal(part.first(), x[rows])
    assert torch.equal(part.least, problem.least[rows])
    chunks = list(problem.chunks(3))
    assert [len(chunk.b) for _, chunk in chunks] == [3, 3, 1]
    whole = torch.cat([chunk.value(x[rows]) for rows, chunk in chunks])
    torch.testing.assert_close(whole, problem.value(x))


def test_any_step_will_do_without_data():
    problem = instances(NoData(), L1(0.1))
    assert float(problem.step) == 1
    x = some_point(problem)
    for _ in range(60):
        x = problem.classical(x)
    assert not x.any()


def test_a_problem_in_float64_is_the_same_problem():
    generator = torch.Generator().manual_seed(0)
    D, b = torch.randn(6, 4, generator=generator), torch.randn(3, 4, generator=generator)
    weights = torch.linspace(0.1, 0.2, 3)[:, None]
    x0 = torch.ones(3, 6)
    single = Composite.of(b, Dense(D), LeastSquares(), L1(weights), x0)
    single = single._replace(least=torch.zeros(3))
    double = single.exact()
    tensors = (double.b, double.A.D, double.step, double.x0, double.least)
    assert {tensor.dtype for tensor in tensors} == {torch.float64}
    A, start = Dense(D.double()), x0.double()
    expected = Composite.of(b.double(), A, LeastSquares(), L1(weights), start)
    torch.testing.assert_close(double.value(start), expected.value(start))
    torch.testing.assert_close(double.step, expected.step, rtol=1e-6, atol=0)
    assert double.value(start).dtype == double.classical(double.first()).dtype
    assert single._replace(x0=None, least=None).exact().first().dtype == torch.float64
