"""What all displays share, and the history."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sklearn_unroll.plotting import (
    ConvergenceDisplay,
    HistoryDisplay,
    PhaseTransitionDisplay,
    WeightDisplay,
)
from sklearn_unroll.training import Epoch, History

MAKE = {
    "convergence": lambda model, data, **kw: ConvergenceDisplay.from_estimator(
        model, data.X, data.y, **kw
    ),
    "history": lambda model, data, **kw: HistoryDisplay.from_estimator(model, **kw),
    "weights": lambda model, data, **kw: WeightDisplay.from_estimator(model, **kw),
}


def test_history_display(model):
    display = HistoryDisplay.from_estimator(model)
    losses, monitored = (line.get_ydata() for line in display.lines_)
    np.testing.assert_array_equal(losses, model.history_.column("loss"))
    np.testing.assert_array_equal(monitored, model.history_.column("monitor"))
    assert display.lines_[1].get_label() == "training samples"
    assert display.ax_.get_yscale() == "log"


def test_history_of_logarithms_is_drawn_as_it_is():
    history = History(held_out=False)
    for epoch, loss in enumerate((-1.0, -4.0, -6.0)):
        history.epochs.append(Epoch("end to end", epoch, loss, loss, 1e-3, epoch))
    display = HistoryDisplay(history=history).plot()
    assert display.ax_.get_yscale() == "linear"
    display.figure_.canvas.draw()
    low, high = display.ax_.get_ylim()
    assert low < -6 and high > -1


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE.keys())
def test_displays_draw_into_given_axes(model, data, make):
    _, ax = plt.subplots()
    display = make(model, data, ax=ax, linewidth=3)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert {line.get_linewidth() for line in display.lines_} == {3}


def test_a_heat_map_draws_into_given_axes():
    _, ax = plt.subplots()
    display = PhaseTransitionDisplay(
        success=np.eye(2), undersampling=[0.3, 0.6], sparsity=[0.1, 0.2]
    )
    display.plot(ax=ax, cmap="viridis")
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert display.im_.get_cmap().name == "viridis"


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE.keys())
def test_without_matplotlib_the_extra_is_named(model, data, make, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"sklearn-unroll\[plot\]"):
        make(model, data)
