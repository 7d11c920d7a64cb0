"""groups= of estimators: the group lasso, certified, guarded and in any units."""

import warnings

import cvxpy as cp
import numpy as np
import pytest
import torch

from sklearn_unroll import AdaLISTARegressor, ALISTARegressor, LISTARegressor, Trainer
from sklearn_unroll.exceptions import WorthlessFitWarning
from sklearn_unroll.functional import GroupL1, block_analytic_weight
from sklearn_unroll.metrics import nmse_db
from sklearn_unroll.theory import block_coherence
from sklearn_unroll.training import Descent, Lasso

# Trainings here are short, and some are worth nothing.
pytestmark = pytest.mark.filterwarnings("ignore:This fit of")

QUICK, UNTRAINED = Trainer(max_epochs=3, batch_size=60), Trainer(max_epochs=0)
GROUPS = np.array([4, 9, 4, 1, 9, -3, 1, 4, 9, 9, 1, 4] * 2)  # sizes 8, 8, 6, 2, interleaved
SIZES = {label: int((label == GROUPS).sum()) for label in np.unique(GROUPS)}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    D = rng.standard_normal((24, 30))
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    labels = np.unique(GROUPS, return_inverse=True)[1]
    y = rng.standard_normal((240, 24)) * (rng.random((240, 4)) < 0.4)[:, labels]
    return D, y @ D, y


def penalty(codes, scale=1.0):
    """Return the penalty of codes, written out."""
    codes = codes * scale
    return sum(
        np.sqrt(d) * np.linalg.norm(codes[:, label == GROUPS], axis=1)
        for label, d in SIZES.items()
    )


def test_untrained_networks_go_to_the_optimum_of_cvxpy(data):
    D, X, _ = data
    model = LISTARegressor(D, groups=GROUPS, alpha=0.2, n_layers=300, init="ista")
    model.set_params(trainer=Trainer("lasso", max_epochs=0)).fit(X[:40])
    codes = model.predict(X[:4])
    for x, z in zip(X[:4], codes, strict=True):
        u = cp.Variable(24)
        parts = [np.sqrt(d) * cp.norm2(u[np.flatnonzero(g == GROUPS)]) for g, d in SIZES.items()]
        cp.Problem(cp.Minimize(0.5 * cp.sum_squares(x - u @ D) + 0.2 * sum(parts))).solve(
            solver=cp.CLARABEL
        )
        np.testing.assert_allclose(z, u.value, atol=1e-4)
    assert model.certify(X[:4]).max() < 1e-4
    value = 0.5 * ((X[:4] - codes @ D) ** 2).sum(1) + 0.2 * penalty(codes)
    assert model.score(X[:4]) == pytest.approx(-value.mean(), rel=1e-12)


@pytest.mark.parametrize("make", [LISTARegressor, ALISTARegressor, AdaLISTARegressor])
def test_a_fit_without_pairs_lowers_the_group_lasso(make, data):
    D, X, _ = data
    model = make(D, groups=GROUPS, alpha=0.1, n_layers=4, random_state=0, guard=None)
    before = model.set_params(trainer=Trainer("lasso", max_epochs=0)).fit(X).score(X)
    trainer = Trainer("lasso", max_epochs=20, batch_size=60, learning_rate=1e-2)
    after = model.set_params(trainer=trainer).fit(X)
    assert after.score(X) > before
    # The monitored loss is that objective, relative to the one of zeros.
    values = model.problem(X).value(torch.from_numpy(model.predict(X)))
    monitor = after.history_.column("monitor").min()
    assert float(values.sum()) / (0.5 * (X**2).sum()) == pytest.approx(monitor, rel=1e-6)


def block_sparse(seed, n_groups, size, n_features, share):
    """Return a Gaussian dictionary and two draws of 400 block-sparse codes."""
    rng = np.random.default_rng(seed)
    D = rng.standard_normal((n_groups * size, n_features))
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    active = rng.random((2, 400, n_groups)) < share
    return D, rng.standard_normal((2, 400, len(D))) * active.repeat(size, axis=2)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("shape", [(16, 4, 32, 0.1), (50, 4, 100, 0.08), (16, 8, 64, 0.06)])
def test_few_layers_find_more_with_groups(shape, seed):
    # Norms of d noisy entries spread less than an entry, so that thresholds are lower. How much
    # is gained depends on the draw, and in deep networks nothing need be: both have found what
    # their weight allows, and pooled errors are those of the codes that it does not.
    D, (y, new) = block_sparse(seed, *shape)
    errors = [
        nmse_db(new, model.fit(y @ D, y).predict(new @ D))
        for groups in (shape[1], None)
        for model in [ALISTARegressor(D, groups=groups, n_layers=4, trainer=UNTRAINED)]
    ]
    assert errors[0] < errors[1]


