import cvxpy as cp
import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from sklearn_unroll.functional.weights import (
    analytic_weight,
    minimax_weight,
    mutual_coherence,
    pseudo_inverse,
    symmetric_weight,
)

close = torch.testing.assert_close


def unit(D):
    return D / D.norm(dim=1, keepdim=True)


def gaussian(n, m, seed=0):
    """Return a dictionary of n unit atoms in m dimensions."""
    rng = np.random.default_rng(seed)
    return unit(torch.from_numpy(rng.standard_normal((n, m))))


def bumps(n, m, width):
    """Return n smooth Gaussian bumps on a grid of m points."""
    t = torch.linspace(0, 1, m, dtype=torch.float64)
    centres = torch.linspace(0, 1, n, dtype=torch.float64)[:, None]
    return unit(torch.exp(-0.5 * ((t - centres) / width) ** 2))


def cosines(n, m):
    """Return an overcomplete cosine transform, whose H o H is singular."""
    t = torch.arange(m, dtype=torch.float64) + 0.5
    return unit(torch.cos(torch.outer(torch.arange(n, dtype=torch.float64), t) * torch.pi / n))


def own(W, D):
    return (W * D).sum(1)


def frobenius(W, D):
    return float((W @ D.T).square().sum())


def leverages(D):
    _, singular, V = torch.linalg.svd(D, full_matrices=False)
    keep = singular > 1e-10 * singular[0]
    return (D @ V[keep].T / singular[keep]).square().sum(1)


DICTIONARIES = {
    "gaussian": gaussian(24, 10),
    "nearly_square": gaussian(24, 22),
    "wide": gaussian(200, 6),
    "tall": gaussian(8, 20),
    "rank_deficient": unit(gaussian(30, 6, 1) @ gaussian(6, 12, 2)),
    "ill_conditioned": unit(gaussian(60, 30) * torch.logspace(0, -4, 30, dtype=torch.float64)),
    "small_ill_conditioned": unit(
        gaussian(30, 12) * torch.logspace(0, -4, 12, dtype=torch.float64)
    ),
    "duplicates": torch.cat([gaussian(20, 8), gaussian(20, 8)[:3], -gaussian(20, 8)[3:5]]),
    "positive": unit(gaussian(30, 12).abs()),
    "bumps": bumps(40, 20, 0.04),
    "cosines": cosines(24, 12),
    "one_atom": gaussian(1, 4),
}
FALLS_BACK = {"bumps", "small_ill_conditioned"}  # Q is indefinite


@pytest.fixture(params=DICTIONARIES)
def name(request):
    return request.param


@pytest.fixture
def D(name):
    return DICTIONARIES[name]


# --------------------------------------------------------------------------- pseudo-inverse


def test_pseudo_inverse_equals_numpy(D):
    expected = torch.from_numpy(np.linalg.pinv(D.numpy(), rcond=1e-10).T.copy())
    close(pseudo_inverse(D), expected, rtol=1e-9, atol=1e-9)


def test_pseudo_inverse_is_the_analytic_weight_times_the_leverage(D):
    r = torch.from_numpy(np.random.default_rng(3).standard_normal((5, D.shape[1])))
    P, W = pseudo_inverse(D), analytic_weight(D)
    close(own(P, D), leverages(D), rtol=1e-8, atol=1e-10)
    close(r @ P.T, own(P, D) * (r @ W.T), rtol=1e-10, atol=1e-10 * float(P.norm()))


# -------------------------------------------------------------------------------- analytic


@pytest.mark.parametrize("normed", [True, False])
def test_analytic_weight_equals_cvxpy(normed):
    D = gaussian(14, 6) * (1.0 if normed else torch.linspace(0.3, 3, 14)[:, None].double())
    A = D.T.numpy()
    W = cp.Variable(A.shape)
    problem = cp.Problem(
        cp.Minimize(cp.sum_squares(W.T @ A)), [cp.sum(cp.multiply(W, A), axis=0) == 1]
    )
    problem.solve(solver=cp.CLARABEL, tol_gap_rel=1e-12, tol_gap_abs=1e-12, tol_feas=1e-12)
    found = analytic_weight(D)
    assert frobenius(found, D) == pytest.approx(problem.value, rel=1e-10)
    close(found, torch.from_numpy(W.value.T.copy()), rtol=1e-6, atol=1e-6)


