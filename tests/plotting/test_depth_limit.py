import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from sklearn_unroll import FBSNet
from sklearn_unroll.plotting import DepthLossDisplay, DepthParameterDisplay


@pytest.fixture(scope="module")
def models(data):
    return [
        FBSNet(data.dictionary, n_layers=depth, random_state=0)
        .set_params(trainer__max_epochs=2)
        .fit(data.X, data.y)
        for depth in (4, 2)
    ]


def test_losses_are_those_of_the_histories(models):
    display = DepthLossDisplay.from_estimators(models, linewidth=3)
    assert [line.get_label() for line in display.lines_] == ["2 layers", "4 layers"]
    for line, model in zip(display.lines_, models[::-1], strict=True):
        np.testing.assert_array_equal(line.get_ydata(), model.history_.column("monitor"))
        np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2])
        assert line.get_linewidth() == 3
    assert display.ax_.get_ylabel().endswith("training samples")
    assert display.lines_[0].get_color() != display.lines_[1].get_color()
    again = DepthLossDisplay(curves=display.curves, held_out=True).plot(display.ax_)
    assert again.ax_ is display.ax_ and again.ax_.get_ylabel().endswith("held-out samples")


@pytest.mark.parametrize("parameter", ["tau", "lam", "W"])
def test_parameters_are_drawn_over_depth_time(models, parameter):
    display = DepthParameterDisplay.from_estimators(models, parameter=parameter)
    for stairs, model in zip(display.lines_, models[::-1], strict=True):
        values, edges, _ = stairs.get_data()
        np.testing.assert_allclose(edges, np.linspace(0, 1, len(values) + 1))
        expected = [p.detach().norm().item() for p in model.network_.over_depth(parameter)]
        np.testing.assert_allclose(values, expected)
    assert display.ax_.get_ylabel() == parameter
    display.figure_.canvas.draw()


def test_wrong_use_is_told(models, data):
    unfitted = FBSNet(data.dictionary)
    for display in (DepthLossDisplay, DepthParameterDisplay):
        with pytest.raises(NotFittedError):
            display.from_estimators([*models, unfitted])
    with pytest.raises(ValueError, match="'beta' names 0 kinds"):
        DepthParameterDisplay.from_estimators(models, parameter="beta")
