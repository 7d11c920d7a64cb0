"""The objective of an optimiser that learns: the problem's own, over its iterates."""

from __future__ import annotations

from typing import ClassVar

import torch
from sklearn.utils._param_validation import StrOptions
from torch import Tensor

from sklearn_unroll.functional import Composite
from sklearn_unroll.training.objectives import Objective

__all__ = ["ProblemObjective"]

_FLOOR = 50.0  # units in the last place below which an error is rounding
_CEILING = 1e10


class ProblemObjective(Objective):
    """``F(x_k) - F*`` relative to ``F(x_0) - F*``, over the iterates; needs no true codes.

    Where the optimal values are not known, ``F(x_k)`` relative to ``F(x_0)``.

    Parameters
    ----------
    layers : {"last", "mean", "weighted", "log"}, default="mean"
        The last iterate; the mean of all but the first; their mean with weights 1, 2, ...; or
        the mean of the decimal logarithms, for which the optimal values must be known: the late
        iterates, whose errors are many orders of magnitude smaller, then count as much. With
        truncated back-propagation these are the iterates of a segment.
    relative : bool, default=True
        Whether errors are relative to the first one; otherwise the loss is ``F(x_k)`` itself.

    Examples
    --------
    >>> from sklearn_unroll import Trainer
    >>> from sklearn_unroll.training import ProblemObjective
    >>> trainer = Trainer(ProblemObjective("log"), truncate=20)
    """

    requires_y: ClassVar[bool] = False
    _parameter_constraints: ClassVar[dict] = {
        "layers": [StrOptions({"last", "mean", "weighted", "log"})],
        "relative": ["boolean"],
    }

    def __init__(self, layers: str = "mean", relative: bool = True) -> None:
        self.layers = layers
        self.relative = relative

    def value(self, iterates: list[Tensor], obs: Composite, y: Tensor | None) -> Tensor:
        """Return the objective of every instance.

        Raises
        ------
        ValueError
            If ``layers="log"`` and the optimal values are not known.
        """
        chosen = iterates[-1:] if self.layers == "last" else iterates[1:] or iterates
        errors = torch.stack([obs.value(x) for x in chosen])
        if self.relative or self.layers == "log":
            errors = _relative(errors, obs)
        if self.layers == "log":
            if obs.least is None:
                raise ValueError(
                    "ProblemObjective('log') needs the optimal values: give problems with "
                    "least=..., or use ProblemObjective('mean')."
                )
            floor = _FLOOR * torch.finfo(errors.dtype).eps
            return errors.clamp(floor, _CEILING).log10().mean(0)
        if self.layers == "weighted":
            weight = torch.arange(1, len(chosen) + 1, dtype=errors.dtype, device=errors.device)
            return weight @ errors / weight.sum()
        return errors.mean(0)


def _relative(values: Tensor, obs: Composite) -> Tensor:
    """Return errors relative to the first; objectives, where the least are not known."""
    first = obs.value(obs.first())
    least = torch.zeros_like(first) if obs.least is None else obs.least
    gap = torch.where(torch.isfinite(first), first - least, torch.ones_like(first))
    # An instance that starts at its optimum has no error to be relative to.
    return (values - least) / torch.where(gap > 0, gap, torch.ones_like(gap))
