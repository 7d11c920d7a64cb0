"""What users give by mistake, and whether an error about it is clear: for tests over tables."""

from __future__ import annotations

import inspect
import linecache
import re
import tempfile
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import scipy.sparse
import torch
from sklearn.base import BaseEstimator

import sklearn_unroll
from sklearn_unroll.functional import Dense

OURS = str(Path(sklearn_unroll.__file__).parent)


def why_unclear(error, *names):
    """Return what is wrong with an error, nothing if it is clear: of which argument, by whom."""
    if not isinstance(error, (ValueError, TypeError)):
        return f"of kind {type(error).__name__}"
    tb = error.__traceback__
    while tb.tb_next:
        tb = tb.tb_next
    where = tb.tb_frame.f_code.co_filename
    if not where.startswith(OURS) and f"{Path('/sklearn/')}" not in where:
        return f"raised in {where}"
    if not linecache.getline(where, tb.tb_lineno).strip().startswith("raise"):
        return "not raised, but happened"
    if not any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", str(error)) for name in names):
        return f"does not name {' or '.join(names)}"
    return "advice on other packages" if "HistGradient" in str(error) else ""


def is_finite(found):
    """Return whether all numbers in results are finite."""
    if isinstance(found, (list, tuple)):
        return all(is_finite(part) for part in found)
    try:
        return bool(np.isfinite(np.asarray(found, dtype=float)).all())
    except (TypeError, ValueError, RuntimeError):
        return True  # an estimator, say


class Outcomes:
    """Counts what became of many calls, and keeps those that are not as they should be."""

    def __init__(self):
        self.counts, self.bad = Counter(right=0, clear=0, unclear=0, silent=0, NaN=0), []

    def of(self, what, call, *names, wrong=True, expected=None):
        """Call; a wrong input is to be refused by one of its names, others are to be right.

        wrong=None: either will do. expected: what a right answer is close to.
        """
        try:
            found = call()
            if inspect.isgenerator(found):
                found = list(found)
        except Exception as error:
            why = why_unclear(error, *names)
            if wrong is False:
                why = f"refused, {why}"
            kind, text = "unclear" if why else "clear", f"{why}: {type(error).__name__} {error}"
        else:
            text = ""
            if not is_finite(found):
                kind = "NaN"
            elif wrong:
                kind = "silent"
            elif expected is not None and not np.allclose(np.asarray(found), expected, 1e-4, 1e-5):
                kind, text = "silent", "another answer"
            else:
                kind = "right"
        self.counts[kind] += 1
        if kind not in ("right", "clear"):
            self.bad.append(f"{kind}: {what} {text[:300]}")

    def check(self, total=None):
        """Raise if any call was not right, and add what was counted to a total."""
        if total is not None:
            total.update(self.counts)
        assert not self.bad, "\n".join([str(self.counts), *self.bad[:20]])


def spoiled(X, value):
    X = X.copy()
    X[1, 2] = value
    return X


def mapped(X):
    """Return a read-only memory map."""
    with tempfile.NamedTemporaryFile(delete=False) as file:
        X.tofile(file)
    return np.memmap(file.name, dtype=X.dtype, mode="r", shape=X.shape)


