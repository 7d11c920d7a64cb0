"""Convolution against matrices, scipy and torch; its weight against the dense one."""

import copy
import pickle

import cvxpy as cp
import numpy as np
import pytest
import scipy.signal
import torch
from torch.nn import functional as F

from sklearn_unroll.functional import (
    Convolution,
    analytic_weight,
    convolution_weight,
    mutual_coherence,
)
from sklearn_unroll.testing import check_operator

BOUNDARIES = ("circular", "full", "same", "valid")
KERNELS = {  # shapes of kernels and of signals
    "line": ((3, 4), 9),
    "line, channels": ((2, 3, 4), 11),
    "picture": ((2, 3, 2), (5, 6)),
    "picture, channels": ((4, 2, 3, 4), (7, 6)),
    "volume": ((2, 1, 2, 1, 3), (3, 2, 5)),
}


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def matrix(A):
    """Return the dictionary, rows are atoms."""
    return A(torch.eye(A.n_components, dtype=torch.float64))


def by_scipy(A, x):
    """Return the signals of codes, one kernel and one channel after the other."""
    maps = x.reshape(-1, *A.code_shape).numpy()
    mode = "full" if A.boundary == "circular" else A.boundary
    whole = np.stack(
        [[sum(scipy.signal.convolve(z, d[c].numpy(), mode, "direct")
              for z, d in zip(row, A.kernels, strict=True))
          for c in range(A.signal_shape[0])] for row in maps]
    )  # fmt: skip
    if A.boundary == "circular":  # what falls out comes in again
        for axis, n in enumerate(A.shape, start=2):
            parts = np.split(whole, range(n, whole.shape[axis], n), axis)
            for part in parts[1:]:
                into = [slice(None)] * whole.ndim
                into[axis] = slice(part.shape[axis])
                parts[0][tuple(into)] += part
            whole = parts[0]
    return whole.reshape(len(x), -1)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("name", KERNELS)
def test_it_is_scipys_convolution_and_its_adjoint_the_transpose(name, boundary):
    kernels, shape = KERNELS[name]
    A = Convolution(normal(*kernels), shape, boundary=boundary)
    x = normal(3, A.n_components, seed=1)
    np.testing.assert_allclose(A(x), by_scipy(A, x), atol=1e-13)
    transposed = A.adjoint(torch.eye(A.n_features, dtype=torch.float64))
    torch.testing.assert_close(transposed.T, matrix(A), atol=1e-14, rtol=0)
    torch.testing.assert_close(A.lipschitz(), torch.linalg.matrix_norm(matrix(A), 2) ** 2)


BY_HAND = {  # columns are the kernel (1, 2, 3) at one position after the other
    "circular": [[1, 0, 3, 2], [2, 1, 0, 3], [3, 2, 1, 0], [0, 3, 2, 1]],
    "full": [[1, 0], [2, 1], [3, 2], [0, 3]],
    "same": [[2, 1, 0, 0], [3, 2, 1, 0], [0, 3, 2, 1], [0, 0, 3, 2]],
    "valid": [[3, 2, 1, 0, 0, 0], [0, 3, 2, 1, 0, 0], [0, 0, 3, 2, 1, 0], [0, 0, 0, 3, 2, 1]],
}


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_small_ones_are_what_they_are_by_hand(boundary):
    d, line = torch.tensor([1, 2, 3]), torch.tensor(BY_HAND[boundary]).double()
    torch.testing.assert_close(matrix(Convolution(d[None], 4, boundary=boundary)), line.T)
    # A product of two lines is a picture, its matrix the Kronecker product; a channel a factor.
    picture = torch.stack([d[:, None] * d, -2 * d[:, None] * d])[None]
    A = Convolution(picture, (4, 4), boundary=boundary)
    both = torch.kron(line, line)
    torch.testing.assert_close(matrix(A), torch.cat([both, -2 * both]).T, atol=1e-12, rtol=0)
    r = normal(2, 32)
    torch.testing.assert_close(A.adjoint(r), r @ torch.cat([both, -2 * both]))


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("name", ["line, channels", "picture, channels"])
def test_it_passes_the_checks(name, boundary):
    kernels, shape = KERNELS[name]
    check_operator(Convolution(normal(*kernels), shape, boundary=boundary))


