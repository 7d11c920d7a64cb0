"""A network on sparse codes is the network: every part that says what it does, and no other."""

import numpy as np
import pytest
import torch

from sklearn_unroll.functional import (
    L1,
    Composite,
    Dense,
    LeastSquares,
    Observation,
    analytic_weight,
    mutual_coherence,
    pseudo_inverse,
    soft,
)
from sklearn_unroll.nn import (
    AdaptiveRule,
    CoupledWeights,
    LearnedRule,
    ProxGradLayer,
    Shrinkage,
    SupportSelection,
    Unrolled,
    _sparse_steps,
    alista,
    execution,
    fused,
    guarded,
    hyperlista,
    lista,
    sparse,
)
from sklearn_unroll.nn.execution import Execution
from sklearn_unroll.nn.fused import FusedRun
from tests.estimator_table import MAKERS, fitted
from tests.estimator_table import case as estimator_case
from tests.networks import NETWORKS, adaptive, of_codes

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
# Networks of proximal-gradient layers that say nothing: their codes are dense, what they look at
# is more than a number, or their first iterate is not zero.
SILENT = {
    "LISTA smooth",
    "step-LISTA, per sample",
    "Ada-LISTA, per sample",
    "ALISTA, convolution",
    "NA-ALISTA",
    "TISTA",
    "LAMP",
    "LAMP tied",
    "FBSNet, groups from learned",
    "block LISTA",
    "block LISTA, adjoint, selecting",
    "group ALISTA",
    "smooth LISTA",
    "feed-forward",
}
SPEAKING = {
    name for name, make in NETWORKS.items()
    if name not in SILENT and type(make().network.layers[0]) is ProxGradLayer
}  # fmt: skip


@pytest.fixture
def always(monkeypatch):
    """Sparse runs wherever they are possible, in plain Python."""
    monkeypatch.setattr(sparse, "pays", lambda *_: True)
    monkeypatch.setattr(_sparse_steps, "compiled", lambda loop, *_: loop)


def tolerance(dtype):
    return 1e-12 if dtype == torch.float64 else 1e-5


def both(network, obs, weight=None):
    """Return codes and costs of a sparse run, and all iterates of the network."""
    with torch.no_grad():
        sparse_run = sparse.sparse_run(network, obs, weight)
        assert sparse_run is not None
        codes = obs.b.new_full((len(obs.b), obs.A.n_components), 7.0)
        costs = [cost for _, cost in sparse_run.chunks(obs, codes)]
        return codes, costs, network.iterates(obs)


def assert_same(codes, wanted, dtype=torch.float64):
    scale = float(wanted.abs().max()) if len(wanted) else 1.0
    torch.testing.assert_close(codes, wanted, rtol=0, atol=tolerance(dtype) * (scale or 1.0))
    assert (codes != 0).equal(wanted != 0)


@DTYPES
@pytest.mark.parametrize("name", sorted(SPEAKING))
@pytest.mark.parametrize("weight", [None, 0.0, 0.3])
def test_codes_and_costs_of_every_network(name, weight, dtype, always):
    network, obs, _ = NETWORKS[name](dtype)
    codes, costs, iterates = both(network, obs, weight)
    assert_same(codes, iterates[-1], dtype)
    if weight is None:
        assert set(costs) == {None}
        return
    wanted = torch.stack(
        [0.5 * obs.residual(x).square().sum(1) + weight * x.abs().sum(1) for x in iterates]
    )
    found = torch.cat([seen.values for seen in costs], 1)
    room = tolerance(dtype) * wanted.amax(0)
    assert bool((found >= wanted - room).all())
    bounds = (found - wanted).abs() > room
    # Only where they are below those of zero, and nobody asks for more.
    assert bool((found < 0.981 * wanted[0])[bounds].all())
    assert not weight or not bool(bounds.any())


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - SPEAKING))
def test_other_networks_run_as_they_are(name, always):
    network, obs, _ = NETWORKS[name]()
    with torch.no_grad():
        assert sparse.sparse_run(network, obs) is None
        torch.testing.assert_close(
            Execution(network, obs).codes()[0], network(obs), rtol=0, atol=0
        )


