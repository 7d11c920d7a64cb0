"""The analytic weight of a convolution, which is a convolution."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sklearn_unroll.functional.convolution import Convolution
from sklearn_unroll.functional.weights import in_double, rescale, tolerance_of

__all__ = ["convolution_weight"]


def convolution_weight(
    A: Convolution, *, support: str = "signal", rtol: float | None = None
) -> Convolution:
    """Return the ALISTA weight of a convolution: ``W^T r`` is its adjoint.

    The minimiser of ``||W^T A||_F^2`` subject to ``w_i^T a_i = 1`` (Liu, Chen, Wang and Yin 2019,
    "ALISTA: Analytic weights are as good as learned weights in LISTA"), like
    :func:`analytic_weight` without the matrix: the shifts of a kernel d have the shifts of one
    kernel w for weights.

    With ``support="signal"`` the kernels w are as large as the signal and the minimum is that
    of the matrix, one pseudo-inverse of the size of the channels for each frequency f:
    ``w_k(f) = S(f)^+ d_k(f) / h_k`` with ``S(f) = sum_k d_k(f) d_k(f)^H`` and h_k such that
    ``w_k^T d_k = 1``. With ``support="kernel"`` they are as large as d, what the paper asks for
    (its code finds them by projected gradient): ``w_k = Q^+ d_k / (d_k^T Q^+ d_k)``, where Q is
    the autocorrelation of all kernels, ``Q_pq = sum_k sum_n d_k(n + p - q) d_k(n)``. They are
    more coherent, magnify noise less, and do not depend on the size of the signal.

    Parameters
    ----------
    A : Convolution
        The operator; for ``support="signal"`` with the circular boundary. With other boundaries
        the weight is that of kernels away from the border.
    support : {"signal", "kernel"}, default="signal"
        Where the kernels w may be nonzero.
    rtol : float, default=None
        Smallest singular value to keep, relative to the largest. By default the square root
        of the precision of the kernels' dtype.

    Returns
    -------
    Convolution
        With as many kernels, and the positions of A. Computed in float64.

    Raises
    ------
    ValueError
        If the support is not known, or is the signal and the boundary is not circular.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Convolution, convolution_weight
    >>> A = Convolution(torch.tensor([[1.0, 2.0, 1.0], [1.0, 0.0, -1.0]]), 8)
    >>> W = convolution_weight(A, support="kernel")
    >>> (W.kernels * A.kernels).sum((1, 2))
    tensor([1., 1.])
    """
    if support not in ("signal", "kernel"):
        raise ValueError(f"support must be 'signal' or 'kernel', got {support!r}.")
    circular, size = A.boundary == "circular", A.kernels.shape[2:]
    if support == "signal" and not circular:
        raise ValueError(
            f"support='signal' needs boundary='circular', where all shifts of a kernel are "
            f"alike; got boundary={A.boundary!r}. Use support='kernel'."
        )
    rtol, d = tolerance_of(A.kernels, rtol), in_double(A.kernels)
    if support == "signal":
        own = d.new_zeros(len(d), *A.signal_shape)
        own[(..., *(slice(k) for k in size))] = d
        P = _by_frequencies(Convolution(d, A.shape), rtol)
    else:
        # Farther apart kernels do not overlap: a larger signal has the same autocorrelation.
        lags = tuple(2 * k - 1 for k in size)
        lattice = tuple(map(min, A.shape, lags)) if circular else lags
        Q = _autocorrelation(Convolution(d, lattice))
        least = max(rtol**2, len(Q) * torch.finfo(Q.dtype).eps)
        own, P = d, d.flatten(1) @ torch.linalg.pinv(Q, rtol=least, hermitian=True)
    w = rescale(P.flatten(1), own.flatten(1), copies=math.prod(own.shape[2:]))
    return Convolution(w.reshape(own.shape).to(A.kernels), A.shape, boundary=A.boundary)


def _by_frequencies(A: Convolution, rtol: float) -> Tensor:
    """Return ``S^+ d_k`` of every kernel, of shape (n_kernels, *signal_shape)."""
    D = A.by_frequency()
    # As for a matrix, from singular values: the eigenvalues of S would lose half the digits.
    atol = rtol * torch.linalg.matrix_norm(D, ord=2).max()
    return _signals(torch.linalg.pinv(D, atol=atol, rtol=0.0).conj_physical(), A)


def _autocorrelation(A: Convolution) -> Tensor:
    """Return the matrix Q, ``sum_i a_i a_i^T`` on the points of a kernel at one position."""
    D, size = A.by_frequency(), A.kernels.shape[2:]
    R = _signals(D @ D.mT.conj_physical(), A).flatten(2)
    points = torch.stack(torch.meshgrid(*map(torch.arange, size), indexing="ij")).flatten(1)
    lag = torch.zeros(points.shape[1], points.shape[1], dtype=torch.long)
    for place, n in zip(points, A.shape, strict=True):
        lag = lag * n + (place[:, None] - place) % n
    Q = R[:, :, lag.to(R.device)]
    return Q.transpose(1, 2).reshape(R.shape[0] * len(lag), -1)


def _signals(c: Tensor, A: Convolution) -> Tensor:
    """Return what has the transforms c, of shape (n_frequencies, n, m): (n, m, *shape)."""
    half = (*A.shape[:-1], A.shape[-1] // 2 + 1)
    axes = tuple(range(2, 2 + len(half)))
    return torch.fft.irfftn(c.movedim(0, -1).unflatten(-1, half), s=A.shape, dim=axes)
