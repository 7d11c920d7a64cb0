"""Torch networks made of functional parts; see :class:`Unrolled` for their contract."""

from sklearn_unroll.nn.base import Unrolled, UnrolledLayer
from sklearn_unroll.nn.lista import ProxGradLayer, ProxGradState, lista
from sklearn_unroll.nn.parts import CoupledWeights, FreeWeights, LearnedThreshold

__all__ = [
    "CoupledWeights",
    "FreeWeights",
    "LearnedThreshold",
    "ProxGradLayer",
    "ProxGradState",
    "Unrolled",
    "UnrolledLayer",
    "lista",
]
