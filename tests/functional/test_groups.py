"""Groups of entries: their soft threshold, certificates, and the weights of groups of atoms."""

import cvxpy as cp
import numpy as np
import pytest
import torch

from sklearn_unroll.functional import (
    L1,
    Composite,
    Dense,
    GroupL1,
    LeastSquares,
    Logistic,
    Observation,
    alpha_max,
    analytic_weight,
    block_analytic_weight,
    block_coherence,
    composite_gap,
    group_norms,
    group_resize,
    group_soft,
    lasso_value,
    mutual_coherence,
    soft,
)

LABELS = torch.tensor([0, 3, 1, 0, 2, 0, 1, 3, 3, 2, 1, 0])  # of sizes 4, 3, 2, 3, interleaved
N = len(LABELS)
MEMBERS = [[i for i, label in enumerate(LABELS.tolist()) if label == g] for g in range(4)]
WEIGHT = torch.tensor([0.4, 1.0, 0.7, 1.3], dtype=torch.float64)


def normal(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_groups_of_one_are_soft_thresholded():
    z, theta = normal(50, N), torch.linspace(0, 2, 50, dtype=torch.float64)[:, None]
    alone = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(group_soft(z, theta, alone), soft(z, theta), rtol=1e-14, atol=1e-15)


def test_soft_threshold_of_groups_written_out():
    z = normal(30, N)
    found = group_soft(z, 1.1, LABELS).numpy()
    for row, ours in zip(z.numpy(), found, strict=True):
        for g in MEMBERS:
            size = np.linalg.norm(row[g])
            wanted = row[g] * (1 - 1.1 / size) if size > 1.1 else 0 * row[g]
            np.testing.assert_allclose(ours[g], wanted, rtol=1e-14, atol=1e-15)
    assert 0.1 < (found == 0).mean() < 0.9


def test_order_of_entries_and_names_of_groups_do_not_matter():
    z, order = normal(20, N), torch.randperm(N, generator=torch.Generator().manual_seed(0))
    found = group_soft(z, 0.8, LABELS)
    torch.testing.assert_close(group_soft(z[:, order], 0.8, LABELS[order]), found[:, order])
    torch.testing.assert_close(group_soft(z, 0.8, 3 - LABELS), found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_and_the_smallest_numbers_are_finite(dtype):
    tiny = torch.finfo(dtype).tiny
    z = torch.tensor([[0.0] * N, [tiny] * N], dtype=dtype, requires_grad=True)
    assert group_norms(z, LABELS).tolist() == [[0.0] * 4] * 2
    for theta in (0.0, 0.5):
        found = group_soft(z, theta, LABELS)
        (slope,) = torch.autograd.grad(found.sum() + group_norms(z, LABELS).sum(), z)
        assert not found[0].any() and bool(torch.isfinite(slope).all())
    assert float(GroupL1(LABELS).value(z.detach())[0]) == 0.0


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_of_single_precision(scale):
    z = normal(20, N).float()
    torch.testing.assert_close(
        group_soft(scale * z, scale * 0.7, LABELS), scale * group_soft(z, 0.7, LABELS), rtol=1e-5,
        atol=0,
    )  # fmt: skip


def test_resizing_keeps_directions():
    x, wanted = normal(5, N), torch.rand(5, 4, dtype=torch.float64)
    found = group_resize(x, group_norms(x, LABELS), wanted, LABELS)
    torch.testing.assert_close(group_norms(found, LABELS), wanted)
    for g in MEMBERS:
        cosines = torch.nn.functional.cosine_similarity(found[:, g], x[:, g])
        torch.testing.assert_close(cosines, torch.ones(5, dtype=torch.float64))


def group_lasso(b, D, alpha, weight):
    """Return the optimum by cvxpy."""
    x = cp.Variable(N)
    penalty = sum(float(w) * cp.norm2(x[g]) for w, g in zip(weight, MEMBERS, strict=True))
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(b - x @ D) + alpha * penalty))
    value = problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10)
    return x.value, value


