"""The lasso under a bound on the error or on the l1 norm, by Newton's method on its weight."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sklearn_unroll.functional import Observation, alpha_max, error_gap, l1_radius_gap
from sklearn_unroll.functional._compiled import compiled_available
from sklearn_unroll.solvers._checks import check_dense, check_observation, check_positive
from sklearn_unroll.solvers._samples import Products
from sklearn_unroll.solvers._supports import Atoms, System, buckets, find_places
from sklearn_unroll.solvers.active_set import prepare
from sklearn_unroll.solvers.certified import certified_lasso
from sklearn_unroll.solvers.homotopy import PathCodes, has_path, paths
from sklearn_unroll.solvers.masks import by_masks, checked, dense_parts, is_masked, put_in_order

__all__ = ["bounded_lasso"]

_RIDGE = 10 * torch.finfo(torch.float64).eps
_FIRST = 0.1  # of the smallest alpha with zero codes, where the search starts
_LEAST = 1e-9  # of it, where the search ends: the bound is out of reach
_CORNERS = 10_000  # of a path, before the search takes over
_INNER = 1e-13  # tolerance of the lasso on the way
_STEPS = 10_000  # of it
_LITTLE = 1e-8  # above a bound, relative to it
_LOST = 300  # of it, where a path is lost: then atoms are so much alike that more gain nothing


@torch.no_grad()
def bounded_lasso(
    obs: Observation,
    *,
    error: Tensor | float | None = None,
    l1_radius: Tensor | float | None = None,
    positive: bool = False,
    tol: float = 1e-8,
    max_iter: int = 100,
    products: Products | None = None,
) -> PathCodes:
    """Minimise ``||x||_1`` over ``||b - A x||^2 <= error``, or the error over an l1 norm.

    Both are the lasso at some weight alpha (van den Berg and Friedlander 2008), at which one
    bound is met. On a support S with signs s and slope ``c = s^T (A_S^T A_S)^-1 s`` the norm
    falls by c times alpha and the error rises by c times its square, so that one step of
    Newton's method in alpha, or in its square, is exact once the support is; steps that leave
    the bracket are halved. Samples are solved together by
    :func:`~sklearn_unroll.solvers.certified_lasso`; where numba is installed,
    :func:`~sklearn_unroll.solvers.homotopy` does it, and this is left with what that loses.

    Parameters
    ----------
    obs : Observation
        Data ``b`` of shape (n_samples, n_features) and a dense operator, shared or per sample, or
        ``Composed(Dense(D), Mask(visible))``: then error is that of what is seen of each sample.
    error : float or Tensor of shape (n_samples,), default=None
        Largest squared norm of the residual, positive. Of white noise of standard deviation s
        it is ``n_features s^2``.
    l1_radius : float or Tensor of shape (n_samples,), default=None
        Instead: largest l1 norm of codes, positive.
    positive : bool, default=False
        Constrain codes to be nonnegative.
    tol : float, default=1e-8
        Tolerance on the certificate, :func:`~sklearn_unroll.functional.error_gap` or
        :func:`~sklearn_unroll.functional.l1_radius_gap`.
    max_iter : int, default=100
        Most values of alpha that are tried.
    products : Products, default=None
        What the path looks up, where another call has computed it.

    Returns
    -------
    PathCodes
        Codes and certificates in float64, the alpha found, iterations and flags. Samples that
        cannot reach their error have the codes of the least alpha tried and no flag.

    Raises
    ------
    TypeError
        If the operator is not Dense, or such a one with a mask.
    ValueError
        If not exactly one bound is given, or it is not positive.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.solvers import bounded_lasso
    >>> obs = Observation(torch.tensor([[2.0, 0.25]]), Dense(torch.eye(2)))
    >>> bounded_lasso(obs, l1_radius=0.5).x
    tensor([[0.5000, 0.0000]], dtype=torch.float64)
    """
    masked = is_masked(obs.A)
    obs = checked("bounded_lasso", obs) if masked else obs
    check_observation(obs)
    check_dense("bounded_lasso", obs.A.first if masked else obs.A)
    if (error is None) == (l1_radius is None):
        raise ValueError("bounded_lasso needs either error or l1_radius.")
    name, value = ("error", error) if l1_radius is None else ("l1_radius", l1_radius)
    value = check_positive(name, value, obs)
    obs = Observation(obs.b.detach().double(), obs.A.to(obs.A.like.detach().double()))
    bound = torch.as_tensor(value, dtype=torch.float64, device=obs.b.device).expand(len(obs.b))
    rows, parts, found = torch.arange(len(bound), device=bound.device), [], None
    if compiled_available() and has_path(obs):
        limits, ridge = (tol, _CORNERS, positive), bound.new_zeros(obs.A.n_components)
        path = paths(obs, bound[None], name, limits, ridge, products)
        found = PathCodes(path.x[0], path.alpha[0], path.gap[0], path.n_iter, path.converged[0])
        if bool(found.converged.all()):
            return found
        rows, done = ((~found.converged).nonzero()[:, 0], found.converged.nonzero()[:, 0])
        parts.append((done, _some(found, done)))
    for some, part in _dense_parts(obs, rows):
        search = _Search(name, part, bound[some], positive, tol)
        if found is not None:
            search.keep(_some(found, some))
        parts.append((some, search.run(max_iter, _STEPS if found is None else _LOST)))
    return put_in_order(parts)


def _some(found: PathCodes, rows: Tensor) -> PathCodes:
    return PathCodes(*(field[rows] for field in found))


def _dense_parts(obs: Observation, rows: Tensor) -> Iterator[tuple[Tensor, Observation]]:
    """Yield samples with dense dictionaries, shared by those of one mask where these are many."""
    if not is_masked(obs.A):
        yield rows, obs.take(rows)
        return
    alike, few = by_masks(obs.take(rows))
    for some, part in alike:
        yield rows[some], part
    yield from dense_parts(obs, rows[few])


class _Search:
    """Brackets of alpha, and the best codes so far."""

    def __init__(
        self, name: str, obs: Observation, bound: Tensor, positive: bool, tol: float
    ) -> None:
        self.name, self.obs, self.bound, self.positive, self.tol = name, obs, bound, positive, tol
        n, zero = len(bound), torch.zeros_like(bound)
        self.peak = alpha_max(obs, positive=positive)
        self.x = obs.b.new_zeros(n, obs.A.n_components)
        self.alpha, self.gap = self.peak.clone(), zero.clone()
        self.n_iter = torch.zeros(n, dtype=torch.long, device=zero.device)
        if name == "error":
            # Zero codes meet it, or have still to be moved.
            self.gap[obs.b.square().sum(1) > bound] = torch.inf
        else:
            self.gap[self.peak > 0] = torch.inf

    def keep(self, found: PathCodes) -> None:
        """Take over what is already found."""
        self.x, self.alpha, self.gap = found.x, found.alpha, found.gap
        self.n_iter = found.n_iter

    def run(self, max_iter: int, n_steps: int) -> PathCodes:
        """Search for the samples that are not done, and return what is found of all."""
        rows = ((self.gap > self.tol) & (self.peak > 0)).nonzero()[:, 0]
        low, high = torch.zeros_like(self.bound), self.peak.clone()
        alpha = _FIRST * self.peak
        x0 = torch.zeros_like(self.x)
        for _ in range(max_iter):
            if not len(rows):
                break
            part = self.obs.take(rows)
            found = certified_lasso(
                part, alpha[rows], x0=x0[rows], positive=self.positive, tol=_INNER,
                max_iter=n_steps,
            )  # fmt: skip
            x0[rows] = found.x
            self.n_iter[rows] += found.n_iter
            x = self.inside(found.x, rows)
            gap = self.certify(x, rows)
            better = gap <= self.gap[rows]
            done = rows[better]
            self.x[done], self.alpha[done], self.gap[done] = x[better], alpha[done], gap[better]
            large, step = self.newton(found.x, part, rows, alpha[rows])
            low[rows] = torch.where(large, low[rows], alpha[rows])
            high[rows] = torch.where(large, alpha[rows], high[rows])
            inside = (step > low[rows]) & (step < high[rows])
            half = torch.where(low[rows] > 0, (low[rows] * high[rows]).sqrt(), 0.1 * high[rows])
            alpha[rows] = torch.where(inside, step, half)
            left = (gap > self.tol) & (alpha[rows] > _LEAST * self.peak[rows])
            rows = rows[left & (high[rows] > low[rows] * (1 + 1e-15))]
        return PathCodes(self.x, self.alpha, self.gap, self.n_iter, self.gap <= self.tol)

    def inside(self, x: Tensor, rows: Tensor) -> Tensor:
        """Return codes whose l1 norm is not above its bound by a little, so that they meet it."""
        if self.name == "error":
            return x
        share = self.bound[rows] / x.abs().sum(1)
        return torch.where(share > 1 - _LITTLE, share.clamp_max(1), 1.0)[:, None] * x

    def certify(self, x: Tensor, rows: Tensor) -> Tensor:
        """Return the certificates of codes."""
        gap = error_gap if self.name == "error" else l1_radius_gap
        return gap(x, self.obs.take(rows), self.bound[rows], positive=self.positive)

    def newton(
        self, x: Tensor, part: Observation, rows: Tensor, alpha: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return whether alpha is too large, and the step's next one."""
        slope = _slopes(x, part).clamp_min(torch.finfo(x.dtype).tiny)
        if self.name == "error":
            excess = part.residual(x).square().sum(1) - self.bound[rows]
            return excess > 0, (alpha.square() - excess / slope).clamp_min(0).sqrt()
        excess = x.abs().sum(1) - self.bound[rows]
        return excess < 0, alpha + excess / slope


def _slopes(x: Tensor, obs: Observation) -> Tensor:
    """Return ``s^T (A_S^T A_S)^-1 s`` of the supports and signs of codes."""
    atoms = prepare(obs.A, len(x)) or Atoms(obs.A.D, with_gram=False)
    slope = torch.zeros_like(x[:, 0])
    places, sizes = find_places(x != 0, atoms.n_components)
    n_features = 0 if atoms.gram is not None else obs.b.shape[1]
    sign = torch.nn.functional.pad(x.sign(), (0, 1))
    norm = torch.nn.functional.pad(atoms.inverse_norm, (0, 1)).expand(len(x), -1)
    for bucket, size in buckets(sizes, n_features, 2**18):
        here = places[bucket, :size]
        system = System(atoms, bucket, here, _RIDGE)
        scaled = (sign[bucket] * norm[bucket]).gather(1, here)
        slope[bucket] = (scaled * system.solve(scaled)).sum(1)
    return slope
