"""The PL* condition of a network on given data: every number that the theorems ask for."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.linalg import eigvalsh
from torch import Tensor

from sklearn_unroll.theory._gradient_descent import DescentPath, constants_of, step_of
from sklearn_unroll.theory._kernel_spectrum import rounding_of
from sklearn_unroll.theory._subject import Subject, examine_trainable
from sklearn_unroll.theory._tangent_kernel import kernel_of

__all__ = ["PLStarPath", "PLStarReport", "pl_star_report"]


class PLStarPath(NamedTuple):
    """What was measured at the states of a training, each an array of one number a state.

    Parameters
    ----------
    steps : ndarray of shape (n_states,)
        Steps taken.
    losses : ndarray of shape (n_states,)
        ``L = 0.5 ||F(w) - y||^2``.
    ratios : ndarray of shape (n_states,)
        ``0.5 ||gradient||^2 / L``, what PL* bounds from below; nan where the loss is zero.
    smallest : ndarray of shape (n_states,)
        The smallest eigenvalue of the tangent kernel there.
    kernel_change : ndarray of shape (n_states,)
        ``||K - K_0|| / ||K_0||``, Frobenius norms.
    distances : ndarray of shape (n_states,)
        ``||w - w_0||``.
    resolution : float
        What rounding makes of an eigenvalue zero at worst.
    step : float
        Length of a step.
    """

    steps: np.ndarray
    losses: np.ndarray
    ratios: np.ndarray
    smallest: np.ndarray
    kernel_change: np.ndarray
    distances: np.ndarray
    resolution: float
    step: float

    @property
    def held(self) -> np.ndarray:
        """At which states ``0.5 ||gradient||^2 >= lambda_min(K) L`` held, to rounding."""
        bound = self.smallest * (1 - 1e-9) - self.resolution
        return ~(self.ratios < bound)


class PLStarReport(NamedTuple):
    """What :func:`pl_star_report` has found; ``str`` of it is a table.

    Parameters
    ----------
    n_samples, n_components, n_parameters : int
        T, m and P.
    smallest_eigenvalue : float
        ``lambda_0`` of the tangent kernel.
    condition_number : float
        The kernel's largest eigenvalue over its smallest.
    resolution : float
        What rounding makes of an eigenvalue zero at worst.
    lipschitz : float
        ``L_F``, the root of the kernel's largest eigenvalue.
    hessian_norm : float
        ``||H_F||``, the largest spectral norm among the outputs that were examined.
    n_examined : int
        How many of the ``m T`` outputs that were.
    residual : float
        ``||F(w_0) - y||``.
    step : float
        ``1 / (L_F^2 + sqrt(T) ||H_F|| residual)``, of gradient descent.
    path : PLStarPath or None
        What was measured along a training.
    """

    n_samples: int
    n_components: int
    n_parameters: int
    smallest_eigenvalue: float
    condition_number: float
    resolution: float
    lipschitz: float
    hessian_norm: float
    n_examined: int
    residual: float
    step: float
    path: PLStarPath | None

    @property
    def mu(self) -> float:
        """``lambda_0 / 2``, with which certified over needed radius is largest; at least zero."""
        return max(self.smallest_eigenvalue, 0.0) / 2

    @property
    def certified_radius(self) -> float:
        """``(lambda_0 - mu) / (2 L_F sqrt(T) ||H_F||)``: Theorem 1 solved for R."""
        slope = 2 * self.lipschitz * math.sqrt(self.n_samples) * self.hessian_norm
        return self.mu / slope if slope > 0 else math.inf

    @property
    def needed_radius(self) -> float:
        """``2 L_F ||F(w_0) - y|| / mu``: a point of zero loss is that near, where PL* holds."""
        return 2 * self.lipschitz * self.residual / self.mu if self.mu > 0 else math.inf

    @property
    def largest_n_samples(self) -> float:
        """``((lambda_0 - mu) / (2 L_F R ||H_F||))^2`` at the needed R: Theorem 1 solved for T."""
        slope = 2 * self.lipschitz * self.needed_radius * self.hessian_norm
        return (self.mu / slope) ** 2 if slope > 0 else math.inf

    def __str__(self) -> str:
        rows = self.n_samples * self.n_components
        lines = [
            f"PL* of {self.n_samples} samples with {self.n_components} components",
            f"  parameters P, against m T         {self.n_parameters:,} "
            f"{'>=' if self.n_parameters >= rows else '<'} {rows:,}",
            f"  smallest eigenvalue lambda_0      {self.smallest_eigenvalue:.3g} "
            f"(rounding: {self.resolution:.1g})",
            f"  condition number of the kernel    {self.condition_number:.3g}",
            f"  Lipschitz constant L_F            {self.lipschitz:.3g}",
            f"  norm of the Hessian ||H_F||       {self.hessian_norm:.3g} "
            f"(largest of {self.n_examined} outputs)",
            f"  distance ||F(w_0) - y||           {self.residual:.3g}",
            f"  step of gradient descent          {self.step:.3g}",
            "Theorem 1, with mu = lambda_0 / 2 and all constants as they are at w_0",
            f"  radius certified                  {self.certified_radius:.3g}",
            f"  radius needed                     {self.needed_radius:.3g}",
            f"  samples admitted                  T < {self.largest_n_samples:.3g}",
            f"  {self._verdict()}",
        ]
        return "\n".join(lines if self.path is None else [*lines, *_describe(self.path)])

    def __repr__(self) -> str:
        return str(self)

    def _verdict(self) -> str:
        if self.n_parameters < self.n_samples * self.n_components:
            return "No guarantee: fewer parameters than numbers to fit, the kernel is singular."
        if self.smallest_eigenvalue <= self.resolution:
            return "No guarantee: lambda_0 cannot be told from zero in float64."
        if self.certified_radius < self.needed_radius:
            return "No guarantee: the radius certified is smaller than the one needed."
        return (
            "Not excluded: a proof needs L_F and ||H_F|| for all weights and outputs in that "
            "radius, which nothing here bounds."
        )


def pl_star_report(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    path: DescentPath | None = None,
    n_outputs: int = 8,
    memory_limit: float = 4e9,
    random_state: Any = None,
) -> PLStarReport:
    """Report on the PL* condition of a network and data, and whether it held along a training.

    PL* with constant mu, ``0.5 ||gradient||^2 >= mu L`` for the loss ``L = 0.5 ||F(w) - y||^2``,
    makes gradient descent converge to zero loss at rate ``1 - step mu``. It holds where the
    tangent kernel's smallest eigenvalue is at least mu. Theorem 1 of Shah, Pradhan, Pu, Randhi,
    Rodrigues and Eldar 2024, "Optimization guarantees of unfolded ISTA and ADMM networks with
    smooth soft-thresholding", guarantees that in a ball of radius R around ``w_0`` if
    ``||H_F|| <= (lambda_0 - mu) / (2 L_F sqrt(T) R)`` in all of it.

    The report sets the radius certified beside the one needed, all constants as they are at
    ``w_0``, where they are no larger than in the ball; so it can say that there is no guarantee,
    and never that there is one. At sizes that can be computed there is none, by many orders of
    magnitude. (Where ``||H_F||`` is the largest over single outputs, as here, the argument through
    outputs even gives ``sqrt(m T)`` in place of ``sqrt(T)``, so a radius that is smaller still.)

    Parameters
    ----------
    estimator : estimator or Unrolled
        A network at ``w_0``: a fitted estimator, such as :func:`untrained` returns, or a network.
    X : array-like of shape (n_samples, n_features) or Observation
        Observations; with a network alone, an Observation with their operator.
    y : array-like of shape (n_samples, n_components)
        True codes.
    path : DescentPath, default=None
        States of a training that begins there, see :func:`gradient_descent_path`.
    n_outputs : int, default=8
        Of how many outputs, drawn at random, the Hessian's norm is the largest.
    memory_limit : float, default=4e9
        Bytes that may be used for a kernel.
    random_state : int, RandomState instance or None, default=None
        Seed of the draw.

    Returns
    -------
    PLStarReport
        The numbers; print it.

    Raises
    ------
    MemoryError
        If a kernel needs more than the limit.
    TypeError
        If there is no network, or no operator.
    ValueError
        If data and network do not fit.

    Warns
    -----
    UserWarning
        If ``P < m T``.

    Examples
    --------
    >>> from sklearn_unroll import LISTARegressor
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.theory import gradient_descent_path, pl_star_report
    >>> data = make_sparse_recovery(4, 4, 20, sparsity=2, random_state=0)
    >>> network = {"weights": "free", "shrinkage": "smooth", "init": "normal", "n_layers": 3}
    >>> model = LISTARegressor(**network, alpha=1.0, random_state=0)
    >>> path = gradient_descent_path(model, data.X, data.y, n_steps=100, n_states=3)
    >>> report = pl_star_report(path.estimators[0], data.X, data.y, path=path, random_state=0)
    >>> bool(report.path.held.all()), report.certified_radius < report.needed_radius
    (True, True)
    """
    if y is None:
        raise ValueError("pl_star_report needs y, the codes that are to be fitted.")
    subject = examine_trainable(estimator, X, y)
    constants = constants_of(subject, n_outputs, memory_limit, random_state)
    spectrum = constants.spectrum
    return PLStarReport(
        n_samples=len(subject.obs.b),
        n_components=subject.obs.A.n_components,
        n_parameters=spectrum.n_parameters,
        smallest_eigenvalue=spectrum.smallest,
        condition_number=spectrum.condition_number,
        resolution=spectrum.resolution,
        lipschitz=constants.lipschitz,
        hessian_norm=constants.hessian_norm,
        n_examined=min(n_outputs, spectrum.n_outputs),
        residual=constants.residual,
        step=step_of(subject, constants),
        path=None if path is None else _along(path, X, y, memory_limit),
    )


def _along(path: DescentPath, X: Any, y: Any, memory_limit: float) -> PLStarPath:
    rows = []
    resolution = 0.0
    for number, estimator in enumerate(path.estimators):
        subject = examine_trainable(estimator, X, y)
        K = kernel_of(subject, "auto", memory_limit)
        w = torch.cat([p.flatten() for p in subject.parameters.values()])
        if number == 0:
            first, start = K, w
        eigenvalues = eigvalsh(K.cpu().numpy(), check_finite=False)
        resolution = max(resolution, rounding_of(eigenvalues[-1], len(K)))
        loss, squared = _loss_and_gradient(subject)
        rows.append(
            (
                loss,
                0.5 * squared / loss if loss > 0 else math.nan,
                eigenvalues[0],
                float((K - first).norm() / first.norm()),
                float((w - start).norm()),
            )
        )
    return PLStarPath(path.steps, *np.array(rows).T, resolution, path.step)


@torch.enable_grad()
def _loss_and_gradient(subject: Subject) -> tuple[float, float]:
    """Return the loss and the squared norm of its gradient, which the kernel takes no part in."""
    loss = 0.5 * (subject.network(subject.obs) - subject.y).square().sum()
    gradients: tuple[Tensor, ...] = torch.autograd.grad(
        loss, list(subject.network.parameters()), materialize_grads=True
    )
    return float(loss.detach()), sum(float(g.square().sum()) for g in gradients)


def _describe(path: PLStarPath) -> list[str]:
    held, n = int(path.held.sum()), len(path.held)
    return [
        f"Along {path.steps[-1]:,} steps of length {path.step:.3g}, at {n} states",
        f"  loss                              {path.losses[0]:.3g} -> {path.losses[-1]:.3g}",
        f"  PL* with lambda_min there         held at {held} of {n}",
        f"  0.5 ||gradient||^2 / loss         {np.nanmin(path.ratios):.3g} at least",
        f"  smallest eigenvalue               {path.smallest.min():.3g} at least",
        f"  change of the kernel              {path.kernel_change.max():.3g} at most",
        f"  distance ||w - w_0||              {path.distances.max():.3g} at most",
    ]
