"""What the guard promises, for every network of proximal-gradient layers, whatever it learned."""

import pytest
import torch

from sklearn_unroll.functional import (
    L1,
    Box,
    Composite,
    Dense,
    LeastSquares,
    NonnegativeL1,
    Observation,
    analytic_weight,
    pseudo_inverse,
)
from sklearn_unroll.nn import (
    AdaptiveRule,
    Unrolled,
    ada_lista,
    alista,
    fbs,
    feed_forward,
    guarded,
    hyperlista,
    lamp,
    lista,
    na_alista,
    tista,
)
from sklearn_unroll.nn.guard import Guarded

N, M, K = 9, 8, 12
COUNTS = [1, 2, 3, 4, 5]


def operator(dtype=torch.float64, per_sample=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (N, K, M) if per_sample else (K, M)
    return Dense(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype))


def data(A, seed=0):
    """Samples of very different sizes, one of them zero."""
    generator = torch.Generator().manual_seed(seed + 1)
    b = torch.randn(N, M, generator=generator, dtype=torch.float64).to(A.D)
    scales = torch.logspace(-3, 6, N, dtype=torch.float64).to(b)[:, None]
    scales[4] = 0
    return b * scales


def analytic(A):
    return analytic_weight(A.D.double()).to(A.D)


NETWORKS = {
    "lista": lambda A: lista(A, n_layers=5),
    "free": lambda A: lista(A, n_layers=5, weights="free"),
    "adjoint": lambda A: lista(A, n_layers=5, weights="adjoint"),
    "tied": lambda A: lista(A, n_layers=5, tied=True, learn_step=True),
    "selecting": lambda A: lista(A, n_layers=5, counts=COUNTS, learn_step=True),
    "ada": lambda A: ada_lista(A, n_layers=5),
    "alista": lambda A: alista(A, analytic(A), n_layers=5, counts=COUNTS),
    "na_alista": lambda A: na_alista(
        analytic(A), n_layers=5, counts=COUNTS, generator=torch.Generator().manual_seed(0)
    ),
    "hyperlista": lambda A: hyperlista(
        analytic(A), AdaptiveRule(pseudo_inverse(A.D), 0.5, 9.0, 9.0, 1e3), n_layers=5
    ),
    "tista": lambda A: tista(A, sparsity=0.1, variance=1.0, noise_variance=0.0, n_layers=5),
    "lamp": lambda A: lamp(A, n_layers=5),
    "fbs": lambda A: fbs(A, n_layers=5, x0="learned"),
    "feed_forward": lambda A: feed_forward(
        A, n_layers=5, generator=torch.Generator().manual_seed(0)
    ),
}
HARM = {
    "as it is": lambda p, g: p,
    "huge": lambda p, g: 1e3 * p,
    "opposite": lambda p, g: -3 * p,
    "random": lambda p, g: torch.randn(p.shape, generator=g, dtype=torch.float64).to(p),
    "enormous": lambda p, g: 1e30 * torch.sign(p + 1e-3),
}


@torch.no_grad()
def harmed(network, harm):
    generator = torch.Generator().manual_seed(7)
    for parameter in network.parameters():
        parameter.copy_(HARM[harm](parameter, generator))
    network.project_()
    return network


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", NETWORKS)
def test_no_objective_is_above_that_of_zero_and_the_answer_is_the_best(name, harm, dtype):
    A = operator(dtype)
    problem = Composite(data(A), A, LeastSquares(), L1(0.3))
    network = harmed(NETWORKS[name](A), harm)
    at_zero = problem.exact().value(torch.zeros(N, K, dtype=torch.float64))
    least = torch.full_like(at_zero, torch.inf)
    tolerance = 40 * torch.finfo(dtype).eps
    with torch.no_grad():
        for state in guarded(network).states(problem):
            inner = problem.exact().value(network.layers[0].readout(state.inner).double())
            assert bool((inner <= at_zero * (1 + tolerance)).all())
            least = torch.minimum(least, inner)
            answer = guarded(network).layers[0].readout(state).double()
            value = problem.exact().value(answer)
            assert bool((value <= least + tolerance * at_zero).all())


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", NETWORKS)
def test_no_residual_is_above_the_data(name, harm):
    A = operator()
    problem = Composite(data(A), A, LeastSquares(), L1(0.3))
    network = harmed(NETWORKS[name](A), harm)
    with torch.no_grad():
        for x in guarded(network, "residual").stream(problem):
            r = problem.residual(x).square().sum(1)
            assert bool((r <= problem.b.square().sum(1) * (1 + 1e-13)).all())


