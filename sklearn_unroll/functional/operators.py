"""Linear operators: products with rows.

Orientation, said once for the whole package: papers write ``b = A x`` with column vectors,
``A`` of shape (n_features, n_components). Here **rows are samples**, so the same product is
``x @ D`` with the dictionary ``D = A.T`` of shape (n_components, n_features), as in
:class:`sklearn.decomposition.SparseCoder`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from sklearn_unroll.functional._krylov import conjugate_gradients, largest_eigenvalue
from sklearn_unroll.functional._spectral_bound import norm_bound, squared_norm

__all__ = ["Dense", "Operator"]


class Operator(ABC):
    """A linear map ``x -> A x`` applied to rows, with its adjoint ``r -> A^T r``.

    A subclass sets ``n_components`` and ``n_features``, and has at least ``__call__`` and
    ``adjoint``; :func:`sklearn_unroll.testing.check_operator` says whether they fit together.
    """

    n_components: int
    n_features: int
    per_sample: bool = False  # whether every sample has its own
    orthogonal: bool = False  # whether A^T A = A A^T = I

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
        return b - self(x)

    @property
    def like(self) -> Tensor:
        """A tensor with a dtype and device that the operator can compute in."""
        return torch.empty(0, dtype=torch.float64)

    def lipschitz(self) -> Tensor:
        """Return ``L = ||A||_2^2``, the Lipschitz constant of ``A^T (A x - b)``.

        Returns
        -------
        Tensor of shape () or (n_samples, 1)
            One constant, or one per sample where each sample has its own operator. By default
            of a shared operator, by Lanczos' method.
        """
        return largest_eigenvalue(lambda x: self.adjoint(self(x)), self.n_components, self.like)

    def lipschitz_bound(self) -> Tensor:
        """Return a number that is at least L and hardly more: what a step size needs.

        Returns
        -------
        Tensor of shape () or (n_samples, 1)
            One bound, or one per sample: L itself by default, and at most 1.02 L where a dense
            matrix is large. Cheaper there than L, and without derivatives.
        """
        return self.lipschitz()

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
        return self

    def to(self, like: Tensor) -> Operator:
        """Return the operator with the dtype and device of a tensor, where it holds any.

        Parameters
        ----------
        like : Tensor
            Any tensor.

        Returns
        -------
        Operator
            The operator; itself by default.
        """
        return self

    def solve_normal(self, r: Tensor, rho: Tensor | float) -> Tensor:
        """Return ``(A^T A + rho I)^{-1} r`` for every row, in closed form where there is one.

        By default by conjugate gradients, with derivatives in r and rho by the same means.

        Parameters
        ----------
        r : Tensor of shape (n_samples, n_components)
            Right-hand sides.
        rho : float or Tensor of shape ()
            Positive number.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            Solutions.

        Raises
        ------
        ValueError
            If rho is not positive.
        FloatingPointError
            If conjugate gradients do not converge.
        """
        return conjugate_gradients(lambda x: self.adjoint(self(x)), r, check_rho(rho, r))

    def proximal(self, b: Tensor, x: Tensor, rho: Tensor | float) -> Tensor:
        """Return the minimiser of ``||A v - b||^2 + rho ||v - x||^2`` for every row.

        ``x + (A^T A + rho I)^{-1} A^T (b - A x)``, which unlike a solution divided by rho loses
        no digits where rho is small.

        Parameters
        ----------
        b : Tensor of shape (n_samples, n_features)
            Observations.
        x : Tensor of shape (n_samples, n_components)
            Codes.
        rho : float or Tensor of shape ()
            Positive number.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            Codes.

        Raises
        ------
        ValueError
            If rho is not positive.
        """
        return x + self.solve_normal(self.adjoint(self.residual(b, x)), rho)

    def consistent(self, b: Tensor, x: Tensor) -> Tensor:
        """Return the point next to x of those with the least ``||A x - b||``.

        Parameters
        ----------
        b : Tensor of shape (n_samples, n_features)
            Observations.
        x : Tensor of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            ``x + A^+ (b - A x)``.

        Raises
        ------
        NotImplementedError
            If the operator has no pseudo-inverse in closed form.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no pseudo-inverse in closed form, so that data "
            f"consistency cannot be imposed: use a structured or Dense operator, or do without."
        )


