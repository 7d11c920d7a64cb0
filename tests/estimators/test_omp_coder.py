"""OMPCoder: the drop-in for SparseCoder, tolerances of samples, routing, arrays, bad input."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.decomposition import SparseCoder
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression, orthogonal_mp
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.parallel import Parallel, delayed

from sklearn_unroll import OMPCoder
from sklearn_unroll.datasets import make_sparse_recovery


@pytest.fixture(scope="module")
def data():
    return make_sparse_recovery(60, 30, 50, sparsity=3, snr_db=20, random_state=0)


@pytest.mark.parametrize("n_nonzero", [None, 1, 5])
def test_it_takes_the_place_of_sparse_coder(data, n_nonzero):
    theirs = SparseCoder(
        data.dictionary, transform_algorithm="omp", transform_n_nonzero_coefs=n_nonzero
    )
    expected = theirs.fit(data.X).transform(data.X)
    found = OMPCoder(data.dictionary, n_nonzero).fit(data.X).solve(data.X)
    np.testing.assert_array_equal(found.codes != 0, expected != 0)
    np.testing.assert_allclose(found.codes, expected, atol=1e-10)
    assert (found.n_nonzero == (n_nonzero or 3)).all()
    assert found.converged.all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_code_of_a_zero_atom_is_zero(data, dtype):
    X, D = data.X.astype(dtype), data.dictionary.copy()
    D[[0, 7, 49]] = 0
    found = OMPCoder(D, 4).fit(X).solve(X)
    assert (found.codes[:, [0, 7, 49]] == 0).all()
    few = OMPCoder(np.delete(D, [0, 7, 49], 0), 4).fit(X).transform(X)
    np.testing.assert_allclose(np.delete(found.codes, [0, 7, 49], 1), few, atol=1e-6)
    with pytest.warns(ConvergenceWarning, match="no linearly independent atom"):
        assert (OMPCoder(0 * D, 4).fit(X).transform(X) == 0).all()


@pytest.mark.parametrize("per_sample", [False, True])
def test_it_ends_where_scikit_learn_does(data, per_sample):
    tol = 30 * data.noise_std**2 * (np.linspace(0.5, 2, 60) if per_sample else 1)
    tol = tol if per_sample else float(tol.mean())
    expected = [
        orthogonal_mp(data.dictionary.T, x, tol=t)
        for x, t in zip(data.X, np.broadcast_to(tol, 60), strict=True)
    ]
    coder = OMPCoder(data.dictionary, tol=None if per_sample else tol).fit(data.X)
    found = coder.solve(data.X, tol=tol if per_sample else None)
    np.testing.assert_allclose(found.codes, expected, atol=1e-10)
    residual = ((data.X - found.codes @ data.dictionary) ** 2).sum(1)
    np.testing.assert_allclose(found.residual, residual, atol=1e-12)
    assert (found.residual <= tol).all()
    assert found.converged.all()
    assert found.converged.dtype == bool
    assert found.n_nonzero.dtype == np.int64


def test_the_methods_agree(data):
    tol = 30 * data.noise_std**2
    coder = OMPCoder(data.dictionary, tol=0.5).fit(data.X)
    codes = coder.solve(data.X, tol=tol).codes
    for other in (
        coder.transform(data.X, tol=tol),
        coder.predict(data.X, tol=list(tol)),
        coder.solve(data.X, tol=tol[:, None]).codes,
        coder.solve(data.X, tol=torch.from_numpy(tol)).codes,
    ):
        np.testing.assert_array_equal(other, codes)
    np.testing.assert_array_equal(coder.fit_transform(data.X), coder.transform(data.X, tol=0.5))
    np.testing.assert_allclose(coder.inverse_transform(codes), codes @ data.dictionary)
    residual = ((data.X - codes @ data.dictionary) ** 2).sum(1)
    assert coder.score(data.X, tol=tol) == pytest.approx(-residual.mean())
    weight = np.arange(60.0)
    assert coder.score(data.X, sample_weight=weight, tol=tol) == pytest.approx(
        -(weight @ residual) / weight.sum()
    )
    assert coder.score(data.X, data.y, tol=tol) > 0.5


def test_tolerances_are_routed_through_a_pipeline(data):
    tol = 30 * data.noise_std**2
    labels = (data.X[:, 0] > 0).astype(int)
    with sklearn.config_context(enable_metadata_routing=True):
        coder = OMPCoder(data.dictionary).set_transform_request(tol=True)
        classifier = LogisticRegression()
        pipe = make_pipeline(coder, classifier).fit(data.X, labels, tol=tol)
        found = pipe.decision_function(data.X, tol=tol)
    codes = coder.fit(data.X).transform(data.X, tol)
    np.testing.assert_allclose(
        found, clone(classifier).fit(codes, labels).decision_function(codes)
    )


def test_grid_search_chooses_the_number_of_atoms(data):
    search = GridSearchCV(OMPCoder(data.dictionary), {"n_nonzero_coefs": [1, 3, 12]}, cv=3)
    assert search.fit(data.X, data.y).best_params_ == {"n_nonzero_coefs": 3}


def test_what_misses_its_tolerance_is_counted(data):
    coder = OMPCoder(data.dictionary, 2, tol=1e-3).fit(data.X)
    with pytest.warns(ConvergenceWarning, match=r"60 of 60 samples .*at most 2 atoms; for 0 of"):
        found = coder.solve(data.X)
    assert not found.converged.any()
    assert (found.n_nonzero == 2).all()
    few = OMPCoder(np.vstack([data.dictionary[:2]] * 2), 3).fit(data.X)
    with pytest.warns(ConvergenceWarning, match=r"not got n_nonzero_coefs=3 atoms; for 60 of"):
        found = few.solve(data.X)
    assert (found.n_nonzero == 2).all()


def test_exact_data_raise_no_warning():
    data = make_sparse_recovery(50, 30, 50, sparsity=3, random_state=0)
    X = np.vstack([data.X, np.zeros((1, 30))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for limits in ({"n_nonzero_coefs": 10}, {"tol": 0.0}):
            found = OMPCoder(data.dictionary, **limits).fit(X).solve(X)
            assert found.converged.all()
            np.testing.assert_allclose(found.codes[:-1], data.y, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks_of_rows_in_threads_equal_the_whole(data, dtype):
    X, tol = data.X.astype(dtype), 30 * data.noise_std**2
    coder = OMPCoder(data.dictionary).fit(X)
    blocks = np.array_split(np.arange(60), 7)
    parts = Parallel(2, prefer="threads")(delayed(coder.transform)(X[i], tol[i]) for i in blocks)
    assert {part.dtype for part in parts} == {np.dtype(dtype)}
    atol = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(np.vstack(parts), coder.transform(X, tol), atol=atol)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_names(data, dtype):
    X = pd.DataFrame(data.X.astype(dtype), columns=[f"f{i}" for i in range(30)])
    coder = OMPCoder(data.dictionary.tolist()).set_output(transform="pandas").fit(X)
    codes = coder.transform(X)
    assert list(codes.columns[:2]) == ["ompcoder0", "ompcoder1"]
    assert set(codes.dtypes) == {np.dtype(dtype)}
    found = pickle.loads(pickle.dumps(coder)).solve(X)
    assert found.codes.dtype == found.residual.dtype == coder.dictionary_.dtype == dtype
    np.testing.assert_array_equal(found.codes, codes)


def test_a_dictionary_from_pairs():
    clean = make_sparse_recovery(400, 20, 40, sparsity=3, random_state=0)
    coder = OMPCoder(n_nonzero_coefs=3).fit(clean.X, clean.y)
    np.testing.assert_allclose(coder.dictionary_, clean.dictionary, atol=1e-4)
    one = OMPCoder(n_nonzero_coefs=1).fit(clean.X, clean.y[:, 0])
    assert one.predict(clean.X).shape == (400,)
    assert one.transform(clean.X).shape == (400, 1)
    assert one.inverse_transform(one.predict(clean.X)).shape == (400, 20)


@pytest.mark.array_api
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_tensors_in_tensors_out(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    data = make_sparse_recovery(40, 6, 9, random_state=0)
    X, y, D = (torch.from_numpy(a).to(device) for a in (data.X, data.y, data.dictionary))
    with sklearn.config_context(array_api_dispatch=True):
        for coder in (OMPCoder(D, 2), OMPCoder(n_nonzero_coefs=2)):
            found = coder.fit(X, y).solve(X, tol=torch.full((40,), 1e3))
            for out in (*found, coder.dictionary_, coder.inverse_transform(found.codes)):
                assert isinstance(out, torch.Tensor) and out.device == X.device
            assert found.n_nonzero.dtype == torch.int64 and found.converged.dtype == torch.bool
            assert isinstance(coder.score(X, y), float) and isinstance(coder.score(X), float)
        codes = OMPCoder(D, 2).fit(X).transform(X).cpu().numpy()
    expected = OMPCoder(data.dictionary, 2).fit_transform(data.X)
    np.testing.assert_allclose(codes, expected, atol=1e-10)


@pytest.mark.parametrize(
    "tol, message",
    [
        (-1.0, "not negative"),
        (np.nan, "not negative"),
        (np.inf, "finite"),
        (np.full(60, -1.0), "not negative"),
        (np.ones(59), r"\(60,\)"),
        (np.ones((60, 2)), r"\(60,\)"),
        (np.full(60, np.nan), "NaN"),
    ],
)
def test_a_wrong_tolerance_is_told(data, tol, message):
    coder = OMPCoder(data.dictionary).fit(data.X)
    with pytest.raises(ValueError, match=message):
        coder.solve(data.X, tol=tol)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"n_nonzero_coefs": 0}, "n_nonzero_coefs"),
        ({"n_nonzero_coefs": 2.5}, "n_nonzero_coefs"),
        ({"tol": -1.0}, "tol"),
        ({"tol": "small"}, "tol"),
        ({"dictionary": np.zeros((30, 50))}, "transposed"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_a_wrong_parameter_is_told(data, parameters, message):
    with pytest.raises(ValueError, match=message):
        OMPCoder(**({"dictionary": data.dictionary} | parameters)).fit(data.X)


def test_wrong_data_are_told(data):
    coder = OMPCoder(data.dictionary).fit(data.X)
    with pytest.raises(ValueError, match="NaN"):
        coder.transform(np.full((3, 30), np.nan))
    with pytest.raises(ValueError, match="features"):
        coder.transform(data.X[:, :5])
    with pytest.raises(ValueError, match="omplex"):
        coder.transform(data.X + 1j)
    with pytest.raises(ValueError, match="components"):
        coder.inverse_transform(np.ones((3, 7)))
    with pytest.raises(NotFittedError):
        OMPCoder(data.dictionary).transform(data.X)
    with pytest.raises(ValueError, match="requires y"):
        OMPCoder().fit(data.X)
    with pytest.raises(ValueError, match="transposed"):
        coder.set_params(dictionary=data.dictionary.T).fit(data.X)
    assert coder.transform(data.X).shape == (60, 50)
