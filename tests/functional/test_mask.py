import numpy as np
import pytest
import torch

from sklearn_unroll.functional import Mask, Observation, smooth_fill
from sklearn_unroll.testing import check_operator


def drawn(*shape, share=0.5, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random(shape) < share)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    "visible",
    [drawn(30), drawn(3, 30), torch.ones(3, 8), torch.zeros(3, 8), drawn(3, 30).float().numpy()],
    ids=["shared", "per sample", "all", "none", "numbers"],
)
def test_a_mask_passes_the_checks(visible):
    check_operator(Mask(visible))


def test_a_mask_is_its_diagonal_matrix():
    visible, x = drawn(4, 9), normal(4, 9)
    A = Mask(visible)
    for row in range(4):
        matrix = torch.diag(visible[row].double())
        torch.testing.assert_close(A(x)[row], matrix @ x[row])
        torch.testing.assert_close(A.take(slice(row, row + 1)).adjoint(x[row : row + 1])[0],
                                   matrix.T @ x[row])  # fmt: skip
    torch.testing.assert_close(A.lipschitz(), torch.ones(4, 1, dtype=torch.float64))
    nothing = Mask(torch.zeros(2, 3))
    assert not nothing.lipschitz().any()


def test_what_is_hidden_may_be_NaN():
    visible, x = drawn(2, 6), normal(2, 6)
    b = torch.where(visible, x, torch.nan)
    A = Mask(visible)
    for result in (A(b), A.adjoint(b), A.adjoint(A.residual(b, x)), A.consistent(b, x)):
        assert torch.isfinite(result).all()
    assert torch.equal(A.consistent(b, -x), torch.where(visible, x, -x))


def test_rows_and_places():
    A = Mask(drawn(5, 6))
    obs = Observation(normal(5, 6), A)
    rows = torch.tensor([4, 1])
    assert torch.equal(obs.take(rows).A.visible, A.visible[rows])
    assert A.to(torch.zeros(1)) is A  # nothing in it has a dtype
    assert A(torch.ones(5, 6)).dtype == torch.float32
    shared = Mask(drawn(6))
    assert shared.take(rows) is shared


@pytest.mark.parametrize(
    "visible, message",
    [
        (torch.ones(2, 3, 4), r"shape \(n_components,\) or \(n_samples, n_components\), got"),
        (torch.tensor([0.0, 0.5]), "boolean or hold zeros and ones"),
        (torch.tensor([0.0, torch.nan]), "boolean or hold zeros and ones"),
        (torch.tensor([1j]), "boolean or hold zeros and ones"),
    ],
)
def test_bad_masks(visible, message):
    with pytest.raises(ValueError, match=message):
        Mask(visible)


def laplacian(height, width):
    """Return the matrix of the graph of pixels: degrees on the diagonal, -1 for neighbours."""
    place = np.arange(height * width).reshape(height, width)
    L = np.zeros((height * width, height * width))
    for one, other in ((place[1:], place[:-1]), (place[:, 1:], place[:, :-1])):
        for p, q in zip(one.ravel(), other.ravel(), strict=True):
            L[[p, q], [p, q]] += 1
            L[[p, q], [q, p]] -= 1
    return L


@pytest.mark.parametrize("order", [1, 2])
def test_smooth_fill_solves_the_equation(order):
    visible, b = drawn(3, 42, share=0.4), normal(3, 42)
    x = smooth_fill(b, visible, (6, 7), order=order, tol=1e-12, max_iter=500)
    matrix = np.linalg.matrix_power(laplacian(6, 7), order)
    for row in range(3):
        seen = visible[row].numpy()
        hidden = np.linalg.solve(
            matrix[~seen][:, ~seen], -matrix[~seen][:, seen] @ b[row].numpy()[seen]
        )
        np.testing.assert_allclose(x[row].numpy()[~seen], hidden, atol=1e-8)
        assert np.array_equal(x[row].numpy()[seen], b[row].numpy()[seen])


def test_smooth_fill_of_channels_and_of_nothing():
    colour = normal(2, 5, 4, 3)
    seen = drawn(2, 5, 4, 3, share=0.6)
    filled = smooth_fill(colour.flatten(1), seen.flatten(1), (5, 4, 3), tol=1e-12)
    for channel in range(3):
        alone = smooth_fill(
            colour[..., channel].flatten(1), seen[..., channel].flatten(1), (5, 4), tol=1e-12
        )
        torch.testing.assert_close(
            filled.reshape(2, 5, 4, 3)[..., channel].flatten(1), alone, atol=1e-8, rtol=0
        )
    b = normal(2, 20)
    assert torch.equal(smooth_fill(b, torch.ones(2, 20, dtype=torch.bool), (5, 4)), b)
    assert not smooth_fill(b, torch.zeros(2, 20, dtype=torch.bool), (5, 4)).any()
    b[:, 3] = torch.nan
    some = torch.arange(20) != 3
    assert torch.isfinite(smooth_fill(b, some, (5, 4))).all()


def test_a_plane_is_harmonic_and_a_cubic_is_biharmonic_inside():
    t = torch.arange(9, dtype=torch.float64)
    plane = (t[:, None] - 2 * t).reshape(1, -1)
    inside = torch.zeros(9, 9, dtype=torch.bool)
    inside[3:6, 3:6] = True
    hole = ~inside.flatten()
    torch.testing.assert_close(smooth_fill(plane, hole, (9, 9), order=1, tol=1e-12), plane)
    cubic = (t[:, None] ** 3 / 100 + t[:, None] * t / 10).reshape(1, -1)
    torch.testing.assert_close(smooth_fill(cubic, hole, (9, 9), tol=1e-12), cubic)
    harmonic = smooth_fill(cubic, hole, (9, 9), order=1, tol=1e-12)
    assert (harmonic - cubic).abs().max() > 0.01
