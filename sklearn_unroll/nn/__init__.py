"""Torch networks made of functional parts; see :class:`Unrolled` for their contract."""

from sklearn_unroll.nn.analytic import alista, calibrate_thresholds, hyperlista, na_alista
from sklearn_unroll.nn.base import Unrolled, UnrolledLayer
from sklearn_unroll.nn.lista import ada_lista, lista, support_counts
from sklearn_unroll.nn.parts import (
    AdaptedWeights,
    AdjointWeights,
    CoupledWeights,
    FreeWeights,
)
from sklearn_unroll.nn.proxgrad import ProxGradLayer, ProxGradState
from sklearn_unroll.nn.recurrent import Controller, RecurrentRule
from sklearn_unroll.nn.rules import (
    AdaptiveRule,
    LearnedRule,
    LearnedStep,
    LogRule,
    Rule,
    Shrink,
)
from sklearn_unroll.nn.tista import ErrorVarianceRule, tista

__all__ = [
    "AdaptedWeights",
    "AdaptiveRule",
    "AdjointWeights",
    "Controller",
    "CoupledWeights",
    "ErrorVarianceRule",
    "FreeWeights",
    "LearnedRule",
    "LearnedStep",
    "LogRule",
    "ProxGradLayer",
    "ProxGradState",
    "RecurrentRule",
    "Rule",
    "Shrink",
    "Unrolled",
    "UnrolledLayer",
    "ada_lista",
    "alista",
    "calibrate_thresholds",
    "hyperlista",
    "lista",
    "na_alista",
    "support_counts",
    "tista",
]
