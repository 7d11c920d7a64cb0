"""Linear operators, and the pair (observation, operator) that every network sees.

Orientation, said once for the whole package: papers write ``b = A x`` with column vectors,
``A`` of shape (n_features, n_components). Here **rows are samples**, so the same product is
``x @ D`` with the dictionary ``D = A.T`` of shape (n_components, n_features), as in
:class:`sklearn.decomposition.SparseCoder`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Dense", "Observation", "Operator"]


class Operator(ABC):
    """A linear map ``x -> A x`` applied to rows, with its adjoint ``r -> A^T r``."""

    n_components: int
    n_features: int

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """Apply the operator: ``A x`` for every row of x.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        Tensor of shape (n_samples, n_features)
            Signals.
        """

    @abstractmethod
    def adjoint(self, r: Tensor) -> Tensor:
        """Apply the adjoint: ``A^T r`` for every row of r.

        Parameters
        ----------
        r : Tensor of shape (n_samples, n_features)
            Signals, usually residuals.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            Correlations with the atoms.
        """

    @abstractmethod
    def residual(self, b: Tensor, x: Tensor) -> Tensor:
        """Return ``b - A x`` for every row, in one fused product where that is possible.

        Parameters
        ----------
        b : Tensor of shape (n_samples, n_features)
            Observations.
        x : Tensor of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        Tensor of shape (n_samples, n_features)
            Residuals.
        """

    @abstractmethod
    def lipschitz(self) -> Tensor:
        """Return ``L = ||A||_2^2``, the Lipschitz constant of ``A^T (A x - b)``.

        Returns
        -------
        Tensor of shape () or (n_samples, 1)
            One constant, or one per sample where each sample has its own operator.
        """

    @abstractmethod
    def take(self, rows: Tensor | slice) -> Operator:
        """Return the operator of a subset of samples; a shared operator returns itself.

        Parameters
        ----------
        rows : Tensor or slice
            Which samples to keep.

        Returns
        -------
        Operator
            The operator of those samples.
        """


class Dense(Operator):
    """The operator of a dictionary: one for all samples, or one per sample.

    Parameters
    ----------
    D : Tensor of shape (n_components, n_features) or (n_samples, n_components, n_features)
        The dictionary, rows are atoms: ``D = A.T``.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense
    >>> A = Dense(torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))
    >>> A(torch.tensor([[1.0, 1.0, 0.0]]))
    tensor([[1., 2.]])
    >>> A.adjoint(torch.tensor([[1.0, 1.0]]))
    tensor([[1., 2., 2.]])
    """

    def __init__(self, D: Tensor) -> None:
        self.D = D
        self.per_sample = D.ndim == 3
        self.n_components, self.n_features = D.shape[-2:]

    def __call__(self, x: Tensor) -> Tensor:
        if self.per_sample:
            return torch.einsum("bn,bnm->bm", x, self.D)
        return x @ self.D

    def adjoint(self, r: Tensor) -> Tensor:
        if self.per_sample:
            return torch.einsum("bm,bnm->bn", r, self.D)
        return r @ self.D.T

    def residual(self, b: Tensor, x: Tensor) -> Tensor:
        return b - self(x) if self.per_sample else torch.addmm(b, x, self.D, alpha=-1)

    def lipschitz(self) -> Tensor:
        # The smaller Gram matrix has the same largest eigenvalue.
        wide = self.n_components > self.n_features
        gram = self.D.mT @ self.D if wide else self.D @ self.D.mT
        largest = torch.linalg.eigvalsh(gram)[..., -1].clamp_min(0)
        return largest[:, None] if self.per_sample else largest

    def take(self, rows: Tensor | slice) -> Dense:
        return Dense(self.D[rows]) if self.per_sample else self


class Observation(NamedTuple):
    """Data and the operator that made them; the operator travels with the data.

    So masks, per-sample operators and matrix-free operators need no second code path.

    Parameters
    ----------
    b : Tensor of shape (n_samples, n_features)
        The observed signals, one per row.
    A : Operator
        The operator in ``b ~ A x``.
    """

    b: Tensor
    A: Operator

    def take(self, rows: Tensor | slice) -> Observation:
        """Return a subset of the samples.

        Parameters
        ----------
        rows : Tensor or slice
            Which samples to keep.

        Returns
        -------
        Observation
            Their data with their operator.
        """
        return Observation(self.b[rows], self.A.take(rows))

    def chunks(self, n_rows: int | None = None) -> Iterator[tuple[slice, Observation]]:
        """Yield the samples in consecutive chunks, so that iterates stay in the cache.

        Parameters
        ----------
        n_rows : int, default=None
            Rows in a chunk; by default 512 on the CPU (where larger batches run at memory
            speed, up to three times slower) and 65,536 elsewhere (which bounds the memory).

        Yields
        ------
        tuple of (slice, Observation)
            Which rows, and their data and operator.
        """
        if n_rows is None:
            n_rows = 512 if self.b.device.type == "cpu" else 65_536
        for start in range(0, len(self.b), n_rows):
            rows = slice(start, start + n_rows)
            yield rows, self.take(rows)
