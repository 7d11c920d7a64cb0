"""The other members of the family as estimators: ALISTA, NA-ALISTA, HyperLISTA, step-LISTA."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_unroll import (
    ALISTARegressor,
    HyperLISTARegressor,
    LISTARegressor,
    TISTARegressor,
    Trainer,
)
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.exceptions import WorthlessFitWarning
from sklearn_unroll.functional import Dense, Observation, analytic_weight, symmetric_weight
from sklearn_unroll.metrics import nmse_db, nmse_db_scorer
from sklearn_unroll.solvers import ISTA, iterates
from sklearn_unroll.training import StageWise

QUICK = Trainer(
    schedule=StageWise(rates=(1.0, 0.2), relative=False),
    learning_rate=0.1,
    decay="constant",
    max_epochs=3,
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


def test_the_rule_without_y_is_the_one_documented(clean):
    model = HyperLISTARegressor(clean.dictionary, n_nonzero=8).fit(clean.X)
    assert model.n_nonzero_ == 8
    D = clean.dictionary
    W = analytic_weight(torch.from_numpy(D)).numpy()
    reach = np.abs(clean.X @ W.T).max(1)
    error = model.mu_ * np.abs(clean.X @ np.linalg.pinv(D)).sum(1)
    assert model.c1_ == pytest.approx(min(0.75 / (model.mu_ * 8), 0.7 * (reach / error).min()))
    assert model.c2_ == pytest.approx(0.214 / (model.mu_ * 8))
    assert model.c3_ == float("inf")
    many = HyperLISTARegressor(clean.dictionary, n_nonzero=40).fit(clean.X)
    assert many.c1_ == pytest.approx(0.75 / (many.mu_ * 40))  # here the other bound holds
    assert HyperLISTARegressor(clean.dictionary).fit(clean.X).n_nonzero_ == 20
    assert HyperLISTARegressor(clean.dictionary).fit(clean.X, clean.y).n_nonzero_ == 8


def test_given_numbers_are_taken(clean):
    given = HyperLISTARegressor(clean.dictionary, n_nonzero=11, c1=0.01, c2=0.02, c3=30.0)
    given.fit(clean.X, clean.y)
    assert (given.n_nonzero_, given.c1_, given.c2_, given.c3_) == (11, 0.01, 0.02, 30.0)


def test_with_pairs_c1_is_the_largest_good_one_of_some_multiples():
    data = make_sparse_recovery(200, 50, 80, sparsity=4, snr_db=25, random_state=0)
    # So many nonzeros are expected that no bound but 0.75 / (mu s) holds.
    model = HyperLISTARegressor(data.dictionary, n_nonzero=12).fit(data.X, data.y)
    start = 0.75 / (model.mu_ * 12)
    multiples = np.array([0.8, 0.87, 0.93, 0.97, 1.0, 1.07, 1.13, 1.2, 1.27])
    errors = []
    for c1 in start * multiples:
        codes = clone(model).set_params(c1=c1).fit(data.X, data.y).predict(data.X)
        errors.append(((codes - data.y) ** 2).sum())
    # A candidate counts with the next larger one, in case it lets rare samples stall.
    pairs = np.maximum(errors[:-1], errors[1:])
    best = np.flatnonzero(pairs <= 10**0.1 * pairs.min()).max()  # larger ones bear more noise
    assert model.c1_ == pytest.approx(start * multiples[best])
    assert best > 0
    again = HyperLISTARegressor(data.dictionary, n_nonzero=12).fit(data.X)
    assert again.c1_ == pytest.approx(start)


def test_pairs_choose_a_better_c1_under_noise():
    train = make_sparse_recovery(400, 125, 250, snr_db=30, random_state=0)
    test = make_sparse_recovery(400, dictionary=train.dictionary, snr_db=30, random_state=1)
    with_pairs = HyperLISTARegressor(train.dictionary).fit(train.X, train.y)
    by_rule = HyperLISTARegressor(train.dictionary, n_nonzero=with_pairs.n_nonzero_).fit(train.X)
    assert with_pairs.c2_ == by_rule.c2_
    error = nmse_db(test.y, with_pairs.predict(test.X))
    assert error <= nmse_db(test.y, by_rule.predict(test.X))
    assert error < -28


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
        lambda D: ALISTARegressor(
            D, n_layers=3, rule="recurrent", trainer=Trainer(max_epochs=1), random_state=0
        ),
        lambda D: TISTARegressor(D, n_layers=3, trainer=Trainer(max_epochs=3), random_state=0),
    ],
    ids=["HyperLISTA", "ALISTA", "NA-ALISTA", "TISTA"],
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
    with pytest.warns(WorthlessFitWarning, match=r"c1=5 is too large: 500 of the first 500"):
        model.fit(clean.X, clean.y)
    assert not model.predict(clean.X).any()
    with pytest.warns(WorthlessFitWarning) as caught:
        clone(model).set_params(c1=0.5).fit(clean.X, clean.y)
    largest = float(str(caught[0].message).split("or below ")[1].split(",")[0])
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


@pytest.mark.filterwarnings("ignore:HyperLISTA diverges")  # at ten times its momentum
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
        {"weights": "w"},
    ],
)
def test_invalid_numbers(clean, parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        HyperLISTARegressor(clean.dictionary, **parameters).fit(clean.X, clean.y)


def test_weights_are_those_of_the_unit_atoms(clean):
    D = torch.from_numpy(clean.dictionary)
    weights = {"analytic": analytic_weight(D), "symmetric": symmetric_weight(D).W}
    for name, W in weights.items():
        model = HyperLISTARegressor(clean.dictionary, weights=name).fit(clean.X, clean.y)
        torch.testing.assert_close(model.network_.layers[0].weights.W, W)
        assert nmse_db(clean.y, model.predict(clean.X)) < -80


def test_alista_learns_more_than_its_start(clean, assert_below):
    model = ALISTARegressor(
        clean.dictionary, n_layers=6, support_selection=(1.2, 13.0), random_state=0
    ).set_params(trainer__max_epochs=8)
    start = clone(model).set_params(trainer__max_epochs=0)
    before = nmse_db(clean.y, start.fit(clean.X, clean.y).predict(clean.X))
    after = nmse_db(clean.y, model.fit(clean.X, clean.y).predict(clean.X))
    assert_below(after - before, -4)  # 6.2 to 7.2 over seeds; the start fits the pairs already


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


def test_every_published_member_of_the_family_trains(clean, assert_below):
    members = {
        "LISTA": {"weights": "free"},
        "LISTA-CP": {},
        "LISTA-SS": {"weights": "free", "support_selection": (1.2, 13.0)},
        "LISTA-CPSS": {"support_selection": (1.2, 13.0)},
        "step-LISTA": {"weights": "adjoint", "trainer__learning_rate": 3e-2},
        "TiLISTA": {"tied": True, "learn_step": True, "support_selection": (1.2, 13.0)},
    }
    for arguments in members.values():
        model = LISTARegressor(
            clean.dictionary, n_layers=4, trainer=Trainer(max_epochs=5), random_state=0
        )
        model.set_params(**arguments).fit(clean.X, clean.y)
        monitor = model.history_.column("monitor")
        assert_below(monitor.min() / monitor[0], 0.9)


def test_the_recurrent_rule_learns_more_than_its_start(assert_below):
    sizes = {"n_samples": 500, "sparsity": 4}
    train = make_sparse_recovery(n_features=50, n_components=80, **sizes, random_state=0)
    test = make_sparse_recovery(dictionary=train.dictionary, **sizes, random_state=1)
    model = ALISTARegressor(
        train.dictionary,
        n_layers=4,
        rule="recurrent",
        hidden_size=16,
        trainer=Trainer(max_epochs=8, learning_rate=3e-3, batch_size=64),
        random_state=0,
    )
    start = clone(model).set_params(trainer__max_epochs=0)
    before = nmse_db(test.y, start.fit(train.X, train.y).predict(test.X))
    codes = model.fit(train.X, train.y).predict(test.X)
    assert_below(nmse_db(test.y, codes) - before, -3)
    # Its first parameters are random; they and the shuffles come from random_state alone.
    torch.manual_seed(5)
    np.testing.assert_array_equal(clone(model).fit(train.X, train.y).predict(test.X), codes)
    other = clone(model).set_params(random_state=1).fit(train.X, train.y)
    assert not np.array_equal(other.predict(test.X), codes)
    # Thresholds come from the residual: codes scale with the data.
    np.testing.assert_allclose(model.predict(1e3 * test.X), 1e3 * codes, rtol=1e-9, atol=1e-9)


def test_learned_steps_minimise_better_than_as_many_iterations(data, model, assert_below):
    model.set_params(weights="adjoint", n_layers=8)
    model.set_params(trainer__max_epochs=30, trainer__learning_rate=0.1)
    unseen = make_sparse_recovery(240, dictionary=data.dictionary, sparsity=2, random_state=9)
    obs = Observation(torch.from_numpy(unseen.X), Dense(torch.from_numpy(data.dictionary)))
    *_, x = iterates(ISTA(obs, model.alpha), obs, 8)
    value = 0.5 * ((unseen.X - x.numpy() @ data.dictionary) ** 2).sum(1)
    value += model.alpha * np.abs(x.numpy()).sum(1)
    assert_below(-model.fit(data.X).score(unseen.X) / value.mean(), 0.92)
    assert sum(p.numel() for p in model.network_.parameters()) == 8


def test_learned_steps_stay_nonnegative(data, model):
    model.set_params(weights="adjoint", trainer__learning_rate=3.0)
    for _ in range(5):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WorthlessFitWarning)  # said now and then
            model.partial_fit(data.X)
        steps = [float(layer.rule.gamma.detach()) for layer in model.network_.layers]
        assert min(steps) >= 0
    assert min(steps) == 0  # or this rate would not have put it to the test
    model.score(data.X)
