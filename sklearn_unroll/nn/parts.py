"""What the parts of a layer say of each other, the weights among them, and their tying.

Every weight starts as the classical algorithm, a gradient step of length ``1 / L``, or as an
analytic weight, which needs no training. One module in several layers ties them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sklearn_unroll.functional import (
    Dense,
    Observation,
    Operator,
    adapted_step,
    adjoint_step,
    coupled_step,
    free_step,
)

__all__ = [
    "AdaptedWeights",
    "AdjointWeights",
    "Affine",
    "CoupledWeights",
    "FreeWeights",
    "Part",
    "Weights",
]

# What a part may need: of which part, and how to say it.
_NEEDS = {
    "correction": ("weights", "weights with a correction, such as CoupledWeights"),
    "step": ("weights", "weights that take a step, such as CoupledWeights"),
    "gamma": ("rule", "a rule with a step (gamma), such as LearnedStep"),
    "threshold": ("rule", "a rule that gives a threshold, such as LearnedRule"),
    "variance": ("rule", "a rule that gives the variance of the error, as ErrorVarianceRule does"),
    "count": ("rule", "a rule that gives a support count, such as LearnedRule"),
    "entries": ("shrinkage", "a shrinkage of each entry by itself, such as SoftThreshold"),
    "memory": ("layer", "a layer that keeps a rule's memory, such as ProxGradLayer"),
}


class Part:
    """A part of a layer: weights, rule or shrinkage.

    ``needs`` and ``offers`` name what it asks of the others and what they may ask of it:
    "correction" and "step" of weights, "gamma", "threshold", "variance" and "count" of a rule,
    "entries" of a shrinkage, "memory" of the layer. Callables and modules that are no Part are
    taken as they are.
    """

    needs: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()


def check_parts(**parts: Any) -> None:
    """Raise ValueError if a part of a layer needs what another one does not offer.

    Given ``layer``, ``weights``, ``rule`` and ``shrinkage``.
    """
    declared = {kind: part for kind, part in parts.items() if isinstance(part, Part)}
    for part in declared.values():
        for need in part.needs:
            kind, words = _NEEDS[need]
            if kind in declared and need not in declared[kind].offers:
                raise ValueError(
                    f"{type(part).__name__} needs {words}; got {type(declared[kind]).__name__}."
                )


def speaks(part: Any, declaration: str, *runs: str) -> bool:
    """Return whether what a part declares is about what it runs: nothing has been put over it.

    A subclass, an instance or a hook may have changed one of ``runs`` and not the declaration.
    """
    if getattr(part, "_forward_hooks", None) or getattr(part, "_forward_pre_hooks", None):
        return False
    if any(name in vars(part) for name in runs):
        return False
    for cls in type(part).__mro__:
        if declaration in vars(cls):
            return True
        if any(name in vars(cls) for name in runs):
            return False
    return False


class Affine(NamedTuple):
    """What weights do, as matrices: ``x + gamma (P b - M x)``, or ``x + gamma P (b - A x)``.

    Parameters
    ----------
    P : Tensor of shape (n_components, n_features)
        The matrix on data, or on residuals.
    M : Tensor of shape (n_components, n_components) or None
        The matrix on codes; None where P acts on residuals, so that it is ``P A``.
    """

    P: Tensor
    M: Tensor | None = None


class Weights(Part, nn.Module):
    """Maps (x, obs, gamma) to the point to shrink, where gamma is the rule's step or None."""

    def affine(self, A: Dense) -> Affine | None:
        """Return what they do, for one operator for all samples; default: None, it is not known.

        A sparse run asks for it, see :mod:`sklearn_unroll.nn.sparse`.

        Parameters
        ----------
        A : Dense
            The operator.

        Returns
        -------
        Affine or None
            The matrices.
        """
        return None

    def follow_(self, factor: float) -> tuple[str, ...]:
        """Multiply the length of a learned step in place, for an operator of another norm.

        Parameters
        ----------
        factor : float
            L of the operator so far over that of the new one.

        Returns
        -------
        tuple of str
            What of the rule to multiply, too: ``"theta"``, and ``"gamma"`` where that is the
            length of the step. By default nothing, as of weights computed from the operator.
        """
        return ()


class FreeWeights(Weights):
    """``W1 b + W2 x``, both learned; starts at ``W2 = I - W1 A``.

    Parameters
    ----------
    A : Dense
        The operator shared by all samples.
    W1 : Tensor of shape (n_components, n_features)
        First value: ``A^T / L`` makes a gradient step.
    """

    def __init__(self, A: Dense, W1: Tensor) -> None:
        super().__init__()
        eye = torch.eye(A.n_components, dtype=W1.dtype, device=W1.device)
        self.W1 = nn.Parameter(W1)
        self.W2 = nn.Parameter(torch.addmm(eye, W1, A.D.T, alpha=-1))

    def forward(self, x: Tensor, obs: Observation, gamma: None = None) -> Tensor:
        """Return the point to shrink, :func:`~sklearn_unroll.functional.free_step`."""
        return free_step(x, obs, self.W1, self.W2)

    def affine(self, A: Dense) -> Affine:
        """Return ``W1`` and ``I - W2``."""
        eye = torch.eye(len(self.W2), dtype=self.W2.dtype, device=self.W2.device)
        return Affine(self.W1, eye - self.W2)

    def follow_(self, factor: float) -> tuple[str, ...]:
        """Multiply ``W1`` and ``I - W2``."""
        self.W1.mul_(factor)
        self.W2.mul_(factor).diagonal().add_(1 - factor)
        return ("theta",)


