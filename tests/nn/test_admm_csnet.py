"""Structured unrolled ADMM: equal to ADMM before training, exact where it says so."""

import numpy as np
import pytest
import torch

from sklearn_unroll.functional import (
    Dense,
    MaskedFourier,
    MatrixFree,
    Observation,
    PartialHadamard,
    dct_filters,
    filter_pictures,
    soft,
)
from sklearn_unroll.nn import admm_csnet
from sklearn_unroll.nn.admm_parts import (
    ConvolutionalShrinkage,
    FilterSplitting,
    PiecewiseLinear,
    PlainSplitting,
)
from sklearn_unroll.solvers import ADMM, analysis_admm
from tests.conftest import make_problem

SHAPE = (8, 6)


def pictures(n=3, n_pixels=48, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, n_pixels, generator=generator, dtype=torch.float64)


def fourier(seed=0, **options):
    mask = np.random.default_rng(seed).random(SHAPE) < 0.5
    mask[0, 0] = True
    A = MaskedFourier(mask, **options)
    return Observation(A(pictures(n_pixels=A.n_components)), A)


def hadamard():
    A = PartialHadamard(64, rows=range(0, 64, 2))
    return Observation(A(pictures(n_pixels=64)), A)


def dense(make=Dense):
    rng = np.random.default_rng(0)
    A = make(torch.from_numpy(rng.standard_normal((48, 20)))) if make is Dense else None
    A = A or MatrixFree(rng.standard_normal((20, 48)))
    return Observation(A(pictures()), A)


CASES = {
    "basic": (fourier(), {"image_shape": SHAPE, "stage": "basic"}),
    "basic, complex": (fourier(complex_images=True), {"image_shape": SHAPE, "stage": "basic"}),
    "generic": (fourier(), {"image_shape": SHAPE}),
    "generic, complex": (fourier(complex_images=True), {"image_shape": SHAPE}),
    "generic, consistent": (fourier(), {"image_shape": SHAPE, "consistent": True}),
    "generic, Hadamard": (hadamard(), {"image_shape": (8, 8), "filter_size": 3}),
    "generic, dense": (dense(), {"image_shape": SHAPE}),
    "generic, matrix-free": (dense(MatrixFree), {"image_shape": SHAPE, "filter_size": 3}),
    "no pictures": (dense(), {}),
    "tied": (fourier(), {"image_shape": SHAPE, "stage": "basic", "tied": True}),
}


@pytest.fixture(params=CASES)
def case(request):
    obs, options = CASES[request.param]
    return obs, admm_csnet(obs.A, n_layers=3, **options)


def shift_matrix(rows, columns):
    """Return S with (S x)(p, q) = x(p + rows, q + columns), periodic, on flattened pictures."""
    place = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    return np.eye(place.size)[np.roll(place, (-rows, -columns), (0, 1)).ravel()]


def numpy_analysis_admm(b, A, filters, alpha, rho, n_iter):
    """ADMM written out with dense matrices, sharing no code with the package."""
    half = filters.shape[1] // 2
    C = np.concatenate(
        [
            sum(
                h[i, j] * shift_matrix(i - half, j - half)
                for i in range(len(h))
                for j in range(len(h))
            )
            for h in filters
        ]
    )
    z = u = np.zeros((len(C), len(b)))
    for _ in range(n_iter):
        x = np.linalg.solve(A.T @ A + rho * C.T @ C, A.T @ b.T + rho * C.T @ (z - u))
        yield x.T
        v = C @ x + u
        z = np.sign(v) * np.maximum(np.abs(v) - alpha / rho, 0)
        u = v - z


@pytest.mark.parametrize("alpha, rho", [(0.01, 0.1), (0.003, 0.5)])
@pytest.mark.parametrize("size", [3, 5])
def test_basic_stages_equal_analysis_admm_step_by_step(size, alpha, rho):
    obs = fourier()
    filters = dct_filters(size)
    network = admm_csnet(
        obs.A,
        image_shape=SHAPE,
        stage="basic",
        n_layers=9,
        alpha=alpha,
        rho=rho,
        filter_size=size,
        limit=0.5,  # narrow, so that every threshold is a knot
    )
    with torch.no_grad():
        learned = network.iterates(obs)
    classical = list(analysis_admm(obs, filters, alpha, rho=rho, n_iter=10))
    matrix = obs.A(torch.eye(48, dtype=torch.float64)).T.numpy()
    written_out = numpy_analysis_admm(obs.b.numpy(), matrix, filters.numpy(), alpha, rho, 10)
    for x, reference, independent in zip(learned, classical, written_out, strict=True):
        torch.testing.assert_close(x, reference, atol=1e-12, rtol=0)
        np.testing.assert_allclose(reference.numpy(), independent, atol=1e-12, rtol=0)
    assert float((learned[-1] - learned[0]).abs().max()) > 1e-2


