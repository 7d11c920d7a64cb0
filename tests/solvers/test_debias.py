import sys

import numpy as np
import pytest
import torch

from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation, Operator
from sklearn_unroll.metrics import nmse_db, nmse_db_median
from sklearn_unroll.solvers import fista
from sklearn_unroll.solvers._supports import limit
from sklearn_unroll.solvers.debias import debias


def make(seed=0, n_samples=100, n_features=60, n_components=120, sparsity=6, **options):
    """Return an Observation, its true codes and its noise levels."""
    data = make_sparse_recovery(
        n_samples, n_features, n_components, sparsity=sparsity, random_state=seed, **options
    )
    arrays = (data.X, data.y, data.dictionary, data.noise_std)
    b, x, D, noise_std = (torch.from_numpy(array) for array in arrays)
    return Observation(b, Dense(D)), x, noise_std


def perturbed(x, scale, seed=1):
    """Return codes of the same support with errors of this standard deviation."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(x.shape, dtype=x.dtype, generator=generator)
    return x + scale * noise * (x != 0)


def residual(x, obs):
    return torch.linalg.vector_norm(obs.A.residual(obs.b, x), dim=1)


def lstsq_on_support(x, obs):
    """Solve one by one with numpy."""
    solution = np.zeros(x.shape)
    for i in range(len(x)):
        D = (obs.A.D[i] if obs.A.per_sample else obs.A.D).numpy()
        support = x[i].numpy() != 0
        solution[i, support] = np.linalg.lstsq(D[support].T, obs.b[i].numpy(), rcond=None)[0]
    return torch.from_numpy(solution)


@pytest.mark.parametrize("n_samples", [4, 300], ids=["few", "many"])
@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per_sample"])
def test_equals_numpy_on_the_support(per_sample, n_samples):
    # Few samples gather their atoms, many look their inner products up; the supports are of
    # several sizes, so there is padding.
    obs, x, _ = make(
        n_samples=n_samples,
        sparsity=0.05,
        magnitude="uniform",
        snr_db=20.0,
        per_sample_dictionary=per_sample,
    )
    assert len(set((x != 0).sum(1).tolist())) > 1
    torch.testing.assert_close(debias(0.9 * x, obs), lstsq_on_support(x, obs))


def test_the_criterion_as_printed():
    # Two samples with the same support; the second has a coefficient that is not worth it.
    D = torch.eye(8, dtype=torch.float64)
    b = torch.tensor([[5.0, 0, 0, 0, 0, 0, 0, 0]] * 2, dtype=torch.float64)
    b[:, 1:] += 0.1 * torch.tensor([1.0, -1, 1, -1, 1, -1, 1], dtype=torch.float64)
    b[0, 1] = 2.0
    x = b * (torch.arange(8) < 2)
    m = n = 8
    noise_std = 0.1

    def cost(k, energy, error):
        q = 1 - k / m
        sigma = max((error / (m * q)) ** 0.5, noise_std)
        v = error / (m * q * noise_std**2)
        rate = k / n
        entropy = -rate * np.log(rate) - (1 - rate) * np.log(1 - rate)
        spread = np.log(1 + q * size / (k * sigma**2))
        misfit = m * q * min(v, 1) + m * np.log(max(v, 1))
        return misfit + 2 * n * entropy + k * spread + k * energy / size

    for i, kept in enumerate([2, 1]):
        size = float(b[i].square().sum())
        energy = b[i].square().cumsum(0)
        costs = [cost(k, float(energy[k - 1]), size - float(energy[k - 1])) for k in (1, 2)]
        assert int(np.argmin(costs)) + 1 == kept
    found = debias(x, Observation(b, Dense(D)), noise_std=noise_std)
    assert (found != 0).sum(1).tolist() == [2, 1]
    torch.testing.assert_close(found, b * (found != 0))


@pytest.mark.parametrize("noise_std", [None, "estimate", 0.0])
def test_noiseless_codes_become_exact(noise_std):
    obs, x, _ = make()
    crude = perturbed(x, 1e-3)
    assert nmse_db(x, crude) > -65
    found = debias(crude, obs, noise_std=noise_std)
    assert nmse_db_median(x, found) < -290
    if noise_std is not None:
        # Without repair the atoms that the errors hide are lost.
        assert nmse_db(x, found) < -290


def test_float32_reaches_its_own_floor():
    obs, x, _ = make(dtype="float32")
    found = debias(perturbed(x, 1e-2), obs, noise_std="estimate")
    assert found.dtype == torch.float32
    assert nmse_db(x, found) < -135


@pytest.mark.parametrize("noise_std", ["estimate", 0.0])
@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per_sample"])
def test_missing_and_false_atoms_are_repaired(per_sample, noise_std):
    obs, x, _ = make(n_samples=40, magnitude="uniform", per_sample_dictionary=per_sample)
    rows = torch.arange(len(x))
    wrong = perturbed(x, 0.1)
    wrong[rows, x.abs().argmax(1)] = 0.0
    wrong[rows, x.abs().argmin(1)] = 0.7
    assert nmse_db(x, wrong) > -6
    assert nmse_db(x, debias(wrong, obs)) > -6
    assert nmse_db(x, debias(wrong, obs, noise_std=noise_std)) < -290


def test_repairs_a_crude_solver():
    # 16 iterations of FISTA at -10 dB know enough of a 250x500 problem to solve it exactly.
    obs, x, _ = make(n_samples=50, n_features=250, n_components=500, sparsity=50)
    crude = fista(obs, 0.1, max_iter=16, tol=0).x
    assert nmse_db(x, crude) > -12
    assert nmse_db(x, debias(crude, obs, noise_std="estimate")) < -290


@pytest.mark.parametrize("seed", range(5))
def test_noise_aware_beats_plain(seed):
    obs, x, noise_std = make(seed, n_samples=200, sparsity=10, snr_db=30.0)
    crude = fista(obs, 0.05, max_iter=60, tol=0).x
    plain = nmse_db(x, debias(crude, obs))
    oracle = nmse_db(x, debias(x, obs))
    assert plain < nmse_db(x, crude) - 8
    for given in (noise_std, "estimate"):
        aware = nmse_db(x, debias(crude, obs, noise_std=given))
        assert aware < plain - 3
        assert aware < oracle + 1.8


@pytest.mark.parametrize("seed", range(3))
def test_known_noise_serves_compressible_codes(seed):
    # Coefficients that decay like 1 / i: the small ones are signal, though the residual of the
    # large ones calls them noise.
    D = make(seed, n_samples=1, n_features=50, n_components=100)[0].A.D
    generator = torch.Generator().manual_seed(seed)
    decay = 1 / (1 + torch.rand(200, 100, dtype=D.dtype, generator=generator).argsort(1))
    x = decay * torch.randn(200, 100, dtype=D.dtype, generator=generator)
    b = x @ D
    b = b + 0.01 * torch.randn(b.shape, dtype=D.dtype, generator=generator)
    obs = Observation(b, Dense(D))
    crude = fista(obs, 0.02, tol=1e-3).x

    def signal_db(codes):
        return nmse_db(x @ D, codes @ D)

    known = signal_db(debias(crude, obs, noise_std=0.01))
    assert known < signal_db(debias(crude, obs, noise_std="estimate")) - 1.5


def test_noise_std_of_one_sample_or_of_all():
    obs, _, noise_std = make(snr_db=25.0)
    crude = fista(obs, 0.1, max_iter=40, tol=0).x
    found = debias(crude, obs, noise_std=noise_std)
    one = debias(crude[:1], obs.take(slice(0, 1)), noise_std=float(noise_std[0]))
    torch.testing.assert_close(one, found[:1])
    torch.testing.assert_close(
        debias(crude, obs, noise_std=0.1), debias(crude, obs, noise_std=torch.full((100,), 0.1))
    )
    assert not torch.equal(found, debias(crude, obs, noise_std=5 * noise_std))


def test_n_rounds_zero_is_no_repair():
    obs, x, noise_std = make(snr_db=30.0)
    crude = fista(obs, 0.05, max_iter=60, tol=0).x
    found = debias(crude, obs, noise_std=noise_std, n_rounds=0)
    assert not bool(((found != 0) & (crude == 0)).any())
    assert float(nmse_db(x, found)) > nmse_db(x, debias(crude, obs, noise_std=noise_std)) + 3


@pytest.mark.parametrize("noise_std", [None, "estimate", 0.05])
@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per_sample"])
def test_a_batch_equals_one_by_one(per_sample, noise_std, monkeypatch):
    obs, x, _ = make(n_samples=40, sparsity=0.05, snr_db=25.0, per_sample_dictionary=per_sample)
    crude = perturbed(x, 0.05)
    together = debias(crude, obs, noise_std=noise_std)
    for i in range(len(x)):
        one = debias(crude[i : i + 1], obs.take(slice(i, i + 1)), noise_std=noise_std)
        torch.testing.assert_close(one[0], together[i])
    # The module, not the function of the same name.
    monkeypatch.setattr(sys.modules[debias.__module__], "_CHUNK", 120 * 7)
    torch.testing.assert_close(debias(crude, obs, noise_std=noise_std), together)


@pytest.mark.parametrize("noise_std", [None, "estimate", 0.05])
@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per_sample"])
def test_norms_of_atoms_only_rescale_the_codes(per_sample, noise_std):
    obs, x, _ = make(n_samples=40, snr_db=25.0, per_sample_dictionary=per_sample)
    norms = torch.logspace(-3, 3, 120, dtype=torch.float64)
    crude = perturbed(x, 0.05)
    scaled = Observation(obs.b, Dense(obs.A.D * norms[:, None]))
    torch.testing.assert_close(
        debias(crude / norms, scaled, noise_std=noise_std) * norms,
        debias(crude, obs, noise_std=noise_std),
    )


@pytest.mark.parametrize("noise_std", [None, "estimate", 0.05])
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_scale_of_the_data_only_rescales_the_codes(scale, noise_std):
    obs, x, _ = make(snr_db=25.0, dtype="float32")
    crude = perturbed(x, 0.05)
    scaled = Observation(scale * obs.b, obs.A)
    found = debias(crude, obs, noise_std=noise_std)
    noise_std = scale * noise_std if isinstance(noise_std, float) else noise_std
    again = debias(scale * crude, scaled, noise_std=noise_std) / scale
    torch.testing.assert_close(again, found, atol=1e-4, rtol=1e-4)


def test_permuted_atoms_permute_the_codes():
    obs, x, _ = make(snr_db=25.0)
    crude = perturbed(x, 0.05)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(0))
    permuted = Observation(obs.b, Dense(obs.A.D[order]))
    torch.testing.assert_close(
        debias(crude[:, order], permuted, noise_std="estimate"),
        debias(crude, obs, noise_std="estimate")[:, order],
    )


@pytest.mark.parametrize("noise_std", [None, "estimate", 0.05])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_more_nonzeros_than_features(dtype, noise_std):
    obs, _, _ = make(n_samples=20, n_features=10, n_components=40, sparsity=0.9)
    obs = Observation(obs.b.to(dtype), Dense(obs.A.D.to(dtype)))
    dense = torch.randn(20, 40, dtype=dtype, generator=torch.Generator().manual_seed(0))
    found = debias(dense, obs, noise_std=noise_std)
    assert bool(found.isfinite().all())
    changed = (found != dense).any(1)
    assert bool(changed.any())
    assert int((found[changed] != 0).sum(1).max()) <= 10
    if noise_std is None:
        assert bool((residual(found, obs) <= residual(dense, obs)).all())


def test_as_many_nonzeros_as_features_are_solved_for():
    # A square dictionary and dense codes: nothing to select, so it is solved.
    obs, x, _ = make(
        n_samples=20, n_features=10, n_components=10, sparsity=10, magnitude="uniform"
    )
    torch.testing.assert_close(debias(1.01 * x, obs), x)


@pytest.mark.parametrize("ridge", [None, 0.0], ids=["ridge", "no_ridge"])
@pytest.mark.parametrize("noise_std", [None, "estimate", 0.01])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_duplicate_atoms(dtype, noise_std, ridge):
    obs, x, _ = make(magnitude="uniform")
    D = torch.cat([obs.A.D, obs.A.D]).to(dtype)
    obs = Observation(obs.b.to(dtype), Dense(D))
    # Both copies of every atom of the support, and their atoms scaled: the Gram is singular.
    crude = torch.cat([0.3 * x, 0.6 * x], 1).to(dtype)
    found = debias(crude, obs, noise_std=noise_std, ridge=ridge)
    assert bool(found.isfinite().all())
    assert bool((residual(found, obs) <= residual(crude, obs)).all())
    exact = torch.finfo(dtype).eps * torch.linalg.vector_norm(obs.b, dim=1)
    assert bool((residual(found, obs) < 100 * exact).all())
    # The null space of the Gram matrix adds nothing large.
    assert float(found.abs().max()) < 3


@pytest.mark.parametrize("noise_std", [None, "estimate", 0.01])
def test_nearly_dependent_atoms_do_not_blow_up(noise_std):
    # Least squares on a wrong support of this dictionary fits by coefficients that cancel:
    # 60,000 times the norm of b, did the criterion not count them.
    obs, _, _ = make(
        n_samples=300, n_features=125, n_components=500, sparsity=12, dictionary="dct", snr_db=40.0
    )
    crude = fista(obs, 0.05, max_iter=16, tol=0).x
    found = debias(crude, obs, noise_std=noise_std)
    growth = torch.linalg.vector_norm(found, dim=1) / torch.linalg.vector_norm(obs.b, dim=1)
    assert float(growth.max()) < 10


@pytest.mark.parametrize("noise_std", [None, "estimate", 0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zeros_are_safe(dtype, noise_std):
    obs, x, _ = make(n_samples=4, magnitude="uniform")
    D = obs.A.D.clone()
    unused = int((x == 0).all(0).nonzero()[0])
    D[unused] = 0.0
    b, crude = obs.b.clone(), perturbed(x, 0.01)
    b[0], crude[1] = 0.0, 0.0  # no data; no codes
    b[2], crude[2] = 0.0, 0.0  # neither
    crude[:, unused] = 0.5  # an atom that is zero explains nothing
    obs = Observation(b.to(dtype), Dense(D.to(dtype)))
    found = debias(crude.to(dtype), obs, noise_std=noise_std)
    assert bool(found.isfinite().all())
    assert not bool(found[[0, 2]].any())
    assert not bool(found[:, unused].any())
    assert nmse_db(x[3].to(dtype), found[3]) < (-100 if noise_std != 0.1 else -15)
    assert bool(found[1].any()) == (noise_std is not None)


def test_empty_batch():
    obs, x, _ = make(n_samples=3)
    assert debias(x[:0], obs.take(slice(0, 0)), noise_std="estimate").shape == (0, 120)


@pytest.mark.parametrize("noise_std", [None, "estimate", 0.1])
def test_never_worse_than_given(noise_std):
    # Codes that have nothing to do with the data.
    obs, _, _ = make(snr_db=5.0)
    garbage = torch.randn(
        100, 120, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    garbage *= torch.rand(garbage.shape, generator=torch.Generator().manual_seed(1)) < 0.1
    found = debias(garbage, obs, noise_std=noise_std)
    assert bool((residual(found, obs) <= residual(garbage, obs) * (1 + 1e-12)).all())


def test_a_bad_row_spoils_no_other():
    obs, x, _ = make(n_samples=6, snr_db=30.0)
    crude = perturbed(x, 0.01)
    expected = debias(crude, obs, noise_std="estimate")
    b, bad = obs.b.clone(), crude.clone()
    bad[1, 3], bad[2, 3], b[4, 0] = torch.nan, torch.inf, torch.nan
    found = debias(bad, Observation(b, obs.A), noise_std="estimate")
    torch.testing.assert_close(found[[0, 3, 5]], expected[[0, 3, 5]])
    # Codes are found without a start; without data the given ones come back.
    assert bool(found.isfinite().all())
    torch.testing.assert_close(found[4], crude[4])


def test_leaves_its_input_and_gradients_alone():
    obs, x, _ = make(n_samples=5)
    crude = perturbed(x, 0.01).requires_grad_()
    before = crude.detach().clone()
    found = debias(crude, obs)
    assert not found.requires_grad
    assert torch.equal(crude, before)
    assert torch.is_grad_enabled()


def test_threshold_leaves_small_entries_out():
    obs, x, _ = make(magnitude="uniform")
    crude = x.clone()
    false = (x == 0).int().argmax(1)
    crude[torch.arange(len(x)), false] = 0.2
    assert bool(debias(crude, obs)[torch.arange(len(x)), false].any())
    found = debias(crude, obs, threshold=0.25)
    assert not bool(found[torch.arange(len(x)), false].any())
    assert nmse_db(x, found) < -290


def test_needs_atoms():
    class Identity(Operator):
        n_components = n_features = 3

        def __call__(self, x):
            return x

        adjoint = residual = lipschitz = take = __call__

    with pytest.raises(TypeError, match="Dense operator; got Identity"):
        debias(torch.ones(1, 3), Observation(torch.ones(1, 3), Identity()))


def test_unknown_word_for_the_noise():
    obs, x, _ = make(n_samples=2)
    with pytest.raises(ValueError, match="'estimate' or None; got 'auto'"):
        debias(x, obs, noise_std="auto")


def test_the_largest_of_a_support_are_kept_and_no_others():
    support = torch.tensor([[True, False, True, True], [True, False, False, False]])
    score = torch.tensor([[0.1, 9.0, 0.2, 0.3], [0.0, 5.0, 6.0, 7.0]])
    kept = limit(support, score, 2)
    assert kept.tolist() == [[False, False, True, True], support[1].tolist()]


def criterion(x, obs, noise):
    """What the notes of debias print, for atoms of norm one."""
    n, m = obs.A.n_components, obs.A.n_features
    k, r = (x != 0).sum(1), residual(x, obs)
    q, b = 1 - k / m, torch.linalg.vector_norm(obs.b, dim=1)
    v = r.square() / (m * q * noise.square())
    sigma = torch.maximum(r / (m * q).sqrt(), noise)
    coin = torch.special.entr(k / n) + torch.special.entr(1 - k / n)
    likelihood = m * q * v.clamp_max(1) + m * v.clamp_min(1).log()
    prior = 2 * n * coin + k * torch.log1p(q * (b / sigma).square() / k)
    return likelihood + prior + k * (torch.linalg.vector_norm(x, dim=1) / b).square()


@pytest.mark.parametrize("sparsity, snr_db", [(6, 20.0), (20, 10.0)])
def test_more_rounds_never_raise_the_criterion(sparsity, snr_db):
    obs, _, noise = make(sparsity=sparsity, snr_db=snr_db)
    start = fista(obs, 0.05, tol=1e-2).x
    before = torch.full_like(noise, torch.inf)
    for n_rounds in (1, 2, 4, 10):
        cost = criterion(debias(start, obs, noise_std=noise, n_rounds=n_rounds), obs, noise)
        assert bool((cost <= before * (1 + 1e-9)).all())
        before = cost
    assert bool((cost < criterion(start, obs, noise)).any())
