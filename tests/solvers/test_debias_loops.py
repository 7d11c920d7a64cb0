"""Debiasing sample by sample, as plain Python and as machine code, beside the torch path."""

import gc
import sys
from weakref import ref

import numpy as np
import pytest
import torch

from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.metrics import nmse_db
from sklearn_unroll.solvers import _debias_threads as threads
from sklearn_unroll.solvers._debias_loops import limit
from sklearn_unroll.solvers.debias import debias

# The module, not the function of the same name.
MODULE = sys.modules[debias.__module__]
NOISES = [None, "estimate", 0.0, 0.05]


def make(m=15, n=30, n_samples=24, sparsity=4, snr_db=25.0, seed=0, dtype=torch.float64):
    """Return an Observation, its codes, and codes with errors, false atoms and missing ones."""
    data = make_sparse_recovery(
        n_samples, m, n, sparsity=sparsity, snr_db=snr_db, magnitude="uniform", random_state=seed
    )
    obs = Observation(*(torch.from_numpy(a).to(dtype) for a in (data.X, data.dictionary)))
    x = torch.from_numpy(data.y).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(x.shape, generator=generator).to(dtype)
    crude = x + 0.05 * noise * (torch.rand(x.shape, generator=generator) < 0.3)
    crude[torch.arange(n_samples), x.abs().argmax(1)] *= torch.arange(n_samples) % 3 != 0
    return Observation(obs.b, Dense(obs.A)), x, crude


@pytest.fixture
def in_plain_python(monkeypatch):
    """Run the loops whenever they can, uncompiled; count how often."""
    runs = []

    def compiled(loop, fastmath):
        runs.append(loop)
        return loop

    monkeypatch.setattr(threads, "compiled", compiled)
    monkeypatch.setattr(threads, "compiled_available", lambda: True)
    monkeypatch.setattr(threads, "_COMPILED_FROM", 0)
    monkeypatch.setattr(threads, "_SHARE", 32 * 7)
    return runs


def in_torch(x, obs, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "_COMPILED_FROM", 10**12)
        return debias(x, obs, **options)


def check_equal(x, obs, runs, tol=1e-9, **options):
    """Hold the loops to the torch path, and return what they found."""
    before, given = len(runs), x.clone()
    found, expected = debias(x, obs, **options), in_torch(x, obs, **options)
    assert len(runs) > before
    assert found.dtype == x.dtype
    torch.testing.assert_close(found, expected, atol=tol, rtol=tol)
    torch.testing.assert_close(x, given, equal_nan=True, atol=0, rtol=0)
    return found


@pytest.mark.parametrize("noise_std", NOISES)
@pytest.mark.parametrize("m, n", [(15, 30), (30, 15), (16, 16)])
def test_equal_the_torch_path(m, n, noise_std, in_plain_python):
    # Told that there is no noise where there is, both would end in rounding.
    obs, _, crude = make(m, n, snr_db=None if noise_std == 0.0 else 25.0)
    found = check_equal(crude, obs, in_plain_python, noise_std=noise_std)
    assert float((found != crude).any(1).double().mean()) > 0.9


@pytest.mark.parametrize("noise_std", ["estimate", torch.linspace(0.01, 0.2, 24)])
@pytest.mark.parametrize("options", [{"n_rounds": 0}, {"n_rounds": 1}, {"threshold": 0.4}])
def test_equal_it_with_options(options, noise_std, in_plain_python):
    obs, _, crude = make(seed=1)
    check_equal(crude, obs, in_plain_python, noise_std=noise_std, **options)


@pytest.mark.parametrize("noise_std", [None, "estimate"])
def test_equal_it_in_float32(noise_std, in_plain_python):
    obs, _, crude = make(seed=2, dtype=torch.float32)
    check_equal(crude, obs, in_plain_python, tol=2e-5, noise_std=noise_std)


@pytest.mark.parametrize("noise_std", NOISES)
def test_codes_of_repeated_atoms_are_the_least(noise_std, in_plain_python):
    # Only the sum of two copies is known: the torch path leaves rounding in their difference.
    obs, _, crude = make(seed=3)
    obs = Observation(obs.b, Dense(torch.cat([obs.A.D, -2 * obs.A.D])))
    crude = torch.cat([0.3 * crude, -0.6 * crude], 1)
    found = debias(crude, obs, noise_std=noise_std)
    expected = in_torch(crude, obs, noise_std=noise_std)
    assert torch.equal(found != 0, expected != 0)
    torch.testing.assert_close(obs.A(found), obs.A(expected), atol=1e-9, rtol=0)
    once, again = found[:, :30], -2 * found[:, 30:]
    both = (once != 0) & (again != 0)
    assert bool(both.any())
    torch.testing.assert_close(once[both], again[both], atol=1e-9, rtol=0)


def test_equal_it_where_a_factor_is_needed(in_plain_python):
    # Pairs of atoms that differ by a thousandth: gradients on their blocks take too long.
    obs, x, _ = make(30, 30, sparsity=12, seed=4)
    D = obs.A.D.clone()
    D[1::2] = D[::2] + 1e-3 * D[1::2]
    obs = Observation(x @ D, Dense(D))
    found = check_equal(0.9 * x, obs, in_plain_python, tol=1e-7)
    torch.testing.assert_close(found, x, atol=1e-7, rtol=0)


