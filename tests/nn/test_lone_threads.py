"""Threads in which torch computes alone, and nobody else notices."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sklearn_unroll.functional import _alone
from sklearn_unroll.functional._alone import (
    alone,
    calm,
    can_compute_alone,
    lone_threads,
    n_threads,
    share_out,
)
from sklearn_unroll.nn import lista, sparse
from sklearn_unroll.nn.execution import Execution
from tests.networks import adaptive, of_codes


def test_torch_is_alone_in_lone_threads_and_nowhere_else(two_threads, monkeypatch):
    told = []
    if (tell := _alone._tell_mkl()) is not None:
        monkeypatch.setattr(_alone, "_tell_mkl", lambda: lambda n: told.append(n) or tell(n))
    with lone_threads(2) as pool:
        assert list(pool.map(lambda _: torch.get_num_threads(), range(8))) == [1] * 8
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as other:
            assert other.submit(torch.get_num_threads).result() == 2
    assert set(told) == {1} if torch.backends.mkl.is_available() else not told


def test_alone_tells_mkl_and_takes_it_back(two_threads, monkeypatch):
    told, answers = [], []
    if (tell := _alone._tell_mkl()) is not None:

        def watched(n):
            told.append(n)
            answers.append(tell(n))
            return answers[-1]

        monkeypatch.setattr(_alone, "_tell_mkl", lambda: watched)

    def fail():
        with alone():
            assert torch.get_num_threads() == 1
            assert n_threads() == 2
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.get_num_threads() == 2
    assert told == ([1, answers[0]] if torch.backends.mkl.is_available() else [])


def test_parts_are_shared_out_and_all_are_done(two_threads):
    done = []
    share_out(lambda part: done.append((part, torch.get_num_threads())), range(7))
    assert sorted(done) == [(part, 1) for part in range(7)]
    for wrong in (0, 3, 6):
        with pytest.raises(ZeroDivisionError):
            share_out(lambda part, wrong=wrong: 1 / (part - wrong), range(7))
    assert (torch.get_num_threads(), n_threads()) == (2, 2)


def test_parts_of_parts_stay_where_they_are(two_threads):
    done = []

    def run(part):
        here = threading.get_ident()
        share_out(lambda nth: done.append((part, nth, threading.get_ident() == here)), range(3))

    share_out(run, range(4))
    assert sorted(done) == [(part, nth, True) for part in range(4) for nth in range(3)]


def test_alone_in_alone_is_alone_to_the_end(two_threads):
    if not torch.backends.mkl.is_available():
        pytest.skip("torch has no MKL here")
    tell = _alone._tell_mkl()
    with alone():
        assert (torch.get_num_threads(), n_threads()) == (1, 2)
        assert tell(1) == 1  # what it was
        with alone():
            pass
        assert tell(1) == 1
    assert tell(2) == 2 == torch.get_num_threads()  # torch itself tells it so


def test_calm_ends_and_loops_of_our_own_keep_their_threads(two_threads):
    def fail():
        with calm():
            assert torch.get_num_threads() == 1
            assert n_threads() == 2
            with ThreadPoolExecutor(1) as other:
                assert other.submit(n_threads).result() == 2  # of that thread
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.get_num_threads() == n_threads() == 2
    torch.set_num_threads(1)
    assert n_threads() == 1


def test_networks_run_as_they_are_where_torch_cannot_be_kept_alone(two_threads, monkeypatch):
    monkeypatch.setattr(sparse, "pays", lambda *_: True)
    monkeypatch.setattr(_alone, "_tell_mkl", lambda: None)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    assert not can_compute_alone()
    network, obs, _ = of_codes(adaptive)()
    with torch.no_grad():
        assert sparse.sparse_run(network, obs) is None
        torch.set_num_threads(1)
        pytest.importorskip("numba")
        assert sparse.sparse_run(network, obs) is not None


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_threads_take_over_the_callers_mode(mode, two_threads, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(sparse, "pays", lambda *_: False)
    monkeypatch.setattr(sparse, "_LEAST_WORK", 0)
    network, obs, _ = of_codes(lambda A: lista(A, tied=True, n_layers=3))()  # fused
    with mode():
        found = Execution(network, obs)
        assert found.sparse is not None
        codes = found.codes()[0]
        assert not codes.requires_grad
        torch.testing.assert_close(codes, network(obs).detach(), rtol=0, atol=1e-12)