def test_analytic_weight_meets_the_constraint_and_its_optimal_value(D):
    W = analytic_weight(D)
    close(own(W, D), torch.ones(len(D)).double(), rtol=0, atol=1e-11)
    h = leverages(D)
    assert frobenius(W, D) == pytest.approx(float((1 / h).sum()), rel=1e-8)
    # Welch: equality where all leverages are equal.
    welch = len(D) ** 2 / int(torch.linalg.matrix_rank(D, rtol=1e-10))
    assert frobenius(W, D) >= welch * (1 - 1e-10)


def test_analytic_weight_is_stationary(D):
    # S w_i = a_i / h_i, with no rows outside the range of A.
    W, S = analytic_weight(D), D.T @ D
    close(W @ S, D / leverages(D)[:, None], rtol=1e-8, atol=1e-8)
    projector = torch.linalg.pinv(D, rtol=1e-10) @ D
    close(W @ projector, W, rtol=1e-8, atol=1e-8 * float(W.norm()))


@pytest.mark.parametrize("weight", [analytic_weight, lambda D: symmetric_weight(D).W])
def test_weights_follow_what_is_done_to_the_atoms(weight):
    D = gaussian(24, 10)
    W = weight(D)
    order = torch.from_numpy(np.random.default_rng(1).permutation(24))
    close(weight(D[order]), W[order], rtol=1e-10, atol=1e-10)
    close(weight(1e-5 * D), 1e5 * W, rtol=1e-10, atol=1e-4)
    signs = torch.ones(24, 1).double()
    signs[::3] = -1
    close(weight(signs * D), signs * W, rtol=1e-10, atol=1e-10)
    # An invertible map G of the signals: W A is the same, so W becomes W G^-1.
    G = torch.from_numpy(np.random.default_rng(2).standard_normal((10, 10)))
    close(weight(D @ G.T) @ G, W, rtol=1e-8, atol=1e-8)


def test_scaling_one_atom_scales_its_own_row_and_changes_the_others():
    D = gaussian(24, 10)
    scaled = D.clone()
    scaled[0] *= 3
    W, changed = analytic_weight(D), analytic_weight(scaled)
    close(changed[0], W[0] / 3, rtol=1e-12, atol=1e-12)
    cosine = torch.cosine_similarity(changed[1:], W[1:])
    assert float(cosine.min()) < 0.999
    # so a weight of unnormalised atoms is not the weight of the normalised ones, rescaled,
    c = torch.linspace(0.5, 2, 24).double()[:, None]
    assert float((analytic_weight(c * D) * c - W).abs().max()) > 0.05
    # except where the atoms are independent, and W is the pseudo-inverse.
    D, c = gaussian(8, 20), c[:8]
    close(analytic_weight(D), torch.linalg.pinv(D).T)
    W = analytic_weight(c * D)
    assert float((W @ D.T - torch.diag(1 / c[:, 0])).abs().max()) < 1e-12


def test_zero_atoms_get_zero_rows_and_leave_the_others_alone():
    D = gaussian(24, 10)
    padded = torch.cat([D, torch.zeros(2, 10).double()])
    expected = torch.cat([analytic_weight(D), torch.zeros(2, 10).double()])
    close(analytic_weight(padded), expected, rtol=1e-12, atol=1e-12)
    W, exact = symmetric_weight(padded)
    assert not exact
    close(W, expected, rtol=1e-12, atol=1e-12)
    for weight in (analytic_weight, minimax_weight, pseudo_inverse):
        assert torch.equal(weight(0 * D), 0 * D)


