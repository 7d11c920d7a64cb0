"""Bounds of ``||D||_2^2``: never below, seldom far above, whatever the matrix."""

import pytest
import torch

from sklearn_unroll.functional import L1, Composite, Dense, LeastSquares, Logistic, Observation
from sklearn_unroll.functional import _spectral_bound as bounds
from sklearn_unroll.functional._spectral_bound import norm_bound, squared_norm

SIDES = {"float32 inside": 140, "float64 inside": 300}


def matrix(values, side, n_more=40, seed=0, first=None):
    """Return one of given squared singular values, and of given first singular vectors."""
    generator = torch.Generator().manual_seed(seed)
    U, V = (
        torch.randn(n, side, generator=generator, dtype=torch.float64)
        for n in (side + n_more, side)
    )
    if first is not None:
        V[:, 0] = first
    U, V = torch.linalg.qr(U)[0], torch.linalg.qr(V)[0]
    return (U * torch.as_tensor(values, dtype=torch.float64).sqrt()) @ V.T


def start(side):
    return torch.cos(torch.arange(side, dtype=torch.float64).square())


def flat_top(side):
    values = torch.linspace(1, 0.1, side).double()
    values[:10] = torch.linspace(5, 4.999, 10)
    return matrix(values, side)


def hidden_top(side):
    """Return a matrix whose largest singular vector the start does not see."""
    v = torch.randn(side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    q = start(side) / start(side).norm()
    values = torch.linspace(0, 1, side).double()
    values[0] = 1.05  # so near that rounding errors do not grow to it
    return matrix(values, side, first=v - (v @ q) * q)


def gaussian(side):
    D = torch.randn(
        2 * side, side, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    return D / D.norm(dim=1, keepdim=True)


MATRICES = {
    "gaussian": gaussian,
    "wide": lambda side: gaussian(side).T.contiguous(),
    "flat top": flat_top,
    "hidden top": hidden_top,
    "orthogonal": lambda side: matrix(torch.ones(side), side),
    "rank one": lambda side: torch.outer(start(side + 40), torch.arange(1.0, side + 1).double()),
    "rows of zeros": lambda side: gaussian(side) * (torch.arange(2 * side) < 3)[:, None],
    "zero": lambda side: torch.zeros(side + 1, side, dtype=torch.float64),
    "one entry": lambda side: torch.eye(side + 3, side, dtype=torch.float64) * (side > 0) * 0.3,
}


@pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)
@pytest.mark.parametrize("make", MATRICES.values(), ids=MATRICES)
def test_bounds_hold_and_are_tight(make, side):
    D = make(side)
    units = torch.tensor([1e-100, 1e-12, 1e-6, 1.0, 1e6, 1e12, 1e100], dtype=torch.float64)
    L = torch.linalg.matrix_norm(D, 2).square() * units.square()
    found = norm_bound(D * units[:, None, None])
    assert (found >= (1 - 1e-13) * L).all() and (found <= 1.02 * L).all()
    L, found = L[2:5], norm_bound((D * units[2:5, None, None]).float())
    assert found.dtype == torch.float32
    assert (found >= (1 - 1e-6) * L).all() and (found <= 1.02 * L).all()


def test_what_is_not_proved_is_computed(monkeypatch):
    side = SIDES["float32 inside"]
    D = torch.stack([hidden_top(side), flat_top(side)])
    L, found = squared_norm(D), norm_bound(D)
    torch.testing.assert_close(found[0], L[0], rtol=1e-3, atol=0)
    assert found[1] > 1.005 * L[1]
    computed = []
    monkeypatch.setattr(
        bounds, "squared_norm", lambda D: computed.append(len(D)) or squared_norm(D)
    )
    norm_bound(D)
    norm_bound(gaussian(side))
    assert computed == [1]


@pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)
def test_last_digits_do_not_move_a_bound(side):
    D = torch.stack([gaussian(side), flat_top(side)[:side].repeat(2, 1)])
    found = norm_bound(D)
    for one, expected in zip(D, found, strict=True):
        torch.testing.assert_close(norm_bound(one), expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(norm_bound(10 * D), 100 * found, rtol=1e-13, atol=0)
    torch.testing.assert_close(norm_bound(D.flip(1)), found, rtol=1e-13, atol=0)


def test_float32_is_for_honest_products():
    D, precision = gaussian(SIDES["float32 inside"]), torch.get_float32_matmul_precision()
    assert bounds._is_single_enough(D, 140) and not bounds._is_single_enough(D, 300)
    try:
        torch.set_float32_matmul_precision("medium")  # products may have eight bits
        assert not bounds._is_single_enough(D, 140)
        assert norm_bound(D) >= squared_norm(D)
    finally:
        torch.set_float32_matmul_precision(precision)


def test_small_matrices_and_empty_batches():
    D = gaussian(20)
    assert norm_bound(D) == squared_norm(D)
    assert norm_bound(D.new_zeros(0, 300, 200)).shape == (0,)


@pytest.mark.parametrize("f", [LeastSquares(), Logistic()], ids=["least squares", "logistic"])
@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per sample"])
def test_steps_of_problems_are_those_of_bounds(f, per_sample):
    D = gaussian(SIDES["float32 inside"])
    A = Dense(torch.stack([D, 2 * D]) if per_sample else D)
    b = torch.ones(2, A.n_features, dtype=torch.float64)
    L = A.lipschitz() / (4 * A.n_features if isinstance(f, Logistic) else 1)
    assert A.lipschitz_bound().shape == A.lipschitz().shape
    assert (f.lipschitz(Observation(b, A)) > L).all()
    step = Composite.of(b, A, f, L1(0.1)).step
    assert (step <= 1 / L).all() and (step >= 0.98 / L).all()
