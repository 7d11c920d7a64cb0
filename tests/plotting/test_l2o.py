"""The map of learning rate and expansion."""

import numpy as np
import pytest

from sklearn_unroll.plotting import ExpansionDisplay

RATES, SIZES = [1e-7, 1e-6, 1e-5], [5.0, 50.0]


def test_the_map_shows_every_run_and_failures_alike():
    improvement = [[0.1, 0.2, 0.3], [0.4, -1e9, np.nan]]
    display = ExpansionDisplay.from_predictions(improvement, RATES, SIZES)
    np.testing.assert_allclose(display.mesh_.get_array(), [[0.1, 0.2, 0.3], [0.4, -0.05, -0.05]])
    low, high = display.ax_.get_xlim()
    assert low < 1e-7 < 1e-5 < high
    np.testing.assert_array_equal(display.improvement[0], [0.1, 0.2, 0.3])


@pytest.mark.parametrize("n_layers", [2, 3, 4])
def test_lines_are_those_of_one_control_parameter(n_layers):
    display = ExpansionDisplay.from_predictions(np.zeros((2, 3)), RATES, SIZES, n_layers=n_layers)
    for line in display.lines_:
        rates, sizes = line.get_data()
        control = np.asarray(rates) * np.asarray(sizes) ** (2 * (n_layers - 1))
        np.testing.assert_allclose(control, float(line.get_label()))


def test_one_cell_is_a_map_too():
    assert ExpansionDisplay.from_predictions([[0.5]], [1e-6], [10.0]).mesh_ is not None


@pytest.mark.parametrize(
    "improvement, rates, sizes, message",
    [
        (np.zeros((3, 2)), RATES, SIZES, r"= \(2, 3\), got \(3, 2\)"),
        (np.zeros((2, 3)), RATES[::-1], SIZES, "learning_rates must be positive and increasing"),
        (np.zeros((2, 3)), RATES, [0.0, 1.0], "expansions must be positive and increasing"),
    ],
)
def test_bad_studies(improvement, rates, sizes, message):
    with pytest.raises(ValueError, match=message):
        ExpansionDisplay.from_predictions(improvement, rates, sizes)
