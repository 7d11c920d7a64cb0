"""The kernel by three roads, its spectrum by two, and what is said where they end."""

import numpy as np
import pytest
import torch

from sklearn_unroll import (
    ADMMCSNetRegressor,
    ALISTARegressor,
    HyperLISTARegressor,
    LassoCoder,
    LISTARegressor,
)
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.nn import ada_lista, smooth_admm
from sklearn_unroll.theory import (
    kernel_spectrum,
    tangent_kernel,
    tangent_kernel_operator,
    untrained,
)
from tests.conftest import make_problem
from tests.estimator_table import fitted
from tests.theory.conftest import MAKE, network_of, observe


def numeric_kernel(network, obs, eps=1e-6):
    """J J^T with J by central differences, one parameter at a time."""
    columns = []
    with torch.no_grad():
        for parameter in network.parameters():
            flat = parameter.view(-1)
            for i in range(flat.numel()):
                value = float(flat[i])
                flat[i] = value + eps
                above = network(obs)
                flat[i] = value - eps
                columns.append((above - network(obs)).flatten() / (2 * eps))
                flat[i] = value
    J = torch.stack(columns, 1)
    return (J @ J.T).numpy()


@pytest.mark.parametrize("name", MAKE)
def test_closed_form_equals_the_jacobian_and_finite_differences(name):
    network, obs = network_of(name, n_layers=4), observe()
    closed = tangent_kernel(network, obs, method="closed_form")
    J = tangent_kernel(network, obs, method="jacobian")
    assert closed.shape == (30, 30)
    np.testing.assert_allclose(closed, J, rtol=0, atol=1e-12 * np.abs(J).max())
    np.testing.assert_allclose(closed, closed.T, rtol=0, atol=1e-15)
    scale = np.abs(J).max()
    np.testing.assert_allclose(numeric_kernel(network, obs) / scale, J / scale, atol=1e-8)
    np.testing.assert_array_equal(tangent_kernel(network, obs), closed)  # which is taken
    assert scale > 1e-4


@pytest.mark.parametrize("name", MAKE)
def test_the_operator_is_the_kernel(name):
    network, obs = network_of(name, n_layers=3), observe()
    K = tangent_kernel(network, obs)
    found = tangent_kernel_operator(network, obs) @ np.eye(30)
    np.testing.assert_allclose(found, K, rtol=0, atol=1e-12 * np.abs(K).max())


def test_samples_make_blocks_and_their_order_is_theirs():
    network, obs = network_of("LISTA"), observe(T=4)
    K = tangent_kernel(network, obs)
    some = torch.tensor([2, 0])
    rows = np.concatenate([np.arange(20, 30), np.arange(10)])
    np.testing.assert_allclose(tangent_kernel(network, obs.take(some)), K[np.ix_(rows, rows)])


def test_a_network_with_other_parameters_has_no_closed_form(learned):
    network, obs = learned
    K = tangent_kernel(network, obs)
    scale = np.abs(K).max()
    np.testing.assert_allclose(numeric_kernel(network, obs) / scale, K / scale, atol=1e-8)
    with pytest.raises(ValueError, match="has no closed form"):
        tangent_kernel(network, obs, method="closed_form")
    rates = smooth_admm(
        obs.A, generator=torch.Generator().manual_seed(0), learn_gamma=True, n_layers=3
    )
    with pytest.raises(ValueError, match="has no closed form"):
        tangent_kernel(rates, obs, method="closed_form")
    fixed = smooth_admm(obs.A, generator=torch.Generator().manual_seed(0), n_layers=3)
    more = tangent_kernel(rates, obs) - tangent_kernel(fixed, obs)
    # The rate of the last layer moves multipliers that nobody sees.
    assert np.linalg.matrix_rank(more, tol=1e-9) == 2
    assert np.linalg.eigvalsh(more).min() > -1e-12


def test_every_sample_may_have_its_own_operator():
    obs, _ = make_problem(n_samples=3, per_sample=True)
    network = ada_lista(obs.A, n_layers=3)
    K = tangent_kernel(network, obs)
    scale = np.abs(K).max()
    np.testing.assert_allclose(numeric_kernel(network, obs) / scale, K / scale, atol=1e-8)


@pytest.mark.parametrize("name", ["LISTA", "ADMM", "plain"])
def test_the_spectrum_with_and_without_the_kernel(name):
    network, obs = network_of(name, n_layers=3), observe()
    found = kernel_spectrum(network, obs)
    values = np.linalg.eigvalsh(tangent_kernel(network, obs))
    np.testing.assert_allclose(found.eigenvalues, values, rtol=1e-6, atol=found.resolution)
    assert (found.smallest, found.largest) == pytest.approx((values[0], values[-1]), rel=1e-6)
    assert found.condition_number == pytest.approx(values[-1] / values[0], rel=1e-6)
    assert found.n_outputs == 30
    assert found.n_parameters == sum(p.numel() for p in network.parameters())
    free = kernel_spectrum(network, obs, method="matrix_free")
    assert free.eigenvalues is None
    assert free.largest == pytest.approx(found.largest, rel=1e-6)
    assert found.smallest * (1 - 1e-9) <= free.smallest <= 1.01 * found.smallest