def test_an_atom_in_a_direction_that_is_cut_off_gets_its_matched_filter():
    D = torch.zeros(12, 6).double()
    D[:11, :5] = gaussian(11, 5)
    D[11, 5] = 1e-10
    # Turned, so that what should be zero is a rounding error.
    turn, _ = torch.linalg.qr(gaussian(6, 6))
    for G in (torch.eye(6).double(), turn):
        W = analytic_weight(D @ G) @ G.T
        close(W[11], torch.tensor([0, 0, 0, 0, 0, 1e10]).double(), rtol=1e-10, atol=1e-3)
        close(W[:11, :5], analytic_weight(D[:11, :5]), rtol=1e-10, atol=1e-10)
        assert float(W[:11, 5].abs().max()) < 1e-7
    # An atom as short that lies among the others is no such case.
    D[11] = 1e-10 * D[:4].sum(0)
    W = analytic_weight(D)
    close(W[:11, :5], analytic_weight(D[:11, :5]), rtol=1e-8, atol=1e-8)
    expected = torch.linalg.pinv(D[:, :5].T @ D[:, :5]) @ D[11, :5]
    close(W[11, :5], expected / (expected @ D[11, :5]), rtol=1e-4, atol=0)


def test_rtol_bounds_the_weight_and_keeps_the_constraint():
    D = bumps(60, 30, 0.1)
    norms = []
    for rtol in (1e-7, 1e-4, 1e-1):
        W = analytic_weight(D, rtol=rtol)
        close(own(W, D), torch.ones(60).double(), rtol=0, atol=1e-8)
        norms.append(float(W.norm(dim=1).max()))
    assert norms[0] > 100 * norms[1] > 10_000 * norms[2]
    # By default the constraint holds to the root of the precision.
    D = bumps(60, 30, 0.2)
    for dtype in (torch.float32, torch.float64):
        eps = torch.finfo(dtype).eps
        W = analytic_weight(D.to(dtype))
        assert torch.equal(W, analytic_weight(D.to(dtype), rtol=eps**0.5))
        close(own(W, D.to(dtype)), torch.ones(60, dtype=dtype), rtol=0, atol=eps**0.5)
    # A cutoff that removes nothing changes nothing.
    D = gaussian(24, 10)
    assert torch.equal(analytic_weight(D, rtol=1e-3), analytic_weight(D))


def test_float32_noise_does_not_count_as_a_direction():
    D = DICTIONARIES["rank_deficient"]
    W = analytic_weight(D.float())
    assert W.dtype == torch.float32
    close(W.double(), analytic_weight(D), rtol=0, atol=1e-4)


def test_analytic_weight_is_differentiable_and_takes_a_stack():
    D = gaussian(9, 4).requires_grad_()
    assert torch.autograd.gradcheck(analytic_weight, D)
    assert torch.autograd.gradcheck(pseudo_inverse, D)
    # Equal singular values, where differentiating an SVD would give nan.
    frame = torch.cat([torch.eye(3), torch.eye(3)]).double().requires_grad_()
    (gradient,) = torch.autograd.grad(analytic_weight(frame).pow(3).sum(), frame)
    assert bool(gradient.isfinite().all())
    stack = torch.stack([gaussian(9, 4, 1), gaussian(9, 4, 2)])
    for function in (analytic_weight, pseudo_inverse, lambda D: mutual_coherence(D, D)):
        close(function(stack), torch.stack([function(D) for D in stack]))


# ------------------------------------------------------------------------------- symmetric


def cvxpy_symmetric(D, *, semidefinite):
    """Solve the HyperLISTA program in Q for a dictionary of full rank."""
    A = D.T.numpy()
    Q = cp.Variable((len(A), len(A)), symmetric=True)
    constraints = [a @ Q @ a == 1 for a in A.T]
    if semidefinite:
        constraints.append(Q >> 0)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(A.T @ Q @ A)), constraints)
    problem.solve(solver=cp.CLARABEL, tol_gap_rel=1e-11, tol_gap_abs=1e-11, tol_feas=1e-11)
    return problem.value, torch.from_numpy(Q.value)


@pytest.mark.parametrize("seed", range(3))
def test_symmetric_weight_equals_cvxpy(seed):
    D = gaussian(14, 6, seed)
    value, Q = cvxpy_symmetric(D, semidefinite=True)
    W, exact = symmetric_weight(D)
    assert exact
    assert frobenius(W, D) == pytest.approx(value, rel=1e-7)
    # The value is flat around the optimum: its seven digits are half as many of Q.
    close(W, D @ Q, rtol=0, atol=1e-5)


