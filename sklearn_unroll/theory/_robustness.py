"""What a disturbance of layers, observations or operator does to the codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sklearn_unroll.functional import Composite, Dense, Observation, layer_noise
from sklearn_unroll.functional.noise import NOISE_SCHEDULES
from sklearn_unroll.theory._subject import GIVEN, Subject, examine, leaving

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
    solve: Callable[[Any], Any] | None = None,
    random_state: int = 0,
    **metadata: Any,
) -> Robustness:
    """Return ``E ||x_K - y||`` over the scale of noise in the layers, in X, or in the dictionary.

    The network is examined in float64 and before any debiasing; distances are in the user's units.
    Noise differs from scale to scale only by its factor.

    Parameters
    ----------
    estimator : estimator or Unrolled
        A fitted estimator with a network, or a network.
    X : array-like of shape (n_samples, n_features) or Observation
        Observations; with a network alone, an Observation with their operator, or instances that
        know their problem.
    y : array-like of shape (n_samples, n_components)
        The codes wanted.
    where : sequence of {"layers", "input", "operator"}
        What to disturb, one at a time. ``"layers"``: every iterate but the last, by
        :func:`~sklearn_unroll.functional.layer_noise`. ``"input"``: X by normal noise in units of
        its root mean square, holes left as they are. ``"operator"``: the dictionary that the
        network is told, likewise; networks of free weights do not look at it.
    scales : sequence of float
        Factors on the noise.
    schedule : {"log_gradient", "unit_norm", "constant"}, default="log_gradient"
        Of the noise in the layers.
    solve : callable, default=None
        Maps disturbed observations, arrays like X, to the codes wanted for them, such as
        ``LassoCoder(...).fit(X).transform``; None compares with y also there.
    random_state : int, default=0
        Seed of the noise.
    **metadata : Any
        What ``predict`` takes for each sample, such as ``operators``.

    Returns
    -------
    Robustness
        Curves of the error and of descent.

    Raises
    ------
    TypeError
        If there is no network, or no operator.
    ValueError
        If a name, a scale or y is not valid, or the operator is no dictionary.

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
    given = Given(estimator, X, y, metadata, schedule, solve, random_state)
    error, descending = {}, {}
    for name in where:
        found = [DISTURB[name](given, float(scale)) for scale in factors]
        nearer = [(d[:, 1:] < d[:, :-1]).double().mean(0).numpy(force=True) for d in found]
        error[name] = np.array([float(distance[:, -1].mean()) for distance in found])
        descending[name] = np.array(nearer)
    return Robustness(factors, error, descending)


class Given(NamedTuple):
    """What is disturbed, and how."""

    estimator: Any
    X: Any
    y: Any
    metadata: dict
    schedule: str
    solve: Callable | None
    seed: int

    def subject(self) -> Subject:
        return examine(self.estimator, self.X, self.y, **self.metadata)

    def noise(self, like: Tensor) -> Callable[[Tensor], Tensor]:
        """Return what draws normal numbers of a shape, whatever the scale."""
        generator = torch.Generator(like.device).manual_seed(self.seed)
        kind = {"generator": generator, "dtype": torch.float64, "device": like.device}
        return lambda x: torch.randn(x.shape, **kind)

    def distances(self, subject: Subject, perturb: Callable | None = None) -> Tensor:
        """Return the distance of every iterate from the codes wanted, one row a sample."""
        leave = leaving(self.estimator, self.X, np.shape(self.y), **self.metadata)
        iterates = subject.network.iterates(subject.obs, perturb=perturb)
        return torch.stack([(leave(x) - leave(subject.y)).norm(dim=1) for x in iterates], 1)


def _layers(given: Given, scale: float) -> Tensor:
    subject = given.subject()
    draw = given.noise(subject.obs.b)

    def perturb(number: int, x: Tensor, obs: Observation) -> Tensor:
        return x + scale * layer_noise(draw(x), number, x, obs, given.schedule)

    return given.distances(subject, perturb)


def _input(given: Given, scale: float) -> Tensor:
    X = seen = _with_noise(given.X.b if isinstance(given.X, GIVEN) else given.X, scale, given)
    if isinstance(given.X, GIVEN):
        X = given.X._replace(b=seen)
    given = given._replace(X=X, y=given.y if given.solve is None else given.solve(seen))
    return given.distances(given.subject())


def _operator(given: Given, scale: float) -> Tensor:
    subject = given.subject()
    obs = subject.obs
    if not isinstance(obs.A, Dense):
        raise ValueError(f"Only a dictionary can be disturbed, not a {type(obs.A).__name__}.")
    A = Dense(_with_noise(obs.A.D, scale, given))
    if isinstance(obs, Composite):  # whose step is that of its operator
        obs = Composite.of(obs.b, A, obs.f, obs.R, obs.x0)
    return given.distances(subject._replace(obs=obs._replace(A=A)))


def _with_noise(X: Any, scale: float, given: Given) -> Any:
    """Return values with noise in units of the root mean square of those that are seen."""
    values = X if isinstance(X, Tensor) else torch.tensor(np.asarray(X, dtype=float))
    size = values[~values.isnan()].double().square().mean().sqrt()
    noise = scale * size * given.noise(values)(values)
    if isinstance(X, Tensor):
        return X + noise
    # A frame keeps its names.
    return (np.asarray(X) if isinstance(X, (list, tuple)) else X) + noise.numpy()


DISTURB = {"layers": _layers, "input": _input, "operator": _operator}
