"""A small fitted estimator, and its data, for the tests of the shell."""

import pytest

from sklearn_unroll import LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery


@pytest.fixture(scope="package")
def data():
    """240 pairs of 12 features and 20 components."""
    return make_sparse_recovery(
        n_samples=240, n_features=12, n_components=20, sparsity=2, random_state=0
    )


@pytest.fixture
def model(data):
    """An unfitted estimator with the right dictionary that trains in a moment, from ISTA."""
    trainer = Trainer(max_epochs=4, batch_size=80)
    return LISTARegressor(
        data.dictionary, n_layers=5, init="ista", trainer=trainer, random_state=0
    )