def test_symmetric_weight_is_exact_though_some_nu_are_negative():
    for seed in range(50):
        D = gaussian(30, 12, seed) * torch.logspace(0, -1, 12, dtype=torch.float64)
        D = unit(D)
        H = D @ pseudo_inverse(D).T
        nu = torch.linalg.solve(H**2, torch.ones(30).double())
        W, exact = symmetric_weight(D)
        if exact and float(nu.min()) < -1e-3:
            break
    else:
        pytest.fail("no such case was drawn")
    assert frobenius(W, D) == pytest.approx(float(nu.sum()), rel=1e-10)
    value, _ = cvxpy_symmetric(D, semidefinite=True)
    assert frobenius(W, D) == pytest.approx(value, rel=1e-6)


def test_symmetric_weight_meets_its_conditions(name, D):
    W, exact = symmetric_weight(D)
    assert exact == (name not in FALLS_BACK)
    close(own(W, D), torch.ones(len(D)).double(), rtol=0, atol=1e-10)
    if not exact:
        assert torch.equal(W, analytic_weight(D))
        return
    gram = W @ D.T
    close(gram, gram.T, rtol=0, atol=1e-9)
    assert float(torch.linalg.eigvalsh(gram)[0]) > -1e-9
    # The Lagrangian is stationary: W^T A = H diag(nu) H for some nu.
    H = D @ torch.linalg.pinv(D, rtol=1e-10)
    columns = torch.einsum("ik,jk->ijk", H, H).reshape(-1, len(D))
    nu = torch.linalg.pinv(columns, rtol=1e-10) @ gram.reshape(-1)
    close(columns @ nu, gram.reshape(-1), rtol=0, atol=1e-9)
    assert frobenius(W, D) == pytest.approx(float(nu.sum()), rel=1e-8)


def test_order_of_the_weights(D):
    W, symmetric = analytic_weight(D), symmetric_weight(D)
    assert frobenius(W, D) <= frobenius(symmetric.W, D) * (1 + 1e-10)
    # Q = I is feasible for unit atoms.
    assert frobenius(symmetric.W, D) <= frobenius(D, D) * (1 + 1e-10)


def test_symmetric_and_analytic_differ_by_little_where_leverages_are_alike():
    D = gaussian(200, 100)
    W, exact = symmetric_weight(D)
    assert exact
    assert 1.001 < frobenius(W, D) / frobenius(analytic_weight(D), D) < 1.02


def test_fallback_where_the_semidefinite_constraint_is_active():
    # The solution without the constraint is indefinite, and the constraint costs something:
    # the closed form is not the answer, whatever the tolerance.
    D = bumps(14, 7, 0.1)
    free, Q = cvxpy_symmetric(D, semidefinite=False)
    constrained, _ = cvxpy_symmetric(D, semidefinite=True)
    assert float(torch.linalg.eigvalsh(D @ Q @ D.T)[0]) < -1e-2
    assert constrained > free * (1 + 1e-4)
    W, exact = symmetric_weight(D)
    assert not exact
    assert torch.equal(W, analytic_weight(D))
    assert frobenius(W, D) < constrained


@pytest.mark.parametrize(
    "D",
    [
        bumps(200, 100, 0.02),
        torch.cat([gaussian(20, 8), 2 * gaussian(20, 8)[:1]]),
        # No quadratic form takes the value 1 on 60 general atoms in 8 dimensions.
        gaussian(60, 8) * torch.linspace(0.5, 2, 60).double()[:, None],
    ],
    ids=["smooth", "multiples", "unnormalised"],
)
def test_fallback(D):
    W, exact = symmetric_weight(D)
    assert not exact
    assert torch.equal(W, analytic_weight(D))
    close(own(W, D), torch.ones(len(D)).double(), rtol=0, atol=1e-8)


def test_symmetric_weight_of_a_tight_frame_is_the_dictionary():
    t = 2 * torch.pi * torch.arange(7, dtype=torch.float64) / 7
    D = torch.stack([t.cos(), t.sin()], 1)
    W, exact = symmetric_weight(D)
    assert exact
    close(W, D)
    close(analytic_weight(D), D)


def test_symmetric_weight_is_differentiable():
    D = gaussian(9, 5).requires_grad_()
    assert symmetric_weight(D).exact
    assert torch.autograd.gradcheck(lambda D: symmetric_weight(D).W, D)


# --------------------------------------------------------------------------------- minimax


