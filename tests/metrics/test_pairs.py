"""Metrics of codes and signals on values found by hand, and their invariances."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import f1_score, precision_score, recall_score

from sklearn_unroll.metrics import (
    nmse_db,
    nmse_db_median,
    psnr,
    support_f1,
    support_precision,
    support_recall,
)

PAIRED = [nmse_db, nmse_db_median, support_f1, support_precision, support_recall]


def codes(n_samples=30, n_components=12, seed=0):
    """Return sparse codes, and the same with noise, false entries and missed ones."""
    rng = np.random.RandomState(seed)
    noise, y = 0.1 * rng.standard_normal((2, n_samples, n_components))
    kept, false, missed = rng.uniform(size=(3, n_samples, n_components)) < [
        [[0.4]],
        [[0.5]],
        [[0.1]],
    ]
    y = 10 * y * kept
    return y, (y + noise * false) * ~missed


# NMSE


def test_nmse_by_hand():
    y_true = np.array([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0]])
    y_pred = np.array([[3.0, 4.5], [0.1, 1.0], [0.0, 0.2]])
    # Energies of error .25, .01, .04 and of signal 25, 1, 0.
    assert_allclose(nmse_db(y_true, y_pred), 10 * np.log10(0.30 / 26))
    per_sample = nmse_db(y_true, y_pred, aggregate="none")
    assert_allclose(per_sample, [-20, -20, np.nan])
    assert_allclose(nmse_db(y_true, y_pred, aggregate="median"), -20)


def test_nmse_median_is_the_median_over_nonzero_samples():
    y_true = np.array([[1.0], [1.0], [1.0], [1.0], [0.0]])
    y_pred = np.array([[1.1], [1.01], [2.0], [11.0], [5.0]])
    # -20, -40, 0 and +20 dB; the last sample is left out.
    assert_allclose(nmse_db_median(y_true, y_pred), -10)
    assert_allclose(nmse_db_median(y_true[:3], y_pred[:3]), -20)
    y_true, y_pred = codes(31)
    assert_allclose(
        nmse_db_median(y_true, y_pred), np.nanmedian(nmse_db(y_true, y_pred, aggregate="none"))
    )


@pytest.mark.parametrize("metric", [nmse_db, nmse_db_median])
def test_nmse_zero_prediction_and_perfect_prediction(metric):
    y, _ = codes()
    assert_allclose(metric(y, np.zeros_like(y)), 0, atol=1e-12)
    assert_allclose(metric(y, 1.1 * y), -20)
    assert metric(y, y) == -np.inf


@pytest.mark.parametrize("metric", [nmse_db, nmse_db_median])
@pytest.mark.parametrize("scale", [-2.5, 1e-200, 1e200])
def test_nmse_invariant_to_common_scaling(metric, scale):
    y_true, y_pred = codes()
    assert_allclose(metric(scale * y_true, scale * y_pred), metric(y_true, y_pred), rtol=1e-12)


def test_nmse_of_a_diverged_prediction_is_infinite():
    assert nmse_db([[1.0], [1.0]], [[1e300], [1.0]]) == np.inf
    assert_allclose(nmse_db([[1.0], [1.0]], [[1e300], [1.1]], sample_weight=[0, 1]), -20)


@pytest.mark.parametrize("aggregate", ["pooled", "median", "none"])
@pytest.mark.parametrize("y_pred", [np.ones((3, 2)), np.zeros((3, 2))])
def test_nmse_of_zero_is_undefined(aggregate, y_pred):
    with pytest.raises(ValueError, match="NMSE is undefined: y_true is zero"):
        nmse_db(np.zeros((3, 2)), y_pred, aggregate=aggregate)


def test_nmse_undefined_where_only_weightless_samples_are_nonzero():
    with pytest.raises(ValueError, match="NMSE is undefined"):
        nmse_db([[1.0], [0.0]], [[1.0], [1.0]], sample_weight=[0, 1])


# Support


def test_support_by_hand():
    y_true = [[1.0, -2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 3.0]]
    y_pred = [[5.0, 0.0, 0.1, -0.1], [0.0, 0.0, 0.0, 0.2]]
    assert support_precision(y_true, y_pred) == 2 / 4
    assert support_recall(y_true, y_pred) == 2 / 3
    assert_allclose(support_f1(y_true, y_pred), 4 / 7)
    # Strictly above the threshold, in both arrays: 0.1 is out and 0.2 stays.
    assert support_precision(y_true, y_pred, threshold=0.1) == 1
    assert support_recall(y_true, y_pred, threshold=0.1) == 2 / 3
    assert support_recall(y_true, y_pred, threshold=1.0) == 0
    assert support_precision(y_true, y_pred, threshold=1.0) == 0


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (support_precision, precision_score),
        (support_recall, recall_score),
        (support_f1, f1_score),
    ],
)
def test_support_is_the_micro_average(ours, theirs):
    y_true, y_pred = codes()
    weight = np.random.RandomState(1).uniform(size=len(y_true))
    for sample_weight in (None, weight):
        expected = theirs(
            abs(y_true) > 0.3, abs(y_pred) > 0.3, average="micro", sample_weight=sample_weight
        )
        assert 0 < expected < 1
        assert_allclose(ours(y_true, y_pred, threshold=0.3, sample_weight=sample_weight), expected)


@pytest.mark.parametrize(
    "metric, y_true, y_pred",
    [
        (support_precision, [[1.0, 0.0]], [[0.0, 0.0]]),
        (support_recall, [[0.0, 0.0]], [[1.0, 0.0]]),
        (support_f1, [[0.0, 0.0]], [[0.0, 0.0]]),
    ],
)
def test_empty_support_follows_zero_division(metric, y_true, y_pred):
    with pytest.warns(UndefinedMetricWarning):
        assert metric(y_true, y_pred) == 0
    assert metric(y_true, y_pred, zero_division=1.0) == 1
    assert np.isnan(metric(y_true, y_pred, zero_division=np.nan))


# PSNR


def test_psnr_by_hand():
    picture = np.full((4, 5), 0.5)
    assert_allclose(psnr(picture, picture + 0.1, data_range=1.0), 20)
    assert_allclose(psnr(255 * picture, 255 * picture + 25.5, data_range=255), 20)
    assert_allclose(psnr(picture, picture + 0.1, data_range=10), 40)
    assert psnr(picture, picture, data_range=1.0) == np.inf
    colour = np.zeros((4, 5, 3))
    colour[..., 0] = 0.3
    assert_allclose(psnr(colour, 0 * colour, data_range=1), 10 * np.log10(3 / 0.09))


# What all metrics of pairs share


@pytest.mark.parametrize("metric", PAIRED)
def test_permuting_samples_and_components_changes_nothing(metric):
    y_true, y_pred = codes()
    rng = np.random.RandomState(0)
    rows, columns = rng.permutation(30)[:, None], rng.permutation(12)
    assert_allclose(metric(y_true[rows, columns], y_pred[rows, columns]), metric(y_true, y_pred))


@pytest.mark.parametrize("metric", PAIRED)
def test_integer_weights_are_repetitions(metric):
    y_true, y_pred = codes()
    weight = np.random.RandomState(0).randint(4, size=30)
    weighted = metric(y_true, y_pred, sample_weight=weight)
    repeated = metric(np.repeat(y_true, weight, axis=0), np.repeat(y_pred, weight, axis=0))
    assert_allclose(weighted, repeated)
    assert abs(weighted - metric(y_true, y_pred)) > 1e-6


@pytest.mark.parametrize("metric", PAIRED)
def test_one_component_may_be_one_dimensional(metric):
    y_true, y_pred = (y.ravel() for y in codes())
    assert metric(y_true, y_pred) == metric(y_true[:, None], y_pred)
    assert metric(y_true, y_pred) == metric(y_true[:, None], y_pred[:, None])


@pytest.mark.parametrize("metric", [*PAIRED, lambda y, z: psnr(y, z, data_range=1.0)])
def test_tensors_and_lists(metric):
    y_true, y_pred = (y.astype(np.float32) for y in codes())
    expected = metric(y_true, y_pred)
    assert metric(y_true.tolist(), y_pred.tolist()) == expected
    assert metric(torch.tensor(y_true), torch.tensor(y_pred, requires_grad=True)) == expected
    exact = torch.tensor(y_pred).bfloat16()
    assert metric(y_true, exact) == metric(y_true, exact.float().numpy())


@pytest.mark.parametrize("metric", [*PAIRED, lambda y, z: psnr(y, z, data_range=1.0)])
@pytest.mark.parametrize(
    "change, message",
    [
        (lambda y: y[:-1], "inconsistent numbers of samples"),
        (lambda y: y[:, :-1], r"y_true has shape \(30, 12\) and y_pred has shape \(30, 11\)"),
        (lambda y: y * np.nan, "y_pred contains NaN"),
        (lambda y: y + np.inf, "y_pred contains infinity"),
        (lambda y: y * 1j, "Complex data not supported"),
        (lambda y: torch.tensor(y * 1j), "Complex data not supported"),
    ],
)
def test_bad_pairs(metric, change, message):
    y, _ = codes()
    with pytest.raises(ValueError, match=message):
        metric(y, change(y))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda y: nmse_db(y, y, aggregate="mean"), "'aggregate'.*'pooled'"),
        (lambda y: nmse_db(y, y, sample_weight=np.zeros(30)), "at least one non-zero"),
        (lambda y: nmse_db(y, y, sample_weight=-np.ones(30)), "Negative values"),
        (lambda y: nmse_db(y[:0], y[:0]), "0 sample"),
        (lambda y: support_f1(y, y, threshold=-1), "'threshold'.*in the range"),
        (lambda y: support_f1(y, y, zero_division=2), "'zero_division'"),
        (lambda y: psnr(y, y, data_range=0), "'data_range'.*in the range"),
    ],
)
def test_bad_parameters(call, message):
    with pytest.raises(ValueError, match=message):
        call(codes()[0])
