"""What every network does, whatever it is made of: over the whole table."""

import importlib
import inspect
import pickle
import pkgutil
from copy import deepcopy

import pytest
import torch

import sklearn_unroll.nn
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.nn import (
    DenseADMMLayer,
    Part,
    Shrinkage,
    Unrolled,
    UnrolledLayer,
    ada_lista,
    dense_admm,
    fbs,
    lamp,
    lista,
)
from sklearn_unroll.testing import check_layer
from tests.conftest import make_problem
from tests.networks import NETWORKS

# Parameters without a gradient: a weight on x_0 = 0 or on no last residual, a step from where
# the data are met, a rate whose multiplier no layer uses any more.
IDLE = {
    "LISTA": {"layers.0.weights.W2"},
    "LISTA analytic": {"layers.0.weights.W2"},
    "LAMP": {"layers.0.rule.beta"},
    "LAMP tied": {"layers.0.rule.beta"},
    "smooth LISTA": {"layers.0.weights.W2"},
    "smooth ADMM": {"layers.0.weights.W2"},
    "dense ADMM": {"layers.0.weights.W2", "layers.3.gamma"},
    "GLOW-Prox": {"layers.0.step"},
}
# Networks whose answer to b = 0 need not be zero.
SELF_MOVING = {"Math-L2O as published", "L2O-DM", "GLOW-Prox", "GLOW-Prox, flat"}


@pytest.fixture(params=NETWORKS)
def name(request):
    return request.param


@pytest.fixture
def case(name):
    return NETWORKS[name]()


def own(cls):
    """Return the concrete classes of the package that derive from one."""
    found = set()
    for derived in cls.__subclasses__():
        found |= own(derived)
        if derived.__module__.startswith("sklearn_unroll.") and not inspect.isabstract(derived):
            found.add(derived)
    return found


def test_the_table_holds_every_layer_and_part():
    for module in pkgutil.iter_modules(sklearn_unroll.nn.__path__):
        importlib.import_module(f"sklearn_unroll.nn.{module.name}")
    used = set()
    for factory in NETWORKS.values():
        for layer in factory().network.layers:
            used |= {type(module) for module in layer.modules()}
            used.add(type(getattr(layer, "shrinkage", None)))
    bases = {sklearn_unroll.nn.Weights, sklearn_unroll.nn.Rule, Shrinkage}
    private = {kind for kind in own(UnrolledLayer) if kind.__name__.startswith("_")}
    assert (own(UnrolledLayer) - private) | (own(Part) - bases) <= used
    assert DenseADMMLayer in own(UnrolledLayer)


