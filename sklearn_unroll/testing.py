"""What an operator or a layer of your own must do, as checks to run on it.

Each raises AssertionError with a sentence that says what does not hold.
"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.autograd import gradcheck

from sklearn_unroll.functional import Observation, Operator
from sklearn_unroll.nn import Unrolled, UnrolledLayer

__all__ = ["check_layer", "check_operator"]


def check_operator(A: Operator, *, n_samples: int = 3, rho: float = 0.1, seed: int = 0) -> None:
    """Check an operator: shapes, dtype, dot test, linearity, residual, norm, rows, derivatives.

    In float64 tolerances are at rounding level, so that mistakes show; give an operator that
    holds tensors in float64.

    Parameters
    ----------
    A : Operator
        The operator.
    n_samples : int, default=3
        How many rows to try; of an operator that holds one for each sample, how many it holds.
    rho : float, default=0.1
        Positive number to check ``solve_normal`` with.
    seed : int, default=0
        Seed of the rows.

    Raises
    ------
    AssertionError
        If something does not hold; the message says what.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import MaskedFourier
    >>> from sklearn_unroll.testing import check_operator
    >>> check_operator(MaskedFourier(torch.eye(8)))
    """
    generator = torch.Generator().manual_seed(seed)

    def rows(n_columns: int) -> Tensor:
        drawn = torch.randn(n_samples, n_columns, generator=generator, dtype=torch.float64)
        return drawn.to(A.like)

    x, x2, r, r2 = (rows(n) for n in [A.n_components] * 2 + [A.n_features] * 2)
    before = x.clone(), r.clone()
    b, back = A(x), A.adjoint(r)
    _holds(b.shape == r.shape, f"A(x) has shape {tuple(b.shape)}, expected {tuple(r.shape)}")
    _holds(back.shape == x.shape, f"adjoint(r) has shape {tuple(back.shape)}, not that of x")
    _holds(b.dtype == back.dtype == x.dtype, "A or its adjoint does not keep the dtype")
    _close((b * r).sum(-1), (x * back).sum(-1), "dot test: <A x, r> = <x, A^T r>")
    _close(A(2 * x - 3 * x2), 2 * b - 3 * A(x2), "A is linear")
    _close(A.adjoint(2 * r - 3 * r2), 2 * back - 3 * A.adjoint(r2), "the adjoint is linear")
    _close(A.residual(r, x), r - b, "residual(b, x) = b - A x")
    _check_norm(A, x)
    for some in (torch.arange(n_samples - 1, -1, -1, device=x.device), slice(1, n_samples)):
        part = A.take(some)
        _close(part(x[some]), b[some], "take(rows) gives the operator of those samples")
        _close(part.adjoint(r[some]), back[some], "take(rows) gives the adjoint of those samples")
    chunks = [chunk.A.adjoint(chunk.b) for _, chunk in Observation(r, A).chunks(2)]
    _close(torch.cat(chunks), back, "Observation.chunks gives the operator of every chunk")
    _close(deepcopy(A).to(A.like)(x), b, "a copy, as clone makes one, does the same")
    _check_solves(A, x, r, rho)
    if x.dtype == torch.float64:
        _check_derivatives(A, x, r, rho)
    _holds(torch.equal(x, before[0]) and torch.equal(r, before[1]), "the input is overwritten")


def _check_norm(A: Operator, x: Tensor) -> None:
    norms = {"lipschitz()": A.lipschitz(), "lipschitz_bound()": A.lipschitz_bound()}
    expected = (len(x), 1) if A.per_sample else ()
    for name, L in norms.items():
        _holds(tuple(L.shape) == expected, f"{name} has shape {tuple(L.shape)}, not {expected}")
    found = x.new_zeros(len(x), 1)
    for _ in range(200):  # power iteration
        x = x / x.norm(dim=1, keepdim=True).clamp_min(1e-300)
        b = A(x)
        found, x = b.square().sum(1, keepdim=True), A.adjoint(b)
    found = found if A.per_sample else found.max()
    for name, L in norms.items():
        L = L.to(found)
        fits = bool((found <= L * (1 + 1e-5) + 1e-12).all() and (found >= 0.9 * L - 1e-12).all())
        _holds(fits, f"{name} is ||A||^2: got {L.max():.6g}, power iteration {found.max():.6g}")


def _check_solves(A: Operator, x: Tensor, r: Tensor, rho: float) -> None:
    s = A.solve_normal(x, rho)
    _close(A.adjoint(A(s)) + rho * s, x, "solve_normal solves (A^T A + rho I) s = r")
    v = A.proximal(r, x, rho)
    _close(A.adjoint(A.residual(r, v)), rho * (v - x), "proximal(b, x, rho) solves its problem")
    try:
        nearest = A.consistent(r, x)
    except NotImplementedError:
        return
    left = A.adjoint(A.residual(r, nearest))
    _close(left, torch.zeros_like(left), "consistent(b, x) leaves no gradient of ||A x - b||^2")
    _close(A.consistent(r, nearest), nearest, "consistent does nothing a second time")
    _close(((nearest - x) * (x - A.solve_normal(A.adjoint(A(x)), 1e-9))).sum(1), 0 * x[:, 0],
           "consistent moves x no farther than it must", loose=1e4)  # fmt: skip


def _check_derivatives(A: Operator, x: Tensor, r: Tensor, rho: float) -> None:
    some = slice(None) if A.per_sample else slice(1)
    x, r = x[some].clone().requires_grad_(), r[some].clone().requires_grad_()
    rho = torch.tensor(rho, dtype=x.dtype, device=x.device, requires_grad=True)
    for function, given, name in (
        (A, (x,), "A(x)"),
        (A.adjoint, (r,), "adjoint(r)"),
        (A.solve_normal, (x, rho), "solve_normal(r, rho)"),
        (A.proximal, (r, x, rho), "proximal(b, x, rho)"),
    ):
        try:
            gradcheck(function, given, fast_mode=True)
        except RuntimeError as error:
            raise AssertionError(f"Wrong derivative of {name}: {error}") from error


def check_layer(layer: UnrolledLayer, obs: Observation) -> None:
    """Check the contract of a layer: state, iterate, rows, determinism, gradients, storage.

    Parameters
    ----------
    layer : UnrolledLayer
        The layer, on the device and in the dtype of the data.
    obs : Observation or Composite
        At least three samples of what it is for, on which two steps lead to another iterate than
        one; float64 lets small mistakes show.

    Raises
    ------
    AssertionError
        If something does not hold; the message says what.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Dense, Observation
    >>> from sklearn_unroll.nn import lista
    >>> from sklearn_unroll.testing import check_layer
    >>> A = Dense(torch.eye(4, 6, dtype=torch.float64))
    >>> check_layer(lista(A).layers[0], Observation(torch.rand(3, 6).double(), A))
    """
    _holds(isinstance(layer, UnrolledLayer), "the layer is no UnrolledLayer")
    _holds(len(obs.b) >= 3, "check_layer needs at least three samples")
    for method, n_given in ((layer.init, 1), (layer.forward, 2)):
        required = [
            p for p in inspect.signature(method).parameters.values() if p.default is p.empty
        ]
        _holds(
            len(required) == n_given,
            f"{method.__name__} takes {[p.name for p in required]}: a layer is given its state "
            f"and the observation, and never the ground truth",
        )
    b = obs.b.clone()
    with torch.no_grad():
        state = layer.init(obs)
        named = isinstance(state, tuple) and hasattr(state, "_fields")
        _holds(named, "the state is a NamedTuple")
        x0 = layer.readout(state).clone()
        shape = (len(b), obs.A.n_components)
        _holds(x0.shape == shape, f"the iterate has shape {shape}, got {tuple(x0.shape)}")
        x1, x2 = _run(layer, obs, 1), _run(layer, obs, 2)
        _holds(x0.dtype == x1.dtype == b.dtype, f"the iterate has the data's dtype, {b.dtype}")
        _holds(torch.equal(_run(layer, obs, 2), x2), "the layer is deterministic")
        _holds(torch.equal(Unrolled([layer])(obs, 0), x0), "depth 0 is what init reads out")
        _close(Unrolled([layer, layer])(obs), x2, "Unrolled runs the layer")
        rows = torch.tensor([2, 0], device=b.device)
        _close(_run(layer, obs.take(rows), 2), x2[rows], "samples do not see each other")
        copy = pickle.loads(pickle.dumps(layer))
        _close(_run(copy, obs, 2), x2, "a stored layer does the same")
        _check_with_iterate(layer, obs, x1, x2)
    _check_gradients(layer, obs, x1)
    _holds(torch.equal(obs.b, b), "the layer leaves the data as they are")
    _check_projection(layer)


def _run(layer: UnrolledLayer, obs: Observation, n: int) -> Tensor:
    return layer.readout(_state(layer, obs, n)).clone()


def _state(layer: UnrolledLayer, obs: Observation, n: int) -> Any:
    state = layer.init(obs)
    for _ in range(n):
        state = layer(state, obs)
    return state


def _check_with_iterate(layer: UnrolledLayer, obs: Observation, x1: Tensor, x2: Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(x1.shape, generator=generator, dtype=torch.float64).to(x1)
    x = x1 + (float(x1.abs().max()) or 1.0) * noise
    # What gives the same after one step and after two, as the first layer of a feed-forward
    # network does, does not look at its state.
    looks = _distance(x1, x2) > _tolerance(x2)
    for n, unmoved in enumerate((x1, x2)):
        state = layer.with_iterate(_state(layer, obs, n), x.clone())
        _holds(torch.equal(layer.readout(state), x), "readout(with_iterate(state, x)) is x")
        moved = layer.readout(layer(state, obs))
        _holds(
            not looks or _distance(moved, unmoved) > _tolerance(x2),
            "the iterate after with_iterate(state, x) depends on x",
        )


def _check_gradients(layer: UnrolledLayer, obs: Observation, x1: Tensor) -> None:
    b = obs.b.clone()
    b[1] = 0  # a sample that is all zero is allowed everywhere
    some = obs._replace(b=b)
    with torch.enable_grad():
        state = layer.init(some)
        before = [tensor.detach().clone() for tensor in _tensors(state)]
        x = layer.readout(layer(state, some))
        _holds(x.shape == x1.shape, f"the iterate keeps its shape, got {tuple(x.shape)}")
        same = zip(before, _tensors(state), strict=True)
        _holds(
            all(torch.equal(old, new) for old, new in same),
            "with gradients a layer does not overwrite its state",
        )
        rest = torch.tensor([0, 2], device=b.device)
        _close(x[rest], x1[rest], "the layer does the same with gradients as without")
        _holds(bool(torch.isfinite(x).all()), "a zero observation gives finite codes")
        x = layer.readout(layer(layer(layer.init(some), some), some))
        moving = [p for p in layer.parameters() if p.requires_grad]
        if not moving:
            return
        _holds(x.requires_grad, "the iterate depends on the parameters")
        gradients = torch.autograd.grad(x.square().sum(), moving, allow_unused=True)
        finite = all(bool(torch.isfinite(g).all()) for g in gradients if g is not None)
        _holds(finite, "gradients are finite, for a zero observation too")
        names = [n for n, p in layer.named_parameters() if p.requires_grad]
        idle = [n for n, g in zip(names, gradients, strict=True) if g is None]
        _holds(not idle, f"every parameter takes part: {idle} have no gradient")


def _check_projection(layer: UnrolledLayer) -> None:
    layer = deepcopy(layer)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.sub_(1.0)
        layer.project_()
        once = [p.clone() for p in layer.parameters()]
        layer.project_()
    same = zip(once, layer.parameters(), strict=True)
    _holds(all(torch.equal(p, q) for p, q in same), "project_ does nothing a second time")


def _tensors(state: Any) -> Iterator[Tensor]:
    for part in state:
        if isinstance(part, Tensor):
            yield part
        elif isinstance(part, tuple):
            yield from _tensors(part)


def _holds(fact: bool, message: str) -> None:
    if not fact:
        raise AssertionError(f"It does not hold that: {message}.")


def _distance(found: Tensor, expected: Tensor) -> float:
    return float((found.detach() - expected.detach()).abs().max()) if found.numel() else 0.0


def _tolerance(expected: Tensor) -> float:
    scale = max(1.0, float(expected.detach().abs().max())) if expected.numel() else 1.0
    return scale * (1e-9 if expected.dtype == torch.float64 else 1e-3)


def _close(found: Tensor, expected: Tensor, message: str, loose: float = 1.0) -> None:
    _holds(found.shape == expected.shape, f"{message} (shape {tuple(found.shape)})")
    error = _distance(found, expected)
    # Written so that NaN fails.
    _holds(error <= loose * _tolerance(expected), f"{message} (largest error {error:.3g})")
