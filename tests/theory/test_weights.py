import numpy as np
import pytest
import torch

from sklearn_unroll import (
    ALISTARegressor,
    HyperLISTARegressor,
    LassoCoder,
    LISTARegressor,
    Trainer,
)
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, analytic_weight, mutual_coherence
from sklearn_unroll.nn import (
    CoupledWeights,
    FBSRule,
    LearnedRule,
    LearnedStep,
    ProxGradLayer,
    Unrolled,
    UnrolledLayer,
    alista,
    dense_admm,
    lista,
)
from sklearn_unroll.theory import coherence, weight_coupling
from tests.estimator_table import case, fitted

MERCEDES = np.array([[0.0, 1.0], [-(3**0.5) / 2, -0.5], [3**0.5 / 2, -0.5]])  # a tight frame


def operator(D):
    """Return the operator of a dictionary of either kind."""
    return Dense(torch.as_tensor(D))


def network_of(weights):
    """Return a network with the given weights in its layers, and steps of one."""
    rule = LearnedStep(torch.ones(()), alpha=0.0)
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
        np.testing.assert_allclose(coherence(network, operator(D)), [expected] * 3, atol=1e-15)
    np.testing.assert_allclose(
        coherence(network_of([ScaledAdjoint(0.25)]), operator(D)), expected, atol=1e-15
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
    found = coherence(network, operator(D))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [brute_force_coherence(W, D) for W in matrices])
    assert len(np.unique(found)) == 3


def test_scaling_rows_changes_nothing():
    D = torch.from_numpy(random_dictionary())
    W = analytic_weight(D)
    rows = torch.linspace(0.1, 7, len(D), dtype=D.dtype)[:, None]
    network = network_of([CoupledWeights(W), CoupledWeights(W * rows)])
    expected = float(mutual_coherence(W, D))
    np.testing.assert_allclose(coherence(network, operator(D)), [expected] * 2)


def test_rows_that_no_positive_step_scales_are_infinite():
    D = torch.from_numpy(random_dictionary())
    orthogonal, negative = D.clone(), D.clone()
    orthogonal[2, :2] = torch.tensor([D[2, 1], -D[2, 0]])
    orthogonal[2, 2:] = 0
    negative[3] *= -1
    zero = D.clone()
    zero[0] = 0
    network = network_of(CoupledWeights(W) for W in (D, orthogonal, negative, zero))
    found = coherence(network, operator(D))
    assert np.isfinite(found[0])
    np.testing.assert_array_equal(found[1:], np.inf)
    # In float32 the products are zero to its rounding only.
    nearly = orthogonal.float()
    nearly[2] += 1e-8 * D[2]
    assert coherence(network_of([CoupledWeights(nearly)]), operator(D.float())) == np.inf
    assert np.isfinite(coherence(network_of([CoupledWeights(nearly.double())]), operator(D)))


def test_zero_atoms_are_left_out():
    D = random_dictionary()
    D[4] = 0
    kept = np.delete(D, 4, axis=0)
    found = coherence(network_of([CoupledWeights(torch.from_numpy(D))]), operator(D))
    np.testing.assert_allclose(found, brute_force_coherence(kept, kept))
    nothing = np.zeros((3, 2))
    network = network_of([CoupledWeights(torch.zeros(3, 2, dtype=torch.float64))])
    assert coherence(network, operator(nothing)) == 0


def test_one_atom_is_coherent_with_no_other():
    D = np.array([[2.0, 1.0]])
    assert coherence(network_of([CoupledWeights(torch.from_numpy(D))]), operator(D)) == 0


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


@pytest.mark.parametrize("name", ["LISTA", "Ada-LISTA", "ADMM-CSNet, dense", "NA-ALISTA"])
def test_an_estimator_is_its_network_with_its_operator(name):
    model = fitted(name)
    A = model.network_operator()
    for measure in (coherence, weight_coupling):
        np.testing.assert_array_equal(measure(model), measure(model.network_, A))


def test_estimators_for_any_dictionary_are_examined_with_one_of_them():
    model = fitted("Ada-LISTA, operators")
    obs, _ = model.observe(case("Ada-LISTA, operators").X, **case("Ada-LISTA, operators").metadata)
    with pytest.raises(ValueError, match="AdaLISTARegressor has no operator of its own"):
        coherence(model)
    with pytest.raises(ValueError, match=r"one real matrix .*got shape \(80, 16, 10\)"):
        coherence(model, obs.A)
    one = Dense(obs.A.D[3])
    np.testing.assert_array_equal(coherence(model, one), coherence(model.network_, one))


