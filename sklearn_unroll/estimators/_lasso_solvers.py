"""Between LassoCoder and the solvers: which one takes which samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sklearn_unroll.estimators._coder import room_for
from sklearn_unroll.estimators._lasso_aim import (
    Aim,
    Chunk,
    Found,
    How,
    chunks,
    near,
    with_rounding,
)
from sklearn_unroll.estimators._lasso_compiled import (
    COMPILED,
    PASSES,
    shared,
    solve_compiled,
)
from sklearn_unroll.estimators._missing import atoms_of
from sklearn_unroll.functional import (
    Convolution,
    Dense,
    Observation,
    Operator,
    duality_gap,
    mutual_coherence,
)
from sklearn_unroll.functional._alone import share_out
from sklearn_unroll.functional._compiled import compiled_available
from sklearn_unroll.functional.rows import Rows
from sklearn_unroll.solvers import (
    ADMM,
    FISTA,
    ISTA,
    Method,
    PathCodes,
    Solution,
    bounded_lasso,
    certified_lasso,
    coordinate_descent,
    cvxpy_lasso,
    homotopy,
    masked_lasso,
    minimize,
)
from sklearn_unroll.solvers.homotopy import has_path
from sklearn_unroll.solvers.masks import each_mask, is_masked, put_in_order
from sklearn_unroll.solvers.reductions import nonnegative_least_squares, with_ridge
from sklearn_unroll.solvers.solver import add_part

SOLVERS = (
    "auto", "ista", "fista", "admm", "active_set", "coordinate_descent", "homotopy", "cvxpy",
)  # fmt: skip
APPLIED = ("auto", "ista", "fista", "admm")  # that need no more of an operator than products
_COHERENT = 0.95  # from which on gradient steps take thousands of iterations
_DESCENDS_FROM = 2**15  # numbers in codes of samples with masks, to descend on at once
_STORED = 2**14  # atoms of a compiled solver: its working set has their square of room


def no_start(rows: slice) -> None:
    """Return no codes to start from."""


def solve_chunks(
    b: Tensor | Rows, A: Operator, aim: Aim, start: Callable[[slice], Tensor | None], how: How,
    into: Tensor | None = None, out: Found | None = None,
) -> Found:  # fmt: skip
    """Solve all samples of b, whose dtype the codes get; the operator is in float64.

    Codes are written into the caller's array where it is alike, or all that is found into ``out``.
    """
    compiled = compiled_pays(b, A) and (aim.name != "alpha" or how.solver in COMPILED)
    if how.solver == "coordinate_descent":
        compiled = compiled and bool(aim.value.all())
    out = nothing_found(b, A, aim, into, compiled) if out is None else out
    inner = inner_of(how, b)
    if compiled:
        own = None if start is no_start else start
        finishing = finish if aim.name == "alpha" else partial(_search, aim.name)
        solve_compiled(b, A, aim, own, inner, out, finishing)
        return out._replace(converged=out.gap <= how.tol)
    coherent = how.solver == "auto" and is_coherent(atoms_of(A))
    for chunk in chunks(b, A, aim, how.l2, how.positive):
        out.alpha[chunk.rows] = chunk.alpha
        live = chunk.live
        if not len(live):
            continue
        if aim.name != "alpha":
            found = _bounded(chunk, inner)
            out.alpha[live] = found.alpha * chunk.unit
            put(out, live, chunk, found)
        else:
            own = inner._replace(l2=chunk.l2)
            x0 = None if start is no_start else _start(start, chunk)
            weight = chunk.aim.value
            found = solve_live(chunk.obs, weight, x0, own, coherent)
            put(out, live, chunk, found, weight)
    return out._replace(converged=out.gap <= how.tol)


def solve_groups(
    b: Tensor, groups: Iterable[tuple[Tensor, Operator]], aim: Aim, how: How
) -> Found:
    """Solve the samples of each dictionary: which ones, and their operator."""
    groups = list(groups)
    order = torch.cat([rows for rows, _ in groups])
    b, aim = b[order], aim.take(order)
    out, sizes = nothing_found(b, groups[0][1], aim), [len(rows) for rows, _ in groups]
    parts = zip(*(field.split(sizes) for field in (b, aim.value, *out)), strict=True)

    def run(given: tuple) -> None:
        (_, A), (own, value, *found) = given
        solve_chunks(own, A, aim._replace(value=value), no_start, how, out=Found(*found))

    given, A = list(zip(groups, parts, strict=True)), groups[0][1]
    if compiled_pays(b, A) and shared(len(b), A.n_components):
        share_out(run, given)
    else:
        for one in given:
            run(one)
    back = order.argsort()
    found = Found(*(field[back] for field in out))
    return found._replace(converged=found.gap <= how.tol)


def _search(name: str, found: Solution, obs: Observation, bound: Tensor, how: How) -> PathCodes:
    """Return the codes of samples whose path was lost."""
    return bounded_lasso(obs, **{name: bound}, positive=how.positive, tol=how.tol)


def _bounded(chunk: Chunk, how: How) -> PathCodes:
    """Solve samples whose error or l1 norm is bounded."""
    bound = {chunk.aim.name: chunk.aim.value}
    return bounded_lasso(chunk.obs, **bound, positive=how.positive, tol=how.tol)


def nothing_found(
    b: Tensor | Rows, A: Operator, aim: Aim, into: Tensor | None = None, compiled: bool = False
) -> Found:
    """Return zero codes, like the value of an aim, in the caller's array where it is alike.

    Compiled loops write all codes anyway.
    """
    x = room_for(into, b, *aim.value.shape, A.n_components)
    zeros = partial(torch.zeros, aim.value.shape, device=b.device)
    alpha, gap = zeros(dtype=torch.float64), zeros(dtype=torch.float64)
    n_iter, converged = zeros(dtype=torch.long), zeros(dtype=torch.bool)
    return Found(x if compiled else x.zero_(), alpha, gap, n_iter, converged)


def inner_of(how: How, b: Tensor | Rows) -> How:
    """Return how to solve, when rounding the codes takes some of the tolerance."""
    return how if b.dtype == torch.float64 else how._replace(tol=0.25 * how.tol, dtype=b.dtype)


def put(
    out: Found, places: Any, chunk: Chunk, found: Solution | PathCodes, alpha: Tensor | None = None
) -> None:
    """Write what was found for a chunk, of an alpha if there is one, in the user's units."""
    x = (found.x * chunk.out).to(out.x)
    out.x[places], out.n_iter[places] = x, found.n_iter.to(out.n_iter)
    gap = found.gap
    if x.dtype != torch.float64 and alpha is not None:
        # That of what is returned: its value, which rounding has moved, at the dual point.
        back = x.double() / chunk.out
        rows = (back != found.x).any(1).nonzero()[:, 0]
        if len(rows):
            gap = gap.clone()
            own = chunk.obs.take(rows), alpha[rows], chunk.l2
            gap[rows] = with_rounding(gap[rows], found.x[rows], back[rows], *own)
    out.gap[places] = gap.to(out.gap)


