"""Penalties on parameters as functions of depth, and separate rates for their kinds."""

import pytest
import torch
from sklearn.base import clone

from sklearn_unroll import Trainer
from sklearn_unroll.nn import fbs, lista, refine
from sklearn_unroll.training import SGD, DepthNorm, Grouped, Smoothness, SumPenalty
from tests.conftest import make_problem

TAUS = [1.0, 3.0, 3.0, 0.0]


@pytest.fixture
def network():
    """Four layers with the steps of TAUS."""
    net = fbs(make_problem()[0].A, n_layers=4, horizon=1.0)
    with torch.no_grad():
        for p, value in zip(net.over_depth("tau"), TAUS, strict=True):
            p.fill_(value)
    return net


@pytest.mark.parametrize(
    "p, power, expected",
    [
        (2, None, 19 / 4),
        (2, 1, (19 / 4) ** 0.5),
        (1, None, 7 / 4),
        (3, 2, (55 / 4) ** (2 / 3)),
        (float("inf"), None, 3.0),
        (float("inf"), 2, 9.0),
    ],
)
def test_norms_over_depth_by_hand(network, p, power, expected):
    found = DepthNorm({"tau": 0.5}, p=p, power=power).value(network)
    assert found.shape == () and float(found.detach()) == pytest.approx(0.5 * expected)


def test_matrices_count_by_their_frobenius_norm(network):
    # A matrix with ten singular values of one.
    assert float(DepthNorm({"W": 1.0}).value(network).detach()) == pytest.approx(10)
    assert float(DepthNorm({"weights.W": 1.0}, p=1).value(network).detach()) == pytest.approx(
        10**0.5
    )


@pytest.mark.parametrize("p", [1, 2, 3, float("inf")])
def test_the_norm_is_that_of_a_function_of_depth(network, p):
    penalty = DepthNorm({"W": 1.0, "tau": 2.0, "lam": 3.0}, p=p)
    fine = refine(network, 12)
    torch.testing.assert_close(penalty.value(fine), penalty.value(network))
    assert float(penalty.value(refine(network, 2)).detach()) <= float(
        penalty.value(network).detach()
    )


def test_smoothness_by_hand(network):
    assert float(Smoothness({"tau": 1.0}).value(network).detach()) == pytest.approx(4 * 13)
    tv = Smoothness({"tau": 0.5}, kind="tv")
    assert float(tv.value(network).detach()) == pytest.approx(0.5 * 5)
    # Refined, the variation stays; a jump has no derivative in L2, so that of h1 grows.
    assert float(tv.value(refine(network, 8)).detach()) == pytest.approx(0.5 * 5)
    assert float(Smoothness({"tau": 1.0}).value(refine(network, 8)).detach()) == pytest.approx(104)
    for kind in ("h1", "tv"):
        assert float(Smoothness({"W": 1.0, "lam": 1.0}, kind).value(network).detach()) == 0
        alone = fbs(make_problem()[0].A, n_layers=1)
        assert float(Smoothness({"W": 1.0}, kind).value(alone).detach()) == 0


def test_gradients_are_finite_where_a_norm_has_none(network):
    with torch.no_grad():
        for p in network.parameters():
            p.zero_()
    names = {"W": 1.0, "tau": 1.0}
    for penalty in (
        DepthNorm(names, p=1),
        DepthNorm(names, p=2, power=1),
        DepthNorm(names, p=3),
        DepthNorm(names, p=float("inf")),
        Smoothness(names),
        Smoothness(names, kind="tv"),
    ):
        network.zero_grad()
        penalty.value(network).backward()
        for p in network.over_depth("W") + network.over_depth("tau"):
            assert bool(torch.isfinite(p.grad).all()), penalty


@pytest.mark.parametrize("power", [None, 1.0])
def test_gradients_agree_with_differences(network, power):
    penalty = DepthNorm({"tau": 1.0}, p=3, power=power) + Smoothness({"tau": 0.1})
    penalty.value(network).backward()
    for p in network.over_depth("tau")[:3]:
        with torch.no_grad():
            p += 1e-6
            above = float(penalty.value(network))
            p -= 2e-6
            below = float(penalty.value(network))
            p += 1e-6
        assert float(p.grad) == pytest.approx((above - below) / 2e-6, rel=1e-6)


def test_any_network_will_do_and_tied_weights_count_once_a_layer():
    A = make_problem()[0].A
    tied, untied = (lista(A, n_layers=3, tied=tied) for tied in (True, False))
    penalty = DepthNorm({"W": 1.0, "theta": 1.0})
    torch.testing.assert_close(penalty.value(tied), penalty.value(untied))


