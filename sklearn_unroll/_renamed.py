"""Names that are gone, each with the one that says it now. Nothing is kept alive here."""

from __future__ import annotations

from typing import Any

# Of modules: what was imported from where, and where it is.
MOVED = {
    "sklearn_unroll": {
        "reference": "sklearn_unroll.solvers",
        "FBSNetRegressor": "sklearn_unroll.FBSNet",
    },
    "sklearn_unroll.estimators": {
        "FBSNetRegressor": "sklearn_unroll.FBSNet",
        "BaseUnrolledRegressor": "sklearn_unroll.estimators.CodeMethods, beside Learned",
        "TrainedUnrolledRegressor": "sklearn_unroll.estimators.Learned, beside CodeMethods",
        "BaseL2OSolver": "sklearn_unroll.MathL2OSolver",
    },
    "sklearn_unroll.functional": {
        name: f"sklearn_unroll.solvers.{name}"
        for name in ("Pursuit", "active_set", "debias", "orthogonal_matching_pursuit")
    },
}
# Of constructors, by class.
PARAMETERS = {
    "LISTARegressor": {"start": "init"},
    "ADMMCSNetRegressor": {"start": "init"},
    "FBSNet": {"start": "init"},
    "MathL2OSolver": {"start": "init (where weights start); x0 is where iterates start"},
    "GlowProxInpainter": {"start": "x0", "shrink": "shrinkage"},
    "ALISTARegressor": {"weight": "weights"},
    "HyperLISTARegressor": {"weight": "weights"},
    "Trainer": {
        "momentum": "optimizer=SGD(momentum=...)",
        "betas": "optimizer=Adam(betas=...)",
    },
}
ATTRIBUTES = {"n_iter_": "n_epochs_"}


def not_found(module: str, name: str) -> Exception:
    """Return the error for a name that a module has not; what has moved says where."""
    if name in MOVED.get(module, {}):
        # An ImportError, as `from module import name` hides the text of any other.
        return ImportError(f"{module} has no {name!r} any more: it is {MOVED[module][name]} now.")
    return AttributeError(f"module {module!r} has no attribute {name!r}")


class Renamed:
    """Says the new name of a parameter or an attribute that is asked for by its old one."""

    def __new__(cls, *args: Any, **kwargs: Any):
        """Refuse parameters that have another name now."""
        known = {name: new for base in cls.__mro__ for name, new in _of(base).items()}
        for name in known.keys() & kwargs.keys():
            raise TypeError(f"{cls.__name__} has no parameter {name!r}: it is {known[name]}.")
        return super().__new__(cls)

    def __getattr__(self, name: str) -> Any:
        """Refuse attributes that have another name now; only asked for what is not there."""
        hint = f"; it is {ATTRIBUTES[name]!r}" if name in ATTRIBUTES else ""
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")


def _of(cls: type) -> dict[str, str]:
    return PARAMETERS.get(cls.__name__, {})
