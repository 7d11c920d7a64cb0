"""Budgets of training in steps and seconds, and what an interrupt leaves."""

import warnings
from typing import ClassVar

import numpy as np
import pytest

from sklearn_unroll import LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.exceptions import TrainingWarning
from sklearn_unroll.metrics import nmse_db
from sklearn_unroll.training import Objective
from sklearn_unroll.training.budget import Budget, Plan
from tests.estimator_table import MAKERS, case


@pytest.mark.parametrize(
    "n_samples, settings, expected",
    [
        (1000, {"max_epochs": 7, "batch_size": 100}, (7, 10)),
        (1000, {"max_epochs": 7, "batch_size": None}, (7, 1)),
        (1000, {"max_epochs": 7, "batch_size": 100, "max_steps": 1000}, (7, 10)),
        (1000, {"max_epochs": 7, "batch_size": 100, "max_steps": 45}, (9, 5)),
        (1000, {"max_epochs": 1, "batch_size": 100, "max_steps": 45}, (2, 5)),
        (10**7, {"max_epochs": 7, "batch_size": 100, "max_steps": 600}, (10, 60)),
        (50, {"max_epochs": 7, "batch_size": 100, "max_steps": 3}, (3, 1)),
        (50, {"max_epochs": 0, "batch_size": 100, "max_steps": 3}, (0, 1)),
    ],
)
def test_plan_keeps_within_epochs_and_steps(n_samples, settings, expected):
    plan = Plan.of(Trainer(**settings), n_samples)
    assert plan == expected
    assert plan.n_epochs * plan.n_steps <= settings.get("max_steps", 10**9)


class CountingObjective(Objective):
    """Counts the minibatches that gradients were asked of."""

    requires_y = True
    counts: ClassVar[list] = []

    def value(self, iterates, obs, y):
        if iterates[-1].requires_grad:
            self.counts.append(len(y))
        return (iterates[-1] - y).square().sum(1)


@pytest.fixture(scope="module")
def data():
    return make_sparse_recovery(2000, 10, 16, sparsity=2, random_state=0)


@pytest.mark.parametrize("schedule, n_stages", [("end_to_end", 1), ("stage_wise", 4)])
def test_steps_are_counted_in_each_stage(data, schedule, n_stages):
    CountingObjective.counts.clear()
    trainer = Trainer(
        CountingObjective(), schedule, max_epochs=50, batch_size=20, max_steps=30, tol=0.0
    )
    model = LISTARegressor(
        data.dictionary, n_layers=2, trainer=trainer, support_selection=None, random_state=0
    ).fit(data.X, data.y)
    stages = len({epoch.stage for epoch in model.history_})
    assert stages >= n_stages // 2
    assert len(CountingObjective.counts) == 30 * stages
    assert model.n_epochs_ == 10 * stages


def test_many_samples_train_as_long_as_few(data):
    # Every default recipe ends after as many steps, whatever the number of rows.
    for name in MAKERS:
        estimator = case(name).estimator.__class__()
        if not hasattr(estimator, "default_trainer"):
            continue
        for has_y in (False, True):
            many, more = (estimator.default_trainer(n, has_y) for n in (10**7, 10**9))
            plans = [Plan.of(trainer, n) for trainer, n in ((many, 10**7), (more, 10**9))]
            assert plans[0] == plans[1], name
            assert plans[0].n_epochs * plans[0].n_steps <= 4000, name


def test_seconds_are_kept_by_all_stages_together(data):
    trainer = Trainer(schedule="stage_wise", max_epochs=10**6, early_stopping=False)
    model = LISTARegressor(
        data.dictionary, n_layers=3, trainer=trainer.set_params(max_seconds=1.5), random_state=0
    )
    model.fit(data.X, data.y)  # not a million epochs
    stages = {epoch.stage for epoch in model.history_}
    assert len(stages) > 3  # every stage had its share
    rates = model.history_.column("learning_rate")
    assert rates[-1] < 0.5 * rates.max()  # the cosine follows the clock
    assert nmse_db(data.y, model.predict(data.X)) < 0


def test_time_that_is_up_ends_a_long_epoch():
    budget = Budget("a", Plan(5, 10), max_seconds=1e-9, verbose=False)
    assert budget.is_over and budget.share(1) == 1.0
    budget = Budget("a", Plan(5, 10), max_seconds=None, verbose=False)
    assert not budget.is_over and budget.share(1) == pytest.approx(0.2)


