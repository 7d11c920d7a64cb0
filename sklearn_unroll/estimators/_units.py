"""Between the user's units and the network's: norms of atoms, sizes of observations."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.functional import (
    L1,
    Convolution,
    Dense,
    GroupL1,
    Observation,
    Operator,
    group_norms,
)
from sklearn_unroll.functional.rows import Rows, blocks


class Units(NamedTuple):
    """What a network's codes are divided or multiplied by; None where units are the same.

    Parameters
    ----------
    atoms : Tensor of shape (n_components,) or None
        Norms of the atoms, which the network sees with norm one.
    samples : Tensor of shape (n_samples, 1) or None
        Norms of the observations relative to the norm that the network sees.
    """

    atoms: Tensor | None
    samples: Tensor | None

    def inside(self, obs: Observation) -> Observation:
        """Return data and operator in the network's units; what knows more stays as it is."""
        if self.atoms is None and self.samples is None:
            return obs
        b = obs.b if self.samples is None else obs.b / self.samples
        return Observation(b, self.operator(obs.A))

    def operator(self, A: Operator) -> Operator:
        """Return the operator in the network's units."""
        if self.atoms is None:
            return A
        return (
            A.divided(self.atoms)
            if isinstance(A, Convolution)
            else Dense(A.D / self.atoms[:, None])
        )

    def enter(self, codes: Tensor) -> Tensor:
        """Return codes in the network's units."""
        codes = codes if self.atoms is None else codes * self.atoms
        return codes if self.samples is None else codes / self.samples

    def leave(self, codes: Tensor) -> Tensor:
        """Return the network's codes in the user's units."""
        codes = codes if self.atoms is None else codes / self.atoms
        return codes if self.samples is None else codes * self.samples

    def take(self, rows: slice | Tensor) -> Units:
        """Return the units of some samples."""
        return self if self.samples is None else self._replace(samples=self.samples[rows])

    def rows_inside(self, obs: Observation) -> Observation:
        """Return data and operator in the network's units, data a few rows at a time."""
        if self.samples is None:
            return Observation(obs.b, self.operator(obs.A))
        b = Rows(lambda rows: obs.b[rows] / self.samples[rows], obs.b.shape, self.samples)
        return Observation(b, self.operator(obs.A))

    def rows_enter(self, codes: Tensor | Rows) -> Tensor | Rows:
        """Return codes in the network's units, a few rows at a time."""
        if self.atoms is None and self.samples is None:
            return codes
        like = codes.new_empty(0)
        return Rows(lambda rows: self.take(rows).enter(codes[rows]), codes.shape, like)

    def weight(self, alpha: float) -> Tensor | float:
        """Return the weights of the l1 norm in the user's units: numbers for which it is
        ``alpha ||z||_1`` in the network's, but for a factor of each sample.
        """
        if self.samples is None:
            return alpha if self.atoms is None else alpha * self.atoms
        return alpha * self.samples * (1 if self.atoms is None else self.atoms)


class Scale(NamedTuple):
    """The sizes of what pairs are made of, so that the network sees numbers of size one.

    Parameters
    ----------
    atoms : float
        Root mean square norm of the atoms; one where the network sees each with norm one.
    codes : float
        Root mean square of the nonzeros of the codes, of atoms and observations of that size.
    """

    atoms: float
    codes: float


