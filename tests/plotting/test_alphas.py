"""Scores over alphas as a picture."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sklearn_unroll import LassoCoder
from sklearn_unroll.metrics import alpha_scores
from sklearn_unroll.plotting import AlphaScoresDisplay

NOISE = 0.1


@pytest.fixture(scope="module")
def coder(data):
    return LassoCoder(data.dictionary).fit(data.X)


def test_curves_choices_and_the_truth(data, coder):
    X = data.X + NOISE * np.random.default_rng(0).standard_normal(data.X.shape)
    _, ax = plt.subplots()
    display = AlphaScoresDisplay.from_estimator(
        coder, X, alphas=12, noise=NOISE, X_true=data.X, ax=ax, linewidth=3
    )
    assert display.ax_ is ax and display.figure_ is ax.figure
    assert list(display.scores) == ["sure", "discrepancy", "cross_validation", "error"]
    assert {line.get_linewidth() for line in display.lines_} == {3}
    for line, dot, name in zip(display.lines_, display.best_, display.scores, strict=True):
        found = display.scores[name]
        assert dot.get_xdata()[0] == found.best_alpha
        if name == "discrepancy":
            assert dot.get_ydata()[0] == pytest.approx(NOISE**2)
        else:
            assert dot.get_ydata()[0] == line.get_ydata().min()
        if name != "error":
            alone = alpha_scores(coder, X, 12, criterion=name, noise=NOISE)
            np.testing.assert_allclose(found.per_sample, alone.per_sample)
    codes = coder.path(X, display.scores["error"].alphas).codes
    errors = ((codes @ data.dictionary - data.X) ** 2).mean((1, 2))
    np.testing.assert_allclose(display.lines_[3].get_ydata(), errors)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    display.figure_.canvas.draw()


def test_without_a_noise_entries_are_held_out(data):
    coder = LassoCoder(data.dictionary, alpha_relative=True).fit(data.X)
    display = AlphaScoresDisplay.from_estimator(coder, data.X, alphas=3, cv=2)
    assert list(display.scores) == ["cross_validation"]
    assert "share" in display.ax_.get_xlabel()


def test_what_is_refused(data, coder):
    with pytest.raises(ValueError, match="some of.*'error'"):
        AlphaScoresDisplay.from_estimator(coder, data.X, criterion="error", noise=NOISE)
    with pytest.raises(ValueError, match=r"inverse_transform\(y\)"):
        AlphaScoresDisplay.from_estimator(coder, data.X, X_true=data.y)
