"""Laws, conventions and errors of make_sparse_recovery."""

import inspect

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.fft import dct

from sklearn_unroll.datasets import make_sparse_recovery

LAWS = ["gaussian", "bernoulli", "correlated", "dct"]


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("law", LAWS[:3])
def test_shapes_and_model(law, per_sample):
    data = make_sparse_recovery(
        7, 5, 11, dictionary=law, per_sample_dictionary=per_sample, random_state=0
    )
    assert data.X.shape == (7, 5)
    assert data.y.shape == (7, 11)
    assert data.noise_std.shape == (7,)
    assert data.dictionary.shape == ((7, 11, 5) if per_sample else (11, 5))
    D = data.dictionary if per_sample else [data.dictionary] * 7
    for x, y, d in zip(data.X, data.y, D, strict=True):
        assert_allclose(x, y @ d, atol=1e-13)
    if per_sample:
        assert np.abs(data.dictionary[0] - data.dictionary[1]).max() > 0.1
    assert_array_equal(data.noise_std, 0)


def test_defaults_are_the_lista_test_bed():
    data = make_sparse_recovery(3, random_state=0)
    assert data.X.shape == (3, 250)
    assert data.y.shape == (3, 500)
    assert inspect.signature(make_sparse_recovery).parameters["n_samples"].default == 1000


@pytest.mark.parametrize("shape", [(11, 5), (5, 11), (8, 8)])
@pytest.mark.parametrize("law", LAWS)
def test_atoms_have_norm_one(law, shape):
    D = make_sparse_recovery(1, shape[1], shape[0], dictionary=law, random_state=0).dictionary
    assert_allclose(np.linalg.norm(D, axis=1), 1, rtol=1e-13)
    if law != "bernoulli":  # few signs may repeat
        assert np.linalg.matrix_rank(D) == min(shape)


def test_dictionary_laws():
    def draw(law, shape):
        return make_sparse_recovery(1, *shape[::-1], dictionary=law, random_state=0).dictionary

    assert_array_equal(np.abs(draw("bernoulli", (30, 16))), 0.25)
    # Neighbouring atoms correlate by 0.9, the next ones by 0.81, ...; deviation 1 / sqrt(m).
    lag = np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
    D = draw("correlated", (6, 40_000))
    assert_allclose(D @ D.T, 0.9**lag, atol=0.025)
    D = draw("gaussian", (6, 40_000))
    assert_allclose(D @ D.T, np.eye(6), atol=0.025)
    # scipy's DCT-II: whole where square, cut to the first samples and normalised where not.
    assert_allclose(draw("dct", (9, 9)), dct(np.eye(9), norm="ortho", axis=0), atol=1e-14)
    cut = dct(np.eye(12), norm="ortho", axis=0)[:, :5]
    cut /= np.linalg.norm(cut, axis=1, keepdims=True)
    assert_allclose(draw("dct", (12, 5)), cut, atol=1e-14)
    # Fewer atoms than features: the lowest frequencies, orthonormal.
    low = dct(np.eye(9), norm="ortho", axis=0)[:4]
    assert_allclose(draw("dct", (4, 9)), low, atol=1e-14)


def test_support_of_fixed_size_is_uniform():
    y = make_sparse_recovery(4000, 5, 10, sparsity=3, random_state=0).y
    assert_array_equal((y != 0).sum(axis=1), 3)
    # Every atom is used with probability 0.3: five standard deviations of the frequency.
    assert_allclose((y != 0).mean(axis=0), 0.3, atol=5 * np.sqrt(0.21 / 4000))
    assert (make_sparse_recovery(4, 5, 10, sparsity=10, random_state=0).y != 0).all()


def test_support_of_random_size_is_binomial():
    n_samples, n, p = 4000, 100, 0.1
    y = make_sparse_recovery(n_samples, 5, n, sparsity=p, random_state=0).y
    size = (y != 0).sum(axis=1)
    variance = n * p * (1 - p)
    assert abs(size.mean() - n * p) < 5 * np.sqrt(variance / n_samples)
    assert_allclose(size.var(), variance, rtol=5 * np.sqrt(2 / n_samples))


