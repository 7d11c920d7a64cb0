"""Learned gradient descent: it starts as gradient descent to the bit, and learns from there."""

import pytest
import torch

from sklearn_unroll.functional import Composite, Dense, LeastSquares, Zero
from sklearn_unroll.nn import provable_l2o
from sklearn_unroll.nn.provable_l2o import StepNetwork
from sklearn_unroll.solvers import CompositeDescent, iterates
from sklearn_unroll.training import ProblemObjective, Trainer


def quadratics(n_samples=8, n_features=10, n_components=12, *, seed=0, dtype=torch.float64):
    """Instances 0.5 ||M x - y||^2 with unit columns, as in the paper's study."""
    generator = torch.Generator().manual_seed(seed)
    M = torch.randn(n_samples, n_features, n_components, generator=generator, dtype=dtype)
    M /= M.norm(dim=1, keepdim=True)
    x = torch.randn(n_samples, n_components, generator=generator, dtype=dtype)
    D = M.mT.contiguous()
    return Composite.of(torch.einsum("in,inm->im", x, D), Dense(D), LeastSquares(), Zero())


def network(problem, seed=0, **given):
    sizes = {"n_iter": 10, "width": 40, "expansion": 20.0, **given}
    return provable_l2o(problem.b, generator=torch.Generator().manual_seed(seed), **sizes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_layers", [2, 3, 5])
@pytest.mark.parametrize("expansion", [1.0, 100.0])
def test_untrained_it_is_gradient_descent_to_the_bit(dtype, n_layers, expansion):
    problem = quadratics(dtype=dtype)
    net = network(problem, n_layers=n_layers, expansion=expansion)
    expected = iterates(CompositeDescent(), problem, 10)
    for x, known in zip(net.iterates(problem), expected, strict=True):
        assert torch.equal(x, known)


@pytest.mark.parametrize("seed", range(5))
def test_first_layers_are_nonnegative_and_as_large_as_e(seed):
    steps = network(quadratics(), seed, expansion=50.0, n_layers=4).layers[0].steps
    *below, last = steps.weights
    assert not last.any()
    for W in below:
        assert bool((W >= 0).all())
        # The columns are those of an orthonormal matrix but for signs.
        torch.testing.assert_close(W.norm(dim=0), torch.full((2,), 50.0, dtype=W.dtype))
    for W in below[:-1]:  # square, nonnegative and orthonormal: a permutation
        torch.testing.assert_close(W.T @ W, 2500 * torch.eye(2, dtype=W.dtype))
    *_, wide, _ = steps.weights
    assert int((wide > 0).sum()) == wide.numel()


def test_scaling_e_scales_the_penultimate_outputs_by_its_power():
    problem = quadratics()
    features = torch.randn(30, 2, generator=torch.Generator().manual_seed(0)).double()
    one, ten = (
        network(problem, expansion=e, n_layers=4).layers[0].steps.hidden(features)
        for e in (1.0, 10.0)
    )
    torch.testing.assert_close(ten, 1000 * one)


@pytest.mark.parametrize("seed", [3, 4])
def test_it_learns_and_what_it_learns_carries_over(seed, assert_below):
    train, test = quadratics(seed=seed), quadratics(seed=100 + seed)
    net = network(train, seed, n_iter=8)
    before = float(test.value(net(test)).sum().detach())
    Trainer(
        ProblemObjective("last", relative=False), loss="mean", optimizer="sgd", batch_size=None,
        decay="constant", max_grad_norm=None, early_stopping=False,
        learning_rate=8e-5, max_epochs=40,
    ).run(net, train, alpha=1.0, generator=torch.Generator().manual_seed(0))  # fmt: skip
    after = float(test.value(net(test)).sum().detach())
    assert_below(after / before, 0.9)


def test_features_carry_no_gradient_but_steps_do():
    problem = quadratics()
    net = network(problem, n_iter=1)
    with torch.no_grad():
        net.layers[0].steps.weights[-1].normal_(0, 1e-3)
    start = torch.ones(8, 12, dtype=torch.float64, requires_grad=True)
    x = net(problem._replace(x0=start))
    with torch.no_grad():
        g = problem.gradient(start)
        P = net.layers[0].steps(net.layers[0].features(start, g)).view(8, 12)
    # The derivative in x is that of a step with P held fixed.
    (found,) = torch.autograd.grad(x.sum(), start)
    w = problem.step * P
    expected = 1 - problem.A.adjoint(problem.A(w))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("given", [{"n_layers": 1}, {"width": 1}, {"expansion": 0.0}])
def test_bad_sizes(given):
    sizes = {"n_layers": 3, "width": 8, "expansion": 1.0, **given}
    with pytest.raises(ValueError, match="n_layers and width must be at least 2"):
        StepNetwork(like=torch.empty(0), generator=torch.Generator(), **sizes)


def test_a_fallback_halves_the_trust_in_learned_steps():
    problem = quadratics()
    layer = network(problem).layers[0]
    with torch.no_grad():
        layer.steps.weights[-1].fill_(0.1)
        state = layer.init(problem)
        wrong = (torch.arange(8) % 2 == 0)[:, None]
        state = layer.resume(state, state.x, wrong, wrong)
        torch.testing.assert_close(state.trust, 1 - 0.5 * wrong.double())
        g = problem.gradient(state.x)
        P = layer.steps(layer.features(state.x, g)).view_as(g)
        assert (P - 1).abs().max() > 0.1
        expected = state.x - problem.step * (1 + state.trust * (P - 1)) * g
        torch.testing.assert_close(layer(state, problem).x, expected)