def compiled_pays(b: Tensor | Rows, A: Operator) -> bool:
    """Return whether there are compiled solvers for such data."""
    return (
        isinstance(A, Dense)
        and b.device.type == "cpu"
        and not A.per_sample
        and A.n_components <= _STORED
        and compiled_available()
    )


def is_coherent(A: Operator) -> bool:
    """Return whether two atoms are so much alike that gradient steps would take for ever."""
    if not isinstance(A, Dense) or A.per_sample or A.n_components > _STORED:
        return False
    unit = torch.nn.functional.normalize(A.D, dim=1)
    return bool(mutual_coherence(unit, unit) > _COHERENT)


def applied_solver(A: Operator) -> str:
    """Return which solver "auto" is: for what is only applied, one of the first order.

    ADMM takes fewer iterations, and as long for one, where a Fourier transform solves its systems.
    """
    if isinstance(A, Dense):
        return "auto"
    return "admm" if isinstance(A, Convolution) and A.boundary == "circular" else "fista"


def solve_live(
    obs: Observation,
    alpha: Tensor,
    x0: Tensor | None,
    how: How,
    coherent: bool = False,
) -> Solution:
    """Solve samples whose codes are not zero, in float64."""
    if is_masked(obs.A):
        return _solve_seen(obs, alpha, x0, how, coherent)
    none = alpha == 0
    if how.solver != "homotopy" and bool(none.any()):
        zero, rest = none.nonzero()[:, 0], (~none).nonzero()[:, 0]
        least = with_ridge(obs.take(zero), how.l2)
        parts = [(zero, nonnegative_least_squares(least, how.tol))]
        if len(rest):
            start = None if x0 is None else x0[rest]
            parts.append((rest, solve_live(obs.take(rest), alpha[rest], start, how, coherent)))
        return put_in_order(parts)
    limits = {"positive": how.positive, "l2": how.l2, "tol": how.tol}
    if how.solver == "homotopy":
        path = homotopy(obs, alpha, max_iter=how.max_iter, **limits)
        return finish(Solution(path.x, path.gap, path.n_iter, path.converged), obs, alpha, how)
    if how.solver == "coordinate_descent":
        most = min(how.max_iter, PASSES)
        found = coordinate_descent(obs, alpha, x0=x0, max_passes=most, dtype=how.dtype, **limits)
        return finish(found._replace(x=found.x.double()), obs, alpha, how)
    obs = with_ridge(obs, how.l2)
    solver = applied_solver(obs.A) if how.solver == "auto" else how.solver
    if solver in ("auto", "active_set"):
        return certified_lasso(
            obs, alpha, x0=x0, positive=how.positive, tol=how.tol, max_iter=how.max_iter,
            first_order=solver == "auto" and not coherent,
        )  # fmt: skip
    if solver == "cvxpy":
        x = cvxpy_lasso(obs, alpha, positive=how.positive)
        gap = duality_gap(x, obs, alpha, positive=how.positive)
        return Solution(x, gap, torch.zeros(len(x), dtype=torch.long), gap <= how.tol)
    kinds = {"ista": ISTA, "fista": FISTA, "admm": ADMM}
    method: Method = kinds[solver](obs, alpha, x0=x0, positive=how.positive)
    return minimize(method, obs, tol=how.tol, max_iter=how.max_iter)