def test_every_layer_keeps_the_contract(case):
    for layer in {id(layer): layer for layer in case.network.layers}.values():
        check_layer(layer, case.obs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_iterates_and_forward_agree_at_every_depth(name, dtype):
    network, obs, y = NETWORKS[name](dtype)
    b = obs.b.clone()
    iterates = network.iterates(obs)
    assert all(x.shape == y.shape and x.dtype == dtype for x in iterates)
    assert len(iterates) == network.depth + 1
    assert iterates[-1].any()
    for depth in range(network.depth + 1):
        torch.testing.assert_close(network(obs, depth), iterates[depth])
        assert len(network.iterates(obs, depth)) == depth + 1
    # Without gradients layers may overwrite their state, but nothing else.
    exact = {"atol": 1e-12, "rtol": 0} if dtype == torch.float64 else {"atol": 1e-4, "rtol": 1e-3}
    with torch.no_grad():
        for x, overwritten in zip(iterates, network.iterates(obs), strict=True):
            torch.testing.assert_close(overwritten, x.detach(), **exact)
    assert torch.equal(obs.b, b)


def test_depth_outside_the_network_is_an_error(case):
    for depth in (-1, case.network.depth + 1):
        with pytest.raises(ValueError, match=rf"\[0, {case.network.depth}\]"):
            case.network(case.obs, depth)


def test_no_layers_is_an_error():
    with pytest.raises(ValueError, match="at least one layer"):
        Unrolled([])


def test_samples_do_not_see_each_other(case):
    rows = torch.tensor([4, 0, 5])
    with torch.no_grad():
        x = case.network(case.obs)
        torch.testing.assert_close(case.network(case.obs.take(rows)), x[rows])
        # Nor does one forward pass see the last one.
        torch.testing.assert_close(case.network(case.obs), x, atol=0, rtol=0)


def test_segments_are_the_iterates_cut_from_the_graph(case):
    iterates = case.network.iterates(case.obs)
    segments = list(case.network.segments(case.obs, 2))
    assert [len(segment) for segment in segments] == [3] * (case.network.depth // 2) + (
        [2] if case.network.depth % 2 else []
    )
    for first, segment in zip((0, 2), segments, strict=True):
        assert first == 0 or not segment[0].requires_grad
        for x, expected in zip(segment, iterates[first:], strict=False):
            torch.testing.assert_close(x, expected)


def test_what_is_done_to_an_iterate_reaches_the_next_layers(case, name):
    network, obs, y = case
    plain = network.iterates(obs)
    noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    noise = (0.1 * noise).requires_grad_()
    for moved in range(network.depth):
        asked = []

        def perturb(number, x, obs, moved=moved, asked=asked):
            asked.append(number)
            return x + noise if number == moved else x.clone()

        iterates = network.iterates(obs, perturb=perturb)
        assert asked == list(range(network.depth))
        assert torch.equal(iterates[moved], plain[moved] + noise)
        if (name, moved) != ("feed-forward", 0):  # which looks at the data only
            assert (iterates[moved + 1] - plain[moved + 1]).abs().max() > 1e-4
            (gradient,) = torch.autograd.grad(iterates[moved + 1].square().sum(), noise)
            assert gradient.any()


def test_a_zero_observation_has_finite_codes_and_gradients(case, name):
    network, obs, y = case
    b = obs.b.clone()
    b[2] = 0
    found = network(obs._replace(b=b))
    assert bool(torch.isfinite(found).all())
    if name not in SELF_MOVING:
        assert float(found[2].detach().abs().max()) < 1e-12
    if list(network.parameters()):  # HyperLISTA has none
        (found - y).square().sum().backward()
    for parameter_name, p in network.named_parameters():
        assert p.grad is None or bool(torch.isfinite(p.grad).all()), parameter_name


def test_every_parameter_gets_a_gradient(case, name):
    network, obs, y = case
    if list(network.parameters()):
        (network(obs) - y).square().sum().backward()
    idle = {n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    assert idle == IDLE.get(name, set())


def test_new_parameters_are_all_parameters_each_once(case):
    depths = range(1, case.network.depth + 1)
    listed = [id(p) for depth in depths for p in case.network.new_parameters(depth)]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(p) for p in case.network.parameters()}


def test_projection_leaves_admissible_parameters_alone(case):
    before = {name: p.detach().clone() for name, p in case.network.named_parameters()}
    case.network.project_()
    for name, parameter in case.network.named_parameters():
        assert torch.equal(parameter.detach(), before[name]), name


def test_a_layer_goes_on_where_the_one_before_it_is(case):
    network, obs, _ = case
    shared = {id(p) for p in network.layers[-1].parameters()}
    with torch.no_grad():
        for depth in range(1, network.depth):
            network.continue_(depth)
        for p in network.layers[-2].parameters():
            if id(p) not in shared:
                p.mul_(1.1)
        network.continue_(network.depth)
        assert bool(torch.isfinite(network(obs)).all())
    before = dict(network.layers[-2].named_parameters())
    for name, p in network.layers[-1].named_parameters():
        # Errors, so thresholds, may shrink from layer to layer.
        assert torch.equal(p, before[name]) or name.endswith(("rule.theta", "rule.log_theta")), (
            name
        )


def test_copies_and_stored_networks_do_the_same_and_stand_alone(case):
    network, obs, _ = case
    with torch.no_grad():
        x = network(obs)
        copies = deepcopy(network), pickle.loads(pickle.dumps(network))
        for p in network.parameters():
            p.add_(1.0)
        for copy in copies:
            assert torch.equal(copy(obs), x)


@pytest.mark.parametrize("make", [lista, fbs, dense_admm, lamp])
def test_weights_of_one_operator_refuse_one_for_each_sample(make):
    with pytest.raises(ValueError, match="one operator for all samples"):
        make(make_problem(per_sample=True)[0].A)


@pytest.mark.parametrize("make", [lista, dense_admm, lamp, ada_lista])
def test_a_zero_operator_gives_finite_weights_and_zero_codes(make):
    A = Dense(torch.zeros(3, 2))
    network = make(A)
    assert all(bool(torch.isfinite(p).all()) for p in network.parameters())
    with torch.no_grad():
        assert not network(Observation(torch.ones(2, 2), A)).any()


@pytest.mark.parametrize("tied", [False, True])
def test_tied_layers_share_one_module_and_keep_their_thresholds(shared_problem, tied):
    network = lista(shared_problem[0].A, n_layers=4, tied=tied)
    assert len({id(layer.weights) for layer in network.layers}) == (1 if tied else 4)
    assert len({id(layer.rule.theta) for layer in network.layers}) == 4
    by_depth = [network.new_parameters(depth) for depth in range(1, 5)]
    assert [len(parameters) for parameters in by_depth] == ([2, 1, 1, 1] if tied else [2] * 4)


@pytest.mark.parametrize("name", ["LISTA", "LAMP", "FBSNet", "step-LISTA"])
def test_projection_moves_negative_scalars_to_zero_only(name):
    network, obs, _ = NETWORKS[name]()
    scalars = {
        "LISTA": ("theta",), "LAMP": ("lam",), "FBSNet": ("tau", "lam"), "step-LISTA": ("gamma",),
    }[name]  # fmt: skip
    rule = network.layers[1].rule
    with torch.no_grad():
        for scalar in scalars:
            rule.get_parameter(scalar).fill_(-0.3)
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    network.project_()
    for n, p in network.named_parameters():
        moved = n in [f"layers.1.rule.{scalar}" for scalar in scalars]
        assert torch.equal(p.detach(), torch.zeros_like(p) if moved else before[n]), n
    if name == "step-LISTA":  # a layer of no length does nothing
        with torch.no_grad():
            _, one, two, *_ = network.iterates(obs)
        assert torch.equal(one, two)
