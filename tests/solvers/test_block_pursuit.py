"""Block OMP: all atoms of a group at once, by every implementation, on what is seen."""

import sys

import numpy as np
import pytest
import torch

from sklearn_unroll import OMPCoder, OnlineDictionaryLearning
from sklearn_unroll.functional import Composed, Dense, Mask, Observation
from sklearn_unroll.solvers import masked_pursuit, orthogonal_matching_pursuit
from sklearn_unroll.solvers._loops import pursue
from sklearn_unroll.solvers._masked_pursuit_loops import pursue_seen
from sklearn_unroll.solvers._pursuit_batch import Groups

GREEDY = sys.modules[orthogonal_matching_pursuit.__module__]
MASKED = sys.modules[masked_pursuit.__module__]
LABELS = np.array([3, 0, 3, 1, 1, 0, 2, 3, 4, 4, 5, 5, 6, 6, 6, 7, 7, 8, 8, 8])  # sizes 1 to 3


@pytest.fixture(params=["batched", "compiled"])
def implementation(request, monkeypatch):
    if request.param == "compiled":
        pytest.importorskip("numba")
    least = 0 if request.param == "compiled" else 10**12
    monkeypatch.setattr(GREEDY, "_COMPILED_FROM", least)
    monkeypatch.setattr(MASKED, "_PURSUIT_FROM", least)
    return request.param


def make(n_samples=40, n_features=14, seed=0, noise=0.1):
    """Return noisy signals of two groups, and a dictionary with atoms of any norm."""
    rng = np.random.default_rng(seed)
    D = rng.standard_normal((20, n_features)) * rng.uniform(0.5, 2, (20, 1))
    active = np.array([rng.permutation(9) for _ in range(n_samples)])[:, LABELS] < 2
    X = (rng.standard_normal((n_samples, 20)) * active) @ D
    X += noise * rng.standard_normal(X.shape)
    return D, X


def block_omp(x, D, labels, most, tol):
    """Block OMP written out: codes, and the number of groups."""
    unit, chosen, z, r = D / np.linalg.norm(D, axis=1, keepdims=True), [], np.zeros(len(D)), x
    while len(chosen) < most and not (tol is not None and r @ r <= tol):
        c = unit @ r
        norms = [np.linalg.norm(c[labels == g]) for g in range(labels.max() + 1)]
        chosen.append(int(np.argmax(norms)))
        atoms = np.isin(labels, chosen)
        z = np.zeros(len(D))
        z[atoms] = np.linalg.lstsq(D[atoms].T, x, rcond=None)[0]
        r = x - z @ D
    return z, len(chosen)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("limits", [(3, None), (None, 0.5), (3, 0.5)])
def test_codes_are_those_of_block_omp_written_out(limits, masked, implementation):
    D, X = make(n_features=24)
    seen = np.ones(X.shape, bool)
    A = Dense(torch.from_numpy(D))
    if masked:
        seen = np.random.default_rng(1).random(X.shape) < 0.7
        A = Composed(A, Mask(seen))
    solve = masked_pursuit if masked else orthogonal_matching_pursuit
    obs = Observation(torch.from_numpy(np.where(seen, X, 0.0)), A)
    found = solve(obs, *limits, groups=torch.from_numpy(LABELS))
    most = 9 if limits[0] is None else limits[0]
    for i, (x, m) in enumerate(zip(X, seen, strict=True)):
        z, count = block_omp(x[m], D[:, m], LABELS, most, limits[1])
        np.testing.assert_allclose(found.x[i], z, atol=1e-9)
        assert int(found.n_nonzero[i]) == count
        left = np.sum((x[m] - z @ D[:, m]) ** 2)
        assert float(found.residual[i]) == pytest.approx(left, abs=1e-12)
        assert bool(found.converged[i]) == (limits[1] is None or left <= limits[1])


