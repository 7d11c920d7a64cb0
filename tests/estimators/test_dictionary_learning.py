"""OnlineDictionaryLearning: the algorithm, its place beside scikit-learn's, awkward data."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_unroll import LassoCoder, OMPCoder, OnlineDictionaryLearning
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.estimators import _batch_coding, _online_start
from sklearn_unroll.exceptions import WorthlessFitWarning
from sklearn_unroll.functional import _alone
from sklearn_unroll.metrics import duality_gap
from tests.solvers.test_dictionary import reference

D0 = np.random.default_rng(1).standard_normal((12, 8))


@pytest.fixture(scope="module")
def data():
    return make_sparse_recovery(300, 8, 12, sparsity=2, snr_db=20, random_state=0)


@pytest.fixture(params=["any coder", "compiled"])
def way(request, monkeypatch):
    """Both ways to code batches, whatever the size."""
    if request.param == "compiled":
        pytest.importorskip("numba")
    limit = 0 if request.param == "compiled" else float("inf")
    monkeypatch.setattr(_batch_coding, "_COMPILED_FROM", limit)
    return request.param


def learner(**parameters):
    return OnlineDictionaryLearning(**{"alpha": 0.2, "random_state": 0, **parameters})


def matched(D, atoms):
    """Return the share of atoms that have a match."""
    D = D / np.maximum(np.linalg.norm(D, axis=1, keepdims=True), 1e-12)
    return (np.abs(atoms @ D.T).max(1) > 0.95).mean()


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("batch_size", [300, 100])
def test_it_takes_the_steps_of_the_paper(data, way, monkeypatch, batch_size, positive):
    monkeypatch.setattr("sklearn_unroll.estimators._online._ROUGH", 1e-12)
    n_batches = 300 // batch_size
    # No more atoms than features: then codes are well determined.
    X, start = (np.abs(a) if positive else a for a in (data.X, D0[:7]))
    model = learner(
        coder=LassoCoder(alpha=0.2, tol=1e-12, positive=positive), dict_init=start, max_iter=2,
        batch_size=batch_size, tol=0.0, positive_dict=positive,
    ).fit(X)  # fmt: skip
    # The same in plain numpy, with the same shuffles.
    D = start / np.maximum(np.linalg.norm(start, axis=1, keepdims=True), 1)
    A, B, seen, rng = 0, 0, 0, np.random.RandomState(0)
    signs = {"tol": 1e-12, "positive": positive}
    for _ in range(2):
        order = rng.permutation(300) if n_batches > 1 else np.arange(300)
        for rows in np.array_split(order, n_batches):
            x, seen = X[rows], seen + len(rows)
            z = LassoCoder(D, 0.2, **signs).fit(x).transform(x)
            window = min(1 / (2 / seen + 1 / (100 * 7)), 300)
            kept = max(0, 1 - len(rows) / window)
            A, B = kept * A + z.T @ z, kept * B + z.T @ x
            D = reference(D, A, B, positive)
    np.testing.assert_allclose(model.components_, D, atol=1e-6)
    np.testing.assert_allclose(model.statistics_.gram, A, rtol=1e-5, atol=1e-4)
    assert model.n_steps_ == 2 * n_batches and model.n_seen_ == pytest.approx(600)


def test_of_few_atoms_the_best_draw_is_the_start(data, way, monkeypatch):
    """Of two atoms: draws that are no use come before and after the data's own."""
    X, good = data.y[:, :2] @ data.dictionary[:2], torch.from_numpy(data.dictionary[:2])
    X, other = X[X.any(1)], torch.from_numpy(data.dictionary[5:7])
    draws = iter([other, other, good, other, None])
    monkeypatch.setattr(_online_start, "draw_atoms", lambda *given: next(draws))
    found = learner(n_components=2, max_iter=1).fit(X)
    assert next(draws) is None
    started = [learner(dict_init=D.numpy(), max_iter=1).fit(X) for D in (good, other)]
    values = [model.history_[0].monitor for model in (found, *started)]
    assert values[0] == pytest.approx(values[1]) and values[1] < 0.7 * values[2]


