"""Operators given by what they do, and operators made of others."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from torch import Tensor

from sklearn_unroll.functional.operators import Operator

__all__ = ["Composed", "MatrixFree"]

_NUMBERS = 2**22  # in the Gram matrices of samples at a time


class MatrixFree(Operator):
    """Any real :class:`scipy.sparse.linalg.LinearOperator`, with derivatives; on the CPU.

    Parameters
    ----------
    linear : LinearOperator, sparse array or ndarray of shape (n_features, n_components)
        The paper's ``A``, with ``matmat`` and ``rmatmat``.

    Raises
    ------
    TypeError
        If it is complex.

    Examples
    --------
    >>> import torch
    >>> from scipy.sparse import diags_array
    >>> from sklearn_unroll.functional import MatrixFree
    >>> A = MatrixFree(diags_array([1.0, 2.0, 3.0]))
    >>> A(torch.ones(1, 3))
    tensor([[1., 2., 3.]])
    """

    def __init__(self, linear: LinearOperator) -> None:
        self.linear = aslinearoperator(linear)
        if np.issubdtype(self.linear.dtype, np.complexfloating):
            raise TypeError(
                "The operator is complex, but rows here are real: wrap one that maps [Re | Im] "
                "rows, see pack_complex."
            )
        self.n_features, self.n_components = self.linear.shape

    def __call__(self, x: Tensor) -> Tensor:
        return _Product.apply(x, self.linear, False)

    def adjoint(self, r: Tensor) -> Tensor:
        return _Product.apply(r, self.linear, True)


class _Product(torch.autograd.Function):
    """A product computed by numpy; its derivative is the product with the transpose."""

    @staticmethod
    def forward(ctx, x, linear, transpose):
        if x.device.type != "cpu":
            raise ValueError(
                f"A MatrixFree operator computes on the CPU, got a tensor on {x.device}. Use "
                f"device='cpu'."
            )
        ctx.linear, ctx.transpose = linear, transpose
        product = linear.rmatmat if transpose else linear.matmat
        found = np.ascontiguousarray(product(x.detach().numpy().T).T)
        return torch.from_numpy(found).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        return _Product.apply(gradient, ctx.linear, not ctx.transpose), None, None


class Composed(Operator):
    """``A x = A2 (A1 x)``: one operator after another, either of them shared or per sample.

    Signals of which some entries are seen are ``Composed(Dense(D), Mask(visible))``.

    Parameters
    ----------
    first, second : Operator
        ``A1``, applied first, and ``A2``.

    Raises
    ------
    ValueError
        If what the first gives is not what the second takes.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Composed, Dense, PartialDCT
    >>> A = Composed(Dense(torch.tensor([[1.0, 1.0], [1.0, -1.0]])), PartialDCT(2, rows=[0]))
    >>> A(torch.tensor([[0.5, 7.0]]))
    tensor([[0.7071]])
    """

    def __init__(self, first: Operator, second: Operator) -> None:
        if first.n_features != second.n_components:
            raise ValueError(
                f"The first operator gives {first.n_features} numbers, but the second takes "
                f"{second.n_components}."
            )
        self.first, self.second = first, second
        self.per_sample = first.per_sample or second.per_sample
        self.n_components, self.n_features = first.n_components, second.n_features

    def __call__(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))

    def adjoint(self, r: Tensor) -> Tensor:
        return self.first.adjoint(self.second.adjoint(r))

    @property
    def like(self) -> Tensor:
        """Of the two, what is coarser: a float32 operator takes nothing else."""
        first, second = self.first.like, self.second.like
        return first if first.dtype == torch.float32 else second

    def lipschitz(self) -> Tensor:
        if not self.per_sample:
            return super().lipschitz()
        n_samples = len((self.second if self.second.per_sample else self.first).lipschitz())
        side = min(self.n_features, self.n_components)
        n_rows = max(_NUMBERS // side**2, 1)
        starts = range(0, n_samples, n_rows)
        slices = [slice(start, min(start + n_rows, n_samples)) for start in starts]
        parts = [self.take(rows)._largest(rows.stop - rows.start) for rows in slices]
        return torch.cat(parts) if parts else self.like.new_zeros(0, 1)

    def _largest(self, n_samples: int) -> Tensor:
        """Return ``||A||_2^2`` of every sample, by the smaller Gram matrix."""
        tall = self.n_features < self.n_components
        like, side = self.like, min(self.n_features, self.n_components)
        ones = torch.eye(side, dtype=like.dtype, device=like.device)
        rows = (row.expand(n_samples, -1) for row in ones)
        gram = [self(self.adjoint(r)) if tall else self.adjoint(self(r)) for r in rows]
        largest = torch.linalg.eigvalsh(torch.stack(gram, 1).double())[:, -1:]
        return largest.clamp_min(0).to(like)

    def take(self, rows: Tensor | slice) -> Composed:
        return Composed(self.first.take(rows), self.second.take(rows)) if self.per_sample else self

    def to(self, like: Tensor) -> Composed:
        return Composed(self.first.to(like), self.second.to(like))

    def solve_normal(self, r: Tensor, rho: Tensor | float) -> Tensor:
        if not self.first.orthogonal:
            return super().solve_normal(r, rho)
        return self.first.adjoint(self.second.solve_normal(self.first(r), rho))

    def consistent(self, b: Tensor, x: Tensor) -> Tensor:
        if not self.first.orthogonal:
            return super().consistent(b, x)
        return self.first.adjoint(self.second.consistent(b, self.first(x)))
