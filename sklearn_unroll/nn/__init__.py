"""Torch networks made of functional parts; see :class:`Unrolled` for their contract."""

from sklearn_unroll.nn.admm_csnet import ADMMLayer, ADMMState, admm_csnet
from sklearn_unroll.nn.admm_parts import (
    ConvolutionalShrinkage,
    FilterSplitting,
    PiecewiseLinear,
    PlainSplitting,
)
from sklearn_unroll.nn.analytic import alista, calibrate_thresholds, hyperlista, na_alista
from sklearn_unroll.nn.base import Unrolled, UnrolledLayer
from sklearn_unroll.nn.coordinate import CoordinateLSTM, CoordinateMLP, CoordinateNetwork
from sklearn_unroll.nn.dense_admm import (
    DenseADMMLayer,
    DenseADMMState,
    dense_admm,
    smooth_admm,
)
from sklearn_unroll.nn.depth import refine
from sklearn_unroll.nn.fbs import FBSRule, FirstIterate, ProxShrinkage, fbs, polar_weight
from sklearn_unroll.nn.feed_forward import FeedForwardLayer, equivalent_depth, feed_forward
from sklearn_unroll.nn.glow_prox import GlowProxLayer, GlowProxState, calibrate_flows, glow_prox
from sklearn_unroll.nn.l2o_baselines import FreeUpdateLayer, FreeUpdateState, l2o_dm, rnnprop
from sklearn_unroll.nn.lista import ada_lista, lista, support_counts
from sklearn_unroll.nn.math_l2o import L2OLayer, MathL2OLayer, MathL2OState, math_l2o
from sklearn_unroll.nn.monotone import Monotone, MonotoneState
from sklearn_unroll.nn.normal import FixedRule, ScaledWeights, smooth_lista
from sklearn_unroll.nn.parts import (
    AdaptedWeights,
    AdjointWeights,
    CoupledWeights,
    FreeWeights,
)
from sklearn_unroll.nn.provable_l2o import ProvableL2OLayer, StepNetwork, provable_l2o
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
    "ADMMLayer",
    "ADMMState",
    "AdaptedWeights",
    "AdaptiveRule",
    "AdjointWeights",
    "Controller",
    "ConvolutionalShrinkage",
    "CoordinateLSTM",
    "CoordinateMLP",
    "CoordinateNetwork",
    "CoupledWeights",
    "DenseADMMLayer",
    "DenseADMMState",
    "ErrorVarianceRule",
    "FBSRule",
    "FeedForwardLayer",
    "FilterSplitting",
    "FirstIterate",
    "FixedRule",
    "FreeUpdateLayer",
    "FreeUpdateState",
    "FreeWeights",
    "GlowProxLayer",
    "GlowProxState",
    "L2OLayer",
    "LearnedRule",
    "LearnedStep",
    "LogRule",
    "MathL2OLayer",
    "MathL2OState",
    "Monotone",
    "MonotoneState",
    "PiecewiseLinear",
    "PlainSplitting",
    "ProvableL2OLayer",
    "ProxGradLayer",
    "ProxGradState",
    "ProxShrinkage",
    "RecurrentRule",
    "Rule",
    "ScaledWeights",
    "Shrink",
    "StepNetwork",
    "Unrolled",
    "UnrolledLayer",
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
    "hyperlista",
    "l2o_dm",
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
