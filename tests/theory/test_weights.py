from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sklearn_unroll import ALISTARegressor, HyperLISTARegressor, LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, analytic_weight, mutual_coherence
from sklearn_unroll.nn import CoupledWeights, ProxGradLayer, Unrolled, UnrolledLayer, alista, lista
from sklearn_unroll.theory import coherence, weight_coupling

MERCEDES = np.array([[0.0, 1.0], [-(3**0.5) / 2, -0.5], [3**0.5 / 2, -0.5]])  # a tight frame


def subject(network, D):
    return SimpleNamespace(network_=network, dictionary_=D)


def network_of(weights, rule=None):
    """Return a network with the given weights in its layers."""
    return Unrolled(ProxGradLayer(part, rule) for part in weights)


def random_dictionary(n_components=9, n_features=5, seed=0):
    return np.random.default_rng(seed).standard_normal((n_components, n_features))


def brute_force_coherence(W, D):
    n = len(D)
    scaled = [W[i] / (W[i] @ D[i]) for i in range(n)]
    return max(abs(scaled[i] @ D[j]) for i in range(n) for j in range(n) if i != j)


class ScaledAdjoint(torch.nn.Module):
    """A third party's weights, with a step that they need: ``x + gamma scale A^T (b - A x)``."""

    def __init__(self, scale):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(scale))

    def forward(self, x, obs, gamma):
        return x + gamma * self.scale * obs.A.adjoint(obs.A.residual(obs.b, x))


class Detuned(ScaledAdjoint):
    """``x + gamma A^T (b - scale A x)``: not coupled unless the scale is one."""

    def forward(self, x, obs, gamma):
        return x + gamma * obs.A.adjoint(obs.b - self.scale * obs.A(x))


@pytest.mark.parametrize(("D", "expected"), [(np.eye(4), 0.0), (MERCEDES, 0.5)])
def test_untrained_networks_have_the_coherence_of_the_dictionary(D, expected):
    for weights in ("free", "coupled"):
        network = lista(Dense(torch.from_numpy(D)), n_layers=3, weights=weights)
        np.testing.assert_allclose(coherence(subject(network, D)), [expected] * 3, atol=1e-15)
    np.testing.assert_allclose(
        coherence(subject(network_of([ScaledAdjoint(0.25)]), D)), expected, atol=1e-15
    )


@pytest.mark.parametrize("weights", ["free", "coupled"])
def test_coherence_against_a_loop(weights):
    D = random_dictionary()
    network = lista(Dense(torch.from_numpy(D)), n_layers=3, weights=weights)
    generator = torch.Generator().manual_seed(0)
    matrices = []
    with torch.no_grad():
        for layer in network.layers:
            W = layer.weights.W1 if weights == "free" else layer.weights.W
            W += 0.02 * torch.randn(W.shape, generator=generator, dtype=W.dtype)
            matrices.append(W.numpy())
    found = coherence(subject(network, D))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [brute_force_coherence(W, D) for W in matrices])
    assert len(np.unique(found)) == 3


def test_scaling_rows_changes_nothing():
    D = torch.from_numpy(random_dictionary())
    W = analytic_weight(D)
    rows = torch.linspace(0.1, 7, len(D), dtype=D.dtype)[:, None]
    network = network_of([CoupledWeights(W), CoupledWeights(W * rows)])
    expected = float(mutual_coherence(W, D))
    np.testing.assert_allclose(coherence(subject(network, D)), [expected] * 2)


def test_rows_that_no_positive_step_scales_are_infinite():
    D = torch.from_numpy(random_dictionary())
    orthogonal, negative = D.clone(), D.clone()
    orthogonal[2, :2] = torch.tensor([D[2, 1], -D[2, 0]])
    orthogonal[2, 2:] = 0
    negative[3] *= -1
    zero = D.clone()
    zero[0] = 0
    network = network_of(CoupledWeights(W) for W in (D, orthogonal, negative, zero))
    found = coherence(subject(network, D))
    assert np.isfinite(found[0])
    np.testing.assert_array_equal(found[1:], np.inf)
    # In float32 the products are zero to its rounding only.
    nearly = orthogonal.float()
    nearly[2] += 1e-8 * D[2]
    assert coherence(subject(network_of([CoupledWeights(nearly)]), D.float())) == np.inf
    assert np.isfinite(coherence(subject(network_of([CoupledWeights(nearly.double())]), D)))


