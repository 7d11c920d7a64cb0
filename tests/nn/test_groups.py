"""Networks that shrink groups: block ISTA before training, and plain networks for single atoms."""

import numpy as np
import pytest
import torch

from sklearn_unroll.functional import (
    Composite,
    Dense,
    GroupL1,
    LeastSquares,
    Observation,
    analytic_weight,
    block_analytic_weight,
    group_norms,
)
from sklearn_unroll.nn import (
    ConditionalMean,
    CoupledWeights,
    GroupShrinkage,
    LearnedRule,
    OnsagerRule,
    ProxGradLayer,
    ProxShrinkage,
    Shrink,
    SmoothThreshold,
    SupportSelection,
    ada_lista,
    alista,
    calibrate_thresholds,
    guarded,
    lista,
)
from tests.conftest import make_problem
from tests.networks import BLOCKS, ROOTS

DEPTH = 8
LABELS = torch.tensor(BLOCKS)
R = GroupL1(BLOCKS, ROOTS)


def numpy_block_ista(b, D, alpha, n_iter, step):
    """Block ISTA written out in numpy, sharing no code with the package."""
    x = np.zeros((len(b), len(D)))
    yield x
    for _ in range(n_iter):
        z = x - step * (x @ D - b) @ D.T
        x = np.zeros_like(z)
        for g in range(6):
            own = np.flatnonzero(np.array(BLOCKS) == g)
            sizes = np.linalg.norm(z[:, own], axis=1, keepdims=True)
            cut = alpha * step * np.sqrt(len(own))
            x[:, own] = np.where(sizes > cut, 1 - cut / np.maximum(sizes, 1e-300), 0) * z[:, own]
        yield x


@pytest.mark.parametrize("weights", ["free", "coupled", "adjoint", "adapted"])
def test_untrained_block_lista_is_block_ista_step_by_step(weights):
    obs, _ = make_problem()
    make = {"adapted": ada_lista}.get(weights, lista)
    given = {} if weights == "adapted" else {"weights": weights}
    network = make(obs.A, n_layers=DEPTH, alpha=0.2, penalty=R, **given)
    D = obs.A.D.numpy()
    classical = numpy_block_ista(obs.b.numpy(), D, 0.2, DEPTH, 1 / np.linalg.norm(D, 2) ** 2)
    with torch.no_grad():
        for x, wanted in zip(network.iterates(obs), classical, strict=True):
            np.testing.assert_allclose(x.numpy(), wanted, atol=1e-12, rtol=0)
    active = group_norms(torch.from_numpy(wanted), LABELS) > 0
    assert 0.1 < float(active.double().mean()) < 0.9


@pytest.mark.parametrize("counts", [None, [1, 2, 3, 4]])
@pytest.mark.parametrize("analytic", [False, True])
def test_groups_of_one_are_the_plain_network(counts, analytic):
    obs, _ = make_problem()
    alone = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    one = GroupL1(alone)
    if analytic:
        make, W = alista, (analytic_weight(obs.A.D), block_analytic_weight(obs.A.D, alone))
        plain, grouped = (
            make(obs.A, w, n_layers=4, counts=counts, penalty=p)
            for w, p in zip(W, (None, one), strict=True)
        )
    else:
        plain, grouped = (
            lista(obs.A, n_layers=4, alpha=0.05, counts=counts, penalty=p) for p in (None, one)
        )
    with torch.no_grad():
        for x, wanted in zip(grouped.iterates(obs), plain.iterates(obs), strict=True):
            torch.testing.assert_close(x, wanted, atol=1e-12, rtol=0)


def test_permuted_atoms_permute_codes_and_scales_scale():
    obs, _ = make_problem()
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        x = lista(obs.A, alpha=0.05, penalty=R)(obs)
        other = Dense(obs.A.D[order])
        found = lista(other, alpha=0.05, penalty=GroupL1(LABELS[order], ROOTS))
        torch.testing.assert_close(found(Observation(obs.b, other)), x[:, order])
        scaled = lista(obs.A, alpha=0.05e6, penalty=R)(Observation(1e6 * obs.b, obs.A))
        torch.testing.assert_close(scaled, 1e6 * x)