def test_certificate_is_zero_at_the_optimum_and_bounds_the_excess_elsewhere():
    b, D = normal(6, 8), normal(N, 8, seed=1)
    R = GroupL1(LABELS, 0.9 * WEIGHT)
    problem = Composite.of(b, Dense(D), LeastSquares(), R)
    solved = [group_lasso(row, D.numpy(), 0.9, WEIGHT) for row in b.numpy()]
    codes = torch.tensor(np.stack([x for x, _ in solved]))
    least = torch.tensor([value for _, value in solved])
    assert 0 < int((group_norms(codes, LABELS) < 1e-6).sum()) < codes.shape[0] * 4
    torch.testing.assert_close(problem.value(codes), least, rtol=1e-8, atol=0)
    torch.testing.assert_close(
        problem.value(codes),
        lasso_value(codes, Observation(b, Dense(D)), 0.9, GroupL1(LABELS, WEIGHT)),
    )
    assert bool((composite_gap(codes, problem) < 1e-6).all())
    for size in (1.0, 1e-2):
        x = codes + size * normal(*codes.shape, seed=2)
        gap = composite_gap(x, problem, relative=False)
        excess = problem.value(x) - least
        assert bool((gap >= excess - 1e-9).all())
        assert bool((gap < 100 * excess).all())
    rows = torch.tensor([4, 1])
    torch.testing.assert_close(
        composite_gap(codes[rows], problem.take(rows)), composite_gap(codes, problem)[rows],
        atol=1e-12, rtol=0,
    )  # fmt: skip
    zero = Composite.of(torch.zeros_like(b), Dense(D), LeastSquares(), R)
    assert not composite_gap(torch.zeros_like(codes), zero).any()


def test_dual_norm_is_the_largest_inner_product_with_codes_of_norm_one():
    w = normal(5, N)
    R = GroupL1(LABELS, WEIGHT)
    bound = R.dual_norm(w)
    x = normal(2000, N, seed=1)
    x = x / R.value(x)[:, None]
    assert bool((w @ x.T <= bound[:, None] * (1 + 1e-12)).all())
    best = torch.zeros_like(w)
    for i, row in enumerate(w):
        sizes = group_norms(row[None], LABELS)[0] / WEIGHT
        g = int(sizes.argmax())
        best[i, MEMBERS[g]] = row[MEMBERS[g]] / row[MEMBERS[g]].norm() / WEIGHT[g]
    torch.testing.assert_close((w * best).sum(1), bound)
    torch.testing.assert_close(GroupL1(1).dual_norm(w), L1().dual_norm(w))


def test_from_the_dual_norm_on_codes_are_zero():
    b, D = normal(4, 8), normal(N, 8, seed=1)
    largest = GroupL1(LABELS, WEIGHT).dual_norm(Dense(D).adjoint(b))
    for factor, empty in ((1.001, True), (0.98, False)):
        for i, row in enumerate(b.numpy()):
            x, _ = group_lasso(row, D.numpy(), factor * float(largest[i]), WEIGHT)
            assert (abs(x).max() < 1e-4) == empty
    torch.testing.assert_close(
        L1().dual_norm(Dense(D).adjoint(b)), alpha_max(Observation(b, Dense(D)))
    )


def test_certificate_of_logistic_loss():
    A, b = normal(1, N, 30, seed=3), normal(1, 30).sign()
    weight = torch.full((4,), 0.05, dtype=torch.float64)
    problem = Composite.of(b, Dense(A), Logistic(), GroupL1(LABELS, weight))
    u = cp.Variable(N)
    loss = cp.sum(cp.logistic(-cp.multiply(b[0].numpy(), u @ A[0].numpy()))) / 30
    penalty = 0.05 * sum(cp.norm2(u[g]) for g in MEMBERS)
    value = cp.Problem(cp.Minimize(loss + penalty)).solve(solver=cp.CLARABEL)
    x = torch.from_numpy(u.value)[None]
    assert float(composite_gap(x, problem, relative=False)) < 1e-4
    off = x + 0.1 * normal(1, N)
    excess = float(problem.value(off)) - value
    assert excess - 1e-8 <= float(composite_gap(off, problem, relative=False)) < 1e3 * excess


