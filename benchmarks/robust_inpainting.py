"""GLOW-Prox under descent constraints and noise: what each buys on photographs.

``python -m benchmarks.robust_inpainting`` trains inpainters of half of the pixels from a grey
start, plain and with noise between the layers, without and with descent of the gradient in x
(C-I), of the latents, of both (the constraints of Hadou, NaderiAlizadeh and Ribeiro 2024), or of
the distance (C-II). It prints the PSNR of the missing pixels, also under noise between the layers
and on the visible pixels, and how many layers descend, in each of the three senses. Training
tiles are from one photograph, test tiles from another.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.report import RESULTS, print_table, write_csv
from benchmarks.timing import cpu_model, installed_versions, limit_threads
from sklearn_unroll import GlowProxInpainter, Trainer
from sklearn_unroll.datasets import load_image_patches
from sklearn_unroll.functional import Mask, Observation, layer_noise
from sklearn_unroll.training import Descent, LayerNoise

SIDE, FRACTION = 16, 0.5
KINDS = ("distance", "gradient", "latent")
# The published scale is 1: unit-norm noise, divided by the number of the layer.
SCALES = (0.0, 1.0, 3.0, 10.0)
COLUMNS = ("network", "clean", *(f"noise_{s:g}" for s in SCALES[1:]), "disturbed_input")
COLUMNS += (*(f"descending_{kind}" for kind in KINDS), "seconds")


def tiles(name: str, n_tiles: int) -> np.ndarray:
    """Return tiles of a photograph that comes with scikit-learn."""
    cut = load_image_patches(
        name, patch_size=(SIDE, SIDE), n_patches=n_tiles, center=False, random_state=0
    )
    return cut.X.astype("float32")


def networks(epochs: int) -> Iterator[tuple[str, Trainer]]:
    """Yield names and how to train."""
    ascent = {"dual_learning_rate": 1e-2, "update": "batch"}
    gradient, latent, distance = (
        Descent(kind, **ascent) for kind in ("gradient", "latent", "distance")
    )
    constraints = {
        "": None,
        " + C-I": gradient,
        " + latent": latent,
        " + C-I and latent": [gradient, latent],
        " + C-II": distance,
    }
    for noise in (False, True):
        for name, constraint in constraints.items():
            yield (
                ("noise" if noise else "plain") + name,
                Trainer(
                    learning_rate=3e-3,
                    max_epochs=epochs,
                    batch_size=32,
                    early_stopping=False,
                    constraint=constraint,
                    perturbation=LayerNoise("unit_norm") if noise else None,
                ),
            )


@torch.no_grad()
def examine(model: GlowProxInpainter, y: np.ndarray, seed: int) -> dict:
    """Return PSNRs of the missing pixels in dB, and how many layers descend for most tiles."""
    rng = np.random.default_rng(seed)
    truth = torch.from_numpy(y)
    visible = torch.from_numpy(rng.random(y.shape) >= FRACTION)
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
        descending = ((after < before).float().mean(0) > 0.5).sum()
        row[f"descending_{kind}"] = f"{int(descending)} of {network.depth}"
    return row


def main(argv: Sequence[str] | None = None) -> Path:
    """Run, print and write ``robust_inpainting.csv``; return its path."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.robust_inpainting")
    parser.add_argument("--quick", action="store_true", help="two epochs: shows that it runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the CSV")
    options = parser.parse_args(argv)
    n_tiles, epochs = (200, 2) if options.quick else (1000, 20)
    rows = []
    with limit_threads(1) as threads:
        print(f"{threads}; {n_tiles} tiles of {SIDE}x{SIDE}, {epochs} epochs", flush=True)
        X, X_test = tiles("china.jpg", n_tiles), tiles("flower.jpg", 500)
        for name, trainer in networks(epochs):
            model = GlowProxInpainter(
                (SIDE, SIDE), fraction=FRACTION, x0="flat", n_layers=4, trainer=trainer,
                random_state=options.seed,
            )  # fmt: skip
            began = time.perf_counter()
            model.fit(X)
            seconds = time.perf_counter() - began
            rows.append({"network": name, **examine(model, X_test, options.seed)})
            rows[-1]["seconds"] = seconds
            print(rows[-1], flush=True)
    print_table(rows, COLUMNS, title="PSNR of missing pixels in dB, grey start, 4 layers")
    rows = [row | {"versions": installed_versions(), "cpu": cpu_model()} for row in rows]
    return write_csv(rows, options.output / "robust_inpainting.csv")


if __name__ == "__main__":
    main()
