"""The parts of a trainer as objects: copies, checked, and complete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sklearn.base import clone

from sklearn_unroll.functional import Penalty
from sklearn_unroll.training.constraints import Constraint
from sklearn_unroll.training.objectives import OBJECTIVES, Objective

if TYPE_CHECKING:
    from sklearn_unroll.training.trainer import Trainer

__all__ = ["constraints_of", "objective_of", "part_of"]


def part_of(given: Any, known: Mapping[str, type], **settled: Any) -> Any:
    """Return a validated copy of what was given, by name or as an object.

    Parameters that it leaves open, None, are those settled elsewhere.
    """
    part = known[given]() if isinstance(given, str) else clone(given)
    part._validate_params()
    own = part.get_params(deep=False)
    missing = {name: v for name, v in settled.items() if name in own and own[name] is None}
    if missing:
        part.set_params(**missing)
    return part


def objective_of(
    trainer: Trainer, has_y: bool, alpha: float, R: Penalty | None = None
) -> Objective:
    """Return the objective, which can be evaluated."""
    chosen = trainer.objective or ("supervised" if has_y else "lasso")
    objective = part_of(chosen, OBJECTIVES, alpha=alpha, penalty=R)
    if objective.requires_y and not has_y:
        raise ValueError(
            f"The objective {type(objective).__name__} of the trainer requires y to be passed, "
            f"but the target y is None. Pass y, the true codes, or use an objective that needs "
            f"none, such as Trainer(objective='lasso')."
        )
    return objective


def constraints_of(
    trainer: Trainer, has_y: bool, alpha: float, R: Penalty | None = None
) -> list[Constraint]:
    """Return the constraints, none or more, which can be evaluated and weighed."""
    given = trainer.constraint
    given = given if isinstance(given, (list, tuple)) else [] if given is None else [given]
    if given and (trainer.loss == "log" or trainer.truncate is not None):
        raise ValueError(
            f"A constraint is weighed against the loss itself, over all layers: use "
            f"loss='relative' or 'mean' and truncate=None; got loss={trainer.loss!r}, "
            f"truncate={trainer.truncate}."
        )
    for part in given:
        if not isinstance(part, Constraint):
            raise TypeError(
                f"constraint must be a Constraint, such as Descent(), or a list of them; got "
                f"{part!r}."
            )
    constraints = [part_of(part, {}, alpha=alpha, penalty=R) for part in given]
    for part in constraints:
        if part.requires_y and not has_y:
            raise ValueError(
                f"The constraint {part!r} needs y, the codes that layers are to approach, but "
                f"the target y is None. Pass y, or use Descent(kind='gradient')."
            )
    return constraints
