"""MathL2OSolver beside other trained solvers, and its own parametrisations.

``python -m benchmarks.l2o_rivals`` trains, on the lasso problems of ``benchmarks.math_l2o``: all
parametrisations with one recipe; the published network with its own features, memory and start;
L2O-DM and RNNprop, which have no structure; and Ada-LISTA. It prints the mean relative error of
the objective on new problems after 16, 40, 100 and 400 iterations, next to FISTA with restarts and
Adam with its best rate. Then the same with one dictionary for all problems, where LISTA-CPSS
applies. Ada-LISTA and LISTA-CPSS are as deep as they are: 16 layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from benchmarks.l2o_problems import as_lasso, lasso_family, solved, sparse_codes
from benchmarks.math_l2o import curve_of, errors
from benchmarks.study import Option, Row, Study, sides, with_epochs
from sklearn_unroll import AdaLISTARegressor, LISTARegressor, MathL2OSolver
from sklearn_unroll.functional import Composite, Dense
from sklearn_unroll.nn import Unrolled, l2o_dm, rnnprop
from sklearn_unroll.nn.math_l2o import VARIANTS
from sklearn_unroll.solvers import AdamDescent, NesterovDescent, iterates
from sklearn_unroll.training import ProblemObjective

AFTER = (16, 40, 100, 400)
PUBLISHED = {
    "variant": "PA", "features": "raw", "state": "normal", "momentum": "wide", "largest_step": 2.0,
    "init": "random", "hidden_size": 20, "n_hidden_layers": 2, "safeguard": None,
}  # fmt: skip
LEARNED: dict[str, dict[str, Any]] = {name: {"variant": name} for name in VARIANTS}
LEARNED["PA, published"] = PUBLISHED
LEARNED["PA, published, safeguard"] = PUBLISHED | {"safeguard": "monotone"}

Curve = Callable[[Composite], Tensor]


def classical(train: Composite, rates: Sequence[float]) -> Iterator[tuple[str, Curve]]:
    """Yield methods that learn nothing, but for the rate of Adam."""
    yield "restarted FISTA", lambda p: errors(p, iterates(NesterovDescent(), p, AFTER[-1]))

    def adam(p: Composite, rate: float) -> Tensor:
        return errors(p, iterates(AdamDescent(rate), p, AFTER[-1]))

    best = min(rates, key=lambda rate: float(adam(train, rate)[99].mean()))
    yield f"Adam, rate {best:g}", lambda p: adam(p, best)


def structured(
    train: Composite, variants: Sequence[str], epochs: int, seed: int
) -> Iterator[tuple[str, Curve]]:
    """Yield Math-L2O in its parametrisations, and as published."""
    X, operators = train.b.numpy(), train.A.D.numpy()
    for name in variants:
        solver = with_epochs(MathL2OSolver(random_state=seed, **LEARNED[name]), epochs)
        yield name, partial(_curve, solver.fit(X, operators=operators).network_)


def unstructured(train: Composite, epochs: int, seed: int) -> Iterator[tuple[str, Curve]]:
    """Yield learned optimisers whose update is the output of a network."""
    trainer = with_epochs(MathL2OSolver(), epochs).trainer
    trainer.set_params(objective=ProblemObjective("mean"), learning_rate=1e-3)
    for name, make in {"L2O-DM": l2o_dm, "RNNprop": rnnprop}.items():
        net = make(torch.empty(0), generator=torch.Generator().manual_seed(seed))
        trainer.run(net, train, alpha=1.0, generator=torch.Generator().manual_seed(seed))
        yield name, partial(_curve, net)


def _curve(network: Unrolled, problem: Composite) -> Tensor:
    return curve_of(network, problem, AFTER[-1])[0]


def unrolled(train: Composite, epochs: int | None, seed: int) -> Iterator[tuple[str, Curve]]:
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
    with_epochs(model, epochs).fit(train.b.numpy(), x.numpy(), **told(train))
    yield name, curve


def shared_family(n: int, m: int, n_components: int, n_nonzero: int, *, seed: int) -> Composite:
    """Return lasso problems with one dictionary for all."""
    D = lasso_family(1, m, n_components, seed=0).A.D[0]
    x = sparse_codes(n, n_components, n_nonzero, torch.Generator().manual_seed(seed))
    return as_lasso(Dense(D)(x), D, 0.1)


def rows(
    *,
    seed: int,
    shape: str = Option("50x100", "10x20", "of the problems"),
    n_train: int = Option(512, 16, "problems"),
    n_test: int = Option(64, 4, "problems"),
    rates: Sequence[float] = Option((0.003, 0.01, 0.03, 0.1), (0.1,), "of Adam, to choose from"),
    variants: Sequence[str] = Option(tuple(LEARNED), ("PA", "PA, published"), "", LEARNED),
    epochs: int = Option(14, 1, "of learned optimisers"),
    lista_epochs: int | None = Option(None, 5, "of the LISTA family, not its own recipe"),
) -> Iterator[Row]:
    """Yield a row per kind of problems and method; what it takes to be made is its training."""
    m, n_components = sides(shape)
    size = m, n_components, n_components // 10
    families = {"a dictionary each": lasso_family, "one dictionary": shared_family}
    for problems, make in families.items():
        train = solved(make(n_train, *size, seed=seed))
        test = solved(make(n_test, *size, seed=seed + 10_000))
        methods = [classical(train, rates)]
        if train.A.per_sample:
            methods.append(structured(train, variants, epochs, seed))
            methods.append(unstructured(train, epochs, seed))
        methods.append(unrolled(train, lista_epochs, seed))
        start = perf_counter()
        for name, curve in chain(*methods):
            seconds = perf_counter() - start
            found = curve(test).mean(1)
            after = {f"after_{k}": float(found[k - 1]) for k in AFTER if k <= len(found)}
            told = {"problems": problems, "solver": name, "n_train": n_train}
            yield told | after | {"trained_seconds": seconds}
            start = perf_counter()


STUDY = Study(
    rows,
    labels="problems solver n_train",
    measures="after_16 after_40 after_100 after_400 trained_seconds",
)

if __name__ == "__main__":
    STUDY.main()
