"""Where LISTA starts from pairs when nothing is asked for: the nearer of two networks."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from sklearn_unroll.estimators._groups import groups_of_fit
from sklearn_unroll.estimators._start import calibrate_on_pairs, check_support_selection
from sklearn_unroll.estimators._state import Given
from sklearn_unroll.functional import analytic_weight, block_analytic_weight
from sklearn_unroll.nn import Unrolled, lista
from sklearn_unroll.nn.lista import nonzero_lipschitz

__all__ = ["Start", "nearer_start", "selecting_start"]

# Percent of the entries that pass unshrunk: added by each layer, and at most.
SELECTION = (2.0, 100.0)
_LOOK_AT = 2000  # pairs


class Start(NamedTuple):
    """Where the training of LISTA began.

    Parameters
    ----------
    weights : {"ista", "gradient", "analytic", "normal"}
        ISTA; its weights with scalars that are learned through their logarithms; ALISTA's
        weights with thresholds that fit the pairs; or normal numbers.
    support_selection : tuple of (float, float) or None
        As LISTA's parameter.
    learn_step : bool
        Likewise.
    """

    weights: str
    support_selection: tuple[float, float] | None
    learn_step: bool


def selecting_start(est: Any, given: Given, start: Start) -> Unrolled:
    """Return the network of a start whose scalars are learned through their logarithms.

    Parameters
    ----------
    est : LISTARegressor
        Its parameters.
    given : Given
        Data; thresholds are fitted to its pairs, unless training goes on.
    start : Start
        What to build.
    """
    A = given.obs.A
    groups = groups_of_fit(est, given)
    counts = check_support_selection(start.support_selection, est.n_layers, A.n_components, groups)
    if start.weights != "analytic":
        W = A.D / nonzero_lipschitz(A).max()
    elif groups is None:
        W = analytic_weight(A.D)
    else:
        W = block_analytic_weight(A.D, groups.groups)
    network = lista(
        A,
        n_layers=est.n_layers,
        weights=est.weights,
        tied=est.tied,
        learn_step=start.learn_step,
        counts=counts,
        alpha=est.alpha,
        W=W,
        penalty=groups,
    )
    if start.weights == "analytic" and given.target is not None and not given.resumes:
        calibrate_on_pairs(network, given)
    return network


@torch.no_grad()
def nearer_start(est: Any, given: Given, learn_step: bool) -> tuple[Start, Unrolled]:
    """Return the start whose codes are nearer to those of the first pairs.

    Analytic weights are a hundred times nearer where codes are truly sparse and the dictionary
    is incoherent, and worth nothing where atoms are alike.

    Parameters
    ----------
    est : LISTARegressor
        Its parameters.
    given : Given
        Pairs.
    learn_step : bool
        Whether layers have learned steps.
    """
    starts = [Start("analytic", SELECTION, learn_step), Start("gradient", None, learn_step)]
    networks = [selecting_start(est, given, start) for start in starts]
    obs, target = given.obs.take(slice(_LOOK_AT)), given.target[:_LOOK_AT]

    def error(network: Unrolled) -> float:
        found = torch.cat([network(chunk) for _, chunk in obs.chunks()])
        return float((found - target).double().square().sum().nan_to_num(nan=torch.inf))

    return min(zip(starts, networks, strict=True), key=lambda pair: error(pair[1]))