def test_training_with_a_penalty_shrinks_what_it_weighs(assert_below):
    obs, y = make_problem(50)
    sizes = {}
    for weight in (0.0, 0.5):
        net = fbs(obs.A, n_layers=3)
        trainer = Trainer(
            optimizer=SGD(0.9), penalty=DepthNorm({"W": weight}), max_epochs=40,
            learning_rate=0.05, decay="constant",
        )  # fmt: skip
        trainer.run(net, obs, y, alpha=0.1, generator=torch.Generator().manual_seed(0))
        sizes[weight] = float(DepthNorm({"W": 1.0}).value(net).detach())
    assert_below(sizes[0.5] / sizes[0.0], 0.7)


def test_penalties_are_parameter_objects():
    trainer = Trainer(penalty=DepthNorm({"W": 0.1}) + Smoothness({"tau": 0.2}))
    assert isinstance(trainer.penalty, SumPenalty)
    copy = clone(trainer).set_params(penalty__first__p=1, penalty__second__kind="tv")
    assert copy.penalty.first.p == 1 and trainer.penalty.first.p == 2


@pytest.mark.parametrize(
    "penalty, match",
    [
        (DepthNorm({"W": -1e-3}), "nonnegative and finite, got -0.001 for 'W'"),
        (DepthNorm({"W": float("nan")}), "nonnegative and finite"),
        (Smoothness({"tau": "much"}), "nonnegative and finite, got 'much'"),
        (DepthNorm({"theta": 1.0}), "'theta' names 0 kinds"),
        (DepthNorm({"W": 1.0}, p=0.5), "'p' parameter of DepthNorm"),
        (DepthNorm({"W": 1.0}, power=0.5), "'power' parameter"),
        (DepthNorm(1e-4), "'weights' parameter"),
        (Smoothness({"W": 1.0}, kind="l2"), "'kind' parameter"),
        (DepthNorm({"W": 1.0}) + 3.0, "'second' parameter"),
    ],
)
def test_bad_penalties_are_errors(network, penalty, match):
    with pytest.raises(ValueError, match=match):
        penalty.value(network)


def rates(schedule, network):
    (stage,) = schedule.stages(network)
    assert schedule.all_at_once(network).groups == stage.groups
    assert sum(len(g.parameters) for g in stage.groups) == len(list(network.parameters()))
    return {id(p): g.rate for g in stage.groups for p in g.parameters}


def test_groups_have_their_rates(network):
    found = rates(Grouped({"tau": 0.3, "rule.lam": 0.1}), network)
    for name, rate in {"W": 1.0, "tau": 0.3, "lam": 0.1}.items():
        assert {found[id(p)] for p in network.over_depth(name)} == {rate}
    assert set(rates(Grouped(), network).values()) == {1.0}


def test_rates_grow_with_depth_where_every_layer_has_its_own():
    A = make_problem()[0].A
    net = fbs(A, n_layers=5, x0="learned")
    found = rates(Grouped({"tau": 0.3}, scale_with_depth=True), net)
    assert {found[id(p)] for p in net.over_depth("tau")} == {1.5}
    assert {found[id(p)] for p in net.over_depth("W")} == {5.0}
    assert found[id(net.over_depth("x0")[0])] == 1.0
    tied = lista(A, n_layers=5, tied=True)
    found = rates(Grouped(scale_with_depth=True), tied)
    assert found[id(tied.layers[0].weights.W)] == 1.0
    assert found[id(tied.layers[0].rule.theta)] == 5.0


def test_with_a_horizon_scaled_rates_take_the_same_step_at_every_depth():
    """Repeated layers of a fine network move as the coarse ones do, but for terms of order h."""
    obs, y = make_problem(50)
    moved = {}
    for scaled in (False, True):
        moves = []
        for depth in (64, 128):
            net = fbs(obs.A, n_layers=depth, horizon=2.0)
            before = float(net.over_depth("tau")[0].detach())
            trainer = Trainer(
                optimizer="sgd", loss="mean", learning_rate=1e-3, max_epochs=1, batch_size=None,
                schedule=Grouped(scale_with_depth=scaled), max_grad_norm=None, decay="constant",
            )  # fmt: skip
            trainer.run(net, obs, y, alpha=0.1, generator=torch.Generator().manual_seed(0))
            moves.append(float(net.over_depth("tau")[-1].detach()) - before)
        moved[scaled] = moves[1] / moves[0]
    assert moved[True] == pytest.approx(1, abs=0.1)
    assert moved[False] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    "given, match",
    [
        ({"tau": 0.0}, "must be positive"),
        ({"tau": "low"}, "must be positive"),
        ({"mu": 1.0}, "0 kinds"),
    ],
)
def test_bad_rates_are_errors(network, given, match):
    with pytest.raises(ValueError, match=match):
        Grouped(given).stages(network)