def test_places_are_drawn_once_and_equally_often():
    rng = np.random.RandomState(0)
    drawn = np.array([_online_data().spread(7, 3, rng) for _ in range(4000)])
    assert (np.diff(drawn) > 0).all()
    shares = np.bincount(drawn.ravel(), minlength=8) / 4000
    np.testing.assert_allclose(shares, [*[3 / 7] * 7, 0], atol=0.04)
    np.testing.assert_array_equal(_online_data().spread(5, 5, rng), np.arange(5))


def test_passes_over_one_batch_never_raise_the_objective(data, way):
    model = learner(n_components=12, dict_init=D0, max_iter=1, tol=0.0, warm_start=True)
    values = [-model.fit(data.X).score(data.X) for _ in range(12)]
    assert (np.diff(values) <= 1e-3 * values[-1]).all()
    assert values[-1] < 0.9 * values[0]


def test_known_atoms_are_recovered():
    pytest.importorskip("numba")
    data = make_sparse_recovery(3000, 20, 40, sparsity=3, snr_db=40, random_state=0)
    model = learner(n_components=40, alpha=0.05, max_iter=30, batch_size=256).fit(data.X[:2500])
    first = learner(n_components=40, alpha=0.05).partial_fit(data.X[:2500])
    assert matched(model.components_, data.dictionary) >= 0.9
    assert matched(first.components_, data.dictionary) < 0.6
    # Held-out signals cost little more than over the true atoms.
    held_out = data.X[2500:]
    best = LassoCoder(data.dictionary, 0.05).fit(held_out).score(held_out)
    assert model.score(held_out) > 1.15 * best


def test_it_takes_the_place_of_minibatch_dictionary_learning(data):
    labels = data.y[:, 0] != 0
    theirs = MiniBatchDictionaryLearning(
        12, alpha=0.2, transform_algorithm="lasso_lars", max_iter=20, random_state=0,
        transform_alpha=0.2,
    )  # fmt: skip
    classifier = LogisticRegression(C=10, max_iter=1000)
    scores, objectives = [], []
    for step in (theirs, learner(n_components=12, max_iter=20)):
        pipe = make_pipeline(step, clone(classifier)).fit(data.X, labels)
        scores.append(pipe.score(data.X, labels))
        D = step.components_ if step is theirs else pipe[0].components_
        objectives.append(-LassoCoder(D, 0.2).fit(data.X).score(data.X))
        codes = step.transform(data.X)
        np.testing.assert_allclose(step.inverse_transform(codes), codes @ D, atol=1e-10)
        assert list(pipe[:1].get_feature_names_out())[:1] == [f"{type(step).__name__.lower()}0"]
    assert scores[1] > scores[0] - 0.05
    assert objectives[1] < objectives[0]


def test_codes_are_certified_and_the_score_is_the_objective(data):
    model = learner(n_components=12).fit(data.X)
    codes = model.transform(data.X)
    gaps = duality_gap(data.X, codes, model.components_, 0.2)
    np.testing.assert_allclose(model.certify(data.X), gaps, atol=1e-9)
    assert gaps.max() <= 1e-6
    r = data.X - codes @ model.components_
    each = 0.5 * (r**2).sum(1) + 0.2 * np.abs(codes).sum(1)
    assert model.score(data.X) == pytest.approx(-each.mean())
    weight = np.arange(300.0)
    found = model.score(data.X, sample_weight=weight)
    assert found == pytest.approx(-np.average(each, weights=weight))
    assert model.history_[-1].monitor * 0.5 * (data.X**2).sum(1).mean() == pytest.approx(
        each.mean(), rel=1e-3
    )


def test_pursuit_as_coder(data):
    model = learner(n_components=12, coder=OMPCoder(n_nonzero_coefs=2), max_iter=40)
    model.fit(data.X)
    assert ((model.transform(data.X) != 0).sum(1) == 2).all()
    monitored = model.history_.column("monitor")
    assert monitored[-1] < 0.3 * monitored[0]
    energy = (data.X**2).sum(1).mean()
    assert -model.score(data.X) == pytest.approx(min(monitored) * energy)
    assert not hasattr(model, "certify")
    assert hasattr(learner(coder=LassoCoder()), "certify")


