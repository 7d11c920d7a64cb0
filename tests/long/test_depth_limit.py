"""The deep-layer limit as it shows in training, and FBSNet beside LISTA-CP."""

import numpy as np
import pytest
from sklearn.base import clone

from sklearn_unroll import FBSNet, LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.metrics import nmse_db
from sklearn_unroll.theory import depth_limit

pytestmark = pytest.mark.long


def paper_data(seed):
    """Return 25 measurements of 50 unknowns, four of them nonzero, at noise of 0.01."""
    data = make_sparse_recovery(1000, 25, 50, sparsity=4, random_state=seed)
    rng = np.random.default_rng(seed)
    return data.dictionary, data.X + 0.01 * rng.standard_normal(data.X.shape), data.y


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_with_unit_steps_the_loss_falls_with_depth_ever_less(seed):
    dictionary, X, y = paper_data(seed)
    model = FBSNet(dictionary, random_state=0)
    model.set_params(trainer__max_epochs=40, trainer__early_stopping=False)
    found = depth_limit(model, X, y, (5, 10, 20, 40), n_steps=None)
    print(found.losses.round(4), found.gaps.round(4))
    assert (np.diff(found.losses) < 0).all()
    assert (np.diff(found.gaps) < 0).all()
    assert found.losses[-1] < 0.02  # 4 is that of the zero code


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_with_a_horizon_losses_and_parameters_converge_at_first_order(seed):
    dictionary, X, y = paper_data(seed)
    model = FBSNet(dictionary, horizon=3.0, random_state=0)
    model.set_params(
        trainer__max_epochs=20, trainer__early_stopping=False, trainer__learning_rate=0.005
    )
    found = depth_limit(model, X, y, (10, 20, 40, 80), n_steps=2000)
    ratios = found.gaps[1:] / found.gaps[:-1]
    away = np.abs(found.losses - found.limit_losses)
    print(found.losses.round(4), found.gaps.round(5), ratios.round(2))
    print(found.limit_losses.round(4), away.round(5), found.distances)
    assert ((ratios > 0.35) & (ratios < 0.75)).all()
    assert ((away[1:] / away[:-1] > 0.35) & (away[1:] / away[:-1] < 0.75)).all()
    for distance in found.distances.values():
        assert (distance[1:] < 0.75 * distance[:-1]).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_without_scaled_rates_deeper_networks_only_train_slower(seed):
    dictionary, X, y = paper_data(seed)
    model = FBSNet(dictionary, horizon=3.0, random_state=0)
    model.set_params(trainer__max_epochs=10, trainer__early_stopping=False)
    losses = {}
    for scaled in (True, False):
        chosen = clone(model).set_params(trainer__schedule__scale_with_depth=scaled)
        losses[scaled] = depth_limit(chosen, X, y, (10, 40), n_steps=None).losses
    print(losses)
    assert losses[False][1] > 1.5 * losses[False][0]
    assert losses[True][1] < 1.5 * losses[True][0]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sixteen_layers_recover_as_well_as_lista_cp(seed):
    train = make_sparse_recovery(5000, 50, 100, dtype=np.float32, random_state=seed)
    test = make_sparse_recovery(
        1000, dictionary=train.dictionary, dtype=np.float32, random_state=seed + 100
    )
    trainer = Trainer(learning_rate=3e-3, max_epochs=30)
    found = {
        name: nmse_db(test.y, model.fit(train.X, train.y).predict(test.X))
        for name, model in {
            "LISTA-CP": LISTARegressor(
                train.dictionary, init="ista", trainer=trainer, random_state=0
            ),
            "FBSNet, same trainer": FBSNet(train.dictionary, trainer=trainer, random_state=0),
            "FBSNet, its recipe": FBSNet(train.dictionary, random_state=0).set_params(
                trainer__max_epochs=30
            ),
        }.items()
    }
    print({name: round(float(value), 2) for name, value in found.items()})
    assert found["FBSNet, same trainer"] < found["LISTA-CP"]
    assert found["FBSNet, its recipe"] < found["LISTA-CP"]
