"""The tangent kernel of a network: what training by small steps sees of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_unroll.nn import ScaledWeights
from sklearn_unroll.theory._subject import Subject, examine_trainable

__all__ = ["tangent_kernel"]

METHODS = ("auto", "closed_form", "jacobian")
BYTES = 8  # of a float64


class Call(NamedTuple):
    """One use of weights ``sum h @ W.T``: its terms, and how the output depends on the sum."""

    terms: list[tuple[nn.Parameter, Tensor]]
    derivative: Tensor  # of shape (n_samples * n_components, n_components)


def tangent_kernel(
    estimator: Any, X: Any, *, method: str = "auto", memory_limit: float = 4e9
) -> np.ndarray:
    """Return ``K = J J^T``, J the derivative of all codes with respect to all parameters.

    Rows and columns are the numbers to be fitted, sample by sample: entry ``i m + s`` is
    component s of sample i, with m components. On the squared loss with residual r,
    ``||gradient||^2 = r^T K r``, so that its smallest eigenvalue bounds how slow gradient descent
    can be (Polyak and Lojasiewicz; Liu, Zhu and Belkin 2022, "Loss landscapes and optimization
    in over-parameterized non-linear systems and neural networks"). It is positive only where
    there are at least as many parameters as rows, ``P >= m T``.

    The closed form is for networks whose parameters all stand in affine maps,
    ``z = sum_j W_j h_j``, as those of :func:`~sklearn_unroll.nn.smooth_lista`:
    ``K[is, jt] = sum_k <B_i^k[s], B_j^k[t]> sum_W <h_i^k, h_j^k>`` with
    ``B^k = d output / d z^k``. It needs no J, which has ``m T P`` entries. Everything is computed
    in float64.

    Parameters
    ----------
    estimator : estimator or Unrolled
        A fitted estimator, or a network.
    X : array-like of shape (n_samples, n_features) or Observation
        Observations; with a network alone, an Observation with their operator.
    method : {"auto", "closed_form", "jacobian"}, default="auto"
        How to compute it; ``"auto"`` takes the closed form where there is one.
    memory_limit : float, default=4e9
        Bytes that may be used.

    Returns
    -------
    ndarray of shape (n_samples * n_components, n_samples * n_components)
        The kernel, symmetric.

    Raises
    ------
    MemoryError
        If it needs more than the limit; :func:`kernel_spectrum` has a matrix-free way.
    TypeError
        If there is no network, or no operator.
    ValueError
        If data and network do not fit, or the network has no closed form and it was asked for.

    See Also
    --------
    kernel_spectrum : Its eigenvalues.
    pl_star_report : What follows from them.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.nn import smooth_lista
    >>> from sklearn_unroll.theory import tangent_kernel
    >>> A = Dense(torch.zeros(10, 4))
    >>> network = smooth_lista(A, n_layers=3, generator=torch.Generator().manual_seed(0))
    >>> tangent_kernel(network, Observation(torch.ones(2, 4), A)).shape
    (20, 20)
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, got {method!r}.")
    subject = examine_trainable(estimator, X)
    return kernel_of(subject, method, memory_limit).cpu().numpy()


def kernel_of(subject: Subject, method: str, memory_limit: float) -> Tensor:
    """Return the kernel as a tensor on the network's device."""
    closed = has_closed_form(subject)
    if method == "closed_form" and not closed:
        raise ValueError(
            "This network has no closed form: some of its parameters (thresholds, steps) stand "
            "outside the affine maps of ScaledWeights. Use method='jacobian'."
        )
    closed = closed and method != "jacobian"
    _check_memory(subject, closed, memory_limit)
    return _closed_form(subject) if closed else _from_jacobian(subject)


@torch.enable_grad()
def jacobian(subject: Subject) -> Tensor:
    """Return ``d codes / d parameters`` of shape (n_samples * n_components, n_parameters)."""
    # Not torch.func.functional_call, which leaves its own tensors behind in tied modules.
    parameters = list(subject.network.parameters())
    each = torch.eye(subject.obs.A.n_components).to(subject.obs.b)
    rows = []
    # Sample by sample, whatever the operator and the shrinkage do with their rows.
    for i in range(len(subject.obs.b)):
        (x,) = subject.network(subject.obs.take(slice(i, i + 1)))
        blocks = _pulled(x, parameters, each)
        rows.append(torch.cat([block.reshape(len(each), -1) for block in blocks], 1))
    return torch.cat(rows)


def has_closed_form(subject: Subject) -> bool:
    """Tell whether all parameters stand in scaled weights."""
    some = subject.obs.take(slice(1))
    known = {id(W) for call in _calls(subject, some) for W, _ in call.terms}
    return {id(p) for p in subject.network.parameters()} <= known


def _from_jacobian(subject: Subject) -> Tensor:
    J = jacobian(subject)
    return J @ J.T


def _closed_form(subject: Subject) -> Tensor:
    calls = _calls(subject, subject.obs)
    T, m = len(subject.obs.b), subject.obs.A.n_components
    K = subject.obs.b.new_zeros(T, m, T, m)
    for k, one in enumerate(calls):
        for other in calls[k:]:
            # Weights that are tied meet themselves in every pair of layers.
            inputs = [h @ g.T for W, h in one.terms for V, g in other.terms if W is V]
            if not inputs:
                continue
            block = (one.derivative @ other.derivative.T).view(T, m, T, m)
            block *= sum(inputs)[:, None, :, None]
            K += block
            if other is not one:
                K += block.permute(2, 3, 0, 1)
    return K.view(T * m, T * m)


def _calls(subject: Subject, obs: Any) -> list[Call]:
    """Run the network, and return every use of scaled weights."""
    seen: list[tuple[list, Tensor]] = []

    def remember(part: nn.Module, args: tuple, point: Tensor) -> None:
        terms = [(W, h.detach()) for W, h in part.terms(args[0], args[1])]
        seen.append((terms, point))

    parts = [part for part in subject.network.modules() if isinstance(part, ScaledWeights)]
    hooks = [part.register_forward_hook(remember) for part in parts]
    try:
        with torch.enable_grad():
            x = subject.network(obs)
            if not seen:
                return []
            T, m = x.shape
            # One backward pass for each component, of all samples: they do not see each other.
            each = torch.eye(m).to(x)[:, None].expand(m, T, m)
            points = [point for _, point in seen]
            found = _pulled(x, points, each)
    finally:
        for hook in hooks:
            hook.remove()
    derivatives = [d.transpose(0, 1).reshape(T * m, -1) for d in found]
    return [Call(terms, d) for (terms, _), d in zip(seen, derivatives, strict=True)]


def _pulled(x: Tensor, inputs: list[Tensor], each: Tensor) -> list[Tensor]:
    """Return what a batch of gradients of x makes of its inputs, zeros where x has none."""
    found = torch.autograd.grad(x, inputs, each, is_grads_batched=True, allow_unused=True)
    return [
        like.new_zeros(len(each), *like.shape) if gradient is None else gradient
        for like, gradient in zip(inputs, found, strict=True)
    ]


def _check_memory(subject: Subject, closed: bool, limit: float) -> None:
    rows, P = subject.n_outputs, subject.n_parameters
    # The kernel, and a block or product beside it; then what it is made of.
    needed = BYTES * 3 * rows**2
    m = subject.obs.A.n_components
    needed += BYTES * rows * (m * subject.network.depth if closed else 2 * P)
    if needed > limit:
        raise MemoryError(
            f"The tangent kernel of {len(subject.obs.b):,} samples with {m:,} components has "
            f"{rows:,} rows and takes about {needed / 1e9:.3g} GB to compute, more than the limit "
            f"of {limit / 1e9:.3g} GB. Take fewer samples, raise memory_limit, or ask for its "
            f"ends only: kernel_spectrum(..., method='matrix_free')."
        )