def test_zero_atoms_are_left_out():
    D = random_dictionary()
    D[4] = 0
    kept = np.delete(D, 4, axis=0)
    found = coherence(subject(network_of([CoupledWeights(torch.from_numpy(D))]), D))
    np.testing.assert_allclose(found, brute_force_coherence(kept, kept))
    nothing = np.zeros((3, 2))
    network = network_of([CoupledWeights(torch.zeros(3, 2, dtype=torch.float64))])
    assert coherence(subject(network, nothing)) == 0


def test_one_atom_is_coherent_with_no_other():
    D = np.array([[2.0, 1.0]])
    assert coherence(subject(network_of([CoupledWeights(torch.from_numpy(D))]), D)) == 0


@pytest.mark.parametrize("make", [ALISTARegressor, HyperLISTARegressor])
def test_networks_with_unit_atoms_are_examined_with_those(make):
    data = make_sparse_recovery(60, 8, 12, sparsity=2, random_state=0)
    norms = np.linspace(0.2, 5, 12)[:, None]
    D = norms * data.dictionary
    kw = {"trainer": Trainer(max_epochs=1)} if make is ALISTARegressor else {}
    model = make(D, n_layers=2, **kw).fit(data.X)
    unit = torch.from_numpy(data.dictionary)
    expected = float(mutual_coherence(analytic_weight(unit), unit))
    np.testing.assert_allclose(coherence(model), [expected] * 2)
    np.testing.assert_array_equal(weight_coupling(model), 0)


def test_fitted_dictionaries_of_any_kind_are_taken():
    D = random_dictionary()
    network = lista(Dense(torch.from_numpy(D)), n_layers=1)
    expected = coherence(subject(network, D))
    xp = pytest.importorskip("array_api_strict")
    for other in (torch.from_numpy(D), xp.asarray(D), D.tolist()):
        np.testing.assert_array_equal(coherence(subject(network, other)), expected)
    D.flags.writeable = False
    np.testing.assert_array_equal(coherence(subject(network, D)), expected)


def test_float32_networks_are_examined_in_float64():
    D = random_dictionary().astype(np.float32)
    network = lista(Dense(torch.from_numpy(D)), n_layers=2, weights="free")
    assert network.layers[0].weights.W1.dtype == torch.float32
    expected = brute_force_coherence(D.astype(float), D.astype(float))
    np.testing.assert_allclose(coherence(subject(network, D)), expected, rtol=1e-6)
    assert 0 < weight_coupling(subject(network, D)).max() < 1e-6
    assert network.layers[0].weights.W1.dtype == torch.float32  # left as it was


def test_coupling_against_a_loop():
    D = random_dictionary()
    network = lista(Dense(torch.from_numpy(D)), n_layers=3, weights="free")
    generator = torch.Generator().manual_seed(0)
    spectral, frobenius = [], []
    with torch.no_grad():
        for layer in network.layers:
            W1, W2 = layer.weights.W1, layer.weights.W2
            W1 += 0.1 * torch.randn(W1.shape, generator=generator, dtype=W1.dtype)
            W2 += 0.1 * torch.randn(W2.shape, generator=generator, dtype=W2.dtype)
            gap = W2.numpy() + W1.numpy() @ D.T - np.eye(9)
            spectral.append(np.sqrt(np.linalg.eigvalsh(gap.T @ gap)[-1]))
            frobenius.append(np.sqrt((gap**2).sum() / 9))
    found = weight_coupling(subject(network, D))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, spectral)
    np.testing.assert_allclose(weight_coupling(subject(network, D), norm="frobenius"), frobenius)


def test_coupling_is_zero_where_it_is_built_in():
    D = torch.from_numpy(random_dictionary())
    coupled = lista(Dense(D), n_layers=2, learn_step=True)
    with torch.no_grad():
        coupled.layers[0].weights.W += 1
        coupled.layers[1].rule.gamma.fill_(3.0)
    analytic = alista(Dense(D), analytic_weight(D), n_layers=2)
    adjoint = network_of([ScaledAdjoint(0.25), ScaledAdjoint(7.0)])
    for network in (coupled, analytic, adjoint):
        for norm in ("spectral", "frobenius"):
            found = weight_coupling(subject(network, D), norm=norm)
            np.testing.assert_array_equal(found, [0, 0])


def test_free_weights_start_coupled_at_zero_weights_are_one_away():
    D = torch.from_numpy(random_dictionary())
    network = lista(Dense(D), n_layers=2, weights="free")
    with torch.no_grad():
        for parameter in network.layers[1].weights.parameters():
            parameter.zero_()
    for norm in ("spectral", "frobenius"):
        found = weight_coupling(subject(network, D), norm=norm)
        np.testing.assert_allclose(found, [0, 1], atol=1e-14)


