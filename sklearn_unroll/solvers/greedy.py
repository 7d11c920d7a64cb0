"""Greedy codes: orthogonal matching pursuit of many signals at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

from sklearn_unroll.functional._compiled import compiled, compiled_available
from sklearn_unroll.functional._given import tensor_of
from sklearn_unroll.functional.observation import Observation
from sklearn_unroll.functional.operators import Dense
from sklearn_unroll.solvers._checks import check_dense
from sklearn_unroll.solvers._loops import pursue
from sklearn_unroll.solvers._supports import GRAM, Atoms, chunks

__all__ = ["Pursuit", "orthogonal_matching_pursuit"]

DEPENDENT = 64  # machine precisions of an atom's energy outside the span of the others
_CHUNK = 2**18  # numbers in the codes of a chunk; a quarter of those in its dictionaries
_FACTORS = 2**26  # numbers in the largest factors of a chunk
_COMPILED_FROM = 2**18  # numbers in the codes, for which numba is loaded (0.4 s)
_MAX_ATOMS = 2**12  # of which numba gets the inner products


class Pursuit(NamedTuple):
    """What :func:`orthogonal_matching_pursuit` found, per sample.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_components)
        Codes, with the dtype of the data.
    n_nonzero : Tensor of shape (n_samples,)
        Atoms in use.
    residual : Tensor of shape (n_samples,)
        Squared norms of ``b - A x``, computed from the codes.
    converged : Tensor of shape (n_samples,)
        Whether the residual is at most the tolerance or, without one, the atoms are as many as
        asked for; also true where nothing but rounding is left of the residual.
    """

    x: Tensor
    n_nonzero: Tensor
    residual: Tensor
    converged: Tensor


class _Batch:
    """Samples of a chunk, all with the same number k of unit atoms, and room for some more."""

    def __init__(self, b: Tensor, atoms: Atoms, tol: Tensor, most: Tensor) -> None:
        self.b, self.tol, self.most, self.atoms, self.A = b, tol, most, atoms, atoms.A
        self.eps = torch.finfo(b.dtype).eps
        self.rows = torch.arange(len(b), device=b.device)
        self.active = torch.ones_like(self.rows, dtype=torch.bool)
        self.c = self.A.adjoint(b)
        self.energy = b.square().sum(1)
        # Below this the energy, kept up to date by differences, has lost half of its digits.
        self.doubtful = self.eps**0.5 * self.energy
        self.k = 0
        self.places, self.x = self.rows.new_empty(len(b), 0), b.new_empty(len(b), 0)
        self.factor = b.new_empty(len(b), 0, 0)

    def keep(self, some: Tensor) -> None:
        """Forget all other samples."""
        per_sample = ("b", "tol", "most", "rows", "active", "c", "energy", "doubtful")
        for name in (*per_sample, "places", "x", "factor"):
            setattr(self, name, getattr(self, name).index_select(0, some))
        self.A = self.A.take(some)

    def make_room(self) -> None:
        """Pad with the zero atom, whose inner product with itself counts as one."""
        more = max(8, self.k // 4)
        self.places = pad(self.places, (0, more), value=self.atoms.n_components)
        self.x, self.factor = pad(self.x, (0, more)), pad(self.factor, (0, more, 0, more))
        self.factor.diagonal(dim1=1, dim2=2)[:, self.k :] = 1

    def bag(self, table: Tensor, some: Tensor | slice, x: Tensor) -> Tensor:
        """Return sums of rows of a table, those of each sample's atoms times their codes."""
        places = self.places[some, : x.shape[1]]
        if table.ndim == 3:
            places = places + self.rows[some, None] * table.shape[1]
            table = table.flatten(0, 1)
        return embedding_bag(places, table, mode="sum", per_sample_weights=x)

    def solve(self, factor: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``L^-1 c`` and ``L^-T L^-1 c`` for the factor L of a Gram matrix."""
        half = torch.linalg.solve_triangular(factor, c[:, :, None], upper=False)
        whole = torch.linalg.solve_triangular(factor.mT, half, upper=True)
        return half[:, :, 0], whole[:, :, 0]

    def refresh(self, some: Tensor) -> Tensor:
        """Compute residuals and correct codes by them; return whether they are small enough.

        The codes so far carry the errors of normal equations and of many updates; solving for a
        correction removes these (Bjorck 1987, corrected seminormal equations).
        """
        b, x, A = self.b[some], self.x[some], self.A.take(some)
        r = b if not self.k else b - self.bag(self.atoms.D, some, x)
        c, energy = A.adjoint(r), r.square().sum(1)
        if self.k:
            y = x + self.solve(self.factor[some], c.gather(1, self.places[some]))[1]
            s = b - self.bag(self.atoms.D, some, y)
            better = s.square().sum(1) <= energy
            x = torch.where(better[:, None], y, x)
            r = torch.where(better[:, None], s, r)
            c, energy = A.adjoint(r), r.square().sum(1)
        self.x[some], self.c[some], self.energy[some] = x, c, energy
        self.doubtful[some] = self.eps**0.5 * energy
        rounding = 2 * self.eps * (torch.linalg.vector_norm(b, dim=1) + x.abs().sum(1))
        return energy <= torch.maximum(self.tol[some], rounding.square())

    def choose(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return every sample's best atom, what it adds to the factor, and the correction."""
        if self.k == self.x.shape[1]:
            self.make_room()
        best = self.c.abs().max(1, keepdim=True).indices
        c = self.c.gather(1, best)
        if self.atoms.gram is not None:
            g = self.atoms.gram[self.places * (self.atoms.n_components + 1) + best]
        else:
            D, row = self.atoms.D, best[:, 0]
            atom = D[self.rows, row] if D.ndim == 3 else D[row]
            g = self.A.adjoint(atom).gather(1, self.places)
        w, z = self.solve(self.factor, g)
        # The atom's energy outside the span of the others; none if it has no correlation.
        outside = torch.where(c != 0, 1 - w.square().sum(1, keepdim=True), 0.0)
        return best, c, w, z, outside

    def add(self, best: Tensor, c: Tensor, w: Tensor, z: Tensor, outside: Tensor) -> None:
        """Add the chosen atoms of active samples."""
        step = torch.where(self.active[:, None], c / outside, 0.0)
        d = z * -step
        self.places[:, self.k], d[:, self.k] = best[:, 0], step[:, 0]
        w[:, self.k] = outside[:, 0].clamp_min(self.eps).sqrt()
        self.factor[:, self.k] = w
        self.x += d
        self.k += 1
        d = d[:, : self.k]
        if self.atoms.gram is not None:
            gram = self.atoms.gram.view(self.atoms.n_components + 1, -1)
            self.c -= self.bag(gram, slice(None), d)
        else:
            self.c -= self.A.adjoint(self.bag(self.atoms.D, slice(None), d))
        self.energy -= (c * step)[:, 0]

    def leave(self, some: Tensor, reached: Tensor, result: Pursuit) -> None:
        """Write the codes of samples that are done."""
        rows = self.rows[some]
        result.x[rows[:, None], self.places[some, : self.k]] = self.x[some, : self.k]
        result.n_nonzero[rows], result.residual[rows] = self.k, self.energy[some]
        result.converged[rows] = reached
        self.active[some], self.c[some], self.energy[some] = False, 0.0, torch.inf


def _pursue(batch: _Batch, result: Pursuit) -> None:
    """Give every sample its atoms, one each in turn, and write codes of unit atoms."""
    while True:
        low = (batch.energy <= torch.maximum(batch.tol, batch.doubtful)) | (batch.k >= batch.most)
        some = (low & batch.active).nonzero()[:, 0]
        if len(some):
            reached = batch.refresh(some)
            end = (reached | (batch.k >= batch.most[some])).nonzero()[:, 0]
            batch.leave(some[end], reached[end], result)
        live = batch.active.nonzero()[:, 0]
        if not len(live):
            return
        if 8 * len(live) < 7 * len(batch.rows):
            batch.keep(live)
        choice = batch.choose()
        enough = choice[-1][:, 0] > DEPENDENT * batch.eps
        stuck = (batch.active & ~enough).nonzero()[:, 0]
        if len(stuck):
            batch.leave(stuck, batch.refresh(stuck), result)
        batch.add(*choice)


def _pursue_compiled(b: Tensor, atoms: Atoms, tol: Tensor, most: Tensor, result: Pursuit) -> None:
    """Do the same for one sample after another, in machine code on the CPU."""
    q, gram = atoms.A.adjoint(b)[:, :-1].contiguous(), atoms.gram.view(len(atoms.D), -1)
    given = (part.contiguous().numpy() for part in (gram, atoms.D, b, q, tol, most))
    eps = q.numpy().dtype.type(torch.finfo(b.dtype).eps)
    compiled(pursue)(*given, eps, DEPENDENT * eps, *(part.numpy() for part in result))


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
    most = asked.clamp_max(min(m, n))
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
            _pursue_compiled(unit, local, scaled, most[rows], found)
        else:
            _pursue(_Batch(unit, local, scaled, most[rows]), found)
        found.x.mul_(local.inverse_norm[..., :n])
        found.x.copy_(torch.ldexp(found.x, scale[:, None]))
        found.residual.copy_(torch.ldexp(torch.ldexp(found.residual, scale), scale))

    if pays:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            list(pool.map(lambda chunk: run(*chunk, atoms), obs.chunks()))
    else:
        largest = int(most.max()) if len(b) else 0
        factors = (_FACTORS if b.device.type == "cpu" else 64 * _FACTORS) // max(1, largest**2)
        for chunk in chunks(obs, atoms, _CHUNK, b.dtype, factors):
            run(*chunk)
    if limit is None:
        result.converged.logical_or_(result.n_nonzero >= asked)
    return result
