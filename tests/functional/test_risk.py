"""Degrees of freedom and SURE: derivatives of the fit, and the true risk in the mean."""

import numpy as np
import pytest
import torch

from sklearn_unroll import LassoCoder
from sklearn_unroll.functional import (
    Composed,
    Convolution,
    Dense,
    Mask,
    Observation,
    degrees_of_freedom,
    sure,
)

N, M, K, NOISE = 3_000, 12, 18, 0.3
RNG = np.random.default_rng(0)
D = RNG.standard_normal((K, M))
D *= RNG.uniform(0.5, 2, (K, 1)) / np.linalg.norm(D, axis=1, keepdims=True)
DEPENDENT = np.vstack([D, D[:4], D[:3] + D[3:6]])
TRUTH = np.array([2.0, 1.0, -1.0, 0.5]) @ D[:4]
X = TRUTH + NOISE * RNG.standard_normal((N, M))
VISIBLE = np.tile(RNG.random((15, M)) < 0.8, (N // 15, 1))
WEIGHTS = RNG.uniform(0.5, 2, K)

CASES = {  # dictionary, alpha, parameters, whether entries are missing
    "lasso": (D, 0.3, {}, False),
    "elastic net": (D, 0.3, {"l2": 0.5}, False),
    "nonnegative": (D, 0.2, {"positive": True}, False),
    "nonnegative least squares": (D, 0.0, {"positive": True}, False),
    "relative": (D, 0.2, {"alpha_relative": True}, False),
    "all of it": (
        D,
        0.2,
        {"alpha_relative": True, "positive": True, "atom_weights": WEIGHTS, "l2": 0.3},
        True,
    ),
    "dependent": (DEPENDENT, 0.2, {}, False),
    "dependent, relative": (DEPENDENT, 0.3, {"alpha_relative": True}, False),
    "missing": (D, 0.2, {}, True),
}
every = pytest.mark.parametrize("name", CASES)


def coded(name, X):
    """Return the data with their operator, and codes with their degrees of freedom."""
    atoms, alpha, parameters, missing = CASES[name]
    A = Dense(torch.from_numpy(atoms))
    seen = VISIBLE[: len(X)] if missing else np.ones(X.shape, bool)
    obs = Observation(
        torch.from_numpy(np.where(seen, X, 0.0)),
        Composed(A, Mask(torch.from_numpy(seen))) if missing else A,
    )
    coder = LassoCoder(atoms, tol=1e-12, **parameters).fit(X[:1])
    z = torch.from_numpy(coder.path(np.where(seen, X, np.nan), [alpha]).codes[0])
    weights = parameters.get("atom_weights")
    degrees = degrees_of_freedom(
        z,
        obs,
        l2=parameters.get("l2", 0.0),
        weights=None if weights is None else torch.from_numpy(weights),
        fraction=alpha if parameters.get("alpha_relative") else None,
        positive=parameters.get("positive", False),
    )
    return obs, z, degrees


@every
def test_degrees_of_freedom_are_the_divergence(name):
    obs, _, degrees = coded(name, X[:4])
    divergence, step = torch.zeros(4, dtype=torch.float64), 1e-6
    for i in range(M):
        fits = []
        for sign in (1, -1):
            moved = X[:4].copy()
            moved[:, i] += sign * step
            _, z, _ = coded(name, moved)
            fits.append(obs.A(z)[:, i])
        divergence += (fits[0] - fits[1]) / (2 * step)
    torch.testing.assert_close(degrees, divergence, rtol=0, atol=1e-7)


@every
def test_the_mean_of_sure_is_the_risk(name):
    obs, z, degrees = coded(name, X)
    truth = torch.from_numpy(np.broadcast_to(TRUTH, X.shape).copy())
    if isinstance(obs.A, Composed):
        truth = obs.A.second(truth)
    loss = (obs.A(z) - truth).square().sum(1)
    off = sure(z, obs, NOISE, degrees) - loss
    # Four standard errors of the mean: one seed in 16,000 fails.
    assert abs(off.mean()) < 4 * off.std() / N**0.5
    assert off.std() / N**0.5 < 0.03 * loss.mean()  # enough draws to see an atom too many


def test_codes_spread_over_equal_atoms_count_once():
    A = Dense(torch.from_numpy(DEPENDENT))
    z = torch.zeros(3, len(DEPENDENT), dtype=torch.float64)
    z[0, [0, K]] = 1  # the same atom
    z[1, [0, 3, K + 4]] = 1  # two, and their sum
    obs = Observation(torch.from_numpy(X[:3]), A)
    assert degrees_of_freedom(z, obs).tolist() == [2 - 1, 3 - 1, 0]
    # More atoms than entries; a ridge that rounding hides.
    z[2] = 1
    for l2 in (0.0, 1e-14):
        assert degrees_of_freedom(z, obs, l2=l2)[2] == pytest.approx(M, abs=1e-9)
    singular = np.linalg.svd(DEPENDENT)[1]
    expected = np.sum(singular**2 / (singular**2 + 0.3))
    assert float(degrees_of_freedom(z, obs, l2=0.3)[2]) == pytest.approx(expected, rel=1e-12)


def test_a_dictionary_for_each_sample():
    atoms = torch.from_numpy(np.stack([D, 2 * D[::-1].copy()]))
    z = torch.zeros(2, K, dtype=torch.float64)
    z[0, :3], z[1, 2:9] = 1, -1
    obs = Observation(torch.from_numpy(X[:2]), Dense(atoms))
    single = [
        degrees_of_freedom(z[i : i + 1], Observation(obs.b[i : i + 1], Dense(atoms[i])), l2=0.2,
                           fraction=0.5)
        for i in range(2)
    ]  # fmt: skip
    together = degrees_of_freedom(z, obs, l2=0.2, fraction=0.5)
    torch.testing.assert_close(together, torch.cat(single))


def test_an_operator_without_atoms_is_refused():
    A = Convolution(torch.ones(1, 3, dtype=torch.float64), (M,))
    with pytest.raises(TypeError, match="Convolution.*cross-validation"):
        degrees_of_freedom(torch.ones(1, A.n_components), Observation(torch.ones(1, M), A))
