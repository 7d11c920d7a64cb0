import numpy as np
import pytest
from scipy.optimize import linprog, minimize_scalar
from scipy.stats import norm

from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.theory import l1_phase_transition

DELTA = np.linspace(0.02, 0.99, 25)


def test_published_values():
    # Donoho and Tanner's weak threshold at m / n = 1/4 and 1/2.
    np.testing.assert_allclose(l1_phase_transition([0.25, 0.5]), [0.267, 0.386], atol=5e-4)


def test_against_the_statistical_dimension_of_the_l1_norm():
    # Amelunxen, Lotz, McCoy and Tropp 2014: m / n is the mean squared distance of a normal
    # vector to the scaled subdifferential, at the best scale.
    def dimension(fraction):
        def distance(t):
            tail = (1 + t**2) * norm.sf(t) - t * norm.pdf(t)
            return fraction * (1 + t**2) + 2 * (1 - fraction) * tail

        return minimize_scalar(distance, bounds=(0, 10), options={"xatol": 1e-10}).fun

    found = [dimension(fraction) for fraction in l1_phase_transition(DELTA) * DELTA]
    np.testing.assert_allclose(found, DELTA, rtol=1e-9)


def test_it_rises_from_zero_to_one():
    rho = l1_phase_transition(DELTA)
    assert np.all(np.diff(rho) > 0)
    assert l1_phase_transition(1.0) == 1
    assert 0 < l1_phase_transition(1e-12) < 0.05
    assert l1_phase_transition([[0.1, 0.2, 0.3]]).shape == (1, 3)
    assert l1_phase_transition(0.5).shape == ()


@pytest.mark.parametrize("delta", [0.3, 0.6])
def test_l1_minimisation_obeys_it(delta):
    n, m = 150, round(150 * delta)
    rates = []
    for factor in (0.7, 1.3):
        s = round(factor * float(l1_phase_transition(delta)) * m)
        recovered = 0
        for seed in range(6):
            data = make_sparse_recovery(1, m, n, sparsity=s, random_state=seed)
            A = data.dictionary.T
            solved = linprog(np.ones(2 * n), A_eq=np.hstack([A, -A]), b_eq=data.X[0])
            recovered += np.allclose(solved.x[:n] - solved.x[n:], data.y[0], atol=1e-6)
        rates.append(recovered)
    assert rates == [6, 0]


@pytest.mark.parametrize("wrong", [0.0, -0.1, 1.01, np.nan, [0.5, 2.0]])
def test_bad_input_is_told(wrong):
    with pytest.raises(ValueError, match=r"numbers in \(0, 1\]; got"):
        l1_phase_transition(wrong)
