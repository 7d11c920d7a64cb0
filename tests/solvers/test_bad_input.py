import numpy as np
import pytest
import torch

from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.solvers import cvxpy_lasso, fista, ista
from tests.conftest import make_problem

OBS, _ = make_problem()
B, D = OBS.b, OBS.A


@pytest.mark.parametrize("solve", [fista, ista, cvxpy_lasso])
@pytest.mark.parametrize(
    "alpha", [torch.ones(2), torch.ones(9), [0.1] * 7, np.ones(7), "a", float("inf"), -0.1]
)
def test_alpha_of_the_wrong_kind(solve, alpha):
    with pytest.raises(ValueError, match=r"alpha must be positive and finite.*\(7,\)"):
        solve(OBS, alpha)


@pytest.mark.parametrize("alpha", [torch.tensor([0.1]), torch.full((7, 1), 0.1)])
def test_alpha_of_another_shape_is_understood(alpha):
    torch.testing.assert_close(fista(OBS, alpha).x, fista(OBS, 0.1).x, atol=1e-4, rtol=0)


@pytest.mark.parametrize("step", [-1.0, 0.0, float("nan"), "long"])
def test_step_of_the_wrong_kind(step):
    with pytest.raises(ValueError, match="step must be positive"):
        ista(OBS, 0.1, step=step)


@pytest.mark.parametrize("solve", [fista, ista])
def test_a_step_that_is_too_long_is_told(solve):
    with pytest.raises(FloatingPointError, match="STA diverged .* the step is too long"):
        solve(OBS, 0.1, step=100.0)


def test_one_step_per_sample():
    step = torch.full((7,), 0.1, dtype=torch.float64)
    torch.testing.assert_close(ista(OBS, 0.1, step=step).x, ista(OBS, 0.1, step=0.1).x)


@pytest.mark.parametrize(
    "obs, message",
    [
        (Observation(B[0], D), "2-dimensional"),
        (Observation(B[:, :5], D), "5 features"),
        (Observation(torch.ones(3, 20, dtype=torch.float64), D), "transposed"),
        (Observation(B.float(), D), "same dtype"),
        (Observation(B * float("nan"), D), "NaN"),
        (Observation(B, Dense(D.D * float("inf"))), "NaN"),
        (Observation(B, Dense(D.D.expand(3, 20, 10))), "3 dictionaries"),
    ],
)
def test_data_that_do_not_fit(obs, message):
    with pytest.raises(ValueError, match=message):
        fista(obs, 0.1)


def test_numpy_arrays_are_refused_with_advice():
    with pytest.raises(TypeError, match="from_numpy"):
        fista(Observation(B.numpy(), Dense(D.D)), 0.1)


@pytest.mark.parametrize("limits", [{"max_iter": 0}, {"tol": float("nan")}, {"tol": -1.0}])
def test_limits(limits):
    with pytest.raises(ValueError, match="at least"):
        fista(OBS, 0.1, **limits)


def test_max_iter_counts():
    with pytest.raises(TypeError, match=r"25\.5"):
        fista(OBS, 0.1, max_iter=25.5)


def test_no_graph_is_kept():
    D_learned = D.D.clone().requires_grad_()
    assert not fista(Observation(B, Dense(D_learned)), 0.1).x.requires_grad
