"""Between LassoCoder and the solvers: the same samples for many weights."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from sklearn_unroll.estimators._lasso_aim import Aim, Found, How, chunks
from sklearn_unroll.estimators._lasso_solvers import (
    compiled_pays,
    finish,
    inner_of,
    is_coherent,
    nothing_found,
    put,
    solve_live,
)
from sklearn_unroll.estimators._missing import atoms_of
from sklearn_unroll.functional import Observation, Operator
from sklearn_unroll.functional.rows import Rows
from sklearn_unroll.solvers import Solution, homotopy
from sklearn_unroll.solvers._samples import Products


def follow_chunks(b: Tensor | Rows, A: Operator, aim: Aim, how: How) -> Found:
    """Solve all samples for every one of many weights, of shape (n_alphas, n_samples)."""
    out, inner = nothing_found(b, A, aim), inner_of(how, b)
    compiled = compiled_pays(b, atoms_of(A)) and how.solver in ("auto", "homotopy")
    coherent = not compiled and how.solver == "auto" and is_coherent(A)
    for chunk in chunks(b, A, aim, how.l2, how.positive, compiled):
        out.alpha[:, chunk.rows] = chunk.alpha
        own, live, weights = inner._replace(l2=chunk.l2), chunk.live, chunk.aim.value
        if not len(live):
            continue
        if compiled:
            path = _corners(chunk.obs, weights, own, chunk.products)
        else:
            path = _one_by_one(chunk.obs, weights, own, coherent)
        for nth, found in enumerate(path):
            put(out, (nth, live), chunk, found, weights[nth])
    return out._replace(converged=out.gap <= how.tol)


def _corners(
    obs: Observation, weights: Tensor, how: How, products: Products | None
) -> Iterator[Solution]:
    """Yield the codes of every weight, of one path."""
    path = homotopy(
        obs, weights, positive=how.positive, l2=how.l2, tol=how.tol, max_iter=how.max_iter,
        products=products,
    )  # fmt: skip
    for nth, weight in enumerate(weights):
        found = Solution(path.x[nth], path.gap[nth], path.n_iter, path.converged[nth])
        yield finish(found, obs, weight, how)


def _one_by_one(obs: Observation, weights: Tensor, how: How, coherent: bool) -> Iterator[Solution]:
    """Yield the codes of every weight, from those of the one before."""
    before = None
    for weight in weights:
        found = solve_live(obs, weight, before, how, coherent)
        before = found.x
        yield found