class Interrupting(Objective):
    """Raises in the n-th call with gradients."""

    requires_y = True
    left = 0

    def value(self, iterates, obs, y):
        if iterates[-1].requires_grad:
            type(self).left -= 1
            if type(self).left == 0:
                raise KeyboardInterrupt
        return (iterates[-1] - y).square().sum(1)


def test_an_interrupt_keeps_the_best_weights_where_asked(data):
    def model(**settings):
        trainer = Trainer(Interrupting(), max_epochs=50, learning_rate=3e-3, **settings)
        return LISTARegressor(data.dictionary, n_layers=3, trainer=trainer, random_state=0)

    Interrupting.left = 60
    kept = model(keep_on_interrupt=True)
    with pytest.warns(TrainingWarning, match=r"interrupted in stage .* weights of epoch \d+"):
        kept.fit(data.X, data.y)
    monitor = kept.history_.column("monitor")
    assert 0 < kept.n_epochs_ < 50
    assert monitor.min() < monitor[0]
    assert all(p.requires_grad for p in kept.network_.parameters())
    Interrupting.left = 0
    untrained = model(max_steps=1).set_params(trainer__max_epochs=0).fit(data.X, data.y)
    errors = [nmse_db(data.y, m.predict(data.X)) for m in (kept, untrained)]
    assert errors[0] < errors[1]

    Interrupting.left = 60
    with pytest.raises(KeyboardInterrupt):
        model().fit(data.X, data.y)


def test_verbose_says_beforehand_how_long_it_will_take(data, capsys):
    trainer = Trainer(max_epochs=3, batch_size=50, max_seconds=100, verbose=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)
        LISTARegressor(data.dictionary, n_layers=2, trainer=trainer).fit(data.X, data.y)
    said = capsys.readouterr().out
    assert "end_to_end: at most 3 epochs of 36 steps, about " in said
    assert "stopped after 100 s" in said
    LISTARegressor(data.dictionary, n_layers=2, trainer=Trainer(max_epochs=1)).fit(data.X, data.y)
    assert capsys.readouterr().out == ""


def test_monitored_samples_are_not_more_than_the_steps_need():
    X = np.random.default_rng(0).standard_normal((12_000, 3))
    D = np.eye(3)
    for early_stopping in (False, True):
        trainer = Trainer(
            max_epochs=1, batch_size=6000, early_stopping=early_stopping, validation_fraction=0.9
        )
        seen = []

        class Watching(Objective):
            requires_y = True
            rows = seen

            def value(self, iterates, obs, y):
                if not iterates[-1].requires_grad:
                    self.rows.append(len(y))
                return (iterates[-1] - y).square().sum(1)

        trainer.set_params(objective=Watching())
        LISTARegressor(D, n_layers=1, trainer=trainer, guard=None).fit(X, X)
        assert sum(seen) == 2 * 10_000  # before the epoch and after it


def test_callbacks_hear_of_every_epoch_of_a_budget(data):
    class Counting:
        """Counts epochs, as scikit-learn's callbacks hear of them."""

        seen = 0

        def setup(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context, **_):
            pass

        def on_fit_task_end(self, estimator, context, **_):
            type(self).seen += context.task_name == "epoch"

        def teardown(self, estimator, context):
            pass

    trainer = Trainer(max_epochs=1, batch_size=20, max_steps=40)
    model = LISTARegressor(data.dictionary, n_layers=2, trainer=trainer, random_state=0)
    model.set_callbacks(Counting()).fit(data.X, data.y)
    assert Counting.seen == model.n_epochs_ == 10


@pytest.mark.parametrize("schedule", ["end_to_end", "stage_wise"])
def test_an_interrupt_that_is_kept_closes_what_callbacks_opened(data, schedule):
    class Open:
        """Counts tasks that have begun and not ended."""

        stages = 0

        def setup(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context, **_):
            type(self).stages += context.task_name != "epoch"

        def on_fit_task_end(self, estimator, context, **_):
            type(self).stages -= context.task_name != "epoch"

        def teardown(self, estimator, context):
            pass

    Interrupting.left = 5
    trainer = Trainer(Interrupting(), schedule, max_epochs=3, keep_on_interrupt=True)
    model = LISTARegressor(data.dictionary, n_layers=2, trainer=trainer, random_state=0)
    with pytest.warns(TrainingWarning, match="interrupted"):
        model.set_callbacks(Open()).fit(data.X, data.y)
    assert Open.stages == 0