def test_matrix_free_at_one_and_two_rows():
    network = network_of("plain", m=1, n=1, n_layers=2)
    for T in (1, 2):
        obs = observe(m=1, n=1, T=T)
        found, free = (kernel_spectrum(network, obs, method=m) for m in ("auto", "matrix_free"))
        assert free[:2] == pytest.approx(found[:2], rel=1e-9)


def test_fewer_parameters_than_numbers_to_fit_are_told():
    network, obs = network_of("plain", n_layers=2), observe(T=15)  # 140 against 150
    with pytest.warns(UserWarning, match="P = 140 parameters for m T = 150 .* At most 14 samples"):
        found = kernel_spectrum(network, obs)
    assert found.smallest == 0
    assert found.condition_number == float("inf")
    assert abs(found.eigenvalues[9]) < found.resolution < found.eigenvalues[10]
    assert kernel_spectrum(network, obs.take(slice(14))).smallest > 0


def test_a_kernel_that_does_not_fit_is_told_with_the_way_out():
    network, obs = network_of("LISTA"), observe(T=5)
    for function in (tangent_kernel, kernel_spectrum):
        with pytest.raises(MemoryError, match=r"50 rows and takes about 8.4e-05 GB"):
            function(network, obs, memory_limit=8e4)
    with pytest.raises(MemoryError, match="method='matrix_free'"):
        tangent_kernel(network, obs, memory_limit=8e4)
    assert tangent_kernel(network, obs, memory_limit=9e4).shape == (50, 50)
    with pytest.raises(MemoryError):  # J takes more than the kernel
        tangent_kernel(network, obs, memory_limit=9e4, method="jacobian")
    huge = Observation(torch.zeros(100_000, 4), Dense(torch.zeros(10, 4)))
    with pytest.raises(MemoryError, match=r"1,000,000 rows and takes about 2.4e\+04 GB"):
        tangent_kernel(network, huge)
    assert kernel_spectrum(network, obs, method="matrix_free", memory_limit=1.0).smallest > 0


def test_estimators_are_examined_in_the_units_of_their_network():
    obs, y = make_problem(n_samples=30)
    X, y, D = obs.b.numpy(), y.numpy(), 3 * obs.A.D.numpy()
    model = LISTARegressor(D, n_layers=2, init="ista", normalize=False, random_state=0)
    start = untrained(model, X, y / 3)
    K = tangent_kernel(start, X[:4])
    given = Observation(obs.b[:4], Dense(torch.from_numpy(D)))
    np.testing.assert_allclose(K, tangent_kernel(start.network_, given))
    single = untrained(model, X.astype(np.float32), (y / 3).astype(np.float32))
    np.testing.assert_allclose(tangent_kernel(single, X[:4].astype(np.float32)), K, rtol=1e-4)
    unit = ALISTARegressor(D, n_layers=2, normalize=False)  # sees atoms of norm one
    unit = untrained(unit, X, y / 3)
    expected = tangent_kernel(unit.network_, obs.take(slice(4)))
    np.testing.assert_allclose(tangent_kernel(unit, X[:4]), expected, rtol=1e-6)


def test_admm_csnet_has_one_too():
    obs, y = make_problem(n_samples=5)
    model = ADMMCSNetRegressor(
        obs.A.D.numpy(), parametrization="dense", n_layers=2, random_state=0
    )
    start = untrained(model, obs.b.numpy(), y.numpy())
    assert kernel_spectrum(start, obs.b.numpy()[:2]).largest > 0


@pytest.mark.parametrize(
    "subject, X, error, match",
    [
        (LISTARegressor(), np.ones((3, 4)), TypeError, "got LISTARegressor.*theory.untrained"),
        (LassoCoder(np.eye(4)).fit(np.eye(4)), np.ones((3, 4)), TypeError, "got LassoCoder"),
        (torch.nn.Linear(4, 4), observe(), TypeError, "an Unrolled network; got Linear"),
        (network_of("LISTA"), np.ones((3, 4)), TypeError, r"Pass Observation\(X, Dense\(dict"),
        (network_of("LISTA"), observe(T=0), ValueError, "X has no samples"),
        (
            network_of("LISTA"),
            observe()._replace(b=torch.full((3, 4), torch.nan)),
            ValueError,
            "N",
        ),
        (fitted("LISTA"), np.ones((3, 4)), ValueError, "X has 4 features, but LISTARegressor is"),
        (fitted("LISTA"), np.full((3, 10), np.nan), ValueError, "Input X contains NaN"),
        (fitted("LISTA"), np.ones((0, 10)), ValueError, "0 sample"),
    ],
)
def test_wrong_subjects_are_told(subject, X, error, match):
    with pytest.raises(error, match=match):
        tangent_kernel(subject, X)


def test_wrong_methods_and_networks_without_parameters_are_told():
    network, obs = network_of("LISTA"), observe()
    with pytest.raises(ValueError, match="method must be one of .*, got 'fast'"):
        tangent_kernel(network, obs, method="fast")
    with pytest.raises(ValueError, match="'matrix_free'.*got 'fast'"):
        kernel_spectrum(network, obs, method="fast")
    problem, _ = make_problem()
    nothing = HyperLISTARegressor(problem.A.D.numpy(), n_layers=2).fit(problem.b.numpy())
    with pytest.raises(ValueError, match="no parameters"):
        tangent_kernel(nothing, problem.b.numpy())
