"""What a fit is worth: its codes beside those that cost nothing."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from sklearn_unroll.estimators._guard import Run, penalty_inside
from sklearn_unroll.estimators._shell import stated
from sklearn_unroll.estimators._sizes import option
from sklearn_unroll.estimators._state import Given
from sklearn_unroll.estimators._units import atom_norms
from sklearn_unroll.exceptions import WorthlessFitWarning
from sklearn_unroll.functional import (
    Dense,
    LeastSquares,
    Observation,
    mutual_coherence,
)
from sklearn_unroll.nn import Unrolled
from sklearn_unroll.nn.lista import WEIGHTS
from sklearn_unroll.training import History

_LOOK_AT = 2000  # samples of the fit
_NOTHING = 1e-4  # relative decrease below which nothing was learned
_REFUSED = 0.1  # share of refused steps at home from which on a network is worth little


def warn(est: Any, said: str | None, cause: str, stacklevel: int = 5) -> None:
    """Say that a fit is worth little, where something is to be said.

    Parameters
    ----------
    est : estimator
        For its name.
    said : str or None
        What was found.
    cause : str
        Why, and what to do.
    stacklevel : int, default=5
        Of the warning.
    """
    if said is not None:
        warnings.warn(
            f"This fit of {type(est).__name__} is worth little: {said}. {cause}",
            WorthlessFitWarning,
            stacklevel=stacklevel,
        )


def judge_trained(est: Any, said: str | None, history: History | None, instead: str) -> None:
    """Warn where something was found, or where training has changed nothing.

    Parameters
    ----------
    est : estimator
        Fitted, with its trainer.
    said : str or None
        What was found.
    history : History or None
        How it was trained; None after a batch of a stream.
    instead : str
        What there is besides.
    """
    said = said or nothing_learned(history)
    warn(est, said, advice_on_training(est.trainer_, instead), stacklevel=6)


def compared(what: str, found: float, rival: str, trivial: float) -> str | None:
    """Return that a result is no better than what costs nothing; None where it is.

    Parameters
    ----------
    what : str
        By what they are compared.
    found, trivial : float
        How large it is; less is better.
    rival : str
        The name of what costs nothing.
    """
    if trivial <= 0 or found < trivial * (1 - _NOTHING):
        return None
    ratio = found / trivial
    how = "no better than" if abs(ratio - 1) <= _NOTHING else "worse than"
    size = f" ({10 * math.log10(ratio):+.3g} dB)" if math.isfinite(ratio) and ratio > 0 else ""
    return f"{what} on the data of fit is {how} that of {rival}{size}"


def nothing_learned(history: History | None) -> str | None:
    """Return that a fit of one stage has kept the network it began with; None where it has not.

    Parameters
    ----------
    history : History or None
        How it was trained; None after a batch of a stream.
    """
    if history is None or len({epoch.stage for epoch in history}) > 1:
        return None
    monitor = history.column("monitor")
    if monitor[1:].min() < monitor[0] - _NOTHING * abs(monitor[0]):
        return None
    return "no epoch was better by the monitored loss than the network before training"


@torch.no_grad()
def judge_codes(est: Any, network: Unrolled, given: Given, history: History | None) -> None:
    """Warn where the codes of a fit are no better than what costs nothing.

    Parameters
    ----------
    est : estimator
        Fitted, for codes.
    network : Unrolled
        Its network.
    given : Given
        What it was trained on.
    history : History or None
        How; None after a batch of a stream.
    """
    rows = slice(_LOOK_AT)
    obs, guard = given.obs.take(rows), vars(est).get("guard_")
    codes, _ = Run(est, network, obs, guard).codes()
    name, loss = _losses(est, given, rows, obs)
    weight = torch.ones_like(obs.b[:, 0]) if given.weight is None else given.weight[rows]
    rival, free = trivial_codes(est, obs)
    found, trivial = (float((weight * loss(x)).double().sum()) for x in (codes, free))
    said = compared(f"{name} of its codes", found, rival, trivial)
    if said is None and guard is not None and given.target is None and guard.share > _REFUSED:
        said = f"the guard refuses {100 * guard.share:.0f} % of its steps on the data of fit"
    said = said or nothing_learned(history)
    if said is not None:
        warn(est, said, _cause(est, given, obs))


def trivial_codes(est: Any, obs: Observation) -> tuple[str, Tensor]:
    """Return codes that cost nothing, by name: zeros, or zero filling through an operator."""
    if est.task.operator != "dictionary" and not isinstance(obs.A, Dense):
        return "the adjoint, zero filling", obs.A.adjoint(obs.b)
    return "zeros", obs.b.new_zeros(len(obs.b), obs.A.n_components)


def _losses(est: Any, given: Given, rows: slice, obs: Observation) -> tuple[str, Any]:
    """Return what codes are judged by: its name, and a function of codes."""
    if given.target is not None:
        wanted = given.target[rows]
        return "the squared error", lambda x: (x - wanted).square().sum(1)
    problem = stated(obs, LeastSquares(), penalty_inside(est, obs))
    return "the objective", problem.value


def _cause(est: Any, given: Given, obs: Observation) -> str:
    """Return why, as far as it can be told, and what to do."""
    alpha = est.task.alpha(est)
    if given.target is None and alpha:
        R = est.unit_penalty(obs.A.n_components)
        largest = float(R.dual_norm(obs.A.adjoint(obs.b)).max())
        if alpha >= largest:
            return (
                f"alpha={alpha:.3g} is not below {largest:.3g}, the largest |x D^T| of any sample "
                f"as the network sees it (of groups: norm over root of size), and zeros are the "
                f"solution. Lower alpha, or set "
                f"alpha_relative=True where the estimator has it."
            )
    mu = None if option(est, "groups") is not None else _coherence_excess(obs)
    if mu is not None and _is_analytic(est):
        return (
            f"Its weights are computed for dictionaries close to random, and this one has "
            f"coherent atoms (largest correlation {mu:.2f}). Use LISTARegressor with "
            f"support_selection=None, which learns its weights, or LassoCoder."
        )
    trainer = vars(est).get("trainer_")
    if trainer is None:
        return "LassoCoder and OMPCoder code such data without weights that have to fit them."
    return advice_on_training(trainer, "LassoCoder and OMPCoder need no training")


def advice_on_training(trainer: Any, instead: str) -> str:
    """Return what to try where no cause is known.

    Parameters
    ----------
    trainer : Trainer
        That of the fit.
    instead : str
        What there is besides.
    """
    return (
        f"Check that the data belong together and are of usual size, and try another learning "
        f"rate (now {trainer.learning_rate:g}) or more epochs; {instead}."
    )


def _is_analytic(est: Any) -> bool:
    given = est.get_params(deep=False)
    computed = any(given.get(name, WEIGHTS[0]) not in WEIGHTS for name in ("weights", "weight"))
    return computed or bool(given.get("support_selection"))


def _coherence_excess(obs: Observation) -> float | None:
    """Return the largest correlation of two atoms, where it is far from that of random ones."""
    if not isinstance(obs.A, Dense) or obs.A.per_sample or obs.A.n_components < 2:
        return None
    D = obs.A.D / atom_norms(obs.A.D)[:, None]
    mu = float(mutual_coherence(D, D))
    return mu if mu > 0.7 else None