def test_block_weight_agrees_with_cvxpy():
    D = normal(N, 7).numpy()
    W = cp.Variable((N, 7))
    constraints = [W[g] @ D[g].T == np.eye(len(g)) for g in MEMBERS]
    cp.Problem(cp.Minimize(cp.sum_squares(W @ D.T)), constraints).solve(solver=cp.CLARABEL)
    found = block_analytic_weight(torch.from_numpy(D), LABELS).numpy()
    np.testing.assert_allclose(found, W.value, atol=1e-7)
    for g in MEMBERS:
        np.testing.assert_allclose(found[g] @ D[g].T, np.eye(len(g)), atol=1e-12)


def test_block_weight_of_single_atoms_is_the_analytic_one():
    for shape in ((N, 7), (N, 20)):
        D = normal(*shape)
        torch.testing.assert_close(block_analytic_weight(D, torch.arange(N)), analytic_weight(D))


def test_block_weight_follows_changes_of_basis():
    D, G = normal(N, 7), normal(7, 7, seed=1)
    W = block_analytic_weight(D, LABELS)
    torch.testing.assert_close(
        block_analytic_weight(D @ G, LABELS) @ (D @ G).T, W @ D.T, rtol=0, atol=1e-10
    )
    other, wanted = D.clone(), W.clone()
    for g in MEMBERS:
        Q = torch.linalg.qr(normal(len(g), len(g), seed=2)).Q
        other[g], wanted[g] = Q @ D[g], Q @ W[g]
    torch.testing.assert_close(block_analytic_weight(other, LABELS), wanted)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(block_analytic_weight(D[order], LABELS[order]), W[order])
    assert block_analytic_weight(D.float(), LABELS).dtype == torch.float32


def test_block_weight_of_dependent_and_of_zero_atoms():
    D = normal(N, 7)
    first, second, third, _ = MEMBERS[0]
    D[first], D[second] = 0.0, -2.0 * D[third]
    W = block_analytic_weight(D, LABELS)
    assert not W[first].any() and bool(torch.isfinite(W).all())
    for g in MEMBERS:
        projector = D[g] @ torch.linalg.pinv(D[g])
        torch.testing.assert_close(W[g] @ D[g].T, projector, rtol=0, atol=1e-12)
    whole = torch.zeros(N, dtype=torch.long)  # more atoms than features
    torch.testing.assert_close(block_analytic_weight(D, whole), torch.linalg.pinv(D).T)
    assert not block_analytic_weight(torch.zeros(N, 7), LABELS).any()


def test_a_group_that_only_left_out_directions_hold_gets_its_pseudo_inverse():
    D = normal(N, 7)
    D[:, 6] = 0.0
    D[MEMBERS[2]] = 0.0
    D[MEMBERS[2], [6, 0]] = torch.tensor([1e-12, 1.0], dtype=torch.float64)
    W = block_analytic_weight(D, LABELS)
    assert float(W.abs().max()) < 1e3
    g = MEMBERS[2]
    torch.testing.assert_close((W[g] @ D[g].T).diagonal(), torch.eye(2, dtype=torch.float64)[1])


