"""The forward-backward splitting network: any penalty, any start, one layer for all."""

import numpy as np
import pytest
import torch

from sklearn_unroll.functional import (
    L1,
    Box,
    Composite,
    Dense,
    ElasticNet,
    GroupL1,
    LeastSquares,
    NonnegativeL1,
    Quadratic,
    Zero,
)
from sklearn_unroll.nn import fbs, lista, polar_weight, refine
from sklearn_unroll.solvers import ISTA, CompositeDescent, iterates
from tests.conftest import make_problem

DEPTH = 12
ALPHA = 0.07


def threshold(z, theta):
    return np.sign(z) * np.maximum(np.abs(z) - theta, 0)


def shorten(z, theta):
    groups = z.reshape(len(z), -1, 5)
    norms = np.linalg.norm(groups, axis=-1, keepdims=True)
    return (groups * np.maximum(1 - theta / norms.clip(1e-300), 0)).reshape(z.shape)


# Every penalty, and its prox written out in numpy.
PENALTIES = {
    "l1": (L1(), threshold),
    "nonnegative": (NonnegativeL1(), lambda z, s: np.maximum(z - s, 0)),
    "groups": (GroupL1(5), shorten),
    "elastic": (ElasticNet(2.0, 0.3), lambda z, s: threshold(z, 0.6 * s) / (1 + 1.4 * s)),
    "box": (Box(-0.2, 0.4), lambda z, s: np.clip(z, -0.2, 0.4)),
    "quadratic": (Quadratic(3.0), lambda z, s: z / (1 + 3 * s)),
    "zero": (Zero(), lambda z, s: z),
}


def written_out(obs, W, prox, tau, lam, h=1.0, n_iter=DEPTH):
    """Eq. 2.2 in numpy, sharing no code with the package."""
    A, b = obs.A.D.numpy().T, obs.b.numpy()
    x = np.zeros((len(b), A.shape[1]))
    yield x
    for _ in range(n_iter):
        x = prox(x - h * tau * (x @ A.T - b) @ W.T, h * tau * lam)
        yield x


def assert_equal_iterates(found, expected):
    for x, reference in zip(found, expected, strict=True):
        np.testing.assert_allclose(x.numpy(), np.asarray(reference), atol=1e-12, rtol=0)
    assert float(found[-1].abs().max()) > 1e-3


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("shape", [(10, 20), (12, 5)])
def test_from_the_adjoint_it_equals_proximal_gradient(name, shape):
    obs, _ = make_problem(n_features=shape[0], n_components=shape[1])
    penalty, prox = PENALTIES[name]
    network = fbs(obs.A, n_layers=DEPTH, penalty=penalty, alpha=ALPHA, init="adjoint")
    with torch.no_grad():
        found = network.iterates(obs)
    tau = 1 / np.linalg.norm(obs.A.D.numpy(), 2) ** 2
    assert_equal_iterates(found, written_out(obs, obs.A.D.numpy(), prox, tau, ALPHA))


@pytest.mark.parametrize("positive", [False, True])
def test_it_equals_the_reference_solvers(shared_problem, positive):
    obs, _ = shared_problem
    penalty = NonnegativeL1() if positive else L1()
    network = fbs(obs.A, n_layers=DEPTH, penalty=penalty, alpha=ALPHA, init="adjoint")
    with torch.no_grad():
        found = network.iterates(obs)
    classical = ISTA(obs, ALPHA, positive=positive)
    assert_equal_iterates(found, iterates(classical, obs, DEPTH))
    if not positive:
        assert_equal_iterates(found, iterates(ISTA(obs, ALPHA), obs, DEPTH))


@pytest.mark.parametrize("name", ["groups", "elastic", "box", "quadratic", "zero"])
def test_it_equals_the_reference_for_composite_problems(shared_problem, name):
    obs, _ = shared_problem
    penalty = PENALTIES[name][0]
    network = fbs(obs.A, n_layers=DEPTH, penalty=penalty, alpha=1.0, init="adjoint")
    problem = Composite.of(obs.b, obs.A, LeastSquares(), penalty)
    with torch.no_grad():
        assert_equal_iterates(network.iterates(obs), iterates(CompositeDescent(), problem, DEPTH))


