"""Torch networks made of functional parts; see :class:`Unrolled` for their contract."""

from sklearn_unroll.nn.base import Unrolled, UnrolledLayer
from sklearn_unroll.nn.lista import (
    ProxGradLayer,
    ProxGradState,
    alista,
    hyperlista,
    lista,
    support_counts,
)
from sklearn_unroll.nn.parts import CoupledWeights, FreeWeights
from sklearn_unroll.nn.rules import AdaptiveRule, LearnedRule, Step

__all__ = [
    "AdaptiveRule",
    "CoupledWeights",
    "FreeWeights",
    "LearnedRule",
    "ProxGradLayer",
    "ProxGradState",
    "Step",
    "Unrolled",
    "UnrolledLayer",
    "alista",
    "hyperlista",
    "lista",
    "support_counts",
]