@pytest.mark.parametrize("depth", [8, 16, 24])
@pytest.mark.parametrize(
    ("seed", "shape"),
    [(0, (16, 4, 32, 0.1)), (1, (16, 4, 32, 0.1)), (2, (16, 4, 32, 0.06)), (0, (16, 8, 64, 0.06))],
)
def test_untrained_layers_do_not_undo_what_was_found(seed, shape, depth):
    # Some of these codes have more groups than any weight can tell apart: they do not contract.
    D, (y, new) = block_sparse(seed, *shape)
    model = ALISTARegressor(D, groups=shape[1], n_layers=depth, guard=None, normalize=False)
    model.set_params(trainer=UNTRAINED).fit(y @ D, y)
    on_pairs = [nmse_db(y, x) for x in model.staged_predict(y @ D)]
    assert (np.diff(on_pairs) <= 1e-9).all()
    on_new = [nmse_db(new, x) for x in model.staged_predict(new @ D)]
    assert on_new[-1] < min(on_new) + 2


def test_alista_has_the_block_weight_of_groups_of_norm_one(data, tmp_path):
    D, X, _ = data
    own = np.linspace(0.3, 4, 24)[:, None] * D
    plain, cached, again = (
        ALISTARegressor(own, groups=GROUPS, n_layers=2, trainer=UNTRAINED, memory=m).fit(X)
        for m in (None, str(tmp_path), str(tmp_path))
    )
    unit = own.copy()
    for label in SIZES:
        g = label == GROUPS
        unit[g] /= np.sqrt((own[g] ** 2).sum(1).mean())
    np.testing.assert_allclose(plain.network_operator().D.numpy(), unit)
    labels = torch.from_numpy(np.unique(GROUPS, return_inverse=True)[1])
    W = block_analytic_weight(torch.from_numpy(unit), labels)
    for model in (plain, cached, again):
        torch.testing.assert_close(model.network_.layers[0].weights.W, W)
    scale = np.linalg.norm(own, axis=1)[0] / np.linalg.norm(unit, axis=1)[0]
    R = plain.problem(X).R
    assert isinstance(R, GroupL1) and float(R.weight[1]) != pytest.approx(0.1 * scale)
    codes = plain.predict(X)
    inside = codes * np.linalg.norm(own, axis=1) / np.linalg.norm(unit, axis=1)
    np.testing.assert_allclose(R.value(torch.from_numpy(codes)), 0.1 * penalty(inside))
    found = block_coherence(plain)
    assert found.shape == (2,) and 0 < found[0] == found[1]
    dictionary = ALISTARegressor(own, n_layers=2, trainer=UNTRAINED).fit(X)
    with pytest.raises(ValueError, match="shrinks no groups"):
        block_coherence(dictionary)


@pytest.mark.parametrize("make", [LISTARegressor, ALISTARegressor])
@pytest.mark.parametrize("pairs", [False, True])
def test_groups_of_one_are_no_groups(make, pairs, data):
    D, X, y = data
    y = y if pairs else None
    one, plain = (
        make(D, groups=g, n_layers=3, trainer=QUICK, random_state=0).fit(X, y).predict(X)
        for g in (np.random.default_rng(0).permutation(24), None)
    )
    np.testing.assert_allclose(one, plain, atol=1e-9)