def test_a_threshold_below_the_knots_is_met_at_the_knots():
    function = PiecewiseLinear(torch.tensor(0.004, dtype=torch.float64))
    expected = soft(function.knots, 0.004)
    torch.testing.assert_close(function.values.detach(), expected, atol=1e-14, rtol=0)
    assert float(function.knots[-1]) == pytest.approx(1)


def test_analysis_admm_converges_to_the_solution():
    """At the solution A^T (A x - b) = -alpha C^T s with s a subgradient of the l1 norm."""
    obs, filters, alpha = fourier(), dct_filters(3), 0.02
    *_, before, x = analysis_admm(obs, filters, alpha, rho=3.0, n_iter=2000)
    torch.testing.assert_close(x, before, atol=1e-8, rtol=0)

    def value(x):
        responses = filter_pictures(x.reshape(-1, *SHAPE), filters)
        fit = 0.5 * obs.A.residual(obs.b, x).square().sum(1)
        return fit + alpha * responses.abs().flatten(1).sum(1)

    generator = torch.Generator().manual_seed(0)
    for size in (1e-3, 1e-2, 1.0):  # convex: no direction may lead down
        for _ in range(30):
            direction = torch.randn(x.shape, generator=generator, dtype=x.dtype)
            assert bool((value(x + size * direction) > value(x)).all())
    assert bool((value(x) < value(0 * x)).all())


@pytest.mark.parametrize("shape", [(10, 20), (12, 5)])
@pytest.mark.parametrize("per_sample", [False, True])
def test_without_pictures_it_equals_admm_for_the_lasso_step_by_step(shape, per_sample):
    obs, _ = make_problem(n_features=shape[0], n_components=shape[1], per_sample=per_sample)
    alpha, rho = 0.07, 0.8
    method = ADMM(obs, alpha, rho=rho, relaxation=1.0)
    correlations = obs.A.adjoint(obs.b)
    state = method.init(obs)
    state = state._replace(u=torch.zeros_like(state.u))  # where the network starts
    with torch.no_grad():
        learned = admm_csnet(obs.A, n_layers=12, alpha=alpha, rho=rho).iterates(obs)
    for x in learned:
        # The network reads out what fits the data, ADMM what is sparse.
        fits = method.least_squares(correlations + rho * (state.x - state.u), obs)
        torch.testing.assert_close(x, fits, atol=1e-12, rtol=0)
        state = method.step(state, obs)
    assert float(learned[-1].abs().max()) > 1e-3


