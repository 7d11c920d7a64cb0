"""The guard of an estimator for codes: which region, what runs, and what is said of it."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.estimators._shell import Seen, stated
from sklearn_unroll.estimators._state import Given
from sklearn_unroll.estimators._units import Units, safe_norms
from sklearn_unroll.exceptions import GuardWarning
from sklearn_unroll.functional import Composite, LeastSquares, Observation, Zero
from sklearn_unroll.nn import Unrolled
from sklearn_unroll.nn.execution import Execution

__all__ = ["GUARDS", "Guard"]

GUARDS = ("auto", "objective", "residual")
_MANY = 0.01  # share of refused steps from which on data are said to differ
_LOOK_AT = 2000  # samples of the fit that the guard is tried on
_COSTS_NOTHING = 1.01  # largest factor on their squared error


class Guard(NamedTuple):
    """What a fit settles of the guard.

    Parameters
    ----------
    region : {"objective", "residual"}
        What is guarded, see :class:`~sklearn_unroll.nn.Guarded`.
    step : Tensor or None
        The classical step; None where every sample has its own operator.
    norm : float
        Median norm of the observations of the fit, in the units of the network.
    share : float
        Share of the steps that it refuses on these.
    """

    region: str
    step: Tensor | None
    norm: float
    share: float


@torch.no_grad()
def settle_guard(est: Any, network: Unrolled, given: Given) -> Guard | None:
    """Return the guard of a fit, None where there is none.

    On pairs ``"auto"`` keeps it where it costs nothing: codes that are learned need not explain
    their observations, and not every network's layers hold codes.

    Parameters
    ----------
    est : estimator
        With a parameter ``guard``.
    network : Unrolled
        The trained network.
    given : Given
        What it was trained on.
    """
    region = _region(est, given)
    last = vars(est).get("guard_") if given.resumes else None
    if region is None or (last is not None and last.region == region):
        return last if region else None
    step = None
    if region == "objective" and not given.obs.A.per_sample:
        problem = stated(given.obs.take(slice(1)), LeastSquares(), Zero())
        step = Composite.of(*problem[:4]).step.cpu()  # loads where there is no device
    rows = slice(_LOOK_AT)
    obs = given.obs.take(rows)
    norms = safe_norms(obs.b)
    norms = norms[norms > 0]
    guard = Guard(region, step, float(norms.median()) if len(norms) else 1.0, 0.0)
    run = Run(est, network, obs, guard)
    codes, refused = run.codes()
    guard = guard._replace(share=run.share(refused))
    if est.guard == "auto" and given.target is not None and guard.share > 0:
        plain, _ = Run(est, network, obs, None).codes()
        cost, error = (_error(x, given, rows) for x in (codes, plain))
        return None if cost > _COSTS_NOTHING * error else guard
    return guard


def _region(est: Any, given: Given) -> str | None:
    """Return what is guarded."""
    known = not isinstance(penalty_inside(est, given.obs.take(slice(1))), Zero)
    if est.guard == "objective" and not known:
        raise ValueError(
            f"guard='objective' needs a problem whose objective is known, and "
            f"{type(est).__name__} has no alpha: its layers follow from pairs, not from a "
            f"penalty. Use guard='residual', or None."
        )
    if est.guard != "auto":
        return est.guard
    if given.target is not None:
        # Targets of networks whose inner layers hold no codes may be any numbers.
        return None if est.guards_whole else "residual"
    return "objective" if known else "residual"


def _error(codes: Tensor, given: Given, rows: slice) -> float:
    """Return the squared error of codes; infinite where it is no number."""
    squared = (codes - given.target[rows]).double().square().sum(1)
    if given.weight is not None:
        squared = given.weight[rows] * squared
    return float(squared.sum().nan_to_num(nan=torch.inf))


def penalty_inside(est: Any, obs: Observation) -> Any:
    """Return R as the network sees it."""
    return est.penalty_of(Seen(None, obs, Units(None, None)))


class Run:
    """A network at work, behind its guard where there is one.

    Parameters
    ----------
    est : estimator
        For its problem.
    network : Unrolled
        Its network.
    obs : Observation
        Data and operator of all samples, in the units of the network; data may be rows.
    guard : Guard or None
        The guard.
    """

    def __init__(self, est: Any, network: Unrolled, obs: Observation, guard: Guard | None) -> None:
        self.plain, self.obs, self.guard = network, obs, guard
        self.whole = est.guards_whole
        if guard is not None:
            problem = stated(obs, LeastSquares(), penalty_inside(est, obs))
            step = guard.step  # made where the fit was, which need not be where the data are
            self.obs = problem._replace(
                step=None if step is None else step.to(obs.b.device, obs.b.dtype)
            )

    @cached_property
    def execution(self) -> Execution:
        """How the network runs on these data."""
        region = None if self.guard is None else self.guard.region
        return Execution(self.plain, self.obs, region, whole=self.whole)

    @classmethod
    def of(cls, est: Any, seen: Seen) -> Run:
        """Return that of a fitted estimator.

        Parameters
        ----------
        est : estimator
            Fitted.
        seen : Seen
            What it is shown.

        Returns
        -------
        Run
            At work in the units of the network.
        """
        guard = vars(est).get("guard_")
        return cls(est, est.network_, seen.units.inside(seen.obs), guard)

    def codes(self, rows: slice | None = None) -> tuple[Tensor, Tensor]:
        """Return codes, and how many steps of every sample were refused; of all samples or some.

        Parameters
        ----------
        rows : slice, default=None
            Which samples.
        """
        return self.execution.codes(rows)

    def share(self, refused: Tensor) -> float:
        """Return the share of the steps that were refused.

        Parameters
        ----------
        refused : Tensor of shape (n_samples,)
            How many of every sample.

        Returns
        -------
        float
            From 0 to 1.
        """
        depth = 1 if self.whole else self.plain.depth
        return float(refused.double().mean()) / depth if len(refused) else 0.0

    def warn(self, est: Any, refused: Tensor, norms: Tensor) -> None:
        """Warn if more steps were refused than on the data of the fit, and many.
        Parameters
        ----------
        est : estimator
            For its name.
        refused : Tensor of shape (n_samples,)
            How many of every sample.
        norms : Tensor
            Norms of the refused samples, as the network sees them.
        """
        share = self.share(refused)
        if self.guard is None or share <= max(_MANY, 2 * self.guard.share):
            return
        ratio = float(norms.median()) / self.guard.norm
        if 1 / 1.5 < ratio < 1.5:
            how = (
                "Their norms are like those of the training data, so that they differ in kind: "
                "in direction, or in noise. Train on such data too"
            )
        else:
            how = (
                f"Their norms are {ratio:.3g} times those of the training data (contrast). Train "
                f"on such contrasts, Trainer(augmentation=Augmentation()), or in units of the "
                f"sample"
            )
        warnings.warn(
            f"The guard of {type(est).__name__} refused {100 * share:.1f} % of the layers' "
            f"steps, on {int((refused > 0).sum())} of {len(refused)} samples, where it refused "
            f"{100 * self.guard.share:.1f} % on those of fit. {how}. Their codes are no worse "
            f"than zeros, and no more is promised; LassoCoder solves such samples.",
            GuardWarning,
            stacklevel=6,
        )
