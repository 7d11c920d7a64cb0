"""The task of coding over a dictionary or an operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from sklearn.utils._array_api import check_same_namespace
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sklearn_unroll.estimators._arrays import (
    from_tensor,
    narrowed,
    refuse_kind,
    resolve_device,
    to_rows,
    to_tensor,
)
from sklearn_unroll.estimators._checked import (
    as_codes,
    check_magnitude,
    check_observations,
    rows_to_compute,
)
from sklearn_unroll.estimators._familiar import familiar, warn_if_unfamiliar
from sklearn_unroll.estimators._guard import Run, settle_guard
from sklearn_unroll.estimators._judge import judge_codes
from sklearn_unroll.estimators._missing import observed, split_missing
from sklearn_unroll.estimators._operators import (
    check_operators,
    check_operators_allowed,
    resolve_operators,
)
from sklearn_unroll.estimators._recovery import check_debias, choose_debias, debias_codes
from sklearn_unroll.estimators._shell import Seen, Task, stated
from sklearn_unroll.estimators._sizes import option, sizes_of_fit, units_of
from sklearn_unroll.estimators._state import Given
from sklearn_unroll.estimators._units import safe_norms
from sklearn_unroll.estimators._validation import (
    check_codes,
    check_codes_match,
    check_weight,
    count_failed,
    raise_if_failed,
    warn_if_unexplained,
)
from sklearn_unroll.functional import (
    Composite,
    Dense,
    GroupL1,
    LeastSquares,
    Observation,
    Operator,
    Penalty,
)
from sklearn_unroll.functional.rows import blocks, stand_in, whole
from sklearn_unroll.nn import Unrolled
from sklearn_unroll.training import History, Lasso, Trainer

__all__ = ["Codes"]


@dataclass(frozen=True)
class Codes(Task):
    """``0.5 ||x - z D||^2 + R(z)``: codes z of observations x, learned from pairs or from x alone.

    An estimator with parameters ``normalize`` and ``debias`` has what they say, and one with
    ``alpha`` the penalty ``alpha ||z||_1`` unless its ``penalty_of`` says otherwise.

    Parameters
    ----------
    operator : str, default="dictionary"
        The name of the parameter that maps codes to observations.
    unit_atoms : bool, default=False
        Whether the network sees atoms of norm one; codes are rescaled on the way out.
    needs_pairs : bool, default=False
        Whether y is what makes the network, whatever the objective of its training.
    any_size : bool, default=False
        Whether codes are found for observations whose squares leave the range, too.
    zero_atoms : bool, default=False
        Whether a dictionary may have atoms that are zero, whose codes are then zero.
    missing : bool, default=False
        Whether NaN in observations stands for what was not seen.
    """

    operator: str = "dictionary"
    unit_atoms: bool = False
    needs_pairs: bool = False
    any_size: bool = False
    zero_atoms: bool = False
    missing: bool = False

    def take_in(
        self,
        est: Any,
        X: Any,
        y: Any,
        sample_weight: Any,
        operators: Any = None,
        *,
        trainer: Trainer | None = None,
        generator: torch.Generator | None = None,
        reset: bool = True,
        keep: bool = False,
    ) -> Given:
        """Validate what fit was given; ``keep`` goes on with the operator of the last fit."""
        known = y is not None or operators is not None
        X = check_observations(
            est, X, reset=reset, y="no_validation" if known else None, missing=self.missing
        )
        y = None if y is None else check_codes(y, X, est)
        est._y_was_1d = y is not None and y.ndim == 1
        b = to_rows(X, dtype=None, device=resolve_device(est.device, X))
        b, visible = split_missing(b) if self.missing else (b, None)
        b = self._in_range(b, least=torch.finfo(b.dtype).tiny ** 0.5)
        weight = check_weight(sample_weight, X, stand_in(b))
        codes = None if y is None else as_codes(y, b)
        own, A = resolve_operators(self, est, b, codes, weight, operators, keep, visible)
        check_debias(option(est, "debias"), A)
        obs = Observation(b, observed(A, visible))
        if codes is not None:
            check_codes_match(codes, A, est)
        norm, scale = sizes_of_fit(self, est, obs, codes, weight, keep)
        units = units_of(self, est, obs, norm, scale)
        if codes is not None:
            if self.knows_operator(est, operators):
                warn_if_unexplained(obs, codes, weight, self.operator)
            codes = check_magnitude(units.rows_enter(codes), "y, in units of X,")
        dense, applied = isinstance(own, Dense), self.operator == "dictionary"
        fitted = {
            "dictionary_": from_tensor(own.D.clone(), X) if dense else own if applied else None,
            "n_components_": A.n_components,
            "norm_": norm,
            "scale_": scale,
        }
        if self.operator != "dictionary":
            fitted["operator_"] = own
        inside = units.rows_inside(obs)
        return Given(X, y, inside, codes, weight, generator, keep, fitted)

    def state(self, est: Any, network: Unrolled, given: Given) -> dict:
        """Return the fitted attributes that depend on the network."""
        kind = option(est, "debias")
        known = given.resumes and est.familiar_
        state = {"familiar_": known or familiar(network, given)}
        state |= {"debias_": choose_debias(network, given) if kind is True else kind or None}
        if "guard" in est.get_params(deep=False):
            state["guard_"] = settle_guard(est, network, given)
        return state

    def judge(self, est: Any, network: Unrolled, given: Given, history: History | None) -> None:
        """Compare the codes of the fit with those that cost nothing."""
        judge_codes(est, network, given, history)

    def knows_operator(self, est: Any, operators: Any = None) -> bool:
        """Return whether the operator is given, and need not be estimated from pairs.

        Parameters
        ----------
        est : estimator
            Whose task this is.
        operators : array-like or None
            Given for each sample.

        Returns
        -------
        bool
            Whether it is given.
        """
        return est.own_operator() is not None or operators is not None

    def prepare(self, est: Any, trainer: Trainer, y: Any, metadata: dict) -> tuple[Trainer, bool]:
        """Return how to train, and whether y is looked at; raise if it should be."""
        objective = trainer.resolve_objective(y is not None, self.alpha(est))
        if y is not None or self.knows_operator(est, **metadata):
            est.check_objective(objective)
        if y is None:
            return trainer, False
        if self.needs_pairs and not objective.requires_y:
            raise ValueError(
                f"{type(est).__name__} learns from pairs, but the objective "
                f"{type(objective).__name__} of its trainer uses no y: take Trainer('supervised')."
            )
        # Labels of a later step of a Pipeline, say: nothing here needs them.
        return trainer, trainer.requires_y(objective) or not self.knows_operator(est, **metadata)

    def see(self, est: Any, X: Any, method: str, dtype: Any = None, operators: Any = None) -> Seen:
        """Validate X for a fitted estimator, which computes in the dtype of its fit."""
        return self.see_rows(est, X, method, dtype, operators).whole()

    def see_rows(
        self, est: Any, X: Any, method: str, dtype: Any = None, operators: Any = None
    ) -> Seen:
        """Validate X, of which a copy is not kept: it is seen a few rows at a time.

        Parameters
        ----------
        est, X, method, dtype, operators : object
            As for ``see``.

        Returns
        -------
        Seen
            Data may be rows.
        """
        self.check_ready(est, X, method, operators)
        X = check_observations(est, X, reset=False, missing=self.missing)
        b, visible = rows_to_compute(X, est.compute_like(X).to(dtype)), None
        if self.missing:
            b, visible = split_missing(b)
        b = self._in_range(b)
        obs = Observation(b, observed(self.fitted_operator(est, stand_in(b), operators), visible))
        return Seen(X, obs, units_of(self, est, obs, est.norm_, est.scale_))

    def see_codes(self, est: Any, y: Any, seen: Seen) -> Tensor:
        """Return codes that belong to what was seen, in the units of the network."""
        codes = whole(as_codes(check_codes(y, seen.X, est), seen.obs.b))
        check_codes_match(codes, seen.obs.A, est)
        return seen.units.enter(codes)

    def check_ready(self, est: Any, X: Any, method: str, operators: Any) -> None:
        """Raise unless the estimator is fitted and what maps codes to X is known.

        Parameters
        ----------
        est : estimator
            Whose task this is.
        X : array-like
            What the method was given.
        method : str
            Its name, for messages.
        operators : array-like or None
            Given for each sample.
        """
        if "dictionary_" not in vars(est):  # tags take longer to look up than a signal to code
            check_is_fitted(est)
        refuse_kind(X, "X")
        if operators is not None:
            check_operators_allowed(self, est)
        elif est.dictionary_ is not None and not isinstance(est.dictionary_, Operator):
            check_same_namespace(X, est, attribute="dictionary_", method=method)
        elif self.operator == "dictionary" and est.dictionary_ is None:
            raise ValueError(
                f"{type(est).__name__} was fitted with one dictionary per observation and has "
                f"none of its own: pass operators=..., of shape (n_samples, n_components, "
                f"n_features), to {method}, or dictionary=... to the constructor."
            )

    def fitted_operator(self, est: Any, b: Tensor, operators: Any = None) -> Operator:
        """Return the operator of a fitted estimator for the observations b.

        Parameters
        ----------
        est : estimator
            Whose task this is.
        b : Tensor of shape (n_samples, n_features)
            Sets dtype and device.
        operators : array-like or None
            Given for each sample.

        Returns
        -------
        Operator
            With dtype and device of b.
        """
        if operators is not None:
            return check_operators(operators, b, est.n_features_in_, est.n_components_)
        if self.operator != "dictionary":
            return est.operator_.to(b)
        if isinstance(est.dictionary_, Operator):
            return est.dictionary_.to(b)
        return Dense(to_tensor(est.dictionary_, dtype=b.dtype, device=b.device))

    def problem(self, est: Any, seen: Seen, alpha: Any = None) -> Composite:
        """Return ``0.5 ||x - z D||^2`` with the estimator's penalty, in the user's units."""
        return stated(seen.obs, LeastSquares(), est.penalty_of(seen, alpha))

    def alpha(self, est: Any) -> float:
        """Return the weight of the l1 norm in the units of the network; zero where it is none."""
        trainer = option(est, "trainer")
        objective = None if trainer is None else trainer.objective
        own = objective.alpha if isinstance(objective, Lasso) else None
        return float((option(est, "alpha") if own is None else own) or 0.0)

    def penalty(self, est: Any, obs: Observation) -> Penalty | None:
        """Return the penalty of the estimator's groups, None without."""
        R = est.unit_penalty(obs.A.n_components)
        return R if isinstance(R, GroupL1) else None

    def solve(self, est: Any, seen: Seen, out: Tensor | None = None) -> Tensor:
        """Return the codes of what was seen, in the user's units.

        Parameters
        ----------
        est : estimator
            Whose task this is.
        seen : Seen
            What was validated.
        out : Tensor of shape (n_samples, n_components), default=None
            Where to write them, a block of rows at a time; a new tensor by default.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            Codes.
        """
        obs, units, guard = seen.obs, seen.units, vars(est).get("guard_")
        inside = units.rows_inside(obs)
        warn_if_unfamiliar(est, inside, guard)
        codes = obs.b.new_empty(len(obs.b), obs.A.n_components) if out is None else out
        refused = obs.b.new_empty(len(obs.b), dtype=torch.long)
        run, norms, failed = Run(est, est.network_, inside, guard), [], 0
        with run.execution.calm():
            for rows in blocks(codes):
                found, refused[rows] = run.codes(rows)
                if bool(refused[rows].any()):
                    norms.append(safe_norms(inside.b[rows.start + refused[rows].nonzero()[:, 0]]))
                found = units.take(rows).leave(found)
                failed += count_failed(found)
                if not failed:
                    found = debias_codes(found, obs.take(rows), est.debias_, est.network_)
                    codes[rows] = narrowed(found, codes.dtype)
        run.warn(est, refused, torch.cat([obs.b.new_empty(0, 1), *norms]))
        raise_if_failed(failed, len(codes), est)
        return codes

    def finish(self, est: Any, codes: Tensor, obs: Observation) -> Tensor:
        """Return codes as they go out.

        Parameters
        ----------
        est : estimator
            Whose task this is.
        codes : Tensor of shape (n_samples, n_components)
            What the network gave, in the user's units.
        obs : Observation
            Data and operator, in the user's units.

        Returns
        -------
        Tensor of shape (n_samples, n_components)
            Codes, debiased where the estimator does so.
        """
        raise_if_failed(count_failed(codes), len(codes), est)
        return debias_codes(codes, obs, est.debias_, est.network_)

    def _in_range(self, b: Tensor, least: float = 0.0) -> Tensor:
        return b if self.any_size else check_magnitude(b, "X", least=least)