def _solve_seen(
    obs: Observation, alpha: Tensor, x0: Tensor | None, how: How, coherent: bool
) -> Solution:
    """Solve samples of which some entries are seen: together, or those of each mask.

    Where numba is installed, few samples and coherent atoms follow their paths at once, others
    descend before, for some passes.
    """
    fast = has_path(obs) and compiled_available()
    weighted = bool((alpha > 0).all())
    if weighted and (how.solver == "auto" or (how.solver == "coordinate_descent" and fast)):
        if how.solver != "auto" or not fast:
            return _descend_seen(obs, alpha, x0, how)
        few = len(alpha) * obs.A.n_components < _DESCENDS_FROM
        if few or coherent:
            return _follow_seen(obs, alpha, how, _descend_seen)
        most = min(how.max_iter, PASSES)
        found = _descend_seen(obs, alpha, x0, how._replace(max_iter=most))
        left = (~found.converged).nonzero()[:, 0]
        if len(left) and how.max_iter > most:
            more = _follow_seen(obs.take(left), alpha[left], how, _descend_seen)
            add_part(found, left, more)
        return found
    if not fast or how.solver not in ("auto", "homotopy"):
        return _solve_each_mask(obs, alpha, x0, how)
    return _follow_seen(obs, alpha, how._replace(solver="auto"), _solve_each_mask)


def _descend_seen(obs: Observation, alpha: Tensor, x0: Tensor | None, how: How) -> Solution:
    return masked_lasso(
        obs, alpha, x0=x0, positive=how.positive, l2=how.l2, tol=how.tol, max_iter=how.max_iter
    )


def _follow_seen(obs: Observation, alpha: Tensor, how: How, finish: Callable) -> Solution:
    """Follow paths, and give another solver what they lose, where it finds better codes."""
    limits = {"positive": how.positive, "l2": how.l2, "tol": how.tol}
    path = homotopy(obs, alpha, max_iter=how.max_iter, **limits)
    found = Solution(path.x, path.gap, path.n_iter, path.converged)
    left = (~found.converged).nonzero()[:, 0]
    if len(left):
        more = finish(obs.take(left), alpha[left], found.x[left], how)
        better = more.gap < found.gap[left]
        add_part(found, left[better], Solution(*(field[better] for field in more)))
    return found


def _solve_each_mask(obs: Observation, alpha: Tensor, x0: Tensor | None, how: How) -> Solution:
    def solve(part: Observation, rows: Tensor) -> Solution:
        return solve_live(part, alpha[rows], None if x0 is None else x0[rows], how)

    return each_mask(obs, solve)


def finish(found: Solution, obs: Observation, alpha: Tensor, how: How) -> Solution:
    """Give what is left to the solver that needs no numba."""
    left = (~found.converged).nonzero()[:, 0]
    if len(left) and how.max_iter > PASSES:
        more = solve_live(
            obs.take(left), alpha[left], found.x[left],
            how._replace(solver="auto", max_iter=how.max_iter - PASSES),
        )  # fmt: skip
        better = more.gap < found.gap[left]
        add_part(found, left[better], Solution(*(field[better] for field in more)))
    return found


def _start(start: Callable[[slice], Tensor], chunk: Chunk) -> Tensor:
    first, last = int(chunk.live[0]), int(chunk.live[-1]) + 1
    x0 = start(slice(first, last))[chunk.live - first].double() / chunk.out
    return near(x0, chunk.obs, chunk.aim.value)
