"""The margins that `make test-portable` prints, and the disturbance they are measured with."""

import json

import pytest
import torch

from tests.conftest import disturbed
from tests.portable import SETTINGS, margins


@pytest.mark.parametrize(
    "values, bound, holds",
    [
        ([0.5, 0.52, 0.54], 0.7, True),
        ([0.5, 0.52, 0.65], 0.7, False),  # less than a tenth of the bound
        ([0.1, 0.12, 0.5], 0.7, False),  # nearer to the bound than to the others
        ([-2.0, -4.0, -4.1], -1.0, False),
        ([-3.0, -4.0, -9.0], -1.0, True),  # better than the others is no fault
        ([-1.0], 0.0, False),  # a bound of zero claims nothing
    ],
)
def test_what_holds_is_far_from_its_bound_and_scatters_less(values, bound, holds):
    (margin,) = margins([json.dumps(["a test 0", value, bound]) for value in values])
    assert margin.worst == max(values)
    assert margin.holds == holds


def test_margins_are_told_apart_and_the_narrowest_comes_first():
    found = margins(json.dumps(line) for line in (["a 0", 1, 9], ["a 1", 8, 9], ["a 0", 2, 9]))
    assert [(m.name, m.worst) for m in found] == [("a 1", 8), ("a 0", 2)]


def test_disturbances_are_three_and_a_few_units_in_the_last_place():
    assert len({seed for *_, seed in SETTINGS.values()} - {0}) == 3
    found = []
    for seed in (1, 1, 2):
        network = torch.nn.Linear(30, 20, dtype=torch.float64)
        torch.nn.init.ones_(network.weight)
        generator = torch.Generator().manual_seed(0)
        disturbed(lambda trainer, network, *, generator: None, seed)(
            None, network, generator=generator
        )
        found.append((network.weight.detach() - 1, torch.rand(3, generator=generator)))
    for (first, shuffle), (second, other), same in (
        (found[0], found[1], True),
        (*found[1:], False),
    ):
        assert torch.equal(first, second) == torch.equal(shuffle, other) == same
    assert 2e-16 < float(found[0][0].abs().max()) < 1e-15