def test_minimax_weight_equals_its_dual():
    # The dual is basis pursuit: atom i by the other atoms, least l1 norm.
    D = gaussian(20, 10)
    W = minimax_weight(D)
    products = (W @ D.T).abs().fill_diagonal_(0)
    for i in range(20):
        C = np.delete(D.numpy(), i, axis=0).T
        dual = linprog(np.ones(38), A_eq=np.hstack([C, -C]), b_eq=D[i].numpy())
        assert float(products[i].max()) == pytest.approx(1 / dual.fun, rel=1e-7)


@pytest.mark.parametrize("name", ["gaussian", "rank_deficient", "duplicates", "tall", "one_atom"])
def test_minimax_weight_is_the_least_coherent(name):
    D = DICTIONARIES[name]
    W = minimax_weight(D)
    close(own(W, D), torch.ones(len(D)).double(), rtol=0, atol=1e-12)
    least = mutual_coherence(W, D)
    for other in (analytic_weight(D), symmetric_weight(D).W, D):
        assert float(least) <= float(mutual_coherence(other, D)) + 1e-9
        assert frobenius(W, D) >= frobenius(analytic_weight(D), D) * (1 - 1e-9)
    n, rank = len(D), int(torch.linalg.matrix_rank(D, rtol=1e-10))
    if n > 1:
        welch = ((n - rank) / (rank * (n - 1))) ** 0.5
        assert float(least) >= welch - 1e-9
    if name == "duplicates":
        assert float(least) == pytest.approx(1)
    if name in {"tall", "one_atom"}:
        assert float(least) < 1e-9


def test_minimax_weight_of_a_long_atom_and_of_a_zero_atom():
    D = gaussian(12, 5)
    W = minimax_weight(D)
    scaled = torch.cat([D, torch.zeros(1, 5).double()])
    scaled[0] *= 1e4
    changed = minimax_weight(scaled)
    close(changed[0], W[0] / 1e4, rtol=1e-7, atol=1e-11)
    assert torch.equal(changed[12], torch.zeros(5).double())


# ------------------------------------------------------------------------------- coherence


def test_mutual_coherence_equals_the_formula_written_out():
    D, W = gaussian(6, 4), gaussian(6, 4, 1)
    expected = max(abs(float(W[i] @ D[j])) for i in range(6) for j in range(6) if i != j)
    assert float(mutual_coherence(W, D)) == pytest.approx(expected, rel=1e-14)
    assert mutual_coherence(W, D).ndim == 0
    assert float(mutual_coherence(W[:1], D[:1])) == 0


def test_the_published_bed_has_the_published_coherence():
    # 250 x 500, unit Gaussian atoms: .30 for the dictionary, about .21 for the weights, and
    # off-diagonal sums of 500 (Welch), 502 and 504.
    D = gaussian(500, 250)
    W, symmetric = analytic_weight(D), symmetric_weight(D)
    assert symmetric.exact
    assert 0.19 < float(mutual_coherence(W, D)) < 0.23
    assert 0.19 < float(mutual_coherence(symmetric.W, D)) < 0.23
    assert 0.25 < float(mutual_coherence(D, D)) < 0.32
    assert 500 < frobenius(W, D) - 500 < 503 < frobenius(symmetric.W, D) - 500 < 505


# ------------------------------------------------------------------------- dtype and device


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_kept_and_the_work_is_done_in_float64(dtype):
    D = gaussian(24, 10).to(dtype)
    for weight in (
        analytic_weight,
        minimax_weight,
        pseudo_inverse,
        lambda D: symmetric_weight(D).W,
    ):
        before = D.clone()
        W = weight(D)
        assert W.dtype == dtype and W.device == D.device and W.shape == D.shape
        assert torch.equal(D, before)
        assert torch.equal(W, weight(D.double()).to(dtype))
    assert mutual_coherence(W, D).dtype == dtype


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_device_is_kept():
    D = gaussian(24, 10)
    for weight in (
        analytic_weight,
        minimax_weight,
        pseudo_inverse,
        lambda D: symmetric_weight(D).W,
    ):
        W = weight(D.cuda())
        assert W.device.type == "cuda"
        close(W.cpu(), weight(D), rtol=1e-9, atol=1e-9)
    assert mutual_coherence(W, D.cuda()).device.type == "cuda"