def test_admm_is_coupled_by_its_algorithm():
    A = operator(random_dictionary())
    network = dense_admm(A, n_layers=2)
    np.testing.assert_allclose(weight_coupling(network, A), 0, atol=1e-14)
    D, rho = A.D.numpy(), 0.1 * np.linalg.norm(A.D.numpy(), 2) ** 2
    W = np.linalg.solve(D @ D.T + rho * np.eye(9), D)
    np.testing.assert_allclose(coherence(network, A), brute_force_coherence(W, D))


def test_float32_networks_are_examined_in_float64():
    D = random_dictionary().astype(np.float32)
    network = lista(Dense(torch.from_numpy(D)), n_layers=2, weights="free")
    assert network.layers[0].weights.W1.dtype == torch.float32
    expected = brute_force_coherence(D.astype(float), D.astype(float))
    np.testing.assert_allclose(coherence(network, operator(D)), expected, rtol=1e-6)
    assert 0 < weight_coupling(network, operator(D)).max() < 1e-6
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
    found = weight_coupling(network, operator(D))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, spectral)
    np.testing.assert_allclose(weight_coupling(network, operator(D), norm="frobenius"), frobenius)


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
            found = weight_coupling(network, operator(D), norm=norm)
            np.testing.assert_array_equal(found, [0, 0])


def test_free_weights_start_coupled_at_zero_weights_are_one_away():
    D = torch.from_numpy(random_dictionary())
    network = lista(Dense(D), n_layers=2, weights="free")
    with torch.no_grad():
        for parameter in network.layers[1].weights.parameters():
            parameter.zero_()
    for norm in ("spectral", "frobenius"):
        found = weight_coupling(network, operator(D), norm=norm)
        np.testing.assert_allclose(found, [0, 1], atol=1e-14)


def test_learned_steps_are_part_of_the_weights():
    # W2 + W1 A - I = gamma (1 - scale) A^T A, and ||A^T A|| = 1.5 for this frame.
    part, theta = Detuned(0.8), torch.tensor(0.1)
    steps = [torch.tensor(gamma) for gamma in (0.5, 1.0, 0.25)]
    rules = [LearnedRule(theta, steps[0]), LearnedStep(steps[1], 0.1), FBSRule(steps[2], theta, 4)]
    layers = [ProxGradLayer(part, rule) for rule in rules]
    found = weight_coupling(Unrolled(layers), operator(MERCEDES))
    np.testing.assert_allclose(found, 0.2 * 1.5 * np.array([0.5, 1, 1]), rtol=1e-6)


def test_tied_layers_are_computed_once(monkeypatch):
    calls = []
    forward = CoupledWeights.forward
    monkeypatch.setattr(CoupledWeights, "forward", lambda *args: calls.append(1) or forward(*args))
    D = random_dictionary()
    tied = lista(Dense(torch.from_numpy(D)), n_layers=5, tied=True)
    found = coherence(tied, operator(D))
    assert len(calls) == 1
    assert found.shape == (5,)
    assert len(np.unique(found)) == 1
    assert weight_coupling(tied, operator(D)).shape == (5,)


def test_neither_network_nor_gradients_are_touched():
    D = torch.from_numpy(random_dictionary())
    network = lista(Dense(D), n_layers=2, weights="free")
    before = [p.clone() for p in network.parameters()]
    coherence(network, operator(D))
    weight_coupling(network, operator(D))
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
    model.set_params(trainer=Trainer(learning_rate=3e-3, max_epochs=25)).fit(data.X, data.y)
    trained = weight_coupling(model)
    assert_below(trained[-1] / start[-1], 0.85)
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
    for other in (LISTARegressor(D), LassoCoder(D).fit(D), torch.nn.Linear(2, 2)):
        with pytest.raises(
            TypeError, match=f"network_operator is needed.*got {type(other).__name__}"
        ):
            examine(other, operator(D))
    for other in (None, D):
        with pytest.raises(TypeError, match=r"Dense one, as A=Dense\(dictionary\); got (None|nd)"):
            examine(network, other)
    with pytest.raises(TypeError, match="Layer 2 of the network, a Bare, has no weights"):
        examine(Unrolled([network.layers[0], Bare()]), operator(D))
    with pytest.raises(ValueError, match=r"real matrix .* got shape \(1, 9, 5\)"):
        examine(network, operator(D[None]))
    with pytest.raises(ValueError, match="got shape .* and torch.int64"):
        examine(network, operator(np.ones((9, 5), dtype=int)))
    with pytest.raises(ValueError, match="The operator does not fit the network: .*"):
        examine(network, operator(D.T))
    with pytest.raises(ValueError, match=r"one of \['frobenius', 'spectral'\], got 'nuclear'"):
        weight_coupling(network, operator(D), norm="nuclear")
