"""Codes in an array of the caller's: predict(X, out=...) and transform."""

import sys

import numpy as np
import pytest
import sklearn
import torch
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_unroll import HyperLISTARegressor, LassoCoder, LISTARegressor, OMPCoder, Trainer
from sklearn_unroll.estimators import CodeMethods
from sklearn_unroll.estimators._coder import BaseCoder
from tests.estimator_table import MAKERS, case, fitted, pairs
from tests.estimators.test_memory import numbers_held

pytestmark = pytest.mark.filterwarnings("ignore:This fit of")

KINDS = CodeMethods, BaseCoder
CODING = [name for name in MAKERS if isinstance(case(name).estimator, KINDS)]
every = pytest.mark.parametrize("name", CODING)
MODELS = [HyperLISTARegressor, LassoCoder, OMPCoder]
each = pytest.mark.parametrize("make", MODELS)


@every
@pytest.mark.parametrize("method", ["predict", "transform"])
def test_the_same_bits_in_the_callers_array(name, method, tmp_path):
    entry, model = case(name), fitted(name)
    wanted = entry.run(model, method=method)
    run, metadata = getattr(model, method), entry.metadata
    array = np.full_like(wanted, np.nan)
    assert run(entry.X, out=array, **metadata) is array
    np.testing.assert_array_equal(array, wanted)
    shape, dtype = wanted.shape, wanted.dtype
    file = np.lib.format.open_memmap(tmp_path / "z.npy", "w+", dtype, shape)
    assert run(entry.X, out=file, **metadata) is file
    file.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), wanted)


@each
def test_kinds_of_what_is_coded(make):
    data = pairs()
    model = make(data.dictionary).fit(data.X, data.y)
    single = data.X.astype("f4")
    array = np.empty((80, 16), "f4")
    assert model.predict(single, out=array) is array  # computed in float64
    np.testing.assert_array_equal(array, model.predict(single))
    array = np.empty((80, 16))
    model.predict(data.X.tolist(), out=array)
    np.testing.assert_array_equal(array, model.predict(data.X))
    with sklearn.config_context(array_api_dispatch=False):
        codes = model.set_output(transform="pandas").transform(data.X, out=array)
    np.testing.assert_array_equal(codes.to_numpy(), array)


@each
def test_one_component(make):
    data = pairs()
    X = data.y[:, :1] * data.dictionary[:1]
    D = data.dictionary[:1] if make is HyperLISTARegressor else None  # coders estimate it
    model = make(D).fit(X, data.y[:, 0])
    wanted, out = model.predict(data.X), np.empty(80)
    assert model.predict(data.X, out=out) is out and wanted.shape == (80,)
    np.testing.assert_array_equal(out, wanted)
    assert model.transform(data.X, out=out[:, None]).shape == (80, 1)
    with pytest.raises(ValueError, match=r"shape \(80, 1\), not \(80,\)"):
        model.predict(data.X, out=out[:, None])


READ_ONLY = np.empty((80, 16))
READ_ONLY.flags.writeable = False
ODD = np.empty(80 * 16 * 8 + 1, np.uint8)[1:].view("f8").reshape(80, 16)


@pytest.mark.parametrize(
    "out, kind, said",
    [
        (np.empty((80, 16), "f4"), ValueError, "dtype float32, not float64"),
        (np.empty((80, 16), ">f8"), ValueError, "dtype >f8, not float64"),
        (np.empty((80, 16), int), ValueError, "dtype int64"),
        (np.empty((79, 16)), ValueError, r"shape \(79, 16\), not \(80, 16\)"),
        (np.empty(80 * 16), ValueError, "shape"),
        (np.empty((16, 80)).T, ValueError, "not contiguous"),
        (np.empty((80, 32))[:, ::2], ValueError, "not contiguous"),
        (READ_ONLY, ValueError, "read-only"),
        (ODD, ValueError, "not aligned"),
        (np.ma.zeros((80, 16)), TypeError, "got MaskedArray"),
        (np.zeros((80, 16)).tolist(), TypeError, "got list"),
        (torch.empty(80, 16), TypeError, "got Tensor"),
        (csr_array((80, 16)), TypeError, "got csr_array"),
        (True, TypeError, "got bool"),
    ],
)
@pytest.mark.parametrize("name", ["HyperLISTA", "LassoCoder", "OMPCoder"])
def test_what_cannot_take_codes_is_refused(name, out, kind, said):
    model = fitted(name)
    for method in (model.predict, model.transform):
        with pytest.raises(kind, match=said) as caught:
            method(case("HyperLISTA").X, out=out)
        assert "out" in str(caught.value) and (
            kind is TypeError or "Make it with" in str(caught.value)
        )


