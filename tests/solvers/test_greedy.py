"""Orthogonal matching pursuit: scikit-learn's codes, limits per sample, accuracy, bad input."""

import sys

import numpy as np
import pytest
import torch
from sklearn.linear_model import orthogonal_mp, orthogonal_mp_gram

from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.functional.operators import Operator
from sklearn_unroll.metrics import nmse_db
from sklearn_unroll.solvers import orthogonal_matching_pursuit
from tests.conftest import make_problem

MODULE = sys.modules["sklearn_unroll.solvers.greedy"]
DTYPES = [torch.float32, torch.float64]


@pytest.fixture(autouse=True, params=["batched", "compiled"])
def implementation(request, monkeypatch):
    """Run every test with torch, and with numba where that is possible."""
    if request.param == "compiled":
        pytest.importorskip("numba")
    monkeypatch.setattr(MODULE, "_COMPILED_FROM", 0 if request.param == "compiled" else 10**12)
    return request.param


def make(n_samples=80, n_features=60, n_components=120, sparsity=0.1, seed=0, **options):
    """Return an Observation, its true codes and the energies of its noise."""
    data = make_sparse_recovery(
        n_samples, n_features, n_components, sparsity=sparsity, random_state=seed, **options
    )
    b, x, D, noise = map(torch.from_numpy, (data.X, data.y, data.dictionary, data.noise_std))
    return Observation(b, Dense(D)), x, n_features * noise**2


def energy(x, obs):
    return obs.A.residual(obs.b, x).square().sum(1)


def one_by_one(obs, n_nonzero=None, tol=None):
    """Return scikit-learn's codes of one sample after the other."""
    codes = []
    for i, b in enumerate(obs.b.numpy()):
        D = (obs.A.D[i] if obs.A.per_sample else obs.A.D).numpy()
        most, limit = (v if v is None or np.isscalar(v) else v[i].item() for v in (n_nonzero, tol))
        codes.append(orthogonal_mp(D.T, b, n_nonzero_coefs=most, tol=limit))
    return torch.from_numpy(np.array(codes))


