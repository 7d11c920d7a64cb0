"""What the optimisation guarantees say of unrolled networks, measured in float64 on many seeds.

Minutes, so `make test-long`. Sizes are those of the issue: 50 components, 10 features, six
unrolled layers or eight feed-forward ones, 18,000 parameters each.
"""

from functools import partial

import numpy as np
import pytest
import torch

from sklearn_unroll import ADMMCSNetRegressor, FeedForwardRegressor, LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation, smooth_soft_constants
from sklearn_unroll.nn import equivalent_depth, feed_forward, smooth_admm, smooth_lista
from sklearn_unroll.theory import (
    gradient_descent_path,
    kernel_spectrum,
    pl_star_report,
    width_scaling,
)

pytestmark = pytest.mark.long

WIDTHS = (32, 64, 128, 256, 512)
N, M, LAYERS = 10, 50, 6


@pytest.mark.parametrize("seed", [40, 41])
@pytest.mark.parametrize("make", [smooth_lista, smooth_admm])
def test_the_hessian_of_a_dense_readout_falls_with_the_root_of_the_width(make, seed):
    recipe = partial(make, n_layers=3)
    options = {"n_seeds": 12, "random_state": seed}
    assert -0.7 < width_scaling(recipe, WIDTHS, **options).exponent < -0.35
    assert abs(width_scaling(recipe, WIDTHS, quantity="gradient", **options).exponent) < 0.1


@pytest.mark.parametrize("make", [smooth_lista, smooth_admm])
def test_the_hessian_of_one_component_does_not(make):
    recipe = partial(make, n_layers=3)
    scaling = width_scaling(recipe, WIDTHS[:-1], readout=0, n_seeds=8, random_state=42)
    assert scaling.exponent > -0.3


@pytest.mark.parametrize("sparse", [False, True], ids=["normal", "sparse codes"])
@pytest.mark.parametrize("seed", range(50, 56))
def test_kernels_at_the_start(seed, sparse):
    """Unrolled ones are better conditioned; a rescaled plain one has the eigenvalue only."""
    assert equivalent_depth(N, M, LAYERS) == 8
    data = make_sparse_recovery(10, N, M, sparsity=2, random_state=seed)
    A = Dense(torch.from_numpy(data.dictionary))
    generator = torch.Generator().manual_seed(seed)
    b = torch.randn(10, N, generator=generator, dtype=torch.float64)
    obs = Observation(torch.from_numpy(data.X) if sparse else b, A)
    rescaled = partial(feed_forward, scale=1 / smooth_soft_constants(1.0).smallest_slope)
    recipes = {"LISTA": smooth_lista, "ADMM": smooth_admm, "plain": feed_forward}
    found = {
        name: kernel_spectrum(recipe(A, generator=generator), obs)
        for name, recipe in {**recipes, "rescaled": rescaled}.items()
    }
    assert {spectrum.n_parameters for spectrum in found.values()} == {18_000}
    for name in ("LISTA", "ADMM"):
        assert found[name].smallest > 1e3 * found["plain"].smallest
        assert found["rescaled"].smallest > 0.1 * found[name].smallest
        assert found["rescaled"].condition_number > 5 * found[name].condition_number
    assert found["plain"].smallest > found["plain"].resolution


def models(n_features, n_components, seed, n_epochs, learning_rate=5e-3):
    options = {
        "trainer": Trainer(
            learning_rate=learning_rate,
            max_epochs=n_epochs,
            batch_size=None,
            early_stopping=False,
        ),
        "random_state": seed,
    }
    return {
        "LISTA": LISTARegressor(
            weights="free", shrinkage="smooth", init="normal", alpha=1.0, n_layers=6, **options
        ),
        "ADMM": ADMMCSNetRegressor(
            parametrization="dense", init="normal", sharpness=1.0, n_layers=6, **options
        ),
        "plain": FeedForwardRegressor(
            n_layers=equivalent_depth(n_features, n_components, 6), **options
        ),
    }


def losses(n_features, n_components, n_samples, seeds, n_epochs):
    """Return the relative training losses of each network, geometric means over the seeds."""
    found = {}
    for seed in seeds:
        data = make_sparse_recovery(
            n_samples, n_features, n_components, sparsity=2, random_state=seed
        )
        for name, model in models(n_features, n_components, seed, n_epochs).items():
            residual = model.fit(data.X, data.y).predict(data.X) - data.y
            found.setdefault(name, []).append((residual**2).sum() / (data.y**2).sum())
    return {name: float(np.exp(np.log(values).mean())) for name, values in found.items()}


def test_ten_pairs_are_learned_by_heart_and_twenty_better_by_unrolled_networks():
    ten = losses(N, M, 10, range(60, 63), n_epochs=4000)
    assert max(ten.values()) < 1e-3, ten
    twenty = losses(N, M, 20, range(60, 63), n_epochs=4000)
    assert max(twenty["LISTA"], twenty["ADMM"]) < twenty["plain"] / 3, twenty


def test_twice_the_width_learns_twice_the_pairs():
    """So that the threshold at any level of the loss at least doubles; here at one percent."""
    seeds = range(70, 73)
    narrow = [losses(8, 40, T, seeds, n_epochs=1500)["LISTA"] for T in (10, 20)]
    wide = [losses(16, 80, T, seeds, n_epochs=1500)["LISTA"] for T in (20, 40)]
    assert narrow[0] < 1e-2 < narrow[1], narrow
    assert wide[0] < 1e-2 < wide[1], wide
    assert wide[0] < narrow[0] and wide[1] < narrow[1]
    assert wide[0] < narrow[1] / 3  # as many pairs


@pytest.mark.parametrize("seed", [80, 81, 82])
@pytest.mark.parametrize("name", ["LISTA", "ADMM"])
def test_pl_star_holds_along_gradient_descent_with_the_step_of_the_theory(name, seed):
    """30 components, 6 pairs: m T = 180 numbers, 6,480 parameters."""
    data = make_sparse_recovery(6, 6, 30, sparsity=2, random_state=seed)
    model = models(6, 30, seed, n_epochs=1)[name]
    path = gradient_descent_path(model, data.X, data.y, n_steps=3000, random_state=seed)
    report = pl_star_report(
        path.estimators[0], data.X, data.y, path=path, n_outputs=180, random_state=seed
    )
    along = report.path
    assert along.held.all()
    # The loss falls at least at the rate of the smallest eigenvalue met.
    rate = 1 - along.step * along.smallest.min()
    assert np.all(along.losses <= rate**along.steps * along.losses[0])
    assert along.losses[-1] < 0.02 * along.losses[0]
    assert report.certified_radius < along.distances[-1] < report.needed_radius
    assert "No guarantee" in str(report)
