"""A small fitted network, and no figure left open."""

import matplotlib.pyplot as plt
import pytest

from sklearn_unroll import LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery


@pytest.fixture(scope="package")
def data():
    return make_sparse_recovery(60, n_features=8, n_components=12, sparsity=2, random_state=0)


@pytest.fixture(scope="package")
def model(data):
    trainer = Trainer(max_epochs=3)
    return LISTARegressor(data.dictionary, n_layers=4, trainer=trainer).fit(data.X, data.y)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")
