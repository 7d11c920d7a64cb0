"""Smallest and largest eigenvalue of a tangent kernel, with or without the kernel."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.linalg import eigvalsh
from scipy.sparse.linalg import LinearOperator, cg, eigsh

from sklearn_unroll.theory._subject import Subject, examine_trainable
from sklearn_unroll.theory._tangent_kernel import METHODS, kernel_of

__all__ = ["KernelSpectrum", "kernel_spectrum", "tangent_kernel_operator"]


class KernelSpectrum(NamedTuple):
    """The eigenvalues of a tangent kernel, or what is known of them.

    Parameters
    ----------
    smallest : float
        The smallest eigenvalue; an upper bound that is seldom off by a percent if it was found
        matrix-free. Zero where there are fewer parameters than rows.
    largest : float
        The largest eigenvalue.
    resolution : float
        What rounding makes of a zero at worst; smaller eigenvalues say little.
    n_parameters : int
        P, how many numbers can be learned.
    n_outputs : int
        ``m T``, how many numbers are to be fitted: the rows of the kernel.
    eigenvalues : ndarray of shape (n_outputs,) or None
        All of them, increasing; None if they were not computed.
    """

    smallest: float
    largest: float
    resolution: float
    n_parameters: int
    n_outputs: int
    eigenvalues: np.ndarray | None

    @property
    def condition_number(self) -> float:
        """Largest over smallest eigenvalue, infinite where the latter is not positive."""
        return self.largest / self.smallest if self.smallest > 0 else float("inf")


def kernel_spectrum(
    estimator: Any, X: Any, *, method: str = "auto", memory_limit: float = 4e9
) -> KernelSpectrum:
    """Return the ends of the spectrum of :func:`tangent_kernel`, and all of it where it fits.

    Matrix-free, the smallest eigenvalue is found by inverse iteration whose systems are solved
    by conjugate gradients: products with J and ``J^T``, thousands of them where the kernel
    is badly conditioned.

    Parameters
    ----------
    estimator : estimator or Unrolled
        A fitted estimator, or a network.
    X : array-like of shape (n_samples, n_features) or Observation
        Observations; with a network alone, an Observation with their operator.
    method : {"auto", "closed_form", "jacobian", "matrix_free"}, default="auto"
        How to compute the kernel, see :func:`tangent_kernel`, or not to.
    memory_limit : float, default=4e9
        Bytes that may be used for the kernel.

    Returns
    -------
    KernelSpectrum
        Eigenvalues, and the two numbers P and ``m T``.

    Raises
    ------
    MemoryError
        If the kernel needs more than the limit.
    TypeError
        If there is no network, or no operator.
    ValueError
        If data and network do not fit.

    Warns
    -----
    UserWarning
        If ``P < m T``: then the smallest eigenvalue is zero, and no loss can be expected to
        reach zero.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.nn import smooth_lista
    >>> from sklearn_unroll.theory import kernel_spectrum
    >>> A = Dense(torch.zeros(10, 4))
    >>> network = smooth_lista(A, n_layers=3, generator=torch.Generator().manual_seed(0))
    >>> b = torch.randn(2, 4, generator=torch.Generator().manual_seed(1))
    >>> spectrum = kernel_spectrum(network, Observation(b, A))
    >>> spectrum.n_parameters, spectrum.n_outputs, spectrum.smallest > 0
    (420, 20, True)
    """
    if method not in (*METHODS, "matrix_free"):
        raise ValueError(f"method must be one of {(*METHODS, 'matrix_free')}, got {method!r}.")
    return spectrum_of(examine_trainable(estimator, X), method, memory_limit)


def spectrum_of(subject: Subject, method: str, memory_limit: float) -> KernelSpectrum:
    """Return the spectrum of the kernel of a subject."""
    P, rows = subject.n_parameters, subject.n_outputs
    if rows > P:
        warnings.warn(
            f"The network has P = {P:,} parameters for m T = {rows:,} numbers to fit "
            f"({len(subject.obs.b):,} samples of {subject.obs.A.n_components:,} components): its "
            f"tangent kernel is singular. At most {P // subject.obs.A.n_components:,} samples "
            f"leave it regular.",
            stacklevel=3,
        )
    eigenvalues = None
    if method == "matrix_free":
        smallest, largest = _ends(operator_of(subject))
    else:
        eigenvalues = eigvalsh(
            kernel_of(subject, method, memory_limit).cpu().numpy(),
            overwrite_a=True,
            check_finite=False,
        )
        smallest, largest = float(eigenvalues[0]), float(eigenvalues[-1])
    smallest = smallest if rows <= P else 0.0
    return KernelSpectrum(smallest, largest, rounding_of(largest, rows), P, rows, eigenvalues)


def rounding_of(largest: float, rows: int) -> float:
    """Return what rounding makes of an eigenvalue zero at worst."""
    return rows * float(np.finfo(np.float64).eps) * float(largest)


def tangent_kernel_operator(estimator: Any, X: Any) -> LinearOperator:
    """Return the tangent kernel as a product ``v -> J (J^T v)``, for any number of samples.

    Parameters
    ----------
    estimator : estimator or Unrolled
        A fitted estimator, or a network.
    X : array-like of shape (n_samples, n_features) or Observation
        Observations; with a network alone, an Observation with their operator.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator
        Of the shape of :func:`tangent_kernel`.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.nn import smooth_lista
    >>> from sklearn_unroll.theory import tangent_kernel, tangent_kernel_operator
    >>> A = Dense(torch.zeros(10, 4))
    >>> network = smooth_lista(A, n_layers=3, generator=torch.Generator().manual_seed(0))
    >>> obs = Observation(torch.ones(2, 4), A)
    >>> v = np.ones(20)
    >>> np.allclose(tangent_kernel_operator(network, obs) @ v, tangent_kernel(network, obs) @ v)
    True
    """
    return operator_of(examine_trainable(estimator, X))


def operator_of(subject: Subject) -> LinearOperator:
    """Return the kernel of a subject as an operator; the network is run once."""
    parameters = list(subject.network.parameters())
    with torch.enable_grad():
        x = subject.network(subject.obs)
        # J^T u is linear in u, so that its own transpose, J, is one more backward pass.
        u = torch.zeros_like(x, requires_grad=True)
        pulled = torch.autograd.grad(x, parameters, u, create_graph=True, allow_unused=True)
    # Parameters that the output does not depend on have no gradient.
    used, pulled = zip(
        *((p, g) for p, g in zip(parameters, pulled, strict=True) if g is not None), strict=True
    )

    def product(v: np.ndarray) -> np.ndarray:
        rows = torch.from_numpy(np.ascontiguousarray(v)).to(x).view_as(x)
        gradients = torch.autograd.grad(x, used, rows, retain_graph=True)
        (found,) = torch.autograd.grad(pulled, u, gradients, retain_graph=True)
        return found.flatten().cpu().numpy()

    return LinearOperator((x.numel(),) * 2, matvec=product, rmatvec=product, dtype=np.float64)


def _ends(kernel: LinearOperator) -> tuple[float, float]:
    rows = kernel.shape[0]
    start = np.random.default_rng(0).standard_normal(rows)
    if rows < 3:  # eigsh wants room
        values = eigvalsh(np.column_stack([kernel @ e for e in np.eye(rows)]))
        return float(values[0]), float(values[-1])
    (largest,) = eigsh(kernel, k=1, which="LM", v0=start, tol=1e-6, return_eigenvectors=False)
    unsolved = 0

    def solve(v: np.ndarray) -> np.ndarray:
        nonlocal unsolved
        x, info = cg(kernel, v, rtol=1e-3, maxiter=20 * rows)
        unsolved += info > 0
        return x

    inverse = LinearOperator(kernel.shape, matvec=solve, dtype=np.float64)
    _, vectors = eigsh(
        kernel, k=1, sigma=0, OPinv=inverse, which="LM", v0=start, tol=1e-2, ncv=min(8, rows)
    )
    if unsolved:
        warnings.warn(
            f"{unsolved} inner systems of the matrix-free eigenvalue were not solved: the kernel "
            f"is close to singular. The smallest eigenvalue is an upper bound only.",
            stacklevel=4,
        )
    v = vectors[:, 0]
    return float(v @ (kernel @ v) / (v @ v)), float(largest)