def test_int_one_is_one_nonzero_and_float_one_is_dense():
    assert (make_sparse_recovery(6, 5, 10, sparsity=1, random_state=0).y != 0).sum() == 6
    assert (make_sparse_recovery(6, 5, 10, sparsity=1.0, random_state=0).y != 0).all()


@pytest.mark.parametrize(
    "magnitude, second, fourth",
    [("gaussian", 1, 3), ("uniform", 13 / 12, 121 / 80), ("sign", 1, 1), ("laplace", 1, 6)],
)
def test_magnitude_moments(magnitude, second, fourth):
    y = make_sparse_recovery(
        4000, 1, 100, sparsity=1.0, magnitude=magnitude, random_state=0
    ).y.ravel()
    assert abs(y.mean()) < 0.01
    assert_allclose(np.mean(y**2), second, rtol=0.02)
    assert_allclose(np.mean(y**4), fourth, rtol=0.05)
    if magnitude == "uniform":
        assert np.abs(y).min() >= 0.5
        assert np.abs(y).max() <= 1.5


def test_callable_magnitude():
    y = make_sparse_recovery(
        6, 5, 10, sparsity=2, magnitude=lambda rng, size: rng.uniform(3, 4, size), random_state=0
    ).y
    assert_array_equal(((y >= 3) & (y < 4)).sum(axis=1), 2)


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("snr_db", [-3, 10.0, 40])
def test_snr_per_sample(snr_db, per_sample):
    def draw(snr):
        return make_sparse_recovery(
            20, 4000, 8, sparsity=4, snr_db=snr, per_sample_dictionary=per_sample, random_state=0
        )

    clean, noisy = draw(None), draw(snr_db)
    rms = np.sqrt(np.mean(clean.X**2, axis=1))
    assert rms.max() > 1.5 * rms.min()  # so that a level common to all samples would fail
    assert_allclose(noisy.noise_std, rms * 10 ** (-snr_db / 20), rtol=1e-12)
    noise = noisy.X - clean.X
    measured = 10 * np.log10(np.sum(clean.X**2, axis=1) / np.sum(noise**2, axis=1))
    # The deviation of a measured level is 4.34 sqrt(2 / m) = 0.1 dB.
    assert_allclose(measured, snr_db, atol=0.5)
    assert_allclose(measured.mean(), snr_db, atol=0.12)


def test_zero_signal_gets_no_noise():
    data = make_sparse_recovery(5, 4, 6, sparsity=1e-12, snr_db=10, random_state=0)
    assert_array_equal(data.y, 0)
    assert_array_equal(data.X, 0)
    assert_array_equal(data.noise_std, 0)


@pytest.mark.parametrize("law", LAWS)
def test_same_seed_same_bits_and_global_generator_untouched(law):
    np.random.seed(1)
    before = np.random.get_state()
    first = make_sparse_recovery(6, 5, 9, snr_db=20, dictionary=law, random_state=3)
    for old, new in zip(before, np.random.get_state(), strict=True):
        assert_array_equal(old, new)
    np.random.seed(2)
    again = make_sparse_recovery(
        6, 5, 9, snr_db=20, dictionary=law, random_state=np.random.RandomState(3)
    )
    other = make_sparse_recovery(6, 5, 9, snr_db=20, dictionary=law, random_state=4)
    for key in ("X", "y", "dictionary", "noise_std"):
        assert_array_equal(first[key], again[key])
    assert (first.X != other.X).any()


def test_one_seed_shares_what_it_can():
    base = make_sparse_recovery(6, 5, 9, random_state=0)
    longer = make_sparse_recovery(8, 5, 9, random_state=0)
    noisy = make_sparse_recovery(6, 5, 9, snr_db=3, random_state=0)
    signs = make_sparse_recovery(6, 5, 9, magnitude="sign", random_state=0)
    assert_array_equal(base.dictionary, longer.dictionary)
    assert_array_equal(base.y, noisy.y)
    assert_array_equal(base.y != 0, signs.y != 0)