def test_labels_are_names_and_atoms_may_come_in_any_order(data):
    D, X, y = data
    order = np.random.default_rng(0).permutation(24)
    fit = {"n_layers": 3, "trainer": QUICK, "random_state": 0}
    codes = ALISTARegressor(D, groups=GROUPS, **fit).fit(X, y).predict(X)
    found = ALISTARegressor(D[order], groups=GROUPS[order], **fit).fit(X, y[:, order]).predict(X)
    np.testing.assert_allclose(found, codes[:, order], atol=1e-8)
    named = ALISTARegressor(D, groups=list(1000 - GROUPS), **fit).fit(X, y).predict(X)
    np.testing.assert_allclose(named, codes, atol=1e-8)
    sizes = ALISTARegressor(D, groups=6, **fit).fit(X, y).predict(X)
    labels = ALISTARegressor(D, groups=np.arange(24) // 6, **fit).fit(X, y).predict(X)
    np.testing.assert_array_equal(sizes, labels)


@pytest.mark.parametrize("make", [LISTARegressor, ALISTARegressor, AdaLISTARegressor])
def test_guarded_whatever_was_learned_and_whatever_comes(make, data):
    D, X, _ = data
    model = make(D, groups=GROUPS, n_layers=3, trainer=Trainer("lasso", max_epochs=1)).fit(X)
    assert model.guard_.region == "objective"
    with torch.no_grad():
        for layer in model.network_.layers:
            for name, p in layer.named_parameters():
                shift = {"rule.log_theta": -5.0, "rule.log_gamma": 5.0}.get(name)
                p.copy_(100 * p if shift is None else p + shift)
    odd = np.geomspace(1e-3, 1e6, len(X))[:, None] * X[::-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        codes = model.predict(odd)
    problem = model.problem(odd)
    values, zeros = problem.value(torch.from_numpy(codes)).numpy(), 0.5 * (odd**2).sum(1)
    assert (values <= zeros * (1 + 1e-12)).all()
    assert model.count_refused(odd).any()


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_units(factor, data):
    D, X, y = data
    fit = {"n_layers": 3, "trainer": QUICK, "random_state": 0, "groups": GROUPS}
    for make in (LISTARegressor, ALISTARegressor):
        codes = make(D, **fit).fit(X, y).predict(X)
        found = make(D, **fit).fit(factor * X, factor * y).predict(factor * X)
        np.testing.assert_allclose(found, factor * codes, atol=1e-6 * factor)
    relative = LISTARegressor(D, alpha_relative=True, alpha=0.3, n_layers=3, groups=GROUPS)
    relative.set_params(trainer=Trainer("lasso", max_epochs=0)).fit(X)
    np.testing.assert_allclose(relative.predict(factor * X), factor * relative.predict(X))
    above = relative.set_params(alpha=1.0 + 1e-9, guard=None, n_layers=1)
    with pytest.warns(WorthlessFitWarning, match="zeros are the solution"):
        above.set_params(trainer=Trainer("lasso", max_epochs=1)).fit(X)
    assert not above.predict(X).any()


def test_selection_and_recurrent_rules_go_with_groups(data):
    D, X, y = data
    model = ALISTARegressor(D, groups=GROUPS, rule="recurrent", hidden_size=4, n_layers=3)
    codes = model.set_params(trainer=QUICK, random_state=0).fit(X, y).predict(X)
    for label in SIZES:  # groups are zero as one
        zero = codes[:, label == GROUPS] == 0
        assert (zero.all(1) | ~zero.any(1)).all()
    model = ALISTARegressor(D, groups=GROUPS, support_selection=(25.0, 50.0), n_layers=3)
    model.set_params(trainer=UNTRAINED).fit(X, y)
    assert [layer.rule.count for layer in model.network_.layers] == [1, 2, 2]  # of four groups


def test_one_group_and_groups_with_more_atoms_than_features(data):
    D, X, y = data
    for make in (LISTARegressor, ALISTARegressor):
        codes = make(D, groups=[7] * 24, n_layers=3, trainer=QUICK).fit(X, y).predict(X)
        assert np.isfinite(codes).all() and codes.any()
    wide = ALISTARegressor(D[:, :5], groups=12, n_layers=2, trainer=QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WorthlessFitWarning)
        assert np.isfinite(wide.fit(X[:, :5]).predict(X[:, :5])).all()


def test_objectives_and_constraints_are_those_of_the_groups(data):
    D, X, y = data
    trainer = Trainer(Lasso(0.3), max_epochs=1, constraint=Descent("objective"))
    model = LISTARegressor(D, groups=GROUPS, n_layers=2, trainer=trainer).fit(X)
    value = model.problem(X).R.value(torch.from_numpy(y))
    np.testing.assert_allclose(value, 0.3 * penalty(y))
    assert model.trainer_.objective.penalty is None  # a user's trainer stays as it was


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([0, 1, 2], "groups has 3 labels, but the dictionary has 24 atoms"),
        (np.arange(24) / 2, "groups must be integers.*dtype float64"),
        (np.where(GROUPS > 0, GROUPS, np.nan), "Every atom needs a group"),
        ([[0, 1, 2], [2, 3, 4]], "could overlap, which is not supported"),
        ([[0, 1, 2], [2, 3]], "Groups cannot overlap"),
        (["a"] * 24, "groups must be integers"),
        (GROUPS > 0, "groups must be integers.*dtype bool"),
        (0, "'groups' parameter"),
        (7, "groups=7 does not divide the 24 atoms.*last group would have 3"),
    ],
)
def test_wrong_groups_are_refused(groups, message, data):
    D, X, y = data
    for make in (LISTARegressor, ALISTARegressor, AdaLISTARegressor):
        model = make(D, groups=groups, n_layers=2, trainer=QUICK)
        with pytest.raises((ValueError, TypeError), match=message):
            model.fit(X, y)
        assert not hasattr(model, "network_")


def test_what_groups_do_not_go_with_is_refused_by_name(data):
    D, X, y = data
    for name in ("symmetric", "minimax"):
        with pytest.raises(ValueError, match=f"groups go with weights='analytic'.*'{name}'"):
            ALISTARegressor(D, groups=GROUPS, weights=name).fit(X, y)
    for given in ({"shrinkage": "smooth"}, {"init": "normal", "weights": "free"}):
        with pytest.raises(ValueError, match="groups are shrunk by the soft threshold"):
            LISTARegressor(D, groups=GROUPS, **given).fit(X, y)
    model = LISTARegressor(D, groups=GROUPS, n_layers=2, trainer=QUICK, warm_start=True)
    model.fit(X, y).fit(X, y)
    for other in (4, None):
        with pytest.raises(ValueError, match="whose groups are others"):
            model.set_params(groups=other).fit(X, y)
