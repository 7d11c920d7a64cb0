import pytest
import torch

from sklearn_unroll.functional import Dense, Observation


def test_adjoint_passes_the_dot_test(problem):
    obs, x = problem
    r = torch.randn(obs.b.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close((obs.A(x) * r).sum(-1), (x * obs.A.adjoint(r)).sum(-1))


def test_residual_is_b_minus_Ax(problem):
    obs, x = problem
    torch.testing.assert_close(obs.A.residual(obs.b, 2 * x), -obs.b)


def test_lipschitz_is_the_largest_squared_singular_value(problem):
    obs, _ = problem
    expected = torch.linalg.matrix_norm(obs.A.D, ord=2).square()
    torch.testing.assert_close(obs.A.lipschitz().flatten(), expected.flatten())


@pytest.mark.parametrize("shape", [(3, 8), (8, 3), (1, 5), (5, 1)])
def test_lipschitz_of_tall_and_wide(shape):
    D = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Dense(D).lipschitz(), torch.linalg.matrix_norm(D, ord=2).square())


def test_per_sample_equals_one_by_one(problem):
    obs, x = problem
    for i in range(len(x)):
        one = obs.take(slice(i, i + 1))
        torch.testing.assert_close(one.A(x[i : i + 1])[0], obs.A(x)[i])
        torch.testing.assert_close(one.A.adjoint(one.b)[0], obs.A.adjoint(obs.b)[i])


def test_chunks_cover_all_rows_in_order(problem):
    obs, _ = problem
    chunks = list(obs.chunks(n_rows=3))
    assert [len(chunk.b) for _, chunk in chunks] == [3, 3, 1]
    torch.testing.assert_close(torch.cat([chunk.b for _, chunk in chunks]), obs.b)
    for rows, chunk in chunks:
        torch.testing.assert_close(chunk.A.adjoint(chunk.b), obs.A.adjoint(obs.b)[rows])


@pytest.mark.parametrize("n, rows", [(2, 2048), (128, 1024), (300, 512), (4096, 256)])
def test_default_chunk_bounds_the_rows_and_the_memory(n, rows):
    obs = Observation(torch.zeros(2049, 1), Dense(torch.ones(n, 1)))
    assert max(len(chunk.b) for _, chunk in obs.chunks()) == rows
