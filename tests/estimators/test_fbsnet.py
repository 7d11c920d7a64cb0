"""FBSNet: penalties, horizons, first iterates, other depths."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from sklearn_unroll import FBSNet, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import L1, ElasticNet, GroupL1, Penalty
from sklearn_unroll.metrics import nmse_db
from sklearn_unroll.nn import Unrolled


@pytest.fixture(scope="module")
def data():
    return make_sparse_recovery(200, 10, 20, sparsity=2, snr_db=30, random_state=0)


def quick(data, epochs=3, **options):
    options = {"n_layers": 4, "random_state": 0} | options
    model = FBSNet(data.dictionary, **options)
    return model.set_params(trainer__max_epochs=epochs)


@pytest.mark.parametrize("horizon", [None, 4.0])
@pytest.mark.parametrize(
    "penalty",
    ["l1", "nonnegative_l1", "elastic_net", "box", "quadratic", "zero", GroupL1(5), L1(0.3)],
    ids=str,
)
def test_every_penalty_trains_and_stays_admissible(data, penalty, horizon, assert_below):
    model = quick(data, penalty=penalty, horizon=horizon).fit(data.X, data.y)
    losses = model.history_.column("monitor")
    assert_below(losses.min() / losses[0] - 1, -0.01)
    for name in ("tau", "lam"):
        assert min(float(p.detach()) for p in model.network_.over_depth(name)) >= 0
    stages = list(model.staged_predict(data.X))
    assert len(stages) == 4
    np.testing.assert_array_equal(stages[-1], model.predict(data.X))
    if penalty in ("box", "nonnegative_l1"):
        assert stages[0].min() >= 0 and stages[-1].min() >= 0


def test_scalars_are_never_negative_after_any_step(data, monkeypatch):
    seen = []
    original = Unrolled.project_

    def watch(network):
        with torch.no_grad():
            before = torch.stack(network.over_depth("tau") + network.over_depth("lam"))
        original(network)
        with torch.no_grad():
            after = torch.stack(network.over_depth("tau") + network.over_depth("lam"))
        seen.append((float(before.min()), float(after.min())))

    monkeypatch.setattr(Unrolled, "project_", watch)
    model = quick(data, epochs=10, n_layers=6)
    model.set_params(trainer__learning_rate=0.3, trainer__schedule__rates=None)
    model.fit(data.X, data.y)
    before, after = np.array(seen).T
    assert len(seen) == 40
    assert before.min() < 0  # what the projection is for
    assert after.min() == 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clipping_keeps_twenty_layers_finite(seed, assert_below):
    data = make_sparse_recovery(300, 25, 50, sparsity=4, snr_db=40, random_state=seed)
    model = quick(data, n_layers=20, epochs=8, random_state=seed).fit(data.X, data.y)
    losses = model.history_.column("monitor")
    assert np.isfinite(losses).all()
    assert_below(losses[-1] / losses[0], 0.5)
    assert all(bool(torch.isfinite(p).all()) for p in model.network_.parameters())


def test_refine_then_coarsen_is_the_identity(data):
    for options in ({"horizon": 4.0, "x0": "learned"}, {}):
        model = quick(data, **options).fit(data.X, data.y)
        fine = model.refine(12)
        assert fine.n_layers == fine.network_.depth == 12 and fine.warm_start
        assert fine.horizon == model.horizon
        assert model.n_layers == 4 and not model.warm_start
        back = fine.refine(4)
        np.testing.assert_allclose(back.predict(data.X), model.predict(data.X), atol=1e-12)
        for old, new in zip(model.network_.parameters(), back.network_.parameters(), strict=True):
            torch.testing.assert_close(new, old, rtol=1e-14, atol=1e-15)


def test_training_goes_on_from_a_refined_network(data, assert_below):
    coarse = quick(data, epochs=20, horizon=3.0).fit(data.X, data.y)
    fine = coarse.refine(8)
    refined = nmse_db(data.y, fine.predict(data.X))
    fine.fit(data.X, data.y)
    scratch = clone(coarse).set_params(n_layers=8)
    untrained = scratch.set_params(trainer__max_epochs=0)
    untrained.fit(data.X, data.y)
    assert_below(fine.history_[0].monitor / untrained.history_[0].monitor, 0.5)
    assert nmse_db(data.y, fine.predict(data.X)) <= refined
    assert fine.network_.layers[0].rule.h == pytest.approx(3 / 8)


def test_a_refined_network_may_run_for_longer(data):
    model = quick(data, horizon=4.0).fit(data.X, data.y)
    longer = model.refine(8, keep_time=False)
    assert longer.horizon == 8.0 and longer.network_.layers[0].rule.h == 1.0
    unit = quick(data).fit(data.X, data.y)
    tau = float(unit.network_.over_depth("tau")[0].detach())
    taus = [
        float(unit.refine(8, keep_time=keep).network_.over_depth("tau")[0].detach())
        for keep in (True, False)
    ]
    assert taus == pytest.approx([tau / 2, tau])


def test_refine_needs_a_fitted_estimator_and_a_depth(data):
    with pytest.raises(NotFittedError):
        quick(data).refine(8)
    with pytest.raises(ValueError, match="n_layers must be a positive integer"):
        quick(data, epochs=1).fit(data.X, data.y).refine(0)


def test_first_iterates(data):
    x0 = np.linspace(-0.5, 0.5, 20)
    given = quick(data, x0=x0).fit(data.X, data.y)
    np.testing.assert_allclose(given.network_.layers[0].x0.x0.numpy(), x0)
    assert not np.allclose(given.predict(data.X), quick(data).fit(data.X, data.y).predict(data.X))
    learned = quick(data, x0="learned", epochs=10).fit(data.X, data.y)
    assert learned.network_.layers[0].x0.x0.detach().any()
    restored = pickle.loads(pickle.dumps(learned))
    np.testing.assert_array_equal(restored.predict(data.X), learned.predict(data.X))
    quick(data, x0=lambda obs: obs.A.adjoint(obs.b)).fit(data.X, data.y)


def test_penalties_are_searched(data):
    search = GridSearchCV(
        quick(data, penalty=ElasticNet(), epochs=1), {"penalty__l1_ratio": [0.2, 1.0]}, cv=2
    ).fit(data.X, data.y)
    assert search.best_params_["penalty__l1_ratio"] in (0.2, 1.0)


def test_float32_is_kept(data):
    model = quick(data, penalty=GroupL1(np.repeat(np.arange(10), 2), weight=np.float64(0.5)))
    codes = model.fit(data.X.astype(np.float32), data.y).predict(data.X.astype(np.float32))
    assert codes.dtype == np.float32


def test_without_pairs_it_learns_to_minimise_the_l1_problem(data, assert_below):
    model = quick(data, alpha=0.05, epochs=20).fit(data.X)
    start = quick(data, alpha=0.05, epochs=0).fit(data.X)
    assert_below(model.score(data.X) / start.score(data.X) - 1, -0.1)  # both are negative
    with pytest.raises(ValueError, match="or that of groups, but the penalty is 'box'"):
        quick(data, penalty="box").fit(data.X)


def test_the_score_without_codes_is_the_objective_with_the_penalty(data):
    model = quick(data, penalty="elastic_net", alpha=0.3).fit(data.X, data.y)
    z = model.predict(data.X)
    penalty = 0.5 * np.abs(z).sum(1) + 0.25 * (z**2).sum(1)
    each = 0.5 * ((data.X - z @ data.dictionary) ** 2).sum(1) + 0.3 * penalty
    assert model.score(data.X) == pytest.approx(-each.mean())
    weight = np.arange(200.0)
    assert model.score(data.X, sample_weight=weight) == pytest.approx(
        -np.average(each, weights=weight)
    )


class FailsFarOut(Penalty):
    """A prox that fails where no probe looks."""

    def value(self, x):
        return x.abs().sum(-1)

    def prox(self, x, step):
        return torch.where(x.abs() < 1e3, x, torch.nan)


def test_nan_is_never_returned(data):
    model = quick(data, penalty=FailsFarOut(), guard=None).fit(data.X, data.y)
    far = data.X[:5].copy()
    far[1] *= 1e6
    with pytest.raises(ValueError, match=r"FBSNet gives for 1 of 5 observations are infinite"):
        model.predict(far)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"penalty": "l0"}, "'penalty' parameter"),
        ({"penalty": object()}, "'penalty' parameter"),
        ({"penalty": GroupL1([0, 1, 1])}, "3 entries, but the codes have 20"),
        ({"penalty": L1(np.ones((200, 1)))}, "the same for all samples"),
        ({"horizon": -1.0}, "'horizon' parameter"),
        ({"tau": -0.5}, "'tau' parameter"),
        ({"alpha": -0.5}, "'alpha' parameter"),
        ({"init": "zeros"}, "'init' parameter"),
        ({"x0": "warm"}, "'x0' parameter"),
        ({"x0": np.zeros(10)}, r"20 finite numbers.*shape \(10,\)"),
        ({"x0": lambda obs: obs.b}, r"x0\(obs\) .* of shape \(2, 20\)"),
    ],
)
def test_bad_options_are_errors(data, options, match):
    with pytest.raises(ValueError, match=match):
        quick(data, **options).fit(data.X, data.y)


def test_an_expanding_horizon_is_told_with_the_number(data):
    with pytest.warns(UserWarning, match=r"_2 = 2.25 is above 2"):
        quick(data, horizon=9.0, epochs=1).fit(data.X, data.y)


def test_the_trainer_of_the_recipe_is_the_published_one(data):
    unit, flow = (quick(data, horizon=horizon).trainer for horizon in (None, 3.0))
    assert unit.optimizer.momentum == 0.9
    assert flow.schedule.scale_with_depth and not unit.schedule.scale_with_depth
    own = FBSNet(data.dictionary, n_layers=3, trainer=Trainer(max_epochs=1))
    assert own.fit(data.X, data.y).n_epochs_ == 1


@pytest.mark.parametrize("relative", [False, True])
def test_groups_are_learned_without_pairs(data, relative):
    R = GroupL1(4, np.linspace(0.5, 1.5, 5))
    model = FBSNet(data.dictionary, penalty=R, alpha=0.1, n_layers=4, random_state=0, guard=None)
    model.set_params(alpha_relative=relative, init="adjoint")
    before = model.set_params(trainer=Trainer("lasso", max_epochs=0)).fit(data.X).score(data.X)
    after = model.set_params(trainer=Trainer("lasso", max_epochs=20)).fit(data.X)
    assert after.score(data.X) > before
    codes = torch.from_numpy(after.predict(data.X))
    problem = after.problem(data.X)
    assert isinstance(problem.R, GroupL1)
    if not relative:
        R = GroupL1(4, 0.1 * np.linspace(0.5, 1.5, 5))
        torch.testing.assert_close(problem.R.value(codes), R.value(codes))
        # What was monitored is that objective.
        share = float(problem.value(codes).sum()) / (0.5 * (data.X**2).sum())
        assert share == pytest.approx(after.history_.column("monitor").min(), rel=1e-6)
    assert after.certify(data.X, alpha=0.2).shape == (200,)
    with pytest.raises(ValueError, match="problem with the l1 norm, or that of groups"):
        FBSNet(data.dictionary, penalty="elastic_net").fit(data.X)
