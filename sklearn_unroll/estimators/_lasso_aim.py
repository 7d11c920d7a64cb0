"""What the codes of a lasso are to meet, sample by sample, in units that no square leaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.estimators._missing import atoms_of, behind_mask
from sklearn_unroll.estimators._validation import check_alpha, check_bound
from sklearn_unroll.functional import Dense, Observation, Operator
from sklearn_unroll.functional.problems import peak_of
from sklearn_unroll.functional.rows import Rows
from sklearn_unroll.solvers._samples import Products, products_of

_LEAST_ALPHA = 1e-13  # relative to the smallest alpha whose code is zero
_NEAR_ONE = 2.0**8  # size of atoms, up to which no square of theirs is far from one
_NUMBERS = 2**19  # in the codes that are solved at a time on the CPU: float64 stays small


class Aim(NamedTuple):
    """A weight of the l1 norm, the largest squared error, or the largest l1 norm."""

    name: str  # alpha, error or l1_radius
    value: Tensor  # (n_samples,) or (n_targets, n_samples), in float64
    relative: bool = False  # whether alpha is a fraction of the smallest with zero codes

    def take(self, rows: Tensor) -> Aim:
        """Return those of some samples."""
        return self._replace(value=self.value[..., rows])


class Chunk(NamedTuple):
    """Some samples, and of those whose codes are not zero what a solver needs."""

    rows: slice  # all of them
    alpha: Tensor  # (..., n_samples), of zero codes, in the user's units
    live: Tensor  # the numbers of those with others
    obs: Observation  # of size one
    aim: Aim
    l2: Tensor
    products: Products | None  # what is looked up, for solvers that are compiled
    out: Tensor  # (n_samples, 1), by which codes are multiplied
    unit: Tensor  # (n_samples,), by which alpha is


def aim_of(coder: Any, n_samples: int, device: torch.device, **given: Any) -> Aim:
    """Return what is aimed at: what a method was given, or else what the coder has.

    Parameters
    ----------
    coder : LassoCoder
        Its parameters.
    n_samples : int
        Number of samples.
    device : torch.device
        Where to compute.
    **given : object
        alpha, error and l1_radius, as the method got them.
    """
    names = [name for name, value in given.items() if value is not None]
    if not names:
        given = {"alpha": coder.alpha, "error": coder.error, "l1_radius": coder.l1_radius}
        names = [name for name in ("error", "l1_radius") if given[name] is not None] or ["alpha"]
    if len(names) > 1:
        raise ValueError(f"Only one of {' and '.join(names)} can be met at a time; got both.")
    name = names[0]
    if name == "alpha" and given[name] is coder.alpha and coder.alpha > 0:  # checked in fit
        value = torch.full((n_samples,), float(coder.alpha), dtype=torch.float64, device=device)
        return Aim(name, value, coder.alpha_relative)
    if name == "alpha":
        value = check_alpha(given[name], n_samples, device, zero=coder.positive)
        return Aim(name, value, coder.alpha_relative)
    if coder.l2:
        raise ValueError(f"l2={coder.l2} goes with alpha, not with {name}: use l2=0.")
    return Aim(name, check_bound(name, given[name], n_samples, device))


def chunks(
    b: Tensor | Rows, A: Operator, aim: Aim, l2: Tensor, positive: bool, compiled: bool
) -> Iterator[Chunk]:
    """Yield samples, a few at a time.

    Atoms and each observation are brought to size one by powers of two, which round nothing: no
    square leaves the range, and codes do not depend on units.
    """
    atoms, dictionary = torch.ones_like(l2[:1]), atoms_of(A)
    if isinstance(dictionary, Dense):  # an operator that is applied stays as it is
        low, high = dictionary.D.aminmax()
        atoms = power_of_two(torch.maximum(high, -low)[None])
        if not 1 / _NEAR_ONE <= float(atoms) <= _NEAR_ONE:
            A, l2 = behind_mask(A, Dense(dictionary.D / atoms)), l2 / atoms.square()
        else:  # a copy would change nothing but exponents
            atoms = torch.ones_like(atoms)
    products = None
    if compiled and isinstance(A, Dense):  # behind a mask every sample has others
        products = products_of(A.D, len(b), b.dtype == torch.float32)
    n_rows = max(_NUMBERS // A.n_components, 1) * (1 if b.device.type == "cpu" else 32)
    for first in range(0, len(b), n_rows):
        rows = slice(first, min(first + n_rows, len(b)))
        part, value = b[rows].double(), aim.value[..., rows]
        size = power_of_two(part.abs().amax(1, keepdim=True))
        obs, scale = Observation(part / size, A.take(rows)), size[:, 0]
        q, unit = obs.A.adjoint(obs.b), scale * atoms
        peak = peak_of(q, positive)
        if aim.name == "alpha":
            scaled = value * peak if aim.relative else value / unit
            # Below this alpha is lost in rounding, and its inverse would be, too; zero is not.
            least = torch.where(scaled > 0, _LEAST_ALPHA * peak, 0.0)
            scaled = torch.maximum(scaled, least)
            live = peak > scaled
            alpha = scaled * unit if aim.relative else value
        elif aim.name == "error":
            scaled = value / scale / scale
            live = obs.b.square().sum(1) > scaled  # of some no code is nearer than zero
            alpha = peak * unit
        else:
            scaled = value / scale * atoms
            live, alpha = (peak > 0).expand_as(value), peak * unit
        here = (live if live.ndim == 1 else live.any(0)).nonzero()[:, 0]
        if len(here) < len(part):
            obs, q, scaled = obs.take(here), q[here], scaled[..., here]
        yield Chunk(
            rows, alpha, first + here, obs, Aim(aim.name, scaled), l2,
            None if products is None else products._replace(q=q), size[here] / atoms, unit[here],
        )  # fmt: skip


def power_of_two(peak: Tensor) -> Tensor:
    """Return the power of two below each of some magnitudes, or one where that is zero."""
    ones = torch.ones_like(peak)
    return torch.ldexp(ones, torch.frexp(torch.where(peak > 0, peak, ones)).exponent - 1)