def test_every_option_of_the_lasso_holds_in_the_loop(data, way):
    for coder in (
        LassoCoder(alpha=0.2, alpha_relative=True),
        LassoCoder(alpha=0.1, atom_weights=np.linspace(0.5, 2, 12)),
        LassoCoder(alpha=0.1, positive=True),
    ):
        model = learner(n_components=12, coder=coder, max_iter=20).fit(data.X)
        at_zero = 0.5 * (data.X**2).sum(1).mean()
        found = -model.score(data.X) / at_zero
        assert found == pytest.approx(min(model.history_.column("monitor")), rel=2e-3)
        assert found < 0.9 * model.history_[0].monitor


def test_positive_atoms_and_codes():
    rng = np.random.default_rng(0)
    X = rng.exponential(size=(200, 5)) @ rng.exponential(size=(5, 9))
    model = learner(n_components=5, positive_code=True, positive_dict=True).fit(X)
    assert (model.components_ >= 0).all() and (model.transform(X) >= 0).all()
    with pytest.raises(ValueError, match="LassoCoder\\(positive=True\\)"):
        learner(coder=LassoCoder(), positive_code=True).fit(X)


@pytest.mark.parametrize("size", [1e-60, 1e-6, 1.0, 1e60])
@pytest.mark.parametrize("atoms", [1e-20, 1.0])
def test_rough_codes_are_within_the_tolerance_in_any_unit(data, size, atoms):
    pytest.importorskip("numba")
    D = atoms * torch.from_numpy(D0) / 4
    alpha = 0.2 * size * atoms
    b = size * torch.from_numpy(data.X[:50])
    coding = _batch_coding.CompiledLassoCoding(LassoCoder(alpha=alpha))
    codes, penalty, *_ = coding(b, D, 1e-3)
    assert duality_gap(b.numpy(), codes.double().numpy(), D.numpy(), alpha).max() <= 1.01e-3
    torch.testing.assert_close(penalty, alpha * codes.double().abs().sum(1), rtol=1e-5, atol=0)


@pytest.mark.parametrize("power", [-30, 20])
def test_results_scale_with_the_data(data, way, power):
    scale = 2.0**power
    model = learner(n_components=12, max_iter=5, batch_size=100).fit(data.X)
    other = clone(model).set_params(alpha=0.2 * scale).fit(scale * data.X)
    np.testing.assert_array_equal(other.components_, model.components_)
    np.testing.assert_array_equal(
        other.history_.column("monitor"), model.history_.column("monitor")
    )


def test_same_seed_same_bits_and_another_seed_others(data, way):
    model = learner(n_components=12, max_iter=3, batch_size=64)
    first = model.fit(data.X).components_
    np.random.seed(3)
    torch.manual_seed(3)
    np.testing.assert_array_equal(model.fit(data.X).components_, first)
    np.testing.assert_array_equal(clone(model).fit(pd.DataFrame(data.X)).components_, first)
    assert not np.array_equal(
        clone(model).set_params(random_state=1).fit(data.X).components_, first
    )


