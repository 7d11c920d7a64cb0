"""GLOW-Prox: a bijection before and after training, and the formulas of the layer."""

import sys

import numpy as np
import pytest
import torch

from sklearn_unroll import Trainer
from sklearn_unroll.functional import Dense, Mask, Observation, smooth_fill
from sklearn_unroll.nn import calibrate_flows, glow_prox
from sklearn_unroll.nn._glow import Glow
from sklearn_unroll.training import Descent, LayerNoise, StageWise

SHAPES = [(8, 8), (8, 12, 3)]


def pictures(n, shape, seed=0, dtype=torch.float64):
    """Return smooth pictures with an edge, rows with values in [0, 1]."""
    rng = np.random.default_rng(seed)
    height, width, n_channels = (*shape, 1)[:3]
    down, across = np.mgrid[:height, :width] / 8
    a, b, c, d = rng.uniform(-2, 2, (4, n, 1, 1))
    grey = np.sin(a * down + b * across + c) + (d * down > across - 0.5)
    grey = (grey - grey.min()) / np.ptp(grey)
    tint = rng.uniform(0.5, 1, (n, 1, 1, n_channels))
    return torch.from_numpy((grey[..., None] * tint).reshape(n, -1)).to(dtype)


def observed(n=6, shape=(8, 8), seed=0, dtype=torch.float64):
    x = pictures(n, shape, seed, dtype)
    A = Mask(torch.from_numpy(np.random.default_rng(seed).random(x.shape) < 0.5))
    return Observation(A(x), A), x


def network(obs, shape=(8, 8), seed=0, **options):
    options = {"n_layers": 2, "n_hidden": 4, **options}
    generator = torch.Generator().manual_seed(seed)
    return glow_prox(shape, like=obs.b, generator=generator, **options)


def quick(**options):
    common = {"learning_rate": 0.01, "max_epochs": 5, "batch_size": 8, "early_stopping": False}
    return Trainer(**common | options)


def train(net, obs, x, trainer=None):
    trainer = trainer or quick()
    generator = torch.Generator().manual_seed(0)
    return trainer.run(net, obs, x, alpha=0.0, generator=generator)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_inverse_is_exact_before_and_after_training(shape, dtype, tolerance, assert_below):
    obs, x = observed(24, shape, dtype=dtype)
    net = network(obs, shape)
    calibrate_flows(net, obs)

    seen = pictures(9, shape, seed=1, dtype=dtype).reshape(9, *(*shape, 1)[:3]).movedim(-1, 1)

    @torch.no_grad()
    def check():
        for layer in net.layers:
            latents, there = layer.flow(seen)
            assert sum(z[0].numel() for z in latents) == seen[0].numel()
            back, again = layer.flow.inverse(latents)
            assert (back - seen).abs().max() < tolerance
            assert ((there + again).abs() < tolerance * there.abs().clamp_min(1)).all()

    check()
    flows = [p for layer in net.layers for p in layer.flow.parameters()]
    before = [p.detach().clone() for p in flows]
    train(net, obs, x)
    moved = [float((p.detach() - q).abs().max()) for p, q in zip(flows, before, strict=True)]
    assert min(moved) > 0
    assert_below(-sum(moved) / len(moved), -5e-3)
    check()


def test_the_log_determinant_is_that_of_the_jacobian():
    obs, x = observed(16, (4, 4, 2))
    net = network(obs, (4, 4, 2))
    calibrate_flows(net, obs)
    train(net, obs, x)
    flow = net.layers[0].flow.requires_grad_(False)
    picture = x[:1].reshape(1, 4, 4, 2).movedim(-1, 1)

    def flat(p):
        return torch.cat([z.flatten() for z in flow(p.reshape(1, 2, 4, 4))[0]])

    jacobian = torch.autograd.functional.jacobian(flat, picture.flatten())
    torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], flow(picture)[1][0])


@pytest.mark.parametrize("shape", SHAPES)
def test_no_shrinkage_is_the_identity(shape):
    obs, x = observed(16, shape)
    net = network(obs, shape)
    calibrate_flows(net, obs)
    train(net, obs, x)
    layer = net.layers[0]
    with torch.no_grad():
        assert (layer.prox(x) - x).abs().max() > 1e-3
        layer.shrinkage.zero_()
        assert (layer.prox(x) - x).abs().max() < 1e-10