def test_block_coherence_written_out():
    W, D = normal(N, 7), normal(N, 7, seed=1)
    wanted = max(
        np.linalg.norm(W.numpy()[g] @ D.numpy()[h].T, 2) / np.sqrt(len(g) * len(h))
        for i, g in enumerate(MEMBERS)
        for j, h in enumerate(MEMBERS)
        if i != j
    )
    assert float(block_coherence(W, D, LABELS)) == pytest.approx(wanted, rel=1e-12)
    single = block_coherence(W, D, torch.arange(N))
    torch.testing.assert_close(single, mutual_coherence(W, D))
    assert float(block_coherence(W, D, torch.zeros(N, dtype=torch.long))) == 0.0
    # Eldar, Kuppinger and Bolcskei 2010: at most the coherence, for unit atoms and equal sizes.
    unit = D / D.norm(dim=1, keepdim=True)
    three = torch.arange(N) // 3
    assert float(block_coherence(unit, unit, three)) <= float(mutual_coherence(unit, unit))


def orthonormal_groups(n, m, seed):
    """Return a Gaussian dictionary, made orthonormal in each group of three."""
    return torch.cat([torch.linalg.qr(part.T).Q.T for part in normal(n, m, seed=seed).split(3)])


def between(W, D, labels):
    """Return ``sum_{h != g} ||W_g A_h||_F^2`` of every group g."""
    same = labels[:, None] == labels
    rows = (W @ D.T).square().masked_fill(same, 0.0).sum(1)
    return rows.new_zeros(int(labels.max()) + 1).index_add(0, labels, rows)


@pytest.mark.parametrize("seed", range(4))
def test_no_weight_sees_less_of_other_groups(seed):
    # What is least is the sum of squares of every group, not the largest norm: block coherence
    # has a bound from it, which every weight with W_g A_g = I obeys.
    D, threes = orthonormal_groups(60, 40, seed), torch.arange(60) // 3
    W = block_analytic_weight(D, threes)
    least = between(W, D, threes)
    assert bool((least < between(D, D, threes)).all())
    for g in range(20):  # another weight: any W_g plus what its own atoms do not see
        own = D[threes == g]
        free = torch.linalg.qr(own.T, mode="complete").Q[:, 3:].T
        other = W.clone()
        other[threes == g] += 0.1 * normal(3, len(free), seed=g) @ free
        assert float(between(other, D, threes)[g]) > float(least[g])
    # 19 other groups of rank 3: the largest norm is at least the root of the mean square.
    floor = float((least / 19 / 3).max().sqrt()) / 3
    for weight in (W, D):
        assert float(block_coherence(weight, D, threes)) >= floor


def test_block_coherence_lies_between_the_least_of_cvxpy_and_the_bound():
    D, threes = orthonormal_groups(12, 6, 0), torch.arange(12) // 3
    W = block_analytic_weight(D, threes)
    A = D.numpy().T
    optimum = 0.0
    for g in range(4):  # groups do not meet: a problem for each
        weight, own = cp.Variable((3, 6)), A[:, 3 * g : 3 * g + 3]
        others = [weight @ A[:, 3 * h : 3 * h + 3] for h in range(4) if h != g]
        largest = cp.maximum(*(cp.sigma_max(product) for product in others))
        problem = cp.Problem(cp.Minimize(largest), [weight @ own == np.eye(3)])
        optimum = max(optimum, problem.solve(solver=cp.SCS, eps=1e-7))
    least = between(W, D, threes)
    found = 3 * float(block_coherence(W, D, threes))  # without 1 / sqrt(d_g d_h)
    assert float((least / 3 / 3).max().sqrt()) <= optimum + 1e-5
    assert optimum <= found + 1e-5
    assert found <= float(least.max().sqrt()) <= 3 * optimum + 1e-5  # root of 3 groups x rank 3


def test_weight_of_a_tight_frame_is_the_dictionary():
    # So that no factor below one holds for the block coherence of all dictionaries.
    D = torch.linalg.qr(normal(60, 40)).Q
    threes = torch.arange(60) // 3
    W = block_analytic_weight(D, threes)
    for g in range(20):
        own = D[threes == g]
        torch.testing.assert_close(W[threes == g], torch.linalg.solve(own @ own.T, own))
