import math

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch.optim.optimizer import register_optimizer_step_pre_hook

from sklearn_unroll.functional import Dense, Observation, lasso_value
from sklearn_unroll.nn import lista
from sklearn_unroll.training import (
    DivergenceError,
    EndToEnd,
    Lasso,
    Objective,
    ParameterGroup,
    Report,
    Schedule,
    Stage,
    Supervised,
    Trainer,
)
from tests.conftest import make_problem


def seeded():
    return torch.Generator().manual_seed(0)


def run(trainer, network, obs, y=None, **kwargs):
    return trainer.run(network, obs, y, alpha=0.1, generator=seeded(), **kwargs)


@pytest.fixture
def data():
    return make_problem(n_samples=64)


@pytest.mark.parametrize("with_y", [True, False], ids=["pairs", "label_free"])
@pytest.mark.parametrize("weights", ["free", "coupled"])
@pytest.mark.parametrize("decay", ["cosine", "constant", "plateau"])
def test_training_lowers_the_loss_and_keeps_the_best_state(
    data, with_y, weights, decay, assert_below
):
    obs, x = data
    y = x if with_y else None
    network = lista(obs.A, n_layers=4, weights=weights)
    trainer = Trainer(learning_rate=5e-3, max_epochs=25, decay=decay, batch_size=16)
    monitor = run(trainer, network, obs, y).column("monitor")
    assert_below(monitor.min() / monitor[0], 0.9)
    with torch.no_grad():
        z = network(obs)
    if with_y:
        final = float((z - x).square().sum() / x.square().sum())
    else:
        zero = lasso_value(torch.zeros_like(x), obs, 0.1)
        final = float(lasso_value(z, obs, 0.1).sum() / zero.sum())
    assert final == pytest.approx(monitor.min(), rel=1e-9)


@pytest.mark.filterwarnings("ignore:In . epochs of stage .* the monitored loss jumped")
def test_never_worse_than_the_start_even_at_an_absurd_rate(data, assert_below):
    obs, x = data
    network = lista(obs.A, n_layers=4)
    before = [p.detach().clone() for p in network.parameters()]
    history = run(Trainer(learning_rate=0.5, max_epochs=3), network, obs, x)
    monitor = history.column("monitor")
    assert_below(monitor[0] / monitor[1:].min(), 0.5)
    for p, old in zip(network.parameters(), before, strict=True):
        torch.testing.assert_close(p.detach(), old, rtol=1e-14, atol=0)


def test_thresholds_stay_nonnegative_after_every_step(data):
    obs, _ = data
    network = lista(obs.A, n_layers=4, alpha=1e-4)
    seen = []

    class Spread(Objective):
        """Rewards large codes, so it drives thresholds down."""

        requires_y = False

        def value(self, iterates, obs, y):
            return -iterates[-1].abs().sum(-1)

    class Watch(Report):
        def epoch_ends(self):
            seen.append(min(float(layer.rule.theta.detach()) for layer in network.layers))
            return False

    run(Trainer(Spread(), max_epochs=10, batch_size=8), network, obs, report=Watch())
    assert len(seen) == 10
    assert min(seen) == 0


def test_divergence_names_stage_and_epoch(data):
    obs, _ = data
    network = lista(obs.A, n_layers=4)

    class Explode(Objective):
        requires_y = False

        def value(self, iterates, obs, y):
            calls.append(1)
            return iterates[-1].square().sum(-1) / (0.0 if len(calls) > 3 else 1.0)

    calls = []
    with pytest.raises(DivergenceError, match=r"stage 'end_to_end', epoch 2.*learning rate"):
        run(Trainer(objective=Explode()), network, obs)


def test_nan_in_the_first_loss_is_epoch_zero(data):
    obs, _ = data
    network = lista(obs.A, n_layers=2)
    with torch.no_grad():
        network.layers[0].weights.W.fill_(math.inf)
    with pytest.raises(DivergenceError, match="epoch 0"):
        run(Trainer(), network, obs)


