"""Training exactly as it is analysed: plain gradient descent, with the step that theory gives."""

from __future__ import annotations

import math
import warnings
from copy import deepcopy
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state, check_scalar

from sklearn_unroll.theory._hessian import hessian_norm
from sklearn_unroll.theory._kernel_spectrum import KernelSpectrum, spectrum_of
from sklearn_unroll.theory._subject import Subject, examine_trainable

__all__ = ["DescentPath", "gradient_descent_path", "gradient_descent_step", "untrained"]

# Plain gradient descent on the mean squared distance, of all samples at once.
PLAIN = {
    "objective": "supervised",
    "schedule": "end_to_end",
    "decay": "constant",
    "batch_size": None,
    "max_grad_norm": None,
    "loss": "mean",
    "optimizer": "sgd",
    "truncate": None,
    "penalty": None,
    "constraint": None,
    "perturbation": None,
    "early_stopping": False,
}


class DescentPath(NamedTuple):
    """States of a training by plain gradient descent.

    Parameters
    ----------
    estimators : list of estimator
        Fitted ones, the first of them untrained.
    steps : ndarray of shape (n_states,)
        How many steps each has taken.
    step : float
        Length of a step on ``0.5 ||F(w) - y||^2``.
    """

    estimators: list
    steps: np.ndarray
    step: float


class Constants(NamedTuple):
    """What the theorems ask of a network at its start."""

    spectrum: KernelSpectrum
    hessian_norm: float
    residual: float

    @property
    def lipschitz(self) -> float:
        return math.sqrt(max(self.spectrum.largest, 0.0))


def untrained(estimator: Any, X: Any, y: Any = None, **metadata: Any) -> Any:
    """Return a fitted copy of an estimator whose network has taken no step.

    Parameters
    ----------
    estimator : estimator
        Any with a trainer; it is cloned and left as it is.
    X : array-like of shape (n_samples, n_features)
        Observations, as for ``fit``.
    y : array-like of shape (n_samples, n_components), default=None
        True codes, as for ``fit``.
    **metadata : Any
        What else ``fit`` takes for each sample, such as ``operators``.

    Returns
    -------
    estimator
        The fitted copy. It is where a fit begins only if ``random_state`` is a number.

    Raises
    ------
    TypeError
        If the estimator has no trainer.

    Examples
    --------
    >>> from sklearn_unroll import LISTARegressor
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.theory import untrained
    >>> data = make_sparse_recovery(10, 8, 12, sparsity=2, random_state=0)
    >>> start = untrained(LISTARegressor(data.dictionary), data.X, data.y)  # this is ISTA
    >>> start.predict(data.X).shape
    (10, 12)
    """
    known = estimator.get_params(deep=False) if isinstance(estimator, BaseEstimator) else {}
    if "trainer" not in known:
        raise TypeError(
            f"An estimator with a trainer is needed, such as LISTARegressor(...); got "
            f"{type(estimator).__name__}."
        )
    still = {"trainer__max_epochs": 0, "trainer__early_stopping": False}
    return clone(estimator).set_params(**still).fit(X, y, **metadata)


def gradient_descent_step(
    estimator: Any, X: Any, y: Any, *, n_outputs: int = 8, random_state: Any = None
) -> float:
    """Return ``1 / (L_F^2 + beta_F ||F(w) - y||)``, the step of the convergence theorem.

    Liu, Zhu and Belkin 2022, "Loss landscapes and optimization in over-parameterized non-linear
    systems and neural networks", for the loss ``0.5 ||F(w) - y||^2``: ``L_F^2`` is the largest
    eigenvalue of the tangent kernel and ``beta_F = sqrt(n_samples) ||H_F||``, both where the
    network is; the theorem wants bounds for the whole ball that training stays in.

    Parameters
    ----------
    estimator : estimator or Unrolled
        A fitted estimator, such as :func:`untrained` returns, or a network.
    X : array-like of shape (n_samples, n_features) or Observation
        Observations; with a network alone, an Observation with their operator.
    y : array-like of shape (n_samples, n_components)
        True codes.
    n_outputs : int, default=8
        Of how many outputs, drawn at random, the Hessian's norm is the largest.
    random_state : int, RandomState instance or None, default=None
        Seed of the draw.

    Returns
    -------
    float
        The step. A ``Trainer`` with ``loss="mean"`` takes it times ``n_samples / 2``.

    Examples
    --------
    >>> from sklearn_unroll import LISTARegressor
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.theory import gradient_descent_step, untrained
    >>> data = make_sparse_recovery(5, 4, 20, sparsity=2, random_state=0)
    >>> model = LISTARegressor(weights="free", shrinkage="smooth", init="normal", random_state=0)
    >>> start = untrained(model, data.X, data.y)
    >>> 0 < gradient_descent_step(start, data.X, data.y, random_state=0) < 1
    True
    """
    subject = examine_trainable(estimator, X, y)
    return step_of(subject, constants_of(subject, n_outputs, 4e9, random_state))


