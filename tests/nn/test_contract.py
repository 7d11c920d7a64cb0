"""What every network does, whatever it is made of."""

import pickle

import pytest
import torch

from sklearn_unroll.functional import Dense, Observation, analytic_weight, pseudo_inverse
from sklearn_unroll.nn import (
    AdaptiveRule,
    Unrolled,
    ada_lista,
    alista,
    fbs,
    hyperlista,
    lista,
    na_alista,
    tista,
)

RECIPES = {
    "LISTA": lambda A: lista(A, n_layers=4, weights="free", alpha=0.01),
    "LISTA tied": lambda A: lista(A, n_layers=4, weights="free", tied=True, alpha=0.01),
    "LISTA-CP": lambda A: lista(A, n_layers=4, alpha=0.01),
    "TiLISTA": lambda A: lista(
        A, n_layers=4, tied=True, learn_step=True, counts=[1, 2, 3, 4], alpha=0.01
    ),
    "step-LISTA": lambda A: lista(A, n_layers=4, weights="adjoint", alpha=0.01),
    "Ada-LISTA": lambda A: ada_lista(A, n_layers=4, alpha=0.01),
    "ALISTA": lambda A: alista(A, analytic_weight(A.D), n_layers=4, counts=[1, 2, 3, 4]),
    "NA-ALISTA": lambda A: na_alista(
        analytic_weight(A.D), n_layers=4, hidden_size=5, generator=torch.Generator().manual_seed(0)
    ),
    "HyperLISTA": lambda A: hyperlista(
        analytic_weight(A.D),
        AdaptiveRule(pseudo_inverse(A.D), 0.4, 0.05, 0.02, 4.0),
        n_layers=4,
    ),
    "FBSNet": lambda A: fbs(A, n_layers=4, alpha=0.01),
    "TISTA": lambda A: tista(A, sparsity=0.2, variance=1.0, noise_variance=1e-3, n_layers=4),
}


@pytest.fixture
def network(shared_problem):
    return lista(shared_problem[0].A, n_layers=4, tied=True, weights="free")


@pytest.fixture(params=RECIPES)
def any_network(request, shared_problem):
    return RECIPES[request.param](shared_problem[0].A)


def test_iterates_and_forward_agree_at_every_depth(any_network, shared_problem):
    obs, _ = shared_problem
    b = obs.b.clone()
    iterates = any_network.iterates(obs)
    assert len(iterates) == any_network.depth + 1
    assert not iterates[0].any()
    assert iterates[-1].any()
    for depth in range(any_network.depth + 1):
        torch.testing.assert_close(any_network(obs, depth), iterates[depth])
        assert len(any_network.iterates(obs, depth)) == depth + 1
    # Without gradients layers may overwrite their state, but nothing else.
    with torch.no_grad():
        for x, overwritten in zip(iterates, any_network.iterates(obs), strict=True):
            torch.testing.assert_close(overwritten, x.detach(), atol=1e-12, rtol=0)
    assert torch.equal(obs.b, b)


@pytest.mark.parametrize("depth", [-1, 5])
def test_depth_outside_the_network_is_an_error(network, shared_problem, depth):
    with pytest.raises(ValueError, match=r"\[0, 4\]"):
        network(shared_problem[0], depth)


def test_no_layers_is_an_error():
    with pytest.raises(ValueError, match="at least one layer"):
        Unrolled([])


def test_samples_do_not_see_each_other(any_network, shared_problem):
    obs, _ = shared_problem
    rows = torch.tensor([4, 0, 5])
    with torch.no_grad():
        x = any_network(obs)
        torch.testing.assert_close(any_network(obs.take(rows)), x[rows])
        # Nor does one forward pass see the last one.
        torch.testing.assert_close(any_network(obs), x, atol=0, rtol=0)


def test_a_zero_observation_has_a_zero_code_and_finite_gradients(any_network, shared_problem):
    obs, x = shared_problem
    b = obs.b.clone()
    b[2] = 0
    found = any_network(Observation(b, obs.A))
    assert not found[2].any()
    assert bool(torch.isfinite(found).all())
    if any_network.new_parameters(1):  # HyperLISTA has none
        (found - x).square().sum().backward()
    for name, parameter in any_network.named_parameters():
        assert bool(torch.isfinite(parameter.grad).all()), name


def test_every_parameter_gets_a_gradient(any_network, shared_problem):
    obs, x = shared_problem
    if any_network.new_parameters(1):
        (any_network(obs) - x).square().sum().backward()
    idle = {name for name, p in any_network.named_parameters() if not p.grad.any()}
    assert idle <= {"layers.0.weights.W2"}  # which sees nothing but x_0 = 0, where it is not tied


@pytest.mark.parametrize("tied", [False, True])
def test_new_parameters_list_each_parameter_once(shared_problem, tied):
    network = lista(shared_problem[0].A, n_layers=4, tied=tied)
    by_depth = [network.new_parameters(depth) for depth in range(1, 5)]
    assert [len(parameters) for parameters in by_depth] == ([2, 1, 1, 1] if tied else [2] * 4)


def test_new_parameters_are_all_parameters(any_network):
    listed = [id(p) for depth in range(1, 5) for p in any_network.new_parameters(depth)]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(p) for p in any_network.parameters()}


def test_tied_layers_share_one_module_and_keep_their_thresholds(network):
    first, *others = network.layers
    assert all(layer.weights is first.weights for layer in others)
    assert len({id(layer.rule.theta) for layer in network.layers}) == 4


def test_projection_moves_negative_thresholds_to_zero_only(network):
    with torch.no_grad():
        network.layers[1].rule.theta.fill_(-0.3)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    network.project_()
    moved = before.pop("layers.1.rule.theta")
    assert float(moved) == pytest.approx(-0.3)
    assert float(network.layers[1].rule.theta.detach()) == 0
    after = dict(network.named_parameters())
    for name, old in before.items():
        torch.testing.assert_close(after[name].detach(), old, msg=name)


def test_projection_moves_a_negative_step_and_with_it_the_threshold_to_zero(shared_problem):
    obs, _ = shared_problem
    network = lista(obs.A, n_layers=3, weights="adjoint")
    with torch.no_grad():
        network.layers[1].rule.gamma.fill_(-0.3)
    network.project_()
    first, middle, last = (float(layer.rule.gamma.detach()) for layer in network.layers)
    assert middle == 0
    assert first == last == pytest.approx(1 / float(obs.A.lipschitz()))
    with torch.no_grad():
        _, one, two, _ = network.iterates(obs)
    assert torch.equal(one, two)  # a layer of no length does nothing


def test_projection_leaves_admissible_parameters_alone(any_network):
    before = {name: p.detach().clone() for name, p in any_network.named_parameters()}
    any_network.project_()
    for name, parameter in any_network.named_parameters():
        assert torch.equal(parameter.detach(), before[name]), name


def test_a_network_can_be_stored(any_network, shared_problem):
    with torch.no_grad():
        x = any_network(shared_problem[0])
        assert torch.equal(pickle.loads(pickle.dumps(any_network))(shared_problem[0]), x)


@pytest.mark.parametrize("recipe", ["LISTA", "LISTA-CP", "step-LISTA", "Ada-LISTA"])
def test_a_zero_operator_gives_finite_weights_and_zero_codes(recipe):
    A = Dense(torch.zeros(3, 2))
    network = RECIPES[recipe](A)
    assert all(bool(torch.isfinite(p).all()) for p in network.parameters())
    with torch.no_grad():
        assert not network(Observation(torch.ones(2, 2), A)).any()
