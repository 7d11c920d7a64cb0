"""The lasso to a certificate for every sample: cheap iterations, then the exact finish."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.functional import Dense, Observation, alpha_max
from sklearn_unroll.solvers._checks import check_codes, check_observation, check_positive
from sklearn_unroll.solvers.active_set import finish, prepare
from sklearn_unroll.solvers.first_order import FISTA, Momentum
from sklearn_unroll.solvers.solver import Method, Solution

__all__ = ["certified_lasso"]

_CHUNK = 2**21  # numbers in the codes of a chunk
_BLOCK = 10  # iterations between two looks at the supports
_SETTLED = 0.03  # changes of a support in a block, as part of it, below which it may be right
_ROUNDS = 6  # of the finish, at the first attempts
_FORCED = 200  # iterations after which the finish is tried whatever the support
_SINGLE = 600  # iterations in float32; what is left then goes on in float64


class _Stage(NamedTuple):
    """An iteration and its operator in one precision."""

    method: Method
    A: Dense


def certified_lasso(
    obs: Observation,
    alpha: Tensor | float,
    *,
    x0: Tensor | None = None,
    positive: bool = False,
    tol: float = 1e-6,
    max_iter: int = 10_000,
    first_order: bool = True,
) -> Solution:
    """Minimise ``0.5 ||A x - b||^2 + alpha ||x||_1`` to a relative duality gap, per sample.

    Restarted FISTA in float32 runs until a sample's support has nearly settled;
    :func:`~sklearn_unroll.solvers.active_set` then takes it to the optimum and certifies it, in
    float64. A sample for which that fails goes on with FISTA, and is tried again later.

    Parameters
    ----------
    obs : Observation
        Data ``b`` of shape (n_samples, n_features) and a dense operator.
    alpha : float or Tensor of shape (n_samples,)
        Weight of the l1 norm, positive.
    x0 : Tensor of shape (n_samples, n_components), default=None
        Where to start: the codes of a network, say. These are finished first.
    positive : bool, default=False
        Constrain codes to be nonnegative.
    tol : float, default=1e-6
        Tolerance on the relative duality gap, which is evaluated in float64; 1e-14 is in reach.
    max_iter : int, default=10000
        Largest number of iterations of FISTA.
    first_order : bool, default=True
        Whether FISTA comes first; otherwise all is left to the active set, even from zero, as
        far as it gets.

    Returns
    -------
    Solution
        Codes and gaps in float64, iterations (of both kinds) and flags, per sample.

    Raises
    ------
    TypeError
        If the operator is not dense.
    ValueError
        If data and operator do not fit, or alpha is not positive.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.solvers import certified_lasso
    >>> obs = Observation(torch.tensor([[2.0, 0.25]]), Dense(torch.eye(2)))
    >>> certified_lasso(obs, alpha=0.5, tol=1e-12).x
    tensor([[1.5000, 0.0000]], dtype=torch.float64)
    """
    check_observation(obs)
    if not isinstance(obs.A, Dense):
        raise TypeError(
            f"certified_lasso solves for the atoms of a support, so it needs a Dense operator; "
            f"got {type(obs.A).__name__}. Use fista."
        )
    alpha = check_positive("alpha", alpha, obs)
    x0 = None if x0 is None else check_codes(x0, obs)
    alphas = torch.as_tensor(alpha, dtype=torch.float64, device=obs.b.device).expand(len(obs.b))
    size = len(obs.b)
    chunk = _CHUNK if obs.b.device.type == "cpu" else 16 * _CHUNK
    numbers = obs.A.n_components * (max(obs.A.n_features // 4, 1) if obs.A.per_sample else 1)
    with torch.no_grad():
        atoms = prepare(obs.A, size)
        shared = None if obs.A.per_sample else _methods(obs, positive)
        parts = []
        for rows, part in obs.chunks(max(64, chunk // numbers)):
            # Scaling data scales codes: with alpha = 1 for all, shrinkage takes a number.
            scale = alphas[rows, None]
            scaled = Observation(part.b.double() / scale, part.A)
            start = None if x0 is None else x0[rows].to(scaled.b) / scale
            methods = _methods(part, positive) if shared is None else shared
            run = _Chunk(scaled, methods, atoms, positive, tol)
            found = run.solve(start, max_iter, first_order)
            parts.append(found._replace(x=found.x * scale))
    return Solution(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _methods(obs: Observation, positive: bool) -> dict[torch.dtype, _Stage]:
    """Return iteration and operator in float32, for speed, and in float64, for what is left."""
    stages = {}
    for dtype in (torch.float32, torch.float64):
        A = Dense(obs.A.D.to(dtype))
        data = Observation(obs.b[:1].to(dtype), A)
        stages[dtype] = _Stage(FISTA(data, 1.0, positive=positive), A)
    return stages


class _Chunk:
    """Samples solved together; those that are done leave."""

    def __init__(
        self,
        obs: Observation,
        stages: dict[torch.dtype, _Stage],
        atoms: Any,
        positive: bool,
        tol: float,
    ) -> None:
        self.obs = Observation(obs.b, stages[torch.float64].A)
        self.stages, self.atoms, self.positive, self.tol = stages, atoms, positive, tol
        n = len(obs.b)
        self.x = obs.b.new_zeros(n, obs.A.n_components)
        zero = alpha_max(self.obs, positive=positive) <= 1
        self.gap = torch.where(zero, 0.0, 1.0).to(self.x)
        self.n_iter = torch.zeros(n, dtype=torch.long, device=self.x.device)
        self.rows = (~zero).nonzero()[:, 0]

    def solve(self, x0: Tensor | None, max_iter: int, first_order: bool) -> Solution:
        """Return codes of these samples."""
        rows, iteration = self.rows, 0
        if x0 is not None or not first_order:
            start = self.x if x0 is None else x0
            # Codes with very many nonzeros are left to the iterations.
            few = (start[rows] != 0).sum(1) <= self.obs.A.n_features
            tried = rows[few] if first_order else rows
            self.attempt(tried, start[tried], iteration, _ROUNDS if first_order else max_iter)
            self.x[rows[~few]] = start[rows[~few]] if first_order else self.x[rows[~few]]
            rows = rows[self.gap[rows] > self.tol]
        dtype = torch.float32
        x = self.x[rows].to(dtype)
        state = Momentum(x, x, x.new_ones(len(x), 1))
        support, earliest = x != 0, torch.zeros_like(rows)
        while len(rows) and iteration < max_iter:
            if dtype is torch.float32 and iteration >= _SINGLE:
                dtype = torch.float64
                state = Momentum(*(part.double() for part in state))
            n_steps = min(_BLOCK, max_iter - iteration)
            state = self.advance(rows, state, n_steps)
            iteration += n_steps
            before, support = support, state.x != 0
            size = support.sum(1, dtype=torch.int32)
            changes = (support ^ before).sum(1, dtype=torch.int32)
            ready = (changes <= _SETTLED * size.double() + 2) & (size <= self.obs.A.n_features)
            ready = (ready | (iteration >= _FORCED)) & (iteration >= earliest)
            last = iteration >= max_iter
            some = torch.arange(len(rows), device=rows.device) if last else ready.nonzero()[:, 0]
            if not len(some):
                continue
            n_rounds = 5 * _ROUNDS if last or dtype is torch.float64 else _ROUNDS
            tried = rows[some]
            self.attempt(tried, state.x[some], iteration, n_rounds)
            # What failed goes on from where the finish left it, without momentum.
            state.x[some] = state.y[some] = self.x[tried].to(dtype)
            state.t[some] = 1
            earliest[some] = iteration + iteration // 2
            go = (self.gap[rows] > self.tol).nonzero()[:, 0]
            rows, support, earliest = rows[go], support[go], earliest[go]
            state = Momentum(*(part[go] for part in state))
        return Solution(self.x, self.gap, self.n_iter, self.gap <= self.tol)

    def attempt(self, rows: Tensor, x: Tensor, iteration: int, n_rounds: int) -> None:
        """Finish samples, and keep what came of it."""
        if not len(rows):
            return
        found = finish(x, self.obs.take(rows), 1.0, self.atoms, self.tol, n_rounds, self.positive)
        self.x[rows], self.gap[rows] = found.x, found.gap
        self.n_iter[rows] = iteration + found.n_iter

    def advance(self, rows: Tensor, state: Momentum, n_steps: int) -> Momentum:
        """Run iterations, on rows few enough to stay in the cache."""
        method, A = self.stages[state.x.dtype]
        data = Observation(self.obs.b[rows].to(state.x), A if not A.per_sample else A.take(rows))
        method = method.take(rows) if A.per_sample else method
        done = []
        for some, part in data.chunks():
            one, now = method.take(some), Momentum(*(field[some] for field in state))
            for _ in range(n_steps):
                now = one.step(now, part)
            done.append(now)
        return Momentum(*(torch.cat(part) for part in zip(*done, strict=True)))