def gradient_descent_path(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    n_steps: int = 1000,
    n_states: int = 10,
    step: float | None = None,
    random_state: Any = None,
) -> DescentPath:
    """Train as the theory does, and keep states along the way.

    Plain gradient descent of all samples at once on ``0.5 ||F(w) - y||^2``, in float64, by a copy
    of the estimator's own trainer that is set accordingly.

    Parameters
    ----------
    estimator : estimator
        Any with a trainer; it is cloned and left as it is.
    X : array-like of shape (n_samples, n_features)
        Observations.
    y : array-like of shape (n_samples, n_components)
        True codes.
    n_steps : int, default=1000
        Steps to take.
    n_states : int, default=10
        States to keep after the first, at about equal ratios of steps.
    step : float or None, default=None
        Length of a step; None takes that of :func:`gradient_descent_step` at the start.
    random_state : int, RandomState instance or None, default=None
        Seed for that; the estimator has its own.

    Returns
    -------
    DescentPath
        The states.

    Raises
    ------
    TypeError
        If the estimator has no trainer.
    DivergenceError
        If the loss becomes infinite or NaN: the step is too long.

    Warns
    -----
    UserWarning
        If the loss rose in some steps: the step is too long for this network, whose tangent
        kernel grows.

    Examples
    --------
    >>> from sklearn_unroll import LISTARegressor
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.theory import gradient_descent_path
    >>> data = make_sparse_recovery(5, 4, 20, sparsity=2, random_state=0)
    >>> network = {"weights": "free", "shrinkage": "smooth", "init": "normal", "n_layers": 3}
    >>> model = LISTARegressor(**network, alpha=1.0, random_state=0)
    >>> path = gradient_descent_path(model, data.X, data.y, n_steps=100, n_states=3)
    >>> path.steps
    array([  0,   4,  21, 100])
    """
    check_scalar(n_steps, "n_steps", Integral, min_val=1)
    check_scalar(n_states, "n_states", Integral, min_val=1)
    start = untrained(estimator, X, y)
    if step is None:
        step = gradient_descent_step(start, X, y, random_state=random_state)
    check_scalar(step, "step", Real, min_val=0, include_boundaries="neither")
    network, obs, codes = examine_trainable(start, X, y)
    # The mean of squares has a gradient 2 / n_samples times that of half their sum.
    rate = 0.5 * len(obs.b) * step
    trainer = clone(start.trainer_).set_params(**PLAIN, learning_rate=rate)
    generator = torch.Generator(obs.b.device)  # of shuffles, and there are none
    steps = np.unique(np.round(np.geomspace(1, n_steps + 1, n_states + 1)).astype(int)) - 1
    estimators, rises = [start], 0
    for count in np.diff(steps).tolist():
        trainer.set_params(max_epochs=count)
        try:
            history = trainer.run(network, obs, codes, alpha=1.0, generator=generator)
        except FloatingPointError as error:
            raise type(error)(
                f"Gradient descent with steps of length {step:.3g} diverged: the tangent kernel "
                f"does not stay near that of the start, for which this step is right. Pass a "
                f"shorter one, step={step / 10:.3g} say."
            ) from error
        rises += int((np.diff(history.column("monitor")) > 0).sum())
        estimators.append(deepcopy(start))
        estimators[-1].network_ = deepcopy(network)
    if rises:
        warnings.warn(
            f"The loss rose in {rises} of {n_steps} steps of length {step:.3g}, and the best "
            f"state was gone back to: the tangent kernel has grown, and wants shorter steps.",
            stacklevel=2,
        )
    return DescentPath(estimators, steps, float(step))


def constants_of(
    subject: Subject, n_outputs: int, memory_limit: float, random_state: Any
) -> Constants:
    """Return eigenvalues, norm of the Hessian and distance to the codes of a subject."""
    check_scalar(n_outputs, "n_outputs", Integral, min_val=1)
    rng = check_random_state(random_state)
    m, rows = subject.obs.A.n_components, subject.n_outputs
    eye = torch.eye(m).to(subject.obs.b)
    chosen = rng.choice(rows, size=min(n_outputs, rows), replace=False)
    norms = []
    for sample, component in (divmod(int(output), m) for output in chosen):
        obs = subject.obs.take(slice(sample, sample + 1))
        norms.append(hessian_norm(subject, obs, eye[component], 1e-2, rng))
    with torch.no_grad():
        residual = float((subject.network(subject.obs) - subject.y).norm())
    return Constants(spectrum_of(subject, "auto", memory_limit), max(norms), residual)


def step_of(subject: Subject, constants: Constants) -> float:
    """Return the step of the convergence theorem."""
    smoothness = math.sqrt(len(subject.obs.b)) * constants.hessian_norm
    return 1 / (constants.lipschitz**2 + smoothness * constants.residual)
