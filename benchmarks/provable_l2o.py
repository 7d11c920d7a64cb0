"""Learned gradient descent: learning rate and expansion, and what a constant step does.

``python -m benchmarks.provable_l2o`` trains the provable variant (Song, Lin and Xu 2025) as
published, T = 20, 32 quadratic problems of 32 unknowns and 20 or 25 equations, width 1024, and
prints the improvement on gradient descent, ``1 - F / F_GD`` after 20 iterations, on fresh
problems, for every learning rate and expansion. Next to it: the best constant step, Nesterov's
method, and MathL2OSolver with learned steps only. The maps are drawn into ``provable_l2o.png``.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.report import RESULTS, print_table, write_csv
from benchmarks.timing import cpu_model, installed_versions, limit_threads
from sklearn_unroll import MathL2OSolver, Trainer
from sklearn_unroll.functional import Composite, Dense, LeastSquares, Zero
from sklearn_unroll.nn import provable_l2o
from sklearn_unroll.plotting import ExpansionDisplay
from sklearn_unroll.solvers import CompositeDescent, NesterovDescent, best_step, iterates
from sklearn_unroll.theory import training_control
from sklearn_unroll.training import DivergenceError, ProblemObjective

N_ITER, N_COMPONENTS = 20, 32
RATES = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
EXPANSIONS = (5.0, 25.0, 50.0, 100.0)


def quadratics(n: int, n_features: int, seed: int) -> Composite:
    """Return problems ``0.5 ||M x - y||^2`` with unit columns and dense normal solutions."""
    generator = torch.Generator().manual_seed(seed)
    M = torch.randn(n, n_features, N_COMPONENTS, generator=generator)
    M /= M.norm(dim=1, keepdim=True)
    x = torch.randn(n, N_COMPONENTS, generator=generator)
    D = M.mT.contiguous()
    return Composite.of(torch.einsum("in,inm->im", x, D), Dense(D), LeastSquares(), Zero())


def after(method: Any, problem: Composite) -> float:
    """Return the sum of the objectives after 20 iterations."""
    *_, x = iterates(method, problem, N_ITER)
    return float(problem.value(x).sum())


def published(train: Composite, rate: float, expansion: float, epochs: int, seed: int) -> Any:
    """Return a network trained by gradient descent on the sum of the final objectives."""
    net = provable_l2o(train.b, expansion=expansion, generator=torch.Generator().manual_seed(seed))
    trainer = Trainer(
        ProblemObjective("last", relative=False), loss="mean", optimizer="sgd", batch_size=None,
        decay="constant", max_grad_norm=None, early_stopping=False,
        learning_rate=len(train.b) * rate, max_epochs=epochs,
    )  # fmt: skip
    trainer.run(net, train, alpha=1.0, generator=torch.Generator())
    return net


def better(n_features: int, epochs: int, seed: int) -> MathL2OSolver:
    """Return a solver with learned steps only, on relative features, trained on 256 problems."""
    train = quadratics(256, n_features, seed)
    trainer = Trainer(
        ProblemObjective("last"), loss="log", learning_rate=1e-2, max_epochs=epochs,
        batch_size=32, early_stopping=False,
    )  # fmt: skip
    solver = MathL2OSolver(
        variant="P", penalty="none", n_layers=N_ITER, trainer=trainer, random_state=seed
    )
    return solver.fit(train.b.numpy(), operators=train.A.D.numpy())


@torch.no_grad()
def study(n_features: int, epochs: int, seed: int) -> list[dict[str, Any]]:
    """Return a row for every training and every rival."""
    train, test = (quadratics(32, n_features, s) for s in (seed, seed + 100))
    classical = after(CompositeDescent(), test)
    rows = []

    def note(method: str, objective: float, start: float, **more: Any) -> None:
        improvement = round(1 - objective / classical, 3)
        seconds = f"{time.perf_counter() - start:.0f}"
        row = {"equations": n_features, "method": method, **more, "improvement": improvement}
        rows.append(row | {"trained, s": seconds})
        print(rows[-1], flush=True)

    for expansion in EXPANSIONS:
        for rate in RATES:
            start, control = time.perf_counter(), training_control(rate, expansion)
            try:
                with torch.enable_grad():
                    net = published(train, rate, expansion, epochs, seed)
                found = float(test.value(net(test)).sum())
            except DivergenceError:
                found = float("nan")
            told = {"e": expansion, "rate": rate, "control": round(control, 4)}
            note("published", found, start, **told)
    start = time.perf_counter()
    solver = better(n_features, max(epochs // 4, 1), seed)
    note("steps of MathL2OSolver", _solved(solver, test), start)
    start = time.perf_counter()
    step = best_step(test, N_ITER, np.arange(1.0, 2.0, 0.1))
    note(f"constant step {step:.1f} / L", after(CompositeDescent(step), test), start)
    note("Nesterov", after(NesterovDescent(restart=False), test), start)
    return rows


def _solved(solver: MathL2OSolver, test: Composite) -> float:
    return float(solver.solve(test.b.numpy(), N_ITER, test.A.D.numpy()).objective.sum())


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the maps of all studies."""
    import matplotlib.pyplot as plt

    kinds = sorted({row["equations"] for row in rows})
    figure, axes = plt.subplots(1, len(kinds), figsize=(6 * len(kinds), 4), layout="constrained")
    for ax, kind in zip(np.atleast_1d(axes), kinds, strict=True):
        found = [r["improvement"] for r in rows if r["equations"] == kind and "e" in r]
        improvement = np.reshape(found, (len(EXPANSIONS), len(RATES)))
        ExpansionDisplay.from_predictions(improvement, RATES, EXPANSIONS, ax=ax)
        ax.set_title(f"{kind} equations, 32 unknowns")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> Path:
    """Run, print, draw and write ``provable_l2o.csv``; return its path."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.provable_l2o")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    with limit_threads(1) as threads, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "learning_rate . expansion", UserWarning)
        print(f"{threads}; {options.epochs} epochs", flush=True)
        for n_features in (20, 25):
            rows += study(n_features, options.epochs, options.seed)
    columns = ("equations", "method", "e", "rate", "control", "improvement", "trained, s")
    print_table(rows, columns, "Improvement on gradient descent, 20 iterations, fresh problems")
    options.output.mkdir(parents=True, exist_ok=True)
    draw(rows, options.output / "provable_l2o.png")
    told = {"versions": installed_versions(), "cpu": cpu_model()}
    return write_csv([row | told for row in rows], options.output / "provable_l2o.csv")


if __name__ == "__main__":
    main()