def test_learned_steps_are_part_of_the_weights():
    # W2 + W1 A - I = gamma (1 - scale) A^T A, and ||A^T A|| = 1.5 for this frame.
    part = Detuned(0.8)
    layers = []
    for gamma in (0.5, 1.0, 0.5, None):
        rule = torch.nn.Module()
        rule.gamma = None if gamma is None else torch.nn.Parameter(torch.tensor(gamma))
        layers.append(ProxGradLayer(part, rule))
    found = weight_coupling(subject(Unrolled(layers), MERCEDES))
    np.testing.assert_allclose(found, 0.2 * 1.5 * np.array([0.5, 1, 0.5, 1]), rtol=1e-6)


def test_tied_layers_are_computed_once(monkeypatch):
    calls = []
    forward = CoupledWeights.forward
    monkeypatch.setattr(CoupledWeights, "forward", lambda *args: calls.append(1) or forward(*args))
    D = random_dictionary()
    tied = lista(Dense(torch.from_numpy(D)), n_layers=5, tied=True)
    found = coherence(subject(tied, D))
    assert len(calls) == 1
    assert found.shape == (5,)
    assert len(np.unique(found)) == 1
    assert weight_coupling(subject(tied, D)).shape == (5,)
    assert len(calls) == 2


def test_neither_network_nor_gradients_are_touched():
    D = torch.from_numpy(random_dictionary())
    network = lista(Dense(D), n_layers=2, weights="free")
    before = [p.clone() for p in network.parameters()]
    coherence(subject(network, D))
    weight_coupling(subject(network, D))
    for parameter, value in zip(network.parameters(), before, strict=True):
        assert parameter.grad is None
        torch.testing.assert_close(parameter.detach(), value.detach(), rtol=0, atol=0)


def test_training_couples_the_last_layers(assert_below):
    data = make_sparse_recovery(4000, 20, 30, sparsity=2, dtype="float32", random_state=0)
    model = LISTARegressor(
        data.dictionary,
        n_layers=12,
        weights="free",
        warm_start=True,
        trainer=Trainer(max_epochs=0),
        random_state=0,
    ).fit(data.X[:100], data.y[:100])
    assert weight_coupling(model).max() < 1e-5
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in model.network_.layers:
            W2 = layer.weights.W2
            W2 += 0.2 * torch.randn(W2.shape, generator=generator) / 30**0.5
    start = weight_coupling(model)
    model.set_params(trainer=Trainer(learning_rate=3e-3, max_epochs=15)).fit(data.X, data.y)
    trained = weight_coupling(model)
    assert_below(trained[-1] / start[-1], 0.8)
    assert_below(trained[-1] / trained.max(), 0.6)
    assert_below(trained[-1] / trained[-4], 0.85)


class Bare(UnrolledLayer):
    """A layer of another family."""

    def init(self, obs):
        raise NotImplementedError

    def forward(self, state, obs):
        raise NotImplementedError

    def readout(self, state):
        raise NotImplementedError

    def with_iterate(self, state, x):
        raise NotImplementedError


@pytest.mark.parametrize("examine", [coherence, weight_coupling])
def test_bad_input_is_told(examine):
    D = random_dictionary()
    network = lista(Dense(torch.from_numpy(D)), n_layers=2)
    with pytest.raises(AttributeError, match="LISTARegressor has no network_ and no dictionary_"):
        examine(LISTARegressor(D))
    with pytest.raises(TypeError, match="must be an Unrolled network, got Linear"):
        examine(subject(torch.nn.Linear(2, 2), D))
    with pytest.raises(TypeError, match="Layer 2 of the network, a Bare, has no weights"):
        examine(subject(Unrolled([network.layers[0], Bare()]), D))
    with pytest.raises(ValueError, match=r"real matrix .* got shape \(1, 9, 5\)"):
        examine(subject(network, D[None]))
    with pytest.raises(ValueError, match="None: every sample has its own"):
        examine(subject(network, None))
    with pytest.raises(ValueError, match="got shape .* and torch.int64"):
        examine(subject(network, np.ones((9, 5), dtype=int)))
    with pytest.raises(ValueError, match=r"shape \(5, 9\) does not fit the network"):
        examine(subject(network, D.T))
    with pytest.raises(ValueError, match=r"one of \['frobenius', 'spectral'\], got 'nuclear'"):
        weight_coupling(subject(network, D), norm="nuclear")
