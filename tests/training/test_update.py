"""Passes over a stream: what is taken up of the last one, and what breaks."""

import copy
import pickle

import pytest
import torch
from sklearn.base import clone

from sklearn_unroll.nn import lista
from sklearn_unroll.training import SGD, Adam, DivergenceError, EndToEnd, Trainer
from tests.conftest import make_problem


@pytest.fixture
def data():
    return make_problem(n_samples=16)


@pytest.fixture
def network(data):
    return lista(data[0].A, n_layers=2)


def update(trainer, network, data, state=None):
    generator = torch.Generator().manual_seed(0)
    return trainer.update(network, *data, alpha=0.1, generator=generator, optimizer_state=state)


def moved(trainer, network, data, state=None):
    """Return by how much an update moves the parameters of a copy."""
    after = copy.deepcopy(network)
    update(trainer, after, data, state)
    pairs = zip(after.parameters(), network.parameters(), strict=True)
    return torch.cat([(p - q).detach().flatten() for p, q in pairs])


def test_moments_go_on_and_are_left_as_they_were(network, data):
    trainer = Trainer()
    state = update(trainer, network, data)
    kept = copy.deepcopy(state["state"])
    assert not torch.equal(moved(trainer, network, data, state), moved(trainer, network, data))
    for number, moments in kept.items():
        for name, value in moments.items():
            assert torch.equal(state["state"][number][name], value)


def test_settings_are_todays(network, data):
    state = update(Trainer(), network, data)
    for changes in ({"learning_rate": 1e-2}, {"optimizer": Adam(betas=(0.5, 0.6))}):
        now = Trainer(**changes)
        assert not torch.allclose(
            moved(now, network, data, state), moved(Trainer(), network, data, state)
        )
        again = update(now, copy.deepcopy(network), data, state)
        assert again["param_groups"][0]["lr"] == now.learning_rate


@pytest.mark.parametrize(
    "before, after",
    [
        ({}, {"optimizer": "sgd"}),
        ({"optimizer": SGD(0.9)}, {}),
        ({}, {"schedule": EndToEnd(matrix_rate=0.1)}),
    ],
)
def test_moments_of_another_optimiser_or_of_other_groups_are_left(network, data, before, after):
    state = update(Trainer(**before), network, data)
    trainer = Trainer(**after)
    torch.testing.assert_close(
        moved(trainer, network, data, state), moved(trainer, network, data), rtol=0, atol=0
    )


def test_moments_follow_a_network_that_was_moved(network, data):
    """To another dtype here, as to another device."""
    trainer = Trainer(decay="constant")
    state = update(trainer, network, data)
    expected = moved(trainer, network, data, state)
    obs, y = data
    single = type(obs)(obs.b.float(), obs.A.to(obs.b.float())), y.float()
    network.float()
    state = update(trainer, after := copy.deepcopy(network), single, state)
    assert all(moments["exp_avg"].dtype == torch.float32 for moments in state["state"].values())
    pairs = zip(after.parameters(), network.parameters(), strict=True)
    found = torch.cat([(p - q).detach().flatten() for p, q in pairs])
    torch.testing.assert_close(found, expected.float(), rtol=1e-3, atol=1e-6)


def test_a_later_parameter_that_breaks_is_divergence(network, data):
    """The largest of 1 and NaN is 1 to Python's max."""

    class Breaks:
        def value(self, network):
            return (0 * list(network.parameters())[-1]).square().sum().sqrt()

    trainer = Trainer(penalty=Breaks(), max_grad_norm=None)
    with pytest.raises(DivergenceError, match="epoch 1"):
        update(trainer, network, data)
    parameters = list(network.parameters())
    assert parameters[0].isfinite().all() and parameters[-1].isnan().all()


@pytest.mark.parametrize("name, new", [("momentum", "SGD"), ("betas", "Adam")])
def test_names_that_are_gone_say_the_new_one(name, new):
    with pytest.raises(TypeError, match=rf"Trainer has no .*{name}.*optimizer={new}\({name}="):
        Trainer("lasso", **{name: 0.9})


def test_an_optimiser_is_a_parameter_object():
    trainer = Trainer(optimizer=SGD(momentum=0.9))
    changed = clone(trainer).set_params(optimizer__momentum=0.5)
    assert (trainer.optimizer.momentum, changed.optimizer.momentum) == (0.9, 0.5)
    assert repr(pickle.loads(pickle.dumps(trainer))) == repr(trainer)
    assert "momentum" not in trainer.get_params(deep=False)
