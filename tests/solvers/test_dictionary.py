"""Statistics of codes, and the update of atoms: sums, the surrogate, the plain algorithm."""

import pickle

import numpy as np
import pytest
import torch

from sklearn_unroll.functional import Dense, Observation, lasso_value
from sklearn_unroll.solvers import DictionaryStatistics, update_atoms
from sklearn_unroll.solvers._atom_loops import accumulate, descend_block


def problem(seed=0, n=40, k=14, m=9):
    """Return sparse codes, one of whose atoms is not in use, signals, weights and atoms."""
    g = torch.Generator().manual_seed(seed)
    draw = [torch.randn(*s, generator=g, dtype=torch.float64) for s in ((n, k), (n, m), (k, m))]
    Z, X, D = draw
    Z *= torch.rand(n, k, generator=g) < 0.3
    Z[:, 5] = 0
    weight = torch.rand(n, generator=g, dtype=torch.float64)
    return Z, X, weight, D / torch.linalg.vector_norm(D, dim=1, keepdim=True)


@pytest.fixture(params=["torch", "compiled"])
def way(request, monkeypatch):
    """Both ways to compute, whatever the size."""
    if request.param == "compiled":
        pytest.importorskip("numba")
    monkeypatch.setattr(
        "sklearn_unroll.solvers.dictionary._pays", lambda n: request.param == "compiled"
    )
    return request.param


def test_halves_add_up_to_the_whole(way):
    Z, X, w, D = problem()
    penalty = 0.1 * Z.abs().sum(1)
    whole = DictionaryStatistics.of(Z, X, w, penalty)
    halves = [
        DictionaryStatistics.of(Z[r], X[r], w[r], penalty[r]) for r in (slice(17), slice(17, 40))
    ]
    stored = [pickle.loads(pickle.dumps(half)) for half in halves]
    for both in (halves[0] + halves[1], sum(stored)):
        torch.testing.assert_close(both.gram, whole.gram, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(both.cross, whole.cross, rtol=1e-12, atol=1e-12)
        for name in ("energy", "penalty", "weight"):
            assert getattr(both, name) == pytest.approx(getattr(whole, name), rel=1e-12)
        assert both.value(D) == pytest.approx(whole.value(D), rel=1e-12)


def test_they_are_the_sums_and_their_value_is_the_objective(way):
    Z, X, w, D = problem()
    found = DictionaryStatistics.of(Z, X, w, 0.1 * Z.abs().sum(1))
    torch.testing.assert_close(found.gram, (w[:, None] * Z).T @ Z)
    torch.testing.assert_close(found.cross, (w[:, None] * Z).T @ X)
    objective = lasso_value(Z, Observation(X, Dense(D)), 0.1)
    assert found.value(D) == pytest.approx(float(w @ objective / w.sum()), rel=1e-12)
    # What is forgotten counts less, and changes no mean.
    assert (found * 0.5).value(D) == pytest.approx(found.value(D), rel=1e-12)
    assert (found * 0.5).weight == pytest.approx(0.5 * found.weight)
    plain = DictionaryStatistics.of(Z.float(), X.float())
    assert plain.gram.dtype == torch.float64 and plain.weight == 40 and plain.penalty == 0


def reference(D, A, B, positive):
    """The update of Mairal et al. 2009, Algorithm 2, in plain numpy."""
    D = D.copy()
    for j in range(len(D)):
        if A[j, j] > 0:
            u = (B[j] - A[j] @ D) / A[j, j] + D[j]
            u = np.maximum(u, 0) if positive else u
            D[j] = u / max(np.linalg.norm(u), 1)
    return D


@pytest.mark.parametrize("block", [5, 64])
@pytest.mark.parametrize("positive", [False, True])
def test_the_update_is_the_papers(way, positive, block, monkeypatch):
    monkeypatch.setattr("sklearn_unroll.solvers.dictionary._BLOCK", block)
    Z, X, w, D = problem(1)
    s = DictionaryStatistics.of(Z, X, w)
    expected = reference(D.numpy(), s.gram.numpy(), s.cross.numpy(), positive)
    found = update_atoms(D, s, positive=positive)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert torch.equal(found[5], D[5])  # no code uses it
    twice = update_atoms(found, s, positive=positive)
    torch.testing.assert_close(update_atoms(D, s, positive=positive, n_passes=2), twice)


@pytest.mark.parametrize("positive", [False, True])
def test_no_pass_raises_the_surrogate_and_atoms_stay_in_the_ball(way, positive):
    Z, X, w, D = problem(2)
    D = D.abs() if positive else D
    s = DictionaryStatistics.of(3 * Z, X, w)
    values = [s.value(D)]
    for _ in range(30):
        D = update_atoms(D, s, positive=positive)
        values.append(s.value(D))
        assert float(torch.linalg.vector_norm(D, dim=1).max()) <= 1 + 1e-12
        assert not positive or bool((D >= 0).all())
    assert (np.diff(values) <= 1e-14).all()
    assert values[-1] < 0.9 * values[0]
    # Some atoms end inside the ball: the constraint is one on the ball, not on the sphere.
    assert positive or float(torch.linalg.vector_norm(D, dim=1).min()) < 0.9


def test_plain_python_takes_the_steps_of_machine_code():
    pytest.importorskip("numba")
    Z, X, w, D = problem(3)
    gram, cross = np.zeros((14, 14)), np.zeros((14, 9))
    accumulate(Z.numpy(), X.numpy(), w.numpy(), gram, cross)
    s = DictionaryStatistics.of(Z, X, w)
    np.testing.assert_allclose(gram, s.gram, atol=1e-12)
    np.testing.assert_allclose(cross, s.cross, atol=1e-12)
    for positive in (False, True):
        plain = D.numpy().copy()
        descend_block(plain, gram, cross - gram @ plain, positive)
        np.testing.assert_allclose(plain, update_atoms(D, s, positive=positive), atol=1e-12)


def test_what_does_not_fit_is_told():
    Z, X, w, D = problem()
    s = DictionaryStatistics.of(Z, X, w)
    with pytest.raises(ValueError, match=r"different shapes, \(14, 9\) and \(13, 9\)"):
        s + DictionaryStatistics.zeros(13, 9)
    with pytest.raises(TypeError, match="not to float"):
        s + 1.0
    with pytest.raises(ValueError, match=r"shape \(13, 9\)"):
        update_atoms(D[1:], s)
