"""Quality at the size of the papers; minutes, so `make test-long`. Times are not asserted."""

import numpy as np
import pytest
import torch

from sklearn_unroll import LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.metrics import nmse_db
from sklearn_unroll.solvers import FISTA, iterates

pytestmark = pytest.mark.long


@pytest.mark.parametrize("seed", [100, 200])
def test_lista_beats_fista_by_ten_db_at_sixteen_layers(seed):
    """250x500, 10 % support, noiseless; FISTA at its best alpha after 16 iterations."""
    train = make_sparse_recovery(40_000, 250, 500, dtype=np.float32, random_state=seed)
    test = make_sparse_recovery(
        1000, dictionary=train.dictionary, dtype=np.float32, random_state=seed + 1
    )
    trainer = Trainer(learning_rate=3e-3, max_epochs=6)
    model = LISTARegressor(
        train.dictionary, tied=True, init="ista", trainer=trainer, random_state=seed
    )
    learned = nmse_db(test.y, model.fit(train.X, train.y).predict(test.X))
    obs = Observation(torch.from_numpy(test.X), Dense(torch.from_numpy(test.dictionary)))
    classical = []
    for alpha in (0.1, 0.125, 0.15, 0.175, 0.2):
        *_, x = iterates(FISTA(obs, alpha), obs, 16)
        classical.append(nmse_db(test.y, x.numpy()))
    assert learned < min(classical) - 10
