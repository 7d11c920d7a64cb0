"""What a user gives as code, tried once before it is relied on: operators, penalties, starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sklearn_unroll.estimators._checked import describe
from sklearn_unroll.functional import Observation, Operator, Penalty

_ROWS = 2  # that code is tried on


def check_action(A: Operator, b: Tensor, name: str) -> Operator:
    """Return an operator, and raise unless products with it are numbers that fit together."""
    if A.per_sample:
        return A
    x, r = _some(_ROWS, A.n_components, b), _some(_ROWS, A.n_features, b)
    what = f"{name}: A x, matvec,", f"{name}: A^T r, rmatvec or adjoint,"
    products = _tried(what[0], A, lambda: A(x)), _tried(what[1], A, lambda: A.adjoint(r))
    _expect(what[0], A, products[0], r)
    _expect(what[1], A, products[1], x)
    there, back = (products[0] * r).sum(), (x * products[1]).sum()
    size = products[0].norm() * r.norm() + x.norm() * products[1].norm()
    if not abs(there - back) <= 1e-3 * size:
        raise ValueError(
            f"{name}, {describe(A)}, is not the transpose of its adjoint: <A x, r> = "
            f"{float(there):.6g}, but <x, A^T r> = {float(back):.6g}. Check rmatvec, or adjoint."
        )
    return A


def check_penalty(R: Any, b: Tensor, n_components: int, name: str = "penalty") -> None:
    """Raise unless value and prox of a penalty are numbers that fit codes of observations."""
    if isinstance(R, Penalty):
        for parameter, value in R.get_params().items():
            shape = tuple(getattr(value, "shape", ()))
            if len(shape) == 2 and shape[0] not in (1, len(b)):
                raise ValueError(
                    f"{name} {type(R).__name__} has {parameter} of shape {shape}, but X has "
                    f"{len(b)} samples: give one row for each."
                )
        R = R.take(slice(min(_ROWS, len(b))))
    x = _some(min(_ROWS, len(b)), n_components, b)
    before = x.clone()
    value = _tried(f"{name}.value(x)", R, lambda: R.value(x))
    _expect(f"{name}.value(x)", R, value, x[:, 0], finite=False)
    found = _tried(f"{name}.prox(x, step)", R, lambda: R.prox(x, 0.1))
    _expect(f"{name}.prox(x, step)", R, found, x)
    if not torch.equal(x, before):
        raise ValueError(f"{name}, {describe(R)}, overwrites x, which is not its own. Copy it.")


def check_smooth(f: Any, obs: Observation, name: str = "loss") -> None:
    """Raise unless value, gradient and Lipschitz constant of a loss are numbers that fit."""
    obs = obs.take(slice(min(_ROWS, len(obs.b))))
    x = _some(len(obs.b), obs.A.n_components, obs.b)
    value = _tried(f"{name}.value(x, obs)", f, lambda: f.value(x, obs))
    _expect(f"{name}.value(x, obs)", f, value, x[:, 0], finite=False)
    found = _tried(f"{name}.gradient(x, obs)", f, lambda: f.gradient(x, obs))
    _expect(f"{name}.gradient(x, obs)", f, found, x)
    L = _tried(f"{name}.lipschitz(obs)", f, lambda: f.lipschitz(obs))
    fits = isinstance(L, Tensor) and L.shape in ((), (1,), (len(x), 1))
    if not fits or not bool(((L >= 0) & torch.isfinite(L)).all()):
        raise ValueError(
            f"{name}.lipschitz(obs) of {describe(f)} must be a tensor of one nonnegative number, "
            f"or of one for each sample, of shape (n_samples, 1); got {L!r}."
        )


def check_start(x0: Callable, obs: Observation, name: str = "x0") -> None:
    """Raise unless a function of observations gives codes of theirs."""
    some = obs.take(slice(min(_ROWS, len(obs.b))))
    found = _tried(f"{name}(obs)", x0, lambda: x0(some))
    _expect(f"{name}(obs)", x0, found, some.b.new_empty(len(some.b), some.A.n_components))


def _some(n_rows: int, n: int, like: Tensor) -> Tensor:
    """Return normal numbers, always the same."""
    return torch.randn(n_rows, n, generator=torch.Generator().manual_seed(0)).to(like)


def _tried(what: str, owner: Any, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # of any class: it is the user's code
        raise ValueError(
            f"{what} of {describe(owner)} fails where it is applied: {type(error).__name__} "
            f"{error}."
        ) from error


def _expect(what: str, owner: Any, found: Any, like: Tensor, finite: bool = True) -> None:
    fits = isinstance(found, Tensor) and found.shape == like.shape and found.dtype == like.dtype
    number = torch.isfinite if finite else (lambda value: ~torch.isnan(value))
    if not fits or not bool(number(found).all()):
        kind = "finite numbers" if finite else "numbers, not NaN"
        given = "NaN or infinity" if fits else describe(found)
        raise ValueError(
            f"{what} of {describe(owner)} must give {kind}, a {like.dtype} tensor of shape "
            f"{tuple(like.shape)}; got {given}."
        )
