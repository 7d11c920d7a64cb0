"""Between LassoCoder and the solvers: which one takes which samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.estimators._coder import room_for
from sklearn_unroll.estimators._lasso_aim import Aim, Chunk, chunks
from sklearn_unroll.functional import (
    Convolution,
    Dense,
    Observation,
    Operator,
    duality_gap,
    lasso_value,
    mutual_coherence,
)
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
from sklearn_unroll.solvers._few_atoms import are_few, few_atoms
from sklearn_unroll.solvers._samples import Products
from sklearn_unroll.solvers.coordinate import descent
from sklearn_unroll.solvers.homotopy import has_path, paths
from sklearn_unroll.solvers.masks import each_mask, is_masked, put_in_order
from sklearn_unroll.solvers.reductions import nonnegative_least_squares, with_ridge
from sklearn_unroll.solvers.solver import add_part

SOLVERS = (
    "auto", "ista", "fista", "admm", "active_set", "coordinate_descent", "homotopy", "cvxpy",
)  # fmt: skip
APPLIED = ("auto", "ista", "fista", "admm")  # that need no more of an operator than products
_PASSES = 200  # of coordinate descent, before the active set takes over
_PROBE = 32  # samples that tell which compiled solver to take; fewer atoms leave no choice
_ALIKE = 0.98  # coherence from which on passes are too many
_ENOUGH = 0.8  # of them that coordinate descent has to solve in few passes
_FEW = 0.2  # passes for each atom: more cost more than the corners of a path
_COHERENT = 0.95  # from which on gradient steps take thousands of iterations
_STORED = 2**14  # atoms of a compiled solver: its working set has their square of room
_FAR = 1e8  # objective of a start relative to that of zeros, from which on it is of no use


class Found(NamedTuple):
    """Codes of all samples, with alpha and certificates, in the user's units."""

    x: Tensor
    alpha: Tensor
    gap: Tensor
    n_iter: Tensor
    converged: Tensor


class How(NamedTuple):
    """The lasso at hand, but for data and weight, and how to solve it."""

    solver: str
    positive: bool
    l2: Tensor  # (n_components,)
    tol: float
    max_iter: int
    dtype: torch.dtype = torch.float64  # that codes will be rounded to


def no_start(rows: slice) -> None:
    """Return no codes to start from."""


def solve_chunks(
    b: Tensor | Rows, A: Operator, aim: Aim, start: Callable[[slice], Tensor | None], how: How,
    into: Tensor | None = None,
) -> Found:  # fmt: skip
    """Solve all samples of b, whose dtype the codes get; the operator is in float64."""
    out, inner = nothing_found(b, A, aim, into), inner_of(how, b)
    compiled = compiled_pays(b, A)
    coherent = not compiled and how.solver == "auto" and is_coherent(A)
    for chunk in chunks(b, A, aim, how.l2, how.positive, compiled):
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
            found = solve_live(chunk.obs, weight, x0, own, coherent, chunk.products)
            put(out, live, chunk, found, weight)
    return out._replace(converged=out.gap <= how.tol)


def _bounded(chunk: Chunk, how: How) -> PathCodes:
    """Solve samples whose error or l1 norm is bounded."""
    bound = {chunk.aim.name: chunk.aim.value}
    return bounded_lasso(
        chunk.obs, **bound, positive=how.positive, tol=how.tol, products=chunk.products
    )


def nothing_found(b: Tensor | Rows, A: Operator, aim: Aim, into: Tensor | None = None) -> Found:
    """Return zero codes, like the value of an aim, in the caller's array where it is alike."""
    zeros = torch.zeros(aim.value.shape, dtype=torch.float64, device=b.device)
    x = room_for(into, b, *aim.value.shape, A.n_components).zero_()
    return Found(x, zeros, zeros.clone(), zeros.long(), zeros == 0)


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
            own = chunk.obs.take(rows), alpha[rows], chunk.l2
            moved = _value(back[rows], *own) - _value(found.x[rows], *own)
            gap = gap.clone()
            gap[rows] = (gap[rows] + moved / (0.5 * own[0].b.square().sum(1))).clamp_min(0)
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
    products: Products | None = None,
) -> Solution:
    """Solve samples whose codes are not zero, in float64."""
    if is_masked(obs.A):
        return _solve_seen(obs, alpha, x0, how)
    none = alpha == 0
    path = how.solver in ("auto", "homotopy") and products is not None
    if not path and bool(none.any()):
        zero, rest = none.nonzero()[:, 0], (~none).nonzero()[:, 0]
        least = with_ridge(obs.take(zero), how.l2)
        parts = [(zero, nonnegative_least_squares(least, how.tol))]
        if len(rest):
            start = None if x0 is None else x0[rest]
            parts.append((rest, solve_live(obs.take(rest), alpha[rest], start, how, coherent)))
        return put_in_order(parts)
    if how.solver == "auto" and products is not None:
        return _solve_compiled(obs, alpha, x0, how, products)
    if how.solver == "homotopy":
        return finish(_follow(obs, alpha, how, products), obs, alpha, how)
    if how.solver == "coordinate_descent":
        return finish(_descend(obs, alpha, x0, how, products, _PASSES), obs, alpha, how)
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