@pytest.mark.parametrize("per_sample", [False, True])
def test_where_nothing_goes_wrong_nothing_is_changed(per_sample):
    """ISTA descends, and a guard around it is not to be noticed, to the last bit."""
    A = operator(per_sample=per_sample)
    network = lista(A, n_layers=5, weights="adjoint")
    problem = Composite(data(A), A, LeastSquares(), L1(0.1))
    with torch.no_grad():
        plain = network.iterates(Observation(problem.b, A))
        for region in ("objective", "residual", "descent"):
            net = guarded(network, region)
            assert all(map(torch.equal, net.iterates(problem), plain))
            *_, last = net.states(problem)
            assert not last.n_fallbacks.any()


def test_a_refused_sample_takes_the_classical_step_and_others_go_on():
    A = operator()
    network = lista(A, n_layers=2, weights="adjoint")
    problem = Composite(data(A), A, LeastSquares(), L1(0.1))

    class OneRow(type(network.layers[0].weights)):
        def forward(self, x, obs, gamma):
            z = super().forward(x, obs, gamma)
            return z.index_fill(0, torch.tensor([2]), 1e9) if len(z) == N else z

    with torch.no_grad():
        right = network(Observation(problem.b, A))
        for layer in network.layers:
            layer.weights = OneRow()
        *_, state = guarded(network).states(problem)
        x = guarded(network).layers[0].readout(state)
    assert state.n_fallbacks.tolist() == [0, 0, 2, 0, 0, 0, 0, 0, 0]
    torch.testing.assert_close(x, right)


def test_an_iterate_outside_the_domain_is_projected_first():
    A = operator()
    problem = Composite(data(A), A, LeastSquares(), NonnegativeL1(0.1))
    with torch.no_grad():
        *_, state = guarded(lista(A, n_layers=5)).states(problem)  # its codes have both signs
        x = guarded(lista(A, n_layers=5)).layers[0].readout(state)
    assert bool((x >= 0).all()) and bool((x > 0).any())
    at_zero = problem.value(torch.zeros_like(x))
    assert bool((problem.value(x) <= at_zero).all())


def test_a_box_without_zero_starts_at_its_nearest_point():
    A = operator()
    problem = Composite(data(A), A, LeastSquares(), Box(1.0, 2.0))
    with torch.no_grad():
        for x in guarded(lista(A, n_layers=5)).stream(problem):
            assert bool(((x >= 1) & (x <= 2)).all())
            nearest = problem.value(torch.ones_like(x))
            assert bool((problem.value(x) <= nearest * (1 + 1e-14)).all())


def test_alpha_per_sample():
    A = operator()
    weight = torch.logspace(-2, 1, N, dtype=torch.float64)[:, None]
    network = harmed(lista(A, n_layers=5), "random")
    problem = Composite(data(A), A, LeastSquares(), L1(weight))
    with torch.no_grad():
        x = guarded(network)(problem)
        for row in range(N):
            one = Composite(problem.b[[row]], A, LeastSquares(), L1(float(weight[row])))
            torch.testing.assert_close(guarded(network)(one), x[[row]])


def test_no_endless_replacement_at_the_optimum():
    """Values that are equal but for rounding count as no rise: the tolerance that is stated."""
    A = operator(torch.float32)
    problem = Composite(data(A)[:3] * 100, A, LeastSquares(), L1(0.3))
    with torch.no_grad():
        for region in ("objective", "descent"):
            *_, state = guarded(lista(A, n_layers=400, alpha=0.3), region).states(problem)
            assert not state.n_fallbacks.any()


def test_the_guard_learns_nothing_of_its_own():
    network = lista(operator(), n_layers=3)
    assert {id(p) for p in guarded(network).parameters()} == {id(p) for p in network.parameters()}


def test_an_unknown_region():
    with pytest.raises(ValueError, match=r"region must be one of .*, got 'sphere'"):
        Guarded(lista(operator()).layers[0], "sphere")


def test_gradients_pass_where_nothing_is_refused():
    A = operator()
    network = lista(A, n_layers=3)
    problem = Composite(data(A), A, LeastSquares(), L1(0.1))
    net = Unrolled(guarded(network).layers)
    plain = torch.autograd.grad(network(problem).sum(), list(network.parameters()))
    here = torch.autograd.grad(net(problem).sum(), list(network.parameters()))
    for one, two in zip(plain, here, strict=True):
        torch.testing.assert_close(one, two)
