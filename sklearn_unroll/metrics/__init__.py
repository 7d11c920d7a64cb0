"""Metrics of sparse recovery and denoising, and ready scorers for model selection.

Every metric takes numpy arrays, array-likes or torch tensors on any device, and computes in
float64. A one-dimensional ``y`` is one component, as in :mod:`sklearn.metrics`. In every
scorer greater is better, so an error in dB appears with a minus sign.
"""

from sklearn_unroll.metrics._alphas import AlphaScores, alpha_scores
from sklearn_unroll.metrics._codes import (
    nmse_db,
    nmse_db_median,
    support_f1,
    support_precision,
    support_recall,
)
from sklearn_unroll.metrics._risk import discrepancy, noise_energy, sure
from sklearn_unroll.metrics._scorers import (
    duality_gap_scorer,
    nmse_db_median_scorer,
    nmse_db_scorer,
    psnr_scorer,
    support_f1_scorer,
    support_precision_scorer,
    support_recall_scorer,
)
from sklearn_unroll.metrics._signals import duality_gap, psnr

__all__ = [
    "AlphaScores",
    "alpha_scores",
    "discrepancy",
    "duality_gap",
    "duality_gap_scorer",
    "nmse_db",
    "nmse_db_median",
    "nmse_db_median_scorer",
    "nmse_db_scorer",
    "noise_energy",
    "psnr",
    "psnr_scorer",
    "support_f1",
    "support_f1_scorer",
    "support_precision",
    "support_precision_scorer",
    "support_recall",
    "support_recall_scorer",
    "sure",
]