class Dense(Operator):
    """The operator of a dictionary: one for all samples, or one per sample.

    Parameters
    ----------
    D : Tensor of shape (n_components, n_features) or (n_samples, n_components, n_features)
        The dictionary, rows are atoms: ``D = A.T``.

    Raises
    ------
    TypeError
        If D is no such tensor.

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
        if not isinstance(D, Tensor) or D.ndim not in (2, 3):
            raise TypeError(
                f"D must be a tensor of 2 or 3 dimensions, rows are atoms; got "
                f"{type(D).__name__} of shape {tuple(getattr(D, 'shape', ()))}. Convert with "
                f"torch.as_tensor."
            )
        self.D = D
        self.per_sample = D.ndim == 3
        self.n_components, self.n_features = D.shape[-2:]
        self._factors: tuple[Tensor, Tensor] | None = None

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
        largest = squared_norm(self.D)
        return largest[:, None] if self.per_sample else largest

    def lipschitz_bound(self) -> Tensor:
        bound = norm_bound(self.D)
        return bound[:, None] if self.per_sample else bound

    def take(self, rows: Tensor | slice) -> Dense:
        return Dense(self.D[rows]) if self.per_sample else self

    @property
    def like(self) -> Tensor:
        """The dictionary."""
        return self.D

    def to(self, like: Tensor) -> Dense:
        D = self.D.to(like)
        return self if D is self.D else Dense(D)

    def solve_normal(self, r: Tensor, rho: Tensor | float) -> Tensor:
        # One factorisation serves every rho, and its derivative; D itself is taken as a constant.
        rho = check_rho(rho, r)
        s2, V = self._spectral()
        c, rest = _split(r, V)
        return _combine(c / (s2 + rho), V) + rest / rho

    def consistent(self, b: Tensor, x: Tensor) -> Tensor:
        s2, V = self._spectral()
        c, _ = _split(self.adjoint(self.residual(b, x)), V)
        eps = torch.finfo(s2.dtype).eps
        tolerance = (max(self.n_components, self.n_features) * eps) ** 2 * s2[..., :1]
        return x + _combine(torch.where(s2 > tolerance, c / s2.clamp_min(eps**2), 0 * c), V)

    @torch.no_grad()
    def _spectral(self) -> tuple[Tensor, Tensor]:
        """Return the squared singular values and, as columns, the right singular vectors of A."""
        if self._factors is None:
            V, s, _ = torch.linalg.svd(self.D.detach(), full_matrices=False)
            self._factors = s.square(), V
        return self._factors


def check_rho(rho: Tensor | float, like: Tensor) -> Tensor:
    """Return rho as a tensor; raise unless it is positive."""
    rho = torch.as_tensor(rho, dtype=like.dtype, device=like.device)
    if not bool((rho.detach() > 0).all()):
        raise ValueError(f"rho must be positive, got {rho.detach().min():g}.")
    return rho


def _combine(c: Tensor, V: Tensor) -> Tensor:
    return (V @ c[..., None])[..., 0] if V.ndim == 3 else c @ V.T


def _split(r: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """Return the coordinates of r along V, and what is orthogonal to V."""
    c = (V.mT @ r[..., None])[..., 0] if V.ndim == 3 else r @ V
    rest = r - _combine(c, V)
    # Twice: rounding errors along V would come out 1 / rho times as large.
    again = (V.mT @ rest[..., None])[..., 0] if V.ndim == 3 else rest @ V
    return c + again, rest - _combine(again, V)
