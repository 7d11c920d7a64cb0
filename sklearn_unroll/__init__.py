"""Unrolled optimisation networks that behave like any scikit-learn estimator."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

from sklearn_unroll._renamed import not_found

if TYPE_CHECKING:
    from sklearn_unroll.estimators import (
        AdaLISTARegressor,
        ADMMCSNetRegressor,
        ALISTARegressor,
        FBSNet,
        FeedForwardRegressor,
        GlowProxInpainter,
        HyperLISTARegressor,
        LAMPRegressor,
        LassoCoder,
        LISTARegressor,
        MathL2OSolver,
        OMPCoder,
        OnlineDictionaryLearning,
        TISTARegressor,
    )
    from sklearn_unroll.training import Trainer

__version__ = version("sklearn-unroll")
__all__ = [
    "ADMMCSNetRegressor",
    "ALISTARegressor",
    "AdaLISTARegressor",
    "FBSNet",
    "FeedForwardRegressor",
    "GlowProxInpainter",
    "HyperLISTARegressor",
    "LAMPRegressor",
    "LISTARegressor",
    "LassoCoder",
    "MathL2OSolver",
    "OMPCoder",
    "OnlineDictionaryLearning",
    "TISTARegressor",
    "Trainer",
]

# Loaded on first use: torch takes longer to import than everything else together.
_HOMES = {
    "ADMMCSNetRegressor": "estimators",
    "ALISTARegressor": "estimators",
    "AdaLISTARegressor": "estimators",
    "FBSNet": "estimators",
    "FeedForwardRegressor": "estimators",
    "GlowProxInpainter": "estimators",
    "HyperLISTARegressor": "estimators",
    "LAMPRegressor": "estimators",
    "LISTARegressor": "estimators",
    "LassoCoder": "estimators",
    "MathL2OSolver": "estimators",
    "OMPCoder": "estimators",
    "OnlineDictionaryLearning": "estimators",
    "TISTARegressor": "estimators",
    "Trainer": "training",
}


def __getattr__(name: str):
    if name not in _HOMES:
        raise not_found(__name__, name)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