def test_memory_of_the_observations_is_refused():
    data = pairs()
    square = HyperLISTARegressor(np.eye(10)).fit(data.X)
    X = data.X.copy()
    before = X.copy()
    with pytest.raises(ValueError, match="memory of X"):
        square.predict(X, out=X)
    np.testing.assert_array_equal(X, before)


@pytest.mark.array_api
def test_tensors():
    data = pairs()
    X, D = torch.from_numpy(data.X), torch.from_numpy(data.dictionary)
    with sklearn.config_context(array_api_dispatch=True):
        model = HyperLISTARegressor(D).fit(X)
        wanted, out = model.predict(X), torch.empty(80, 16, dtype=torch.float64)
        assert model.predict(X, out=out) is out and out.equal(wanted)
        for bad, said in [
            (out.float(), "dtype"),
            (torch.empty(16, 80, dtype=torch.float64).T, "not contiguous"),
            (torch.empty(80, 16, dtype=torch.float64, requires_grad=True), "requires grad"),
            (X.new_empty(80, 16, device="meta"), "meta"),
        ]:
            with pytest.raises(ValueError, match=said):
                model.predict(X, out=bad)
        with torch.inference_mode():
            bad = torch.empty(80, 16, dtype=torch.float64)
        with pytest.raises(ValueError, match="inference_mode"):
            model.predict(X, out=bad)


def test_it_is_no_metadata():
    data = pairs()
    model = LISTARegressor(data.dictionary, n_layers=1, trainer=Trainer(max_epochs=0))
    for method in ("predict", "transform"):
        requests = getattr(clone(model).get_metadata_routing(), method).requests
        assert set(requests) == {"operators"}
    with sklearn.config_context(enable_metadata_routing=True):
        with pytest.raises(TypeError, match="out"):
            model.set_predict_request(out=True)
        codes = make_pipeline(FunctionTransformer(), model).fit(data.X, data.y).predict(data.X)
    assert codes.shape == (80, 16)
    out = np.empty((80, 16))
    codes = clone(model).fit_transform(data.X, data.y, out=out)
    assert codes is out


def test_codes_that_are_no_numbers_raise_as_without():
    model = fitted("LISTA, without pairs").set_params(guard=None)
    model.guard_ = None
    with torch.no_grad():
        model.network_.layers[-1].weights.W.fill_(torch.inf)
    X, out = case("LISTA").X, np.empty((80, 16))
    with pytest.raises(ValueError, match="for 80 of 80 observations are infinite or NaN"):
        model.predict(X, out=out)


def test_what_coders_are_given_beside_it():
    data, out = pairs(), np.empty((80, 16))
    X = np.where(np.random.default_rng(0).random(data.X.shape) < 0.2, np.nan, data.X)
    own = np.stack([data.dictionary, -data.dictionary])[np.arange(80) % 2]
    lasso = LassoCoder(data.dictionary, atom_weights=np.linspace(0.5, 2, 16)).fit(data.X)
    pursuit = OMPCoder(data.dictionary).fit(data.X)
    for model, some in [
        (lasso, {"alpha": np.linspace(0.05, 0.2, 80)}),
        (lasso, {"error": 0.01}),
        (lasso, {"operators": own}),
        (pursuit, {"tol": np.full(80, 0.01)}),
        (pursuit, {"operators": own}),
    ]:
        for observed in (data.X, X):
            wanted = model.transform(observed, **some)
            assert model.transform(observed, out=out, **some) is out
            np.testing.assert_array_equal(out, wanted)


@each
def test_nothing_is_held_beside_it(make, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["sklearn_unroll.functional.rows"], "_BLOCK", 2**15)
    data = pairs()
    # Without numba the coder would do with fewer, and compiled loops are not counted.
    monkeypatch.setattr(sys.modules["sklearn_unroll.estimators._lasso_aim"], "_NUMBERS", 2**13)
    model = make(data.dictionary).fit(data.X, data.y)
    np.save(tmp_path / "X.npy", np.tile(data.X, (400, 1)))
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    file = np.lib.format.open_memmap(tmp_path / "z.npy", "w+", "f8", (len(X), 16))

    def held(n):
        return numbers_held(lambda: model.predict(X[:n], out=file[:n]))

    held(32_000)
    # Norms, counts and the like; codes would be 128.
    assert (held(32_000) - held(16_000)) / 16_000 <= 40
