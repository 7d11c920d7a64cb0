"""The exact end of a lasso solver: Newton steps on the support, until a certificate is met."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from sklearn_unroll.functional.observation import Observation
from sklearn_unroll.functional.operators import Dense
from sklearn_unroll.functional.problems import gap_from_residual
from sklearn_unroll.functional.prox import mark_largest
from sklearn_unroll.solvers._checks import check_codes, check_dense, check_positive
from sklearn_unroll.solvers._supports import GRAM, Atoms, System, buckets, chunks, find_places
from sklearn_unroll.solvers.solver import Solution

__all__ = ["active_set"]

_RIDGE = 10 * torch.finfo(torch.float64).eps  # on the normal equations of unit atoms
_SLACK = 16 * torch.finfo(torch.float64).eps  # what counts as no change of an objective
_STALL = 3  # rounds in a row without progress that give a sample up
_CHUNK = 2**19  # numbers in the codes of a chunk; a quarter of those in its dictionaries


class _Point(NamedTuple):
    """Codes of unit atoms, with all that rounds need to know about them."""

    x: Tensor  # (n_samples, n_components + 1); the zero atom's entry is zero
    r: Tensor  # (n_samples, n_features), the residual
    g: Tensor  # (n_samples, n_components + 1), the correlations A^T r
    value: Tensor  # (n_samples,), the objective
    gap: Tensor  # (n_samples,), relative to the objective at zero


class _Problem:
    """A chunk of problems with unit atoms; ``alpha`` and ``threshold`` have one row a sample."""

    def __init__(self, b: Tensor, alpha: Tensor, atoms: Atoms, rows: Tensor, positive: bool):
        self.b, self.alpha, self.rows, self.positive = b, alpha, rows, positive
        self.atoms, self.A = atoms, atoms.A.take(rows)
        norm = atoms.norm if atoms.norm.ndim == 1 else atoms.norm[rows]
        self.norm = pad(norm, (0, 1))
        self.threshold = alpha[:, None] / torch.where(self.norm > 0, self.norm, 1.0)

    def take(self, some: Tensor) -> _Problem:
        """Return the problems of some samples."""
        return _Problem(self.b[some], self.alpha[some], self.atoms, self.rows[some], self.positive)

    def value(self, x: Tensor, r: Tensor) -> Tensor:
        """Return the objective."""
        return 0.5 * r.square().sum(1) + (self.threshold * x.abs()).sum(1)

    def point(self, x: Tensor, r: Tensor | None = None, value: Tensor | None = None) -> _Point:
        """Return codes with their residual, correlations, objective and gap."""
        r = self.A.residual(self.b, x) if r is None else r
        value = self.value(x, r) if value is None else value
        g = self.A.adjoint(r)
        peak = ((g if self.positive else g.abs()) * self.norm).amax(1)
        gap = gap_from_residual(value, r, self.b, peak, self.alpha, positive=self.positive)
        return _Point(x, r, g, value, gap)

    def supports(self, p: _Point, level: Tensor) -> Tensor:
        """Return the supports of codes and, by excess, so many atoms that violate optimality."""
        support = p.x != 0
        relative = (p.g if self.positive else p.g.abs()) / self.threshold
        enter = (relative > 1 + _SLACK) & ~support
        n_enter, size = enter.sum(1, dtype=torch.int32), support.sum(1, dtype=torch.int32)
        shy = level == 0
        if bool(shy.any()):
            # One at a time, and only into a solved support, an atom never moves the wrong way.
            off = (p.g / self.threshold - p.x.sign()).abs() * support
            level = torch.where(shy & (off.amax(1) < 1e-6), 1, level)
        # More atoms than features are dependent.
        room = torch.minimum(level, (self.atoms.n_features - size).clamp_min(0))
        over = (n_enter > room).nonzero()[:, 0]
        if len(over):
            best = torch.where(enter[over], relative[over], -1.0)
            enter[over] &= mark_largest(best, room[over, None]) > 0
        return support | enter

    def steps(self, p: _Point, support: Tensor) -> tuple[Tensor, Tensor]:
        """Return two candidates for the next codes of these supports.

        The first minimises over the support with its signs, entries that would change sign set
        to zero; the second goes there only up to the first of them, where it stops being sure
        that the objective falls.
        """
        places, sizes = find_places(support, self.atoms.n_components)
        bold, safe = torch.zeros_like(p.x), torch.zeros_like(p.x)
        n_numbers = 2**18 if p.x.device.type == "cpu" else 2**26
        n_features = 0 if self.atoms.gram is not None else self.b.shape[1]
        for bucket, size in buckets(sizes, n_features, n_numbers):
            here = places[bucket, :size]
            x, g = (a.index_select(0, bucket).gather(1, here) for a in (p.x, p.g))
            theta = self.threshold.index_select(0, bucket).gather(1, here)
            real = here < self.atoms.n_components
            sign = real.to(x.dtype) if self.positive else torch.where(x == 0, g, x).sign() * real
            system = System(self.atoms, self.rows[bucket], here, _RIDGE)
            # In the correction, not in the codes: the next round takes back what the ridge and
            # the normal equations cost.
            move = system.solve((g - theta * sign) * real) * real
            new = x + move
            flips = sign * new < 0
            until = torch.where(flips, -x / move, 1.0)
            first = until.amin(1, keepdim=True)
            short = torch.where(flips & (until <= first), 0.0, x + first * move)
            bold[bucket] = system.full(torch.where(flips, 0.0, new))
            safe[bucket] = system.full(short)
        return bold, safe


def _finish(problem: _Problem, x: Tensor, tol: float, max_rounds: int) -> Solution:
    """Run rounds on codes of unit atoms."""
    start = problem.point(x)
    best = _Point(*(part.clone() for part in start))
    n_rounds = torch.zeros(len(x), dtype=torch.long, device=x.device)
    rows = (start.gap > tol).nonzero()[:, 0]
    level = (x != 0).sum(1, dtype=torch.int32).clamp_min(8)[rows]
    stalled = torch.zeros_like(level)
    p, now = _Point(*(part[rows] for part in start)), problem.take(rows)
    for _ in range(max_rounds):
        if not len(rows):
            break
        bold, safe = now.steps(p, now.supports(p, level))
        r = now.A.residual(now.b, bold)
        value = now.value(bold, r)
        ceiling = p.value * (1 + _SLACK)
        worse = (~(value <= ceiling)).nonzero()[:, 0]
        if len(worse):
            part = now.take(worse)
            bold[worse] = safe[worse]
            r[worse] = part.A.residual(part.b, safe[worse])
            value[worse] = part.value(safe[worse], r[worse])
        failed = ~(value <= ceiling)
        new = now.point(bold, r, value)
        moved = (new.value < p.value * (1 - _SLACK)) | (new.gap < 0.5 * p.gap)
        stalled = torch.where(moved, 0, stalled + 1)
        fewer = torch.where(moved[worse], level[worse] // 8, 0)
        level = (2 * level).clamp_min(2)
        level[worse] = fewer
        n_rounds[rows] += 1
        good = (~failed).nonzero()[:, 0]
        for old, part in zip(best, new, strict=True):
            old[rows[good]] = part[good]
        go = ((new.gap > tol) & ~failed & (stalled < _STALL)).nonzero()[:, 0]
        rows, level, stalled = rows[go], level[go], stalled[go]
        p, now = _Point(*(part[go] for part in new)), now.take(go)
    keep = (best.value <= start.value) | (best.gap <= tol)
    gap = torch.where(keep, best.gap, start.gap)
    return Solution(torch.where(keep[:, None], best.x, start.x), gap, n_rounds, gap <= tol)


@torch.no_grad()
def active_set(
    x: Tensor,
    obs: Observation,
    alpha: Tensor | float,
    *,
    tol: float = 1e-10,
    max_rounds: int = 20,
    positive: bool = False,
) -> Solution:
    """Minimise ``0.5 ||b - A x||^2 + alpha ||x||_1`` exactly, from codes near the minimum.

    On a support S with signs s the optimum solves ``A_S^T A_S x_S = A_S^T b - alpha s``. A round
    solves these equations for all samples, drops the atoms whose sign would change, and admits
    atoms that violate optimality, ``|a_i^T (b - A x)| > alpha``; a sample leaves when its duality
    gap is at most tol. Active-set steps as in feature-sign search (Lee, Battle, Raina and Ng
    2007), many atoms at a time as in the semismooth Newton method (Griesse and Lorenz 2008).

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes to start from, such as those of a network or of some iterations of FISTA. Where
        positive is True negative entries count as zero.
    obs : Observation
        Data and a :class:`Dense` operator, shared or per sample. Atoms may have any norm.
    alpha : float or Tensor of shape () or (n_samples,)
        Weight of the l1 norm, positive.
    tol : float, default=1e-10
        Tolerance on the relative duality gap.
    max_rounds : int, default=20
        Most rounds.
    positive : bool, default=False
        Constrain codes to be nonnegative.

    Returns
    -------
    Solution
        Codes and gaps in float64, whatever came in, rounds and flags. No objective is greater
        than at the start. Samples whose gap is still above tol need more rounds or a better
        start, with fewer nonzeros: more of them than n_features are dropped one a round.

    Raises
    ------
    TypeError
        If the operator is not Dense.

    Notes
    -----
    If the point with all changing signs set to zero has a greater objective, the step ends at the
    first of them, where the objective is known to fall. After such a round fewer atoms may enter,
    in the end one at a time and only into a support that is solved: then the method is the
    textbook's, which ends after finitely many rounds at the optimum unless it is degenerate.

    References
    ----------
    Griesse and Lorenz, "A semismooth Newton method for Tikhonov functionals with sparsity
    constraints", Inverse Problems 24, 2008.

    Lee, Battle, Raina and Ng, "Efficient sparse coding algorithms", NIPS 2006.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.solvers import active_set
    >>> obs = Observation(torch.tensor([[3.0, 0.2, -1.0]]), Dense(torch.eye(3)))
    >>> active_set(torch.tensor([[2.0, 0.0, 0.0]]), obs, 0.5).x
    tensor([[ 2.5000,  0.0000, -0.5000]], dtype=torch.float64)
    """
    check_dense("active_set", obs.A)
    x, alpha = check_codes(x, obs, "x"), check_positive("alpha", alpha, obs)
    return finish(x, obs, alpha, prepare(obs.A, len(x)), tol, max_rounds, positive)


def prepare(A: Dense, n_samples: int) -> Atoms | None:
    """Return what all samples of a dictionary share; None where each has its own."""
    if A.per_sample:
        return None
    n = A.n_components
    # Looking up the inner products of a support costs a quarter of computing them.
    return Atoms(A.D.double(), with_gram=n * n <= GRAM and n < 4 * n_samples)


def finish(
    x: Tensor,
    obs: Observation,
    alpha: Tensor | float,
    atoms: Atoms | None,
    tol: float,
    max_rounds: int,
    positive: bool,
) -> Solution:
    """Run :func:`active_set` with prepared atoms."""
    alphas = torch.as_tensor(alpha, dtype=torch.float64, device=x.device).expand(len(x))
    parts = []
    for rows, part, local in chunks(obs, atoms, _CHUNK, torch.float64):
        b, given = part.b.double(), x[rows].detach().double()
        own = torch.arange(len(b), device=b.device)
        problem = _Problem(b, alphas[rows], local, own, positive)
        given = given.relu() if positive else given
        given = torch.where(local.norm > 0, given, 0.0)  # of zero atoms a code only costs
        units = pad(given * local.norm, (0, 1))
        found = _finish(problem, units, tol, max_rounds)
        # What no round has changed comes back bit for bit.
        kept = (found.x == units)[:, :-1]
        parts.append(
            found._replace(x=torch.where(kept, given, found.x[:, :-1] * local.inverse_norm))
        )
    return Solution(*(torch.cat(part) for part in zip(*parts, strict=True)))
