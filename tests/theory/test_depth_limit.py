"""The limit system, distances of functions of depth, and sequences of trained networks."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from sklearn_unroll import FBSNet, LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import L1, Box, Dense, NonnegativeL1, Observation, Quadratic, Zero
from sklearn_unroll.nn import fbs, lista, refine
from sklearn_unroll.theory import depth_distance, depth_limit, limit_system
from sklearn_unroll.training import DepthNorm
from tests.conftest import make_problem


def shaken(obs, *, penalty=None, n_layers=3, horizon=4.0, x0=None):
    """Return a network whose layers differ."""
    network = fbs(obs.A, n_layers=n_layers, penalty=penalty, horizon=horizon, x0=x0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(1 + 0.5 * torch.rand(p.shape, dtype=p.dtype, generator=generator))
    return network


def written_out(network, obs, slope, times=1):
    """Integrate the inclusion with a smooth slope in place of the subdifferential, by Radau."""
    A, b = obs.A.D.numpy().T, obs.b.numpy()
    x = np.zeros((len(b), A.shape[1]))
    for layer in network.layers:
        W = layer.weights.W.detach().numpy()
        tau, lam = (float(p.detach()) for p in (layer.rule.tau, layer.rule.lam))

        def right_side(t, x, W=W, tau=tau, lam=lam):
            x = x.reshape(len(b), -1)
            return -tau * ((x @ A.T - b) @ W.T + lam * slope(x)).ravel()

        x = solve_ivp(
            right_side, (0, layer.rule.h), x.ravel(), method="Radau", rtol=1e-8, atol=1e-10
        ).y[:, -1].reshape(x.shape)  # fmt: skip
    return x


@pytest.mark.parametrize(
    "penalty, slope",
    [(Zero(), lambda x: 0 * x), (Quadratic(2.0), lambda x: 2 * x)],
    ids=["zero", "quadratic"],
)
def test_limit_system_agrees_with_radau_to_first_order(penalty, slope):
    obs, _ = make_problem(2, 5, 8)
    network = shaken(obs, penalty=penalty)
    exact = written_out(network, obs, slope)
    errors = [
        np.abs(limit_system(network, obs, n_steps=n).numpy() - exact).max() for n in (300, 600)
    ]
    assert errors[0] < 1e-2
    assert errors[1] / errors[0] == pytest.approx(0.5, abs=0.05)


def test_limit_system_agrees_with_radau_on_a_smoothed_l1_norm():
    obs, _ = make_problem(2, 5, 8)
    network = shaken(obs, penalty=L1(2.0))
    smoothed = written_out(network, obs, lambda x: 2 * np.tanh(x / 1e-3))
    found = limit_system(network, obs, n_steps=10_000).numpy()
    np.testing.assert_allclose(found, smoothed, atol=2e-3)
    assert (found == 0).sum() >= 2 and np.abs(found).max() > 0.1


@pytest.mark.parametrize("penalty", [L1(), NonnegativeL1(), Box(-0.1, 0.1)])
def test_networks_tend_to_the_limit_system(penalty):
    obs, _ = make_problem()
    coarse = shaken(obs, penalty=penalty, x0=torch.full((20,), 0.3, dtype=torch.float64))
    limit = limit_system(coarse, obs, n_steps=30_000)
    with torch.no_grad():
        errors = [float((refine(coarse, n)(obs) - limit).norm()) for n in (48, 96, 192)]
    assert errors[0] < 0.1 * float(limit.norm())
    for coarser, finer in pairwise(errors):
        assert finer / coarser == pytest.approx(0.5, abs=0.12)


def test_limit_system_of_a_stiff_problem_stays_bounded():
    obs, _ = make_problem()
    with pytest.warns(UserWarning, match="layers expand"):
        stiff = fbs(Dense(obs.A.D), n_layers=40, penalty=Zero(), tau=50.0, horizon=8.0)
    found = limit_system(stiff, obs, n_steps=40)
    with torch.no_grad():
        assert float(stiff(obs).abs().max()) > 1e6  # the network itself takes explicit steps
    assert bool(torch.isfinite(found).all()) and float(found.abs().max()) < 10


def test_limit_system_rejects_what_has_no_limit(shared_problem):
    obs, _ = shared_problem
    with pytest.raises(TypeError, match=r"made by sklearn_unroll.nn.fbs, not for Unrolled"):
        limit_system(lista(obs.A), obs)
    with pytest.raises(ValueError, match="n_steps must be at least 1"):
        limit_system(fbs(obs.A), obs, n_steps=0)
    per_sample, _ = make_problem(per_sample=True)
    with pytest.raises(TypeError, match="One dense operator"):
        limit_system(fbs(obs.A), Observation(per_sample.b, per_sample.A))


@pytest.mark.parametrize("p", [1, 2, 3.5, np.inf])
def test_depth_distance_against_a_fine_grid(p):
    rng = np.random.default_rng(0)
    first, second = (list(torch.from_numpy(rng.standard_normal((n, 3, 2)))) for n in (4, 6))
    v, w = (
        np.repeat([x.numpy() for x in values], 12 // len(values), axis=0)
        for values in (first, second)
    )
    sizes = np.linalg.norm((v - w).reshape(12, -1), axis=1)
    expected = sizes.max() if np.isinf(p) else np.mean(sizes**p) ** (1 / p)
    assert depth_distance(first, second, p) == pytest.approx(expected)
    assert depth_distance(first, first, p) == 0
    with pytest.raises(ValueError, match="p must be at least 1"):
        depth_distance(first, second, 0.5)


@pytest.fixture(scope="module")
def data():
    return make_sparse_recovery(200, 10, 20, sparsity=2, snr_db=30, random_state=0)


@pytest.fixture(scope="module")
def model(data):
    penalty = DepthNorm({"W": 1e-4, "tau": 1e-4, "lam": 1e-4})
    model = FBSNet(data.dictionary, horizon=3.0, random_state=0)
    return model.set_params(trainer__max_epochs=8, trainer__penalty=penalty)


def test_depth_limit_of_a_horizon(model, data, assert_below):
    found = depth_limit(model, data.X, data.y, (8, 16, 32))
    np.testing.assert_array_equal(found.depths, [8, 16, 32])
    np.testing.assert_allclose(found.gaps, np.abs(np.diff(found.losses)))
    assert_below(found.gaps[1] / found.gaps[0], 0.75)
    # The loss is that of the learning problem: squared distances and the penalty.
    fitted = found.estimators[0]
    squared = ((fitted.predict(data.X) - data.y) ** 2).sum(1).mean()
    penalty = float(fitted.trainer_.penalty.value(fitted.network_).detach())
    assert found.losses[0] == pytest.approx(squared + penalty)
    # So is that of the limit system.
    obs = Observation(torch.from_numpy(data.X), Dense(torch.from_numpy(data.dictionary)))
    codes = limit_system(fitted.network_, obs, n_steps=1000).numpy()
    limit = ((codes - data.y) ** 2).sum(1).mean() + found.losses[0] - squared
    assert found.limit_losses[0] == pytest.approx(limit)
    assert found.losses[0] - squared > 1e-4 * limit
    # Deeper networks are nearer to the limit system with their own parameters, and parameters
    # of consecutive depths to each other.
    away = np.abs(found.losses - found.limit_losses)
    assert_below(max(away[1:] / away[:-1]), 0.7)
    assert set(found.distances) == {"W", "tau", "lam"}
    for distance in found.distances.values():
        assert distance.shape == (2,)
        assert_below(distance[1] / distance[0], 0.8)
    assert not hasattr(model, "network_")


def test_the_penalty_of_a_recipe_counts_where_no_trainer_is_given(data):
    class Penalised(FBSNet):
        def default_trainer(self, n_samples, has_y):
            return Trainer(max_epochs=0, penalty=DepthNorm({"tau": 10.0}))

    plain = FBSNet(data.dictionary, trainer=Trainer(max_epochs=0))
    more, less = (
        depth_limit(model, data.X, data.y, (2,), n_steps=None)
        for model in (Penalised(data.dictionary), plain)
    )
    penalty = float(DepthNorm({"tau": 10.0}).value(more.estimators[0].network_).detach())
    assert penalty > 0.1
    assert more.losses[0] == pytest.approx(less.losses[0] + penalty)


def test_depth_limit_from_coarse_to_fine(model, data, assert_below):
    found = depth_limit(model, data.X, data.y, (4, 8), coarse_to_fine=True, n_steps=None, p=1)
    assert np.isnan(found.limit_losses).all()
    assert found.estimators[1].warm_start and not found.estimators[0].warm_start
    assert_below(found.losses[1] / found.losses[0], 0.9)


def test_depth_limit_of_another_network(data):
    trainer = Trainer(max_epochs=2)
    model = LISTARegressor(data.dictionary, init="ista", trainer=trainer, random_state=0)
    found = depth_limit(model, data.X, data.y, (2, 4), names=("W", "theta"), n_steps=None)
    assert set(found.distances) == {"W", "theta"}


@pytest.mark.parametrize("depths", [(), (0, 4), (8, 4), (4, 4)])
def test_bad_depths_are_errors(model, data, depths):
    with pytest.raises(ValueError, match="depths must be positive and increasing"):
        depth_limit(model, data.X, data.y, depths)
