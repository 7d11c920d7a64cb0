"""Sets of signs over a few atoms: scikit-learn's codes, and what they cannot solve is told."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet

from sklearn_unroll import LassoCoder
from sklearn_unroll.functional import Dense, Observation, alpha_max, duality_gap
from sklearn_unroll.functional._compiled import compiled
from sklearn_unroll.solvers import homotopy
from sklearn_unroll.solvers._few_atoms import are_few, few_atoms, sets_of_signs, try_sets
from sklearn_unroll.solvers._samples import batch_of, products_of
from sklearn_unroll.solvers.solver import Solution

pytest.importorskip("numba")


def make(n_atoms, n_samples=60, n_features=5, seed=0):
    """Return signals over atoms of several sizes, at angles of up to 20 degrees."""
    rng = np.random.default_rng(seed)
    D = rng.random((n_atoms, n_features)) * rng.uniform(0.5, 2, (n_atoms, 1))
    b = rng.standard_normal((n_samples, n_atoms)) @ D
    b += 0.2 * rng.standard_normal(b.shape)
    return Observation(torch.from_numpy(b), Dense(torch.from_numpy(D)))


def solved(obs, alpha, positive=False, l2=0.0, tol=1e-12):
    ridge = np.full(obs.A.n_components, l2)
    known = products_of(obs.A.D, len(obs.b))
    x, gap = torch.zeros(len(obs.b), len(ridge)).double(), torch.full_like(alpha, torch.inf)
    batch, found = batch_of(obs.b, known), (x.numpy(), gap.numpy())
    few_atoms(known, batch, alpha.numpy(), positive, ridge, found)
    return Solution(x, gap, torch.ones(len(x)), gap <= tol)


@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("n_atoms, positive", [(1, False), (2, False), (2, True), (4, True)])
def test_codes_are_those_of_scikit_learn(n_atoms, positive, l2):
    obs = make(n_atoms)
    alpha = torch.logspace(-4, 0, 60, dtype=torch.float64) * alpha_max(obs, positive=positive)
    alpha += 1e-9
    found = solved(obs, alpha, positive, l2)
    live = alpha < alpha_max(obs, positive=positive)
    assert torch.equal(found.converged, live)
    gap = duality_gap(found.x, obs, alpha, positive=positive, l2=l2)
    torch.testing.assert_close(found.gap[live], gap[live], rtol=0, atol=1e-12)
    for i in live.nonzero()[::7, 0].tolist():
        weight = alpha[i].item() + l2
        net = ElasticNet(
            weight / 5, l1_ratio=alpha[i].item() / weight, positive=positive,
            fit_intercept=False, tol=1e-14, max_iter=100_000,
        )  # fmt: skip
        expected = torch.from_numpy(net.fit(obs.A.D.numpy().T, obs.b[i].numpy()).coef_)
        torch.testing.assert_close(found.x[i], expected, atol=1e-7, rtol=0)
    if n_atoms > 1:
        assert len((found.x[live] != 0).unique(dim=0)) > 1


def test_few_sets_are_few():
    assert are_few(2, False) and are_few(4, True)
    assert not are_few(3, False) and not are_few(5, True)
    gram = np.array([[1.0, 0.5], [0.5, 1.0]])
    signs, inverses = sets_of_signs(gram, False)
    assert len({tuple(s) for s in signs}) == len(signs) == 8
    for s, inverse in zip(signs, inverses, strict=True):
        used = s != 0
        np.testing.assert_allclose(inverse @ gram @ inverse, inverse, atol=1e-12)
        assert np.linalg.matrix_rank(inverse) == used.sum() and not inverse[~used].any()


def test_dependent_and_zero_atoms_are_left_to_the_path():
    obs = make(3)
    D = torch.stack([obs.A.D[0], 2 * obs.A.D[0], torch.zeros(5, dtype=torch.float64)])
    signs, _ = sets_of_signs((D @ D.T).numpy(), True)
    assert signs.tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    codes = LassoCoder(D.numpy(), 0.1, positive=True, tol=1e-10).fit(obs.b.numpy())
    found = codes.solve(obs.b.numpy())
    assert found.converged.all()
    expected = homotopy(Observation(obs.b, Dense(D[1:2])), 0.1, positive=True)
    # The larger of two parallel atoms is the cheaper one.
    np.testing.assert_allclose(found.codes[:, 1], expected.x[:, 0], atol=1e-10)


def test_what_misses_the_tolerance_is_told_and_solved_by_others():
    obs = make(2)
    alpha = torch.full((60,), 0.05, dtype=torch.float64)
    found = solved(obs, alpha, tol=0.0)
    assert not bool(found.converged.any())
    coder = LassoCoder(obs.A.D.numpy(), 0.05, tol=1e-12).fit(obs.b.numpy())
    other = LassoCoder(obs.A.D.numpy(), 0.05, tol=1e-12, solver="active_set").fit(obs.b.numpy())
    np.testing.assert_allclose(
        coder.transform(obs.b.numpy()), other.transform(obs.b.numpy()), atol=1e-10
    )


def test_steps_in_plain_python_are_the_compiled_ones():
    obs = make(2)
    D, b, alpha = obs.A.D.numpy(), obs.b.numpy(), np.full(60, 0.3)
    gram, outs = D @ D.T, []
    for loop in (try_sets, compiled(try_sets)):
        x, gap = np.zeros((60, 2)), np.full(60, np.inf)
        sets = sets_of_signs(gram, False)
        loop(gram, D, b, b @ D.T, (b**2).sum(1), alpha, np.zeros(2), *sets, False, x, gap)
        outs.append((x, gap))
    np.testing.assert_allclose(*(x for x, _ in outs), atol=1e-12)
    np.testing.assert_array_equal(*(np.isfinite(gap) for _, gap in outs))


@pytest.mark.parametrize("factor", [1e-6, 1e6, 1e-160])
def test_units_do_not_matter(factor):
    obs = make(2)
    X, D = obs.b.numpy(), obs.A.D.numpy()
    codes = LassoCoder(D, 0.2, tol=1e-12).fit(X).transform(X)
    scaled = LassoCoder(D, 0.2 * factor, tol=1e-12).fit(factor * X).transform(factor * X)
    np.testing.assert_allclose(scaled, factor * codes, rtol=1e-9, atol=1e-12 * factor)
