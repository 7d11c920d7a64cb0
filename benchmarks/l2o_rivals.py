"""MathL2OSolver beside other trained solvers, and its own parametrisations.

``python -m benchmarks.l2o_rivals`` trains, on the lasso problems of ``benchmarks.math_l2o``: all
parametrisations with one recipe; the published network with its own features, memory and start;
L2O-DM and RNNprop, which have no structure; and Ada-LISTA. It prints the mean relative error of
the objective on new problems after 16, 40, 100 and 400 iterations, next to FISTA with restarts and
Adam with its best rate. A second table has one dictionary for all problems, where LISTA-CPSS
applies. Ada-LISTA and LISTA-CPSS are as deep as they are: 16 layers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.l2o_problems import as_lasso, lasso_family, solved, sparse_codes
from benchmarks.math_l2o import curve_of, errors
from benchmarks.report import RESULTS, print_table, write_csv
from benchmarks.timing import cpu_model, installed_versions, limit_threads
from sklearn_unroll import AdaLISTARegressor, LISTARegressor, MathL2OSolver
from sklearn_unroll.functional import Composite, Dense
from sklearn_unroll.nn import Unrolled, l2o_dm, rnnprop
from sklearn_unroll.nn.math_l2o import VARIANTS
from sklearn_unroll.solvers import AdamDescent, NesterovDescent, iterates
from sklearn_unroll.training import ProblemObjective

AFTER = (16, 40, 100, 400)
COLUMNS = ("problems", "solver", *(f"after {k}" for k in AFTER), "trained, s")
PUBLISHED = {
    "variant": "PA", "features": "raw", "state": "normal", "momentum": "wide", "largest_step": 2.0,
    "init": "random", "hidden_size": 20, "n_hidden_layers": 2, "safeguard": None,
}  # fmt: skip
RATES = (0.003, 0.01, 0.03, 0.1)

Curve = Callable[[Composite], Tensor]


def classical(train: Composite) -> Iterator[tuple[str, Curve]]:
    """Yield methods that learn nothing, but for the rate of Adam."""
    yield "restarted FISTA", lambda p: errors(p, iterates(NesterovDescent(), p, AFTER[-1]))

    def adam(p: Composite, rate: float) -> Tensor:
        return errors(p, iterates(AdamDescent(rate), p, AFTER[-1]))

    best = min(RATES, key=lambda rate: float(adam(train, rate)[99]))
    yield f"Adam, rate {best:g}", lambda p: adam(p, best)


def structured(train: Composite, epochs: int, seed: int) -> Iterator[tuple[str, Curve]]:
    """Yield Math-L2O in all its parametrisations, and as published."""
    options: dict[str, dict[str, Any]] = {name: {"variant": name} for name in VARIANTS}
    options["PA, published"] = PUBLISHED
    options["PA, published, safeguard"] = PUBLISHED | {"safeguard": "monotone"}
    X, operators = train.b.numpy(), train.A.D.numpy()
    for name, given in options.items():
        solver = MathL2OSolver(random_state=seed, **given)
        solver.set_params(trainer__max_epochs=epochs).fit(X, operators=operators)
        yield name, partial(_curve, solver.network_)


def unstructured(train: Composite, epochs: int, seed: int) -> Iterator[tuple[str, Curve]]:
    """Yield learned optimisers whose update is the output of a network."""
    trainer = MathL2OSolver().set_params(trainer__max_epochs=epochs).trainer
    trainer.set_params(objective=ProblemObjective("mean"), learning_rate=1e-3)
    for name, make in {"L2O-DM": l2o_dm, "RNNprop": rnnprop}.items():
        net = make(torch.empty(0), generator=torch.Generator().manual_seed(seed))
        trainer.run(net, train, alpha=1.0, generator=torch.Generator().manual_seed(seed))
        yield name, partial(_curve, net)


def _curve(network: Unrolled, problem: Composite) -> Tensor:
    return curve_of(network, problem, AFTER[-1])[0]


def unrolled(train: Composite, seed: int) -> Iterator[tuple[str, Curve]]:
    """Yield the network of the LISTA family that applies, trained to predict the solutions."""
    alpha = float(train.R.weight[0])
    model: Any
    if train.A.per_sample:
        name, model = "Ada-LISTA", AdaLISTARegressor(alpha=alpha, random_state=seed)
    else:
        name = "LISTA-CPSS"
        model = LISTARegressor(
            train.A.D.numpy(), alpha=alpha, learn_step=True, support_selection=(2.0, 100.0),
            random_state=seed,
        )  # fmt: skip

    def told(p: Composite) -> dict[str, Any]:
        return {"operators": p.A.D.numpy()} if p.A.per_sample else {}

    def curve(p: Composite) -> Tensor:
        staged = model.staged_predict(p.b.numpy(), **told(p))
        return errors(p, [p.first(), *(torch.from_numpy(codes) for codes in staged)])

    *_, x = iterates(NesterovDescent(), train, 1000)
    model.fit(train.b.numpy(), x.numpy(), **told(train))
    yield name, curve


def shared_family(n: int, seed: int) -> Composite:
    """Return lasso problems with one dictionary for all."""
    D = lasso_family(1, seed=0).A.D[0]
    x = sparse_codes(n, 100, 10, torch.Generator().manual_seed(seed))
    return as_lasso(Dense(D)(x), D, 0.1)


def rows(
    problems: str, methods: Iterator[tuple[str, Curve]], test: Composite
) -> Iterator[dict[str, Any]]:
    """Yield the row of every method; what it takes to be made is its training."""
    start = time.perf_counter()
    for name, curve in methods:
        seconds = time.perf_counter() - start
        found = curve(test)
        last = (f"{float(found[k - 1]):.0e}" if k <= len(found) else "" for k in AFTER)
        row = dict(zip(COLUMNS, (problems, name, *last, f"{seconds:.0f}"), strict=True))
        print(row, flush=True)
        yield row
        start = time.perf_counter()


def main(arguments: Sequence[str] | None = None) -> Path:
    """Run, print and write ``l2o_rivals.csv``; return its path."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.l2o_rivals")
    parser.add_argument("--quick", action="store_true", help="one epoch: shows that it runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the CSV")
    options = parser.parse_args(arguments)
    n, epochs = (32, 1) if options.quick else (512, 14)
    seed, found = options.seed, []
    with limit_threads(1) as threads:
        print(f"{threads}; {n} problems to train on, {epochs} epochs", flush=True)
        families = {"a dictionary each": lasso_family, "one dictionary": shared_family}
        for problems, make in families.items():
            train, test = solved(make(n, seed=seed)), solved(make(64, seed=seed + 10_000))
            found += rows(problems, classical(train), test)
            if train.A.per_sample:
                found += rows(problems, structured(train, epochs, seed), test)
                found += rows(problems, unstructured(train, epochs, seed), test)
            found += rows(problems, unrolled(train, seed), test)
    print_table(found, COLUMNS, "Mean relative error of the objective, new problems")
    told = {"versions": installed_versions(), "cpu": cpu_model()}
    return write_csv([row | told for row in found], options.output / "l2o_rivals.csv")


if __name__ == "__main__":
    main()
