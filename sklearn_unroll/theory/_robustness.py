"""What a disturbance of layers, observations or operator does to the codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import Dense, Observation, layer_noise
from sklearn_unroll.functional.noise import NOISE_SCHEDULES
from sklearn_unroll.theory._subject import Subject, examine

__all__ = ["Robustness", "robustness"]


class Robustness(NamedTuple):
    """Curves of :func:`robustness`.

    Parameters
    ----------
    scales : ndarray of shape (n_scales,)
        Sizes of the disturbance.
    error : dict of str to ndarray of shape (n_scales,)
        For everything that was disturbed, the mean distance of the codes from those wanted.
    descending : dict of str to ndarray of shape (n_scales, n_layers)
        Fraction of the samples that a layer brings nearer.
    """

    scales: np.ndarray
    error: dict[str, np.ndarray]
    descending: dict[str, np.ndarray]


@torch.no_grad()
def robustness(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    where: Sequence[str] = ("layers", "input", "operator"),
    scales: Sequence[float] = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0),
    schedule: str = "log_gradient",
    solve: Callable[[np.ndarray], np.ndarray] | None = None,
    random_state: int = 0,
) -> Robustness:
    """Return ``E ||x_K - y||`` over the scale of noise in the layers, in X, or in the dictionary.

    The network is examined in float64 and before any debiasing. Noise differs from scale to scale
    only by its factor.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator with a network, and a dictionary if the operator is to be disturbed.
    X : array-like of shape (n_samples, n_features)
        Observations.
    y : array-like of shape (n_samples, n_components)
        The codes wanted.
    where : sequence of {"layers", "input", "operator"}
        What to disturb, one at a time. ``"layers"``: every iterate but the last, by
        :func:`~sklearn_unroll.functional.layer_noise`. ``"input"``: X by normal noise in units of
        its root mean square. ``"operator"``: the dictionary that the network is told, likewise;
        networks of free weights do not look at it.
    scales : sequence of float
        Factors on the noise.
    schedule : {"log_gradient", "unit_norm", "constant"}, default="log_gradient"
        Of the noise in the layers.
    solve : callable, default=None
        Maps disturbed observations to the codes wanted for them, such as ``LassoCoder(...)
        .fit(X).transform``; None compares with y also there.
    random_state : int, default=0
        Seed of the noise.

    Returns
    -------
    Robustness
        Curves of the error and of descent.

    Raises
    ------
    ValueError
        If a name, a scale or y is not valid.

    Examples
    --------
    >>> from sklearn_unroll import LISTARegressor, Trainer
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.theory import robustness
    >>> data = make_sparse_recovery(100, 20, 30, sparsity=2, random_state=0)
    >>> model = LISTARegressor(data.dictionary, n_layers=4, trainer=Trainer(max_epochs=2))
    >>> curves = robustness(model.fit(data.X, data.y), data.X, data.y, scales=(0, 1))
    >>> all(error[1] > error[0] for error in curves.error.values())
    True
    """
    unknown = set(where) - set(DISTURB)
    if unknown or not where:
        raise ValueError(f"where must name some of {sorted(DISTURB)}, got {tuple(where)}.")
    if schedule not in NOISE_SCHEDULES:
        raise ValueError(f"schedule must be one of {NOISE_SCHEDULES}, got {schedule!r}.")
    factors = np.asarray(scales, dtype=float)
    if factors.ndim != 1 or not len(factors) or not (np.isfinite(factors) & (factors >= 0)).all():
        raise ValueError(f"scales must be nonnegative numbers, at least one; got {scales!r}.")
    if y is None:
        raise ValueError("robustness needs y, the codes wanted.")
    subject = examine(estimator, X, y)
    error, descending = {}, {}
    for name in where:
        parts = []
        for scale in factors:
            generator = torch.Generator(subject.obs.b.device).manual_seed(random_state)
            draw = partial(torch.randn, generator=generator, dtype=torch.float64)
            iterates, obs = DISTURB[name](subject, float(scale), schedule, draw)
            wanted = subject.y
            if name == "input" and solve is not None:
                wanted = torch.as_tensor(solve(obs.b.numpy(force=True))).to(wanted)
            distance = torch.stack([(x - wanted).norm(dim=1) for x in iterates], 1)
            nearer = (distance[:, 1:] < distance[:, :-1]).double().mean(0)
            parts.append((float(distance[:, -1].mean()), nearer.numpy(force=True)))
        error[name] = np.array([mean for mean, _ in parts])
        descending[name] = np.array([nearer for _, nearer in parts])
    return Robustness(factors, error, descending)


def _layers(subject: Subject, scale: float, schedule: str, draw: Callable) -> tuple:
    def perturb(number: int, x: Tensor, obs: Observation) -> Tensor:
        xi = draw(x.shape, device=x.device)
        return x + scale * layer_noise(xi, number, x, obs, schedule)

    return subject.network.iterates(subject.obs, perturb=perturb), subject.obs


def _input(subject: Subject, scale: float, schedule: str, draw: Callable) -> tuple:
    obs = subject.obs._replace(b=_disturbed(subject.obs.b, scale, draw))
    return subject.network.iterates(obs), obs


def _operator(subject: Subject, scale: float, schedule: str, draw: Callable) -> tuple:
    A = subject.obs.A
    if not isinstance(A, Dense):
        raise ValueError(f"Only a dictionary can be disturbed, not a {type(A).__name__}.")
    obs = subject.obs._replace(A=Dense(_disturbed(A.D, scale, draw)))
    return subject.network.iterates(obs), obs


def _disturbed(values: Tensor, scale: float, draw: Callable) -> Tensor:
    size = values.square().mean().sqrt()
    return values + scale * size * draw(values.shape, device=values.device)


DISTURB = {"layers": _layers, "input": _input, "operator": _operator}
