"""What operators and penalties are given: masks and weights of any kind, rows of the right one."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from sklearn_unroll.functional import (
    L1,
    Box,
    Dense,
    ElasticNet,
    GroupL1,
    Mask,
    MaskedFourier,
    Observation,
    PartialDCT,
    PartialHadamard,
    duality_gap,
    pack_complex,
    unpack_complex,
)
from sklearn_unroll.nn import GroupShrinkage
from sklearn_unroll.solvers import orthogonal_matching_pursuit


def test_complex_rows_are_refused_with_the_switch():
    A, x = MaskedFourier(np.ones((4, 4))), torch.ones(2, 16, dtype=torch.complex64)
    with pytest.raises(TypeError, match=r"real rows, got torch.complex64.*complex_images=True"):
        A(x)
    for operator in (PartialDCT(16), PartialHadamard(16)):
        with pytest.raises(TypeError, match=r"real rows.*pack_complex"):
            operator(x)
        with pytest.raises(TypeError, match="adjoint of Partial"):
            operator.adjoint(x)
    with pytest.raises(TypeError, match="adjoint of MaskedFourier"):
        A.adjoint(x)


@pytest.mark.parametrize(
    "A", [MaskedFourier(np.ones((4, 4))), PartialDCT((4, 4)), PartialHadamard(16)]
)
def test_rows_of_another_length_are_not_taken_for_more_rows(A):
    with pytest.raises(ValueError, match=r"takes rows of 16 entries.*got \(2, 32\)"):
        A(torch.ones(2, 32))
    with pytest.raises(ValueError, match=r"takes rows of \d+ entries.*got \(64,\)"):
        A.adjoint(torch.ones(64))


def test_complex_arrays_are_packed_as_what_they_are():
    c = np.array([[1 + 2j, 3 + 4j]])
    r = pack_complex(c)
    np.testing.assert_array_equal(r, [[1, 3, 2, 4]])
    np.testing.assert_array_equal(unpack_complex(r), c)
    assert torch.equal(pack_complex(torch.from_numpy(c)), torch.from_numpy(r))
    for wrong in (r, torch.from_numpy(r), [1j], None, "c"):
        with pytest.raises(TypeError, match="Expected complex rows"):
            pack_complex(wrong)
    for wrong in (c, r[:, :3], [1.0], None):
        with pytest.raises(ValueError, match=r"Expected real rows \[Re \| Im\]"):
            unpack_complex(wrong)


@pytest.mark.parametrize("make", [MaskedFourier, Mask])
def test_masks_of_any_kind_and_none_of_words(make):
    # Read-only ones, and other byte orders; a warning of torch would be an error.
    mask = np.broadcast_to(np.array([1, 0, 1, 1], dtype=">i4"), (3, 4))
    assert int(make(mask).visible.sum() if make is Mask else make(mask).mask.sum()) == 9
    for wrong in ("word", {"a": 1}, np.full((2, 2), "a"), None, object()):
        with pytest.raises(TypeError, match="(mask|visible) must hold numbers"):
            make(wrong)


def test_weights_are_numbers():
    x = torch.ones(2, 3, dtype=torch.float64)
    weight = np.broadcast_to(np.array(0.25, dtype=">f8"), (3,))
    np.testing.assert_allclose(L1(weight).prox(x, 1.0), 0.75 * x)
    for wrong in ("word", None, Fraction(1, 3), {"a": 1}, L1):
        with pytest.raises(TypeError, match="weight must hold numbers"):
            L1(wrong)
        with pytest.raises(TypeError, match="lower must hold numbers"):
            Box(wrong, 1.0)
    for wrong in ("word", None, [0.5], -1, float("nan")):
        with pytest.raises(ValueError, match="l1_ratio must lie"):
            ElasticNet(l1_ratio=wrong)


def test_dictionaries_are_tensors():
    for wrong in (np.eye(3), [[1.0]], torch.ones(3), torch.ones(1, 1, 1, 1), None):
        with pytest.raises(TypeError, match=r"D must be a tensor of 2 or 3 dimensions"):
            Dense(wrong)


@pytest.mark.parametrize("size", [1e-60, 1.0, 1e60])
def test_numbers_keep_their_digits_and_their_range(size):
    obs = Observation(
        torch.full((1, 2), 2 * size, dtype=torch.float64), Dense(torch.eye(2).double())
    )
    found = orthogonal_matching_pursuit(obs, tol=5 * size * size)
    assert int(found.n_nonzero) == 1
    # Codes are not those of alpha = 0, whose certificate is another.
    x = torch.zeros(1, 2, dtype=torch.float64)
    assert float(duality_gap(x, obs, size / 2)) == pytest.approx(1 - 0.4375)
    box = Box(0.1 * size, torch.full((2,), size, dtype=torch.float64))
    assert float(box.prox(x, 1.0)[0, 0]) == 0.1 * size
    shrunk = GroupShrinkage(GroupL1(2, 0.1 * size))
    assert float(shrunk.penalty.weight) == 0.1 * size