def test_given_dictionary_makes_a_test_set():
    train = make_sparse_recovery(6, 5, 9, random_state=0)
    same_seed = make_sparse_recovery(6, dictionary=train.dictionary, random_state=0)
    assert_array_equal(same_seed.dictionary, train.dictionary)
    assert_allclose(same_seed.X, same_seed.y @ train.dictionary, atol=1e-13)
    # Not the training set again, even with the same seed.
    assert (same_seed.y != train.y).any()
    scaled = make_sparse_recovery(6, dictionary=3 * train.dictionary, random_state=0)
    assert_allclose(scaled.X, 3 * same_seed.X, rtol=1e-12)
    own = make_sparse_recovery(6, 5, 9, per_sample_dictionary=True, random_state=0)
    again = make_sparse_recovery(6, dictionary=own.dictionary, random_state=0)
    assert_allclose(again.X, np.einsum("jk,jkm->jm", again.y, own.dictionary), atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.dtype("float32"), "float32"])
def test_dtype_is_kept(dtype):
    data = make_sparse_recovery(6, 5, 9, snr_db=20, dtype=dtype, random_state=0)
    double = make_sparse_recovery(6, 5, 9, snr_db=20, random_state=0)
    for key in ("X", "y", "dictionary", "noise_std"):
        assert data[key].dtype == np.dtype(dtype)
        assert_array_equal(data[key], double[key].astype(dtype))


def test_return_x_y():
    X, y = make_sparse_recovery(6, 5, 9, snr_db=20, random_state=0, return_X_y=True)
    data = make_sparse_recovery(6, 5, 9, snr_db=20, random_state=0)
    assert_array_equal(X, data.X)
    assert_array_equal(y, data.y)


D = np.ones((4, 3))


@pytest.mark.parametrize(
    "params, message",
    [
        ({"n_samples": 0}, "'n_samples'.*in the range"),
        ({"n_features": -1}, "'n_features'.*in the range"),
        ({"n_components": 2.5}, "'n_components'.*an int"),
        ({"sparsity": 0}, "'sparsity'.*in the range"),
        ({"sparsity": 1.5}, "'sparsity'.*in the range"),
        ({"n_components": 4, "sparsity": 5}, "sparsity=5 nonzeros do not fit.*n_components=4"),
        ({"snr_db": np.inf}, "'snr_db'.*in the range"),
        ({"snr_db": np.nan}, "'snr_db'.*in the range"),
        ({"magnitude": "normal"}, "'magnitude'.*'laplace'"),
        ({"magnitude": lambda rng, size: np.ones(size + 1)}, r"shape \(size,\)"),
        ({"magnitude": lambda rng, size: np.full(size, np.nan)}, "non-finite"),
        ({"dictionary": "fourier"}, "'dictionary'.*'dct'"),
        ({"dictionary": "dct", "per_sample_dictionary": True}, "deterministic"),
        ({"dictionary": np.ones(3)}, r"rows are atoms.*got shape \(3,\)"),
        ({"dictionary": D * np.nan}, "dictionary contains NaN"),
        ({"dictionary": D * np.inf}, "dictionary contains infinity"),
        ({"dictionary": D * 1j}, "Complex data not supported"),
        ({"dictionary": D[:0]}, "0 sample"),
        ({"dictionary": D, "n_features": 4, "n_components": 3}, r"transposed: pass dictionary\.T"),
        ({"dictionary": D, "n_features": 7}, "Leave n_components and n_features at None"),
        ({"dictionary": D, "per_sample_dictionary": True}, "shared by all samples"),
        ({"dictionary": np.ones((5, 4, 3)), "n_samples": 6}, "pass n_samples=5"),
        (
            {"dictionary": np.ones((5, 4, 3)), "n_samples": 5, "n_features": 4, "n_components": 3},
            r"pass dictionary\.transpose\(0, 2, 1\)",
        ),
        ({"dtype": "float16"}, "'dtype'.*'float32'"),
        ({"random_state": -1}, "'random_state'"),
    ],
)
def test_bad_input(params, message):
    with pytest.raises(ValueError, match=message):
        make_sparse_recovery(**{"n_samples": 5, **params})
