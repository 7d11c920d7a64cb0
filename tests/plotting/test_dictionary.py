"""Atoms as pictures."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from sklearn_unroll import LassoCoder
from sklearn_unroll.plotting import DictionaryDisplay


def test_every_atom_is_in_its_place():
    D = np.random.default_rng(0).standard_normal((5, 6))
    display = DictionaryDisplay(components=D, image_shape=(2, 3)).plot()
    canvas = np.ma.filled(display.im_.get_array(), np.nan)
    assert canvas.shape == (2 * 3 + 1, 3 * 4 + 1)
    fourth = canvas[4:6, 1:4].ravel()
    np.testing.assert_allclose(fourth, (D[3] - D[3].min()) / np.ptp(D[3]))
    assert np.isfinite(canvas).sum() == D.size
    assert np.isnan(canvas[4:, 9:]).all()  # of the sixth there is none


def test_it_draws_a_fitted_coder_into_given_axes_and_zero_atoms_too():
    _, ax = plt.subplots()
    D = np.vstack([np.eye(4), np.zeros((1, 4))])
    coder = LassoCoder(D).fit(D)
    display = DictionaryDisplay.from_estimator(coder, ax=ax, cmap="viridis")
    assert display.ax_ is ax and display.figure_ is ax.figure
    assert display.im_.get_cmap().name == "viridis"


def test_what_is_no_picture_is_refused():
    with pytest.raises(ValueError, match=r"8 features.*2x2.*image_shape"):
        DictionaryDisplay(components=np.ones((3, 8))).plot()
    with pytest.raises(NotFittedError):
        DictionaryDisplay.from_estimator(LassoCoder())
