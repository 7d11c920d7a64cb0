"""Greedy codes: orthogonal matching pursuit of many signals at once."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_unroll.functional._alone import share_out
from sklearn_unroll.functional._compiled import compiled, compiled_available
from sklearn_unroll.functional._given import tensor_of
from sklearn_unroll.functional.observation import Observation
from sklearn_unroll.functional.operators import Dense
from sklearn_unroll.solvers._checks import check_dense
from sklearn_unroll.solvers._loops import pursue
from sklearn_unroll.solvers._pursuit_batch import DEPENDENT, Batch, Groups, Pursuit, pursue_batch
from sklearn_unroll.solvers._supports import GRAM, Atoms, chunks

__all__ = ["Pursuit", "orthogonal_matching_pursuit"]

_CHUNK = 2**18  # numbers in the codes of a chunk; a quarter of those in its dictionaries
_FACTORS = 2**26  # numbers in the largest factors of a chunk
_COMPILED_FROM = 2**18  # numbers in the codes, for which numba is loaded (0.4 s)
_MAX_ATOMS = 2**12  # of which numba gets the inner products


def _pursue_compiled(
    b: Tensor, atoms: Atoms, tol: Tensor, most: Tensor, groups: Groups, result: Pursuit
) -> None:
    """Do the same for one sample after another, in machine code on the CPU."""
    q, gram = atoms.A.adjoint(b)[:, :-1].contiguous(), atoms.gram.view(len(atoms.D), -1)
    given = (part.contiguous().numpy() for part in (gram, atoms.D, b, q, tol, most))
    eps = q.numpy().dtype.type(torch.finfo(b.dtype).eps)
    out = (part.numpy() for part in result)
    compiled(pursue)(*given, eps, DEPENDENT * eps, *groups.arrays(), *out)


def _compiled_pays(b: Tensor, A: Dense) -> bool:
    n = A.n_components
    fits = b.device.type == "cpu" and not A.per_sample and n <= _MAX_ATOMS
    return fits and len(b) * n >= _COMPILED_FROM and compiled_available()


def exponents(b: Tensor) -> Tensor:
    """Return the powers of two that bring signals, whose squares may overflow, to about one."""
    edge = -6 - int(torch.tensor(torch.finfo(b.dtype).tiny, dtype=torch.float64).log2())
    return torch.frexp(b.abs().amax(1)).exponent.clamp(-edge, edge)


def check_limit(name: str, value: Tensor | float, obs: Observation, dtype: torch.dtype) -> Tensor:
    given = tensor_of(value, name)
    whole = not given.is_floating_point() or bool((given == given.round()).all())
    if given.is_complex() or (dtype == torch.long and not whole):
        raise ValueError(f"{name} must be a number of atoms, an integer; got {value!r:.80}.")
    given = given.to(obs.b.device, dtype)
    if given.shape not in ((), (len(obs.b),)):
        raise ValueError(
            f"{name} must be one number, or one per sample of shape ({len(obs.b)},); got shape "
            f"{tuple(given.shape)}."
        )
    if not bool((given >= 0).all()):
        raise ValueError(f"{name} must not be negative; the smallest is {float(given.min()):g}.")
    return given.expand(len(obs.b))


@torch.no_grad()
def orthogonal_matching_pursuit(
    obs: Observation,
    n_nonzero: Tensor | int | None = None,
    tol: Tensor | float | None = None,
    *,
    groups: Tensor | int | None = None,
) -> Pursuit:
    """Add the atom ``argmax |a_i^T (b - A x)| / ||a_i||``, solve for all codes, and so on.

    Orthogonal matching pursuit (Pati, Rezaiifar and Krishnaprasad 1993) for all samples at once,
    one atom each in turn, on inner products of atoms that are computed once and Cholesky factors
    that grow by a row (Rubinstein, Zibulevsky and Elad 2008). A sample leaves when its residual is
    at most tol, when it has n_nonzero atoms, or when no atom is left that the residual correlates
    with and that is linearly independent of those it has.

    Parameters
    ----------
    obs : Observation
        Data and a :class:`Dense` operator, shared or per sample. Atoms may have any norm.
    n_nonzero : int or Tensor of shape (n_samples,), default=None
        Most atoms of a sample. None is as many as there are features.
    tol : float or Tensor of shape (n_samples,), default=None
        Largest squared norm of a residual, as in :func:`sklearn.linear_model.orthogonal_mp`: the
        energy of the noise, or somewhat less. 0 goes on until only rounding is left. None is
        for exactly n_nonzero atoms.
    groups : int or Tensor of int of shape (n_components,), default=None
        Size of groups of consecutive atoms, or the number of each atom's group, from 0: then all
        atoms of ``argmax ||A_g^T (b - A x)||``, of norm one, are added at once, block OMP (Eldar,
        Kuppinger and Bolcskei 2010), but for those that depend on atoms before; n_nonzero
        counts groups, here and in what is found.

    Returns
    -------
    Pursuit
        Codes, numbers of atoms, squared norms of residuals, and flags.

    Raises
    ------
    TypeError
        If the operator is not Dense.
    ValueError
        If neither n_nonzero nor tol is given, or one is negative or has another shape.

    Notes
    -----
    The energy of a residual and the correlations with it are kept up to date by differences. When
    the energy has fallen to the square root of the machine precision, relative to when it was
    last computed, and before a sample leaves, residual and correlations are computed from the
    codes again and the codes are corrected, so that tolerances down to rounding are met.

    On the CPU, where numba is installed and there are many codes (262144 numbers) over one
    dictionary, the same steps are compiled for one sample after another, which is several times
    faster.

    NOTE[DIFF]: scikit-learn's orthogonal_mp ignores n_nonzero where tol is given, and takes atoms
    to be of norm one; here both limits hold and atoms are chosen by angle, so that their norms do
    not matter.

    References
    ----------
    Eldar, Kuppinger and Bolcskei, "Block-sparse signals: uncertainty relations and efficient
    recovery", IEEE Transactions on Signal Processing 58, 2010.

    Pati, Rezaiifar and Krishnaprasad, "Orthogonal matching pursuit: recursive function
    approximation with applications to wavelet decomposition", Asilomar Conference on Signals,
    Systems and Computers, 1993.

    Rubinstein, Zibulevsky and Elad, "Efficient implementation of the K-SVD algorithm using batch
    orthogonal matching pursuit", Technical report, Technion, 2008.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.solvers import orthogonal_matching_pursuit
    >>> obs = Observation(torch.tensor([[3.0, 0.2, -1.0]]), Dense(torch.eye(3)))
    >>> orthogonal_matching_pursuit(obs, tol=0.1).x
    tensor([[ 3.,  0., -1.]])
    """
    check_dense("orthogonal_matching_pursuit", obs.A)
    if n_nonzero is None and tol is None:
        raise ValueError(
            "orthogonal_matching_pursuit needs n_nonzero, tol or both to know an end."
        )
    # Threads do not know that there are to be no gradients.
    obs = Observation(obs.b.detach(), Dense(obs.A.D.detach()))
    b, A = obs.b, obs.A
    n, m = A.n_components, A.n_features
    asked = check_limit("n_nonzero", m if n_nonzero is None else n_nonzero, obs, torch.long)
    limit = None if tol is None else check_limit("tol", tol, obs, torch.float64)
    groups = Groups(groups, n)
    most = asked.clamp_max(min(m, len(groups.sizes)))
    exponent, pays = exponents(b), _compiled_pays(b, A)
    # Looking up inner products pays from a few samples on.
    shared = None if A.per_sample else n * n <= GRAM and n < 32 * len(b)
    atoms = None if shared is None else Atoms(A.D.to(b.dtype), with_gram=pays or shared)
    result = Pursuit(
        torch.zeros(len(b), n, dtype=b.dtype, device=b.device),
        torch.zeros_like(asked),
        b.new_empty(len(b)),
        torch.empty_like(asked, dtype=torch.bool),
    )

    def run(rows: slice, part: Observation, local: Atoms) -> None:
        scale, found = exponent[rows], Pursuit(*(whole[rows] for whole in result))
        if limit is None:
            scaled = torch.full_like(part.b[:, 0], -1.0)
        else:
            scaled = torch.ldexp(torch.ldexp(limit[rows], -scale), -scale).to(b.dtype)
        unit = torch.ldexp(part.b, -scale[:, None])
        if pays:
            _pursue_compiled(unit, local, scaled, most[rows], groups, found)
        else:
            pursue_batch(Batch(unit, local, scaled, most[rows], groups), found)
        found.x.mul_(local.inverse_norm[..., :n])
        found.x.copy_(torch.ldexp(found.x, scale[:, None]))
        found.residual.copy_(torch.ldexp(torch.ldexp(found.residual, scale), scale))

    if pays:
        share_out(lambda chunk: run(*chunk, atoms), list(obs.chunks()))
    else:
        largest = int(most.max()) * int(groups.sizes.max()) if len(b) else 0
        factors = (_FACTORS if b.device.type == "cpu" else 64 * _FACTORS) // max(1, largest**2)
        for chunk in chunks(obs, atoms, _CHUNK, b.dtype, factors):
            run(*chunk)
    if limit is None:
        result.converged.logical_or_(result.n_nonzero >= asked)
    return result
