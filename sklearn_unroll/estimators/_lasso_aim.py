"""What the codes of a lasso are to meet, sample by sample, in units that no square leaves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.estimators._missing import atoms_of, behind_mask
from sklearn_unroll.estimators._validation import check_alpha, check_bound
from sklearn_unroll.functional import Dense, Observation, Operator, lasso_value
from sklearn_unroll.functional.problems import peak_of
from sklearn_unroll.functional.rows import Rows
from sklearn_unroll.solvers._samples import Products, products_of

_LEAST_ALPHA = 1e-13  # relative to the smallest alpha whose code is zero
_NEAR_ONE = 2.0**8  # size of atoms, up to which no square of theirs is far from one
_FAR = 1e8  # objective of a start relative to that of zeros, from which on it is of no use
_NUMBERS = 2**19  # in the codes that are solved at a time on the CPU: float64 stays small


class Aim(NamedTuple):
    """A weight of the l1 norm, the largest squared error, or the largest l1 norm."""

    name: str  # alpha, error or l1_radius
    value: Tensor  # (n_samples,) or (n_targets, n_samples), in float64
    relative: bool = False  # whether alpha is a fraction of the smallest with zero codes

    def take(self, rows: Tensor | slice) -> Aim:
        """Return those of some samples."""
        return self._replace(value=self.value[..., rows])


class Found(NamedTuple):
    """Codes of all samples, with alpha and certificates, in the user's units."""

    x: Tensor
    alpha: Tensor
    gap: Tensor
    n_iter: Tensor
    converged: Tensor


class How(NamedTuple):
    """The lasso at hand, but for data and weight, and how to solve it."""

    solver: str
    positive: bool
    l2: Tensor  # (n_components,)
    tol: float
    max_iter: int
    dtype: torch.dtype = torch.float64  # that codes will be rounded to


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
    b: Tensor | Rows, A: Operator, aim: Aim, l2: Tensor, positive: bool, compiled: bool = False
) -> Iterator[Chunk]:
    """Yield samples, a few at a time.

    Atoms and each observation are brought to size one by powers of two, which round nothing: no
    square leaves the range, and codes do not depend on units.
    """
    dictionary, atoms = atoms_of(A), 1.0
    if isinstance(dictionary, Dense):  # an operator that is applied stays as it is
        D, l2, atoms = of_size_one(dictionary.D, l2)
        A = behind_mask(A, Dense(D))
    products = None
    if compiled and isinstance(A, Dense):  # behind a mask every sample has others
        products = products_of(A.D, len(b), b.dtype == torch.float32)
    n_rows = max(_NUMBERS // A.n_components, 1) * (1 if b.device.type == "cpu" else 32)
    for first in range(0, len(b), n_rows):
        rows = slice(first, min(first + n_rows, len(b)))
        part, value = b[rows].double(), aim.value[..., rows]
        size = power_of_two(part.abs().amax(1, keepdim=True))
        obs, scale = Observation(part / size, A.take(rows)), size[:, 0]
        q = obs.A.adjoint(obs.b)
        energy = obs.b.square().sum(1)
        given = value, peak_of(q, positive), energy, scale, atoms
        scaled, alpha, live = scaled_aim(torch, aim, *given)
        here = (live if live.ndim == 1 else live.any(0)).nonzero()[:, 0]
        if len(here) < len(part):
            obs, q, scaled = obs.take(here), q[here], scaled[..., here]
        yield Chunk(
            rows, alpha, first + here, obs, Aim(aim.name, scaled), l2,
            None if products is None else products._replace(q=q), size[here] / atoms,
            scale[here] * atoms,
        )  # fmt: skip


def scaled_aim(
    xp: Any, aim: Aim, value: Any, peak: Any, energy: Any, scale: Any, atoms: float
) -> tuple[Any, Any, Any]:
    """Return what is aimed at in the units of samples, and whether codes are not zero.

    Parameters
    ----------
    xp : module
        torch or numpy, whose arrays the next ones are.
    aim : Aim
        Its kind.
    value : array of shape (..., n_samples)
        Its values, in the user's units.
    peak, energy, scale : array of shape (n_samples,)
        Largest correlation and squared norm of samples of size one, and these sizes.
    atoms : float
        The size of atoms.

    Returns
    -------
    tuple of arrays, like value
        The aim, the alpha of zero codes in the user's units, and whether there are others.
    """
    if aim.name == "alpha":
        scaled = value * peak if aim.relative else value / (scale * atoms)
        # Below this alpha is lost in rounding, and its inverse would be, too; zero is not.
        scaled = xp.maximum(scaled, xp.where(scaled > 0, _LEAST_ALPHA * peak, 0.0))
        return scaled, scaled * (scale * atoms) if aim.relative else value, peak > scaled
    alpha = peak * (scale * atoms)
    if aim.name == "error":
        scaled = value / scale / scale
        return scaled, alpha, energy > scaled  # of others no code is nearer than zero
    scaled = value / scale * atoms
    return scaled, alpha, peak > 0


def of_size_one(D: Tensor, l2: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return atoms of size one, the ridge that they need, and their size."""
    low, high = D.aminmax()
    peak = max(float(high), -float(low))
    size = math.ldexp(1.0, math.frexp(peak)[1] - 1) if peak > 0 else 1.0
    if 1 / _NEAR_ONE <= size <= _NEAR_ONE:  # a copy would change nothing but exponents
        return D, l2, 1.0
    return D / size, l2 / size / size, size


def near(x0: Tensor, obs: Observation, alpha: Tensor) -> Tensor:
    """Return starts, zero in place of those so far away that their digits hide the data."""
    far = ~(lasso_value(x0, obs, alpha) <= _FAR * obs.b.square().sum(1))
    return torch.where(far[:, None], 0.0, x0)


def with_rounding(
    gap: Tensor, x: Tensor, rounded: Tensor, obs: Observation, alpha: Tensor, l2: Tensor
) -> Tensor:
    """Return the gaps of codes that are rounded: their value has moved, the dual point not."""

    def value(x: Tensor) -> Tensor:
        return lasso_value(x, obs, alpha) + 0.5 * (l2 * x.square()).sum(1)

    return (gap + (value(rounded) - value(x)) / (0.5 * obs.b.square().sum(1))).clamp_min(0)


def power_of_two(peak: Tensor) -> Tensor:
    """Return the power of two below each of some magnitudes, or one where that is zero."""
    ones = torch.ones_like(peak)
    return torch.ldexp(ones, torch.frexp(torch.where(peak > 0, peak, ones)).exponent - 1)
