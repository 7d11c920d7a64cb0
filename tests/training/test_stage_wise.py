import math

import pytest
import torch

from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation, analytic_weight
from sklearn_unroll.nn import alista, lista
from sklearn_unroll.training import EndToEnd, ParameterGroup, Stage, StageWise, Trainer
from sklearn_unroll.training.steps import groups_of
from tests.conftest import make_problem


@pytest.fixture
def data():
    return make_problem(n_samples=64)


def run(trainer, network, obs, y):
    return trainer.run(network, obs, y, alpha=0.1, generator=torch.Generator().manual_seed(0))


def names(network, stage):
    by_id = {id(p): name for name, p in network.named_parameters()}
    return [sorted(by_id[id(p)] for p in group.parameters) for group in stage.groups]


@pytest.mark.parametrize("tied", [False, True])
def test_stages_list_new_parameters_then_all_by_age(data, tied):
    network = lista(data[0].A, n_layers=3, tied=tied)
    stages = StageWise(rates=(1.0, 0.2), layer_decay=0.3).stages(network)
    assert [(s.depth, s.new_layer) for s in stages] == [
        (1, True),
        (1, False),
        (2, True),
        (2, False),
        (3, True),
        (3, False),
    ]
    assert names(network, stages[2]) == [
        ["layers.1.rule.theta"] if tied else ["layers.1.rule.theta", "layers.1.weights.W"]
    ]
    last = stages[-1]
    assert [g.rate for g in last.groups] == pytest.approx([0.2, 0.06, 0.018])
    moved = [name for group in names(network, last) for name in group]
    assert sorted(moved) == sorted(dict(network.named_parameters()))
    assert "layers.0.weights.W" in names(network, last)[-1]


def test_a_stage_moves_only_what_it_lists(data):
    obs, x = data
    network = lista(obs.A, n_layers=3)
    seen = {}

    class Spy(StageWise):
        def __init__(self):
            super().__init__()

        def stages(self, net):
            return super().stages(net)[:4]  # three stages of layer 1, the first of layer 2

    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    run(Trainer(schedule=Spy(), max_epochs=3, learning_rate=0.05), network, obs, x)
    for name, p in network.named_parameters():
        seen[name.split(".")[1]] = not torch.equal(p.detach(), before[name])
    assert seen == {"0": True, "1": True, "2": False}
    assert all(p.requires_grad for p in network.parameters())


def test_a_new_layer_starts_from_the_one_before(data):
    obs, _ = data
    network = alista(obs.A, analytic_weight(obs.A.D), n_layers=2, theta=0.3)
    first, second = (layer.rule for layer in network.layers)
    with torch.no_grad():
        first.set_theta_(torch.tensor(0.5, dtype=torch.float64))
        first.log_gamma.fill_(math.log(1.7))
    network.continue_(2)
    assert float(second.theta.detach()) == pytest.approx(0.35)
    assert float(second.gamma.detach()) == pytest.approx(1.7)
    network.continue_(1)
    assert float(first.theta.detach()) == pytest.approx(0.5)


def test_relative_rates_follow_the_size_of_each_parameter():
    small, large = (torch.nn.Parameter(torch.full((3,), v)) for v in (0.01, 10.0))
    zero = torch.nn.Parameter(torch.zeros(2))
    stage = Stage("s", 1, [ParameterGroup([small, large, zero], 0.5, relative=True)])
    rates = [group["lr"] for group in groups_of(stage, 0.2)]
    assert rates == pytest.approx([0.001, 1.0, 0.1])


def test_the_rate_of_matrices_is_relative_to_their_size(data):
    network = lista(data[0].A, n_layers=2, weights="coupled")
    (stage,) = EndToEnd(matrix_rate=0.5).stages(network)
    groups = groups_of(stage, 0.2)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    for layer in network.layers:
        size = float(layer.weights.W.detach().square().mean().sqrt())
        assert size < 0.5
        assert rates[id(layer.weights.W)] == pytest.approx(0.1 * size)
        assert rates[id(layer.rule.theta)] == 0.2


def test_every_layer_improves_on_the_one_before(assert_below):
    data = make_sparse_recovery(600, 50, 80, sparsity=4, random_state=0)
    obs = Observation(torch.from_numpy(data.X), Dense(torch.from_numpy(data.dictionary)))
    network = alista(obs.A, analytic_weight(obs.A.D), n_layers=6, theta=0.1)
    trainer = Trainer(
        schedule=StageWise(relative=False),
        max_epochs=4,
        learning_rate=0.1,
        decay="constant",
        batch_size=64,
    )
    history = run(trainer, network, obs, torch.from_numpy(data.y))
    assert len(set(history.column("stage"))) == 18
    last = [
        min(e.monitor for e in history if e.stage.startswith(f"layer {depth},"))
        for depth in range(1, 7)
    ]
    for better, worse in zip(last[1:], last[:-1], strict=True):
        assert_below(better / worse, 0.8)


@pytest.mark.parametrize("rates", [(), (1.0, 0.0), (-1.0,)])
def test_invalid_rates(data, rates):
    with pytest.raises(ValueError, match="rates must be positive"):
        StageWise(rates=rates).stages(lista(data[0].A))