# The same numbers.
RIGHT = {
    "list": lambda X: X.tolist(),
    "tuple": lambda X: tuple(map(tuple, X)),
    "big-endian": lambda X: X.astype(">f8"),
    "longdouble": lambda X: X.astype(np.longdouble),
    "memory map": mapped,
    "fortran": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, 1)[:, ::2],
    "tensor": lambda X: torch.from_numpy(X.copy()),
    "objects": lambda X: X.astype(object),
}
# Other numbers, of which codes are finite.
ROUNDED = {
    "float32": lambda X: X.astype(np.float32),
    "float16": lambda X: X.astype(np.float16),
    "ints": lambda X: np.rint(3 * X).astype(int),
    "uint8": lambda X: np.abs(np.rint(3 * X)).astype(np.uint8),
    "bools": lambda X: X.mean() < X,
}
WRONG = {
    "dict": lambda X: {"a": 1},
    "set": lambda X: {1, 2},
    "object": lambda X: object(),
    "class": lambda X: np.ndarray,
    "operator": lambda X: scipy.sparse.linalg.aslinearoperator(X),
    "generator": lambda X: (row for row in X),
    "string": lambda X: "abc",
    "strings": lambda X: np.full(X.shape, "a"),
    "None": lambda X: None,
    "number": lambda X: 3.0,
    "empty": lambda X: X[:0],
    "empty list": lambda X: [],
    "no features": lambda X: X[:, :0],
    "1-D": lambda X: X[0],
    "3-D": lambda X: X[None],
    "ragged": lambda X: [*X.tolist()[:-1], [1.0]],
    "ragged arrays": lambda X: [X[0], X[1, :3]],
    "other width": lambda X: np.hstack([X, X]),
    "inf": lambda X: spoiled(X, np.inf),
    "dict inside": lambda X: spoiled(X.astype(object), {"a": 1}),
    "word inside": lambda X: spoiled(X.astype(object), "a"),
    "complex": lambda X: X + 1j,
    "complex list": lambda X: (X + 1j).tolist(),
    "dates": lambda X: np.zeros(X.shape, "M8[s]"),
    "sparse": lambda X: scipy.sparse.csr_array(X),
    "masked": lambda X: np.ma.array(X, mask=np.nanmean(X) < X),
    "structured": lambda X: np.zeros(len(X), dtype=[("a", float), ("b", float)]),
    "void": lambda X: np.zeros(X.shape, "V8"),
    "beyond range": lambda X: X.astype(np.longdouble) * np.longdouble("1e400"),
}
MISSING = {
    "NaN": lambda X: spoiled(X, np.nan),
    "NaN, float32": lambda X: spoiled(X.astype(np.float32), np.nan),
    "None inside": lambda X: spoiled(X.astype(object), None),
}
# At the edges of the range: a right answer or a clear error.
EDGES = {
    "1e160": lambda X: 1e160 * X,
    "largest": lambda X: X / np.nanmax(np.abs(X)) * np.finfo(float).max,
    "one is huge": lambda X: spoiled(X, 1e200),
    "1e-160": lambda X: 1e-160 * X,
    "smallest": lambda X: 5e-324 * np.sign(X),
    "float32 1e25": lambda X: (1e25 * X).astype(np.float32),
    "float32 3e38": lambda X: (X / np.nanmax(np.abs(X)) * 3e38).astype(np.float32),
    "float32 1e-44": lambda X: (1e-44 * X).astype(np.float32),
    "zeros": lambda X: 0 * X,
    "very different rows": lambda X: X * 10.0 ** np.linspace(-300, 150, len(X))[:, None],
}


class Anything(BaseEstimator):
    """Has the methods that parameters are asked for; a class of it is no instance."""

    fit = predict = value = prox = gradient = lipschitz = cache = None


# In place of numbers and of arrays.
THINGS = {
    "word": "word",
    "-3": -3,
    "NaN": float("nan"),
    "inf": float("inf"),
    "list": [1, 2, 3],
    "fraction": Fraction(1, 3),
    "class": Anything,
    "object": object(),
    "dict": {"a": 1},
    "complex": 1j,
    "empty": [],
    "words": ["a", "b"],
    "ragged": [[1.0, 2.0], [1.0]],
    "nothing inside": [None, 1.0],
    "5-D": np.zeros((1, 1, 1, 1, 1)),
    "dates": np.zeros(80, "M8[s]"),
    "grad": torch.ones(80, requires_grad=True),
    "sparse list": [scipy.sparse.csr_array(np.eye(3))] * 80,
    "operator": Dense(torch.ones(3, 4)),
    "LinearOperator": scipy.sparse.linalg.aslinearoperator(np.ones((3, 4))),
}
# Of the right shape, or nearly.
SPOILED = {
    "NaN inside": lambda v: np.where(np.arange(v.size).reshape(v.shape) == 1, np.nan, v),
    "inf inside": lambda v: np.where(np.arange(v.size).reshape(v.shape) == 1, np.inf, v),
    "short": lambda v: v[:-1],
    "long": lambda v: np.concatenate([v, v[:1]]),
    "words": lambda v: np.full(v.shape, "a"),
    "complex": lambda v: v + 1j,
    "one more axis": lambda v: v[None],
    "dates": lambda v: np.zeros(v.shape, "M8[s]"),
    "masked": lambda v: np.ma.array(v, mask=np.arange(v.size).reshape(v.shape) == 1),
    "grad": lambda v: torch.tensor(v, requires_grad=True),
    "sparse": lambda v: torch.tensor(v).to_sparse(),
}
