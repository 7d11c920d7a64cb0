import pytest
import torch

from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.nn import Unrolled, lista


@pytest.fixture
def network(shared_problem):
    return lista(shared_problem[0].A, n_layers=4, tied=True, weights="free")


def test_iterates_and_forward_agree_at_every_depth(network, shared_problem):
    obs, _ = shared_problem
    iterates = network.iterates(obs)
    for depth in range(network.depth + 1):
        torch.testing.assert_close(network(obs, depth), iterates[depth])
        assert len(network.iterates(obs, depth)) == depth + 1


@pytest.mark.parametrize("depth", [-1, 5])
def test_depth_outside_the_network_is_an_error(network, shared_problem, depth):
    with pytest.raises(ValueError, match=r"\[0, 4\]"):
        network(shared_problem[0], depth)


def test_no_layers_is_an_error():
    with pytest.raises(ValueError, match="at least one layer"):
        Unrolled([])


@pytest.mark.parametrize("tied", [False, True])
def test_new_parameters_list_each_parameter_once(shared_problem, tied):
    network = lista(shared_problem[0].A, n_layers=4, tied=tied)
    by_depth = [network.new_parameters(depth) for depth in range(1, 5)]
    listed = [id(p) for parameters in by_depth for p in parameters]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(p) for p in network.parameters()}
    assert [len(parameters) for parameters in by_depth] == ([2, 1, 1, 1] if tied else [2] * 4)


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


def test_every_parameter_gets_a_gradient(shared_problem):
    obs, x = shared_problem
    network = lista(obs.A, n_layers=3, weights="coupled", alpha=0.01)
    (network(obs) - x).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert bool(parameter.grad.abs().sum() > 0), name


def test_a_zero_operator_gives_finite_weights_and_zero_codes():
    A = Dense(torch.zeros(3, 2))
    network = lista(A, n_layers=2)
    assert all(bool(torch.isfinite(p).all()) for p in network.parameters())
    with torch.no_grad():
        assert not network(Observation(torch.ones(2, 2), A)).any()
