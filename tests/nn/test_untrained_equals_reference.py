"""The law of the package: before training, a network is the classical algorithm."""

import numpy as np
import pytest
import torch

from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.nn import ada_lista, lista
from sklearn_unroll.solvers import ISTA, iterates
from tests.conftest import make_problem

DEPTH = 12


WEIGHTS = ["free", "coupled", "adjoint"]


def numpy_ista(b, D, alpha, n_iter, L=None):
    """ISTA written out in numpy, sharing no code with the package."""
    A = D.T
    step = 1 / (np.linalg.norm(A, 2) ** 2 if L is None else L)
    x = np.zeros((len(b), A.shape[1]))
    yield x
    for _ in range(n_iter):
        z = x - step * (x @ A.T - b) @ A
        x = np.sign(z) * np.maximum(np.abs(z) - step * alpha, 0)
        yield x


@pytest.mark.parametrize("alpha", [1e-3, 0.07, 0.5])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("shape", [(10, 20), (12, 5)])
def test_lista_equals_ista_step_by_step(weights, tied, alpha, shape):
    obs, _ = make_problem(n_features=shape[0], n_components=shape[1])
    network = lista(obs.A, n_layers=DEPTH, weights=weights, tied=tied, alpha=alpha)
    classical = list(iterates(ISTA(obs, alpha), obs, DEPTH))
    written_out = list(numpy_ista(obs.b.numpy(), obs.A.D.numpy(), alpha, DEPTH))
    with torch.no_grad():
        learned = network.iterates(obs)
    assert len(learned) == len(classical) == DEPTH + 1
    for x, reference, independent in zip(learned, classical, written_out, strict=True):
        torch.testing.assert_close(x, reference, atol=1e-12, rtol=0)
        np.testing.assert_allclose(reference.numpy(), independent, atol=1e-12, rtol=0)
    assert float(learned[-1].abs().max()) > 1e-3


@pytest.mark.parametrize("shape", [(10, 20), (12, 5)])
def test_ada_lista_equals_ista_for_every_operator(shape):
    alpha = 0.07
    for per_sample in (False, True):
        obs, _ = make_problem(
            n_features=shape[0], n_components=shape[1], per_sample=per_sample, seed=3
        )
        D = obs.A.D.numpy() if per_sample else np.stack([obs.A.D.numpy()] * len(obs.b))
        # One first step for the family: that of its largest operator.
        L = np.linalg.norm(D, 2, axis=(1, 2)).max() ** 2
        with torch.no_grad():
            learned = torch.stack(ada_lista(obs.A, n_layers=DEPTH, alpha=alpha).iterates(obs))
        for i, b in enumerate(obs.b.numpy()):
            written_out = np.concatenate(list(numpy_ista(b[None], D[i], alpha, DEPTH, L)))
            np.testing.assert_allclose(learned[:, i].numpy(), written_out, atol=1e-12, rtol=0)
        assert float(learned[-1].abs().max()) > 1e-3


@pytest.mark.parametrize("weights", WEIGHTS)
def test_permuting_atoms_permutes_codes(weights):
    obs, _ = make_problem()
    order = torch.randperm(obs.A.n_components, generator=torch.Generator().manual_seed(0))
    permuted = Observation(obs.b, Dense(obs.A.D[order]))
    with torch.no_grad():
        x = lista(obs.A, weights=weights)(obs)
        torch.testing.assert_close(lista(permuted.A, weights=weights)(permuted), x[:, order])


@pytest.mark.parametrize("weights", WEIGHTS)
def test_scaling_data_and_alpha_scales_codes(weights):
    obs, _ = make_problem()
    scaled = Observation(3 * obs.b, obs.A)
    with torch.no_grad():
        x = lista(obs.A, weights=weights, alpha=0.1)(obs)
        torch.testing.assert_close(lista(obs.A, weights=weights, alpha=0.3)(scaled), 3 * x)
