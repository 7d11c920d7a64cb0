"""Reports, robustness and displays over the table of estimators: what each says, or refuses."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_unroll import MathL2OSolver
from sklearn_unroll.functional import Composite, Dense, Zero
from sklearn_unroll.metrics import nmse_db
from sklearn_unroll.plotting import ConvergenceDisplay, HistoryDisplay
from sklearn_unroll.theory import convergence_report, robustness
from tests.estimator_table import LEARNED, MAKERS, case, fitted, pairs

CODES = [name for name in LEARNED if name != "GLOW-Prox"]
# Steps of Math-L2O are computed in float32 by the estimator.
RTOL = {"Math-L2O": 1e-4}


def wanted(name):
    """Return the codes, or pictures, that iterates are compared with."""
    return case(name).X if name == "GLOW-Prox" else pairs().y


def n_iter(model):
    """Return what makes a solver stop where its network does."""
    return {"n_iter": model.n_layers} if isinstance(model, MathL2OSolver) else {}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("kind", ["distance", "gradient", "objective"])
@pytest.mark.parametrize("name", CODES)
def test_reports_measure_the_codes_by_the_problem_that_is_stated(name, kind):
    entry, model, y = case(name), fitted(name), wanted(name)
    model.debias_ = model.guard_ = None  # no parts of the network
    codes = list(model.staged_predict(entry.X, **entry.metadata, **n_iter(model)))
    report = convergence_report(model, entry.X, y, kind=kind, **entry.metadata)
    problem = model.problem(entry.X, **entry.metadata)
    size = {
        "distance": lambda z: (z - torch.from_numpy(y)).norm(dim=1),
        "gradient": lambda z: problem.gradient(z).norm(dim=1),
        "objective": lambda z: (problem.value(z) - problem.value(torch.from_numpy(y))).relu(),
    }[kind]
    expected = [float(size(torch.from_numpy(z)).mean()) for z in codes]
    np.testing.assert_allclose(report.sizes[1:], expected, rtol=RTOL.get(name, 1e-9), atol=1e-9)
    assert (report.sizes <= report.bound + 1e-12).all()
    assert report.sizes.max() > 0


@pytest.mark.parametrize("name", LEARNED)
def test_noise_between_the_layers_is_felt(name):
    options = {"where": ["layers"], "scales": [0.0, 1e6], **case(name).metadata}
    found = robustness(fitted(name), case(name).holes(), wanted(name), **options)
    still, loud = found.error["layers"]
    assert loud > 1.5 * still


@pytest.mark.parametrize("name", CODES)
def test_noise_on_observations_is_that_of_their_codes(name):
    entry, model, y = case(name), fitted(name), wanted(name)
    model.debias_ = model.guard_ = None
    options = {"where": ["input"], "scales": [0.0, 0.3], "random_state": 5, **entry.metadata}
    found = robustness(model, entry.X, y, **options).error["input"]
    xi = torch.randn(80, 10, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    noise = np.sqrt(np.square(entry.X).mean()) * xi.numpy()
    for error, scale in zip(found, (0.0, 0.3), strict=True):
        codes = model.predict(entry.X + scale * noise, **entry.metadata, **n_iter(model))
        expected = np.linalg.norm(codes - y, axis=1).mean()
        assert error == pytest.approx(expected, rel=RTOL.get(name, 1e-9))


def test_pictures_keep_their_holes_and_their_units():
    entry, model = case("GLOW-Prox"), fitted("GLOW-Prox")
    X = entry.holes()
    for kind in ("distance", "gradient", "objective"):
        assert np.isfinite(convergence_report(model, X, entry.X, kind=kind).sizes).all()
    options = {"where": ["input"], "scales": [0.0, 0.1]}
    still, moved = robustness(model, X, entry.X, **options).error["input"]
    obs, y = model.observe(X, entry.X, dtype=torch.float64)
    low, high = model.data_range_
    with torch.no_grad():
        distance = (model.network_.double()(obs) - y).norm(dim=1).mean()
    assert still == pytest.approx((high - low) * float(distance), rel=1e-9)
    assert moved > still
    with pytest.raises(ValueError, match="Only a dictionary can be disturbed, not a Mask"):
        robustness(model, X, entry.X, where=["operator"])
    with pytest.raises(ValueError, match="Give pictures in the same units"):
        robustness(model, X, entry.X, where=["input"], scales=[100.0])


def test_padded_pictures_have_no_problem_that_the_network_sees():
    entry = case("GLOW-Prox")
    X = entry.X.reshape(-1, 8, 8)[:, :7, :7].reshape(len(entry.X), 49)
    model = entry.fit(X, image_shape=(7, 7))
    assert np.isfinite(convergence_report(model, X, X).sizes).all()
    with pytest.raises(ValueError, match="sees 64 components, its problem 49, as pictures are"):
        convergence_report(model, X, kind="gradient")
    report = convergence_report(model.network_, *model.observe(X, X), kind="gradient")
    assert np.isfinite(report.sizes).all()


@pytest.mark.parametrize("name", LEARNED)
def test_displays_draw_it_or_say_why_not(name):
    entry, model, y = case(name), fitted(name), wanted(name)
    X, own = entry.holes(), type(model).__name__
    assert len(HistoryDisplay.from_estimator(model).lines_) == 2
    if name == "GLOW-Prox":
        with pytest.raises(TypeError, match="GlowProxInpainter gives no codes layer by layer"):
            ConvergenceDisplay.from_estimator(model, X, y)
        return
    alpha = {}
    if isinstance(model.problem(X, **entry.metadata).R, Zero):
        with pytest.raises(ValueError, match=f"{own} has no alpha .* pass alpha="):
            ConvergenceDisplay.from_estimator(model, X, y, **entry.metadata)
        alpha = {"alpha": 0.1}
    display = ConvergenceDisplay.from_estimator(model, X, y, **alpha, **entry.metadata)
    assert display.curves[own][-1] == pytest.approx(nmse_db(y, entry.run(model)))
    assert set(display.curves) == {own, "ista", "fista"}
    assert len({len(curve) for curve in display.curves.values()}) == 1


CODERS = [n for n in MAKERS if n not in LEARNED and not n.startswith("dictionary learning")]


@pytest.mark.parametrize("name", CODERS)
def test_what_was_not_trained_has_no_history(name):
    model = fitted(name)
    with pytest.raises(AttributeError, match=f"{type(model).__name__} has no history_ to draw"):
        HistoryDisplay.from_estimator(model)


def test_instances_are_examined_by_their_own_losses():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((10, 6))
    X = np.sign(rng.standard_normal((30, 10)) @ A)
    solver = MathL2OSolver(
        A, loss="logistic", alpha=0.01, n_layers=3, hidden_size=4, random_state=0
    ).set_params(trainer__max_epochs=1)
    solver.fit(X)
    problem = solver.problem(X)
    codes = list(solver.staged_predict(X, n_iter=3))
    for kind, size in (("objective", problem.value), ("gradient", problem.gradient)):
        found = convergence_report(solver, X, kind=kind).sizes[1:]
        expected = [size(torch.from_numpy(z)).reshape(30, -1).norm(dim=1).mean() for z in codes]
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    # Labels with noise are no labels.
    with pytest.raises(ValueError, match="needs labels of two classes"):
        robustness(solver, X, codes[-1], where=["input"])


def test_a_network_with_observations_needs_no_estimator():
    entry, model = case("ALISTA"), case("ALISTA").fit(normalize=False)
    observed = model.observe(entry.X, entry.y)
    for measure in (
        lambda *given: convergence_report(*given).sizes,
        lambda *given: robustness(*given, where=["layers"]).error["layers"],
    ):
        own = measure(model, entry.X, entry.y)
        np.testing.assert_allclose(measure(model.network_, *observed), own)


def test_instances_that_know_their_problem_need_no_estimator():
    entry, solver, y = case("Math-L2O"), fitted("Math-L2O"), wanted("Math-L2O")
    obs, codes = solver.observe(entry.X, y, **entry.metadata)
    assert isinstance(obs, Composite)
    for kind in ("objective", "gradient"):
        own = convergence_report(solver, entry.X, kind=kind, **entry.metadata).sizes
        np.testing.assert_allclose(convergence_report(solver.network_, obs, kind=kind).sizes, own)
    options = {"scales": [0.0, 0.5], "random_state": 1}
    plain = robustness(solver.network_, obs, codes, **options).error
    told = robustness(solver, entry.X, y, **options, **entry.metadata).error
    for name in ("layers", "input", "operator"):
        np.testing.assert_allclose(plain[name], told[name])
    # With the operator goes the classical step that belongs to it.
    D, generator = obs.A.D.double(), torch.Generator().manual_seed(1)
    noise = torch.randn(D.shape, generator=generator, dtype=torch.float64)
    A = Dense(D + 0.5 * D.square().mean().sqrt() * noise)
    with torch.no_grad():
        x = solver.network_.double()(Composite.of(obs.b, A, obs.f, obs.R))
    expected = float((x - codes).norm(dim=1).mean())
    assert plain["operator"][1] == pytest.approx(expected, rel=1e-9)


def test_another_penalty_may_be_asked_for():
    entry, model = case("HyperLISTA"), fitted("HyperLISTA")
    z = torch.from_numpy(model.predict(entry.X))
    for alpha in (None, 0.3):
        found = convergence_report(model, entry.X, kind="objective", alpha=alpha).sizes[-1]
        expected = model.problem(entry.X, alpha=alpha).value(z).mean()
        assert found == pytest.approx(float(expected))


def test_codes_are_measured_in_the_units_of_the_dictionary():
    entry, norms = case("ALISTA"), np.linspace(0.2, 5, 16)
    model = clone(entry.estimator).set_params(dictionary=norms[:, None] * pairs().dictionary)
    y = entry.y / norms
    model.fit(entry.X, y)
    distances = [
        np.linalg.norm(codes - y, axis=1).mean() for codes in model.staged_predict(entry.X)
    ]
    np.testing.assert_allclose(convergence_report(model, entry.X, y).sizes[1:], distances)
    found = robustness(model, entry.X, y, where=["layers", "input"], scales=[0.0]).error
    for error in found.values():
        assert error[0] == pytest.approx(distances[-1])


@pytest.mark.parametrize("name", LEARNED)
def test_operators_without_observations_are_those_with(name):
    entry, model = case(name), fitted(name)
    if name in ("Math-L2O", "GLOW-Prox") or entry.metadata:
        with pytest.raises(ValueError, match=f"{type(model).__name__} has no operator of its own"):
            model.network_operator()
        return
    obs, _ = model.observe(entry.X)
    eye = torch.eye(16, dtype=obs.b.dtype)
    torch.testing.assert_close(model.network_operator()(eye), obs.A(eye), rtol=0, atol=0)
    single = model.network_operator(torch.float32)(eye.float())
    torch.testing.assert_close(single, obs.A(eye).float())
