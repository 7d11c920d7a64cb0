"""Unrolled optimisation networks that behave like any scikit-learn estimator."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn_unroll.estimators import (
        AdaLISTARegressor,
        ALISTARegressor,
        HyperLISTARegressor,
        LassoCoder,
        LISTARegressor,
        TISTARegressor,
    )
    from sklearn_unroll.training import Trainer

__version__ = version("sklearn-unroll")
__all__ = [
    "ALISTARegressor",
    "AdaLISTARegressor",
    "HyperLISTARegressor",
    "LISTARegressor",
    "LassoCoder",
    "TISTARegressor",
    "Trainer",
]

# Loaded on first use: torch takes longer to import than everything else together.
_HOMES = {
    "ALISTARegressor": "estimators",
    "AdaLISTARegressor": "estimators",
    "HyperLISTARegressor": "estimators",
    "LISTARegressor": "estimators",
    "LassoCoder": "estimators",
    "TISTARegressor": "estimators",
    "Trainer": "training",
}


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
