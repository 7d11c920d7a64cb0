"""What the codes of a lasso are to meet, sample by sample, in units that no square leaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.estimators._validation import check_alpha, check_bound
from sklearn_unroll.functional import Dense, Observation, alpha_max
from sklearn_unroll.functional.rows import Rows

_LEAST_ALPHA = 1e-13  # relative to the smallest alpha whose code is zero
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
    """Samples whose codes are not zero, of size one, and their aims."""

    live: Tensor  # their numbers
    obs: Observation
    aim: Aim
    l2: Tensor
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
    if name == "alpha":
        value = check_alpha(given[name], n_samples, device, zero=coder.positive)
        return Aim(name, value, coder.alpha_relative)
    if coder.l2:
        raise ValueError(f"l2={coder.l2} goes with alpha, not with {name}: use l2=0.")
    return Aim(name, check_bound(name, given[name], n_samples, device))


def zero_alpha(aim: Aim, b: Tensor | Rows, A: Dense, positive: bool) -> Tensor:
    """Return the alpha of samples as long as their codes are zero, like the value of the aim."""
    if aim.name == "alpha" and not aim.relative:
        return aim.value.clone()
    peaks = [
        alpha_max(Observation(b[rows].double(), A), positive=positive)
        for rows in _pieces(b, A.n_components)
    ]
    peak = torch.cat(peaks)
    return aim.value * peak if aim.name == "alpha" else peak.expand_as(aim.value).clone()


def chunks(
    b: Tensor | Rows, A: Dense, aim: Aim, l2: Tensor, positive: bool, exact_zero: bool
) -> Iterator[Chunk]:
    """Yield the samples whose codes are not zero, a few at a time.

    Atoms and each observation are brought to size one by powers of two, which round nothing: no
    square leaves the range, and codes do not depend on units. With ``exact_zero`` an alpha of
    zero stays.
    """
    atoms = powers_of_two(A.D.flatten()[None])[0]
    A = Dense(A.D / atoms)
    for rows in _pieces(b, A.n_components):
        part, value = b[rows].double(), aim.value[..., rows]
        size = powers_of_two(part)
        obs = Observation(part / size, A)
        peak, scale = alpha_max(obs, positive=positive), size[:, 0]
        if aim.name == "alpha":
            value = value * peak if aim.relative else value / scale / atoms
            # Below this alpha is lost in rounding, and its inverse would be, too.
            least = torch.where((value == 0) & exact_zero, 0.0, _LEAST_ALPHA * peak)
            value = torch.maximum(value, least)
            live = peak > value
        elif aim.name == "error":
            value = value / scale / scale
            live = (obs.b.square().sum(1) > value) & (peak > 0)
        else:
            value = value / scale * atoms
            live = (peak > 0).expand_as(value)
        here = (live if live.ndim == 1 else live.any(0)).nonzero()[:, 0]
        if not len(here):
            continue
        part = Aim(aim.name, value[..., here])
        yield Chunk(
            rows.start + here, obs.take(here), part, l2 / atoms.square(), size[here] / atoms,
            scale[here] * atoms,
        )  # fmt: skip


def _pieces(b: Tensor | Rows, n_components: int) -> Iterator[slice]:
    n_rows = max(_NUMBERS // n_components, 1) * (1 if b.device.type == "cpu" else 32)
    for first in range(0, len(b), n_rows):
        yield slice(first, min(first + n_rows, len(b)))


def powers_of_two(values: Tensor) -> Tensor:
    """Return a power of two near the largest magnitude of every row, of shape (n_rows, 1)."""
    peak = values.abs().amax(1, keepdim=True)
    peak = torch.where(peak > 0, peak, torch.ones_like(peak))
    return torch.ldexp(torch.ones_like(peak), torch.frexp(peak).exponent)
