import numpy as np
import pytest
import scipy.fft
import scipy.linalg
import torch
from scipy.sparse import random_array
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from sklearn_unroll.functional import (
    Composed,
    Convolution,
    Dense,
    Mask,
    MaskedFourier,
    MatrixFree,
    Observation,
    Operator,
    PartialDCT,
    PartialHadamard,
    dct,
    dct_filters,
    filter_adjoint,
    filter_pictures,
    filter_spectrum,
    hadamard,
    idct,
    pack_complex,
    unpack_complex,
)
from sklearn_unroll.testing import check_operator


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def mask(height, width, seed=0):
    chosen = np.random.default_rng(seed).random((height, width)) < 0.4
    chosen[0, 0] = True
    return chosen


MATRIX = normal(6, 15, seed=1).numpy()
OPERATORS = {
    "Fourier": MaskedFourier(mask(8, 8)),
    "Fourier, odd sides": MaskedFourier(mask(7, 5)),
    "Fourier, complex": MaskedFourier(mask(6, 7), complex_images=True),
    "Fourier, all": MaskedFourier(np.ones((4, 6))),
    "DCT": PartialDCT(9, rows=[0, 3, 4]),
    "DCT of pictures": PartialDCT((6, 5), rows=mask(6, 5)),
    "DCT, all": PartialDCT((4, 3, 2)),
    "Hadamard": PartialHadamard(32, rows=range(0, 32, 3)),
    "matrix-free": MatrixFree(aslinearoperator(MATRIX)),
    "sparse": MatrixFree(random_array((50, 60), density=0.1, rng=0)),
    "dense, wide": Dense(normal(20, 7)),
    "dense, tall": Dense(normal(7, 20)),
    "dense, rank-deficient": Dense(normal(4, 9).repeat(3, 1)),
    "dense, per sample": Dense(normal(3, 12, 8)),
    "convolution, circular": Convolution(normal(3, 2, 3, 2), (5, 6)),
    "convolution, circular, one kernel": Convolution(normal(1, 2, 3), 12),
    "convolution, full": Convolution(normal(3, 4), 12, boundary="full"),
    "convolution, same": Convolution(normal(3, 4), 40, boundary="same"),
    "convolution, valid": Convolution(normal(2, 3, 2), (5, 6), boundary="valid"),
    "composed": Composed(Dense(normal(30, 64)), MaskedFourier(mask(8, 8))),
    "composed, orthogonal": Composed(PartialDCT((8, 8)), MaskedFourier(mask(8, 8))),
    "composed, matrix-free": Composed(MatrixFree(MATRIX), Dense(normal(6, 4))),
    "composed, of each sample": Composed(Dense(normal(3, 12, 8)), PartialDCT(8, rows=[0, 2, 5])),
    "some entries": Composed(Dense(normal(12, 8)), Mask(normal(3, 8, seed=1) > 0)),
    "some entries, tall": Composed(Dense(normal(5, 9)), Mask(normal(3, 9, seed=1) > 0)),
    "some entries, of each": Composed(Dense(normal(3, 5, 9)), Mask(normal(9, seed=1) > 0)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_passes_the_checks(name):
    check_operator(OPERATORS[name])


def test_the_defaults_of_an_operator_are_enough():
    class Doubling(Operator):
        n_components = n_features = 40

        def __call__(self, x):
            return 2 * x

        def adjoint(self, r):
            return 2 * r

    check_operator(Doubling())
    assert float(Doubling().lipschitz()) == pytest.approx(4)
    with pytest.raises(NotImplementedError, match="Doubling has no pseudo-inverse"):
        Doubling().consistent(normal(1, 40), normal(1, 40))


def test_masked_fourier_is_numpys_transform_under_the_mask():
    chosen, x = mask(6, 8), normal(3, 48)
    expected = np.fft.fft2(x.numpy().reshape(3, 6, 8), norm="ortho")[:, chosen]
    found = unpack_complex(MaskedFourier(chosen)(x)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-13)
    both = MaskedFourier(chosen, complex_images=True)
    y = normal(3, 48, seed=1)
    z = x.numpy() + 1j * y.numpy()
    expected = np.fft.fft2(z.reshape(3, 6, 8), norm="ortho")[:, chosen]
    found = unpack_complex(both(torch.cat([x, y], 1))).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-13)


@pytest.mark.parametrize("size", [1, 2, 5, 8, 31, 129, 256])
def test_transforms_are_scipys(size):
    x = normal(3, size)
    np.testing.assert_allclose(dct(x), scipy.fft.dct(x.numpy(), norm="ortho"), atol=1e-13)
    np.testing.assert_allclose(idct(x), scipy.fft.idct(x.numpy(), norm="ortho"), atol=1e-13)
    if size & (size - 1) == 0:
        expected = x.numpy() @ scipy.linalg.hadamard(size) / size**0.5
        np.testing.assert_allclose(hadamard(x), expected, atol=1e-13)


def test_dct_of_pictures_is_scipys():
    x = normal(2, 30)
    expected = scipy.fft.dctn(x.numpy().reshape(2, 6, 5), axes=(1, 2), norm="ortho")
    np.testing.assert_allclose(PartialDCT((6, 5))(x), expected.reshape(2, -1), atol=1e-13)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("rho", [1e-6, 1e-3, 3.0])
def test_normal_equations_are_solved(name, rho):
    A, r = OPERATORS[name], normal(3, OPERATORS[name].n_components)
    x = A.solve_normal(r, rho)
    residual = (A.adjoint(A(x)) + rho * x - r).abs().max()
    if rho >= 1e-3:
        assert float(residual) < 1e-10 * float(r.abs().max())
    # With a tiny rho x is huge, and rounding it moves A x: no solver does better than this.
    size = A.lipschitz().max() * x.abs().max() + r.abs().max()
    assert float(residual) < 1e-13 * float(size)


def test_normal_equations_with_filters_are_solved():
    A, filters = OPERATORS["Fourier"], dct_filters(3)
    r, weights = normal(3, 64), torch.rand(8, dtype=torch.float64)
    x = A.solve_normal(r, filter_spectrum(filters, (8, 8), weights))
    responses = filter_pictures(x.reshape(3, 8, 8), filters) * weights[:, None, None]
    left = A.adjoint(A(x)) + filter_adjoint(responses, filters).reshape(3, 64)
    torch.testing.assert_close(left, r, atol=1e-10, rtol=0)
    unseen = mask(8, 8)
    unseen[0, 0] = False
    with pytest.raises(ValueError, match=r"singular.*mask\[0, 0\]"):
        MaskedFourier(unseen).solve_normal(r, 0 * filter_spectrum(filters, (8, 8), weights))


@pytest.mark.parametrize("name", ["Fourier, all", "DCT, all"])
def test_what_is_all_seen_comes_back_as_rho_goes_to_zero(name):
    A, x = OPERATORS[name], normal(3, 24)
    torch.testing.assert_close(A.solve_normal(A.adjoint(A(x)), 1e-13), x, atol=1e-12, rtol=0)
    torch.testing.assert_close(A.consistent(A(x), 0 * x), x, atol=1e-12, rtol=0)


def test_chunks_bound_the_memory_that_pictures_take():
    A = PartialDCT((256, 256), rows=[0])
    obs = Observation(torch.zeros(40, 1), A)
    assert [len(chunk.b) for _, chunk in obs.chunks()] == [16, 16, 8]


def test_packing_is_an_isometry_and_inverted_by_unpacking():
    c = torch.complex(normal(3, 4), normal(3, 4, seed=1))
    assert torch.equal(unpack_complex(pack_complex(c)), c)
    inner = (pack_complex(c[:1]) * pack_complex(c[1:2])).sum()
    torch.testing.assert_close(inner, (c[0].conj() * c[1]).real.sum())


def test_float32_stays_float32():
    for name in ("Fourier", "Fourier, complex", "DCT", "Hadamard", "sparse"):
        A = OPERATORS[name]
        x = normal(2, A.n_components).float()
        results = A(x), A.adjoint(A(x)), A.solve_normal(x, 0.1)
        assert all(result.dtype == torch.float32 for result in results), name


def test_conjugate_gradients_say_when_they_fail():
    Hilbert = 1 / (np.arange(60)[:, None] + np.arange(60) + 1.0)
    with pytest.raises(FloatingPointError, match=r"did not converge on 1 of 1.*larger rho"):
        MatrixFree(1e6 * Hilbert).solve_normal(normal(1, 60), 1e-9)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: MaskedFourier(np.ones(5)), r"\(height, width\), got \(5,\)"),
        (lambda: MaskedFourier(np.zeros((4, 4))), "all zero"),
        (lambda: MaskedFourier(np.full((4, 4), 0.5)), "zeros and ones"),
        (lambda: MaskedFourier(np.ones((4, 4)) + 1j), "zeros and ones"),
        (lambda: unpack_complex(torch.ones(2, 3)), "even length"),
        (lambda: unpack_complex(torch.ones(2, 4) + 1j), r"real rows.*complex64"),
        (lambda: PartialDCT(4, rows=[0, 4]), "from 0 to 3"),
        (lambda: PartialDCT(4, rows=[1, 1]), "different integers"),
        (lambda: PartialDCT(4, rows=[]), "at least one"),
        (lambda: PartialDCT(4, rows=[0.5]), "integers"),
        (lambda: PartialDCT((2, 2), rows=np.zeros(4, bool)), "not all False"),
        (lambda: PartialHadamard(12), "power of two as length, got 12"),
        (lambda: Composed(PartialDCT(4), PartialDCT(5)), "gives 4 numbers.*takes 5"),
        (lambda: PartialDCT(4).solve_normal(normal(1, 4), 0.0), "rho must be positive, got 0"),
        (lambda: Dense(normal(3, 4)).solve_normal(normal(1, 3), -1.0), "positive, got -1"),
        (lambda: MatrixFree(MATRIX).solve_normal(normal(1, 15), -1.0), "positive, got -1"),
        (lambda: dct_filters(4), "odd and at least 3, got 4"),
        (lambda: filter_pictures(normal(1, 4, 4), dct_filters(5)), "smaller than the filters"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_complex_matrix_is_refused():
    with pytest.raises(TypeError, match="complex.*pack_complex"):
        MatrixFree(LinearOperator((2, 2), matvec=lambda v: 1j * v, dtype=complex))


def test_the_zero_operator_has_norm_zero():
    assert float(MatrixFree(np.zeros((50, 40))).lipschitz()) == 0
    assert float(MatrixFree(np.zeros((3, 2))).lipschitz()) == 0
