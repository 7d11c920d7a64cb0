"""Who may import whom: the tables below, and nothing else."""

import ast
import graphlib
from pathlib import Path

import pytest

ALLOWED = {  # room: the rooms it may import, anywhere in a file
    "functional": set(),
    "nn": {"functional"},
    "solvers": {"functional"},
    "training": {"functional", "nn.base"},  # the contract of a network, no family of them
    "theory": {"functional", "nn", "solvers"},
    "estimators": {"functional", "nn", "solvers", "training", "theory"},
    "datasets": set(),
    "metrics": {"functional"},
}
ALLOWED["plotting"] = ALLOWED["testing"] = set(ALLOWED)
NO_SKLEARN = {"functional", "nn", "solvers", "__init__"}
HEAVY = {"PIL", "celer", "cvxpy", "matplotlib", "normflows", "numba", "pandas", "skglm", "skimage"}
HEAVY |= {"dictlearn", "spams"}
ROOT = Path(__file__).parents[1]
PACKAGE = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "sklearn_unroll").rglob("*.py"))
}


def imports(module, tree, runs=True):
    """Yield (absolute dotted name, does it run when the module is imported)."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, runs) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: -node.level] if node.level else []
            base += [node.module] if node.module else []
            yield from ((".".join([*base, alias.name]), runs) for alias in node.names)
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        later |= isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        yield from imports(module, node, runs and not later)


def violations(module, source):
    """Yield what is wrong in a module; ``sklearn_unroll.nn.base`` lies in the room ``nn``."""
    room = module.split(".")[1]
    if room not in ALLOWED and room not in ("__init__", "_renamed", "exceptions"):
        yield f"{module}: the design has no room {room!r}"
    if ".cuda(" in source:
        yield f"{module}: use .to(device), not .cuda()"
    for name, runs in imports(module, ast.parse(source)):
        top, other, inner, *_ = [*name.split("."), "", ""]
        inside = top == "sklearn_unroll" and other not in ("_renamed", "exceptions")
        if inside and room not in ("__init__", other):
            wrong = not {other, f"{other}.{inner}"} & ALLOWED.get(room, set())
        else:
            wrong = (top == "sklearn" and room in NO_SKLEARN) or (top in HEAVY and runs)
        if wrong:
            yield f"{module} must not import {name} here"


def find_cycle(sources):
    """Return a cycle among the imports that run at import time, or None."""
    graph = {module.removesuffix(".__init__"): set() for module in sources}
    for module, source in sources.items():
        for name, runs in imports(module, ast.parse(source)):
            known = [m for m in (name, name.rpartition(".")[0]) if m in graph and runs]
            graph[module.removesuffix(".__init__")].update(known[:1])
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]


def test_every_module_keeps_to_the_arrows():
    assert PACKAGE
    found = [line for module, source in PACKAGE.items() for line in violations(module, source)]
    assert not found, "\n".join(found)
    assert find_cycle(PACKAGE) is None


WRONG = """
functional.prox   | from sklearn_unroll.nn import lista
functional.prox   | from sklearn.utils import check_array
nn.lista          | from sklearn_unroll import solvers
nn.lista          | from ..solvers.solver import minimize
nn.lista          | def f(): import sklearn_unroll.training
nn.__init__       | from .. import metrics
nn.base           | net.cuda()
solvers.solver  | from sklearn_unroll.nn.base import Unrolled
solvers.truth   | class A: import cvxpy
training.loop     | from sklearn_unroll.nn.lista import lista
training.loop     | from sklearn_unroll.nn import Unrolled
estimators.lista  | from sklearn_unroll import LISTARegressor
datasets.sparse   | from sklearn_unroll.functional import soft
metrics           | import sklearn_unroll.solvers
plotting          | import matplotlib.pyplot as plt
utils.misc        | x = 1
"""
RIGHT = """
__init__          | from sklearn_unroll.estimators import LISTARegressor
functional.steps  | from .operators import Dense
training.loop     | from sklearn_unroll.nn.base import Unrolled
training.loop     | from sklearn.base import BaseEstimator
solvers.truth   | def f(): import cvxpy
estimators.lista  | if TYPE_CHECKING: import pandas
nn.base           | torch.cuda.is_available()
"""


@pytest.mark.parametrize("line", [*WRONG.strip().splitlines(), *RIGHT.strip().splitlines()])
def test_the_check_can_fail(line):
    module, source = (part.strip() for part in line.split("|"))
    assert bool(list(violations(f"sklearn_unroll.{module}", source))) == (line in WRONG)


def test_a_cycle_is_found():
    sources = {"p.a": "from p import b", "p.b": "import p.c", "p.c": "from .a import x"}
    assert set(find_cycle(sources)) == {"p.a", "p.b", "p.c"}
    assert find_cycle(sources | {"p.c": "def f(): import p.a"}) is None