def test_early_stopping_holds_out_and_stops(assert_below):
    obs, x = make_problem(n_samples=200)
    trainer = Trainer(
        early_stopping=True,
        n_iter_no_change=3,
        max_epochs=500,
        tol=0.02,
        batch_size=16,
        learning_rate=1e-2,
    )
    history = run(trainer, lista(obs.A, n_layers=3), obs, x)
    assert history.held_out
    assert_below(history.n_epochs, 500)
    monitor = history.column("monitor")
    assert_below(monitor.min() / monitor[0], 0.9)
    better = monitor[1:] < (1 - 0.02) * np.minimum.accumulate(monitor)[:-1]
    said = "".join("+" if one else "-" for one in better)
    assert said.endswith("---") and "---" not in said[:-1]


@pytest.mark.parametrize("n_samples, held_out", [(999, False), (1000, True)])
def test_auto_holds_out_from_a_thousand_samples_on(n_samples, held_out):
    obs, x = make_problem(n_samples=n_samples, n_features=3, n_components=4)
    history = run(Trainer(max_epochs=1), lista(obs.A, n_layers=1), obs, x)
    assert history.held_out is held_out


def test_too_few_samples_to_hold_out(data):
    obs, x = data
    with pytest.raises(ValueError, match="validation_fraction"):
        run(Trainer(early_stopping=True), lista(obs.A), obs.take(slice(0, 1)), x[:1])


def test_a_report_ends_a_stage(data):
    obs, x = data

    class StopAtThree(Report):
        epochs = 0

        def epoch_ends(self):
            self.epochs += 1
            return self.epochs == 3

    history = run(Trainer(), lista(obs.A, n_layers=2), obs, x, report=StopAtThree())
    assert history.n_epochs == 3


@pytest.mark.parametrize(
    "make", [lambda: Trainer(objective="supervised"), lambda: Trainer(Supervised())]
)
def test_an_objective_that_needs_y_says_so(data, make):
    with pytest.raises(ValueError, match=r"Supervised .*requires y.*y is None"):
        run(make(), lista(data[0].A), data[0])


def test_a_zero_weight_equals_leaving_the_sample_out(data):
    obs, x = data
    weight = torch.ones(64, dtype=torch.float64)
    weight[40:] = 0
    weight[:5] = 2
    weighted, repeated = lista(obs.A, n_layers=3), lista(obs.A, n_layers=3)
    run(Trainer(max_epochs=20), weighted, obs, x, sample_weight=weight)
    rows = torch.cat([torch.arange(40), torch.arange(5)])
    run(Trainer(max_epochs=20), repeated, obs.take(rows), x[rows])
    for p, q in zip(weighted.parameters(), repeated.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-9, rtol=0)


def test_only_the_parameters_of_a_stage_move(data):
    obs, x = data

    class SecondLayerOnly(Schedule):
        def stages(self, network):
            return [Stage("second", 2, [ParameterGroup(network.new_parameters(2), rate=0.1)])]

    network = lista(obs.A, n_layers=3)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    history = run(Trainer(schedule=SecondLayerOnly(), max_epochs=5), network, obs, x)
    assert set(history.column("stage")) == {"second"}
    assert history.column("learning_rate")[1] == pytest.approx(1e-4)
    for name, p in network.named_parameters():
        moved = not torch.equal(p.detach(), before[name])
        assert moved == name.startswith("layers.1."), name


def test_supervising_all_layers_improves_the_early_ones(data, assert_below):
    obs, x = data

    def early_error(layers):
        network = lista(obs.A, n_layers=6)
        trainer = Trainer(Supervised(layers), max_epochs=40, batch_size=16, learning_rate=5e-3)
        run(trainer, network, obs, x)
        with torch.no_grad():
            return float((network(obs, 2) - x).square().sum())

    assert_below(early_error("all") / early_error("last"), 0.9)


def test_same_seed_same_bits_and_the_global_generator_is_untouched(data):
    obs, x = data

    def fit(global_seed):
        torch.manual_seed(global_seed)
        np.random.seed(global_seed)
        state = torch.get_rng_state()
        network = lista(obs.A, n_layers=3)
        run(Trainer(max_epochs=4, batch_size=8, early_stopping=True), network, obs, x)
        assert torch.equal(torch.get_rng_state(), state)
        return network

    for p, q in zip(fit(1).parameters(), fit(2).parameters(), strict=True):
        assert torch.equal(p, q)


