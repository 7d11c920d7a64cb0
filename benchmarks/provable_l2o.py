"""Learned gradient descent: learning rate and expansion, and what a constant step does.

``python -m benchmarks.provable_l2o`` trains the provable variant (Song, Lin and Xu 2025) as
published, T = 20, 32 quadratic problems of 32 unknowns and 20 or 25 equations, width 1024, and
prints the improvement on gradient descent, ``1 - F / F_GD`` after 20 iterations, on fresh
problems, for every learning rate and expansion. Next to it: the best constant step, Nesterov's
method, and MathL2OSolver with learned steps only. The maps are drawn into ``provable_l2o.png``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch

from benchmarks.study import Option, Row, Study
from benchmarks.timing import clocked
from sklearn_unroll import MathL2OSolver, Trainer
from sklearn_unroll.functional import Composite, Dense, LeastSquares, Zero
from sklearn_unroll.nn import provable_l2o
from sklearn_unroll.plotting import ExpansionDisplay
from sklearn_unroll.solvers import CompositeDescent, NesterovDescent, best_step, iterates
from sklearn_unroll.training import DivergenceError, ProblemObjective

N_ITER, N_COMPONENTS = 20, 32


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


def trained(
    train: Composite, test: Composite, rate: float, expansion: float, epochs: int, seed: int
) -> float:
    """Return the sum of the objectives of other problems after the trained iterations."""
    net = published(train, rate, expansion, epochs, seed)
    return float(test.value(net(test)).detach().sum())


def better(test: Composite, n_train: int, epochs: int, seed: int) -> float:
    """Return the same of MathL2OSolver with learned steps only, on relative features."""
    train = quadratics(n_train, test.b.shape[1], seed)
    trainer = Trainer(
        ProblemObjective("last"), loss="log", learning_rate=1e-2, max_epochs=max(epochs // 4, 1),
        batch_size=32, early_stopping=False,
    )  # fmt: skip
    solver = MathL2OSolver(
        variant="P", penalty="none", n_layers=N_ITER, trainer=trainer, random_state=seed
    )
    solver.fit(train.b.numpy(), operators=train.A.D.numpy())
    found = solver.solve(test.b.numpy(), n_iter=N_ITER, operators=test.A.D.numpy())
    return float(found.objective.sum())


def rows(
    *,
    seed: int = Option(1, help="of all that is drawn"),
    equations: Sequence[int] = Option((20, 25), (20,), "as many a problem"),
    rates: Sequence[float] = Option((1e-7, 1e-6, 1e-5, 1e-4, 1e-3), (1e-6, 1e-4)),
    expansions: Sequence[float] = Option((5.0, 25.0, 50.0, 100.0), (5.0, 50.0)),
    n_train: int = Option(256, 32, "problems for MathL2OSolver"),
    epochs: int = Option(100, 1),
) -> Iterator[Row]:
    """Yield a row for every training and every rival; no improvement where training diverges."""
    for n_features in equations:
        train, test = (quadratics(32, n_features, s) for s in (seed, seed + 100))
        classical = after(CompositeDescent(), test)
        step = best_step(test, N_ITER, np.arange(1.0, 2.0, 0.1))
        jobs = {
            ("published", e, rate): partial(trained, train, test, rate, e, epochs, seed)
            for e, rate in product(expansions, rates)
        }
        jobs |= {
            ("steps of MathL2OSolver", "", ""): partial(better, test, n_train, epochs, seed),
            (f"constant step {step:.1f} / L", "", ""): partial(
                after, CompositeDescent(step), test
            ),
            ("Nesterov", "", ""): partial(after, NesterovDescent(restart=False), test),
        }
        for (method, expansion, rate), job in jobs.items():
            row = {"equations": n_features, "method": method, "expansion": expansion, "rate": rate}
            try:
                objective, seconds = clocked(job)
            except DivergenceError:
                yield row
            else:
                yield row | {"improvement": 1 - objective / classical, "seconds": seconds}


def draw(table: Any) -> Any:
    """Draw the improvement of the published training by rate and expansion."""
    from matplotlib.figure import Figure

    table = table[table["method"] == "published"]
    kinds = table["equations"].unique()
    figure = Figure(figsize=(6 * len(kinds), 4), layout="constrained")
    for ax, kind in zip(figure.subplots(1, len(kinds), squeeze=False).flat, kinds, strict=True):
        here = table[table["equations"] == kind]
        grid = here.pivot(index="expansion", columns="rate", values="improvement")
        ExpansionDisplay.from_predictions(grid.to_numpy(), grid.columns, grid.index, ax=ax)
        ax.set_title(f"{kind} equations, {N_COMPONENTS} unknowns")
    return figure


STUDY = Study(
    rows,
    labels="equations method expansion rate",
    measures="improvement seconds",
    draw=draw,
)

if __name__ == "__main__":
    STUDY.main()
