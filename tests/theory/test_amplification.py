import numpy as np
import pytest
import torch

from sklearn_unroll import AdaLISTARegressor, HyperLISTARegressor, LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import L1, Composite, Dense, LeastSquares, Observation
from sklearn_unroll.nn import dense_admm, guarded, lista
from sklearn_unroll.plotting import AmplificationDisplay
from sklearn_unroll.theory import amplification


def problem(n=6, m=8, k=12):
    generator = torch.Generator().manual_seed(0)
    A = Dense(torch.randn(k, m, generator=generator, dtype=torch.float64))
    return Observation(torch.randn(n, m, generator=generator, dtype=torch.float64), A)


def learned(A, n_layers=3):
    net = lista(A, n_layers=n_layers, alpha=0.3)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in net.parameters():
            if p.ndim:
                p.add_(0.2 * p.std() * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return net


def test_factors_are_singular_values_of_the_derivatives():
    obs = problem()
    net = learned(obs.A)
    found = amplification(net, obs, n_iter=3000)
    with torch.no_grad():
        before = net.iterates(obs)
    for k, layer in enumerate(net.layers):
        M = torch.eye(12, dtype=torch.float64) - layer.weights.W.detach() @ obs.A.D.T
        assert found.worst[k] == pytest.approx(float(torch.linalg.matrix_norm(M, 2)), rel=1e-6)
        for i in range(6):
            one = obs.take(slice(i, i + 1))

            def step(x, layer=layer, one=one):
                return layer(layer.with_iterate(layer.init(one), x[None]), one).x[0]

            J = torch.autograd.functional.jacobian(step, before[k][i])
            expected = float(torch.linalg.matrix_norm(J, 2))
            assert found.at_data[i, k] == pytest.approx(expected, rel=1e-5, abs=1e-12)
    assert (found.at_data <= found.worst * (1 + 1e-6)).all()


def test_all_layers_together():
    obs = problem()
    net = learned(obs.A)
    found = amplification(net, obs, n_iter=3000)
    product = torch.eye(12, dtype=torch.float64)
    for layer in net.layers:
        product = product - layer.weights.W.detach() @ (obs.A.D.T @ product)
    expected = float(torch.linalg.matrix_norm(product, 2))
    assert found.worst_through == pytest.approx(expected, rel=1e-6)

    def whole(x, i):
        one = obs.take(slice(i, i + 1))
        state = net.layers[0].with_iterate(net.layers[0].init(one), x[None])
        for layer in net.layers:
            state = layer(state, one)
        return state.x[0]

    for i in range(6):
        zero = torch.zeros(12, dtype=torch.float64)
        J = torch.autograd.functional.jacobian(lambda x, i=i: whole(x, i), zero)
        assert found.through[i] == pytest.approx(
            float(torch.linalg.matrix_norm(J, 2)), rel=1e-5, abs=1e-12
        )
    assert "whatever the data" in str(found)


@pytest.fixture(scope="module")
def data():
    return make_sparse_recovery(60, 10, 16, sparsity=2, random_state=0)


def test_classical_layers_enlarge_nothing_and_bad_ones_are_found(data):
    model = LISTARegressor(data.dictionary, n_layers=4, trainer=Trainer(max_epochs=0)).fit(data.X)
    found = amplification(model, data.X)
    assert found.worst.max() <= 1 + 1e-6 and found.through.max() <= 1 + 1e-6
    with torch.no_grad():
        model.network_.layers[2].weights.W.mul_(50.0)
    found = amplification(model, data.X)
    assert found.worst.argmax() == 2 and found.worst_through > 3
    display = AmplificationDisplay.from_estimator(model, data.X)
    np.testing.assert_allclose(display.lines_[2].get_ydata(), found.worst, rtol=1e-6)


def test_rules_with_memory_and_layers_of_other_kinds(data):
    found = amplification(HyperLISTARegressor(data.dictionary).fit(data.X), data.X)
    assert np.isfinite(found.worst).all()
    obs = problem()
    found = amplification(dense_admm(obs.A, n_layers=3), obs)
    assert np.isnan(found.worst).all() and np.isnan(found.worst_through)
    assert np.isfinite(found.at_data).all() and found.at_data.any()
    D = np.random.default_rng(0).standard_normal((60, 16, 10))
    model = AdaLISTARegressor(n_layers=3, trainer=Trainer(max_epochs=0))
    found = amplification(model.fit(data.X, operators=D), data.X, operators=D)
    assert found.at_data.shape == (60, 3)


def test_a_guarded_network_can_be_examined_too():
    obs = problem()
    net = lista(obs.A, n_layers=3, alpha=0.3)
    guarded_net = guarded(net)
    composite = Composite.of(obs.b, obs.A, LeastSquares(), L1(0.3))
    np.testing.assert_allclose(
        amplification(guarded_net, composite).at_data, amplification(net, obs).at_data, rtol=0.02
    )


def test_bad_input(data):
    with pytest.raises(ValueError, match="n_iter must be at least 1, got 0"):
        amplification(lista(problem().A), problem(), n_iter=0)
