"""Progress and scores through scikit-learn's own callbacks."""

import numpy as np
import pandas as pd
import pytest
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_unroll import Trainer
from sklearn_unroll.metrics import nmse_db_scorer


class Recorder:
    """Writes down every hook; stops a stage on request."""

    def __init__(self, stop_after=None):
        self.events = []
        self.stop_after = stop_after

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(("begin", context.task_name))

    def on_fit_task_end(self, estimator, context):
        self.events.append(("end", context.task_name))
        epochs = self.events.count(("end", "epoch"))
        return context.task_name == "epoch" and epochs == self.stop_after


def test_hooks_come_in_pairs_and_in_order(data, model):
    recorder = Recorder()
    model.set_callbacks(recorder).fit(data.X, data.y)
    epoch = [("begin", "epoch"), ("end", "epoch")]
    stage = [("begin", "end_to_end"), *epoch * 4, ("end", "end_to_end")]
    assert recorder.events == ["setup", ("begin", "fit"), *stage, ("end", "fit"), "teardown"]


def test_a_callback_can_stop_training(data, model):
    model.set_params(trainer=Trainer(max_epochs=50)).set_callbacks(Recorder(stop_after=3))
    assert model.fit(data.X, data.y).n_epochs_ == 3


def test_teardown_comes_even_if_fit_fails(data, model):
    recorder = Recorder()
    model.set_callbacks(recorder)
    with pytest.raises(ValueError, match="components"):
        model.fit(data.X, data.y[:, :3])
    assert recorder.events == []  # bad input is refused before any callback hears of the fit
    model.set_params(trainer__learning_rate=1e300, trainer__max_grad_norm=None)
    with pytest.raises(FloatingPointError):
        model.fit(data.X, data.y)
    assert recorder.events[0] == "setup"
    assert recorder.events[-1] == "teardown"


def test_scoring_monitor_logs_every_epoch_as_it_was(data, model):
    monitor = ScoringMonitor(scoring=nmse_db_scorer)
    model.set_params(normalize=False)  # so that the monitored loss is in the units of y
    model.set_callbacks(monitor).fit(data.X, data.y)
    rows = monitor.get_logs().data
    scores = [row["score"] for row in rows if row["task_name"] == "epoch"]
    assert len(scores) == model.n_epochs_
    monitored = -10 * np.log10(model.history_.column("monitor")[1:])
    np.testing.assert_allclose(scores, monitored, rtol=1e-6)


def test_scoring_a_data_frame_keeps_its_names(data, model):
    monitor = ScoringMonitor(scoring=nmse_db_scorer)
    frame = pd.DataFrame(data.X, columns=[f"pixel{i}" for i in range(12)])
    model.set_callbacks(monitor).fit(frame, data.y)  # a warning would be an error
    assert len(monitor.get_logs().data) > model.n_epochs_


def test_what_a_callback_keeps_does_not_go_on_changing(data, model):
    class Keeper(Recorder):
        kept = ()

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            if fitted_estimator is not None:
                self.kept += ((fitted_estimator, fitted_estimator.predict(data.X)),)

    keeper = Keeper()
    model.set_callbacks(keeper).fit(data.X, data.y)
    assert len(keeper.kept) >= 4
    for estimator, codes in keeper.kept:
        np.testing.assert_array_equal(estimator.predict(data.X), codes)
    assert not np.array_equal(keeper.kept[0][1], keeper.kept[3][1])


def test_nested_in_pipeline_and_grid_search(data, model):
    monitor = ScoringMonitor(scoring="r2")
    model.set_callbacks(monitor)
    pipeline = make_pipeline(StandardScaler(with_std=False), model)
    grid = {"listaregressor__n_layers": [1, 2]}
    GridSearchCV(pipeline, grid, cv=2).fit(data.X, data.y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(rows) == (2 * 2 + 1) * 4
    depths = {len(row["task_id_path"]) for row in rows}
    assert min(depths) >= 5  # search > split > pipeline step > stage > epoch


@pytest.mark.parametrize("depth", [0, None])
def test_progress_bar_of_a_search_reaches_our_epochs(data, model, capfd, depth):
    search = GridSearchCV(make_pipeline(StandardScaler(), model), {"listaregressor__alpha": [0.1]})
    search.set_callbacks(ProgressBar(max_propagation_depth=depth)).fit(data.X, data.y)
    shown = capfd.readouterr().out
    assert "GridSearchCV" in shown
    assert ("end_to_end" in shown) == (depth is None)


def test_progress_bar_on_the_estimator(data, model, capfd):
    model.set_callbacks(ProgressBar()).fit(data.X, data.y)
    assert "100%" in capfd.readouterr().out
