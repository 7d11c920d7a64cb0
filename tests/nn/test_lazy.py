"""Math-L2O that is asked only about coordinates that move is Math-L2O: every option it knows."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_unroll.functional import (
    L1,
    Box,
    Composite,
    Dense,
    ElasticNet,
    Logistic,
    NonnegativeL1,
    Quadratic,
    Zero,
)
from sklearn_unroll.functional._compiled import compiled_available
from sklearn_unroll.nn import Guarded, _lazy_cell, lazy, math_l2o
from tests.conftest import make_problem
from tests.nn.test_math_l2o import LIKE, lasso, network

N_ITER = 12


@pytest.fixture(autouse=True)
def plain(request, monkeypatch):
    """Run the loops in plain Python, which has the same lines."""
    if "as_machine_code" not in request.fixturenames:
        monkeypatch.setattr(lazy, "compiled", lambda loop, *_: loop)
        monkeypatch.setattr(lazy, "compiled_available", lambda: True)


@pytest.fixture
def as_machine_code():
    if not compiled_available():
        pytest.skip("needs numba")


@torch.no_grad()
def reference(layer, problem, n_iter=N_ITER):
    """Return the iterates of the layer itself, its values and fallbacks."""
    state = layer.init(problem)
    points = [layer.readout(state).clone()]
    for _ in range(n_iter):
        state = layer(state, problem)
        points.append(layer.readout(state).clone())
    counts = getattr(state, "n_fallbacks", torch.zeros(len(problem.b)))
    return points, torch.stack([problem.value(x) for x in points]), counts


@torch.no_grad()
def assert_same(layer, problem, n_iter=N_ITER, tol=1e-11):
    run = lazy.lazy_run(layer, problem)
    assert run is not None
    found = run.solve(problem, n_iter, watch=True)
    points, values, counts = reference(layer, problem, n_iter)
    scale = max(float(points[-1].abs().max()), 1e-300)
    torch.testing.assert_close(found.x, points[-1], rtol=0, atol=tol * scale)
    assert (found.x != 0).equal(points[-1] != 0)
    torch.testing.assert_close(found.values, values, rtol=tol, atol=0)
    assert found.n_fallbacks.tolist() == counts.tolist()
    for x, known in zip(run.stages(problem, n_iter), points[1:], strict=True):
        torch.testing.assert_close(x, known, rtol=0, atol=tol * scale)
    return found


def layer_of(guarded=True, **given):
    layer = network(**{"spread": 1.0, "hidden_size": 5, **given}).layers[0]
    return Guarded(layer, "descent") if guarded else layer


OPTIONS = [
    {},
    {"variant": "P"},
    {"variant": "A"},
    {"features": "raw"},
    {"features": "raw", "variant": "A", "state": "normal"},
    {"momentum": "sigmoid"},
    {"momentum": "wide", "spread": 4.0},
    {"state": "normal"},
    {"n_hidden_layers": 2, "hidden_size": 9},
    {"network": "mlp"},
    {"network": "mlp", "features": "raw", "variant": "P"},
    {"largest_step": 2.0},
]


@pytest.mark.parametrize("given", OPTIONS, ids=str)
@pytest.mark.parametrize("guarded", [True, False])
def test_every_option(given, guarded):
    assert_same(layer_of(guarded, **given), lasso(3))


@pytest.mark.parametrize("kind", ["lstm", "mlp"])
@pytest.mark.parametrize(("features", "hidden_size"), [("relative", 7), ("raw", 2), ("raw", 1)])
def test_networks_as_wide_as_what_they_see(kind, features, hidden_size):
    given = {"network": kind, "features": features, "hidden_size": hidden_size}
    assert_same(layer_of(**given), lasso(2), 6)


WEIGHTS = torch.linspace(0.02, 0.3, 20, dtype=torch.float64)


@pytest.mark.parametrize(
    "R",
    [
        L1(0.1),
        L1(WEIGHTS),
        NonnegativeL1(WEIGHTS[:3, None]),
        ElasticNet(0.2, 0.3),
        ElasticNet(0.2, 0.7, positive=True),
        Quadratic(0.1),
        Zero(),
    ],
    ids=repr,
)
@pytest.mark.parametrize("start", [None, 0.3])
def test_every_penalty_from_everywhere(R, start):
    problem = lasso(3)
    x0 = None if start is None else torch.full((3, 20), start, dtype=torch.float64)
    assert_same(layer_of(), Composite.of(*problem[:3], R, x0))


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("per_sample", [True, False])
def test_units_and_one_operator_for_all(scale, per_sample):
    problem = lasso(4, per_sample=per_sample)
    R = L1(problem.R.weight * scale)
    assert_same(layer_of(), Composite.of(problem.b * scale, *problem[1:3], R))


def test_what_goes_wrong_is_refused_as_often():
    """Steps four times too long, momenta up to two: the guard is busy, and momentum is lost."""
    layer = layer_of(features="raw", momentum="wide", spread=8.0)
    found = assert_same(layer, lasso(4), 30)
    assert int(found.n_fallbacks.max()) > 8
    far = lasso(4)._replace(x0=torch.full((4, 20), 50.0, dtype=torch.float64))
    assert_same(layer, far, 20)


def test_a_sample_of_zeros_and_an_operator_of_zeros():
    problem = lasso(3)
    b, D = problem.b.clone(), problem.A.D.clone()
    b[0], D[1] = 0, 0
    found = assert_same(layer_of(), Composite.of(b, Dense(D), *problem[2:4]))
    assert not found.x[:2].any()


def test_what_is_past_is_told_before_it_is_forgotten(monkeypatch):
    """Room for 16 iterations of coordinates at rest, and one that moves late."""
    monkeypatch.setattr(lazy, "_KEPT", 1)
    problem = lasso(2, alpha=0.4)
    assert_same(layer_of(spread=0.3), problem, 50)


def test_coordinates_at_rest_are_not_asked_about(monkeypatch):
    asked = []
    think = _lazy_cell.think

    def count(places, size, *rest):
        asked.append(size)
        think(places, size, *rest)

    monkeypatch.setattr("sklearn_unroll.nn._lazy_loops.think", count)
    problem = lasso(1, alpha=0.3)
    with torch.no_grad():
        lazy.lazy_run(layer_of(), problem).solve(problem, N_ITER)
    assert sum(asked) < 0.7 * N_ITER * 20


@pytest.mark.parametrize("n_threads", [1, 3])
def test_threads_share_samples_and_change_no_bit(n_threads):
    problem, before = lasso(7), torch.get_num_threads()
    try:
        torch.set_num_threads(n_threads)
        with torch.no_grad():
            run = lazy.lazy_run(layer_of(), problem)
            together = run.solve(problem, 8).x
            alone = [run.solve(problem.take(slice(i, i + 1)), 8).x for i in range(7)]
    finally:
        torch.set_num_threads(before)
    assert together.equal(torch.cat(alone))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_as_machine_code_and_in_float32(dtype, as_machine_code):
    problem = lasso(4)
    R = L1(problem.R.weight.to(dtype))
    problem = Composite.of(problem.b.to(dtype), problem.A.to(R.weight), problem.f, R)
    layer = layer_of(spread=0.3, like=torch.empty(0))
    with torch.no_grad():
        found = lazy.lazy_run(layer, problem).solve(problem, 40)
    points, _, _ = reference(layer, problem, 40)
    torch.testing.assert_close(found.x, points[-1], rtol=0, atol=1e-5)
    assert found.x.dtype == dtype


def test_tanh_by_a_fraction_is_as_good_as_float32():
    z = np.linspace(-20, 20, 40_001, dtype=np.float32).reshape(1, -1)
    wanted = np.tanh(z.astype(float))
    _lazy_cell.squash(z, 1, _lazy_cell.TANH)
    assert np.abs(z - wanted).max() < 4e-7
    odd = np.array([[np.nan, np.inf, -np.inf]], np.float32)
    _lazy_cell.squash(odd, 1, _lazy_cell.TANH)
    np.testing.assert_allclose(odd, [[np.nan, 1, -1]], atol=3e-7)


class OwnL1(L1):
    def prox(self, x, step):
        return 0.5 * super().prox(x, step)


def hooked():
    layer = layer_of()
    layer.layer.network.heads.register_forward_hook(lambda *_: None)
    return layer


@pytest.mark.parametrize(
    "layer, change",
    [
        (layer_of(variant="PBA"), {}),
        (Guarded(layer_of(False), "objective"), {}),
        (hooked(), {}),
        (layer_of(), {"R": OwnL1(0.1)}),
        (layer_of(), {"R": Box(-1.0, 1.0)}),
        (layer_of(), {"R": ElasticNet(0.1, torch.full((3, 1), 0.5))}),
        (layer_of(), {"f": Logistic()}),
        (nn.Identity(), {}),
    ],
    ids=["variant", "region", "hook", "own prox", "box", "ratios", "logistic", "other"],
)
def test_all_else_runs_as_it_is(layer, change):
    with torch.no_grad():
        assert lazy.lazy_run(layer, lasso(3)._replace(**change)) is None


def test_gradients_and_no_numba_run_as_it_is(monkeypatch):
    assert lazy.lazy_run(layer_of(), lasso(3)) is None
    monkeypatch.setattr(lazy, "compiled_available", lambda: False)
    with torch.no_grad():
        assert lazy.lazy_run(layer_of(), lasso(3)) is None


def test_samples_of_another_dtype_than_the_operator_run_as_it_is():
    obs, _ = make_problem(3, per_sample=True)
    problem = Composite.of(obs.b, obs.A, lasso(3).f, L1(0.1))._replace(b=obs.b.float())
    made = math_l2o(LIKE, generator=torch.Generator().manual_seed(0)).layers[0]
    with torch.no_grad():
        assert lazy.lazy_run(made, problem) is None
