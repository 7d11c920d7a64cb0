"""The guide's network of one's own: short, of public names, and as good as one of the package."""

import ast
import importlib
from collections import Counter

import pytest
import torch
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

from sklearn_unroll import LAMPRegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.metrics import nmse_db
from sklearn_unroll.nn import lamp
from sklearn_unroll.testing import check_layer
from tests.code_blocks import python_blocks, run
from tests.conftest import make_problem

(CODE,) = (code for code in python_blocks("docs/user_guide.rst").values() if "class LAMP" in code)


@pytest.fixture(scope="module")
def own():
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield run(CODE, "own_network", monkeypatch)


def test_it_is_short_and_made_of_public_names():
    assert sum(bool(line.strip()) for line in CODE.splitlines()) <= 40
    assert max(map(len, CODE.splitlines())) <= 95
    imports = [node for node in ast.walk(ast.parse(CODE)) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if node.module.startswith("sklearn_unroll")]
    assert len(ours) >= 4
    for node in ours:
        public = importlib.import_module(node.module).__all__
        assert {alias.name for alias in node.names} <= set(public), node.module
    touched = {node.attr for node in ast.walk(ast.parse(CODE)) if isinstance(node, ast.Attribute)}
    assert {name for name in touched if name.startswith("_")} <= {"__init__", "_replace"}


@pytest.mark.parametrize("shape", [(10, 20), (12, 5)])
def test_untrained_it_is_the_lamp_of_the_package(own, shape):
    obs, y = make_problem(n_features=shape[0], n_components=shape[1])
    D = obs.A.D * torch.linspace(0.5, 2.0, shape[1], dtype=torch.float64)[:, None]
    model = own.LAMP(D.numpy(), n_layers=7, trainer=Trainer(max_epochs=0))
    X = y @ D
    model.fit(X.numpy(), y.numpy())
    seen, _ = model.observe(X.numpy())
    torch.testing.assert_close(seen.A.D, obs.A.D)  # unit atoms
    with torch.no_grad():
        found = model.network_.iterates(seen)
        expected = lamp(seen.A, n_layers=7).iterates(seen)
    for x, known in zip(found, expected, strict=True):
        torch.testing.assert_close(x, known, atol=1e-12, rtol=0)
    assert float(expected[-1].abs().max()) > 1e-3
    shipped = LAMPRegressor(D.numpy(), n_layers=7, init="amp", trainer=Trainer(max_epochs=0))
    shipped.fit(X.numpy(), y.numpy())
    codes = [torch.from_numpy(m.predict(X.numpy())) for m in (model, shipped)]
    torch.testing.assert_close(*codes, atol=1e-12, rtol=0)


def test_its_layer_keeps_the_contract(own):
    obs, y = make_problem(n_features=10, n_components=20)
    model = own.LAMP(obs.A.D.numpy(), trainer=Trainer(max_epochs=0))
    check_layer(model.fit(obs.b.numpy(), y.numpy()).network_.layers[0], obs)


def test_training_is_worth_it(own, assert_below):
    new = make_sparse_recovery(500, dictionary=own.data.dictionary, sparsity=5, random_state=1)
    untrained = clone(own.model).set_params(trainer=Trainer(max_epochs=0))
    untrained.fit(own.data.X, own.data.y)
    errors = [nmse_db(new.y, model.predict(new.X)) for model in (own.model, untrained)]
    assert_below(errors[0] - errors[1], -3)  # dB


@pytest.mark.filterwarnings("ignore:This fit of")
@pytest.mark.parametrize(
    "dispatch", [False, pytest.param(True, marks=pytest.mark.array_api)], ids=["plain", "arrays"]
)
def test_scikit_learn_has_nothing_against_it(own, dispatch):
    results = check_estimator(own.LAMP(n_layers=2), on_fail=None, on_skip=None)
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert not failed
    assert Counter(r["status"] for r in results)["passed"] >= (70 if dispatch else 60)
