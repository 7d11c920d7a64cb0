"""Small networks of the guarantees, for the tests of what theory says about them."""

import pytest
import torch

from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.nn import feed_forward, lista, smooth_admm, smooth_lista

MAKE = {
    "LISTA": smooth_lista,
    "LISTA, tied": lambda A, **kw: smooth_lista(A, tied=True, **kw),
    "ADMM": smooth_admm,
    "ADMM, tied": lambda A, **kw: smooth_admm(A, tied=True, gamma=0.8, **kw),
    "plain": feed_forward,
}


def observe(m=10, n=4, T=3, seed=1):
    """Return standard normal observations of an operator of a shape."""
    A = Dense(torch.zeros(m, n, dtype=torch.float64))
    generator = torch.Generator().manual_seed(seed)
    return Observation(torch.randn(T, n, generator=generator, dtype=torch.float64), A)


def network_of(name, m=10, n=4, seed=0, **options):
    """Return a network by name."""
    A = Dense(torch.zeros(m, n, dtype=torch.float64))
    return MAKE[name](A, generator=torch.Generator().manual_seed(seed), **options)


@pytest.fixture
def learned():
    """A network whose thresholds are learned too, so without a closed form, and its data."""
    generator = torch.Generator().manual_seed(0)
    A = Dense(torch.randn(8, 5, generator=generator, dtype=torch.float64))
    obs = Observation(torch.randn(4, 5, generator=generator, dtype=torch.float64), A)
    return lista(A, n_layers=3, weights="free", alpha=0.5), obs