def _solve_seen(obs: Observation, alpha: Tensor, x0: Tensor | None, how: How) -> Solution:
    """Solve samples of which some entries are seen: together, or those of each mask."""
    fast = has_path(obs) and compiled_available()
    weighted = bool((alpha > 0).all())
    if weighted and (how.solver == "auto" or (how.solver == "coordinate_descent" and fast)):
        return masked_lasso(
            obs, alpha, x0=x0, positive=how.positive, l2=how.l2, tol=how.tol,
            max_iter=how.max_iter,
        )  # fmt: skip
    if not fast or how.solver not in ("auto", "homotopy"):
        return _solve_each_mask(obs, alpha, x0, how)
    found = _follow(obs, alpha, how, None)
    left = (~found.converged).nonzero()[:, 0]
    if len(left):
        part = obs.take(left), alpha[left], found.x[left], how._replace(solver="auto")
        add_part(found, left, _solve_each_mask(*part))
    return found


def _solve_each_mask(obs: Observation, alpha: Tensor, x0: Tensor | None, how: How) -> Solution:
    def solve(part: Observation, rows: Tensor) -> Solution:
        return solve_live(part, alpha[rows], None if x0 is None else x0[rows], how)

    return each_mask(obs, solve)


def _solve_compiled(
    obs: Observation, alpha: Tensor, x0: Tensor | None, how: How, products: Products
) -> Solution:
    """Take coordinate descent where few passes do for a few samples, and otherwise the path.

    A pass costs the square of the support, a corner of the path its product with the number of
    atoms; where atoms are alike, or few, passes are too many. The choice is by counts, not by
    clock: same data, same bits.
    """
    n, most = len(obs.b), max(10, int(_FEW * obs.A.n_components))
    none = bool((alpha == 0).any())
    if are_few(obs.A.n_components, how.positive) and not none:
        found = few_atoms(obs, alpha, how.positive, how.l2, how.tol, products)
    elif none or (x0 is None and (obs.A.n_components < _PROBE or products.is_coherent(_ALIKE))):
        return finish(_follow(obs, alpha, how, products), obs, alpha, how)
    elif n <= _PROBE:
        found = _descend(obs, alpha, x0, how, products, most)
    else:
        found = Solution(
            torch.zeros_like(products.q), torch.full_like(alpha, torch.inf),
            torch.zeros(n, dtype=torch.long), torch.zeros(n, dtype=torch.bool),
        )  # fmt: skip
        probe = torch.zeros(n, dtype=torch.bool)
        probe[:: -(-n // _PROBE)] = True
        _try(found, probe.nonzero()[:, 0], obs, alpha, x0, how, products, most)
        if float(found.converged[probe].double().mean()) >= _ENOUGH:
            _try(found, (~probe).nonzero()[:, 0], obs, alpha, x0, how, products, most)
    left = (~found.converged).nonzero()[:, 0]
    if len(left) and how.max_iter > most:
        more = how._replace(max_iter=how.max_iter - most)
        part = obs.take(left), alpha[left], more, products.take(left)
        add_part(found, left, _follow(*part))
    return finish(found, obs, alpha, how)


def _try(
    found: Solution, rows: Tensor, obs: Observation, alpha: Tensor, x0: Tensor | None, how: How,
    products: Products, most: int,
) -> None:  # fmt: skip
    """Run a few passes on some samples."""
    start = None if x0 is None else x0[rows]
    part = obs.take(rows), alpha[rows], start, how, products.take(rows), most
    add_part(found, rows, _descend(*part))


def _descend(
    obs: Observation, alpha: Tensor, x0: Tensor | None, how: How, products: Products | None,
    most: int,
) -> Solution:  # fmt: skip
    limits = how.tol, min(how.max_iter, most), how.positive
    if products is None:  # nothing is known of the operator
        found = coordinate_descent(
            obs, alpha, x0=x0, positive=how.positive, l2=how.l2, tol=how.tol,
            max_passes=limits[1], dtype=how.dtype,
        )  # fmt: skip
    else:
        found = descent(obs, alpha, x0, limits, how.l2, products, how.dtype)
    return found._replace(x=found.x.double())


def _follow(obs: Observation, alpha: Tensor, how: How, products: Products | None) -> Solution:
    if products is None:
        found = homotopy(
            obs, alpha, positive=how.positive, l2=how.l2, tol=how.tol, max_iter=how.max_iter
        )
        return Solution(found.x, found.gap, found.n_iter, found.converged)
    limits = how.tol, how.max_iter, how.positive
    found = paths(obs, alpha[None], "alpha", limits, how.l2, products)
    return Solution(found.x[0], found.gap[0], found.n_iter, found.converged[0])


def finish(found: Solution, obs: Observation, alpha: Tensor, how: How) -> Solution:
    """Give what is left to the solver that needs no numba."""
    left = (~found.converged).nonzero()[:, 0]
    if len(left) and how.max_iter > _PASSES:
        more = solve_live(
            obs.take(left), alpha[left], found.x[left],
            how._replace(solver="auto", max_iter=how.max_iter - _PASSES),
        )  # fmt: skip
        better = more.gap < found.gap[left]
        add_part(found, left[better], Solution(*(field[better] for field in more)))
    return found


def _start(start: Callable[[slice], Tensor], chunk: Chunk) -> Tensor:
    first, last = int(chunk.live[0]), int(chunk.live[-1]) + 1
    x0 = start(slice(first, last))[chunk.live - first].double() / chunk.out
    return near(x0, chunk.obs, chunk.aim.value)


def near(x0: Tensor, obs: Observation, alpha: Tensor) -> Tensor:
    """Return starts, zero in place of those so far away that their digits hide the data."""
    far = ~(lasso_value(x0, obs, alpha) <= _FAR * obs.b.square().sum(1))
    return torch.where(far[:, None], 0.0, x0)


def _value(x: Tensor, obs: Observation, alpha: Tensor, l2: Tensor) -> Tensor:
    return lasso_value(x, obs, alpha) + 0.5 * (l2 * x.square()).sum(1)