@pytest.mark.parametrize("name", MAKERS)
def test_every_estimator(name, monkeypatch):
    case = estimator_case(name)
    model = fitted(name)
    wanted = case.run(model)
    asked = []
    monkeypatch.setattr(sparse, "pays", lambda *given: asked.append(given) or True)
    monkeypatch.setattr(_sparse_steps, "compiled", lambda loop, *_: loop)
    found = case.run(model)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-11 * max(np.abs(wanted).max(), 1))
    sparse_ones = {"LISTA", "LISTA-CPSS", "step-LISTA", "ALISTA", "HyperLISTA", "Ada-LISTA"}
    sparse_ones |= {"LISTA, free, tied", "LISTA, without pairs", "LISTA, normalize", "FBSNet"}
    sparse_ones |= {"dictionary learning, unrolled"}
    assert bool(asked) == (name in sparse_ones)


@DTYPES
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("n_samples", [0, 1, 2, 700])
def test_compiled_in_chunks_and_threads(n_samples, n_threads, dtype, monkeypatch):
    monkeypatch.setattr(sparse, "pays", lambda *_: True)
    monkeypatch.setattr(sparse, "_CHUNK", 20 * 100)
    pytest.importorskip("numba")
    network, obs, _ = of_codes(lambda A: lista(A, tied=True, n_layers=20))(dtype)
    generator = torch.Generator().manual_seed(1)
    b = torch.randn(n_samples, 10, generator=generator, dtype=torch.float64).to(dtype)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(n_threads)
        codes, costs, iterates = both(network, Observation(b, obs.A), 0.0)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(codes, iterates[-1], rtol=0, atol=10 * tolerance(dtype))
    assert sum(seen.values.shape[1] for seen in costs) == n_samples