@pytest.mark.parametrize("name", PENALTIES)
def test_from_the_polar_factor_with_a_horizon_it_is_equation_2_2(shared_problem, name):
    obs, _ = shared_problem
    penalty, prox = PENALTIES[name]
    network = fbs(obs.A, n_layers=DEPTH, penalty=penalty, alpha=ALPHA, tau=0.4, horizon=9.0)
    U, _, Vh = np.linalg.svd(obs.A.D.numpy(), full_matrices=False)
    with torch.no_grad():
        found = network.iterates(obs)
    assert_equal_iterates(found, written_out(obs, U @ Vh, prox, 0.4, ALPHA, h=9 / DEPTH))


def test_the_polar_factor_of_a_tight_frame_is_the_adjoint():
    D = torch.linalg.qr(torch.randn(20, 10, dtype=torch.float64)).Q
    torch.testing.assert_close(polar_weight(3 * D), D)
    assert torch.linalg.matrix_norm(polar_weight(torch.randn(4, 9)), 2) == pytest.approx(1)


def test_without_training_it_is_lista_of_the_same_step(shared_problem):
    obs, _ = shared_problem
    with torch.no_grad():
        found = fbs(obs.A, n_layers=5, alpha=ALPHA, init="adjoint")(obs)
        torch.testing.assert_close(found, lista(obs.A, n_layers=5, alpha=ALPHA)(obs))


def test_a_user_penalty_will_do(shared_problem):
    class Cauchy:
        def value(self, x):
            return x.abs().sum(-1)

        def prox(self, x, step):
            return torch.sign(x) * (x.abs() - step).relu()

    obs, _ = shared_problem
    with torch.no_grad():
        torch.testing.assert_close(fbs(obs.A, penalty=Cauchy())(obs), fbs(obs.A)(obs))


def test_first_iterates(shared_problem):
    obs, _ = shared_problem
    n = obs.A.n_components
    x0 = torch.linspace(-1, 1, n, dtype=torch.float64)

    def matched(obs):
        return obs.A.adjoint(obs.b)

    with torch.no_grad():
        for given in (x0, x0.tolist(), x0.numpy()):
            network = fbs(obs.A, n_layers=2, x0=given)
            torch.testing.assert_close(network.iterates(obs)[0], x0.expand(len(obs.b), -1))
            network(obs)
            torch.testing.assert_close(network.layers[0].x0.x0, x0)  # not overwritten
        first = fbs(obs.A, n_layers=2, x0=matched).iterates(obs)[0]
        torch.testing.assert_close(first, matched(obs))
    learned = fbs(obs.A, n_layers=2, x0="learned")
    (parameter,) = learned.over_depth("x0")
    assert not parameter.any()
    learned(obs).sum().backward()
    assert parameter.grad.any()
    assert any(p is parameter for p in learned.new_parameters(1))


@pytest.mark.parametrize("n_layers", [4, 8, 12, 40])
def test_refine_then_coarsen_is_the_identity(shared_problem, n_layers):
    obs, _ = shared_problem
    network = shaken(fbs(obs.A, n_layers=4, horizon=3.0, x0="learned"))
    fine = refine(network, n_layers)
    assert fine.depth == n_layers
    back = refine(fine, 4)
    for (name, old), new in zip(network.named_parameters(), back.parameters(), strict=True):
        torch.testing.assert_close(new, old, rtol=0, atol=1e-15, msg=name)
    assert [layer.rule.h for layer in back.layers] == pytest.approx([0.75] * 4)
    with torch.no_grad():
        torch.testing.assert_close(back(obs), network(obs))


def shaken(network):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.rand(p.shape, dtype=p.dtype, generator=generator))
    return network


def test_refine_keeps_integrals_at_any_depth(shared_problem):
    network = shaken(fbs(shared_problem[0].A, n_layers=6, horizon=3.0))
    for n_layers in (1, 4, 5, 9):
        other = refine(network, n_layers)
        for name in ("W", "tau", "lam"):
            means = [
                torch.stack(list(net.over_depth(name))).mean(0).detach()
                for net in (network, other)
            ]
            torch.testing.assert_close(*means)
    # By hand: three layers into two.
    with torch.no_grad():
        for p, value in zip(
            network.over_depth("tau"), [1.0, 1.0, 2.0, 2.0, 4.0, 4.0], strict=True
        ):
            p.fill_(value)
    taus = [float(p.detach()) for p in refine(network, 2).over_depth("tau")]
    assert taus == pytest.approx([(1 + 1 + 2) / 3, (2 + 4 + 4) / 3])


