"""Rows that are made when they are asked for are what a tensor would be."""

import numpy as np
import pytest
import torch

from sklearn_unroll.estimators._arrays import to_rows
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.functional.rows import Rows, blocks, stand_in, whole

A = torch.arange(12.0).reshape(4, 3)
ROWS = Rows(lambda rows: 2 * A[rows], A.shape, A)
PICKS = [slice(1, 3), slice(None), torch.tensor([2, 0]), torch.tensor([True, False, False, True])]


@pytest.mark.parametrize("rows", PICKS)
def test_indexed_by_rows(rows):
    assert torch.equal(ROWS[rows], 2 * A[rows])
    obs = Observation(ROWS, Dense(torch.ones(5, 3))).take(rows)
    assert torch.equal(obs.b, 2 * A[rows])


def test_functions_and_methods_of_torch_get_the_whole():
    assert torch.equal(whole(ROWS), 2 * A) and whole(A) is A
    assert torch.equal(ROWS.square().sum(1), (4 * A * A).sum(1))
    assert torch.equal(
        torch.linalg.vector_norm(ROWS, dim=1), torch.linalg.vector_norm(2 * A, dim=1)
    )
    assert torch.equal(ROWS @ A.T, 2 * A @ A.T) and torch.equal(A.T @ ROWS, 2 * A.T @ A)
    with pytest.raises(AttributeError, match="bogus"):
        ROWS.bogus  # noqa: B018


def test_kind_and_blocks():
    assert (
        ROWS.new_empty(2, 5).shape == (2, 5)
        and ROWS.new_empty(1, dtype=torch.long).dtype == torch.long
    )
    like = stand_in(ROWS)
    assert like.shape == A.shape and not like.any() and like.untyped_storage().nbytes() == 4
    wide = torch.empty(1000, 1).expand(1000, 2**12)
    parts = list(blocks(wide, wide[:, :1]))
    assert [part.start for part in parts] == [0, 250, 500, 750]
    # No block is small: a few rows more than one are in it.
    assert len(list(blocks(wide[:300]))) == 1 and not list(blocks(wide[:0]))


@pytest.mark.parametrize(
    "make",
    [
        lambda a: a[::-1],
        np.asfortranarray,
        lambda a: a.astype(">f8"),
        lambda a: a.astype("f4"),
        lambda a: np.broadcast_to(a[:1], a.shape),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, None])
def test_rows_of_arrays_that_torch_cannot_wrap(make, dtype):
    array = make(np.arange(12.0).reshape(4, 3))
    found = to_rows(array, dtype=dtype, device=torch.device("cpu"))
    kind = dtype or (torch.float32 if array.dtype == np.float32 else torch.float64)
    assert found.dtype == kind and len(found) == 4
    for rows in PICKS:
        some = rows.numpy() if isinstance(rows, torch.Tensor) else rows
        np.testing.assert_array_equal(found[rows].numpy(), array[some])
    usual = np.arange(12.0).reshape(4, 3)
    shared = to_rows(usual, dtype=dtype, device=torch.device("cpu"))
    assert shared.data_ptr() == usual.ctypes.data
