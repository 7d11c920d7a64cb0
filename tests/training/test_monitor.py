"""What the loop watches: progress, decay, the clock, and nothing at all with max_epochs=0."""

import copy
import time

import numpy as np
import pytest
import torch

from sklearn_unroll.nn import lista
from sklearn_unroll.training import SGD, Lasso, Objective, Trainer
from tests.conftest import make_problem


def run(trainer, network, obs, y=None):
    return trainer.run(network, obs, y, alpha=0.1, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def data():
    return make_problem(n_samples=40)


def scripted(values):
    """Return an objective whose monitored loss is given, epoch by epoch; nothing moves."""

    class Scripted(Objective):
        requires_y = False

        def value(self, iterates, obs, y):
            if not torch.is_grad_enabled():
                seen.append(values[min(len(seen), len(values) - 1)])
            return 0 * iterates[-1].sum(-1) + seen[-1]

    seen = []
    return Scripted()


@pytest.mark.parametrize("decay", ["cosine", "constant", "plateau"])
@pytest.mark.parametrize("schedule", ["end_to_end", "stage_wise"])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_without_epochs_the_network_is_the_untrained_one(data, schedule, decay, early_stopping):
    obs, x = data
    network = lista(obs.A, n_layers=3)
    with torch.no_grad():  # so that a second layer that takes over from the first would tell
        network.layers[0].rule.theta.mul_(3)
    before = copy.deepcopy(network)
    trainer = Trainer(max_epochs=0, schedule=schedule, decay=decay, early_stopping=early_stopping)
    history = run(trainer, network, obs, x)
    assert history.n_epochs == 0 and len(history) == len(trainer.stages(network))
    assert history.held_out is early_stopping
    for one, other in zip(network.parameters(), before.parameters(), strict=True):
        assert torch.equal(one, other) and one.requires_grad
    if not early_stopping:
        error = (before(obs).detach() - x).square().sum() / x.square().sum()
        assert history[-1].monitor == pytest.approx(float(error), rel=1e-12)


FALLS = {"positive": [1, 0.5, 0.25], "negative": [-1, -2, -3], "crossing": [0.5, -0.5, -1]}


@pytest.mark.parametrize("name", FALLS)
@pytest.mark.parametrize("change", [-0.005, 0, 0.005, 0.1])
def test_training_stops_when_the_loss_no_longer_falls(data, name, change):
    """A fall by less than tol of its size is none, and no rise is one."""
    last = FALLS[name][-1]
    values = [*FALLS[name], last + change * abs(last)]
    trainer = Trainer(
        scripted(values), early_stopping=True, n_iter_no_change=3, tol=0.01, max_epochs=50
    )
    history = run(trainer, lista(data[0].A, n_layers=1), data[0])
    assert history.n_epochs == 2 + 3
    np.testing.assert_allclose(history.column("monitor")[:4], values)


@pytest.mark.parametrize("rate", [0.98, 1.02])
def test_training_goes_on_while_the_loss_falls_by_more_than_tol(data, rate):
    sign = 1 if rate < 1 else -1
    values = [sign * rate**k for k in range(21)]
    trainer = Trainer(
        scripted(values), early_stopping=True, n_iter_no_change=1, tol=0.015, max_epochs=20
    )
    assert run(trainer, lista(data[0].A, n_layers=1), data[0]).n_epochs == 20


@pytest.mark.parametrize("level", [1.0, -1.0])
@pytest.mark.parametrize("held_out, every", [(False, 6), (True, 4)])
def test_a_plateau_lowers_the_rate_every_so_many_epochs(data, level, held_out, every):
    """After five epochs in vain, or, where training is to stop after 11, after a third of it."""
    trainer = Trainer(
        scripted([level]), decay="plateau", early_stopping=held_out, n_iter_no_change=11,
        max_epochs=15, learning_rate=1.0,
    )  # fmt: skip
    history = run(trainer, lista(data[0].A, n_layers=1), data[0])
    expected = [0.3 ** (epoch // every) for epoch in range(11 if held_out else 15)]
    assert history.column("learning_rate")[1:] == pytest.approx(expected)


def test_the_loss_of_an_epoch_is_the_mean_over_its_segments(data):
    obs, _ = data
    network = lista(obs.A, n_layers=5)
    trainer = Trainer("lasso", truncate=2, max_epochs=1, learning_rate=1e-300, batch_size=16)
    history = run(trainer, network, obs)
    objective = Lasso(0.1)
    with torch.no_grad():
        iterates = network.iterates(obs)
    losses = [objective.value(iterates[:k], obs, None).mean() for k in (3, 5, 6)]
    expected = float(sum(losses) / 3 / objective.scale(obs, None).mean())
    assert history[1].loss == pytest.approx(expected, rel=1e-12)


def test_the_clock_starts_after_an_optimiser_was_made(data, monkeypatch):
    """The first one of a process imports torch's compiler, seconds that are no training."""
    events, clock = [], time.perf_counter

    class Told(SGD):
        def over(self, groups):
            events.append("optimiser")
            return super().over(groups)

    monkeypatch.setattr(time, "perf_counter", lambda: events.append("clock") or clock())
    history = run(Trainer(optimizer=Told(), max_epochs=1), lista(data[0].A, n_layers=1), *data)
    assert events[0] == "optimiser" and "clock" in events
    assert 0 < history[0].seconds < history[1].seconds


def test_a_loss_below_zero_has_no_logarithm(data):
    obs, _ = data
    network = lista(obs.A, n_layers=1)
    trainer = Trainer(scripted([-2.0]), loss="log", max_epochs=1)
    with pytest.raises(ValueError, match=r"loss='log' is for losses above zero.*Scripted is -2"):
        run(trainer, network, obs)
    with pytest.raises(ValueError, match="loss='log' is for losses above zero"):
        trainer.update(network, obs, alpha=0.1, generator=torch.Generator())
