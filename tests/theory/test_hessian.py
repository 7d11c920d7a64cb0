"""Norms of gradients and Hessians against dense ones, and their laws in the width."""

from functools import partial

import numpy as np
import pytest
import torch

from sklearn_unroll.nn import feed_forward, smooth_admm, smooth_lista
from sklearn_unroll.theory import (
    gradient_norm,
    hessian_spectral_norm,
    kernel_spectrum,
    tangent_kernel,
    width_scaling,
)
from tests.theory.conftest import MAKE, network_of, observe


def dense_hessian(network, obs, v):
    """The matrix of second derivatives of <v, x> for the first sample, row by row."""
    parameters = list(network.parameters())

    def derivative(number):
        parts = torch.autograd.grad(
            number, parameters, create_graph=True, materialize_grads=True, allow_unused=True
        )
        return torch.cat([part.flatten() for part in parts])

    gradient = derivative(network(obs.take(slice(1)))[0] @ v)
    return torch.stack([derivative(entry).detach() for entry in gradient])


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("readout", [2, [0.3, -1.0, 0.0, 2.0]])
def test_against_the_dense_hessian(name, readout):
    network, obs = network_of(name, m=4, n=3, n_layers=3), observe(m=4, n=3)
    v = torch.eye(4).double()[2] if readout == 2 else torch.tensor(readout, dtype=torch.float64)
    expected = float(torch.linalg.matrix_norm(dense_hessian(network, obs, v), 2))
    found = hessian_spectral_norm(network, obs, readout=readout, tol=1e-8, random_state=0)
    assert found.shape == (3,)
    assert found[0] == pytest.approx(expected, rel=1e-6)
    assert expected > 1e-3


def test_gradient_norms_are_those_of_the_kernel():
    network, obs = network_of("LISTA"), observe()
    K = tangent_kernel(network, obs)
    norms = gradient_norm(network, obs, readout=7)
    np.testing.assert_allclose(norms**2, np.diagonal(K)[7::10])
    v = np.linspace(-1, 1, 10)
    expected = [v @ K[10 * i : 10 * i + 10, 10 * i : 10 * i + 10] @ v for i in range(3)]
    np.testing.assert_allclose(gradient_norm(network, obs, readout=v) ** 2, expected)


def test_signs_are_drawn_from_the_random_state_only():
    network, obs = network_of("LISTA"), observe(T=1)
    np.random.seed(0)
    one = hessian_spectral_norm(network, obs, random_state=3)
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    np.testing.assert_array_equal(hessian_spectral_norm(network, obs, random_state=3), one)
    assert np.array_equal(np.random.get_state()[1], before)
    assert hessian_spectral_norm(network, obs, random_state=4) != one
    signs = 2.0 * np.random.RandomState(3).randint(2, size=10) - 1
    by_hand = hessian_spectral_norm(network, obs, readout=signs / 10**0.5, random_state=3)
    assert by_hand == pytest.approx(one, rel=1e-2)


def test_networks_without_curvature():
    """Thresholds of soft networks have no second derivatives; one layer has no others."""
    one = network_of("LISTA", n_layers=1, sharpness=float("inf"))
    assert not hessian_spectral_norm(one, observe(), random_state=0).any()
    two = network_of("LISTA", n_layers=2, sharpness=float("inf"), theta=0.0)
    assert hessian_spectral_norm(two, observe(), random_state=0).all()
    single = network_of("plain", m=1, n=1, n_layers=1)
    obs = observe(m=1, n=1, T=2)
    expected = float(dense_hessian(single, obs, torch.ones(1).double()).abs())
    assert hessian_spectral_norm(single, obs, readout=0)[0] == pytest.approx(expected)


@pytest.mark.parametrize("readout", [10, -1, True, "all", [1.0, 2.0], np.ones((10, 1))])
@pytest.mark.parametrize("function", [gradient_norm, hessian_spectral_norm])
def test_readouts_that_do_not_fit_are_told(function, readout):
    with pytest.raises(ValueError, match="readout"):
        function(network_of("LISTA"), observe(), readout=readout)


@pytest.mark.parametrize("make", [smooth_lista, smooth_admm])
def test_a_dense_readout_shows_the_law_of_the_width_and_one_component_does_not(make):
    measure = partial(width_scaling, partial(make, n_layers=3), [24, 48, 96], random_state=0)
    assert -0.75 < measure(quantity="hessian").exponent < -0.3
    assert abs(measure(quantity="gradient").exponent) < 0.1
    assert measure(quantity="hessian", readout=0).exponent > -0.3


def test_width_scaling_of_eigenvalues():
    options = {"n_samples": 3, "n_seeds": 2, "random_state": 0}
    unrolled, plain = (
        width_scaling(make, [10, 20], quantity="smallest_eigenvalue", **options)
        for make in (smooth_lista, feed_forward)
    )
    assert unrolled.values.shape == (2, 2)
    assert np.all(unrolled.values > 100 * plain.values)
    condition = width_scaling(smooth_lista, [10, 20], quantity="condition_number", **options)
    assert condition.values.min() > 1
    network, obs = network_of("LISTA"), observe()
    assert (
        gradient_norm(network, obs, readout=0).max() ** 2 < kernel_spectrum(network, obs).largest
    )


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({"widths": [8]}, "widths must hold at least two"),
        ({"widths": [8, 8]}, "increasing integers"),
        ({"widths": [0, 8]}, "increasing integers"),
        ({"widths": [8.0, 9.5]}, "increasing integers"),
        ({"quantity": "loss"}, "quantity must be one of .*'hessian'.*got 'loss'"),
        ({"n_seeds": 0}, "n_seeds == 0"),
        ({"n_samples": 0}, "n_samples == 0"),
    ],
)
def test_wrong_use_of_width_scaling_is_told(arguments, match):
    with pytest.raises(ValueError, match=match):
        width_scaling(smooth_lista, **{"widths": [8, 16], **arguments})
