"""Torch networks made of functional parts; see :class:`Unrolled` for their contract.

Recipes, and what a network of one's own is made of; layers of one family, their states and
the small networks inside stand in the family's file.
"""

from sklearn_unroll.nn.admm_csnet import admm_csnet
from sklearn_unroll.nn.analytic import alista, calibrate_thresholds, hyperlista, na_alista
from sklearn_unroll.nn.base import Unrolled, UnrolledLayer
from sklearn_unroll.nn.dense_admm import DenseADMMLayer, dense_admm, smooth_admm
from sklearn_unroll.nn.depth import refine
from sklearn_unroll.nn.fbs import FBSRule, fbs, polar_weight
from sklearn_unroll.nn.feed_forward import equivalent_depth, feed_forward
from sklearn_unroll.nn.glow_prox import calibrate_flows, glow_prox
from sklearn_unroll.nn.guard import Guarded, guarded
from sklearn_unroll.nn.l2o_baselines import l2o_dm, rnnprop
from sklearn_unroll.nn.lamp import OnsagerRule, lamp
from sklearn_unroll.nn.lista import ada_lista, lista, support_counts
from sklearn_unroll.nn.math_l2o import math_l2o
from sklearn_unroll.nn.normal import FixedRule, ScaledWeights, smooth_lista
from sklearn_unroll.nn.parts import (
    AdaptedWeights,
    AdjointWeights,
    CoupledWeights,
    FreeWeights,
    Part,
    Weights,
)
from sklearn_unroll.nn.provable_l2o import provable_l2o
from sklearn_unroll.nn.proxgrad import ProxGradLayer
from sklearn_unroll.nn.rules import AdaptiveRule, LearnedRule, LearnedStep, LogRule, Rule, Shrink
from sklearn_unroll.nn.shrinkages import (
    ConditionalMean,
    GroupShrinkage,
    ProxShrinkage,
    Shrinkage,
    SmoothThreshold,
    SoftThreshold,
    SupportSelection,
)
from sklearn_unroll.nn.tista import ErrorVarianceRule, tista

__all__ = [
    "AdaptedWeights",
    "AdaptiveRule",
    "AdjointWeights",
    "ConditionalMean",
    "CoupledWeights",
    "DenseADMMLayer",
    "ErrorVarianceRule",
    "FBSRule",
    "FixedRule",
    "FreeWeights",
    "GroupShrinkage",
    "Guarded",
    "LearnedRule",
    "LearnedStep",
    "LogRule",
    "OnsagerRule",
    "Part",
    "ProxGradLayer",
    "ProxShrinkage",
    "Rule",
    "ScaledWeights",
    "Shrink",
    "Shrinkage",
    "SmoothThreshold",
    "SoftThreshold",
    "SupportSelection",
    "Unrolled",
    "UnrolledLayer",
    "Weights",
    "ada_lista",
    "admm_csnet",
    "alista",
    "calibrate_flows",
    "calibrate_thresholds",
    "dense_admm",
    "equivalent_depth",
    "fbs",
    "feed_forward",
    "glow_prox",
    "guarded",
    "hyperlista",
    "l2o_dm",
    "lamp",
    "lista",
    "math_l2o",
    "na_alista",
    "polar_weight",
    "provable_l2o",
    "refine",
    "rnnprop",
    "smooth_admm",
    "smooth_lista",
    "support_counts",
    "tista",
]
