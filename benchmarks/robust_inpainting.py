"""GLOW-Prox under descent constraints and noise: what each buys on photographs.

``python -m benchmarks.robust_inpainting`` trains inpainters of half of the pixels from a grey
start, plain and with noise between the layers, without and with descent of the gradient in x
(C-I), of the latents, of both (the constraints of Hadou, NaderiAlizadeh and Ribeiro 2024), or of
the distance (C-II). It prints the PSNR of the missing pixels, also under noise between the layers
and on the visible pixels, and how many layers descend, in each of the three senses. Training
tiles are from one photograph, test tiles from another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from benchmarks.robust_training import trainers
from benchmarks.study import Option, Row, Study
from benchmarks.timing import clocked
from sklearn_unroll import GlowProxInpainter
from sklearn_unroll.datasets import load_image_patches
from sklearn_unroll.functional import Mask, Observation, layer_noise
from sklearn_unroll.training import Descent, LayerNoise

KINDS = ("gradient", "latent", "distance")
GRADIENT, LATENT, DISTANCE = (
    Descent(kind, dual_learning_rate=1e-2, update="batch") for kind in KINDS
)
CONSTRAINTS = {
    "none": None,
    "C-I": GRADIENT,
    "latent": LATENT,
    "C-I and latent": [GRADIENT, LATENT],
    "C-II": DISTANCE,
}
# The published scale is 1: unit-norm noise, divided by the number of the layer.
SCALES = (0.0, 1.0, 3.0, 10.0)


def tiles(name: str, n_tiles: int, side: int, seed: int) -> np.ndarray:
    """Return tiles of a photograph that comes with scikit-learn."""
    cut = load_image_patches(
        name, patch_size=(side, side), n_patches=n_tiles, center=False, random_state=seed
    )
    return cut.X.astype("float32")


@torch.no_grad()
def examine(model: GlowProxInpainter, y: np.ndarray, seed: int) -> Row:
    """Return PSNRs of the missing pixels in dB, and how many layers descend for most tiles."""
    rng = np.random.default_rng(seed)
    truth = torch.from_numpy(y)
    visible = torch.from_numpy(rng.random(y.shape) >= model.fraction)
    obs = Observation(torch.where(visible, truth, 0), Mask(visible))
    xi = torch.from_numpy(rng.standard_normal((model.n_layers, *y.shape)).astype("float32"))
    network = model.network_

    def quality(x: torch.Tensor) -> float:
        return float(-10 * (x.clamp(0, 1) - truth)[~visible].square().mean().log10())

    def disturbed(scale: float) -> float:
        def perturb(number: int, x: torch.Tensor, obs: Observation) -> torch.Tensor:
            return x + scale * layer_noise(xi[number], number, x, obs, "unit_norm")

        return quality(network.iterates(obs, perturb=perturb)[-1])

    row = {("clean" if s == 0 else f"noise_{s:g}"): disturbed(s) for s in SCALES}
    told = obs._replace(b=torch.where(visible, (obs.b + 0.1 * xi[0]).clamp(0, 1), 0))
    row["disturbed_input"] = quality(network(told))
    iterates = network.iterates(obs)
    for kind in KINDS:
        before, after = Descent(kind).sizes(iterates, obs, truth, network)
        row[f"descending_{kind}"] = int(((after < before).float().mean(0) > 0.5).sum())
    return row


def rows(
    *,
    seed: int,
    side: int = Option(16, 8, "of the tiles"),
    n_tiles: int = Option(1000, 32, "to train on"),
    n_test: int = Option(500, 20, "tiles"),
    n_layers: int = Option(4, 2),
    constraints: Sequence[str] = Option(
        tuple(CONSTRAINTS), ("none", "C-I and latent"), "descent", CONSTRAINTS
    ),
    epochs: int = Option(20, 4),
) -> Iterator[Row]:
    """Yield a row per network; training tiles are from one photograph, test tiles from another."""
    X, fresh = tiles("china.jpg", n_tiles, side, seed), tiles("flower.jpg", n_test, side, seed)
    chosen = {name: CONSTRAINTS[name] for name in constraints}
    noises = {"plain": None, "noise": LayerNoise("unit_norm")}
    settings = {"learning_rate": 3e-3, "max_epochs": epochs, "batch_size": 32}
    for name, trainer in trainers(noises, chosen, **settings):
        model = GlowProxInpainter(
            (side, side), fraction=0.5, x0="flat", n_layers=n_layers, trainer=trainer,
            random_state=seed,
        )  # fmt: skip
        _, seconds = clocked(lambda model=model: model.fit(X))
        row = {"network": name, "n_layers": n_layers, **examine(model, fresh, seed)}
        yield row | {"trained_seconds": seconds}


STUDY = Study(
    rows,
    labels="network n_layers",
    measures="clean noise_1 noise_3 noise_10 disturbed_input descending_distance"
    " descending_gradient descending_latent trained_seconds",
)

if __name__ == "__main__":
    STUDY.main()
