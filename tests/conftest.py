"""Small problems that every room's tests share, and what tests of training are measured with."""

import json
import os
from functools import wraps
from itertools import count

import numpy as np
import pytest
import torch

from sklearn_unroll import Trainer
from sklearn_unroll.functional import Dense, Observation


def pytest_addoption(parser):
    group = parser.getgroup("training")
    group.addoption("--margins", metavar="FILE", help="append what assert_below compared to it")
    group.addoption(
        "--disturb", type=int, metavar="SEED", help="start training a few roundings elsewhere"
    )


def pytest_configure(config):
    seed = config.getoption("--disturb")
    if seed is not None:
        Trainer.run = disturbed(Trainer.run, seed)
        Trainer.update = disturbed(Trainer.update, seed)


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items):
    for item in items:
        if "assert_below" in item.fixturenames:
            item.add_marker("training")
        if "check_array_api" in item.name:
            item.add_marker("array_api")
        if item.get_closest_marker("array_api") and os.environ.get("SCIPY_ARRAY_API") != "1":
            item.add_marker(pytest.mark.skip("scipy reads SCIPY_ARRAY_API when it is imported"))


def disturbed(method, seed):
    """Return a way to train that starts a few units in the last place elsewhere."""

    @wraps(method)
    def train(trainer, network, *args, generator, **kwargs):
        signs = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in network.parameters():
                step = torch.randint(-4, 5, p.shape, generator=signs) * torch.finfo(p.dtype).eps
                p.mul_(1 + step.to(p))
        # Other shuffles too: a claim about training is one about no certain order.
        torch.rand(seed, generator=generator, device=generator.device)
        return method(trainer, network, *args, generator=generator, **kwargs)

    return train


@pytest.fixture
def assert_below(request):
    """Assert that what training reached lies below a bound; `make test-portable` says how far."""
    file, number = request.config.getoption("--margins"), count()

    def check(value, bound):
        name, value = f"{request.node.nodeid} {next(number)}", float(value)
        if file:
            with open(file, "a", encoding="utf-8") as lines:
                lines.write(json.dumps([name, value, bound]) + "\n")
        assert value < bound, f"training reached {value:.6g}, which is not below {bound:.6g}"

    return check


def make_problem(n_samples=7, n_features=10, n_components=20, *, per_sample=False, seed=0):
    """Return an Observation in float64 with unit-norm atoms and sparse true codes."""
    rng = np.random.default_rng(seed)
    shape = (n_samples,) * per_sample + (n_components, n_features)
    D = rng.standard_normal(shape)
    D /= np.linalg.norm(D, axis=-1, keepdims=True)
    x = rng.standard_normal((n_samples, n_components))
    x *= rng.random(x.shape) < 0.2
    A = Dense(torch.from_numpy(D))
    x = torch.from_numpy(x)
    return Observation(A(x), A), x


@pytest.fixture(params=[False, True], ids=["shared", "per_sample"])
def problem(request):
    """One operator for all samples, then one for each."""
    return make_problem(per_sample=request.param)


@pytest.fixture
def shared_problem():
    """One operator for all samples."""
    return make_problem()


@pytest.fixture
def two_threads():
    """Torch has two threads, whatever the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
