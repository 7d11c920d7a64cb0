"""L2O-DM and RNNprop: what they see, that they learn, and that the safeguard tames them."""

from itertools import pairwise

import pytest
import torch

from sklearn_unroll.functional import L1, Composite, LeastSquares
from sklearn_unroll.nn import Guarded, Unrolled, l2o_dm, rnnprop
from sklearn_unroll.training import ProblemObjective, Trainer
from tests.conftest import make_problem

RECIPES = {"l2o_dm": l2o_dm, "rnnprop": rnnprop}


def lasso(seed=0):
    obs, _ = make_problem(20, per_sample=True, seed=seed)
    return Composite.of(obs.b, obs.A, LeastSquares(), L1(0.1))


def network(name, n_layers=10):
    generator = torch.Generator().manual_seed(0)
    like = torch.empty(0, dtype=torch.float64)
    return RECIPES[name](like, n_layers=n_layers, hidden_size=8, generator=generator)


@pytest.mark.parametrize("name", RECIPES)
def test_steps_are_what_the_network_says_of_the_subgradient(name):
    problem, layer = lasso(), network(name).layers[0]
    problem = problem._replace(x0=torch.linspace(-1, 1, 400).double().reshape(20, 20))
    state = layer.init(problem)
    x = problem.x0
    g = problem.gradient(x) + 0.1 * x.sign()
    # In the first step mean and root mean square are those of one subgradient.
    seen = (g, x) if name == "l2o_dm" else (g / (g.abs() + 1e-8),) * 2
    out, _ = layer.network(torch.stack(seen).flatten(1), state.memory)
    out = out.view(20, 20)
    step = torch.where(out > 0, out, out.exp() - 1) if name == "l2o_dm" else out.tanh()
    torch.testing.assert_close(layer(state, problem).x, x + 0.1 * step)


@pytest.mark.parametrize("name", RECIPES)
def test_training_lowers_the_objective_of_new_instances(name, assert_below):
    train, test = lasso(), lasso(1)
    net = network(name, n_layers=20)
    before = test.value(net(test)).mean().detach()
    trainer = Trainer(
        ProblemObjective("mean"), learning_rate=3e-2, max_epochs=15, early_stopping=False
    )
    trainer.run(net, train, alpha=1.0, generator=torch.Generator().manual_seed(0))
    after = test.value(net(test)).mean().detach()
    assert_below(after / before, 0.85)


@pytest.mark.parametrize("name", RECIPES)
def test_the_safeguard_tames_them(name):
    problem = lasso()
    net = Unrolled([Guarded(network(name).layers[0], "descent")] * 12)
    values = [problem.value(x).detach() for x in net.iterates(problem)]
    assert all(bool((new <= old).all()) for old, new in pairwise(values))
    assert bool((values[-1] <= values[0]).all())
    assert bool(values[-1].mean() < 0.7 * values[0].mean())