def test_torchs_transposed_convolution_is_the_full_one():
    d, z = normal(4, 2, 3, 5), normal(2, 4, 6, 7, seed=1)
    A = Convolution(d, (8, 11), boundary="full")
    assert A.code_shape == (4, 6, 7) and A.signal_shape == (2, 8, 11)
    torch.testing.assert_close(A(z.flatten(1)), F.conv_transpose2d(z, d).flatten(1))
    r = normal(2, 2, 8, 11, seed=2)
    torch.testing.assert_close(A.adjoint(r.flatten(1)), F.conv2d(r, d).flatten(1))


@pytest.mark.parametrize("shift", [1, 4])
def test_events_that_shift_around_shift_the_signal(shift):
    A = Convolution(normal(3, 2, 4), 9)
    x = normal(2, 3, 9, seed=1)
    there = A(x.roll(shift, -1).flatten(1))
    torch.testing.assert_close(there, A(x.flatten(1)).reshape(2, 2, 9).roll(shift, -1).flatten(1))


@pytest.mark.parametrize("boundary", ["same", "valid"])
@pytest.mark.parametrize("size", [5, 7, 8, 12])
def test_kernels_may_be_larger_than_what_they_are_cut_off_by(boundary, size):
    A = Convolution(normal(2, size), 5, boundary=boundary)
    x = normal(2, A.n_components, seed=1)
    np.testing.assert_allclose(A(x), by_scipy(A, x), atol=1e-13)
    check_operator(A)


@pytest.mark.parametrize("boundary", ["full", "same", "valid"])
@pytest.mark.parametrize("kernels, shape", [((1, 6), 60), ((3, 2, 4), 40), ((2, 2, 3), (20, 30))])
def test_in_long_signals_the_norm_is_bounded_within_ten_percent(boundary, kernels, shape):
    for d in (torch.ones(kernels, dtype=torch.float64), normal(*kernels)):
        A = Convolution(d, shape, boundary=boundary)
        true = float(torch.linalg.matrix_norm(matrix(A), 2) ** 2)
        assert true * (1 - 1e-12) <= float(A.lipschitz()) <= 1.1 * true


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("rho", [1e-9, 0.3])
def test_the_inverse_is_that_of_the_matrix(name, rho):
    kernels, shape = KERNELS[name]
    A = Convolution(normal(*kernels), shape)
    D, x = matrix(A), normal(3, A.n_components, seed=1)
    r = x @ D @ D.T + rho * x  # with a tiny rho the system remembers x but where it is blind
    found = A.solve_normal(r, rho) @ D
    torch.testing.assert_close(found, x @ D, atol=1e-12, rtol=1e-12)
    if rho > 1e-3:
        exact = torch.linalg.solve(D @ D.T + rho * torch.eye(len(D)), x.T).T
        torch.testing.assert_close(A.solve_normal(x, rho), exact)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("kernels", [(3, 4), (3, 2, 4), (2, 5, 4)])
def test_the_proximal_point_is_that_of_the_matrix_with_a_rho_for_each_sample(kernels, boundary):
    A = Convolution(normal(*kernels), 9, boundary=boundary)
    D, b, x = matrix(A), normal(3, A.n_features), normal(3, A.n_components, seed=1)
    rho = torch.tensor([[1e-3], [1.0], [50.0]]).double()
    found = A.proximal(b, x, rho)
    for row, own in enumerate(rho):
        left = D @ D.T + own * torch.eye(len(D))
        exact = torch.linalg.solve(left, D @ b[row] + own * x[row])
        torch.testing.assert_close(found[row], exact, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("kernels", [normal(3, 4), torch.tensor([[1.0, -1.0], [2.0, -2.0]]),
                                     normal(1, 3, 2).repeat(2, 1, 1)])  # fmt: skip
def test_the_consistent_point_is_the_pseudo_inverses(kernels):
    A = Convolution(kernels.double(), 8)  # differences are blind to a constant, and copies alike
    b, x, P = normal(2, A.n_features), normal(2, A.n_components), torch.linalg.pinv(matrix(A))
    torch.testing.assert_close(A.consistent(b, x), x + (b - A(x)) @ P)
    cut = Convolution(kernels.double(), 8, boundary="valid")
    with pytest.raises(NotImplementedError, match="Convolution has no pseudo-inverse"):
        cut.consistent(b, normal(2, cut.n_components))


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_rows_keep_their_dtype_whatever_kernels_have(boundary):
    A = Convolution(normal(3, 4), 9, boundary=boundary)
    x, r = normal(2, A.n_components), normal(2, A.n_features)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-5)):
        for own in (A, A.to(torch.empty(0, dtype=torch.float32))):
            found = own(x.to(dtype)), own.adjoint(r.to(dtype)), own.solve_normal(x.to(dtype), 1.0)
            for one, exact in zip(
                found, (A(x), A.adjoint(r), A.solve_normal(x, 1.0)), strict=True
            ):
                assert one.dtype == dtype
                torch.testing.assert_close(one.double(), exact, atol=tolerance, rtol=tolerance)
    assert A.to(x) is A and A.to(x.float()).lipschitz().dtype == torch.float32