def test_generic_shrinkage_is_the_mean_of_thresholded_patches():
    theta = torch.tensor(0.05, dtype=torch.float64)
    filters = dct_filters(3)
    function = PiecewiseLinear(theta, 8, removes=True)
    v = pictures(1)
    found = ConvolutionalShrinkage(filters, function, SHAPE)(v).reshape(SHAPE)
    atoms = torch.cat([torch.full((1, 3, 3), 1 / 3, dtype=torch.float64), filters]).reshape(9, 9)
    expected = torch.zeros(SHAPE, dtype=torch.float64)
    for row in range(SHAPE[0]):
        for column in range(SHAPE[1]):
            places = np.ix_(np.arange(row, row + 3) % 8, np.arange(column, column + 3) % 6)
            c = atoms @ v.reshape(SHAPE)[places].flatten()
            c[1:] = soft(c[1:], theta)
            expected[places] += (c @ atoms).reshape(3, 3) / 9
    torch.testing.assert_close(found.detach(), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("theta", [0.0, 0.011, 0.05, 0.3, 7.0])
@pytest.mark.parametrize("removes", [False, True])
def test_piecewise_linear_starts_as_the_soft_threshold_everywhere(theta, removes):
    function = PiecewiseLinear(torch.tensor(theta, dtype=torch.float64), removes=removes)
    z = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    expected = z - soft(z, theta) if removes else soft(z, theta)
    torch.testing.assert_close(function(z).detach(), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(
        function(function.knots).detach(), function.values.detach(), atol=1e-14, rtol=0
    )
    assert len(function.knots) == 101


def test_x_updates_solve_their_normal_equations():
    obs = fourier()
    correlations, w = obs.A.adjoint(obs.b), pictures(seed=1)
    rho = torch.tensor(0.3, dtype=torch.float64)
    x = PlainSplitting(rho).reconstruct(obs.A, correlations, w)
    left = obs.A.adjoint(obs.A(x)) + rho * x
    torch.testing.assert_close(left, correlations + rho * w, atol=1e-10, rtol=0)
    split = FilterSplitting(dct_filters(3), rho, SHAPE)
    with torch.no_grad():  # filters and weights as training makes them
        split.analysis.normal_(generator=torch.Generator().manual_seed(0))
        split.synthesis.copy_(split.analysis)
        split.log_rho.normal_(generator=torch.Generator().manual_seed(1))
        w = split(pictures(seed=2))
        x = split.reconstruct(obs.A, correlations, w)
        # C is the analysis; its adjoint by the derivative of <C x, z>.
        weights = split.log_rho.exp()[:, None, None]
        wanted = (split(x) - w) * weights
    point = torch.zeros_like(x, requires_grad=True)
    pull = torch.autograd.grad((split(point) * wanted).sum(), point)[0]
    residual = obs.A.adjoint(obs.A(x)) - correlations + pull
    assert float(residual.abs().max()) < 1e-10


@pytest.mark.parametrize("stage", ["basic", "generic"])
def test_the_picture_comes_back_from_a_full_mask_as_rho_goes_to_zero(stage):
    A, x = MaskedFourier(np.ones(SHAPE)), pictures()
    network = admm_csnet(A, image_shape=SHAPE, stage=stage, rho=1e-13, alpha=1e-14)
    with torch.no_grad():
        for iterate in network.iterates(Observation(A(x), A)):
            torch.testing.assert_close(iterate, x, atol=1e-11, rtol=0)


def test_a_consistent_network_agrees_with_the_data():
    obs = fourier()
    with torch.no_grad():
        x = admm_csnet(obs.A, image_shape=SHAPE, alpha=0.1, rho=1.0)(obs)
        y = admm_csnet(obs.A, image_shape=SHAPE, alpha=0.1, rho=1.0, consistent=True)(obs)
    assert float(obs.A.residual(obs.b, x).abs().max()) > 1e-2
    assert float(obs.A.residual(obs.b, y).abs().max()) < 1e-12


def test_training_lowers_the_error_and_moves_every_parameter(case, assert_below):
    obs, network = case
    truth = pictures(n_pixels=obs.A.n_components)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    errors = []
    for _ in range(15):
        error = (network(obs) - truth).square().mean()
        errors.append(float(error.detach()))
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        network.project_()
    assert_below(errors[-1] / errors[0], 0.9)
    idle = [name for name, p in network.named_parameters() if torch.equal(p, before[name])]
    assert not idle


def test_tied_layers_share_all_but_the_rates():
    obs, options = CASES["tied"]
    network = admm_csnet(obs.A, n_layers=4, **options)
    assert [len(network.new_parameters(k)) for k in range(1, 5)] == [5, 1, 1, 1]


def test_a_layer_continues_where_the_previous_one_ended():
    obs, options = CASES["basic"]
    network = admm_csnet(obs.A, n_layers=2, **options)
    with torch.no_grad():
        for p in network.layers[0].parameters():
            p.add_(0.1)
    network.continue_(2)
    first, second = (layer.state_dict() for layer in network.layers)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"rho": 0.0}, "rho must be positive and finite, got 0"),
        ({"rho": -1.0}, "rho must be positive"),
        ({"alpha": float("inf")}, "alpha must be positive"),
        ({"stage": "deep"}, "'generic', 'basic'.*'deep'"),
        ({"n_knots": 100}, "odd and at least 5, got 100"),
        ({"image_shape": (7, 6)}, r"\(7, 6\) does not tile rows of 48"),
        ({"image_shape": (6, 8)}, r"not the shape of the operator's mask, \(8, 6\)"),
        ({"n_knots": 3}, "at least 5"),
        ({"filter_size": 2}, "odd and at least 3"),
        ({"image_shape": None, "stage": "basic"}, "needs pictures"),
    ],
)
def test_bad_input(changes, message):
    with pytest.raises(ValueError, match=message):
        admm_csnet(fourier().A, **({"image_shape": SHAPE} | changes))


def test_basic_stages_need_fourier_samples_and_the_mean():
    with pytest.raises(ValueError, match=r"MaskedFourier; got Dense.*stage='generic'"):
        admm_csnet(dense().A, image_shape=SHAPE, stage="basic")
    mask = np.ones(SHAPE)
    mask[0, 0] = 0
    with pytest.raises(ValueError, match=r"zero frequency, mask\[0, 0\].*ifftshift"):
        admm_csnet(MaskedFourier(mask), image_shape=SHAPE, stage="basic")


def test_analysis_admm_refuses_other_operators():
    with pytest.raises(TypeError, match="needs a MaskedFourier operator, got Dense"):
        next(analysis_admm(dense(), dct_filters(3), 0.1, rho=1.0, n_iter=1))
    with pytest.raises(ValueError, match="rho must be positive"):
        next(analysis_admm(fourier(), dct_filters(3), 0.1, rho=0.0, n_iter=1))
