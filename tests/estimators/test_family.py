"""ALISTA and HyperLISTA as estimators."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from sklearn_unroll import ALISTARegressor, HyperLISTARegressor, LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import analytic_weight, symmetric_weight
from sklearn_unroll.metrics import nmse_db, nmse_db_scorer
from sklearn_unroll.training import StageWise

QUICK = Trainer(
    schedule=StageWise(rates=(1.0, 0.2)), learning_rate=0.1, decay="constant", max_epochs=3
)


@pytest.fixture(scope="module")
def clean():
    return make_sparse_recovery(500, 100, 200, sparsity=8, random_state=0)


@pytest.mark.parametrize("shape, sparsity", [((100, 200), 0.05), ((60, 240), 3), ((150, 200), 20)])
def test_hyperlista_needs_no_constants_at_any_size(shape, sparsity):
    """The rule carries over; constants that suit 250x500 do not."""
    data = make_sparse_recovery(300, *shape, sparsity=sparsity, random_state=1)
    model = HyperLISTARegressor(data.dictionary, n_layers=20).fit(data.X, data.y)
    assert nmse_db(data.y, model.predict(data.X)) < -40


def test_more_layers_converge_to_rounding_error(clean):
    model = HyperLISTARegressor(clean.dictionary, n_layers=50).fit(clean.X, clean.y)
    curve = [nmse_db(clean.y, codes) for codes in model.staged_predict(clean.X)]
    assert curve[-1] < -220
    steps = np.diff(curve[10:35])
    assert steps.max() < -3  # linear convergence: every layer gains


def test_the_rule_is_the_one_documented(clean):
    model = HyperLISTARegressor(clean.dictionary).fit(clean.X, clean.y)
    assert model.n_nonzero_ == pytest.approx(8)
    D = clean.dictionary
    W = analytic_weight(torch.from_numpy(D)).numpy()
    reach = np.abs(clean.X @ W.T).max(1)
    error = model.mu_ * np.abs(clean.X @ np.linalg.pinv(D)).sum(1)
    assert model.c1_ == pytest.approx(min(0.75 / (model.mu_ * 8), 0.7 * (reach / error).min()))
    assert model.c2_ == pytest.approx(0.214 / (model.mu_ * 8))
    assert model.c3_ == float("inf")
    assert HyperLISTARegressor(clean.dictionary).fit(clean.X).n_nonzero_ == 20
    given = HyperLISTARegressor(clean.dictionary, n_nonzero=11, c1=0.01, c2=0.02, c3=30.0)
    given.fit(clean.X, clean.y)
    assert (given.n_nonzero_, given.c1_, given.c2_, given.c3_) == (11, 0.01, 0.02, 30.0)


def test_hyperlista_is_scale_equivariant(clean):
    model = HyperLISTARegressor(clean.dictionary).fit(clean.X, clean.y)
    np.testing.assert_allclose(
        model.predict(1e4 * clean.X), 1e4 * model.predict(clean.X), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda D: HyperLISTARegressor(D),
        lambda D: ALISTARegressor(D, n_layers=5, trainer=QUICK, random_state=0),
    ],
)
def test_atoms_of_any_norm(clean, make):
    """Scaling atoms by c scales codes by 1/c, and nothing else."""
    norms = np.geomspace(0.1, 10, 200)
    plain = make(clean.dictionary).fit(clean.X, clean.y)
    scaled = make(clean.dictionary * norms[:, None]).fit(clean.X, clean.y / norms)
    codes = plain.predict(clean.X)
    np.testing.assert_allclose(scaled.predict(clean.X) * norms, codes, atol=1e-6)
    np.testing.assert_allclose(
        scaled.inverse_transform(scaled.predict(clean.X)),
        plain.inverse_transform(codes),
        atol=1e-6,
    )
    *_, last = scaled.staged_predict(clean.X)
    np.testing.assert_allclose(last, scaled.predict(clean.X))
    assert scaled.score(clean.X, clean.y / norms) == pytest.approx(
        plain.score(clean.X, clean.y), abs=1e-6
    )


def test_a_threshold_nobody_wakes_up_from_is_told(clean):
    model = HyperLISTARegressor(clean.dictionary, c1=5.0)
    with pytest.warns(ConvergenceWarning, match=r"c1=5 is too large: 500 of the first 500"):
        model.fit(clean.X, clean.y)
    assert not model.predict(clean.X).any()
    with pytest.warns(ConvergenceWarning) as caught:
        clone(model).set_params(c1=0.5).fit(clean.X, clean.y)
    largest = float(str(caught[0].message).split("c1 < ")[1].rstrip("."))
    clone(model).set_params(c1=0.99 * largest).fit(clean.X, clean.y)  # would raise on a warning


def test_all_zero_observations_give_zero_codes(clean):
    for model in (
        HyperLISTARegressor(clean.dictionary).fit(clean.X, clean.y),
        ALISTARegressor(clean.dictionary, n_layers=2, trainer=QUICK).fit(clean.X, clean.y),
    ):
        assert not model.predict(0 * clean.X[:3]).any()


def test_duplicate_atoms_give_finite_codes(clean):
    D = np.vstack([clean.dictionary, clean.dictionary[:3]])
    y = np.hstack([clean.y, np.zeros((500, 3))])
    codes = HyperLISTARegressor(D).fit(clean.X, y).predict(clean.X)
    assert np.isfinite(codes).all()


def test_search_over_the_three_numbers(clean, tmp_path):
    model = HyperLISTARegressor(clean.dictionary, n_layers=12, memory=str(tmp_path))
    auto = clone(model).fit(clean.X, clean.y)
    grid = {
        "c1": [0.3 * auto.c1_, auto.c1_],
        "c2": [auto.c2_, 10 * auto.c2_],
        "c3": [1e-6, float("inf")],
    }
    search = GridSearchCV(model, grid, scoring=nmse_db_scorer, cv=2, error_score="raise")
    search.fit(clean.X, clean.y)
    assert search.best_params_ == {"c1": auto.c1_, "c2": auto.c2_, "c3": float("inf")}
    assert list(tmp_path.rglob("output.pkl"))  # the weight was cached


@pytest.mark.parametrize(
    "parameters",
    [
        {"c1": 0.0},
        {"c1": -1.0},
        {"c2": 0},
        {"c3": -2.0},
        {"c1": "tune"},
        {"n_nonzero": 0},
        {"weight": "w"},
    ],
)
def test_invalid_numbers(clean, parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        HyperLISTARegressor(clean.dictionary, **parameters).fit(clean.X, clean.y)


def test_weights_are_those_of_the_unit_atoms(clean):
    D = torch.from_numpy(clean.dictionary)
    weights = {"analytic": analytic_weight(D), "symmetric": symmetric_weight(D).W}
    for name, W in weights.items():
        model = HyperLISTARegressor(clean.dictionary, weight=name).fit(clean.X, clean.y)
        torch.testing.assert_close(model.network_.layers[0].weights.W, W)
        assert nmse_db(clean.y, model.predict(clean.X)) < -80


def test_alista_learns_more_than_its_start(clean):
    model = ALISTARegressor(clean.dictionary, n_layers=6, trainer=QUICK, random_state=0)
    start = clone(model).set_params(trainer__learning_rate=1e-12, trainer__max_epochs=1)
    before = nmse_db(clean.y, start.fit(clean.X, clean.y).predict(clean.X))
    after = nmse_db(clean.y, model.fit(clean.X, clean.y).predict(clean.X))
    assert after < before - 10


def test_alista_trains_alike_at_any_scale(clean):
    # Clipping weighs the gradients of step and threshold against each other: leave it out.
    trainer = clone(QUICK).set_params(max_grad_norm=None)
    model = ALISTARegressor(clean.dictionary, n_layers=4, trainer=trainer, random_state=0)
    codes = clone(model).fit(clean.X, clean.y).predict(clean.X)
    scaled = model.fit(1e3 * clean.X, 1e3 * clean.y).predict(1e3 * clean.X)
    np.testing.assert_allclose(scaled, 1e3 * codes, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("selection", [(1.0,), (1, 101), (-1, 5), ("a", 2), [1, 2, 3]])
@pytest.mark.parametrize("make", [LISTARegressor, ALISTARegressor])
def test_invalid_support_selection(clean, make, selection):
    with pytest.raises(ValueError, match="support_selection"):
        make(clean.dictionary, support_selection=selection).fit(clean.X, clean.y)


def test_free_weights_have_no_step(clean):
    with pytest.raises(ValueError, match="learn_step=True needs weights='coupled'"):
        LISTARegressor(clean.dictionary, weights="free", learn_step=True).fit(clean.X, clean.y)


def test_every_published_member_of_the_family_trains(clean):
    members = {
        "LISTA": {"weights": "free"},
        "LISTA-CP": {},
        "LISTA-SS": {"weights": "free", "support_selection": (1.2, 13.0)},
        "LISTA-CPSS": {"support_selection": (1.2, 13.0)},
        "TiLISTA": {"tied": True, "learn_step": True, "support_selection": (1.2, 13.0)},
    }
    for name, arguments in members.items():
        model = LISTARegressor(
            clean.dictionary,
            n_layers=4,
            trainer=Trainer(max_epochs=5),
            random_state=0,
            **arguments,
        ).fit(clean.X, clean.y)
        monitor = model.history_.column("monitor")
        assert monitor.min() < 0.9 * monitor[0], name
