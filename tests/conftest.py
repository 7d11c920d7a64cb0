"""Small problems that every room's tests share."""

import numpy as np
import pytest
import torch

from sklearn_unroll.functional import Dense, Observation


def make_problem(n_samples=7, n_features=10, n_components=20, *, per_sample=False, seed=0):
    """Return an Observation in float64 with unit-norm atoms and sparse true codes."""
    rng = np.random.default_rng(seed)
    shape = (n_samples,) * per_sample + (n_components, n_features)
    D = rng.standard_normal(shape)
    D /= np.linalg.norm(D, axis=-1, keepdims=True)
    x = rng.standard_normal((n_samples, n_components))
    x *= rng.random(x.shape) < 0.2
    A = Dense(torch.from_numpy(D))
    x = torch.from_numpy(x)
    return Observation(A(x), A), x


@pytest.fixture(params=[False, True], ids=["shared", "per_sample"])
def problem(request):
    """One operator for all samples, then one for each."""
    return make_problem(per_sample=request.param)


@pytest.fixture
def shared_problem():
    """One operator for all samples."""
    return make_problem()
