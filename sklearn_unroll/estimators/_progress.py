"""Reports training to scikit-learn's callbacks: fit > stage > epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn_unroll.training import Report, Stage


class CallbackReport(Report):
    """Opens and closes one callback context per fit, stage and epoch.

    Parameters
    ----------
    estimator : estimator
        Supports callbacks.
    n_stages : int
        Largest number of stages.
    X, y : arrays or None
        What fit was given, for callbacks that score.
    metadata : dict of arrays or None
        What else it was given, for each sample.
    state : callable
        Returns the fitted attributes as they are now; called only if a callback wants them.
    """

    def __init__(
        self,
        estimator: Any,
        n_stages: int,
        X: Any,
        y: Any,
        metadata: dict[str, Any],
        state: Callable[[], dict],
    ) -> None:
        self.given = {"estimator": estimator, "X": X, "y": y}
        metadata = {name: value for name, value in metadata.items() if value is not None}
        if metadata:
            self.given["metadata"] = metadata
        self.state = state
        self.fit = estimator._init_callback_context(max_subtasks=n_stages)
        self.fit.call_on_fit_task_begin(**self.given)

    def stage_begins(self, stage: Stage, n_epochs: int) -> None:
        """Open the context of a stage."""
        self.stage = self.fit.subcontext(task_name=stage.name, max_subtasks=n_epochs)
        self.stage.call_on_fit_task_begin(**self.given)

    def epoch_begins(self) -> None:
        """Open the context of an epoch."""
        self.epoch = self.stage.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(**self.given)

    def epoch_ends(self) -> bool:
        """Close it; return whether a callback asked to end the stage."""
        return self.epoch.call_on_fit_task_end(**self.given, reconstruction_attributes=self.state)

    def stage_ends(self) -> None:
        """Close the context of a stage."""
        self.stage.call_on_fit_task_end(**self.given, reconstruction_attributes=self.state)

    def fit_ends(self) -> None:
        """Close the context of the fit."""
        self.fit.call_on_fit_task_end(**self.given, reconstruction_attributes=self.state)
