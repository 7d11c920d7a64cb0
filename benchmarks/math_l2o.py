"""What a learned optimiser is worth: iterations, families it has not seen, and time.

``python -m benchmarks.math_l2o`` trains MathL2OSolver on 512 lasso problems (50 x 100, 10
nonzeros, alpha 0.1, a new matrix for each), one thread, and prints how many iterations bring the
mean relative error of the objective to 1e-2, 1e-4, 1e-6 and 1e-8, next to those of FISTA with and
without restarts: on new problems, at other sizes, on other families. Then the cost of an
iteration, and the time next to scikit-learn's coordinate descent. Optima are certified by a
duality gap in float64. ``--variants PA P A ...`` trains each of them.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso
from torch import Tensor

from benchmarks.l2o_problems import lasso_family, shifted, solved
from benchmarks.report import RESULTS, print_table, write_csv
from benchmarks.timing import cpu_model, installed_versions, limit_threads, measure
from sklearn_unroll import MathL2OSolver
from sklearn_unroll.functional import Composite
from sklearn_unroll.nn import Unrolled
from sklearn_unroll.solvers import CompositeDescent, NesterovDescent, iterates

LEVELS = (1e-2, 1e-4, 1e-6, 1e-8)
CLASSICAL = {
    "ISTA": CompositeDescent(),
    "FISTA": NesterovDescent(restart=False),
    "restarted FISTA": NesterovDescent(),
}
COLUMNS = ("family", "method", "1e-2", "1e-4", "1e-6", "1e-8", "last error", "fallbacks")


def errors(problem: Composite, points: Iterable[Tensor]) -> Tensor:
    """Return the mean relative error of the objective at every iterate but the first."""
    curves = [(problem.value(x) - problem.least) / problem.least for x in points]
    return torch.stack(curves[1:]).mean(1)


def hits(curve: Tensor) -> list[int | str]:
    """Return the first iteration at each level; a dash where there is none."""
    reached = [(curve <= level).nonzero()[:, 0] for level in LEVELS]
    return [int(k[0]) + 1 if len(k) else "-" for k in reached]


def train(n: int, seed: int, **given: Any) -> tuple[MathL2OSolver, float]:
    """Return a solver and the seconds of its training, that of the optima included."""
    problem = lasso_family(n, seed=seed)
    solver = MathL2OSolver(random_state=seed, **given)
    start = time.perf_counter()
    solver.fit(problem.b.numpy(), operators=problem.A.D.numpy())
    return solver, time.perf_counter() - start


def learned(solver: MathL2OSolver, problem: Composite, n_iter: int) -> tuple[Tensor, float]:
    """Return the error curve of a solver, and its fallbacks per instance."""
    curve, state = curve_of(solver.network_, problem, n_iter)
    return curve, float(state.n_fallbacks.double().mean())


@torch.no_grad()
def curve_of(network: Unrolled, problem: Composite, n_iter: int) -> tuple[Tensor, Any]:
    """Return the error curve of a network whose one layer is repeated, and its last state."""
    layer = network.layers[0]
    state = layer.init(problem)

    def points() -> Iterator[Tensor]:
        nonlocal state
        yield layer.readout(state)
        for _ in range(n_iter):
            state = layer(state, problem)
            yield layer.readout(state)

    return errors(problem, points()), state


def compare(
    family: str, problem: Composite, solvers: dict[str, MathL2OSolver], n_iter: int
) -> Iterator[dict[str, Any]]:
    """Yield a row for every method on a family."""
    for name, method in CLASSICAL.items():
        if name != "ISTA" or family == "new problems":
            curve = errors(problem, iterates(method, problem, n_iter))
            yield _row(family, name, curve, "")
    for name, solver in solvers.items():
        curve, fallbacks = learned(solver, problem, n_iter)
        yield _row(family, name, curve, f"{fallbacks:.1f}")


def _row(family: str, method: str, curve: Tensor, fallbacks: str) -> dict[str, Any]:
    values = (family, method, *hits(curve), f"{float(curve[-1]):.0e}", fallbacks)
    return dict(zip(COLUMNS, values, strict=True))


def costs(solver: MathL2OSolver, seed: int) -> Iterator[dict[str, Any]]:
    """Yield milliseconds: of an iteration, and of a solution next to scikit-learn."""
    for n, m, n_components in ((1, 50, 100), (64, 50, 100), (8, 250, 500)):
        problem = lasso_family(n, m, n_components, n_components // 10, seed=seed)
        X, D = problem.b.numpy(), problem.A.D.numpy()

        def fista(p: Composite = problem) -> None:
            for _ in iterates(NesterovDescent(), p, 100):
                pass

        def ours(X: np.ndarray = X, D: np.ndarray = D) -> None:
            solver.predict(X, 100, D)

        def theirs(X: np.ndarray = X, D: np.ndarray = D) -> None:
            for x, atoms in zip(X, D, strict=True):
                model = Lasso(0.1 / X.shape[1], fit_intercept=False, tol=1e-8, max_iter=10_000)
                model.fit(np.asfortranarray(atoms.T), x)

        timed: dict[str, Callable[[], None]] = {"FISTA": fista, "learned": ours, "sklearn": theirs}
        measure(timed, 1)
        ms = {name: 1e3 * median(taken) for name, taken in measure(timed, 3).items()}
        yield {
            "problems": n,
            "size": f"{m}x{n_components}",
            "FISTA, ms an iteration": round(ms["FISTA"] / 100, 3),
            "learned, ms an iteration": round(ms["learned"] / 100, 3),
            "learned, 40 iterations": round(0.4 * ms["learned"], 1),
            "sklearn's Lasso": round(ms["sklearn"], 1),
        }


def won(rows: Sequence[dict[str, Any]]) -> str:
    """Return on how many families and levels the learned method needs no more iterations."""
    best = {row["family"]: row for row in rows if row["method"] == "restarted FISTA"}
    cells = families = 0
    ours = [row for row in rows if row["fallbacks"] != ""]
    for row in ours:
        count = sum(
            _number(row[level]) <= _number(best[row["family"]][level]) for level in COLUMNS[2:6]
        )
        cells, families = cells + count, families + (count == 4)
    return (
        f"no slower than restarted FISTA: {cells} of {4 * len(ours)} levels, all levels on "
        f"{families} of {len(ours)} families"
    )


def _number(value: int | str) -> float:
    return np.inf if value == "-" else float(value)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run and print everything."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--variants", nargs="+", default=["PA"])
    parser.add_argument("--n-train", type=int, default=512)
    parser.add_argument("--n-test", type=int, default=64)
    parser.add_argument("--n-iter", type=int, default=1000)
    options = parser.parse_args(arguments)
    with limit_threads(1) as threads, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        print(f"{cpu_model()}; {installed_versions()}; {threads}")
        run(options)


def run(options: argparse.Namespace) -> None:
    """Train, compare and print."""
    solvers = {}
    for variant in options.variants:
        solvers[variant], seconds = train(options.n_train, options.seed, variant=variant)
        print(f"{variant}: trained in {seconds:.0f} s, {solvers[variant].history_}", flush=True)
    seed, n = options.seed + 10_000, options.n_test
    same = {
        "new problems": lasso_family(n, seed=seed),
        "250x500": lasso_family(max(n // 4, 1), 250, 500, 50, seed=seed),
        "25x50": lasso_family(n, 25, 50, 5, seed=seed),
    }
    rows = []
    for name, problem in same.items():
        rows += compare(name, solved(problem), solvers, options.n_iter)
    print_table(rows, COLUMNS, "Iterations to a mean relative error of the objective")
    first = {options.variants[0]: solvers[options.variants[0]]}
    others = []
    for name, problem in shifted(seed, n):
        others += compare(name, solved(problem), first, min(options.n_iter, 400))
    print_table(others, COLUMNS, "Families it has not been trained on")
    print(won(others))
    timed = list(costs(next(iter(first.values())), seed))
    print_table(timed, tuple(timed[0]), "Milliseconds, one thread")
    write_csv(rows + others, RESULTS / "math_l2o.csv")


if __name__ == "__main__":
    main()
