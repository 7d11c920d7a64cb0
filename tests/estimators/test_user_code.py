"""Operators, penalties, losses, starts and estimators that a user writes are tried before use."""

import numpy as np
import pytest
import scipy.sparse
import torch
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from sklearn.base import BaseEstimator, clone

from sklearn_unroll import LassoCoder
from sklearn_unroll.functional import (
    L1,
    Box,
    Dense,
    LeastSquares,
    Operator,
    Penalty,
    Smooth,
    soft,
)
from tests.estimator_table import case, pairs
from tests.odd_input import Outcomes

# Trainings here are short, some are worth nothing.
pytestmark = pytest.mark.filterwarnings("ignore:This fit of")
D = pairs().dictionary


class Linear(LinearOperator):
    """The pairs' operator, with a fault."""

    def __init__(self, fault=None, transpose=True):
        self.fault, self.transpose = fault, transpose
        super().__init__(dtype=float, shape=D.T.shape)

    def _matvec(self, x):
        x = D.T @ x
        return {"NaN": x * np.nan, "shape": x[:-1], "word": "w"}.get(self.fault, x)

    def _rmatvec(self, r):
        if not self.transpose:
            raise NotImplementedError
        r = D @ r
        faults = {"adjoint NaN": r * np.nan, "adjoint shape": r[:-1], "not the adjoint": -3 * r}
        return faults.get(self.fault, r)


class Own(Operator):
    """The pairs' operator, with a fault."""

    n_components, n_features = D.shape

    def __init__(self, fault=None):
        self.fault = fault

    def __call__(self, x):
        x = x @ torch.as_tensor(D).to(x)
        faults = {
            "NaN": torch.nan * x,
            "shape": x[:, 1:],
            "word": "w",
            "numpy": x.detach().numpy(),
        }
        return (faults | {"float32": x.float()}).get(self.fault, x)

    def adjoint(self, r):
        return r if self.fault == "adjoint shape" else r @ torch.as_tensor(D).to(r).T


WRONG_OPERATORS = {
    "no rmatvec": Linear(transpose=False),
    **{
        f"LinearOperator, {fault}": Linear(fault)
        for fault in ("NaN", "shape", "word", "adjoint NaN", "adjoint shape", "not the adjoint")
    },
    **{
        f"Operator, {fault}": Own(fault)
        for fault in ("NaN", "shape", "word", "numpy", "float32", "adjoint shape")
    },
    "complex": aslinearoperator(D.T + 1j),
    "transposed": aslinearoperator(D),
    "list of sparse": [scipy.sparse.csr_array(D.T)] * 80,
    "list of operators": [aslinearoperator(D.T)] * 80,
    "sparse with NaN": scipy.sparse.csr_array(np.where(D > 0.5, np.nan, D).T),
    "function": lambda x: x,
    "module": torch.nn.Linear(16, 10),
    "class": Dense,
    "one row": D[0],
    "one for each": np.stack([D] * 80),
    "too large": D * 1e200,
    "zero": 0 * D,
}
MATRICES_ONLY = ("LISTA", "ALISTA", "HyperLISTA", "LAMP", "FBSNet")
EITHER = ("step-LISTA", "LassoCoder")
OPERATORS = ("ADMM-CSNet", "ADMM-CSNet, dense", "Math-L2O")


def fit(name, **changes):
    """Return what a fit on the pairs predicts; each instance of Math-L2O has the same operator."""
    entry = case(name)
    if name != "Math-L2O":
        return entry.run(entry.fit(**changes))
    model = clone(entry.estimator).set_params(trainer__max_epochs=1, **{"operator": D, **changes})
    return model.fit(pairs().X).predict(pairs().X)


@pytest.mark.parametrize("name", MATRICES_ONLY + EITHER + OPERATORS)
def test_operators(name):
    outcomes = Outcomes()
    argument = "operator" if name in OPERATORS else "dictionary"
    for label, operator in WRONG_OPERATORS.items():
        call = lambda A=operator: fit(name, **{argument: A})  # noqa: E731
        # Codes of zero atoms are zero, for who learns a dictionary and begins with some.
        wrong = not (name == "LassoCoder" and label == "zero")
        outcomes.of(f"{name}({label})", call, argument, "Sparse data was passed", wrong=wrong)
    right = [Own(), Linear(), aslinearoperator(D.T), scipy.sparse.csr_array(D.T)]
    for operator in right[: 3 if name in EITHER else None]:
        call = lambda A=operator: fit(name, **{argument: A})  # noqa: E731
        outcomes.of(f"{name}({operator})", call, argument, wrong=name in MATRICES_ONLY)
    outcomes.check()


def test_what_is_no_matrix_is_to_be_written_out():
    for operator in (Linear(), Own()):
        with pytest.raises((TypeError, ValueError), match="dictionary"):
            fit("LISTA", dictionary=operator)
    with pytest.raises(TypeError, match=r"dictionary must be a matrix.*\(A @ np\.eye"):
        fit("LISTA", dictionary=Linear())


