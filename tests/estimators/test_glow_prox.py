"""GlowProxInpainter: an imputer of pictures."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_unroll import GlowProxInpainter, Trainer
from sklearn_unroll.datasets import load_image_patches
from sklearn_unroll.training import Descent, LayerNoise

# Trainings here are short, and some are worth nothing.
pytestmark = pytest.mark.filterwarnings("ignore:This fit of")

QUICK = Trainer(max_epochs=2, batch_size=20, learning_rate=3e-3)
SMALL = {"n_layers": 2, "n_hidden": 4, "trainer": QUICK, "random_state": 0}


@pytest.fixture(scope="module")
def tiles():
    """60 tiles of 12 by 8 pixels of a photograph."""
    return load_image_patches(
        patch_size=(12, 8), n_patches=60, center=False, random_state=0, dtype=np.float32
    ).X


@pytest.fixture(scope="module")
def holes(tiles):
    """Half of the pixels are missing, of the first tile none, of the second all but one."""
    missing = np.random.default_rng(0).random(tiles.shape) < 0.5
    missing[0], missing[1] = False, True
    missing[1, 7] = False
    return np.where(missing, np.float32(np.nan), tiles)


@pytest.fixture
def model():
    return GlowProxInpainter((12, 8), **SMALL)


@pytest.fixture(scope="module")
def fitted(tiles):
    return GlowProxInpainter((12, 8), **SMALL).fit(tiles)


def error(tiles, filled, holes):
    """Return the root mean square over the pixels that were missing."""
    return float(np.sqrt(np.mean((filled - tiles)[np.isnan(holes)] ** 2)))


def test_visible_pixels_stay_and_the_others_are_filled(tiles, holes, fitted, assert_below):
    filled = fitted.transform(holes)
    seen = ~np.isnan(holes)
    assert filled.dtype == holes.dtype
    assert np.array_equal(filled[seen], tiles[seen])
    assert np.isfinite(filled).all() and filled.min() >= 0 and filled.max() <= 1
    doubles = holes.astype(np.float64).clip(1e-3) - 1e-12  # beyond the precision of the fit
    assert np.array_equal(fitted.transform(doubles)[seen], doubles[seen])
    means = np.where(seen, holes, np.nanmean(holes, axis=1, keepdims=True))
    assert_below(error(tiles, filled, holes) / error(tiles, means, holes), 0.9)
    assert np.array_equal(filled, fitted.transform(holes))
    np.testing.assert_allclose(filled[5:7], fitted.transform(holes[5:7]), atol=1e-5)


def test_complete_pictures_are_returned_untouched(tiles, fitted):
    doubles = tiles.astype(np.float64) + 1e-12  # beyond the precision of the fit
    doubles = doubles.clip(0, 1)
    assert np.array_equal(fitted.transform(doubles), doubles)
    assert fitted.transform(doubles) is not doubles


def test_the_last_stage_is_the_transform(holes, fitted):
    stages = list(fitted.staged_transform(holes))
    assert len(stages) == 2
    assert np.array_equal(stages[-1], fitted.transform(holes))
    assert not np.array_equal(stages[0], stages[1])
    assert len(list(fitted.staged_transform(stages[0]))) == 2  # with nothing to do as well


def test_training_is_worth_it(tiles, holes, assert_below):
    # From grey pictures: so little training makes nothing better than a smooth start.
    trainer = Trainer(max_epochs=6, batch_size=10, learning_rate=3e-2)
    model = GlowProxInpainter((12, 8), **{**SMALL, "x0": "flat", "trainer": trainer}).fit(tiles)
    untrained = clone(model).set_params(trainer__max_epochs=0).fit(tiles)
    before, after = (error(tiles, m.transform(holes), holes) for m in (untrained, model))
    assert_below(after / before, 0.75)
    losses = model.history_.column("monitor")
    assert_below(min(losses) / losses[0], 0.6)


def test_same_seed_same_bits(tiles, holes, model, fitted):
    torch.manual_seed(3)
    np.random.seed(3)
    again = model.fit(tiles)
    assert np.array_equal(again.transform(holes), fitted.transform(holes))
    other = clone(model).set_params(random_state=1).fit(tiles)
    assert not np.array_equal(other.transform(holes), fitted.transform(holes))


def test_fit_transform_learns_from_the_complete_rows(tiles, holes, model):
    mixed = np.where(np.arange(60)[:, None] < 30, tiles, holes)
    filled = model.fit_transform(mixed)
    alone = clone(model)
    mask = np.random.default_rng(1).random(tiles.shape) < 0.5
    alone.fit(tiles[:30], mask=mask[:30])
    seen = ~np.isnan(mixed)
    assert np.isfinite(filled).all() and np.array_equal(filled[seen], mixed[seen])
    # A mask has a row for every picture, of those left out too.
    both = clone(model).fit(mixed, mask=mask)
    assert np.array_equal(alone.transform(holes), both.transform(holes))
    with pytest.raises(ValueError, match="Every row of X has missing values: fit learns from"):
        clone(model).fit(holes[1:])


def test_masks(tiles):
    """What is hidden in training is what the mask says."""
    seen = []

    class Spy(Trainer):
        def run(self, network, obs, *args, **kwargs):
            seen.append(~obs.A.visible.numpy().reshape(-1, 12, 8))
            return super().run(network, obs, *args, **kwargs)

    def corner(image_shape, rng):
        mask = np.zeros(image_shape[:2])
        mask[: rng.randint(1, 4), :2] = 1
        return mask

    model = GlowProxInpainter((12, 8), **{**SMALL, "trainer": Spy(max_epochs=1)})
    model.set_params(fraction=0.25).fit(tiles)
    model.set_params(mask="square").fit(tiles)
    model.set_params(mask=corner).fit(tiles)
    model.fit(tiles, mask=seen[0])
    model.fit(tiles, mask=seen[1].reshape(60, -1).astype(int))
    assert (seen[0].sum((1, 2)) == 24).all() and not (seen[0] == seen[0][0]).all()
    square = np.zeros((12, 8), dtype=bool)
    square[3:9, 2:6] = True
    assert (seen[1] == square).all()
    assert set(seen[2].sum((1, 2))) == {2, 4, 6} and not seen[2][:, :, 2:].any()
    assert np.array_equal(seen[3], seen[0]) and np.array_equal(seen[4], seen[1])


def test_colour(tiles):
    colour = load_image_patches(
        patch_size=(8, 8), n_patches=30, gray=False, center=False, random_state=0
    ).X
    model = GlowProxInpainter((8, 8, 3), **SMALL).fit(colour)
    holes = colour.reshape(30, 8, 8, 3).copy()
    holes[:, 2:5, 3:6] = np.nan
    holes[:, 7, 7, 1] = np.nan  # one channel alone
    filled = model.transform(holes.reshape(30, -1))
    assert filled.dtype == np.float64
    seen = ~np.isnan(holes.reshape(30, -1))
    assert np.isfinite(filled).all() and np.array_equal(filled[seen], colour[seen])
    assert model.image_shape_ == (8, 8, 3)


@pytest.mark.parametrize(
    "options",
    [
        {"perturbation": LayerNoise("unit_norm", 0.1), "constraint": Descent("distance")},
        {"constraint": Descent("gradient", epsilon=0.2)},
        {"constraint": [Descent("gradient"), Descent("latent", update="batch")]},
    ],
)
def test_training_with_constraint_and_noise(tiles, holes, model, options):
    model.set_params(x0="flat", trainer=Trainer(max_epochs=3, batch_size=20, **options))
    filled = model.fit(tiles).transform(holes)
    assert np.isfinite(filled).all()
    given = options["constraint"]
    n_constraints = len(given) if isinstance(given, list) else 1
    assert len(model.history_[-1].multipliers) == 2 * n_constraints
    assert np.array_equal(filled, model.transform(holes))  # no noise in transform


def test_a_fit_travels_and_goes_into_a_pipeline(tiles, holes, fitted):
    stored = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(stored.transform(holes), fitted.transform(holes))
    pipeline = make_pipeline(FunctionTransformer(np.sqrt), clone(fitted)).fit(tiles, np.arange(60))
    assert pipeline.transform(holes).shape == (60, 96)
    names = [f"pixel{i}" for i in range(96)]
    assert list(fitted.get_feature_names_out(names)) == names
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(holes, columns=names, index=np.arange(60) + 5)
    model = (
        clone(fitted).set_output(transform="pandas").fit(pandas.DataFrame(tiles, columns=names))
    )
    filled = model.transform(frame)
    assert list(filled.columns) == names and list(filled.index) == list(frame.index)


def test_square_grey_pictures_need_no_shape(tiles):
    square = tiles[:, :64]
    model = GlowProxInpainter(**SMALL).fit(square)
    assert model.image_shape_ == (8, 8)
    assert clone(model).fit(tiles).image_shape_ == (1, 96)  # one line of pixels


def test_pictures_of_any_size_and_in_any_units(tiles, holes):
    """Sides that the flows cannot halve are padded, and units are those of fit."""
    odd, gaps = tiles[:, :90].astype(float), holes[:, :90].astype(float)
    gaps[1, 3] = tiles[1, 3]
    model = GlowProxInpainter((15, 6), **SMALL).fit(odd)
    filled = model.transform(gaps)
    assert np.isfinite(filled).all()
    for scale, shift in ((1e-6, 0.0), (255.0, 0.0), (1e4, -3.0)):
        moved = clone(model).fit(scale * odd + shift)
        np.testing.assert_allclose(
            moved.transform(scale * gaps + shift),
            scale * filled + shift,
            atol=1e-4 * scale,  # where two pixels are seen, their continuation is ill-posed
        )


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda X: X[:, :90], r"image_shape=\(12, 8\) does not fit X with 90 features"),
        (lambda X: np.where(X.max() == X, np.inf, X), "contains infinity"),
        (lambda X: X + 0j, "Complex data not supported"),
    ],
)
def test_bad_pictures(tiles, model, change, message):
    with pytest.raises(ValueError, match=message):
        model.fit(change(tiles))
    assert not [name for name in vars(model) if name.endswith("_") and not name.startswith("_")]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"image_shape": (8, 12, 2)}, "does not fit X with 96 features"),
        ({"image_shape": (96,)}, r"image_shape must be \(height, width\)"),
        ({"fraction": 1.0}, "fraction"),
        ({"mask": "circle"}, "mask"),
        ({"mask": lambda shape, rng: np.ones((2, 2))}, r"boolean array of shape \(12, 8\)"),
        ({"mask": lambda shape, rng: np.ones(shape)}, "60 picture.s. have no visible pixel"),
        ({"trainer": Trainer("lasso")}, "learns from complete pictures, but the objective Lasso"),
        ({"trainer": Trainer(constraint=Descent("gradient"))}, "Use x0='flat', or Descent"),
        ({"trainer": Trainer(constraint=[Descent(), Descent("objective")])}, "lower the obj"),
    ],
)
def test_bad_options(tiles, model, options, message):
    with pytest.raises(ValueError, match=message):
        model.set_params(**options).fit(tiles)


def test_bad_masks_and_bad_holes(tiles, holes, model, fitted):
    with pytest.raises(ValueError, match="mask must be boolean, True where a pixel is missing"):
        model.fit(tiles, mask=np.zeros((3, 96)))
    with pytest.raises(ValueError, match="mask must be boolean"):
        model.fit(tiles, mask=tiles)
    blank = holes.copy()
    blank[4] = np.nan
    with pytest.raises(ValueError, match=r"1 picture\(s\) have no visible pixel, at rows \[4\]"):
        fitted.transform(blank)
    with pytest.raises(ValueError, match="those of fit were from .* in the same units"):
        fitted.transform(2 * holes)
    with pytest.raises(ValueError, match="expecting 96 features"):
        fitted.transform(holes[:, :64])
    with pytest.raises(NotFittedError):
        model.transform(holes)
