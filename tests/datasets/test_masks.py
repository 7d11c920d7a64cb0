import numpy as np
import pytest

from sklearn_unroll.datasets import (
    cartesian_mask,
    load_brain_slice,
    make_phantoms,
    radial_mask,
)

SHAPES = [(256, 256), (64, 48), (63, 64), (5, 7), (1, 9)]
FRACTIONS = [1e-6, 0.2, 0.3, 0.4, 0.55, 1.0]


def mirrored(mask):
    return np.roll(mask[::-1, ::-1], (1, 1), (0, 1))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fraction", FRACTIONS)
def test_fraction_zero_frequency_and_symmetry(shape, fraction):
    radial = radial_mask(shape, fraction)
    cartesian = cartesian_mask(shape, fraction, random_state=0)
    assert abs(radial.sum() - fraction * radial.size) <= 2
    assert abs(cartesian.mean() - fraction) <= 1 / shape[0] + 1e-12
    for mask in (radial, cartesian):
        assert mask.shape == shape and mask.dtype == bool
        assert mask[0, 0]
        np.testing.assert_array_equal(mask, mirrored(mask))


def test_cartesian_rows_are_whole_and_the_lowest_are_all_there():
    mask = cartesian_mask((100, 20), 0.3, center=0.1, random_state=0)
    assert (mask.all(1) == mask.any(1)).all()
    assert mask[[0, 1, 2, 3, 4, 5, -5, -4, -3, -2, -1]].all()
    # Low frequencies are likelier than high ones.
    rows = sum(cartesian_mask((100, 1), 0.3, random_state=s)[:, 0].astype(int) for s in range(200))
    assert rows[5:20].mean() > 2 * rows[35:50].mean() > 0


def test_the_seed_decides():
    first, again, other = (cartesian_mask((64, 64), 0.3, random_state=s) for s in (0, 0, 1))
    assert (first == again).all() and (first != other).any()


def test_radial_masks_are_lines_through_the_centre():
    mask = np.fft.fftshift(radial_mask((128, 128), 0.2))
    rows, columns = np.nonzero(mask)
    radius = np.hypot(rows - 64, columns - 64)
    density = [mask[(a <= (d := distances())) & (d < a + 8)].mean() for a in (0, 16, 32, 48)]
    assert density == sorted(density, reverse=True)
    assert radius.max() > 64  # the lines reach into the corners


def distances():
    grid = np.arange(128) - 64
    return np.hypot(grid[:, None], grid)


@pytest.mark.parametrize("make", [radial_mask, cartesian_mask])
@pytest.mark.parametrize(
    "shape, fraction, message",
    [
        ((64,), 0.3, r"shape must be two positive integers.*\(64,\)"),
        ((64, 0), 0.3, "positive integers"),
        ((64, 6.5), 0.3, "positive integers"),
        ((64, 64), 0.0, "fraction"),
        ((64, 64), 1.1, "fraction"),
        (64, 0.3, "shape"),
    ],
)
def test_bad_input(make, shape, fraction, message):
    with pytest.raises(ValueError, match=message):
        make(shape, fraction)


def test_phantoms_are_pictures_and_the_seed_decides():
    x = make_phantoms(6, (40, 30), random_state=0)
    assert x.shape == (6, 1200) and x.min() >= 0 and x.max() <= 1
    np.testing.assert_array_equal(x, make_phantoms(6, (40, 30), random_state=0))
    assert (x != make_phantoms(6, (40, 30), random_state=1)).any()
    pictures = x.reshape(6, 40, 30)
    assert abs(pictures[:, 0, 0]).max() < 0.01  # air around the head
    assert pictures[:, 10:30, 8:22].std(axis=(1, 2)).min() > 0.02  # and something within
    with pytest.raises(ValueError, match="n_samples"):
        make_phantoms(0)
    with pytest.raises(ValueError, match="two positive integers"):
        make_phantoms(1, (8, 0))


def test_the_brain_slice_is_there():
    data = load_brain_slice()
    assert data.image.shape == (256, 256) and data.image.max() == 1
    assert "s1045" in data.DESCR
