"""Learning a dictionary: what its update has to know of codes, and the update, atom by atom."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sklearn_unroll.functional._compiled import compiled, compiled_available
from sklearn_unroll.solvers._atom_loops import accumulate, descend_block

__all__ = ["DictionaryStatistics", "update_atoms"]

_BLOCK = 64  # atoms, whose slopes come from one product with all
_COMPILED_FROM = 2**20  # multiplications of a batch, for which numba is loaded (0.4 s)


@dataclass(frozen=True, eq=False)
class DictionaryStatistics:
    """Sums over samples and their codes, all that the update of a dictionary has to know.

    They make the surrogate ``sum_i w_i (0.5 ||x_i - z_i D||^2 + R(z_i))`` of any dictionary D
    (Mairal, Bach, Ponce and Sapiro 2009, Eq. 6, where ``gram`` is A and ``cross`` is B
    transposed). Statistics of two sets of samples add up to those of both, and can be pickled,
    so that several processes may share the work; times a number they forget.

    Parameters
    ----------
    gram : Tensor of shape (n_components, n_components)
        ``sum w z^T z``, of codes with codes, and what :meth:`tilted` adds.
    cross : Tensor of shape (n_components, n_features)
        ``sum w z^T x``, of codes with signals, likewise.
    energy : float
        ``sum w 0.5 ||x||^2``, the objective of zero codes.
    penalty : float
        ``sum w R(z)``, likewise.
    weight : float
        ``sum w``, the number of samples where each counts one.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.solvers import DictionaryStatistics
    >>> X, Z = torch.eye(4, dtype=torch.float64), torch.ones(4, 2, dtype=torch.float64)
    >>> halves = [DictionaryStatistics.of(Z[rows], X[rows]) for rows in (slice(2), slice(2, 4))]
    >>> sum(halves).gram
    tensor([[4., 4.],
            [4., 4.]], dtype=torch.float64)
    """

    gram: Tensor
    cross: Tensor
    energy: float = 0.0
    penalty: float = 0.0
    weight: float = 0.0

    @classmethod
    def zeros(cls, n_components: int, n_features: int) -> DictionaryStatistics:
        """Return the statistics of no sample.

        Parameters
        ----------
        n_components, n_features : int
            Shape of the dictionary.

        Returns
        -------
        DictionaryStatistics
            Zeros in float64.
        """
        gram = torch.zeros(n_components, n_components, dtype=torch.float64)
        return cls(gram, gram.new_zeros(n_components, n_features))

    @classmethod
    def of(
        cls,
        codes: Tensor,
        signals: Tensor,
        weight: Tensor | None = None,
        penalty: Tensor | None = None,
    ) -> DictionaryStatistics:
        """Return the statistics of samples.

        Parameters
        ----------
        codes : Tensor of shape (n_samples, n_components)
            Codes.
        signals : Tensor of shape (n_samples, n_features)
            Signals.
        weight : Tensor of shape (n_samples,), default=None
            Weights of samples, one by default.
        penalty : Tensor of shape (n_samples,), default=None
            Penalties of codes, zero by default.

        Returns
        -------
        DictionaryStatistics
            In float64, on the CPU.
        """
        Z, X = (t.detach().cpu().contiguous() for t in (codes, signals.double()))
        w = torch.ones(len(X), dtype=torch.float64)
        w = w if weight is None else weight.detach().cpu().double().contiguous()
        made = cls.zeros(Z.shape[1], X.shape[1])
        if Z.is_floating_point() and _pays(Z.numel() * sum(made.cross.shape)):
            tensors = (Z, X, w, made.gram, made.cross)
            compiled(accumulate)(*(tensor.numpy() for tensor in tensors))
        else:
            Z = Z.double()
            weighted = (w[:, None] * Z).T
            torch.mm(weighted, Z, out=made.gram)
            torch.mm(weighted, X, out=made.cross)
        energy = 0.5 * float(w @ X.square().sum(1))
        paid = 0.0 if penalty is None else float(w @ penalty.detach().cpu().double())
        return cls(made.gram, made.cross, energy, paid, float(w.sum()))

    def __add__(self, other: DictionaryStatistics) -> DictionaryStatistics:
        """Return the statistics of the samples of both."""
        return DictionaryStatistics(*(mine + theirs for mine, theirs in self._pairs(other)))

    def __radd__(self, other: int) -> DictionaryStatistics:
        """Return these: ``sum`` starts from the number zero."""
        return self if other == 0 else NotImplemented

    def __mul__(self, factor: float) -> DictionaryStatistics:
        """Return the statistics where every sample counts ``factor`` times as much."""
        return DictionaryStatistics(*(factor * mine for mine, _ in self._pairs(self)))

    def _pairs(self, other: DictionaryStatistics):
        if not isinstance(other, DictionaryStatistics):
            raise TypeError(f"statistics add to statistics, not to {type(other).__name__}.")
        if self.cross.shape != other.cross.shape:
            raise ValueError(
                f"these statistics belong to dictionaries of different shapes, "
                f"{tuple(self.cross.shape)} and {tuple(other.cross.shape)}."
            )
        return [(vars(self)[name], vars(other)[name]) for name in vars(self)]

    def tilted(self, D: Tensor, slope: Tensor) -> DictionaryStatistics:
        """Return statistics whose surrogate has the same value at D, and a slope that is added.

        ``surrogate(E) + sum_j <s_j, e_j - d_j> + 0.5 ||s_j|| ||e_j - d_j||^2``: a slope s_j alone
        moves no atom by more than one, the radius of the unit ball, however flat the rest is.
        Codes that are no minimisers change with the dictionary, and the objective along with
        them: ``slope = sum_i w_i (dz_i / dD)^T g_i``, where g is the derivative of a sample's
        objective by its codes. It is the gradient of unrolling less that of alternating
        minimisation in Malezieux, Moreau and Kowalski 2022, "Understanding approximate and
        unrolled dictionary learning for pattern recovery".

        Parameters
        ----------
        D : Tensor of shape (n_components, n_features)
            The dictionary that the codes belong to.
        slope : Tensor of shape (n_components, n_features)
            What to add to the derivative ``gram D - cross``.

        Returns
        -------
        DictionaryStatistics
            With another ``cross`` and diagonal of ``gram``, and what keeps the value.
        """
        slope, D = slope.to(self.cross), D.to(self.cross)
        bend = torch.linalg.vector_norm(slope, dim=1)
        gram = self.gram + torch.diag(bend)
        cross = self.cross - slope + bend[:, None] * D
        kept = 0.5 * float(bend @ D.square().sum(1)) - float((slope * D).sum())
        return replace(self, gram=gram, cross=cross, penalty=self.penalty + kept)

    def value(self, D: Tensor) -> float:
        """Return the surrogate per sample, exact for the dictionary that the codes belong to.

        Parameters
        ----------
        D : Tensor of shape (n_components, n_features)
            A dictionary.

        Returns
        -------
        float
            ``mean (0.5 ||x - z D||^2 + R(z))`` over the samples, with their weights.
        """
        D = D.to(self.cross)
        fit = 0.5 * float(((self.gram @ D) * D).sum()) - float((self.cross * D).sum())
        return (self.energy + fit + self.penalty) / self.weight


def update_pays(D: Tensor) -> bool:
    """Return whether numba is loaded for one update of a dictionary."""
    return _pays(len(D) * D.numel())


def _pays(n_multiplications: int) -> bool:
    return n_multiplications >= _COMPILED_FROM and compiled_available()


@torch.no_grad()
def update_atoms(
    D: Tensor, statistics: DictionaryStatistics, *, positive: bool = False, n_passes: int = 1
) -> Tensor:
    """Return ``d_j <- u_j / max(||u_j||, 1)`` with ``u_j = d_j + (b_j - a_j D) / a_jj``, in turn.

    Block coordinate descent on the surrogate of the statistics (Mairal, Bach, Ponce and Sapiro
    2009, Algorithm 2): every atom goes to its minimum in the unit ball, which never raises the
    surrogate. Atoms that no code uses stay where they are.

    Parameters
    ----------
    D : Tensor of shape (n_components, n_features)
        Atoms, one a row.
    statistics : DictionaryStatistics
        Sums ``a`` of codes with codes and ``b`` of codes with signals.
    positive : bool, default=False
        Whether atoms are nonnegative.
    n_passes : int, default=1
        Passes over the atoms.

    Returns
    -------
    Tensor of shape (n_components, n_features)
        The new atoms, in float64.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.solvers import DictionaryStatistics, update_atoms
    >>> X, Z = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0]])
    >>> update_atoms(torch.tensor([[1.0, 0.0]]), DictionaryStatistics.of(Z, X))
    tensor([[0., 1.]], dtype=torch.float64)
    """
    if D.shape != statistics.cross.shape:
        raise ValueError(
            f"D has shape {tuple(D.shape)}, but the statistics belong to a dictionary of shape "
            f"{tuple(statistics.cross.shape)}."
        )
    D = D.detach().cpu().double().clone(memory_format=torch.contiguous_format)
    descend_atoms(D, statistics, positive, n_passes, fast=update_pays(D))
    return D


def descend_atoms(
    D: Tensor, statistics: DictionaryStatistics, positive: bool, n_passes: int, fast: bool
) -> None:
    """Overwrite contiguous atoms in float64 by the updated ones; ``fast`` needs numba."""
    gram, cross = statistics.gram, statistics.cross
    if fast:
        for first in [*range(0, len(D), _BLOCK)] * n_passes:
            rows = slice(first, first + _BLOCK)
            slope, own = cross[rows] - gram[rows] @ D, gram[rows, rows].contiguous()
            compiled(descend_block)(D.numpy()[rows], own.numpy(), slope.numpy(), positive)
        return
    for atom in [*(gram.diagonal() > 0).nonzero()[:, 0].tolist()] * n_passes:
        u = D[atom] + (cross[atom] - gram[atom] @ D) / gram[atom, atom]
        u = u.clamp_min(0) if positive else u
        D[atom] = u / torch.linalg.vector_norm(u).clamp_min(1)