def assert_same(found, expected):
    assert bool(((found.x != 0) == (expected != 0)).all())
    torch.testing.assert_close(found.x, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("n_samples", [2, 80], ids=["few", "many"])
@pytest.mark.parametrize("n_nonzero", [1, 7, 25])
def test_equals_scikit_learn_for_a_number_of_atoms(n_nonzero, n_samples):
    obs, _, _ = make(n_samples, snr_db=20.0)
    D = obs.A.D.numpy()
    expected = orthogonal_mp_gram(D @ D.T, D @ obs.b.numpy().T, n_nonzero_coefs=n_nonzero).T
    found = orthogonal_matching_pursuit(obs, n_nonzero)
    assert_same(found, torch.from_numpy(expected.reshape(n_samples, -1)))
    assert bool((found.n_nonzero == n_nonzero).all())
    assert bool(found.converged.all())
    torch.testing.assert_close(found.residual, energy(found.x, obs), atol=1e-12, rtol=0)


@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per_sample"])
def test_equals_scikit_learn_for_tolerances_of_samples(per_sample):
    obs, _, noise = make(snr_db=20.0, per_sample_dictionary=per_sample)
    tol = noise * torch.linspace(0.3, 3, len(noise))
    found = orthogonal_matching_pursuit(obs, tol=tol)
    assert_same(found, one_by_one(obs, tol=tol))
    assert bool((found.residual <= tol).all())
    assert bool(found.converged.all())
    assert torch.equal(found.n_nonzero, (found.x != 0).sum(1))
    assert len(set(found.n_nonzero.tolist())) > 5


def test_numbers_of_atoms_of_samples():
    obs, _, _ = make(snr_db=20.0)
    n_nonzero = torch.arange(80) % 13
    found = orthogonal_matching_pursuit(obs, n_nonzero)
    assert torch.equal(found.n_nonzero, n_nonzero)
    assert bool(found.converged.all())
    some = n_nonzero > 0
    assert_same(found._replace(x=found.x[some]), one_by_one(obs.take(some), n_nonzero[some]))
    assert not found.x[~some].any()


def test_both_limits_hold():
    obs, _, noise = make(snr_db=20.0)
    found = orthogonal_matching_pursuit(obs, 12, noise)
    assert bool((found.n_nonzero <= 12).all())
    assert torch.equal(found.converged, found.residual <= noise)
    assert 0 < int(found.converged.sum()) < 80


@pytest.mark.parametrize("n_samples", [3, 80], ids=["few", "many"])
@pytest.mark.parametrize("dtype, floor", [(torch.float32, -130), (torch.float64, -300)])
@pytest.mark.parametrize("limits", [(None, 0.0), (60, None)])
def test_exact_data_end_at_rounding(dtype, floor, limits, n_samples):
    obs, x, _ = make(n_samples, sparsity=6)
    obs = Observation(obs.b.to(dtype), Dense(obs.A.D.to(dtype)))
    found = orthogonal_matching_pursuit(obs, *limits)
    assert found.x.dtype == found.residual.dtype == dtype
    assert bool(found.converged.all())
    assert int(found.n_nonzero.max()) <= 8
    assert nmse_db(x, found.x.double()) < floor


@pytest.mark.parametrize("dtype, floor", [(torch.float32, -139), (torch.float64, -313)])
def test_codes_are_corrected_at_the_end(dtype, floor):
    obs, x, _ = make(100, 250, 500, sparsity=0.08)
    obs = Observation(obs.b.to(dtype), Dense(obs.A.D.to(dtype)))
    assert nmse_db(x, orthogonal_matching_pursuit(obs, tol=0.0).x.double()) < floor


@pytest.mark.parametrize("level", [3e-10, 3e-14, 3e-20, 3e-24])
def test_small_tolerances_are_neither_missed_nor_overshot(level):
    # Entries from 1 to 1e-12: the energies pass through all sizes, far below a difference's.
    generator = torch.Generator().manual_seed(0)
    D = torch.linalg.qr(torch.randn(25, 25, generator=generator, dtype=torch.float64)).Q
    x = torch.logspace(0, -12, 25, dtype=torch.float64)
    tol = level * float(x.square().sum())
    left = x.square().flip(0).cumsum(0).flip(0)
    found = orthogonal_matching_pursuit(Observation((x @ D)[None], Dense(D)), tol=tol)
    assert int(found.n_nonzero) == int((left > tol).sum())
    torch.testing.assert_close(found.x[0], x * (left > tol), atol=1e-15, rtol=1e-3)


def test_float32_meets_the_tolerance():
    obs, _, noise = make(snr_db=50.0)
    single = Observation(obs.b.float(), Dense(obs.A.D.float()))
    found = orthogonal_matching_pursuit(single, tol=noise)
    assert bool((energy(found.x.double(), obs) <= noise * (1 + 1e-4)).all())
    exact = orthogonal_matching_pursuit(obs, tol=noise)
    assert bool((found.n_nonzero - exact.n_nonzero <= 1).all())


@pytest.mark.parametrize("dtype", DTYPES)
def test_norms_of_atoms_and_sizes_of_signals_do_not_matter(dtype):
    obs, _, noise = make(snr_db=20.0)
    obs = Observation(obs.b.to(dtype), Dense(obs.A.D.to(dtype)))
    norm = torch.logspace(-9, 9, 120, dtype=dtype)
    expected = orthogonal_matching_pursuit(obs, 10).x
    scaled = Observation(obs.b, Dense(obs.A.D * norm[:, None]))
    found = orthogonal_matching_pursuit(scaled, 10).x * norm
    torch.testing.assert_close(
        found, expected, atol=1e-4 if dtype == torch.float32 else 1e-12, rtol=0
    )
    size = torch.logspace(-30, 30, 80, dtype=dtype)
    sized = orthogonal_matching_pursuit(Observation(obs.b * size[:, None], obs.A), 10)
    assert bool(sized.converged.all())
    assert torch.equal(sized.x != 0, expected != 0)
    doubled = orthogonal_matching_pursuit(Observation(4 * obs.b, obs.A), tol=16 * noise)
    once = orthogonal_matching_pursuit(obs, tol=noise)
    assert torch.equal(doubled.x, 4 * once.x)
    assert torch.equal(doubled.residual, 16 * once.residual)


@pytest.mark.parametrize("dtype", DTYPES)
def test_signals_at_the_ends_of_the_range(dtype):
    obs, _, _ = make(snr_db=20.0)
    D, unit = obs.A.D.to(dtype), obs.b.to(dtype)
    expected = orthogonal_matching_pursuit(Observation(unit, Dense(D)), 5).x != 0
    info = torch.finfo(dtype)
    huge = unit / unit.abs().amax(1, keepdim=True) * (info.max / 64)
    assert torch.equal(
        orthogonal_matching_pursuit(Observation(huge, Dense(D)), 5).x != 0, expected
    )
    denormal = unit / unit.abs().amax(1, keepdim=True) * info.tiny / 16
    found = orthogonal_matching_pursuit(Observation(denormal, Dense(D)), 5)
    assert bool(found.x.isfinite().all())
    assert torch.equal(found.x != 0, expected)


@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per_sample"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["repeated", "mirrored", "rank", "zero atoms"])
def test_dependent_atoms_are_never_added(kind, dtype, per_sample):
    obs, _ = make_problem(n_samples=30, n_features=12, n_components=20, per_sample=per_sample)
    D, b = obs.A.D.clone(), obs.b + 0.3
    rank = 12
    if kind == "repeated":
        D[..., 10:, :], rank = D[..., :10, :], 10
    elif kind == "mirrored":
        D[..., 10:, :], rank = -3 * D[..., :10, :], 10
    elif kind == "rank":
        D[..., 5:], rank = 0, 5
    else:
        D[..., 8:, :], rank = 0, 8
    obs = Observation(b.to(dtype), Dense(D.to(dtype)))
    found = orthogonal_matching_pursuit(obs, 20, 0.0)
    assert bool((found.n_nonzero <= rank).all())
    assert bool(found.x.isfinite().all())
    assert torch.equal(found.n_nonzero, (found.x != 0).sum(1))
    # Nothing more can be explained.
    pinv = torch.linalg.pinv(D.mT.double())
    best = Dense(D).residual(b, torch.einsum("...nm,bm->bn", pinv, b) if D.ndim == 2
                             else torch.einsum("bnm,bm->bn", pinv, b))  # fmt: skip
    expected = best.square().sum(1).to(dtype)
    torch.testing.assert_close(
        found.residual, expected, atol=1e-5 if dtype == torch.float32 else 1e-10, rtol=0
    )
    assert bool((found.converged == (expected < 1e-8)).all())
    assert not orthogonal_matching_pursuit(obs, 20).converged[expected > 1e-3].any()


def test_more_atoms_than_features():
    obs, _ = make_problem(n_samples=6, n_features=10, n_components=20)
    found = orthogonal_matching_pursuit(obs._replace(b=obs.b + 0.3), 15)
    assert bool((found.n_nonzero <= 10).all())
    assert float(found.residual.max()) < 1e-25
    assert bool(found.converged.all())


@pytest.mark.parametrize("limits", [(3, None), (None, 0.0), (3, 0.1)])
def test_zero_signals_stay_zero(limits):
    obs, _, _ = make(n_samples=6)
    b = obs.b.clone()
    b[::2] = 0
    found = orthogonal_matching_pursuit(Observation(b, obs.A), *limits)
    assert not found.x[::2].any()
    assert not found.n_nonzero[::2].any()
    assert not found.residual[::2].any()
    assert bool(found.converged[::2].all())
    assert bool(found.n_nonzero[1::2].all())


def test_of_equal_correlations_the_first_wins():
    obs = Observation(torch.tensor([[1.0, -1.0, 1.0]]), Dense(torch.eye(3)))
    for k in range(1, 4):
        found = orthogonal_matching_pursuit(obs, k)
        assert found.x[0].nonzero()[:, 0].tolist() == list(range(k))


@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per_sample"])
def test_chunks_and_missing_inner_products_change_nothing(per_sample, monkeypatch):
    obs, _, noise = make(n_samples=30, snr_db=20.0, per_sample_dictionary=per_sample)
    whole = orthogonal_matching_pursuit(obs, tol=noise)
    for name, value in {"_CHUNK": 1, "_FACTORS": 60**2 * 7, "GRAM": 0}.items():
        monkeypatch.setattr(MODULE, name, value)
        found = orthogonal_matching_pursuit(obs, tol=noise)
        for part, expected in zip(found, whole, strict=True):
            torch.testing.assert_close(part, expected, atol=1e-12, rtol=0)


def test_layout_and_gradients_change_nothing():
    obs, _, noise = make(n_samples=30, snr_db=20.0)
    expected = orthogonal_matching_pursuit(obs, tol=noise)
    b = obs.b.T.contiguous().T.requires_grad_()
    found = orthogonal_matching_pursuit(Observation(b, Dense(obs.A.D.requires_grad_())), tol=noise)
    assert not found.x.requires_grad
    torch.testing.assert_close(found.x, expected.x, atol=1e-12, rtol=0)


def test_no_samples():
    obs, _, _ = make(n_samples=2)
    found = orthogonal_matching_pursuit(obs.take(slice(0, 0)), 3)
    assert found.x.shape == (0, 120)
    assert found.converged.shape == (0,)


def test_what_it_refuses():
    obs, _, _ = make(n_samples=4)
    with pytest.raises(ValueError, match="n_nonzero, tol or both"):
        orthogonal_matching_pursuit(obs)
    with pytest.raises(ValueError, match="tol must not be negative"):
        orthogonal_matching_pursuit(obs, tol=-1.0)
    with pytest.raises(ValueError, match="tol must not be negative"):
        orthogonal_matching_pursuit(obs, tol=torch.tensor([1.0, 1, 1, torch.nan]))
    with pytest.raises(ValueError, match=r"n_nonzero must be one number.*\(4,\)"):
        orthogonal_matching_pursuit(obs, torch.ones(3))
    other = type("Other", (Operator,), {"__call__": None, "adjoint": None})()
    with pytest.raises(TypeError, match="Dense operator; got Other"):
        orthogonal_matching_pursuit(Observation(obs.b, other), 3)