def test_two_threads_share_batches_and_change_no_bit(data, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(_batch_coding, "_COMPILED_FROM", 0)
    monkeypatch.setattr(_batch_coding, "_SHARED_FROM", 0.0)
    others, plain = set(), _alone.lone_threads
    monkeypatch.setattr(_alone, "lone_threads", lambda n: others.add(n) or plain(n))
    rough, of_torch = _batch_coding.descend_roughly, set()
    monkeypatch.setattr(
        _batch_coding,
        "descend_roughly",
        lambda *given: of_torch.add(torch.get_num_threads()) or rough(*given),
    )
    before, found = torch.get_num_threads(), []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            found.append(learner(n_components=12, max_iter=3, batch_size=100).fit(data.X))
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(before)
    assert others == {1} and of_torch == {1}  # its own threads would wait busily for more
    np.testing.assert_array_equal(found[0].components_, found[1].components_)


def test_single_precision_is_kept(data, way):
    model = learner(n_components=12, max_iter=5).fit(data.X.astype("f"))
    assert model.components_.dtype == model.transform(data.X.astype("f")).dtype == np.float32
    double = clone(model).fit(data.X)
    np.testing.assert_allclose(model.components_, double.components_, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_read_only_map_is_read_a_batch_at_a_time(tmp_path, dtype, monkeypatch):
    X = make_sparse_recovery(2000, 8, 12, sparsity=2, random_state=0).X.astype(dtype)
    stored = np.memmap(tmp_path / "X", dtype=dtype, mode="w+", shape=X.shape)
    stored[:] = X
    stored.flush()
    mapped = np.memmap(tmp_path / "X", dtype=dtype, mode="r", shape=X.shape)
    taken, plain = [], _online_data().Signals.take
    monkeypatch.setattr(
        _online_data().Signals, "take", lambda s, rows: taken.append(plain(s, rows)) or taken[-1]
    )
    model = learner(n_components=12, max_iter=3, batch_size=100)
    found = model.fit(mapped).components_
    assert max(len(b) for b, _ in taken[2:]) <= 100  # after what is monitored and drawn from
    np.testing.assert_array_equal(model.fit(X).components_, found)


def _online_data():
    from sklearn_unroll.estimators import _online_data as module

    return module


def test_weights_are_repetitions(data, way):
    weight = np.random.default_rng(0).integers(0, 4, 300)
    model = learner(n_components=12, max_iter=10, coder=LassoCoder(alpha=0.2, tol=1e-10))
    weighted = clone(model).set_params(batch_size=2000).fit(data.X, sample_weight=weight)
    repeated = clone(weighted).fit(np.repeat(data.X, weight, axis=0))
    np.testing.assert_allclose(weighted.components_, repeated.components_, atol=1e-4)
    with pytest.raises(ValueError, match="at least one non-zero"):
        model.fit(data.X, sample_weight=np.zeros(300))


def test_a_stream_is_a_fit_batch_by_batch(data, way):
    stream = learner(dict_init=D0)
    for part in np.array_split(data.X, 3):
        stream.partial_fit(part)
    stored = pickle.loads(pickle.dumps(stream))
    for model in (stream, stored):
        model.partial_fit(data.X)
    assert stream.n_steps_ == 4 and stream.n_seen_ == 600
    np.testing.assert_array_equal(stored.components_, stream.components_)
    assert not hasattr(stream, "history_")
    assert stream.score(data.X) > learner(dict_init=D0).partial_fit(data.X[:9]).score(data.X)


def test_a_warm_start_goes_on(data):
    model = learner(n_components=12, max_iter=2, tol=0.0, warm_start=True).fit(data.X)
    before, steps = model.score(data.X), model.n_steps_
    model.fit(data.X)
    assert model.n_steps_ == 2 * steps and model.n_iter_ == 2
    assert model.score(data.X) > before
    model.set_params(n_components=13)
    with pytest.raises(ValueError, match=r"has 12 atoms, but n_components=13.*warm_start=False"):
        model.fit(data.X)
    assert model.n_steps_ == 2 * steps  # a failed fit leaves it as it was


def test_it_stops_when_the_held_out_objective_does():
    data = make_sparse_recovery(1500, 8, 12, sparsity=2, snr_db=20, random_state=0)
    short, long = (
        learner(n_components=12, tol=tol, max_iter=200).fit(data.X) for tol in (0.1, 1e-3)
    )
    assert short.n_iter_ < long.n_iter_ < 200
    assert short.history_.held_out and long.history_.held_out
    assert min(long.history_.column("monitor")) < min(short.history_.column("monitor"))
    assert (np.diff(long.history_.column("seconds")) > 0).all()
    own = learner(n_components=12, early_stopping=False, max_iter=2).fit(data.X)
    assert not own.history_.held_out and own.n_iter_ == 2


def test_callbacks_see_every_record_and_may_stop(data):
    class Stop:
        seen = 0

        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            if context.task_name == "epoch":
                self.seen += 1
                assert fitted_estimator.transform(data.X).shape == (300, 12)
            return self.seen == 2

    stop = Stop()
    model = learner(n_components=12, batch_size=50, tol=0.0).set_callbacks(stop).fit(data.X)
    assert stop.seen == 2 and len(model.history_) == 3


def test_grid_search_over_the_coder(data):
    model = learner(n_components=12, coder=OMPCoder(), max_iter=3)
    search = GridSearchCV(model, {"coder__n_nonzero_coefs": [1, 3]}, cv=2).fit(data.X)
    assert search.best_params_ == {"coder__n_nonzero_coefs": 3}


AWKWARD = {
    "more atoms than samples": lambda X: X[:5],
    "one sample": lambda X: X[1:2],
    "equal samples": lambda X: np.repeat(X[1:2], 20, axis=0),
    "constant samples": lambda X: np.ones_like(X),
    "some zero samples": lambda X: X * (np.arange(len(X)) % 3 > 0)[:, None],
    "integers": lambda X: (10 * X).astype(int),
    "one feature": lambda X: X[:, :1],
}


@pytest.mark.parametrize("kind", AWKWARD)
def test_awkward_data_give_a_dictionary(data, way, kind):
    X = AWKWARD[kind](data.X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = learner(n_components=12, max_iter=10).fit(X)
    D = model.components_
    assert D.shape == (12, X.shape[1]) and np.isfinite(D).all()
    assert np.linalg.norm(D, axis=1).max() <= 1 + 1e-12
    # Atoms that there is no sample for stay zero: no atom stands there twice.
    used = D[(D != 0).any(1)]
    assert (np.abs(used @ used.T) - np.eye(len(used)) < 1 - 1e-9).all()
    assert -model.score(X) < 0.5 * (np.square(X).sum(1).mean())


@pytest.mark.parametrize("X", [np.zeros((20, 8)), 0.01 * np.eye(8)], ids=["zeros", "small"])
def test_where_all_codes_are_zero_it_says_so(X):
    model = learner(n_components=4)
    with pytest.warns(WorthlessFitWarning, match=r"all samples are zero.*lower alpha"):
        model.fit(X)
    assert (model.transform(X) == 0).all()
    with pytest.warns(WorthlessFitWarning, match="OnlineDictionaryLearning is worth little"):
        learner(n_components=4).partial_fit(X)


@pytest.mark.parametrize(
    "X, message",
    [
        (np.full((9, 8), np.nan), "NaN"),
        (np.full((9, 8), np.inf), "infinity"),
        (np.ones((9, 8)) * 1e200, "X has entries too large .* squares overflow. Rescale X"),
        (np.ones((9, 8)) * 1e-200, "leave the range of float64. Rescale X"),
        (np.ones(8), "1D array"),
        (np.ones((9, 8)) + 0j, "Complex"),
        (np.ones((0, 8)), "0 sample"),
    ],
)
def test_bad_data_are_told(X, message):
    model = learner(n_components=4)
    for method in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=message):
            method(X)
    assert not hasattr(model, "components_")


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"n_components": 0}, "n_components"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": -1}, "alpha"),
        ({"batch_size": 0}, "batch_size"),
        ({"max_iter": 0}, "max_iter"),
        ({"memory": 0}, "memory"),
        ({"tol": -1}, "tol"),
        ({"coder": LogisticRegression()}, "coder"),
        ({"coder": LassoCoder(np.eye(8))}, "dict_init"),
        ({"coder": LassoCoder(alpha=-1)}, "alpha"),
        ({"dict_init": np.ones((4, 7))}, r"dict_init has shape \(4, 7\), but X has 8 features"),
        ({"dict_init": np.ones((4, 8)), "n_components": 5}, "has 4 atoms, but n_components=5"),
        ({"dict_init": np.full((4, 8), np.nan)}, "NaN"),
        ({"early_stopping": True, "validation_fraction": 0.999}, "leaves none to learn from"),
        ({"early_stopping": "sometimes"}, "early_stopping"),
    ],
)
def test_a_wrong_parameter_is_told(data, parameters, message):
    model = learner(**parameters)
    with pytest.raises(ValueError, match=message):
        model.fit(data.X)
    assert not hasattr(model, "components_")


def test_before_a_fit_it_says_so(data):
    for method in ("transform", "inverse_transform", "score", "certify"):
        with pytest.raises(NotFittedError):
            getattr(learner(), method)(data.X)