def test_what_takes_up_the_time(shared_problem):
    obs, _ = shared_problem
    network = fbs(obs.A, n_layers=3)
    taus = {
        absorb: [
            (layer.rule.h, float(layer.rule.tau.detach()))
            for layer in refine(network, 6, absorb=absorb).layers
        ]
        for absorb in ("h", "tau", "nothing")
    }
    tau = float(network.layers[0].rule.tau.detach())
    assert taus["h"] == [(0.5, tau)] * 6
    assert taus["tau"] == [(1.0, tau / 2)] * 6
    assert taus["nothing"] == [(1.0, tau)] * 6
    with pytest.raises(ValueError, match="absorb"):
        refine(network, 6, absorb="W")
    with pytest.raises(ValueError, match="at least 1, got 0"):
        refine(network, 0)


def test_over_depth_finds_parameters_by_name(shared_problem):
    network = lista(shared_problem[0].A, n_layers=3, weights="free", tied=True)
    thetas = network.over_depth("theta")
    assert [id(p) for p in thetas] == [id(layer.rule.theta) for layer in network.layers]
    assert len({id(p) for p in network.over_depth("weights.W1")}) == 1
    with pytest.raises(ValueError, match=r"'tau' names 0 kinds .*'rule.theta'"):
        network.over_depth("tau")


def test_projection_keeps_scalars_nonnegative(shared_problem):
    network = fbs(shared_problem[0].A, n_layers=2)
    with torch.no_grad():
        network.layers[0].rule.tau.fill_(-1)
        network.layers[1].rule.lam.fill_(-1)
    network.project_()
    assert float(network.layers[0].rule.tau.detach()) == 0
    assert float(network.layers[1].rule.lam.detach()) == 0
    assert float(network.layers[1].rule.tau.detach()) > 0


def test_steps_that_expand_are_told_with_the_number(shared_problem):
    A = shared_problem[0].A
    size = float(torch.linalg.matrix_norm(A.D, 2))
    with pytest.warns(UserWarning, match=r"\|\|W A\|\|_2 = 2.5 is above 2.*Lower the horizon"):
        fbs(A, n_layers=4, horizon=10.0)
    with pytest.warns(UserWarning, match="= 3 is above 2.*Lower tau"):
        fbs(A, n_layers=4, tau=3 / size)
    fbs(A, n_layers=4, horizon=8.0)


class Bad:
    def __init__(self, prox, value=None):
        self.prox = prox
        self.value = value or (lambda x: x.abs().sum(-1))


@pytest.mark.parametrize(
    "penalty, error, match",
    [
        (object(), TypeError, "object has no value"),
        (Bad(lambda x, s: x / 0 * 0), ValueError, "Bad.prox returns NaN"),
        (Bad(lambda x, s: x[:, :1]), ValueError, r"Bad.prox must return shape \(3, 20\)"),
        (Bad(lambda x, s: x.float()), ValueError, "float32"),
        (Bad(lambda x, s: 0.0), TypeError, "must return a tensor, got float"),
        (Bad(lambda x, s: x, lambda x: x.sum()), ValueError, r"Bad.value .* shape \(3,\)"),
        (L1(np.ones((7, 1))), ValueError, "the same for all samples"),
        (GroupL1([0, 1]), ValueError, "2 entries, but the codes have 20"),
    ],
)
def test_a_prox_that_cannot_serve_is_an_error(shared_problem, penalty, error, match):
    with pytest.raises(error, match=match):
        fbs(shared_problem[0].A, penalty=penalty)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"alpha": -0.1}, "alpha must be nonnegative"),
        ({"tau": float("nan")}, "tau must be nonnegative"),
        ({"horizon": 0.0}, "horizon must be positive"),
        ({"init": "random"}, "init must be one of"),
        ({"x0": "warm"}, "x0 must be 'learned'"),
        ({"x0": torch.zeros(19)}, r"20 finite numbers.* got shape \(19,\)"),
        ({"x0": torch.full((20,), torch.nan)}, "with NaN"),
    ],
)
def test_bad_options_are_errors(shared_problem, options, match):
    with pytest.raises(ValueError, match=match):
        fbs(shared_problem[0].A, **options)


def test_a_first_iterate_of_the_wrong_shape_is_an_error(shared_problem):
    obs, _ = shared_problem
    with pytest.raises(ValueError, match=r"must have shape \(7, 20\), got \(7, 10\)"):
        fbs(obs.A, x0=lambda obs: obs.b)(obs)


def test_a_zero_operator_gives_finite_weights():
    network = fbs(Dense(torch.zeros(3, 2)), n_layers=2)
    assert all(bool(torch.isfinite(p).all()) for p in network.parameters())
