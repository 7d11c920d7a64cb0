"""How much the gradient of a network's output turns: norms of gradient and Hessian."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from sklearn.utils import check_random_state
from torch import Tensor

from sklearn_unroll.functional import Observation
from sklearn_unroll.theory._subject import Subject, examine_trainable, to_double

__all__ = ["gradient_norm", "hessian_spectral_norm"]


def hessian_spectral_norm(
    estimator: Any,
    X: Any,
    *,
    readout: Any = "signs",
    tol: float = 1e-3,
    random_state: Any = None,
) -> np.ndarray:
    """Return ``||Hess f||_2`` for every sample, ``f = <v, codes>`` as function of all parameters.

    By Lanczos iterations on products of the Hessian with vectors, in float64. How it scales
    with the width m depends on what f is. For ``v = +-1 / sqrt(m)`` (a dense readout) of networks
    in the parametrisation of :func:`~sklearn_unroll.nn.smooth_lista` the gradient keeps its
    size and the Hessian falls like ``1 / sqrt(m)`` (Liu, Zhu and Belkin 2020, "On the linearity of
    large non-linear models"). For one component of the code neither falls: the curvature of the
    last layer's threshold acts on that component whatever the width; divided by ``sqrt(m)`` both
    fall.

    Parameters
    ----------
    estimator : estimator or Unrolled
        A fitted estimator, or a network.
    X : array-like of shape (n_samples, n_features) or Observation
        Observations; with a network alone, an Observation with their operator.
    readout : {"signs"}, int or array-like of shape (n_components,), default="signs"
        The vector v: random signs over ``sqrt(n_components)``, one component, or any vector.
    tol : float, default=1e-3
        Relative accuracy of the norms.
    random_state : int, RandomState instance or None, default=None
        Seed of the signs and of the iterations' start.

    Returns
    -------
    ndarray of shape (n_samples,)
        The norms.

    Raises
    ------
    TypeError
        If there is no network, or no operator.
    ValueError
        If data, readout and network do not fit.

    See Also
    --------
    gradient_norm : The same of the gradient.
    width_scaling : Both over the width.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.nn import smooth_lista
    >>> from sklearn_unroll.theory import hessian_spectral_norm
    >>> A = Dense(torch.zeros(10, 4))
    >>> network = smooth_lista(A, n_layers=3, generator=torch.Generator().manual_seed(0))
    >>> hessian_spectral_norm(network, Observation(torch.ones(2, 4), A), random_state=0).shape
    (2,)
    """
    subject, v, rng = _prepare(estimator, X, readout, random_state)
    return np.array([hessian_norm(subject, obs, v, tol, rng) for obs in _each(subject)])


def gradient_norm(
    estimator: Any, X: Any, *, readout: Any = "signs", random_state: Any = None
) -> np.ndarray:
    """Return ``||grad f||_2`` for every sample, ``f = <v, codes>`` as function of all parameters.

    Parameters
    ----------
    estimator : estimator or Unrolled
        A fitted estimator, or a network.
    X : array-like of shape (n_samples, n_features) or Observation
        Observations; with a network alone, an Observation with their operator.
    readout : {"signs"}, int or array-like of shape (n_components,), default="signs"
        The vector v, see :func:`hessian_spectral_norm`.
    random_state : int, RandomState instance or None, default=None
        Seed of the signs.

    Returns
    -------
    ndarray of shape (n_samples,)
        The norms.

    Raises
    ------
    TypeError
        If there is no network, or no operator.
    ValueError
        If data, readout and network do not fit.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.nn import smooth_lista
    >>> from sklearn_unroll.theory import gradient_norm
    >>> A = Dense(torch.zeros(10, 4))
    >>> network = smooth_lista(A, n_layers=3, generator=torch.Generator().manual_seed(0))
    >>> gradient_norm(network, Observation(torch.ones(2, 4), A), random_state=0).shape
    (2,)
    """
    subject, v, _ = _prepare(estimator, X, readout, random_state)
    norms = []
    for obs in _each(subject):
        _, gradient = _gradient(subject, obs, v)
        norms.append(float(gradient.detach().norm()))
    return np.array(norms)


def _prepare(
    estimator: Any, X: Any, readout: Any, random_state: Any
) -> tuple[Subject, Tensor, np.random.RandomState]:
    subject, rng = examine_trainable(estimator, X), check_random_state(random_state)
    m, like = subject.obs.A.n_components, subject.obs.b
    if isinstance(readout, str) and readout == "signs":
        signs = 2.0 * rng.randint(2, size=m) - 1
        return subject, torch.from_numpy(signs).to(like) / m**0.5, rng
    if isinstance(readout, Integral) and not isinstance(readout, bool):
        if not 0 <= readout < m:
            raise ValueError(f"readout={readout} is no component: there are {m}, from 0 on.")
        return subject, torch.eye(m)[readout].to(like), rng
    if isinstance(readout, str | bool) or np.shape(readout) != (m,):
        raise ValueError(
            f"readout must be 'signs', the number of a component, or {m} numbers; got {readout!r}."
        )
    return subject, to_double(readout, "readout", like.device).to(like), rng


def _each(subject: Subject) -> list[Observation]:
    return [subject.obs.take(slice(i, i + 1)) for i in range(len(subject.obs.b))]


@torch.enable_grad()
def _gradient(subject: Subject, obs: Observation, v: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return the parameters, and the gradient of the readout in a graph of its own."""
    parameters = list(subject.network.parameters())
    f = subject.network(obs)[0] @ v
    parts = torch.autograd.grad(f, parameters, create_graph=True, materialize_grads=True)
    return parameters, torch.cat([part.flatten() for part in parts])


def hessian_norm(
    subject: Subject, obs: Observation, v: Tensor, tol: float, rng: np.random.RandomState
) -> float:
    parameters, gradient = _gradient(subject, obs, v)
    if not gradient.requires_grad:
        return 0.0  # f is affine in all parameters

    def product(w: np.ndarray) -> np.ndarray:
        direction = torch.from_numpy(np.ascontiguousarray(w).ravel()).to(gradient)
        found = torch.autograd.grad(
            gradient, parameters, direction, retain_graph=True, materialize_grads=True
        )
        return torch.cat([part.flatten() for part in found]).cpu().numpy()

    size = gradient.numel()
    start = rng.standard_normal(size)
    turned = product(start)
    if not turned.any():
        return 0.0
    if size < 3:  # eigsh wants room
        return float(np.linalg.norm(np.column_stack([product(e) for e in np.eye(size)]), 2))
    hessian = LinearOperator((size, size), matvec=product, dtype=np.float64)
    (largest,) = eigsh(hessian, k=1, which="LM", v0=turned, tol=tol, return_eigenvectors=False)
    return float(abs(largest))
