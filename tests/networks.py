"""One table of networks: every layer class, weights, rule and shrinkage of the package.

``NETWORKS[name]()`` gives a :class:`Case`, a small untrained network of at least three layers and
what it is for; the factory takes a dtype. What every network does is tested over all of it.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import (
    L1,
    Composite,
    Convolution,
    Dense,
    GroupL1,
    LeastSquares,
    Mask,
    MaskedFourier,
    MatrixFree,
    Observation,
    PartialHadamard,
    Penalty,
    Zero,
    analytic_weight,
    block_analytic_weight,
    convolution_weight,
    pseudo_inverse,
)
from sklearn_unroll.nn import (
    AdaptiveRule,
    Guarded,
    SmoothThreshold,
    Unrolled,
    ada_lista,
    admm_csnet,
    alista,
    dense_admm,
    fbs,
    feed_forward,
    glow_prox,
    guarded,
    hyperlista,
    l2o_dm,
    lamp,
    lista,
    math_l2o,
    na_alista,
    provable_l2o,
    rnnprop,
    smooth_admm,
    smooth_lista,
    tista,
)
from tests.conftest import make_problem

DEPTH = 4
COUNTS = [1, 2, 3, 4]
# Groups of unequal sizes that interleave, of twenty entries, and the roots of their sizes.
BLOCKS = [i % 5 if i < 15 else 5 for i in range(20)]
ROOTS = torch.bincount(torch.tensor(BLOCKS)).double().sqrt()


class Case(NamedTuple):
    """A network, seven samples of what it is for, and the codes wanted."""

    network: Unrolled
    obs: Observation | Composite
    y: Tensor


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def shaken(network: Unrolled, *parts: str) -> Unrolled:
    """Move what starts at zero, so that all of a network takes part."""
    for name, p in network.named_parameters():
        if any(part in name for part in parts):
            p.add_(0.1 * torch.randn(p.shape, generator=generator(), dtype=p.dtype))
    return network


def of_codes(make: Callable[[Dense], Unrolled], per_sample: bool = False) -> Callable[..., Case]:
    """Return the factory of a network for sparse codes, given the operator."""

    def factory(dtype: torch.dtype = torch.float64) -> Case:
        obs, y = make_problem(per_sample=per_sample)
        obs = Observation(obs.b.to(dtype), Dense(obs.A.D.to(dtype)))
        return Case(make(obs.A), obs, y.to(dtype))

    return factory


def of_guarded(
    make: Callable[[Dense], Unrolled], region: str, R: Penalty | None = None
) -> Callable[..., Case]:
    """Return the factory of a network with a guard around its layers."""

    def factory(dtype: torch.dtype = torch.float64) -> Case:
        case = of_codes(make)(dtype)
        problem = Composite.of(case.obs.b, case.obs.A, LeastSquares(), R or L1(0.01))
        return Case(guarded(case.network, region), problem, case.y)

    return factory


def of_pictures(make: Callable, operator: Callable, shape: tuple = (8, 8)) -> Callable[..., Case]:
    """Return the factory of a network for pictures, given operator and ``like``."""

    def factory(dtype: torch.dtype = torch.float64) -> Case:
        n_pixels = int(np.prod(shape))
        y = torch.rand(7, n_pixels, generator=generator(), dtype=torch.float64).to(dtype)
        A = operator().to(y)
        return Case(make(A, like=y), Observation(A(y), A), y)

    return factory


def of_problems(make: Callable, R=None, safeguard: bool = False) -> Callable[..., Case]:
    """Return the factory of an optimiser, given ``like`` and a generator."""

    def factory(dtype: torch.dtype = torch.float64) -> Case:
        obs, y = make_problem(per_sample=True)
        b, A = obs.b.to(dtype), Dense(obs.A.D.to(dtype))
        problem = Composite.of(b, A, LeastSquares(), L1(0.1) if R is None else R)
        network = shaken(make(b, generator=generator()), "out", "weights")
        if safeguard:
            network = Unrolled([Guarded(network.layers[0], "descent")] * network.depth)
        return Case(network, problem, y.to(dtype))

    return factory


def fourier() -> MaskedFourier:
    mask = np.random.default_rng(0).random((8, 8)) < 0.5
    mask[0, 0] = True
    return MaskedFourier(mask)


def mask() -> Mask:
    return Mask(torch.from_numpy(np.random.default_rng(0).random((7, 64)) < 0.5))


def matrix() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((64, 20))


def classical(A: Dense, make: Callable = lista, **given) -> Unrolled:
    return make(A, n_layers=DEPTH, alpha=0.01, **given)


def from_analytic(A: Dense, make: Callable, **given) -> Unrolled:
    return make(A, n_layers=DEPTH, W=analytic_weight(A.D), **given)


def grouped(A: Dense) -> Unrolled:
    W = block_analytic_weight(A.D, torch.as_tensor(BLOCKS))
    return alista(A, W, n_layers=DEPTH, counts=COUNTS, penalty=GroupL1(BLOCKS, ROOTS))


def normal(A: Dense, make: Callable) -> Unrolled:
    return make(A, n_layers=DEPTH, theta=0.3, sharpness=3.0, generator=generator())


def smoothed(A: Dense) -> Unrolled:
    """LISTA with a smooth threshold in place of the soft one."""
    network = classical(A)
    for layer in network.layers:
        layer.shrinkage = SmoothThreshold(20.0)
    return network


def adaptive(A: Dense, leverages: bool = False) -> Unrolled:
    W, pinv = analytic_weight(A.D), pseudo_inverse(A.D)
    rule = AdaptiveRule((pinv * A.D).sum(1) if leverages else pinv, 0.4, 0.05, 0.02, 4.0)
    return hyperlista(W, rule, n_layers=DEPTH)


def neural(A: Dense) -> Unrolled:
    W = analytic_weight(A.D)
    return na_alista(W, n_layers=DEPTH, counts=COUNTS, hidden_size=5, generator=generator())


def optimiser(make: Callable, like: Tensor, **given) -> Unrolled:
    return make(like, **{"n_layers": DEPTH, "hidden_size": 5, **given})


def pictured(A, like: Tensor, shape: tuple | None = (8, 8), **given) -> Unrolled:
    return admm_csnet(A, image_shape=shape, n_layers=DEPTH, filter_size=3, like=like, **given)


def glow(A, like: Tensor, **given) -> Unrolled:
    sizes = {"n_layers": 3, "n_hidden": 4, "n_steps": 1}
    return shaken(glow_prox((8, 8), like=like, generator=generator(), **sizes, **given), "net.net")


_published = {
    "variant": "PBA12", "features": "raw", "state": "normal", "momentum": "wide",
    "largest_step": 2.0, "init": "random", "n_hidden_layers": 2,
}  # fmt: skip

NETWORKS: dict[str, Callable[..., Case]] = {
    "LISTA": of_codes(partial(classical, weights="free")),
    "LISTA tied": of_codes(partial(classical, weights="free", tied=True)),
    "LISTA analytic": of_codes(partial(from_analytic, make=lista, weights="free")),
    "LISTA smooth": of_codes(smoothed),
    "LISTA-CP": of_codes(classical),
    "LISTA-CPSS": of_codes(partial(classical, counts=COUNTS)),
    "TiLISTA": of_codes(partial(classical, tied=True, learn_step=True, counts=COUNTS)),
    "step-LISTA": of_codes(partial(classical, weights="adjoint")),
    "step-LISTA, per sample": of_codes(partial(classical, weights="adjoint"), per_sample=True),
    "Ada-LISTA": of_codes(partial(classical, make=ada_lista)),
    "Ada-LISTA, per sample": of_codes(partial(classical, make=ada_lista), per_sample=True),
    "block LISTA": of_codes(partial(classical, penalty=GroupL1(BLOCKS, ROOTS))),
    "block LISTA, adjoint, selecting": of_codes(
        partial(classical, weights="adjoint", counts=COUNTS, penalty=GroupL1(BLOCKS, ROOTS))
    ),
    "group ALISTA": of_codes(grouped),
    "ALISTA": of_codes(partial(from_analytic, make=alista, counts=COUNTS)),
    "ALISTA, convolution": of_pictures(
        lambda A, like: alista(A, convolution_weight(A), n_layers=DEPTH, counts=COUNTS),
        lambda: Convolution(torch.randn(2, 3, 3, generator=generator()), (8, 8)),
        (2, 8, 8),
    ),
    "NA-ALISTA": of_codes(neural),
    "HyperLISTA": of_codes(adaptive),
    "HyperLISTA, leverages": of_codes(partial(adaptive, leverages=True)),
    "TISTA": of_codes(
        partial(tista, sparsity=0.2, variance=1.0, noise_variance=1e-3, n_layers=DEPTH)
    ),
    "LAMP": of_codes(partial(lamp, n_layers=DEPTH)),
    "LAMP tied": of_codes(partial(from_analytic, make=lamp, tied=True)),
    "FBSNet": of_codes(partial(classical, make=fbs)),
    "FBSNet, groups from learned": of_codes(
        partial(classical, make=fbs, horizon=3.0, penalty=GroupL1(5), x0="learned")
    ),
    "smooth LISTA": of_codes(partial(normal, make=smooth_lista)),
    "smooth ADMM": of_codes(partial(normal, make=smooth_admm)),
    "feed-forward": of_codes(partial(normal, make=feed_forward)),
    "dense ADMM": of_codes(partial(classical, make=dense_admm)),
    "dense ADMM tied": of_codes(partial(classical, make=dense_admm, tied=True, learn_gamma=False)),
    "ADMM-CSNet basic": of_pictures(partial(pictured, stage="basic", tied=True), fourier),
    "ADMM-CSNet generic": of_pictures(pictured, fourier),
    "ADMM-CSNet consistent": of_pictures(
        partial(pictured, consistent=True), lambda: PartialHadamard(64, rows=range(0, 64, 2))
    ),
    "ADMM-CSNet matrix-free": of_pictures(pictured, lambda: MatrixFree(matrix().T)),
    "ADMM-CSNet, no pictures": of_pictures(
        partial(pictured, shape=None), lambda: Dense(torch.from_numpy(matrix()))
    ),
    "LISTA-CP, guarded": of_guarded(classical, "objective"),
    "block LISTA, guarded": of_guarded(
        partial(classical, penalty=GroupL1(BLOCKS, ROOTS)), "objective", GroupL1(BLOCKS, 0.01)
    ),
    "ALISTA, guarded": of_guarded(partial(from_analytic, make=alista, counts=COUNTS), "residual"),
    "Math-L2O": of_problems(partial(optimiser, math_l2o)),
    "Math-L2O as published": of_problems(partial(optimiser, math_l2o, **_published)),
    "Math-L2O, steps by MLP": of_problems(
        partial(optimiser, math_l2o, variant="P", network="mlp")
    ),
    "Math-L2O, guarded": of_problems(partial(optimiser, math_l2o, **_published), safeguard=True),
    "L2O-DM": of_problems(partial(optimiser, l2o_dm)),
    "RNNprop, guarded": of_problems(partial(optimiser, rnnprop), safeguard=True),
    "provable L2O": of_problems(
        partial(provable_l2o, n_iter=DEPTH, width=8, expansion=2.0), R=Zero()
    ),
    "GLOW-Prox": of_pictures(glow, mask),
    "GLOW-Prox, flat": of_pictures(partial(glow, x0="flat", consistent=False, step=0.7), mask),
}