@pytest.mark.parametrize("groups", [1, torch.arange(20).flip(0)], ids=["size", "labels"])
@pytest.mark.parametrize("per_sample", [False, True])
def test_groups_of_one_are_no_groups(per_sample, groups, implementation):
    D, X = make()
    A = torch.from_numpy(D)
    A = Dense(A.expand(40, -1, -1).contiguous() if per_sample else A)
    obs = Observation(torch.from_numpy(X), A)
    for limits in ((4, None), (None, 0.1)):
        one = orthogonal_matching_pursuit(obs, *limits)
        other = orthogonal_matching_pursuit(obs, *limits, groups=groups)
        for field, same in zip(one, other, strict=True):
            torch.testing.assert_close(field, same, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype, rounding", [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_atoms_that_depend_on_others_get_no_code(dtype, rounding, implementation):
    D, X = make(noise=0.0)
    D[2], D[7], D[9] = D[0], 0, -3 * D[8]  # repeated, zero, mirrored
    X = np.random.default_rng(0).standard_normal((40, 20)) @ D
    obs = Observation(torch.from_numpy(X).to(dtype), Dense(torch.from_numpy(D).to(dtype)))
    found = orthogonal_matching_pursuit(obs, tol=0.0, groups=torch.from_numpy(LABELS))
    assert bool(found.converged.all()) and found.x.dtype == dtype
    assert bool((found.residual.sqrt() <= rounding * obs.b.norm(dim=1)).all())
    assert not bool(found.x[:, [7, 9]].any())
    # No more atoms than features are independent; of a rank of 3 no more than 3, as far as
    # rounding tells.
    assert bool(((found.x != 0).sum(1) <= 14).all())
    flat = Dense(torch.from_numpy(D[:, :3]).to(dtype) @ torch.eye(3, 14, dtype=dtype))
    found = orthogonal_matching_pursuit(Observation(obs.b, flat), 9, groups=4)
    assert not bool(found.converged.any()) and float(found.x.abs().max()) < 200
    least = obs.b[:, 3:].square().sum(1)
    torch.testing.assert_close(found.residual, least, rtol=10 * rounding, atol=0)
    if dtype == torch.float64:
        assert bool((found.n_nonzero == 1).all()) and bool(((found.x != 0).sum(1) == 3).all())


def test_steps_in_plain_python_are_those_of_torch():
    D, X = make(6)
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    groups = Groups(torch.from_numpy(LABELS), 20)
    obs = Observation(torch.from_numpy(X), Dense(torch.from_numpy(D)))
    expected = orthogonal_matching_pursuit(obs, 4, 0.05, groups=groups.labels)
    end = np.vstack([D, np.zeros((1, 14))])
    limits = np.full(6, 0.05), np.full(6, 4), 2.0**-52, 2.0**-46, *groups.arrays()
    for loop, given in (
        (pursue, (end @ end.T, end, X, X @ D.T)),
        (pursue_seen, (np.ascontiguousarray(D.T), X, np.ones(X.shape, bool))),
    ):
        out = np.zeros((6, 20)), np.zeros(6, np.int64), np.zeros(6), np.zeros(6, bool)
        loop(*given, *limits, *out)
        for one, other in zip(out, expected, strict=True):
            np.testing.assert_allclose(one, other.numpy(), atol=1e-12)


@pytest.mark.parametrize("factor", [2.0**-20, 1.0, 2.0**20])
def test_the_coder_takes_labels_in_any_order_in_any_units(factor):
    D, X = make()
    names = np.array([40, -1, 7, 3, 11, 5, 9, 8, 2])[LABELS]
    X[3, :4] = np.nan
    coder = OMPCoder(D, tol=0.5 * factor**2, groups=names).fit(factor * X)
    found = coder.solve(factor * X)
    assert found.converged.all()
    for i in (0, 3, 5):
        m = ~np.isnan(X[i])
        z, count = block_omp(X[i, m], D[:, m], LABELS, 9, 0.5)
        np.testing.assert_allclose(found.codes[i] / factor, z, atol=1e-9)
        assert found.n_nonzero[i] == count
    many = OMPCoder(np.repeat(D, 2, axis=0)[:, :12], groups=4).fit(X[:, :12])
    assert (many.solve(X[:, :12]).n_nonzero == 1).all()  # a tenth of the features, one at least
    operators = [D if i % 2 else D[::-1].copy() for i in range(40)]
    own = coder.transform(factor * X, operators=operators)
    np.testing.assert_allclose(own[1::2], found.codes[1::2], atol=1e-9 * factor)


def test_knowing_the_groups_pays():
    rng = np.random.default_rng(0)
    D = rng.standard_normal((80, 40))
    active = (rng.random((200, 20)) < 0.05).repeat(4, axis=1)
    y = rng.standard_normal((200, 80)) * active
    X, tol = y @ D, 1e-12 * np.sum((y @ D) ** 2, axis=1)
    errors = [
        np.sum((coder.fit(X).transform(X, tol=tol) - y) ** 2) / np.sum(y**2)
        for coder in (OMPCoder(D, groups=4), OMPCoder(D))
    ]
    assert errors[0] < 1e-2 * errors[1]


def test_groups_are_learned():
    _, X = make(200)
    coder = OMPCoder(n_nonzero_coefs=2, groups=2)
    learner = OnlineDictionaryLearning(20, coder=coder, max_iter=2, random_state=0).fit(X)
    used = learner.transform(X).reshape(200, 10, 2).any(2)
    assert (used.sum(1) <= 2).all()


@pytest.mark.parametrize(
    "groups, message",
    [
        (3, "does not divide the 20 atoms"),
        (0, "at least 1; got 0"),
        (True, "groups must be integers"),
        (np.zeros(20), "groups must be integers"),
        (np.zeros(19, int), "19 labels, but the dictionary has 20 atoms"),
    ],
)
def test_wrong_groups_are_told_in_fit(groups, message):
    D, X = make()
    with pytest.raises(ValueError, match=message):
        OMPCoder(D, groups=groups).fit(X)


def test_too_few_groups_are_told():
    D, X = make()
    with pytest.warns(UserWarning, match="with at most 1 groups"):
        OMPCoder(D, 1, tol=1e-9, groups=2).fit(X).transform(X)
