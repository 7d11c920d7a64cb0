"""Each check passes what is right and fails on every operator or layer that is wrong."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from sklearn_unroll.functional import Dense, Observation, Operator
from sklearn_unroll.nn import UnrolledLayer, lista
from sklearn_unroll.testing import check_layer, check_operator

D = torch.randn(9, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Right(Operator):
    """A dense operator written by a third party; mistakes are made below, one at a time."""

    n_components, n_features = D.shape

    def __call__(self, x):
        return x @ D

    def adjoint(self, r):
        return r @ D.T


def test_a_right_operator_passes():
    check_operator(Right())
    check_operator(Right(), n_samples=5, rho=2.0, seed=3)


class Mistaken(NamedTuple):
    says: str
    changes: dict


def overwrite(self, x):
    x += 1e-3
    return (x - 1e-3) @ D


def detached(self, x):
    return x.detach() @ D + 0 * x.sum()


def mixing_rows(self, x):
    return x.flip(0) @ D


def mixing_columns(self, r):
    return (r @ D.T).flip(0)


WRONG = {
    "adjoint": Mistaken("dot test", {"adjoint": lambda s, r: 1.01 * r @ D.T}),
    "sign": Mistaken("dot test", {"adjoint": lambda s, r: -r @ D.T}),
    "affine": Mistaken(
        "is linear|dot test", {"__call__": lambda s, x: x @ D + 1.0, "residual": Right.residual}
    ),
    "shape": Mistaken("shape", {"__call__": lambda s, x: x}),
    "adjoint's shape": Mistaken("not that of x", {"adjoint": lambda s, r: r}),
    "dtype": Mistaken("dtype", {"__call__": lambda s, x: (x @ D).float()}),
    "residual": Mistaken("residual", {"residual": lambda s, b, x: s(x) - b}),
    "norm, too small": Mistaken(
        "power iteration", {"lipschitz": lambda s: 0.9 * Dense(D).lipschitz()}
    ),
    "norm, too large": Mistaken(
        "power iteration", {"lipschitz": lambda s: 1.2 * Dense(D).lipschitz()}
    ),
    "norm, not squared": Mistaken(
        "power iteration", {"lipschitz": lambda s: Dense(D).lipschitz().sqrt()}
    ),
    "bound, too small": Mistaken(
        r"lipschitz_bound\(\) is", {"lipschitz_bound": lambda s: 0.9 * Dense(D).lipschitz()}
    ),
    "norm, shape": Mistaken("shape", {"lipschitz": lambda s: Dense(D).lipschitz()[None]}),
    "take": Mistaken("take", {"take": lambda s, rows: Dense(2 * D)}),
    "to": Mistaken("a copy", {"to": lambda s, like: Dense(2 * D)}),
    "overwrites": Mistaken("overwritten|linear|dot", {"__call__": overwrite}),
    "derivative": Mistaken("derivative", {"__call__": detached}),
    "solve": Mistaken("solve_normal", {"solve_normal": lambda s, r, rho: r / rho}),
    "solve's derivative": Mistaken(
        r"derivative of solve_normal",
        {"solve_normal": lambda s, r, rho: Dense(D).solve_normal(r.detach() + 0 * r, rho)},
    ),
    "proximal": Mistaken("proximal", {"proximal": lambda s, b, x, rho: Dense(D).consistent(b, x)}),
    "proximal's derivative": Mistaken(
        r"derivative of proximal",
        {"proximal": lambda s, b, x, rho: Dense(D).proximal(b.detach(), x, rho)},
    ),
    "consistent": Mistaken("gradient", {"consistent": lambda s, b, x: x}),
    "consistent, too far": Mistaken(
        "no farther|second", {"consistent": lambda s, b, x: Dense(D).consistent(b, 0 * x)}
    ),
    "rows": Mistaken("dot test|take", {"__call__": mixing_rows, "adjoint": mixing_columns}),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_operator_fails(name):
    says, changes = WRONG[name]
    with pytest.raises(AssertionError, match=says):
        check_operator(type("Wrong", (Right,), changes)())


def test_operators_of_every_sample():
    many = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    check_operator(Dense(many), n_samples=4)

    class First(Dense):
        def take(self, rows):
            return Dense(self.D[: len(self.D[rows])])

    with pytest.raises(AssertionError, match="take"):
        check_operator(First(many), n_samples=4)


class State(NamedTuple):
    x: Tensor


class Layer(UnrolledLayer):
    """A gradient step of learned length, right."""

    def __init__(self):
        super().__init__()
        self.gamma = nn.Parameter(torch.tensor(0.05, dtype=torch.float64))

    def init(self, obs):
        return State(obs.b.new_zeros(len(obs.b), obs.A.n_components))

    def forward(self, state, obs):
        step = obs.A.adjoint(obs.A.residual(obs.b, state.x))
        return State(state.x + self.gamma * step)

    def readout(self, state):
        return state.x

    def with_iterate(self, state, x):
        return State(x)


class Momentum(NamedTuple):
    x: Tensor
    y: Tensor


class Accelerated(Layer):
    """A step from a point beyond the iterate, which is to move along with it."""

    def init(self, obs):
        x = Layer.init(self, obs).x
        return Momentum(x, x)

    def forward(self, state, obs):
        x = Layer.forward(self, State(state.y), obs).x
        return Momentum(x, x + 0.5 * (x - state.x))

    def with_iterate(self, state, x):
        return Momentum(x, state.y + (x - state.x))


class OfData(Layer):
    """Looks at the data only, so that no iterate can matter."""

    def forward(self, state, obs):
        return State(self.gamma * obs.A.adjoint(obs.b))


def observation():
    b = torch.randn(4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Observation(b, Dense(D))


def test_right_layers_pass():
    obs = observation()
    for layer in (Layer(), Accelerated(), OfData()):
        check_layer(layer, obs)
    for options in ({}, {"weights": "free"}, {"weights": "adjoint"}, {"counts": [2, 2]}):
        for layer in lista(obs.A, n_layers=2, **options).layers:
            check_layer(layer, obs)


def ground_truth(self, state, obs, x_true):
    return state


def in_place(self, state, obs):
    step = self.gamma * obs.A.adjoint(obs.A.residual(obs.b, state.x))
    with torch.no_grad():
        state.x.add_(step)
    return State(state.x + 0 * step)


def noisy(self, state, obs):
    return State(Layer.forward(self, state, obs).x + torch.randn(()).double())


def mixing(self, state, obs):
    x = Layer.forward(self, state, obs).x
    return State(x - x.mean(0))


def normalised(self, state, obs):
    x = Layer.forward(self, state, obs).x
    return State(x / x.square().sum(1, keepdim=True).sqrt())


def overwriting_the_data(self, state, obs):
    out = Layer.forward(self, state, obs)
    obs.b.mul_(2)
    return out


def square_root(self, state, obs):
    x = Layer.forward(self, state, obs).x
    return State(x.square().sum(1, keepdim=True).sqrt() * x)


def counting(self, state, obs):
    self.calls = getattr(self, "calls", 0) + 1
    return State(Layer.forward(self, state, obs).x * self.calls)


def drifting(self):
    self.gamma.sub_(0.1)


WRONG_LAYERS = {
    "ground truth": ("ground truth", {"forward": ground_truth}),
    "no NamedTuple": ("NamedTuple", {"init": lambda s, obs: (torch.zeros(4, 9),)}),
    "rows": (r"has shape \(4, 9\), got", {"init": lambda s, obs: State(torch.zeros(9, 4))}),
    "in place": ("does not overwrite its state", {"forward": in_place}),
    "random": ("deterministic", {"forward": noisy}),
    "mixing": ("do not see each other", {"forward": mixing}),
    "zero": ("zero observation gives finite codes", {"forward": normalised}),
    "overwrites": ("deterministic|do not see|data as they are", {"forward": overwriting_the_data}),
    "gradient": ("gradients are finite", {"forward": square_root}),
    "memory": ("deterministic", {"forward": counting}),
    "detached": (
        "depends on the parameters",
        {"forward": lambda s, state, obs: State(Layer.forward(s, state, obs).x.detach())},
    ),
    "float32": (
        "dtype",
        {"readout": lambda s, state: state.x.float()},
    ),
    "shape": ("shape", {"readout": lambda s, state: state.x[:, :2]}),
    "iterate ignored": ("is x", {"with_iterate": lambda s, state, x: state}),
    "iterate scaled": ("is x", {"with_iterate": lambda s, state, x: State(2 * x)}),
    "projection": ("a second time", {"project_": drifting}),
}


@pytest.mark.parametrize("name", WRONG_LAYERS)
def test_a_wrong_layer_fails(name):
    says, changes = WRONG_LAYERS[name]
    # Stored layers are found by name.
    wrong = type("Wrong", (Layer,), changes | {"__module__": __name__})
    globals()["Wrong"] = wrong
    with pytest.raises(AssertionError, match=says):
        check_layer(wrong(), observation())


def test_an_iterate_that_the_next_step_does_not_see_fails():
    class Aside(Accelerated):
        def with_iterate(self, state, x):
            return state._replace(x=x)

        def forward(self, state, obs):  # momentum aside, as it would see x
            x = Layer.forward(self, State(state.y), obs).x
            return Momentum(x, x)

    globals()["Aside"] = Aside
    Aside.__qualname__ = "Aside"
    with pytest.raises(AssertionError, match=r"after with_iterate\(state, x\) depends on x"):
        check_layer(Aside(), observation())


def test_without_with_iterate_there_is_no_layer():
    class Three(UnrolledLayer):
        init, forward, readout = Layer.init, Layer.forward, Layer.readout

    with pytest.raises(TypeError, match="with_iterate"):
        Three()


def test_an_idle_parameter_is_named():
    layer = Layer()
    layer.idle = nn.Parameter(torch.ones(3))
    with pytest.raises(AssertionError, match=r"\['idle'\] have no gradient"):
        check_layer(layer, observation())


def test_what_is_no_layer_or_too_few_samples():
    with pytest.raises(AssertionError, match="no UnrolledLayer"):
        check_layer(nn.Identity(), observation())
    with pytest.raises(AssertionError, match="at least three samples"):
        check_layer(Layer(), observation().take(slice(2)))
