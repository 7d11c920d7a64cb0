"""A network in two products and one pass a layer is the network, where it says it is."""

import numpy as np
import pytest
import torch

from sklearn_unroll.functional import L1, Composite, Dense, LeastSquares, Observation
from sklearn_unroll.nn import alista, fused, guarded, lista, sparse
from sklearn_unroll.nn.execution import Execution
from sklearn_unroll.nn.fused import FusedRun
from tests.networks import NETWORKS, adaptive, of_codes
from tests.nn.test_sparse import DTYPES, SPEAKING, assert_same, assert_stages, tolerance


def fusible(name):
    network, obs, _ = NETWORKS[name]()
    return fused.can_fuse(sparse.stages_of(network, obs.A))


FUSIBLE = sorted(filter(fusible, SPEAKING))


@pytest.fixture
def always(monkeypatch):
    """Fused runs wherever they are possible, in plain Python."""
    monkeypatch.setattr(sparse, "pays", lambda *_: False)
    monkeypatch.setattr(sparse, "_LEAST_WORK", 0)
    monkeypatch.setattr(fused, "compiled", lambda loop, *_: loop)


def test_who_is_fused():
    for make, fits in {
        lista: True,
        lambda A: lista(A, tied=True, learn_step=True): True,
        lambda A: lista(A, weights="adjoint"): True,
        lambda A: alista(A, A.D, theta=0.1): True,
        lambda A: lista(A, weights="free"): False,  # products with codes
        lambda A: lista(A, counts=[1, 2], n_layers=2): False,
        adaptive: False,
    }.items():
        network, obs, _ = of_codes(make)()
        assert fused.can_fuse(sparse.stages_of(network, obs.A)) == fits
    assert {"LISTA-CP", "FBSNet"} < set(FUSIBLE)


@DTYPES
@pytest.mark.parametrize("name", FUSIBLE)
@pytest.mark.parametrize("weight", [None, 0.0, 0.3])
def test_codes_and_costs_of_every_network(name, weight, dtype, always, monkeypatch):
    monkeypatch.setattr(fused, "_CHUNK", 1)
    monkeypatch.setattr(fused, "_FEWEST", 3)
    network, obs, _ = NETWORKS[name](dtype)
    with torch.no_grad():
        run = sparse.sparse_run(network, obs, weight)
        assert isinstance(run, FusedRun)
        codes = obs.b.new_full((len(obs.b), obs.A.n_components), 7.0)
        b = obs.b.clone()
        costs = [cost for _, cost in run.chunks(obs, codes)]
        iterates = network.iterates(obs)
    assert obs.b.equal(b)
    assert_same(codes, iterates[-1], dtype)
    if weight is None:
        assert set(costs) == {None}
        return
    wanted = torch.stack(
        [0.5 * obs.residual(x).square().sum(1) + weight * x.abs().sum(1) for x in iterates]
    )
    room = 10 * tolerance(dtype) * float(wanted.abs().max())
    found = torch.cat([seen.values for seen in costs], 1)
    torch.testing.assert_close(found, wanted, rtol=0, atol=room)


@pytest.mark.parametrize("region", [None, "objective", "residual"])
@pytest.mark.parametrize("factor", [1.0, 3.0])
@pytest.mark.parametrize("name", FUSIBLE)
def test_stages_and_guards(name, factor, region, always, monkeypatch):
    monkeypatch.setattr(fused, "_CHUNK", 1)
    monkeypatch.setattr(fused, "_FEWEST", 3)
    network, obs, _ = NETWORKS[name]()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(factor)
        network.project_()
        data = Composite.of(obs.b, obs.A, LeastSquares(), L1(0.3)) if region else obs
        found = Execution(network, data, region)
        assert isinstance(found.sparse, FusedRun)
        stages = list(found.stages())
        wanted = guarded(network, region) if region else network
        assert_stages(stages, wanted.iterates(data)[1:], torch.float64)
        assert stages[-1].equal(found.codes()[0])


@DTYPES
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("n_samples", [0, 1, 700])
def test_compiled_in_chunks_and_threads(n_samples, n_threads, dtype, always, monkeypatch):
    pytest.importorskip("numba")
    from sklearn_unroll.functional._compiled import compiled

    monkeypatch.setattr(fused, "compiled", compiled)
    monkeypatch.setattr(fused, "_CHUNK", 20 * 150)
    network, obs, _ = of_codes(lambda A: lista(A, tied=True, n_layers=5))(dtype)
    generator = torch.Generator().manual_seed(1)
    b = torch.randn(n_samples, 10, generator=generator, dtype=torch.float64).to(dtype)
    obs, before = Observation(b, obs.A), torch.get_num_threads()
    try:
        torch.set_num_threads(n_threads)
        with torch.no_grad():
            codes = b.new_full((n_samples, 20), 7.0)
            costs = [cost for _, cost in sparse.sparse_run(network, obs, 0.1).chunks(obs, codes)]
            wanted = network(obs)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(codes, wanted, rtol=0, atol=10 * tolerance(dtype))
    assert sum(seen.values.shape[1] for seen in costs) == n_samples


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_stays_none(bad, always, monkeypatch):
    pytest.importorskip("numba")
    from sklearn_unroll.functional._compiled import compiled

    monkeypatch.setattr(fused, "compiled", compiled)
    network, obs, _ = of_codes(lista)()
    obs.b[2, 3] = bad
    with torch.no_grad():
        codes = torch.zeros(len(obs.b), 20, dtype=torch.float64)
        chunks = sparse.sparse_run(network, obs, 0.3).chunks(obs, codes)
        costs = torch.cat([seen.values for _, seen in chunks], 1)
    fine = torch.tensor([0, 1, 3, 4, 5, 6])
    assert not bool(codes[2].isfinite().all()) and bool(codes[fine].isfinite().all())
    assert not bool((costs[:, 2] < torch.inf).any()) and bool(costs[:, fine].isfinite().all())


def test_a_step_and_a_threshold_by_hand(always):
    A = Dense(torch.eye(2, dtype=torch.float64))
    network = lista(A, n_layers=1, tied=True, learn_step=True, alpha=0.5)
    with torch.no_grad():
        network.layers[0].rule.gamma.fill_(2.0)
        obs = Observation(torch.tensor([[1.0, -0.2]], dtype=torch.float64), A)
        codes = Execution(network, obs).codes()[0]
    np.testing.assert_allclose(codes, [[1.5, 0.0]])