def test_large_codes_of_nearly_repeated_atoms_do_not_stay(in_plain_python):
    # Before a missing atom enters, least squares on pairs 1e-7 apart makes up for it by codes of
    # 1e5 that cancel: no start for the support on which the data are exact.
    obs, x, _ = make(64, 32, n_samples=120, snr_db=None, seed=7)
    atoms = obs.A.D.roll(1, 0) + 1.5 * obs.A.D.roll(2, 0)
    obs = Observation(obs.b, Dense(torch.cat([obs.A.D, obs.A.D + 1e-7 * atoms])))
    crude = torch.cat([x, x], 1) / 2
    crude *= crude.abs() > 0.6 * crude.abs().amax(1, keepdim=True)
    found = debias(crude, obs, noise_std="estimate")
    assert in_plain_python
    assert float((obs.residual(found).abs().amax(1) / obs.b.abs().amax(1)).max()) < 1e-7
    assert float(found.abs().max()) < 2


def test_equal_it_where_supports_are_too_large(in_plain_python):
    obs, _, _ = make(10, 30, sparsity=3, seed=5)
    dense = torch.randn(24, 30, generator=torch.Generator().manual_seed(0)).double()
    for noise_std in (None, "estimate"):
        found = check_equal(dense, obs, in_plain_python, tol=1e-6, noise_std=noise_std)
        assert int((found != 0).sum(1)[(found != dense).any(1)].max()) <= 10


@pytest.mark.parametrize("noise_std", NOISES)
def test_equal_it_on_bad_rows(noise_std, in_plain_python):
    obs, _, crude = make(seed=6)
    D, b = obs.A.D.clone(), obs.b.clone()
    D[3] = 0
    crude[:, 3] = 0.5
    b[0], crude[1] = 0, 0
    b[2], crude[2] = 0, 0
    crude[3, 4], crude[4, 4], b[5, 0], b[6, 0] = torch.nan, torch.inf, torch.nan, torch.inf
    found = check_equal(crude, Observation(b, Dense(D)), in_plain_python, noise_std=noise_std)
    assert not bool(found[[0, 2]].any())
    assert torch.equal(found[[5, 6]], crude[[5, 6]])


def test_float32_reaches_the_floor_of_residuals(in_plain_python):
    obs, x, crude = make(100, 200, 20, 20, snr_db=None, seed=7, dtype=torch.float32)
    # The second start is worse than zeros: differences from it would be rounded.
    for start in (crude, 30 * crude):
        found = debias(start, obs, noise_std="estimate")
        expected = in_torch(start, obs, noise_std="estimate")
        assert nmse_db(x, found) < min(-135, nmse_db(x, expected) + 2)
    assert in_plain_python


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_units_only_rescale_the_codes(unit, in_plain_python):
    obs, _, crude = make(dtype=torch.float32, seed=8)
    found = debias(unit * crude, Observation(unit * obs.b, obs.A), noise_std="estimate") / unit
    expected = debias(crude, obs, noise_std="estimate")
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_what_loops_cannot_take_runs_in_torch(in_plain_python, monkeypatch):
    obs, _, crude = make()
    per_sample = Observation(obs.b, Dense(obs.A.D.expand(24, -1, -1)))
    for given in (per_sample, obs.take(slice(1))):  # one sample: inner products do not pay
        debias(crude[: len(given.b)], given, noise_std="estimate")
    monkeypatch.setattr(threads, "_MAX_ATOMS", 29)
    debias(crude, obs)
    monkeypatch.undo()
    monkeypatch.setattr(threads, "_COMPILED_FROM", 0)
    monkeypatch.setattr(threads, "compiled_available", lambda: False)
    monkeypatch.setattr(threads, "compiled", None)
    debias(crude, obs)
    assert not in_plain_python


@pytest.mark.parametrize(
    "dtype, tol",
    [(torch.float32, 2e-5), pytest.param(torch.float64, 1e-9, marks=pytest.mark.long)],
)  # each compiles for ten seconds, on a cold cache
def test_in_machine_code_by_two_threads(dtype, tol, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(threads, "_COMPILED_FROM", 0)
    monkeypatch.setattr(threads, "_SHARE", 32)
    before = torch.get_num_threads()
    obs, _, crude = make(40, 80, 150, 8, dtype=dtype)
    crude[7, 3] = torch.nan
    try:
        torch.set_num_threads(2)
        for noise_std in ("estimate", None):
            found = debias(crude, obs, noise_std=noise_std)
            expected = in_torch(crude, obs, noise_std=noise_std)
            torch.testing.assert_close(found, expected, atol=tol, rtol=tol)
    finally:
        torch.set_num_threads(before)


def test_inner_products_live_as_long_as_their_owner(monkeypatch):
    class Owner:
        pass

    obs, _, crude = make()
    made, plain = [], MODULE.Atoms

    def atoms(D, with_gram):
        made.append(with_gram)
        return plain(D, with_gram)

    monkeypatch.setattr(MODULE, "Atoms", atoms)
    owner = Owner()
    first = debias(crude, obs, keep_for=owner)
    assert torch.equal(debias(crude, obs, keep_for=owner), first)
    assert made == [True]
    obs.A.D.mul_(2.0)  # in place: the next call must see it
    torch.testing.assert_close(debias(crude, obs, keep_for=owner), debias(crude, obs))
    assert made == [True] * 3
    debias(crude[:1], obs.take(slice(1)), keep_for=owner)  # the same bits, kept or not
    assert made[-1] is False
    gone = ref(MODULE._KEPT[owner][1])
    del owner
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("most", [0, 1, 3, 4, 9])
def test_the_largest_scores_stay_and_of_equal_ones_the_first(most):
    score = np.array([0.5, -1.0, 2.0, 0.5, 0.5, 1e-30, -1.0])
    expected = np.where(score > 0, score, -1.0)
    order = np.argsort(-expected, kind="stable")
    expected[order[most:]] = -1.0
    limit(score, len(score), most)
    np.testing.assert_array_equal(score, expected)