def test_ties_pass_as_often_as_the_count_says(always):
    A = Dense(torch.eye(6, dtype=torch.float64))
    rule = LearnedRule(torch.tensor(0.5, dtype=torch.float64), count=2)
    network = Unrolled([ProxGradLayer(CoupledWeights(A.D), rule, SupportSelection())] * 2)
    b = torch.tensor([[1.0, -1.0, 1.0, 0.2, -1.0, 3.0]], dtype=torch.float64)
    codes, _, iterates = both(network, Observation(b, A))
    assert codes.abs().sort().values.equal(iterates[-1].abs().sort().values)
    assert float(codes[0, 5]) == 3.0 and int((codes.abs() == 1).sum()) == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_stays_none(bad, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(sparse, "pays", lambda *_: True)
    for make in (adaptive, lista, lambda A: lista(A, tied=True, counts=[1, 2], n_layers=2)):
        network, obs, _ = of_codes(make)()
        obs.b[2, 3] = bad
        codes, costs, _ = both(network, obs, 0.3)
        costs = torch.cat([seen.values for seen in costs], 1)
        fine = torch.tensor([0, 1, 3, 4, 5, 6])
        assert not bool(codes[2].isfinite().all()) and bool(codes[fine].isfinite().all())
        assert not bool((costs[:, 2] < torch.inf).any())


@pytest.mark.parametrize("region", ["objective", "residual"])
@pytest.mark.parametrize("factor", [1.0, 3.0, -3.0, 1e3])
@pytest.mark.parametrize("name", sorted(SPEAKING & {"LISTA", "LISTA-CP", "TiLISTA", "ALISTA"}))
def test_guards_refuse_the_same_steps(name, factor, region, monkeypatch):
    pytest.importorskip("numba")
    network, obs, _ = NETWORKS[name]()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(factor)
        network.project_()
    problem = Composite.of(obs.b, obs.A, LeastSquares(), L1(0.3))
    with torch.no_grad():
        wanted, refused = Execution(network, problem, region).codes()
        monkeypatch.setattr(sparse, "pays", lambda *_: True)
        found, now_refused = Execution(network, problem, region).codes()
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
    assert now_refused.equal(refused)


def exploding(make, factor=-3.0):
    """Return a network and a problem: iterates that cost more than zero, or more than before."""
    network, obs, _ = of_codes(make)()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(factor)
        network.project_()
    return network, Composite.of(obs.b, obs.A, LeastSquares(), L1(0.3))


@pytest.mark.parametrize("pays", [True, False], ids=["sparse", "fused"])
@pytest.mark.parametrize("tied", [True, False])
def test_no_sample_runs_twice(tied, pays, monkeypatch):
    network, problem = exploding(lambda A: lista(A, tied=tied, learn_step=tied, n_layers=6))
    with torch.no_grad():
        wanted = guarded(network).states(problem)
        *_, last = wanted
        codes = guarded(network)(problem)
    assert int(last.n_fallbacks.sum()) > 0 and bool((codes != 0).any())
    monkeypatch.setattr(sparse, "pays", lambda *_: pays)
    monkeypatch.setattr(sparse, "_LEAST_WORK", 0)
    monkeypatch.setattr(_sparse_steps, "compiled", lambda loop, *_: loop)
    monkeypatch.setattr(fused, "compiled", lambda loop, *_: loop)
    monkeypatch.delattr(execution, "guarded")  # what runs samples again
    with torch.no_grad():
        found, refused = Execution(network, problem, "objective").codes()
        *_, stage = Execution(network, problem, "objective").stages()
    torch.testing.assert_close(found, codes, rtol=0, atol=1e-12)
    assert refused.equal(last.n_fallbacks) and stage.equal(found)


def test_layers_in_torch_keep_the_best_iterate_too(monkeypatch):
    """Where it often is not the last: only samples of the first chunk run again."""
    network, obs, _ = of_codes(lambda A: lista(A, n_layers=6, alpha=0.1))()  # ISTA
    problem = Composite.of(obs.b, obs.A, LeastSquares(), L1(0.1))
    with torch.no_grad():
        for layer in network.layers[3:]:
            layer.rule.theta.mul_(100.0)  # codes are zero again
        wanted = guarded(network)(problem)
        values = [problem.value(x) for x in network.iterates(problem)]
        assert bool((values[3] < values[-1]).all()) and values[-1].equal(values[0])
        again, run = [], execution.guarded
        monkeypatch.setattr(
            execution, "guarded", lambda *given, **how: again.append(1) or run(*given, **how)
        )
        found = Execution(network, problem, "objective")
        assert found.sparse is None
        for _ in range(3):
            torch.testing.assert_close(found.codes()[0], wanted, rtol=0, atol=1e-12)
            assert len(again) == 1


class Foreign(Shrinkage):
    def __call__(self, z, how):
        return soft(z, 2 * how.theta)


class Odd(SupportSelection):
    def __call__(self, z, how):
        return super().__call__(z, how) + 1


class OddWeights(CoupledWeights):
    def forward(self, x, obs, gamma=None):
        return super().forward(x, obs, gamma) + 1


class OddRule(LearnedRule):
    def forward(self, x, memory, obs, weights):
        z, how, memory = super().forward(x, memory, obs, weights)
        return z + 1, how, memory


def with_shrinkage(shrinkage):
    def make(A):
        network = lista(A, n_layers=3)
        network.layers[1].shrinkage = shrinkage
        return network

    return make


def with_hook(A):
    network = lista(A, n_layers=3)
    network.layers[1].weights.register_forward_hook(lambda module, given, z: z + 1)
    return network


def with_patch(A):
    network = lista(A, n_layers=3)
    rule = network.layers[1].rule
    rule.forward = lambda x, memory, obs, weights: (x + 1, *LearnedRule.forward(
        rule, x, memory, obs, weights)[1:])  # fmt: skip
    return network


@pytest.mark.parametrize(
    "make",
    [
        with_shrinkage(Foreign()),
        with_shrinkage(Odd()),
        with_shrinkage(lambda z, how: soft(z, how.theta) + 1),
        lambda A: Unrolled([ProxGradLayer(OddWeights(A.D), OddRule(A.D[0, 0].abs()))] * 2),
        lambda A: Unrolled([ProxGradLayer(CoupledWeights(A.D), OddRule(A.D[0, 0].abs()))] * 2),
        lambda A: Unrolled([ProxGradLayer(OddWeights(A.D), LearnedRule(A.D[0, 0].abs()))] * 2),
        with_hook,
        with_patch,
    ],
)
def test_parts_of_a_users_own_run_as_they_are(make, always):
    network, obs, _ = of_codes(make)()
    with torch.no_grad():
        assert sparse.sparse_run(network, obs) is None
        torch.testing.assert_close(
            Execution(network, obs).codes()[0], network(obs), rtol=0, atol=0
        )


def test_where_sparse_runs_are_not_possible(always, monkeypatch):
    network, obs, _ = of_codes(adaptive)()
    assert sparse.sparse_run(network, obs) is None  # gradients
    with torch.no_grad():
        assert sparse.sparse_run(network, obs) is not None
        half = Observation(obs.b.float(), Dense(obs.A.D.float()))
        assert sparse.sparse_run(network, half) is None  # weights of another dtype
        monkeypatch.setattr(sparse, "compiled_available", lambda: False)
        assert sparse.sparse_run(network, obs) is None


@pytest.mark.parametrize("make", [adaptive, lambda A: lista(A, tied=True, n_layers=3)])
def test_nothing_is_stale(make, always):
    network, obs, _ = of_codes(make)()
    codes, _, iterates = both(network, obs)
    assert_same(codes, iterates[-1])
    with torch.no_grad():
        weights = network.layers[0].weights
        weights.W.data.mul_(1.1)  # behind torch's back
        codes, _, iterates = both(network, obs)
        assert_same(codes, iterates[-1])
        other = {name: 0.9 * value for name, value in network.state_dict().items()}
        network.load_state_dict(other)
        codes, _, iterates = both(network, obs)
        assert_same(codes, iterates[-1])
        obs.A.D.mul_(0.9)
        codes, _, iterates = both(network, obs)
        assert_same(codes, iterates[-1])


def test_tables_are_made_once(always, monkeypatch):
    from sklearn_unroll.nn import _sparse_tables as tables

    network, obs, _ = of_codes(adaptive)()
    made, make = [], tables._make
    monkeypatch.setattr(tables, "_make", lambda *given: made.append(given) or make(*given))
    both(network, obs), both(network, obs)
    assert len(made) == 1


def big(n_samples=3000, m=64, n=256, sparsity=0.03):
    generator = torch.Generator().manual_seed(0)
    D = torch.randn(n, m, generator=generator)
    D /= D.norm(dim=1, keepdim=True)
    x = torch.randn(n_samples, n, generator=generator)
    x *= torch.rand(x.shape, generator=generator) < sparsity
    return Observation(x @ D, Dense(D))


def test_it_is_used_where_it_pays():
    obs = big()
    A, D = obs.A, obs.A.D
    with torch.no_grad():
        tied = lista(A, tied=True, alpha=0.9)
        assert isinstance(sparse.sparse_run(tied, obs), sparse.SparseRun)
        assert sparse.sparse_run(tied, obs.take(slice(20))) is None  # too few samples
        dense = sparse.sparse_run(lista(A, tied=True, alpha=1e-4), obs)
        assert isinstance(dense, FusedRun)
        # Half of the products remain.
        assert isinstance(sparse.sparse_run(lista(A, alpha=0.5), obs), sparse.SparseRun)
        assert isinstance(sparse.sparse_run(lista(A, alpha=0.02), obs), FusedRun)
        assert sparse.sparse_run(alista(A, D, theta=0.9), obs) is not None


def test_float32_reaches_what_residuals_reach():
    """From inner products of b alone noiseless codes end 13 dB higher."""
    pytest.importorskip("numba")
    obs = big(200, 128, 256, 0.03)
    D = obs.A.D.double()
    W, pinv, wide = analytic_weight(D), pseudo_inverse(D), Dense(D)
    mu = float(mutual_coherence(W, D))
    three = mu, 0.75 / mu / 10, 0.2 / mu / 10, float("inf")
    network = hyperlista(W.float(), AdaptiveRule(pinv.float(), *three), n_layers=40)
    exact = hyperlista(W, AdaptiveRule(pinv, *three), n_layers=40)
    with torch.no_grad():
        stages = sparse.stages_of(network, obs.A)
        codes = torch.empty(200, 256)
        for _ in sparse.SparseRun(stages, obs.A).chunks(obs, codes):
            pass
        truth = exact(Observation(obs.b.double(), wide))
        errors = [
            ((x.double() - truth).square().sum(1) / truth.square().sum(1)).nanmedian()
            for x in (codes, network(obs))
        ]
    assert errors[0] < 2 * errors[1] < 1e-13


def test_where_codes_jump_rounding_decides(always):
    """Selected entries pass whole: where one meets its threshold, both sides are right."""
    network, obs, _ = of_codes(adaptive)()
    exact = obs.A
    half = of_codes(adaptive)(torch.float32)[0]
    start, end = obs.b[0], obs.b[1]

    def codes(net, A, *shares):
        b = torch.stack([start + share * (end - start) for share in shares])
        return net(Observation(b.to(A.D.dtype), A)).double()

    with torch.no_grad():
        low, high = 0.0, 1.0
        while high - low > 1e-13:  # into the half over which they change more
            middle = (low + high) / 2
            change = codes(network, exact, low, middle, high).diff(dim=0).norm(dim=1)
            low, high = (low, middle) if change[0] > change[1] else (middle, high)
        sides = codes(network, exact, low - 1e-6, high + 1e-6)
        jump = float((sides[1] - sides[0]).abs().max())
        assert jump > 1e-3  # ten thousand times what the data have changed by
        near = low + (high - low) * torch.linspace(-3e5, 3e5, 9).double()
        b = torch.stack([start + share * (end - start) for share in near.tolist()]).float()
        data = Observation(b, Dense(exact.D.float()))
        found, _, iterates = both(half, data)
        for x in (*found.double(), *iterates[-1].double()):
            assert float((sides - x).abs().amax(1).min()) < 1e-5


@DTYPES
@pytest.mark.parametrize("region", [None, "objective", "residual"])
@pytest.mark.parametrize("factor", [1.0, 3.0])
@pytest.mark.parametrize("name", ["HyperLISTA", "LISTA", "LISTA-CP", "TiLISTA", "Ada-LISTA"])
def test_stages_are_those_of_the_network(name, factor, region, dtype, always, monkeypatch):
    monkeypatch.setattr("sklearn_unroll.functional.rows._BLOCK", 16 * 300)
    monkeypatch.setattr(sparse, "_CHUNK", 2)
    monkeypatch.setattr(sparse, "_FEWEST", 3)
    network, obs, _ = NETWORKS[name](dtype)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(factor)
        network.project_()
        data = Composite.of(obs.b, obs.A, LeastSquares(), L1(0.3)) if region else obs
        found = Execution(network, data, region)
        assert found.sparse is not None
        stages = list(found.stages())
        wanted = guarded(network, region) if region else network
        assert_stages(stages, wanted.iterates(data)[1:], dtype)
        assert stages[-1].equal(found.codes()[0])


def assert_stages(stages, wanted, dtype):
    assert len(stages) == len(wanted)
    for x, iterate in zip(stages, wanted, strict=True):
        scale = max(float(iterate.abs().max()), 1.0)
        torch.testing.assert_close(x, iterate, rtol=0, atol=10 * tolerance(dtype) * scale)


@pytest.mark.parametrize("values", [[3, 1, 2, 2, 5, 2], [1, 1, 1], [4], [1e-45, 1e-44, 1], []])
def test_level_parts_the_largest(values):
    from sklearn_unroll.nn._sparse_lists import level_of

    x = _sparse_steps.Desk(1, 6, np.dtype("f4")).x
    x.values[0, 0, : len(values)] = -np.asarray(values, "f4")
    x.sizes[0, 0] = len(values)
    for count in range(len(values)):
        level, ties = level_of(count, x, 0, 0)
        magnitudes = np.asarray(values, "f4")
        above, equal = (magnitudes > level).sum(), (magnitudes == level).sum()
        assert above + ties == count and 0 <= ties <= equal


@pytest.mark.parametrize("noise, n_products", [(0.1, 1), (0.0, 2)])
def test_residuals_are_taken_anew_only_where_it_matters(noise, n_products, always, monkeypatch):
    products, product = [], _sparse_steps.Desk.product

    def counted(desk, name, *given):
        products.append(name)
        return product(desk, name, *given)

    monkeypatch.setattr(_sparse_steps.Desk, "product", counted)
    # Of orthogonal atoms the first step finds the codes: nothing is left but noise.
    A = Dense(torch.eye(6, 8))
    b = torch.tensor([[1.0, 2, 0, 0, 0, 0, 0, noise]])
    with torch.no_grad():
        both(alista(A, A.D, n_layers=10, theta=0.0), Observation(b, A))
    assert products.count("q") == n_products
