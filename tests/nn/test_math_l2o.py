"""Math-L2O: untrained it is classical, rescaling changes nothing, the safeguard holds."""

import math

import pytest
import torch

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
    Zero,
)
from sklearn_unroll.nn import Guarded, Unrolled, UnrolledLayer, math_l2o
from sklearn_unroll.nn.coordinate import CoordinateLSTM
from sklearn_unroll.nn.l2o_features import FEATURES
from sklearn_unroll.nn.math_l2o import VARIANTS, MathL2OLayer
from sklearn_unroll.solvers import FISTA, ISTA, CompositeDescent, NesterovDescent, iterates
from tests.conftest import make_problem

LIKE = torch.empty(0, dtype=torch.float64)
SMALL = {"n_layers": 12, "hidden_size": 6}


def lasso(n_samples=7, *, per_sample=True, seed=0, alpha=0.1):
    obs, _ = make_problem(n_samples, per_sample=per_sample, seed=seed)
    weight = torch.full((n_samples, 1), alpha, dtype=torch.float64)
    return Composite.of(obs.b, obs.A, LeastSquares(), L1(weight))


def network(seed=0, *, spread=0.0, like=LIKE, **given):
    """Return a network; its last layer drawn at random where spread is positive."""
    net = math_l2o(like, generator=torch.Generator().manual_seed(seed), **{**SMALL, **given})
    if spread:
        heads = net.layers[0].network.heads
        with torch.no_grad():
            heads.out.normal_(0, spread, generator=torch.Generator().manual_seed(seed))
    return net


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("features", ["relative", "raw"])
@pytest.mark.parametrize("kind", ["lstm", "mlp"])
@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per_sample"])
def test_untrained_it_is_restarted_fista_or_ista(variant, features, kind, per_sample):
    problem = lasso(per_sample=per_sample)
    obs = Observation(problem.b, problem.A)
    method = ISTA(obs, 0.1) if variant == "P" else FISTA(obs, 0.1)
    net = network(variant=variant, features=features, network=kind, n_layers=25)
    for x, expected in zip(net.iterates(problem), iterates(method, obs, 25), strict=True):
        torch.testing.assert_close(x, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("R", [L1(0.1), NonnegativeL1(0.1), ElasticNet(0.1), Box(-0.1, 0.2)])
@pytest.mark.parametrize("f", [LeastSquares(), Logistic(), NoData()])
def test_for_every_problem_it_starts_as_the_classical_method(f, R):
    problem = lasso()
    b = torch.where(problem.b > 0, 1.0, -1.0).double() if isinstance(f, Logistic) else problem.b
    problem = Composite.of(b, problem.A, f, R, x0=0.3 + torch.zeros(7, 20).double())
    expected = list(iterates(NesterovDescent(), problem, 12))
    for x, known in zip(network().iterates(problem), expected, strict=True):
        torch.testing.assert_close(x, known, atol=1e-12, rtol=0)


def test_gradient_descent_is_what_the_smooth_case_starts_as():
    problem = lasso()._replace(R=Zero())
    expected = list(iterates(CompositeDescent(), problem, 12))
    for x, known in zip(network(variant="P").iterates(problem), expected, strict=True):
        torch.testing.assert_close(x, known, atol=1e-12, rtol=0)


def test_one_step_is_the_printed_equation():
    problem, net = lasso(), network(variant="PBA12", spread=1.0, n_layers=2)
    layer = net.layers[0]
    state = layer(layer.init(problem), problem)
    x, y, step = state.x, state.y, problem.step
    g = problem.gradient(y)
    seen, _, size = FEATURES["relative"](state, g, problem)
    out, _ = layer.network(seen.flatten(1), state.memory)
    p, b, a, b1, b2 = out.view(5, 7, 20)
    p = step * 4 * torch.sigmoid(p - math.log(3))
    b = 2 * torch.sigmoid(b)
    beta = (state.clock - 1) / ((1 + torch.sqrt(1 + 4 * state.clock**2)) / 2)
    point = (1 - b) * (x - p * problem.gradient(x)) + b * (y - p * g) - size * b1
    new = point.sign() * (point.abs() - 0.1 * p).clamp_min(0)
    after = layer(state, problem)
    torch.testing.assert_close(after.x, new)
    kept = ((y - new) * (new - x)).sum(1, keepdim=True) <= 0
    a = torch.where(kept, torch.sigmoid(torch.logit(beta) + a), torch.zeros_like(a))
    torch.testing.assert_close(after.y, new + a * (new - x) + size * b2)
    assert bool(((a >= 0) & (a < 1)).all())


def test_the_lstm_is_torchs_own():
    ours = CoordinateLSTM(
        3, 2, hidden_size=5, n_layers=2, zero=False, like=LIKE,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    theirs = torch.nn.LSTM(3, 5, 2, dtype=torch.float64)
    order = torch.cat([torch.arange(10), torch.arange(15, 20), torch.arange(10, 15)])
    for layer in range(2):
        with torch.no_grad():  # theirs are in the order i, f, g, o
            getattr(theirs, f"weight_ih_l{layer}").copy_(ours.inputs[layer][order])
            getattr(theirs, f"weight_hh_l{layer}").copy_(ours.states[layer][order])
            getattr(theirs, f"bias_ih_l{layer}").copy_(ours.biases[layer][order, 0])
            getattr(theirs, f"bias_hh_l{layer}").zero_()
    x = torch.randn(6, 3, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = theirs(x.mT)[0].mT
    for gradients in (True, False):
        memory = ours.first(torch.zeros(1, 11, dtype=torch.float64), None)
        with torch.set_grad_enabled(gradients):
            for step in range(6):
                out, memory = ours(x[step], memory)
                torch.testing.assert_close(memory[2], expected[step])
                torch.testing.assert_close(out, ours.heads(expected[step]))


@pytest.mark.parametrize("like", [LIKE, torch.empty(0)], ids=["float64", "float32"])
def test_without_gradients_it_is_the_same(like):
    problem, net = lasso(), network(spread=0.5, like=like)
    expected = net.iterates(problem)
    with torch.no_grad():
        for x, known in zip(net.iterates(problem), expected, strict=True):
            torch.testing.assert_close(x, known.detach(), atol=1e-5, rtol=1e-5)
    assert expected[-1].dtype == torch.float64


@pytest.mark.parametrize("scale", [1e-6, 10.0, 1e5])
def test_rescaling_an_instance_changes_nothing(scale):
    problem, net = lasso(), network(spread=0.5)
    data = Composite.of(problem.b * scale, problem.A, problem.f, L1(problem.R.weight * scale))
    x = net(problem)
    torch.testing.assert_close(net(data) / scale, x, rtol=1e-9, atol=1e-12)
    D = Dense(problem.A.D * scale)
    rescaled = Composite.of(problem.b, D, problem.f, L1(problem.R.weight * scale))
    torch.testing.assert_close(net(rescaled) * scale, x, rtol=1e-9, atol=1e-12)
    raw = network(spread=0.5, features="raw")
    assert not torch.allclose(raw(data) / scale, raw(problem), rtol=1e-3)


def test_permuting_coordinates_permutes_codes():
    problem, net = lasso(), network(spread=0.5)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    permuted = problem._replace(A=Dense(problem.A.D[:, order]))
    torch.testing.assert_close(net(permuted), net(problem)[:, order])


def test_any_size_will_do():
    obs, _ = make_problem(3, 31, 47)
    other = Composite.of(obs.b, obs.A, LeastSquares(), L1(0.1))
    assert network(spread=0.5)(other).shape == (3, 47)


def test_biases_vanish_at_the_optimum():
    problem = lasso()
    *_, x = iterates(NesterovDescent(), problem, 2000)
    net = network(variant="PBA12", spread=1.0, n_layers=1)
    moved = (net(problem._replace(x0=x)) - x).detach()
    assert float(moved.abs().max()) < 1e-10


def test_a_normal_first_memory_is_the_same_in_every_run_and_for_every_instance():
    problem = lasso()
    net = network(state="normal", spread=0.5)
    torch.testing.assert_close(net(problem), net(problem), rtol=0, atol=0)
    memory = net.layers[0].init(problem).memory[0].view(6, 7, 20)
    assert torch.equal(memory[:, 1], memory[:, 4])
    assert len(memory[:, 0].unique()) == 120  # one number for each coordinate
    assert not torch.allclose(net(problem), network(spread=0.5)(problem))


class Runaway(UnrolledLayer):
    """Walks away, ever faster, and then to NaN."""

    def init(self, obs):
        x = obs.first()
        return MathL2OLayer.init(network().layers[0], obs)._replace(x=x)

    def forward(self, state, obs):
        x = state.x * 10 + 1
        return state._replace(x=torch.where(x > 1e3, torch.nan, x))

    def resume(self, state, x, wrong, lost):
        return state._replace(x=x)

    def readout(self, state):
        return state.x

    def with_iterate(self, state, x):
        return state._replace(x=x)


class NoNumber(Runaway):
    """Is lost at once."""

    def forward(self, state, obs):
        return state._replace(x=torch.full_like(state.x, torch.nan))


@pytest.mark.parametrize("runaway", [Runaway, NoNumber])
def test_the_safeguard_makes_ista_of_whatever_runs_away(runaway):
    problem = lasso()
    layer = Guarded(runaway(), "descent")
    state = layer.init(problem)
    expected = list(iterates(CompositeDescent(), problem, 30))
    for k in range(30):
        state = layer(state, problem)
        torch.testing.assert_close(layer.readout(state), expected[k + 1])
    assert state.n_fallbacks.tolist() == [30] * 7


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("f", [LeastSquares(), Logistic()])
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_with_the_safeguard_no_objective_rises(variant, f, scale):
    problem = lasso()
    b = torch.where(problem.b > 0, 1.0, -1.0).double() if isinstance(f, Logistic) else problem.b
    start = 100 * torch.randn(7, 20, generator=torch.Generator().manual_seed(0)).double()
    problem = Composite.of(b, Dense(problem.A.D * scale), f, problem.R, start)
    made = network(variant=variant, features="raw", momentum="wide", spread=5.0)
    layer = Guarded(made.layers[0], "descent")
    with torch.no_grad():
        state = layer.init(problem)
        value = problem.value(start)
        for _ in range(40):
            state = layer(state, problem)
            new = problem.value(layer.readout(state))
            assert bool((new <= value * (1 + 1e-14)).all())
            value = new


def test_where_even_the_classical_step_fails_the_sample_stays():
    class Promising(LeastSquares):
        def lipschitz(self, obs):
            return super().lipschitz(obs) / 100

    problem = lasso()
    problem = Composite.of(problem.b, problem.A, Promising(), problem.R)
    layer = Guarded(NoNumber(), "descent")
    state = layer.init(problem)
    for _ in range(3):
        state = layer(state, problem)
    assert torch.equal(layer.readout(state), problem.first())
    assert torch.equal(state.value, problem.value(problem.first()))
    assert state.n_fallbacks.tolist() == [3] * 7


class Wrong(UnrolledLayer):
    """Is wrong when told to, and notes where it was said to be lost."""

    def __init__(self, plan):
        super().__init__()
        self.plan, self.lost = iter(plan), []

    def init(self, obs):
        return network(variant="P").layers[0].init(obs)

    def forward(self, state, obs):
        return state._replace(x=obs.classical(state.x) if next(self.plan) == "r" else state.x / 0)

    def resume(self, state, x, wrong, lost):
        self.lost.append(bool(lost.any()))
        return state._replace(x=x)

    readout, with_iterate = Runaway.readout, Runaway.with_iterate


@pytest.mark.parametrize(
    "plan, lost",
    [
        ("wwwwwwwww", [0, 0, 0, 1, 0, 0, 0, 1, 0]),  # and being lost begins a new count
        ("wwwrwwwrww", [0] * 8),  # three in a row are borne, and one that is right clears them
        ("wwrwwwwr", [0, 0, 0, 0, 0, 1]),
    ],
)
def test_momentum_is_given_up_after_four_rises_in_a_row(plan, lost):
    problem, layer = lasso(), Guarded(Wrong(plan), "descent")
    state = layer.init(problem)
    for _ in plan:
        state = layer(state, problem)
    assert layer.layer.lost == [bool(flag) for flag in lost]
    assert state.n_fallbacks.tolist() == [plan.count("w")] * 7


def test_rises_are_counted_sample_by_sample():
    class Half(Wrong):
        def forward(self, state, obs):
            x = obs.classical(state.x)
            rows = torch.arange(7)[:, None] < (7 if next(self.plan) == "w" else 3)
            return state._replace(x=torch.where(rows, torch.nan, x))

        def resume(self, state, x, wrong, lost):
            self.lost.append(lost[:, 0].tolist())
            return state._replace(x=x)

    problem = lasso()
    layer = Guarded(Half("wwhww"), "descent")  # the third step is right for the last four
    state = layer.init(problem)
    for _ in range(5):
        state = layer(state, problem)
    expected = [[False] * 7] * 3 + [[True] * 3 + [False] * 4, [False] * 7]
    assert layer.layer.lost == expected


def test_from_an_iterate_from_elsewhere_the_safeguard_goes_on():
    """The least objective is that of the new iterate: otherwise every step would be refused."""
    problem, layer = lasso(), Guarded(network(variant="P").layers[0], "descent")
    far = 10 + torch.zeros(7, 20, dtype=torch.float64)
    with torch.no_grad():
        state = layer.init(problem)
        for _ in range(5):
            state = layer(state, problem)
        state = layer(layer.with_iterate(state, far), problem)
        torch.testing.assert_close(layer.readout(state), problem.classical(far))
        torch.testing.assert_close(state.value, problem.value(layer.readout(state)))
    assert not state.n_fallbacks.any()


def test_noise_on_iterates_moves_the_extrapolated_point_as_far():
    problem, layer = lasso(), network(spread=0.5).layers[0]
    with torch.no_grad():
        state = layer(layer(layer.init(problem), problem), problem)
        moved = layer.with_iterate(state, state.x + 0.25)
    assert (state.y - state.x).abs().max() > 1e-3
    torch.testing.assert_close(moved.y - moved.x, state.y - state.x)


def test_trust_in_the_network_is_lost_by_a_fallback_and_regained():
    problem, layer = lasso(), network(spread=1.0).layers[0]
    with torch.no_grad():
        state = layer(layer.init(problem), problem)
        wrong = (torch.arange(7) % 2 == 0)[:, None]
        lost = (torch.arange(7) % 4 == 0)[:, None]
        state = layer.resume(state, state.x, wrong, lost)
        expected = torch.tensor([0.25, 1.0, 0.8, 1.0, 0.25, 1.0, 0.8]).double()[:, None]
        torch.testing.assert_close(state.trust, expected)
        after = layer(state, problem)
    torch.testing.assert_close(after.trust, (1.02 * expected).clamp_max(1))
    # Without trust the step is the classical one.
    with torch.no_grad():
        x = layer(state._replace(trust=torch.zeros_like(expected)), problem).x
        classical = problem.R.prox(
            state.y - problem.step * problem.gradient(state.y), problem.step
        )
    torch.testing.assert_close(x, classical)


def test_features_are_relative_to_the_gradient_at_zero_wherever_it_starts():
    problem = lasso()
    zero = torch.zeros(7, 20, dtype=torch.float64)
    scale = problem.gradient(zero).abs().amax(1, keepdim=True)
    for start in (None, torch.full_like(zero, 10.0)):
        progress = network().layers[0].init(problem._replace(x0=start)).progress
        torch.testing.assert_close(progress.scale, scale)


def test_rows_that_go_wrong_leave_the_others_alone():
    problem, made = lasso(), network(spread=3.0, features="raw", momentum="wide", n_layers=30)
    net = Unrolled([Guarded(made.layers[0], "descent")] * 30)
    with torch.no_grad():
        x = net(problem)
        for row in range(7):
            alone = net(problem.take(slice(row, row + 1)))
            torch.testing.assert_close(alone[0], x[row])


def test_a_start_outside_the_domain_is_left():
    problem = lasso()._replace(R=Box(1.0, 2.0))
    net = Unrolled([Guarded(network().layers[0], "descent")] * 5)
    x = net(problem)
    assert bool(((x >= 1) & (x <= 2)).all())


@pytest.mark.parametrize(
    "given, message",
    [
        ({"variant": "PAB"}, "variant must be one of"),
        ({"momentum": "nesterov"}, "momentum of"),
        ({"largest_step": 1.0}, "largest_step must be greater than 1"),
    ],
)
def test_bad_choices(given, message):
    inner = network().layers[0].network
    with pytest.raises(ValueError, match=message):
        MathL2OLayer(inner, **given)


def test_a_network_of_other_outputs_is_refused():
    with pytest.raises(ValueError, match="needs a network of 3 outputs, got one of 2"):
        MathL2OLayer(network().layers[0].network, variant="PBA")
