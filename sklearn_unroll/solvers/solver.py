"""What every classical solver shares: state in, state out, and one batched driver.

A method is ``init`` and ``step``, like a network's layer; the driver owns the loop, the
stopping rule (a duality gap per sample) and the removal of samples that have converged.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from copy import copy
from numbers import Integral
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.functional import Observation

__all__ = ["Method", "Solution", "iterates", "minimize"]


class Solution(NamedTuple):
    """What a solver found, per sample.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes.
    gap : Tensor of shape (n_samples,)
        Duality gap of the codes, relative to the objective at zero.
    n_iter : Tensor of shape (n_samples,)
        Iterations used.
    converged : Tensor of shape (n_samples,)
        Whether the gap reached the tolerance.
    """

    x: Tensor
    gap: Tensor
    n_iter: Tensor
    converged: Tensor


def add_part(found: Solution, rows: Tensor, part: Solution) -> None:
    """Put solutions of some samples in their places, and count iterations on."""
    found.x[rows], found.gap[rows], found.converged[rows] = part.x, part.gap, part.converged
    found.n_iter[rows] += part.n_iter


class Method(ABC):
    """A classical iteration; its states are NamedTuples of tensors, one row per sample."""

    per_sample: tuple[str, ...] = ()  # attributes that are tensors of one row a sample, or numbers

    @abstractmethod
    def init(self, obs: Observation) -> Any:
        """Return the first state; its field ``x`` is the iterate.

        Parameters
        ----------
        obs : Observation
            Data and operator.

        Returns
        -------
        NamedTuple of Tensor
            The state before any iteration.
        """

    @abstractmethod
    def step(self, state: Any, obs: Observation) -> Any:
        """Run one iteration.

        Parameters
        ----------
        state : NamedTuple of Tensor
            The state before it.
        obs : Observation
            Data and operator.

        Returns
        -------
        NamedTuple of Tensor
            The state after it.
        """

    @abstractmethod
    def gap(self, x: Tensor, obs: Observation) -> Tensor:
        """Return the duality gap relative to the objective at zero.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_components)
            Codes.
        obs : Observation
            Data and operator.

        Returns
        -------
        Tensor of shape (n_samples,)
            Relative gaps.
        """

    def take(self, rows: Tensor | slice) -> Method:
        """Return the method for a subset of the samples (for per-sample constants).

        Parameters
        ----------
        rows : Tensor or slice
            Which samples to keep.

        Returns
        -------
        Method
            The same method on fewer samples.
        """
        new = copy(self)
        for name in self.per_sample:
            value = vars(self)[name]
            if isinstance(value, Tensor) and value.ndim:
                setattr(new, name, value[rows])
        return new


@torch.no_grad()
def iterates(method: Method, obs: Observation, n_iter: int) -> Iterator[Tensor]:
    """Yield ``x_0, ..., x_n_iter``: for plots, and to compare with a network layer by layer.

    Parameters
    ----------
    method : Method
        The algorithm.
    obs : Observation
        Data and operator.
    n_iter : int
        Number of iterations.

    Yields
    ------
    Tensor of shape (n_samples, n_components)
        The iterates.
    """
    state = method.init(obs)
    yield state.x
    for _ in range(n_iter):
        state = method.step(state, obs)
        yield state.x


@torch.no_grad()
def minimize(
    method: Method, obs: Observation, *, tol: float, max_iter: int, check_every: int = 10
) -> Solution:
    """Iterate until every sample's relative duality gap is at most ``tol``.

    A sample that has converged leaves the batch, so that the others do not pay for it.

    Parameters
    ----------
    method : Method
        The algorithm.
    obs : Observation
        Data and operator.
    tol : float
        Tolerance on the relative duality gap.
    max_iter : int
        Largest number of iterations.
    check_every : int, default=10
        The gap costs about one iteration; it is evaluated this often.

    Returns
    -------
    Solution
        Codes, gaps, iterations and flags per sample; look at ``converged``.

    Raises
    ------
    FloatingPointError
        If an iterate becomes infinite or NaN.
    """
    if not (isinstance(max_iter, Integral) and isinstance(check_every, Integral)):
        raise TypeError(f"max_iter and check_every count: got {max_iter!r} and {check_every!r}.")
    if max_iter < 1 or check_every < 1 or not tol >= 0:
        raise ValueError(
            f"max_iter and check_every must be at least 1 and tol at least 0, got {max_iter}, "
            f"{check_every} and {tol}."
        )
    parts = [
        _minimize_chunk(method.take(rows), chunk, tol, max_iter, check_every)
        for rows, chunk in obs.chunks()
    ]
    return Solution(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _minimize_chunk(
    method: Method, obs: Observation, tol: float, max_iter: int, check_every: int
) -> Solution:
    state = method.init(obs)
    x = state.x.clone()
    gap = method.gap(x, obs)
    n_iter = torch.zeros(len(x), dtype=torch.long, device=x.device)
    rows = torch.arange(len(x), device=x.device)
    done = gap <= tol
    iteration = 0
    while True:
        if done.any():
            keep = ~done
            rows, obs, method = rows[keep], obs.take(keep), method.take(keep)
            state = type(state)(*(part[keep] for part in state))
        if not len(rows) or iteration >= max_iter:
            return Solution(x, gap, n_iter, gap <= tol)
        for _ in range(min(check_every, max_iter - iteration)):
            state = method.step(state, obs)
            iteration += 1
        current = method.gap(state.x, obs)
        if not bool(torch.isfinite(current).all()):
            raise FloatingPointError(
                f"{type(method).__name__} diverged within {iteration} iterations: the step is "
                f"too long for this operator. Use step=None for 1 / L."
            )
        x[rows], gap[rows], n_iter[rows] = state.x, current, iteration
        done = current <= tol
