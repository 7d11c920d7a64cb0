"""Where online dictionary learning starts, and what it leaves behind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.estimators._arrays import from_tensor
from sklearn_unroll.estimators._batch_coding import coding_of
from sklearn_unroll.estimators._bounded_coding import bound_of
from sklearn_unroll.estimators._judge import warn
from sklearn_unroll.estimators._lasso_coder import LassoCoder
from sklearn_unroll.estimators._learned import Learned
from sklearn_unroll.estimators._missing import filled_by_means
from sklearn_unroll.estimators._online import OnlineLearner, draw_atoms, unit_rows
from sklearn_unroll.estimators._online_data import Signals
from sklearn_unroll.estimators._operators import check_dictionary
from sklearn_unroll.functional._alone import alone
from sklearn_unroll.solvers import DictionaryStatistics

_DRAWN_FROM = 1024  # samples, or sixteen an atom, to draw first atoms from
_DRAWS, _JUDGED = 8, 256  # atoms of all draws, of which the best one starts, by so many samples


def own_coder(est: Any) -> Any:
    """Return what codes, without a dictionary; raise where it has one, or says otherwise."""
    if est.coder is None:
        return LassoCoder(alpha=est.alpha, positive=est.positive_code)
    name, params = type(est.coder).__name__, est.coder.get_params(deep=False)
    if params.get("dictionary", "no such parameter") is not None:
        raise ValueError(
            f"coder={name} must have a parameter dictionary that is None: the dictionary is "
            f"learned here. Pass dict_init=... to start from one."
        )
    if est.positive_code and not params.get("positive", False):
        raise ValueError(
            f"positive_code=True is for coder=None; constrain the codes of {name} by its own "
            f"parameters, such as LassoCoder(positive=True)."
        )
    est.coder._validate_params()
    return est.coder


def start_learner(
    est: Any, signals: Signals, resume: bool, n_passes: int, rng: np.random.RandomState
) -> OnlineLearner:
    """Return a learner at its start, or where the last fit has left it."""
    so_far = {"n_seen": est.n_seen_, "n_steps": est.n_steps_} if resume else {}
    draws: list[Tensor] = []
    if resume:
        D = _given(est, est.components_, "components_")
        D = D.clamp_min(0) if est.positive_dict else D
    elif est.dict_init is not None:
        D = _given(est, est.dict_init, "dict_init")
        D = D.clamp_min(0) if est.positive_dict else D
        D = D / torch.linalg.vector_norm(D, dim=1, keepdim=True).clamp_min(1)
    else:
        n_atoms = est.n_features_in_ if est.n_components is None else est.n_components
        some = signals.sample(max(_DRAWN_FROM, 16 * n_atoms), rng)
        n_draws = max(1, _DRAWS // n_atoms)
        with alone():  # as while it learns from batches no larger
            some = filled_by_means(some[0]), some[1]
            draws = [draw_atoms(*some, n_atoms, est.positive_dict, rng) for _ in range(n_draws)]
        D = draws[0]
    coder = own_coder(est)
    if isinstance(coder, Learned):
        D = _without_zeros(D, est.positive_dict, rng)
    statistics = est.statistics_ if resume else DictionaryStatistics.zeros(*D.shape)
    fitted, batch = est.coder_ if resume else None, min(est.batch_size, len(signals))
    coding = coding_of(coder, fitted, batch, n_passes * len(signals), D, est.truncate)
    learner = OnlineLearner(D, statistics, coding, est.memory, est.positive_dict, **so_far)
    if len(draws) > 1 and not isinstance(coder, Learned):
        learner.D = _best_draw(learner, draws, signals.sample(_JUDGED, rng))
    return learner


def _best_draw(learner: OnlineLearner, draws: list[Tensor], judged: tuple) -> Tensor:
    """Return the first atoms with the lowest objective: where they are few, luck decides much."""
    values = [replace(learner, D=D).measure(*judged) for D in draws]
    return draws[int(np.argmin(values))]


def _without_zeros(D: Tensor, positive: bool, rng: np.random.RandomState) -> Tensor:
    """Return atoms with random directions in the place of zeros, which networks do not take."""
    other = torch.from_numpy(rng.standard_normal(D.shape))
    other = unit_rows(other.abs() if positive else other)
    return torch.where((D == 0).all(1, keepdim=True), other, D)


def _given(est: Any, dictionary: Any, name: str) -> Tensor:
    like = torch.empty(1, 1, dtype=torch.float64).expand(1, est.n_features_in_)
    D = check_dictionary(dictionary, like, name, zero_atoms=True)
    if est.n_components not in (None, len(D)):
        raise ValueError(
            f"{name} has {len(D)} atoms, but n_components={est.n_components}. Let both agree, or "
            f"leave n_components=None; where learning goes on, warm_start=False starts anew."
        )
    return D


def left_behind(est: Any, few: Any, learner: OnlineLearner, final: Signals | None = None) -> dict:
    """Return what a fit leaves behind; a network is trained on what is final, if anything."""
    components = from_tensor(learner.D.clone(), few)
    if final is None:
        coder = learner.coding.derived(components, few)
    else:
        coder = learner.coding.finished(components, few, final)
    return {
        "components_": components,
        "n_components_": len(learner.D),
        "coder_": coder,
        "statistics_": learner.statistics,
        "n_seen_": learner.n_seen,
        "n_steps_": learner.n_steps,
    }


def warn_if_worthless(est: Any) -> None:
    """Say where all codes were zero, so that nothing was learned."""
    said = "the codes of all samples are zero, and nothing was learned"
    name, least = bound_of(est.coder_) or "alpha", "the norm"
    if name in ("error", "tol"):
        least = "the squared norm"
    warn(
        est,
        None if bool(est.statistics_.gram.any()) else said,
        f"Where {name} is at least {least} of a sample, its code is zero over any dictionary: "
        f"lower {name}, or rescale X.",
        stacklevel=4,
    )
