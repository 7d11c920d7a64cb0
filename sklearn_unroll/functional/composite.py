"""Problems ``min f(x) + R(x)``: a smooth f with gradient and Lipschitz constant, a simple R.

Whatever has the three methods of :class:`Smooth` may stand where a smooth function is expected::

    class Huber(Smooth):                      # sum of the Huber losses of the residual
        def value(self, x, obs):
            r = obs.residual(x).abs()
            return torch.where(r < 1, 0.5 * r.square(), r - 0.5).sum(-1)

        def gradient(self, x, obs):
            return -obs.A.adjoint(obs.residual(x).clamp(-1, 1))

        def lipschitz(self, obs):
            return obs.A.lipschitz()
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sklearn_unroll.functional.observation import Observation
from sklearn_unroll.functional.operators import Operator
from sklearn_unroll.functional.penalty import Penalty

__all__ = ["Composite", "LeastSquares", "Logistic", "NoData", "Smooth"]


class Smooth(ABC):
    """A convex function of a code, differentiable with a Lipschitz continuous gradient."""

    @abstractmethod
    def value(self, x: Tensor, obs: Observation) -> Tensor:
        """Return ``f(x)`` of every row.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_components)
            Codes.
        obs : Observation
            Data and operator.

        Returns
        -------
        Tensor of shape (n_samples,)
            Values.
        """

    @abstractmethod
    def gradient(self, x: Tensor, obs: Observation) -> Tensor:
        """Return the gradient of f at every row.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_components)
            Codes.
        obs : Observation
            Data and operator.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            Gradients.
        """

    @abstractmethod
    def lipschitz(self, obs: Observation) -> Tensor:
        """Return a Lipschitz constant L of the gradient; ``1 / L`` is the classical step.

        Parameters
        ----------
        obs : Observation
            Data and operator.

        Returns
        -------
        Tensor of shape () or (n_samples, 1)
            One constant, or one per sample where each sample has its own operator.
        """


class LeastSquares(Smooth):
    """``f(x) = 0.5 ||A x - b||^2``, with ``L = ||A||_2^2``."""

    def value(self, x: Tensor, obs: Observation) -> Tensor:
        """Return half the squared norm of the residual."""
        return 0.5 * obs.residual(x).square().sum(-1)

    def gradient(self, x: Tensor, obs: Observation) -> Tensor:
        """Return ``A^T (A x - b)``."""
        return obs.A.adjoint(obs.residual(x)).neg()

    def lipschitz(self, obs: Observation) -> Tensor:
        """Return ``||A||_2^2``, or little more."""
        return obs.A.lipschitz_bound()


class Logistic(Smooth):
    """``f(x) = mean_j log(1 + exp(-b_j (A x)_j))``, labels -1 and 1, ``L = ||A||_2^2 / (4 m)``.

    Every sample is a classification problem of its own: m labels, and an operator whose rows are
    the points.
    """

    # NOTE[DIFF]: the code of Liu et al. 2023 takes the norm of A for the constant, not its square
    # over 4 m; their classical baselines then crawl (104 times too small a step on their data).

    def value(self, x: Tensor, obs: Observation) -> Tensor:
        """Return the mean logistic loss."""
        return softplus(-obs.b * obs.A(x)).mean(-1)

    def gradient(self, x: Tensor, obs: Observation) -> Tensor:
        """Return ``-A^T (b sigmoid(-b A x)) / m``."""
        slope = obs.b * torch.sigmoid(-obs.b * obs.A(x))
        return obs.A.adjoint(slope) / -obs.b.shape[1]

    def lipschitz(self, obs: Observation) -> Tensor:
        """Return ``||A||_2^2 / (4 m)``, or little more."""
        return obs.A.lipschitz_bound() / (4 * obs.b.shape[1])


def gradient_of(x: Tensor, obs: Observation | Composite) -> Tensor:
    """Return the gradient of the problem that instances know, else of least squares.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes.
    obs : Observation or Composite
        Data and operator.

    Returns
    -------
    Tensor of shape (n_samples, n_components)
        Gradients.
    """
    return obs.gradient(x) if isinstance(obs, Composite) else LeastSquares().gradient(x, obs)


class NoData(Smooth):
    """``f(x) = 0``: what is left is the proximal point algorithm of R."""

    def value(self, x: Tensor, obs: Observation) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(x[:, 0])

    def gradient(self, x: Tensor, obs: Observation) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(x)

    def lipschitz(self, obs: Observation) -> Tensor:
        """Return zero."""
        return obs.b.new_zeros(())


class Composite(NamedTuple):
    """Instances of ``min f(x) + R(x)``, one per row; an ``Observation`` that knows its problem.

    Made by :meth:`of`, which computes the step. Networks and the training loop take it wherever
    they take an :class:`Observation`: whatever belongs to a sample is sliced with it.

    Parameters
    ----------
    b : Tensor of shape (n_samples, n_features)
        Data of every instance: signals, or labels.
    A : Operator
        One operator, or one per instance.
    f : Smooth
        The smooth part.
    R : Penalty
        The other part; separable where a method has a step per coordinate.
    step : Tensor of shape () or (n_samples, 1) or None
        The classical step ``1 / L``; one where L = 0, when any step will do. None where it is to
        be computed by who takes it.
    x0 : Tensor of shape (n_samples, n_components) or None
        Where to start, zero by default.
    least : Tensor of shape (n_samples,) or None
        The optimal values, where they are known.
    known : object or None
        Whatever is asked for residuals, as of an Observation.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Composite, Dense, L1, LeastSquares
    >>> A = Dense(torch.eye(2))
    >>> problem = Composite.of(torch.tensor([[2.0, 0.0]]), A, LeastSquares(), L1(0.5))
    >>> x = problem.classical(problem.first())
    >>> x, problem.value(x)
    (tensor([[1.5000, 0.0000]]), tensor([0.8750]))
    """

    b: Tensor
    A: Operator
    f: Smooth
    R: Penalty
    step: Tensor | None = None
    x0: Tensor | None = None
    least: Tensor | None = None
    known: Any = None

    residual = Observation.residual

    @classmethod
    def of(
        cls, b: Tensor, A: Operator, f: Smooth, R: Penalty, x0: Tensor | None = None
    ) -> Composite:
        """Return the problem with its classical step.

        Parameters
        ----------
        b : Tensor of shape (n_samples, n_features)
            Data of every instance.
        A : Operator
            One operator, or one per instance.
        f : Smooth
            The smooth part.
        R : Penalty
            The other part.
        x0 : Tensor of shape (n_samples, n_components), default=None
            Where to start.

        Returns
        -------
        Composite
            The problem.
        """
        L = f.lipschitz(Observation(b, A))
        return cls(b, A, f, R, 1 / torch.where(L > 0, L, torch.ones_like(L)), x0)

    def value(self, x: Tensor) -> Tensor:
        """Return ``f(x) + R(x)`` of every row.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        Tensor of shape (n_samples,)
            Objective values.
        """
        return self.f.value(x, self) + self.R.value(x)

    def gradient(self, x: Tensor) -> Tensor:
        """Return the gradient of f.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            Gradients.
        """
        return self.f.gradient(x, self)

    def exact(self) -> Composite:
        """Return the problem in float64, or in what its operator can compute in.

        Returns
        -------
        Composite
            The problem, whose value and gap then resolve more digits.
        """
        A = self.A.to(self.b.double())
        b = self.b.to(A.like.dtype)
        rest = (self.step, self.x0, self.least)
        return Composite(b, A, self.f, self.R, *(r if r is None else r.to(b) for r in rest))

    def classical(self, x: Tensor) -> Tensor:
        """Return ``prox(x - grad f(x) / L)``, one step of ISTA: it never raises the objective.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            Codes after the step.
        """
        step = Composite.of(*self[:4]).step if self.step is None else self.step
        return self.R.prox(x - step * self.gradient(x), step)

    def first(self) -> Tensor:
        """Return where to start, zero unless given.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            Codes.
        """
        if self.x0 is None:
            return self.b.new_zeros(len(self.b), self.A.n_components)
        return self.x0

    def take(self, rows: Tensor | slice) -> Composite:
        """Return a subset of the instances.

        Parameters
        ----------
        rows : Tensor or slice
            Which instances to keep.

        Returns
        -------
        Composite
            Their data, operators, penalties, steps and starts.
        """
        own = self.step is not None and self.step.ndim > 0
        return Composite(
            self.b[rows],
            self.A.take(rows),
            self.f,
            self.R.take(rows),
            self.step[rows] if own else self.step,
            None if self.x0 is None else self.x0[rows],
            None if self.least is None else self.least[rows],
        )

    def chunks(self, n_rows: int | None = None) -> Iterator[tuple[slice, Composite]]:
        """Yield the instances in consecutive chunks, as :meth:`Observation.chunks` does.

        Parameters
        ----------
        n_rows : int, default=None
            Rows in a chunk.

        Yields
        ------
        tuple of (slice, Composite)
            Which rows, and their problem.
        """
        for rows, _ in Observation(self.b, self.A).chunks(n_rows):
            yield rows, self.take(rows)