def test_the_part_is_the_prox_and_the_longest_groups_pass():
    z = torch.randn(40, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    theta = torch.tensor(0.8, dtype=torch.float64)
    torch.testing.assert_close(
        GroupShrinkage(R)(z, Shrink(theta)), ProxShrinkage(R)(z, Shrink(theta))
    )
    found = GroupShrinkage(R, SupportSelection())(z, Shrink(theta, 2))
    sizes = group_norms(z, LABELS) / ROOTS
    kept = group_norms(found, LABELS) / ROOTS
    for before, after in zip(sizes, kept, strict=True):
        largest = before.argsort(descending=True)[:2]
        wanted = (before - theta).relu()
        wanted[largest] = torch.where(before > theta, before, torch.zeros(()).double())[largest]
        torch.testing.assert_close(after, wanted)


def test_thresholds_of_samples_and_their_derivatives():
    z = torch.randn(5, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    theta = torch.linspace(0.1, 2, 5, dtype=torch.float64)[:, None]
    shrink = GroupShrinkage(R)
    found = shrink(z, Shrink(theta))
    for i in range(5):
        torch.testing.assert_close(shrink(z[[i]], Shrink(theta[i])), found[[i]])
    of = lambda z, theta: shrink(z, Shrink(theta))  # noqa: E731
    assert torch.autograd.gradcheck(of, (z.requires_grad_(), theta.requires_grad_()))


def test_pairs_that_do_not_fit_are_refused_by_name():
    obs, _ = make_problem()
    weights, theta = CoupledWeights(obs.A.D), torch.tensor(1.0)
    for shrinkage in (GroupShrinkage(R), ProxShrinkage(R)):
        name = type(shrinkage).__name__
        with pytest.raises(ValueError, match=f"OnsagerRule needs a shrinkage of each.*{name}"):
            ProxGradLayer(weights, OnsagerRule(theta), shrinkage)
    for inner in (SmoothThreshold(2.0), ConditionalMean(0.1, 1.0), ProxShrinkage(R)):
        with pytest.raises(ValueError, match=f"no sign.*got {type(inner).__name__}"):
            GroupShrinkage(R, inner)
    with pytest.raises(TypeError, match="needs the groups of a GroupL1, got list"):
        GroupShrinkage(BLOCKS)
    for weight in (0.0, torch.ones(7, 1)):
        with pytest.raises(ValueError, match="positive weights of the groups"):
            GroupShrinkage(GroupL1(BLOCKS, weight))
    layer = ProxGradLayer(weights, LearnedRule(theta), GroupShrinkage(R, SupportSelection()))
    assert layer.shrinkage.selects


def test_first_thresholds_of_groups_are_seldom_exceeded_by_noise():
    obs, y = make_problem(n_features=200, n_components=20)
    noise = torch.randn(4000, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    three = GroupL1(torch.arange(20) // 4, torch.full((5,), 2.0).double())
    over = group_norms(noise, torch.arange(20) // 4) > 2.0 * GroupShrinkage(three).margin(3.0)
    assert 1e-4 < float(over.double().mean()) < 1e-2  # as three deviations of one entry, 0.0027
    assert GroupShrinkage(GroupL1(1)).margin(3.0) == 3.0
    W = block_analytic_weight(obs.A.D, LABELS)
    network = alista(obs.A, W, n_layers=2, penalty=R)
    calibrate_thresholds(network, obs, y)
    off = (obs.b @ W.T)[y == 0]
    first = off.square().mean().sqrt() * GroupShrinkage(R).margin(3.0)
    torch.testing.assert_close(network.layers[0].rule.theta.detach(), first)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_a_guarded_network_is_never_worse_than_zeros(scale):
    obs, _ = make_problem()
    network = lista(obs.A, n_layers=4, alpha=0.05, penalty=R)
    with torch.no_grad():
        for layer in network.layers:
            layer.weights.W.mul_(300.0)
            layer.rule.theta.mul_(1e-6)
    problem = Composite.of(scale * obs.b, obs.A, LeastSquares(), GroupL1(BLOCKS, 0.05 * ROOTS))
    with torch.no_grad():
        at_zero = problem.value(torch.zeros_like(problem.first()))
        plain, safe = (problem.value(net(problem)) for net in (network, guarded(network)))
    assert bool((plain > at_zero).any())
    assert bool((safe <= at_zero * (1 + 1e-12)).all())
