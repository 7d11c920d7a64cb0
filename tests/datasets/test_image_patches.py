"""The patches are the picture: cut, centred, and put together again."""

import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.feature_extraction.image import reconstruct_from_patches_2d

from sklearn_unroll.datasets import load_image_patches

pytest.importorskip("PIL", reason="reading a photograph needs the extra 'images'")

CROP = np.random.RandomState(0).uniform(size=(9, 12))


def test_all_patches_of_the_photograph_reconstruct_it():
    data = load_image_patches(patch_size=(4, 6))
    assert data.X.shape == ((427 - 3) * (640 - 5), 24)
    assert data.means.shape == (len(data.X),)
    assert_allclose(data.X.mean(axis=1), 0, atol=1e-15)
    patches = (data.X + data.means[:, None]).reshape(-1, 4, 6)
    assert_allclose(reconstruct_from_patches_2d(patches, data.image.shape), data.image, atol=1e-13)


def test_the_photograph_is_real_and_in_unit_scale():
    data = load_image_patches(n_patches=10, random_state=0)
    assert data.image.shape == (427, 640)
    assert 0 <= data.image.min() < 0.05
    assert 0.95 < data.image.max() <= 1
    assert "danielbuechele" in data.DESCR
    assert "10 patches of 8 by 8" in data.DESCR
    flower = load_image_patches("flower.jpg", n_patches=10, random_state=0)
    assert "vultilion" in flower.DESCR
    assert np.abs(flower.image - data.image).max() > 0.5


def test_gray_is_the_luma_of_pillow():
    from PIL import Image

    colour = load_image_patches(gray=False, n_patches=1, random_state=0).image
    gray = load_image_patches(n_patches=1, random_state=0).image
    pillow = np.asarray(Image.fromarray(np.uint8(np.round(255 * colour))).convert("L"))
    # Pillow rounds to bytes.
    assert_allclose(255 * gray, pillow, atol=0.51)


def test_colour_patches():
    image = np.random.RandomState(0).uniform(size=(5, 6, 3))
    data = load_image_patches(image, patch_size=(2, 3), gray=False)
    assert data.X.shape == (4 * 4, 18)
    # The second patch starts one pixel to the right of the first.
    assert_allclose(data.X[1] + data.means[1], image[:2, 1:4].ravel(), atol=1e-15)
    assert_allclose(data.means[1], image[:2, 1:4].mean())


def test_not_centred():
    centred = load_image_patches(CROP, patch_size=(2, 3))
    raw = load_image_patches(CROP, patch_size=(2, 3), center=False)
    assert_array_equal(raw.means, 0)
    assert_array_equal(raw.X[0], CROP[:2, :3].ravel())
    assert_allclose(raw.X, centred.X + centred.means[:, None], atol=1e-15)


def test_random_patches():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    data = load_image_patches(CROP, patch_size=(2, 3), n_patches=70, random_state=0)
    assert_array_equal(before, np.random.get_state()[1])
    again = load_image_patches(CROP, patch_size=(2, 3), n_patches=70, random_state=0)
    other = load_image_patches(CROP, patch_size=(2, 3), n_patches=70, random_state=1)
    assert_array_equal(data.X, again.X)
    assert (data.X != other.X).any()
    # Each is one of the patches of the picture.
    everything = load_image_patches(CROP, patch_size=(2, 3))
    distance = np.abs(data.X[:, None] - everything.X[None]).max(axis=2)
    assert_array_equal(distance.min(axis=1), 0)


@pytest.mark.parametrize("patch_size", [(1, 1), (9, 12)])
@pytest.mark.parametrize("center", [True, False])
def test_patches_do_not_share_memory_with_the_picture(patch_size, center):
    image = CROP.copy()
    data = load_image_patches(image, patch_size=patch_size, center=center)
    data.X[:] = 7
    assert_array_equal(image, CROP)
    assert_array_equal(data.image, CROP)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, "float32"])
def test_dtype_is_kept(dtype):
    data = load_image_patches(CROP, patch_size=(2, 3), dtype=dtype)
    assert data.X.dtype == data.means.dtype == data.image.dtype == np.dtype(dtype)
    double = load_image_patches(CROP, patch_size=(2, 3))
    assert_allclose(data.X, double.X, atol=1e-6)


def test_bytes_are_scaled_and_floats_are_not():
    pixels = np.random.RandomState(0).randint(256, size=(5, 6)).astype(np.uint8)
    data = load_image_patches(pixels, patch_size=(2, 2))
    same = load_image_patches(pixels / 255.0, patch_size=(2, 2))
    assert_array_equal(data.X, same.X)
    assert_array_equal(data.image, pixels / 255.0)


def test_missing_pillow_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install sklearn-unroll\[images\]"):
        load_image_patches()
    assert load_image_patches(CROP, patch_size=(2, 2)).X.shape == (88, 4)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"image": "lena.jpg"}, "'image'.*'china.jpg'"),
        ({"image": np.ones((3, 4, 2))}, r"\(height, width, 3\); got \(3, 4, 2\)"),
        ({"image": np.full((9, 9), np.nan)}, "image contains NaN"),
        ({"patch_size": 8}, "'patch_size'"),
        ({"patch_size": (8,)}, "two positive integers"),
        ({"patch_size": (0, 8)}, "two positive integers"),
        ({"patch_size": (2.0, 2)}, "two positive integers"),
        ({"patch_size": (10, 2)}, "larger than the image.*9 by 12"),
        ({"n_patches": 0}, "'n_patches'.*in the range"),
        ({"n_patches": 89, "patch_size": (2, 2)}, "has only 88 patches"),
        ({"dtype": int}, "'dtype'"),
        ({"gray": "yes"}, "'gray'"),
    ],
)
def test_bad_input(params, message):
    with pytest.raises(ValueError, match=message):
        load_image_patches(**{"image": CROP, **params})