class CoupledWeights(Weights):
    """``x + gamma W (b - A x)``, learned or fixed.

    Parameters
    ----------
    W : Tensor of shape (n_components, n_features) or Operator
        First value, or the value: ``A^T / L`` makes a gradient step. Of an operator, such as
        :func:`~sklearn_unroll.functional.convolution_weight`, the adjoint is applied.
    learn : bool, default=True
        Whether W is a parameter; an analytic weight is not, nor can an operator be.

    Raises
    ------
    ValueError
        If an operator is to be learned.
    """

    offers = ("step", "correction")

    def __init__(self, W: Tensor | Operator, learn: bool = True) -> None:
        super().__init__()
        if isinstance(W, Operator):
            if learn:
                raise ValueError(
                    f"W is a {type(W).__name__}, but only a matrix can be learned: learn=False."
                )
            self.W = W
        elif learn:
            self.W = nn.Parameter(W.clone())
        else:
            self.register_buffer("W", W.clone())

    def _apply(self, fn: Any, recurse: bool = True) -> CoupledWeights:
        # An operator is no buffer, but goes where the module's tensors go.
        if isinstance(self.W, Operator):
            self.W = self.W.to(fn(self.W.like))
        return super()._apply(fn, recurse)

    def forward(self, x: Tensor, obs: Observation, gamma: Tensor | None = None) -> Tensor:
        """Return the point to shrink, :func:`~sklearn_unroll.functional.coupled_step`.

        Without gradients ``x`` is overwritten, as the contract of a layer allows.
        """
        if isinstance(self.W, Operator):
            correction = self.correction(x, obs)[1]
            return x + (correction if gamma is None else gamma * correction)
        r = obs.residual(x)
        overwritten = None if torch.is_grad_enabled() else x
        return coupled_step(x, r, self.W, gamma, out=overwritten)

    def correction(self, x: Tensor, obs: Observation) -> tuple[Tensor, Tensor]:
        """Return ``r = b - A x`` and ``W r``, for rules that look before they step.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_components)
            The iterate.
        obs : Observation
            Data and operator.

        Returns
        -------
        tuple of Tensor
            Of shapes (n_samples, n_features) and (n_samples, n_components).
        """
        r = obs.residual(x)
        if isinstance(self.W, Operator):
            return r, self.W.to(r).adjoint(r)
        return r, r @ self.W.T

    def affine(self, A: Dense) -> Affine | None:
        """Return W, on residuals; None of an operator."""
        return None if isinstance(self.W, Operator) else Affine(self.W)

    def follow_(self, factor: float) -> tuple[str, ...]:
        """Multiply W where it is learned."""
        if not isinstance(self.W, nn.Parameter):
            return ()
        self.W.mul_(factor)
        return ("theta",)


class AdjointWeights(Weights):
    """``x + gamma A^T (b - A x)``: nothing to learn but the step."""

    needs, offers = ("gamma",), ("step",)

    def forward(self, x: Tensor, obs: Observation, gamma: Tensor) -> Tensor:
        """Return the point to shrink, :func:`~sklearn_unroll.functional.adjoint_step`."""
        return adjoint_step(x, obs, gamma)

    def affine(self, A: Dense) -> Affine:
        """Return ``A^T``, on residuals."""
        return Affine(A.D)

    def follow_(self, factor: float) -> tuple[str, ...]:
        """Leave it to the rule, whose step it is."""
        return "theta", "gamma"


class AdaptedWeights(Weights):
    """``x + gamma A^T (W2^T b - W1^T W1 A x)``: learned for a family of operators, not for one.

    Both weights act on signals and start as the identity, a gradient step, so that the
    operator may differ from sample to sample.

    Parameters
    ----------
    A : Dense
        Any operator of the family; sets shape, dtype and device.
    """

    needs, offers = ("gamma",), ("step",)

    def __init__(self, A: Dense) -> None:
        super().__init__()
        eye = torch.eye(A.n_features, dtype=A.D.dtype, device=A.D.device)
        self.W1 = nn.Parameter(eye)
        self.W2 = nn.Parameter(eye.clone())

    def forward(self, x: Tensor, obs: Observation, gamma: Tensor) -> Tensor:
        """Return the point to shrink, :func:`~sklearn_unroll.functional.adapted_step`."""
        return adapted_step(x, obs, self.W1, self.W2, gamma)

    def affine(self, A: Dense) -> Affine:
        """Return ``A^T W2^T`` and ``A^T W1^T W1 A``."""
        seen = A.D @ self.W1.T
        return Affine(A.D @ self.W2.T, seen @ seen.T)

    def follow_(self, factor: float) -> tuple[str, ...]:
        """Leave it to the rule, whose step it is."""
        return "theta", "gamma"