def test_arrays_of_any_kind_and_copies():
    d = np.random.default_rng(0).integers(1, 9, (2, 3))
    A = Convolution(d, np.int64(5))
    x = normal(2, 10)
    torch.testing.assert_close(A(x), Convolution(d.astype(float).tolist(), (5,))(x))
    for other in (pickle.loads(pickle.dumps(A)), copy.deepcopy(A)):
        assert torch.equal(other(x), A(x)) and other.boundary == A.boundary


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Convolution(normal(3, 9), 8), r"size \(9,\) are larger than the signal.*\(8,\)"),
        (lambda: Convolution(normal(3, 9), 8, boundary="full"), "boundary='same' or 'valid'"),
        (lambda: Convolution(normal(3, 2, 9), (9, 8)), r"\(2, 9\) are larger"),
        (lambda: Convolution(normal(3), 8), r"1 axis as .*\(8,\) has.*got shape \(3,\)"),
        (lambda: Convolution(normal(3, 4), (8, 8)), r"2 axes as .*got shape \(3, 4\)"),
        (lambda: Convolution(normal(1, 2, 3, 4), 8), r"got shape \(1, 2, 3, 4\)"),
        (lambda: Convolution(normal(0, 4), 8), r"none may be empty; got shape \(0, 4\)"),
        (lambda: Convolution(normal(3, 4), 0), "shape must be .*got 0"),
        (lambda: Convolution(normal(3, 4), (8.0,)), r"shape must be .*got \(8.0,\)"),
        (lambda: Convolution(normal(3, 4), ()), r"shape must be .*got \(\)"),
        (lambda: Convolution(normal(3, 4), 8, boundary="wrap"), "one of .*got 'wrap'"),
        (lambda: Convolution([[1.0, 2.0], [0.0, np.nan]], 8), r"NaN or infinity in kernels \[1\]"),
        (lambda: Convolution([[np.inf], [0.0]], 8), r"NaN or infinity in kernels \[0\]"),
        (lambda: Convolution(torch.eye(9)[:, :4], 8),
         r"kernels \[4, 5, 6, 7, 8\] are all zero: no code can use them"),
        (lambda: Convolution(torch.eye(10)[:, :4], 8), r"\[4, 5, 6, 7, 8\] and others are all"),
        (lambda: Convolution(normal(2, 3, 4), 8)(normal(2, 8)),
         r"codes of shape \(2, 8\), takes rows of 16 .*got \(2, 8\)"),
        (lambda: Convolution(normal(2, 3, 4), 8).adjoint(normal(5, 16)),
         r"signals of shape \(3, 8\), takes rows of 24 .*got \(5, 16\)"),
        (lambda: Convolution(normal(2, 4), 8).solve_normal(normal(1, 16), 0.0), "rho must be pos"),
        (lambda: convolution_weight(Convolution(normal(2, 4), 8), support="all"), "got 'all'"),
        (lambda: convolution_weight(Convolution(normal(2, 4), 8, boundary="same")),
         "needs boundary='circular'.*got boundary='same'"),
    ],
)  # fmt: skip
def test_bad_input_says_what_was_given(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("kernels", [torch.ones(2, 3) + 1j, [["a", "b"]], "kernels"])
def test_kernels_must_be_real_numbers(kernels):
    with pytest.raises(TypeError, match="kernels must"):
        Convolution(kernels, 8)


@pytest.mark.parametrize("name", KERNELS)
def test_the_weight_of_the_signal_is_the_dense_analytic_one(name):
    kernels, shape = KERNELS[name]
    A = Convolution(normal(*kernels), shape)
    W = convolution_weight(A)
    torch.testing.assert_close(matrix(W), analytic_weight(matrix(A)), atol=1e-12, rtol=0)


def least_on_support(A):
    """Return the kernels of the least ``||W^T A||_F`` from the matrix, one at a time."""
    D, n_shifts = matrix(A), A.n_components // len(A.kernels)
    size = A.kernels.shape[2:]
    on = torch.zeros(A.signal_shape, dtype=torch.bool)
    on[(..., *(slice(k) for k in size))] = True
    rows = D[:, on.flatten()]
    w = torch.linalg.pinv(rows) @ torch.linalg.pinv(rows).T @ rows[::n_shifts].T
    return (w / (w * rows[::n_shifts].T).sum(0)).T.reshape(A.kernels.shape)


@pytest.mark.parametrize("name", KERNELS)
def test_the_weight_of_the_kernels_is_the_least_coherent_of_its_size(name):
    kernels, shape = KERNELS[name]
    A = Convolution(normal(*kernels), shape)
    W = convolution_weight(A, support="kernel")
    torch.testing.assert_close(W.kernels, least_on_support(A))
    # The size of the signal does not matter once it holds two kernels, nor does the border.
    large = tuple(2 * n for n in np.atleast_1d(shape))
    for boundary in BOUNDARIES:
        other = convolution_weight(Convolution(A.kernels, large, boundary=boundary),
                                   support="kernel")  # fmt: skip
        assert other.boundary == boundary
        expected = convolution_weight(Convolution(A.kernels, (40,) * len(large)), support="kernel")
        torch.testing.assert_close(other.kernels, expected.kernels)


def by_quadratic_programme(D, i, free):
    """Return the w of least ``||D w||`` with ``w^T a_i = 1``, zero where it is not free."""
    w = cp.Variable(D.shape[1])
    kept = [w[~free] == 0] if not free.all() else []
    cp.Problem(cp.Minimize(cp.sum_squares(D @ w)), [D[i] @ w == 1, *kept]).solve(cp.CLARABEL)
    return torch.from_numpy(w.value)


@pytest.mark.parametrize("kernels, shape", [((2, 3), 7), ((2, 2, 3), 6), ((2, 2, 2), (4, 3))])
@pytest.mark.parametrize("support", ["signal", "kernel"])
def test_the_weight_solves_its_quadratic_programme(kernels, shape, support):
    A = Convolution(normal(*kernels), shape)
    D, W = matrix(A).numpy(), matrix(convolution_weight(A, support=support))
    for i in (0, 1, A.n_components - 1):
        free = (np.abs(D[i]) > 1e-9) | (support == "signal")
        torch.testing.assert_close(W[i], by_quadratic_programme(D, i, free), atol=1e-5, rtol=0)


@pytest.mark.parametrize("boundary", ["full", "same", "valid"])
def test_away_from_the_border_the_weight_solves_its_quadratic_programme(boundary):
    A = Convolution(normal(2, 3), 13, boundary=boundary)
    D, W = matrix(A).numpy(), matrix(convolution_weight(A, support="kernel"))
    middle = A.positions[0] // 2
    for i in (middle, A.positions[0] + middle):
        w = by_quadratic_programme(D, i, np.abs(D[i]) > 1e-9)
        torch.testing.assert_close(W[i], w, atol=1e-5, rtol=0)


def test_weights_are_less_coherent_than_kernels():
    d = normal(3, 6)
    A = Convolution(d / d.norm(dim=1, keepdim=True), 24)
    weights = [matrix(convolution_weight(A, support=s)) for s in ("signal", "kernel")]
    D = matrix(A)
    sizes = [float((W @ D.T).square().sum()) for W in (*weights, D)]
    assert sizes[0] < sizes[1] < sizes[2]
    assert mutual_coherence(weights[0], D) < mutual_coherence(D, D)


@pytest.mark.parametrize("support", ["signal", "kernel"])
def test_blind_frequencies_leave_the_weight_finite_and_its_diagonal_one(support):
    difference = torch.tensor([[1.0, -1.0], [3.0, -3.0]], dtype=torch.float64)
    A = Convolution(difference, 6)
    W = convolution_weight(A, support=support)
    torch.testing.assert_close((matrix(W) * matrix(A)).sum(1), torch.ones(12).double())
    single = convolution_weight(A.to(torch.empty(0)), support=support)
    assert single.kernels.dtype == torch.float32
    torch.testing.assert_close(single.kernels.double(), W.kernels, atol=1e-5, rtol=1e-5)
