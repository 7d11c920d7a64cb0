"""What a learned optimiser is worth: iterations, families it has not seen, and time.

``python -m benchmarks.math_l2o`` trains MathL2OSolver on 512 lasso problems (50 x 100, 10
nonzeros, alpha 0.1, a new matrix for each), and prints how many iterations bring the mean relative
error of the objective to 1e-2, 1e-4, 1e-6 and 1e-8, next to those of FISTA with and without
restarts: on new problems, at other sizes, on other families; ``worst_to`` is where all of the
problems are at 1e-6. Then the milliseconds that bring a batch to a mean of 1e-6, one iteration of
them, and those of ``LassoCoder`` and of scikit-learn's coordinate descent, one problem at a time,
at the loosest tolerance that suffices. Optima are certified by a duality gap in float64.
``--variants PA P A ...`` trains each of them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import Lasso
from torch import Tensor

from benchmarks.l2o_problems import as_lasso, lasso_family, shifted, solved
from benchmarks.study import Option, Row, Study, sides, with_epochs
from benchmarks.timing import clocked, compete
from sklearn_unroll import LassoCoder, MathL2OSolver
from sklearn_unroll.functional import Composite
from sklearn_unroll.nn import Unrolled
from sklearn_unroll.nn.math_l2o import VARIANTS
from sklearn_unroll.solvers import CompositeDescent, NesterovDescent, iterates

LEVELS = (1e-2, 1e-4, 1e-6, 1e-8)
TIMED = LEVELS[2]
CLASSICAL = {
    "ISTA": CompositeDescent(),
    "FISTA": NesterovDescent(restart=False),
    "restarted FISTA": NesterovDescent(),
}
REACHED = tuple(f"to_{level:.0e}" for level in LEVELS)


def errors(problem: Composite, points: Iterable[Tensor]) -> Tensor:
    """Return the relative error of the objective at every iterate but the first, per problem."""
    curves = [(problem.value(x) - problem.least) / problem.least for x in points]
    return torch.stack(curves[1:])


def hits(curve: Tensor) -> list[float]:
    """Return the first iteration at each level, of one curve; infinity where there is none."""
    reached = [(curve <= level).nonzero()[:, 0] for level in LEVELS]
    return [int(k[0]) + 1 if len(k) else math.inf for k in reached]


def train(n: int, seed: int, shape: str = "50x100", epochs: int | None = None, **given: Any):
    """Return a solver and the seconds of its training, that of the optima included."""
    m, n_components = sides(shape)
    problem = lasso_family(n, m, n_components, n_components // 10, seed=seed)
    solver = with_epochs(MathL2OSolver(random_state=seed, **given), epochs)
    return clocked(lambda: solver.fit(problem.b.numpy(), operators=problem.A.D.numpy()))


def learned(solver: MathL2OSolver, problem: Composite, n_iter: int) -> tuple[Tensor, float]:
    """Return the error curves of a solver, and its fallbacks per instance."""
    curve, state = curve_of(solver.network_, problem, n_iter)
    return curve, float(state.n_fallbacks.double().mean())


@torch.no_grad()
def curve_of(network: Unrolled, problem: Composite, n_iter: int) -> tuple[Tensor, Any]:
    """Return the error curves of a network whose one layer is repeated, and its last state."""
    layer = network.layers[0]
    state = layer.init(problem)

    def points() -> Iterator[Tensor]:
        nonlocal state
        yield layer.readout(state)
        for _ in range(n_iter):
            state = layer(state, problem)
            yield layer.readout(state)

    return errors(problem, points()), state


def families(
    shape: str, sizes: Sequence[str], n: int, n_patches: int, seed: int
) -> Iterator[tuple[str, Composite]]:
    """Yield new problems of the size that was trained on, of other sizes, of other kinds."""
    for size in (shape, *sizes):
        m, n_components = sides(size)
        fewer = n if m <= 50 else max(n // 4, 1)
        name = "new problems" if size == shape else size
        yield name, lasso_family(fewer, m, n_components, n_components // 10, seed=seed)
    yield from shifted(seed, n, *sides(shape), n_patches)


def compare(
    problem: Composite, solvers: Mapping[str, MathL2OSolver], n_iter: int
) -> Iterator[Row]:
    """Yield a row for every method on a family."""
    for name, method in CLASSICAL.items():  # the last one is what to beat
        curve = errors(problem, iterates(method, problem, n_iter))
        yield _row(name, curve)
    rival = hits(curve.mean(1))
    for name, solver in solvers.items():
        curve, fallbacks = learned(solver, problem, n_iter)
        kept = sum(ours <= theirs for ours, theirs in zip(hits(curve.mean(1)), rival, strict=True))
        yield _row(name, curve) | {"fallbacks": fallbacks, "levels_no_slower": kept}


def _row(method: str, curve: Tensor) -> Row:
    mean, worst = curve.mean(1), curve.amax(1)
    found = dict(zip(REACHED, hits(mean), strict=True))
    found["worst_to"] = hits(worst)[LEVELS.index(TIMED)]
    reached = {name: k for name, k in found.items() if k < math.inf}
    last = {"last_error": float(mean[-1]), "worst_error": float(worst[-1])}
    return {"method": method, **reached, **last}


def costs(solver: MathL2OSolver, size: str, n_iter: int, repeats: int, seed: int) -> Iterator[Row]:
    """Yield milliseconds to a mean relative error of ``TIMED``, or to the last iterate."""
    n, m, n_components = sides(size)
    problem = solved(lasso_family(n, m, n_components, n_components // 10, seed=seed))
    X, D = problem.b.numpy(), problem.A.D.numpy()

    def fista(n_iter: int) -> Any:
        # With the largest eigenvalues that its steps need, which ``predict`` computes, too.
        posed = as_lasso(problem.b, problem.A.D, 0.1)
        return deque(iterates(NesterovDescent(), posed, n_iter), maxlen=1)[0]

    def ours(n_iter: int) -> Any:
        return solver.predict(X, n_iter=n_iter, operators=D)

    def coder(tol: float) -> Any:
        return LassoCoder(alpha=0.1, tol=tol).fit(X, operators=D).transform(X, operators=D)

    def theirs(tol: float) -> Any:
        model = Lasso(0.1 / m, fit_intercept=False, tol=tol, max_iter=100_000)
        return [model.fit(A, x).coef_ for x, A in zip(X, columns, strict=True)]

    columns = [np.asfortranarray(atoms.T) for atoms in D]
    curve = errors(problem, iterates(NesterovDescent(), problem, n_iter))
    settings = {
        "restarted FISTA": (fista, steps_to(curve)),
        "learned": (ours, steps_to(learned(solver, problem, n_iter)[0])),
    }
    for name, method in {"LassoCoder": coder, "Lasso of scikit-learn": theirs}.items():
        settings[name] = method, loosest(method, problem)
    jobs = {name: partial(method, setting) for name, (method, setting) in settings.items()}
    found, seconds = compete(jobs, repeats)
    for name, (_, setting) in settings.items():
        row = {"family": f"{n} of {m}x{n_components}, time", "method": name}
        own = error(problem, found[name])
        row |= {
            "ms_to_solve": 1e3 * median(seconds[name]),
            "last_error": float(own.mean()),
            "worst_error": float(own.max()),
        }
        if isinstance(setting, int):
            row["ms_per_iteration"] = row["ms_to_solve"] / setting
        yield row


def steps_to(curve: Tensor) -> int:
    """Return how many iterations reach ``TIMED``, or all."""
    reached = (curve.mean(1) <= TIMED).nonzero()[:, 0]
    return int(reached[0]) + 1 if len(reached) else len(curve)


def error(problem: Composite, x: Any) -> Tensor:
    """Return the relative error of the objective, per problem."""
    x = torch.as_tensor(np.asarray(x))
    return (problem.value(x) - problem.least) / problem.least


def loosest(method: Callable[[float], Any], problem: Composite) -> float:
    """Return the loosest tolerance with which a solver reaches ``TIMED``."""
    tried = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
    return next((tol for tol in tried if error(problem, method(tol)).mean() <= TIMED), tried[-1])


def rows(
    *,
    seed: int,
    variants: Sequence[str] = Option(("PA",), choices=VARIANTS, help="of what is learned"),
    shape: str = Option("50x100", "10x20", "of the problems that are trained on"),
    sizes: Sequence[str] = Option(("250x500", "25x50"), ("20x40",), "new ones"),
    timed: Sequence[str] = Option(
        ("1x40x20", "1x50x100", "64x50x100", "1x400x200", "64x250x500"), ("2x10x20",), "batches"
    ),
    n_train: int = Option(512, 16, "problems"),
    n_test: int = Option(64, 2, "problems of a family"),
    n_patches: int = Option(2000, 8, "of the photograph"),
    n_iter: int = Option(1000, 40),
    epochs: int | None = Option(None, 1, "instead of the solver's own recipe"),
    repeats: int = Option(3, 1),
) -> Iterator[Row]:
    """Yield a row per family and method, then those of time."""
    solvers = {}
    for variant in variants:
        solvers[variant], seconds = train(n_train, seed, shape, epochs, variant=variant)
        print(f"{variant}: trained in {seconds:.0f} s", flush=True)
    for family, problem in families(shape, sizes, n_test, n_patches, seed + 10_000):
        for row in compare(solved(problem), solvers, n_iter):
            yield {"family": family, **row}
    for size in timed:
        yield from costs(solvers[variants[0]], size, n_iter, repeats, seed + 20_000)


STUDY = Study(
    rows,
    labels="family method",
    measures=" ".join(REACHED)
    + " worst_to last_error worst_error fallbacks levels_no_slower ms_per_iteration ms_to_solve",
)

if __name__ == "__main__":
    STUDY.main()
