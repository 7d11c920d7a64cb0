"""Pictures of which some entries are seen, and what a smooth picture has at the others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sklearn_unroll.functional._given import tensor_of
from sklearn_unroll.functional._krylov import descend
from sklearn_unroll.functional.matrix_free import Composed
from sklearn_unroll.functional.operators import Operator, check_rho

__all__ = ["Mask", "smooth_fill"]


def without_mask(A: Operator) -> tuple[Operator, Tensor | None]:
    """Return what is behind a mask, and what is seen of it; an operator without one, and None."""
    if isinstance(A, Composed) and isinstance(A.second, Mask):
        return A.first, A.second.visible
    return A, None


class Mask(Operator):
    """``b = m * x``: the visible entries of x, and zero at the others; one mask for each sample.

    Parameters
    ----------
    visible : array-like of shape (n_components,) or (n_samples, n_components)
        Which entries are seen, boolean or of zeros and ones; for all samples, or one row for
        each.

    Raises
    ------
    ValueError
        If the mask is neither a row nor a table, or not of zeros and ones.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Mask
    >>> A = Mask([[1, 0, 1], [0, 1, 1]])
    >>> A(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    tensor([[1., 0., 3.],
            [0., 5., 6.]])
    >>> A.take(slice(1, 2)).visible
    tensor([[False,  True,  True]])
    """

    def __init__(self, visible: Any) -> None:
        visible = tensor_of(visible, "visible")
        if visible.ndim not in (1, 2):
            raise ValueError(
                f"visible must have shape (n_components,) or (n_samples, n_components), got "
                f"{tuple(visible.shape)}."
            )
        if visible.is_complex() or not bool(((visible == 0) | (visible == 1)).all()):
            raise ValueError("visible must be boolean or hold zeros and ones only.")
        self.visible = visible.bool()
        self.per_sample = visible.ndim == 2
        self.n_components = self.n_features = visible.shape[-1]

    def __call__(self, x: Tensor) -> Tensor:
        return torch.where(self.visible, x, 0)

    def adjoint(self, r: Tensor) -> Tensor:
        return torch.where(self.visible, r, 0)

    @property
    def like(self) -> Tensor:
        """Nothing, in float64, where the mask is."""
        return torch.empty(0, dtype=torch.float64, device=self.visible.device)

    def lipschitz(self) -> Tensor:
        return self.visible.any(-1, keepdim=self.per_sample).to(self.like)

    def take(self, rows: Tensor | slice) -> Mask:
        return Mask(self.visible[rows]) if self.per_sample else self

    def to(self, like: Tensor) -> Mask:
        # The dtype is that of the data; only the mask has a place.
        same = like.device == self.visible.device
        return self if same else Mask(self.visible.to(like.device))

    def solve_normal(self, r: Tensor, rho: Tensor | float) -> Tensor:
        return r / (self.visible + check_rho(rho, r))

    def consistent(self, b: Tensor, x: Tensor) -> Tensor:
        return torch.where(self.visible, b, x)


@torch.no_grad()
def smooth_fill(
    b: Tensor,
    visible: Tensor,
    image_shape: tuple[int, ...],
    *,
    order: int = 2,
    tol: float = 1e-3,
    max_iter: int = 200,
) -> Tensor:
    """Fill pictures: ``L^order x = 0`` where nothing is seen, ``x = b`` elsewhere.

    L is the Laplacian of the grid of pixels with reflecting borders; order 1 is the
    harmonic, order 2 the biharmonic equation. By conjugate gradients from the mean of what is
    seen; rows of which nothing is seen become zero.

    Parameters
    ----------
    b : Tensor of shape (n_samples, n_components)
        Flattened pictures; what they hold where nothing is seen does not matter.
    visible : bool Tensor of shape (n_components,) or (n_samples, n_components)
        Which entries are seen.
    image_shape : tuple of (int, int) or (int, int, int)
        Height and width of the pictures, and the number of channels, which are filled one by one.
    order : {1, 2}, default=2
        Power of the Laplacian.
    tol : float, default=1e-3
        Norm of the residual at which to stop, relative to the first one.
    max_iter : int, default=200
        Largest number of iterations.

    Returns
    -------
    Tensor of shape (n_samples, n_components)
        Complete pictures, not clipped.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import smooth_fill
    >>> row = torch.tensor([[0.0, 9.0, 9.0, 3.0]])
    >>> smooth_fill(row, torch.tensor([True, False, False, True]), (1, 4), order=1)
    tensor([[0., 1., 2., 3.]])
    """
    visible = visible.expand(b.shape)
    grid = (len(b), *image_shape, 1)[:4]

    def laplace(x: Tensor) -> Tensor:
        pictures = x.reshape(grid)
        out = torch.zeros_like(pictures)
        for axis in (1, 2):
            step = pictures.diff(dim=axis)
            size = step.shape[axis]
            out.narrow(axis, 0, size).sub_(step)
            out.narrow(axis, 1, size).add_(step)
        return out.reshape(x.shape)

    def apply(x: Tensor) -> Tensor:
        for _ in range(order):
            x = laplace(x)
        return torch.where(visible, 0, x)

    seen = torch.where(visible, b, 0)
    mean = seen.sum(1, keepdim=True) / visible.sum(1, keepdim=True).clamp_min(1)
    x = torch.where(visible, b, mean)
    r = -apply(x)
    goal = tol**2 * r.square().sum(1, keepdim=True)
    return descend(apply, x, r, goal, max_iter)[0]