def test_gradient_clipping_bounds_the_step(data):
    # Adam's first step does not see the size of a gradient, so look at the gradient itself.
    obs, x = data
    network = lista(obs.A, n_layers=3)
    norms = []
    handle = register_optimizer_step_pre_hook(
        lambda opt, args, kwargs: norms.append(
            math.sqrt(sum(float(p.grad.square().sum()) for p in network.parameters()))
        )
    )
    try:
        run(Trainer(max_epochs=2, max_grad_norm=1e-3), network, obs, x)
        run(Trainer(max_epochs=2, max_grad_norm=None), network, obs, x)
    finally:
        handle.remove()
    assert max(norms[:2]) <= 1e-3 * (1 + 1e-6)
    assert max(norms[2:]) > 1e-2


def test_an_all_zero_scale_does_not_divide_by_zero():
    obs = Observation(torch.zeros(4, 3), Dense(torch.eye(3)))
    history = run(Trainer(max_epochs=2), lista(obs.A, n_layers=2), obs, torch.zeros(4, 3))
    assert history.column("monitor").tolist() == [0, 0, 0]


def test_parts_are_parameter_objects():
    trainer = Trainer(objective=Lasso(alpha=0.3), schedule=EndToEnd())
    copy = clone(trainer).set_params(objective__alpha=0.7)
    assert trainer.objective.alpha == 0.3
    assert copy.objective.alpha == 0.7
    assert "learning_rate" in trainer.get_params()


def test_lasso_takes_the_estimators_alpha_unless_it_has_its_own():
    trainer = Trainer(objective=Lasso())
    assert trainer.resolve_objective(has_y=False, alpha=0.2).alpha == 0.2
    assert trainer.objective.alpha is None
    own = Trainer(objective=Lasso(alpha=0.5))
    assert own.resolve_objective(has_y=True, alpha=0.2).alpha == 0.5


def test_history_reads_like_a_sequence(data):
    obs, x = data
    history = run(Trainer(max_epochs=3), lista(obs.A, n_layers=2), obs, x)
    assert len(history) == 4
    assert history[0].epoch == 0
    assert math.isnan(history[0].loss)
    assert np.all(np.diff(history.column("seconds")) >= 0)
    assert "3 epochs" in repr(history)


@pytest.mark.parametrize(
    "decay, expected",
    [
        ("constant", [1e-3] * 8),
        ("cosine", [1e-3 * (1 + math.cos(math.pi * k / 8)) / 2 for k in range(8)]),
    ],
)
def test_the_learning_rate_follows_its_schedule(data, decay, expected):
    obs, x = data
    history = run(Trainer(decay=decay, max_epochs=8), lista(obs.A, n_layers=2), obs, x)
    assert history.column("learning_rate")[1:] == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:In .* epochs of stage .* the monitored loss jumped")
def test_plateau_lowers_the_rate_when_the_loss_stalls(data, assert_below):
    obs, x = data
    trainer = Trainer(decay="plateau", max_epochs=20, learning_rate=1.0)  # nothing but noise
    rates = run(trainer, lista(obs.A, n_layers=2), obs, x).column("learning_rate")
    assert rates[1] == 1.0
    assert_below(rates[-1], 0.5)


def test_training_is_alike_at_any_scale_of_the_loss(data):
    """Adam's eps and the clipping relate to the loss at the start of the stage."""
    obs, x = data

    class Scaled(Objective):
        requires_y = True
        factor = 1.0

        def value(self, iterates, obs, y):
            return self.factor * (iterates[-1] - y).square().sum(-1)

    def fit(factor):
        Scaled.factor = factor
        network = lista(obs.A, n_layers=3)
        run(Trainer(Scaled(), max_epochs=5), network, obs, x)
        with torch.no_grad():
            return network(obs)

    torch.testing.assert_close(fit(1.0), fit(1e-9), atol=1e-9, rtol=0)


def test_a_parameter_that_breaks_in_the_last_step_is_divergence(data):
    obs, _ = data

    class Break(Objective):
        requires_y = False

        def value(self, iterates, obs, y):
            # A finite loss whose gradient is not.
            return (iterates[-1] * 0).square().sum(-1).sqrt() + 1

    with pytest.raises(DivergenceError, match="epoch 1"):
        run(Trainer(Break()), lista(obs.A, n_layers=2), obs)
