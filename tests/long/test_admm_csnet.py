"""ADMM-CSNet against total variation; minutes of training, so `make test-long`."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # benchmarks/ is not installed

from benchmarks.compressive_imaging import compare, make_operator, pictures_to_train_on, train

pytestmark = pytest.mark.long


@pytest.mark.parametrize("kind", ["Cartesian", "pseudo-radial"])
def test_a_decibel_over_total_variation_at_30_percent(kind):
    """On a slice of a head, of which the network has seen none."""
    A = make_operator(kind, 0.3, seed=0)
    model, _ = train(A, pictures_to_train_on(80), epochs=6)
    over = {row["picture"]: row["over_tv"] for row in compare(model, A)}
    assert over["head"] >= 1.0
    assert min(over.values()) > 0
