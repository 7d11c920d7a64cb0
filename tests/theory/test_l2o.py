"""Constants, bounds and rates of learned gradient descent."""

import warnings

import pytest
import torch

from sklearn_unroll.functional import Composite, Dense, LeastSquares, Zero
from sklearn_unroll.nn import math_l2o, provable_l2o
from sklearn_unroll.theory import (
    expansion_bounds,
    l2o_constants,
    training_control,
    training_rate,
)
from sklearn_unroll.training import ProblemObjective, Trainer


def quadratics(n_samples=4, n_features=6, n_components=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    D = torch.randn(n_samples, n_components, n_features, generator=generator).double()
    x = torch.randn(n_samples, n_components, generator=generator).double()
    return Composite.of(torch.einsum("in,inm->im", x, D), Dense(D), LeastSquares(), Zero())


def network(problem, **given):
    sizes = {"n_iter": 5, "width": 40, "expansion": 5.0, **given}
    return provable_l2o(problem.b, generator=torch.Generator().manual_seed(0), **sizes)


def test_the_four_bounds():
    bounds = expansion_bounds(16, 3)
    assert bounds.singular == 4
    assert bounds.semi_smooth == pytest.approx(16 ** (54 / 26))
    assert bounds.gradient == 256
    assert bounds.rate == pytest.approx(1024 * 3**0.5)
    assert expansion_bounds(3, 3).semi_smooth == float("inf")
    # Deeper networks ask for less.
    deeper = expansion_bounds(16, 6)
    assert all(new < old for new, old in zip(deeper, bounds, strict=True))


@pytest.mark.parametrize("T, L", [(0, 3), (20, 1)])
def test_bounds_of_nothing(T, L):
    with pytest.raises(ValueError, match="n_iter must be at least 1 and n_layers at least 2"):
        expansion_bounds(T, L)


def test_runs_with_one_control_parameter_start_alike():
    problem = quadratics()
    reached = []
    for e, lr in ((5.0, 1e-4), (50.0, 1e-8)):
        assert training_control(lr * 16, e) == pytest.approx(1.0)
        net = network(problem, expansion=e)
        Trainer(
            ProblemObjective("last", relative=False), loss="mean", optimizer="sgd",
            batch_size=None, decay="constant", max_grad_norm=None, early_stopping=False,
            learning_rate=lr, max_epochs=3,
        ).run(net, problem, alpha=1.0, generator=torch.Generator())  # fmt: skip
        reached.append(problem.value(net(problem)).sum().detach())
    torch.testing.assert_close(*reached, rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    "lr, e, message",
    [
        (1e-3, 100.0, r"= 1e\+05 lies outside.*may break down.*between 1e-09 and 6e-06"),
        (1e-7, 1.0, "hardly moves"),
    ],
)
def test_a_control_parameter_out_of_range_is_told(lr, e, message):
    with pytest.warns(UserWarning, match=message):
        training_control(lr, e)


def test_a_control_parameter_in_range_is_not():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert training_control(1e-6, 50.0) == pytest.approx(6.25)
    with pytest.raises(ValueError, match="must be positive"):
        training_control(0.0, 50.0)


def test_alpha_0_is_zero_with_two_features_and_nonnegative_weights():
    problem = quadratics()
    found = l2o_constants(network(problem), problem)
    assert found.alpha_0 == 0
    assert found.rank == 2
    assert found.alpha_nonzero > 0
    # One instance of one unknown: a single row, of which alpha_0 is the norm.
    one = Composite.of(
        torch.ones(1, 1).double(), Dense(torch.ones(1, 1, 1).double() * 2), LeastSquares(), Zero()
    )._replace(x0=torch.full((1, 1), 3.0).double())
    single = l2o_constants(network(one, n_iter=1), one)
    assert single.rank == 1
    assert single.alpha_0 == pytest.approx(single.delta_3)
    assert single.alpha_0 > 0


def test_constants_grow_with_e_as_the_paper_says():
    problem = quadratics()
    one, ten = (l2o_constants(network(problem, expansion=e), problem) for e in (1.0, 10.0))
    assert ten.alpha_nonzero == pytest.approx(100 * one.alpha_nonzero)
    assert ten.delta_3 == pytest.approx(100 * one.delta_3)
    least = l2o_constants(network(problem), problem, largest_norm=1e-3)
    s = 1 / (1 + torch.exp(torch.tensor(-1e-3 * least.delta_3).double()))
    assert least.delta_4 == pytest.approx(float(s * (1 - s)))


def test_the_rate_is_that_of_a_small_step():
    problem = quadratics()
    net = network(problem)
    before = problem.value(net(problem)).sum().detach()
    rate = training_rate(net, problem, 1e-7)
    Trainer(
        ProblemObjective("last", relative=False), loss="mean", optimizer="sgd", batch_size=None,
        decay="constant", max_grad_norm=None, early_stopping=False,
        learning_rate=4e-7, max_epochs=1,
    ).run(net, problem, alpha=1.0, generator=torch.Generator())  # fmt: skip
    after = problem.value(net(problem)).sum().detach()
    assert rate < 1
    assert 1 - rate == pytest.approx(float(1 - after / before), rel=1e-2)


def test_rank_deficient_matrices_are_told():
    problem = quadratics()
    D = problem.A.D.clone()
    D[2, :, 1] = D[2, :, 0]
    problem = problem._replace(A=Dense(D))
    with pytest.raises(ValueError, match="full row rank 6; that of instance 2 has rank 5"):
        l2o_constants(network(problem), problem)


def test_constants_of_another_network_are_refused():
    problem = quadratics()
    net = math_l2o(problem.b, n_layers=2, generator=torch.Generator().manual_seed(0))
    with pytest.raises(TypeError, match="provable_l2o"):
        l2o_constants(net, problem)