@pytest.mark.parametrize("n_steps", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_untrained_prox_shrinks_the_details_of_haars_transform(shape, n_steps):
    obs, x = observed(3, shape)
    layer = network(obs, shape, n_steps=n_steps, shrinkage=0.25).layers[0]
    p = x.reshape(3, shape[0] // 2, 2, shape[1] // 2, 2, -1).numpy()
    expected = np.zeros_like(p)
    for down in (0, 1):
        for across in (0, 1):
            signs = np.outer([1, (-1) ** down], [1, (-1) ** across])[:, None, :, None] / 2
            detail = (p * signs).sum((2, 4), keepdims=True)
            expected += detail * signs / (1.25 if down else 1)
    with torch.no_grad():
        np.testing.assert_allclose(layer.prox(x), expected.reshape(3, -1), atol=1e-12)


def test_the_latents_fall_by_what_the_prox_shrinks():
    obs, x = observed()
    net = network(obs, step=0.0, shrinkage=0.25, consistent=False)
    inside = 0.25 + 0.5 * x  # so that nothing is clipped
    with torch.no_grad():
        layer = net.layers[0]
        iterates = [inside, layer.prox(inside)]
        torch.testing.assert_close(layer.latent(iterates[1]), layer.latent(inside) / 1.25)
        excess = Descent("latent", epsilon=0.1).excess(iterates, obs, None, net)
    torch.testing.assert_close(excess, torch.full_like(excess, 1 / 1.25 - 0.9))


def test_a_constraint_on_latents_makes_them_fall(assert_below):
    obs, x = observed(24)
    met = []
    for constraint in (None, Descent("latent", epsilon=0.3, dual_learning_rate=1.0)):
        net = network(obs, shrinkage=0.0, n_layers=1)
        calibrate_flows(net, obs)
        train(net, obs, x, quick(constraint=constraint, max_epochs=100, max_grad_norm=None))
        with torch.no_grad():
            excess = Descent("latent", epsilon=0.3).excess(net.iterates(obs), obs, x, net)
        met.append(float(excess.mean()))
    assert_below(-met[0], -0.1)
    assert_below(met[1], 0.1)


def test_without_shrinkage_it_is_projected_gradient_descent():
    obs, _ = observed()
    obs = obs._replace(b=1.5 * obs.b)  # beyond what is allowed
    net = network(obs, n_layers=4, step=0.3, shrinkage=0.0, x0="flat", consistent=False)
    x = np.full(obs.b.shape, 0.5)
    b, m = obs.b.numpy(), obs.A.visible.numpy()
    with torch.no_grad():
        for iterate in net.iterates(obs):
            np.testing.assert_allclose(iterate, x, atol=1e-12)
            x = np.clip(x - 0.3 * m * (m * x - b), 0, 1)


@pytest.mark.parametrize("start", ["biharmonic", "harmonic"])
def test_a_smooth_start_stays_in_the_range_of_pictures(start):
    """The biharmonic one overshoots at edges, and is clipped there; elsewhere it is as it was."""
    x = torch.zeros(2, 64, dtype=torch.float64)
    x.view(2, 8, 8)[:, :, 4:] = 1.0  # an edge
    visible = torch.from_numpy(np.random.default_rng(0).random((2, 64)) < 0.5)
    obs = Observation(x * visible, Mask(visible))
    first = network(obs, x0=start).iterates(obs)[0]
    order = {"biharmonic": 2, "harmonic": 1}[start]
    filled = smooth_fill(obs.b, visible, (8, 8, 1), order=order, tol=1e-2)
    if start == "biharmonic":
        assert float(filled.min()) < -0.01 and float(filled.max()) > 1.01
    torch.testing.assert_close(first, filled.clamp(0, 1))


@pytest.mark.parametrize("step", [0.1, 1.0, 1.9])
def test_the_data_step_lowers_the_misfit(step):
    obs, x = observed()
    layer = network(obs, step=step).layers[0]
    x0 = torch.rand(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    with torch.no_grad():
        moved = layer.data_step(x0, obs)
        before, after = (obs.A.residual(obs.b, v).norm(dim=1) for v in (x0, moved))
        assert (after < before).all()
        assert torch.equal(obs.A.consistent(x0, moved), x0)  # elsewhere nothing happens
        layer.step.zero_()
        assert torch.equal(layer.data_step(x0, obs), x0)


def test_the_mask_is_used_and_what_it_hides_is_not():
    obs, x = observed()
    net = network(obs)
    with torch.no_grad():
        expected = net(obs)
        hidden = torch.where(obs.A.visible, obs.b, 0.7)
        torch.testing.assert_close(net(obs._replace(b=hidden)), expected)
        other = Mask(~obs.A.visible)
        assert (net(Observation(other(x), other)) - expected).abs().max() > 0.01
        assert torch.equal(obs.A(expected), obs.b)  # the last layer agrees with the data
        assert not torch.equal(obs.A(net(obs, 1)), obs.b)


def test_parameters_are_kept_admissible_and_handed_on():
    obs, _ = observed()
    net = network(obs)
    first, second = net.layers
    with torch.no_grad():
        for p in first.parameters():
            p.copy_(torch.full_like(p, -0.3))
        net.project_()
        assert float(first.step) == float(first.shrinkage) == 0
        net.continue_(2)
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        assert p is not q and torch.equal(p, q)


def test_clipping_lets_pixels_back_in():
    obs, _ = observed()
    layer = network(obs, x0="flat", shrinkage=0.0, consistent=False).layers[0]
    x = torch.full_like(obs.b, 1.2, requires_grad=True)
    out = layer.readout(layer(layer.with_iterate(layer.init(obs), x), obs))
    assert float(out.detach().max()) == 1
    (gradient,) = torch.autograd.grad((out - 0.4).square().sum(), x)
    assert (gradient[~obs.A.visible] > 0.1).all()


def test_calibration_gives_every_actnorm_unit_variance():
    obs, _ = observed(50, (8, 12, 3))
    net, again = network(obs, (8, 12, 3)), network(obs, (8, 12, 3))
    calibrate_flows(net, obs)
    calibrate_flows(again, obs)
    for p, q in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(p, q)
    with torch.no_grad():
        x = net.layers[0].data_step(net.layers[0].init(obs).x, obs)
        squeeze, norm, *_ = net.layers[0].flow.levels[0]
        z = norm.inverse(squeeze.inverse(x.reshape(50, 8, 12, 3).movedim(-1, 1))[0])[0]
    std, mean = torch.std_mean(z, (0, 2, 3))
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-10, rtol=0)
    torch.testing.assert_close(std, torch.ones_like(std), atol=1e-3, rtol=0)
    grey = obs._replace(b=torch.zeros_like(obs.b))
    calibrate_flows(net, grey)
    assert torch.isfinite(net(grey)).all()


def test_weights_come_from_the_generator_alone():
    obs, _ = observed()
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    one = network(obs)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    two, three = network(obs), network(obs, seed=1)
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(p, q)
    pairs = zip(one.parameters(), three.parameters(), strict=True)
    assert not all(torch.equal(p, q) for p, q in pairs)


@pytest.mark.parametrize(
    "options",
    [
        {"constraint": Descent(), "perturbation": LayerNoise("unit_norm", 0.5)},
        {"constraint": Descent("gradient", update="batch")},
        {"schedule": StageWise(rates=(1.0,))},
    ],
    ids=["distance and noise", "gradient", "stage-wise"],
)
def test_every_way_of_training(options, assert_below):
    obs, x = observed(24)
    net = network(obs, x0="flat")
    calibrate_flows(net, obs)
    history = train(net, obs, x, quick(max_epochs=10, learning_rate=0.02, **options))
    assert_below(history[-1].monitor / history[0].monitor, 0.85)
    if "constraint" in options:
        assert np.isfinite(history[-1].excess).all()
        assert min(history[-1].multipliers) >= 0


@pytest.mark.parametrize(
    "options, message",
    [
        ({"shape": (8, 10)}, "multiples of 4, got 8 by 10. Crop or pad"),
        ({"shape": (8, 8), "n_levels": 4}, "multiples of 16, got 8 by 8"),
        ({"shape": (8,)}, r"image_shape must be \(height, width\) or"),
        ({"shape": (8, 0)}, "image_shape must be"),
        ({"x0": "zero"}, "x0 must be one of"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        network(observed()[0], **options)


def test_a_smooth_start_needs_a_mask():
    A = Dense(torch.eye(64, dtype=torch.float64))
    obs = Observation(torch.zeros(1, 64, dtype=torch.float64), A)
    with pytest.raises(ValueError, match="need a Mask, which says what is seen; got Dense"):
        network(obs)(obs)
    assert network(obs, x0="flat", consistent=False)(obs).shape == (1, 64)


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "normflows", None)
    with pytest.raises(ImportError, match=r"pip install sklearn-unroll\[flows\]"):
        Glow(1, 1, 1, 4, torch.Generator())
