"""Derivatives through the last layers, beside plain loops, and how good they are."""

import pytest
import torch

from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation, lasso_value
from sklearn_unroll.nn import lista
from sklearn_unroll.solvers import fista
from sklearn_unroll.training import last_layers

ALPHA = 0.1


def problem(seed=0, n=64, m=20, k=40):
    data = make_sparse_recovery(n, m, k, sparsity=3, random_state=seed)
    return torch.from_numpy(data.X), torch.from_numpy(data.dictionary)


def plain(b, D, n_layers, truncate):
    """Return the codes of ISTA, whose first iterations know nothing of derivatives."""
    L = torch.linalg.matrix_norm(D.detach(), 2) ** 2
    x = b.new_zeros(len(b), len(D))
    for number in range(n_layers):
        atoms = D if number >= n_layers - truncate else D.detach()
        z = x + (b - x @ atoms) @ atoms.T / L
        x = torch.sign(z) * torch.relu(z.abs() - ALPHA / L)
    return x


def gradient(codes, b, D):
    """Return the derivative of the objective, in the codes and in the dictionary itself."""
    value = lasso_value(codes(D), Observation(b, Dense(D)), ALPHA).sum()
    return torch.autograd.grad(value, D)[0]


@pytest.mark.parametrize("truncate", [0, 1, 2, 5])
def test_they_are_those_of_plain_loops(truncate):
    b, D = problem(n=10, m=6, k=9)
    D = D.requires_grad_()
    network = lista(Dense(D.detach()), n_layers=5, weights="adjoint", alpha=ALPHA)
    found = gradient(lambda D: last_layers(network, Observation(b, Dense(D)), truncate), b, D)
    expected = gradient(lambda D: plain(b, D, 5, truncate), b, D)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_the_value_is_that_of_the_network_whatever_is_kept():
    b, D = problem(n=10)
    network, obs = lista(Dense(D), n_layers=4), Observation(b, Dense(D))
    for truncate in range(5):
        x = last_layers(network, obs, truncate)
        torch.testing.assert_close(x, network(obs))
        # Of the network's own parameters, those of the last layers are in the graph.
        with_graph = x.requires_grad and torch.autograd.grad(
            x.sum(), list(network.parameters()), allow_unused=True
        )
        assert sum(g is not None for g in with_graph or ()) == 2 * truncate
    for truncate in (-1, 5):
        with pytest.raises(ValueError, match=rf"\[0, 4\].*got {truncate}"):
            last_layers(network, obs, truncate)


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_more_layers_are_better_near_the_solution_and_worse_before(seed):
    """Malezieux, Moreau and Kowalski 2022: good on the support, unstable before it is found."""
    b, D = problem(seed)
    z = fista(Observation(b, Dense(D)), ALPHA, tol=1e-13, max_iter=100_000).x
    exact = -z.T @ (b - z @ D)
    D.requires_grad_()

    def error(n_layers, truncate):
        network = lista(Dense(D.detach()), n_layers=n_layers, weights="adjoint", alpha=ALPHA)
        found = gradient(lambda D: last_layers(network, Observation(b, Dense(D)), truncate), b, D)
        return float((found - exact).norm() / exact.norm())

    # Where supports still change, ten of a hundred layers help, and all of them harm.
    none, some, all_of_them = (error(100, k) for k in (0, 10, 100))
    assert some < 0.97 * none and all_of_them > 1.2 * some
    # Where they do not, the error falls with every layer: the codes' squared, not theirs.
    assert error(400, 100) < 0.3 * error(400, 0)