def scale_of(
    codes: Tensor | Rows,
    A: Operator,
    relative: Tensor,
    weight: Tensor | None,
    norms: Tensor | None,
) -> Scale:
    """Return the sizes in pairs of a dictionary.

    Parameters
    ----------
    codes : Tensor or Rows of shape (n_samples, n_components)
        Codes, in the user's units.
    A : Operator
        The operator; Dense where there are no norms.
    relative : Tensor of shape (n_samples, 1)
        Norms of the observations relative to their mean.
    weight : Tensor of shape (n_samples,) or None
        Weights of the samples.
    norms : Tensor of shape (n_components,) or None
        Norms of the atoms, where the network sees each with norm one.
    """

    def inside(rows: slice) -> Tensor:
        z = (codes[rows] / relative[rows]).double()
        return z if norms is None else z * norms

    # Squares of numbers of size one, whatever the units.
    peak = max(float(inside(rows).abs().max()) for rows in blocks(codes)) or 1.0
    count = energy = 0.0
    for rows in blocks(codes):
        z = inside(rows) / peak
        w = torch.ones_like(z[:, 0]) if weight is None else weight[rows].double()
        count += float((w @ (z != 0).double()).sum())
        energy += float((w @ z.square()).sum())
    size = peak * math.sqrt(energy / count) if count else 0.0
    atoms = (
        1.0
        if norms is not None
        else float(safe_norms(A.D.flatten(0, -2)).double().square().mean()) ** 0.5
    )
    return Scale(atoms or 1.0, size * (atoms or 1.0) or 1.0)


def scale_of_pictures(codes: Tensor | Rows, relative: Tensor, weight: Tensor | None) -> Scale:
    """Return the largest number in pairs of any operator, which itself stays as it is.

    Parameters
    ----------
    codes, relative, weight : object
        As for ``scale_of``.
    """
    size = 0.0
    for rows in blocks(codes):
        z = codes[rows] / relative[rows]
        z = z if weight is None else z[weight[rows] > 0]
        size = max(size, float(z.abs().max()) if len(z) else 0.0)
    return Scale(1.0, size or 1.0)


def norms_of(A: Dense | Convolution, groups: GroupL1 | None = None) -> Tensor:
    """Return the norms of the atoms; of kernels, wherever they lie, those of the whole ones."""
    if isinstance(A, Convolution):
        return A.kernels.flatten(1).norm(dim=1).repeat_interleave(A.n_positions)
    return atom_norms(A.D, groups)


def atom_norms(D: Tensor, groups: GroupL1 | None = None) -> Tensor:
    """Return the norms of the atoms; one where an estimated atom is never active.

    Of groups each atom gets the root mean square: so the norm of their codes stays a norm of that
    kind, times a factor.
    """
    norms = D.norm(dim=1)
    if groups is not None:
        labels = groups.labels(norms[None])
        share = labels.bincount().to(norms).rsqrt()[labels]
        norms = group_norms(norms[None] * share, labels)[0, labels]
    return torch.where(norms > 0, norms, torch.ones_like(norms))


def mean_norm(b: Tensor | Rows, weight: Tensor | None) -> float:
    """Return the mean norm of observations, one where all are zero."""
    norms = safe_norms(b)[:, 0].double()
    weight = torch.ones_like(norms) if weight is None else weight.double()
    return float((weight * norms).sum() / weight.sum()) or 1.0


def relative_norms(b: Tensor | Rows, norm: float) -> Tensor:
    """Return the norms of observations relative to one; one where they are zero."""
    norms = safe_norms(b) / norm
    return torch.where(norms > 0, norms, torch.ones_like(norms))


def safe_norms(b: Tensor | Rows) -> Tensor:
    """Return the norms of rows, of shape (n_samples, 1), whose squares may leave the range."""
    # Into one tensor: small ones that stay would keep the memory of blocks from being used again.
    norms = b.new_empty(len(b), 1)
    for rows in blocks(b):
        norms[rows] = _safe_norms(b[rows])
    return norms


def _safe_norms(b: Tensor) -> Tensor:
    peak = b.abs().amax(1, keepdim=True).clamp_min(torch.finfo(b.dtype).tiny)
    return (b / peak).norm(dim=1, keepdim=True) * peak


def relative_alphas(obs: Observation, R: L1 | GroupL1) -> Tensor:
    """Return each sample's alpha from which on its codes are zero, of shape (n_samples, 1)."""
    largest = torch.cat([R.dual_norm(part.A.adjoint(part.b)) for _, part in obs.chunks()])[:, None]
    return torch.where(largest > 0, largest, torch.ones_like(largest))
