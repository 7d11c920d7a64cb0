"""Every penalty: its prox is the minimiser that it claims to be."""

import cvxpy as cp
import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_unroll.functional import (
    L1,
    Box,
    ElasticNet,
    GroupL1,
    NonnegativeL1,
    Penalty,
    Quadratic,
    Scaled,
    Zero,
)
from sklearn_unroll.functional.penalties import PENALTIES

N = 6
LABELS = [0, 2, 1, 0, 2, 2]


def group_norms(u):
    return sum(cp.norm2(u[[i for i in range(N) if LABELS[i] == g]]) for g in range(3))


class Users:
    """An l1 norm that is no Penalty."""

    def value(self, x):
        return x.abs().sum(-1)

    def prox(self, x, step):
        return x.sign() * (x.abs() - step).relu()


# The penalty, and the same written for cvxpy: value and constraints.
CASES = {
    "l1": (L1(0.7), lambda u: (0.7 * cp.norm1(u), [])),
    "nonnegative": (NonnegativeL1(0.7), lambda u: (0.7 * cp.sum(u), [u >= 0])),
    "groups": (GroupL1(LABELS, 0.9), lambda u: (0.9 * group_norms(u), [])),
    "group size": (
        GroupL1(3, 0.9),
        lambda u: (0.9 * (cp.norm2(u[:3]) + cp.norm2(u[3:])), []),
    ),
    "elastic": (
        ElasticNet(0.8, l1_ratio=0.3),
        lambda u: (0.8 * (0.3 * cp.norm1(u) + 0.35 * cp.sum_squares(u)), []),
    ),
    "box": (Box(-0.3, 0.8), lambda u: (0, [u >= -0.3, u <= 0.8])),
    "quadratic": (Quadratic(0.6), lambda u: (0.3 * cp.sum_squares(u), [])),
    "zero": (Zero(), lambda u: (0, [])),
    "scaled": (
        Scaled(ElasticNet(0.4, l1_ratio=0.3), 2.0),
        lambda u: (0.8 * (0.3 * cp.norm1(u) + 0.35 * cp.sum_squares(u)), []),
    ),
    "scaled box": (Scaled(Box(-0.3, 0.8), 0.7), lambda u: (0, [u >= -0.3, u <= 0.8])),
    "a user's": (Scaled(Users(), 0.7), lambda u: (0.7 * cp.norm1(u), [])),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture
def x():
    return 1.5 * torch.randn(
        40, N, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )


@pytest.mark.parametrize("step", [0.4, 1.7])
def test_prox_agrees_with_cvxpy(case, x, step):
    penalty, write = case
    found = penalty.prox(x[:5], step)
    for point, ours in zip(x[:5].numpy(), found.numpy(), strict=True):
        u = cp.Variable(N)
        value, constraints = write(u)
        cp.Problem(cp.Minimize(0.5 * cp.sum_squares(u - point) + step * value), constraints).solve(
            solver=cp.CLARABEL
        )
        np.testing.assert_allclose(ours, u.value, atol=2e-5)


def test_value_agrees_with_cvxpy(case, x):
    penalty, write = case
    for row in penalty.prox(x[:5], 0.2):  # in the domain
        u = cp.Variable(N, value=row.numpy())
        value, _ = write(u)
        expected = value.value if hasattr(value, "value") else value
        assert float(penalty.value(row[None])) == pytest.approx(float(expected), abs=1e-12)


def test_no_other_point_is_better_than_the_prox(case, x):
    penalty, _ = case
    best = penalty.prox(x, 0.5)

    def goal(u):
        return 0.5 * (u - x).square().sum(-1) + 0.5 * penalty.value(u)

    generator = torch.Generator().manual_seed(1)
    for size in (1.0, 1e-2, 1e-4):
        move = size * torch.randn(x.shape, dtype=x.dtype, generator=generator)
        assert bool((goal(best + move) >= goal(best) - 1e-12).all())
    assert bool(torch.isfinite(goal(best)).all())


def test_prox_is_firmly_nonexpansive(case, x):
    penalty, _ = case
    p, q = penalty.prox(x[:20], 0.8), penalty.prox(x[20:], 0.8)
    inner = ((p - q) * (x[:20] - x[20:])).sum(-1)
    assert bool(((p - q).square().sum(-1) <= inner + 1e-12).all())


def test_value_is_convex_and_least_at_a_fixed_point_of_the_prox(case, x):
    penalty, _ = case
    u, v = penalty.prox(x[:20], 0.1), penalty.prox(x[20:], 0.1)
    between = penalty.value(0.3 * u + 0.7 * v)
    assert bool((between <= 0.3 * penalty.value(u) + 0.7 * penalty.value(v) + 1e-12).all())
    least = torch.zeros_like(x)
    assert torch.equal(penalty.prox(least, 1.0), least)


@pytest.mark.parametrize("step", [0.5, 2.0])
def test_moreau_with_the_written_out_conjugate(x, step):
    # x = prox_{s R}(x) + s prox_{R*/s}(x / s); the conjugate of a norm is the ball of its dual.
    ball = Box(-0.7, 0.7).prox(x / step, 1 / step)
    torch.testing.assert_close(L1(0.7).prox(x, step) + step * ball, x)
    dual = Quadratic(1 / 0.6).prox(x / step, 1 / step)
    torch.testing.assert_close(Quadratic(0.6).prox(x, step) + step * dual, x)
    below = Box(-np.inf, 0.7).prox(x / step, 1 / step)
    torch.testing.assert_close(NonnegativeL1(0.7).prox(x, step) + step * below, x)
    one_group = GroupL1(N, 0.7)
    in_ball = x / step * (0.7 / (x / step).norm(dim=1, keepdim=True)).clamp_max(1)
    torch.testing.assert_close(one_group.prox(x, step) + step * in_ball, x)


def test_a_step_of_zero_projects_onto_the_domain(case, x):
    penalty, _ = case
    if isinstance(penalty, Box) or isinstance(getattr(penalty, "penalty", None), Box):
        expected = x.clamp(-0.3, 0.8)
    else:
        expected = x.relu() if isinstance(penalty, NonnegativeL1) else x
    torch.testing.assert_close(penalty.prox(x, 0.0), expected, rtol=0, atol=0)
    torch.testing.assert_close(penalty.prox(x, x.new_zeros(())), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["l1", "nonnegative", "groups", "elastic", "quadratic"])
def test_weights_and_steps_of_each_sample(name, x):
    penalty = CASES[name][0]
    weight = torch.linspace(0.1, 2, len(x), dtype=x.dtype)[:, None]
    step = torch.linspace(1, 0.3, len(x), dtype=x.dtype)[:, None]
    each = clone(penalty).set_params(weight=weight)
    values, points = each.value(x.relu()), each.prox(x, step)
    assert values.shape == (len(x),)
    for i in (0, 13, 39):
        alone = clone(penalty).set_params(weight=float(weight[i]))
        torch.testing.assert_close(alone.value(x[[i]].relu()), values[[i]])
        torch.testing.assert_close(alone.prox(x[[i]], float(step[i])), points[[i]])
    rows = torch.tensor([5, 2])
    torch.testing.assert_close(each.take(rows).prox(x[rows], step[rows]), points[rows])
    torch.testing.assert_close(each.take(slice(3)).value(x[:3].relu()), values[:3])
    assert penalty.take(rows) is penalty  # nothing in it belongs to a sample


@pytest.mark.parametrize("inner", [NonnegativeL1(0.7), Users()], ids=["nonnegative", "a user's"])
def test_factors_of_each_sample(inner, x):
    factor = torch.linspace(0, 2, len(x), dtype=x.dtype)[:, None]
    each, x = Scaled(inner, factor), x.abs()
    values, points = each.value(x), each.prox(x, 0.6)
    assert values.shape == (len(x),)
    for i in (0, 13, 39):
        alone = Scaled(inner, float(factor[i]))
        torch.testing.assert_close(alone.value(x[[i]]), values[[i]])
        torch.testing.assert_close(alone.prox(x[[i]], 0.6), points[[i]])
    rows = torch.tensor([5, 2])
    torch.testing.assert_close(each.take(rows).prox(x[rows], 0.6), points[rows])
    torch.testing.assert_close(each.take(slice(3)).value(x[:3]), values[:3])


def test_scaled_keeps_weights_of_samples_and_the_domain(x):
    weight = torch.linspace(0.1, 2, len(x), dtype=x.dtype)[:, None]
    scaled, rows = Scaled(L1(weight), 3.0), torch.tensor([5, 2])
    torch.testing.assert_close(scaled.value(x), L1(3 * weight).value(x))
    torch.testing.assert_close(scaled.take(rows).value(x[rows]), scaled.value(x)[rows])
    assert bool(Scaled(Box(0, 0.1), 0.0).value(x).isinf().all())
    again = clone(scaled).set_params(factor=2.0)
    torch.testing.assert_close(again.prox(x, 0.1), L1(weight).prox(x, 0.2))
    with pytest.raises(ValueError, match="factor must be nonnegative"):
        Scaled(L1(), -1.0)


def test_box_with_bounds_of_each_entry(x):
    lower, upper = np.linspace(-1, 0, N), torch.linspace(0, 1, N)
    found = Box(lower, upper).prox(x, 1.0)
    np.testing.assert_allclose(found.numpy(), np.clip(x.numpy(), lower, upper.numpy()), atol=1e-7)
    assert found.dtype == x.dtype
    assert not Box(lower, 2.0).value(found).any()


def test_prox_has_finite_derivatives_everywhere(case):
    x = torch.zeros(3, N, requires_grad=True)
    step = torch.tensor(0.5, requires_grad=True)
    case[0].prox(x, step).sum().backward()
    assert bool(torch.isfinite(x.grad).all())
    assert step.grad is None or bool(torch.isfinite(step.grad))


def test_gradcheck_away_from_the_kinks(case, x):
    step = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(case[0].prox, (x[:6].requires_grad_(), step))


def test_float32_is_kept(case, x):
    penalty, x = case[0], x.float()
    assert penalty.prox(x, 0.5).dtype == penalty.value(x).dtype == torch.float32
    assert clone(GroupL1(np.array(LABELS), np.array(2.0))).prox(x, 0.5).dtype == torch.float32


def test_penalties_are_parameter_objects():
    penalty = ElasticNet(weight=2.0, l1_ratio=0.25)
    assert repr(penalty) == "ElasticNet(weight=2.0, l1_ratio=0.25, positive=False)"
    assert clone(penalty).get_params() == penalty.get_params()
    assert penalty.set_params(weight=3.0) is penalty and penalty.weight == 3.0
    assert Zero().get_params() == {}
    assert all(issubclass(kind, Penalty) and kind() for kind in PENALTIES.values())
    with pytest.raises(ValueError, match="Invalid parameter 'wieght'"):
        penalty.set_params(wieght=1.0)
    with pytest.raises(ValueError, match="it has none"):
        Zero().set_params(weight=1.0)
    with pytest.raises(ValueError, match="weight must be nonnegative"):
        penalty.set_params(weight=-1.0)


@pytest.mark.parametrize("kind", [L1, NonnegativeL1, ElasticNet, Quadratic])
@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf"), np.array([[0.2], [-1.0]])])
def test_a_bad_weight_is_an_error(kind, weight):
    with pytest.raises(ValueError, match="weight must be nonnegative and finite"):
        kind(weight)


@pytest.mark.parametrize("groups", [0, -1, [0.0, 1.0], [[0, 1]], [0, -1]])
def test_bad_groups_are_an_error(groups):
    with pytest.raises(ValueError, match="groups must be"):
        GroupL1(groups)


def test_other_bad_parameters_are_errors(x):
    with pytest.raises(ValueError, match="l1_ratio"):
        ElasticNet(l1_ratio=1.1)
    with pytest.raises(ValueError, match="lower must not exceed upper"):
        Box(1.0, 0.0)
    with pytest.raises(ValueError, match="3 entries, but the codes have 6"):
        GroupL1([0, 1, 1]).prox(x, 1.0)