class Absolute(Penalty):
    """The l1 norm, with a fault."""

    def __init__(self, fault=None):
        self.fault = fault

    def value(self, x):
        if self.fault == "raises":
            raise ZeroDivisionError
        faults = {"value word": "w", "value NaN": x[:, 0] * torch.nan, "value shape": x}
        return (faults | {"value number": 1.0}).get(self.fault, x.abs().sum(1))

    def prox(self, x, step):
        if self.fault == "overwrites":
            return x.mul_(0.5)
        faults = {"prox word": "w", "prox NaN": x * torch.nan, "prox shape": x[:, 1:]}
        return (faults | {"prox float32": x.float()}).get(self.fault, soft(x, step))


FAULTS = (
    "raises", "value word", "value NaN", "value shape", "value number", "prox word", "prox NaN",
    "prox shape", "prox float32", "overwrites",
)  # fmt: skip


@pytest.mark.parametrize("name", ["FBSNet", "Math-L2O"])
def test_penalties(name):
    outcomes = Outcomes()
    for fault in FAULTS:
        outcomes.of(fault, lambda how=fault: fit(name, penalty=Absolute(how)), "penalty")
    for R in (L1(np.ones(7)), L1(np.ones((7, 1))), Box(np.ones(3), 2 * np.ones(3)), L1):
        outcomes.of(str(R), lambda R=R: fit(name, penalty=R), "penalty")
    # What depends on the step's shape is the package's own for Math-L2O.
    good = L1(np.broadcast_to(1.0, 16)) if name == "Math-L2O" else Absolute()
    outcomes.of("good", lambda: fit(name, penalty=good), "penalty", wrong=False)
    outcomes.check()


class Squares(Smooth):
    """Least squares, with a fault."""

    def __init__(self, fault=None):
        self.fault = fault

    def value(self, x, obs):
        faults = {"value word": "w", "value NaN": x[:, 0] * torch.nan, "value shape": x}
        return faults.get(self.fault, LeastSquares().value(x, obs))

    def gradient(self, x, obs):
        faults = {"gradient word": "w", "gradient NaN": x * torch.nan, "gradient shape": x[:, 1:]}
        return faults.get(self.fault, LeastSquares().gradient(x, obs))

    def lipschitz(self, obs):
        faults = {"L word": "w", "L NaN": torch.tensor(torch.nan), "L negative": -torch.ones(())}
        faults |= {"L shape": torch.ones(3), "L number": 2.0}
        return faults.get(self.fault, LeastSquares().lipschitz(obs))


def test_losses():
    outcomes = Outcomes()
    parts = {"value": ("word", "NaN", "shape"), "gradient": ("word", "NaN", "shape")}
    parts["L"] = ("word", "NaN", "negative", "shape", "number")
    for fault in (f"{part} {how}" for part, hows in parts.items() for how in hows):
        outcomes.of(fault, lambda how=fault: fit("Math-L2O", loss=Squares(how)), "loss")
    outcomes.of("good", lambda: fit("Math-L2O", loss=Squares()), "loss", wrong=False)
    outcomes.check()


def test_first_iterates():
    outcomes = Outcomes()
    wrong = {
        "word": lambda obs: "w",
        "shape": lambda obs: obs.b,
        "NaN": lambda obs: obs.b.new_full((len(obs.b), 16), torch.nan),
        "raises": lambda obs: 1 / 0,
        "short": np.zeros(15),
        "one for each": np.zeros((80, 16)),
        "NaN inside": np.full(16, np.nan),
        "words": ["a"] * 16,
    }
    for label, x0 in wrong.items():
        outcomes.of(label, lambda x0=x0: fit("FBSNet", x0=x0), "x0")
    for x0 in (lambda obs: obs.b.new_zeros(len(obs.b), 16), [0.0] * 16, np.broadcast_to(0.0, 16)):
        outcomes.of(str(x0), lambda x0=x0: fit("FBSNet", x0=x0), "x0", wrong=False)
    outcomes.check()


class Start(BaseEstimator):
    """Codes, with a fault."""

    def __init__(self, fault=None):
        self.fault = fault

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def predict(self, X):
        z = np.zeros((len(X), 16))
        faults = {"width": z[:, 1:], "NaN": z * np.nan, "inf": z + np.inf, "huge": z + 1e300}
        faults |= {"word": "w", "one column": z[:, 0], "nothing": None, "complex": z + 1j}
        faults |= {"rows": z[1:], "words": np.full(z.shape, "a"), "3-D": z[None]}
        return (faults | {"far": z + 1e100, "list": z.tolist()}).get(self.fault, z)


class Bare:
    """What scikit-learn does not know."""

    def fit(self, X, y=None):
        return self

    def predict(self, X):
        return np.zeros((len(X), 16))


def test_warm_starts():
    X, outcomes = pairs().X, Outcomes()
    expected = LassoCoder(D).fit(X).transform(X)

    def code(start):
        return LassoCoder(D, warm_start_from=start).fit(X).transform(X)

    faults = "width", "NaN", "inf", "huge", "word", "one column", "nothing", "complex", "rows"
    for fault in (*faults, "words", "3-D"):
        start = Start(fault).fit(X)
        outcomes.of(fault, lambda start=start: code(start), "warm_start_from")
    for start in (Start(), Start, Bare(), "word"):
        outcomes.of(str(start), lambda start=start: code(start), "warm_start_from")
    outcomes.check()
    for fault in ("far", "list", None):  # where to start does not matter
        np.testing.assert_allclose(code(Start(fault).fit(X)), expected, atol=1e-3)
