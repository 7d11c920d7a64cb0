"""Everything that enters or leaves an estimator passes here: arrays, dictionary, device."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import check_array
from sklearn.utils._array_api import (
    get_namespace_and_device,
    move_to,
    supported_float_dtypes,
)
from torch import Tensor

from sklearn_unroll.functional import Dense, Observation, Operator

# Share of the observations' energy from which on a residual is no noise.
UNEXPLAINED = 0.5


def float_dtypes(array: Any) -> list:
    """Return the float dtypes to keep, in the array's own namespace; others become the first."""
    xp, _, device = get_namespace_and_device(array)
    half = getattr(xp, "float16", None)  # too coarse to train in
    return [dtype for dtype in supported_float_dtypes(xp, device) if dtype != half]


def resolve_device(device: str | torch.device, X: Any) -> torch.device:
    """Return where to compute: ``"auto"`` is where a tensor lives, else a GPU if there is one."""
    if isinstance(device, str) and device == "auto":
        if isinstance(X, Tensor):
            return X.device
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device={device!r} is not known. Use 'auto', 'cpu', 'cuda', 'cuda:1', or a "
            f"torch.device."
        ) from error
    if chosen.type not in ("cpu", "cuda"):
        raise ValueError(
            f"device={str(chosen)!r} is not supported: float64 is needed. Use 'auto', 'cpu' or "
            f"'cuda'."
        )
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={str(chosen)!r} was asked for, but torch {torch.__version__} sees no such "
            f"device here. Use device='auto' or device='cpu'."
        )
    return chosen


def to_tensor(array: Any, *, dtype: torch.dtype | None, device: torch.device) -> Tensor:
    """Return a validated array of any namespace as a tensor; tensors stay on their device."""
    if not isinstance(array, Tensor):
        # A copy only of what torch cannot wrap (read-only maps, negative strides); the package
        # never writes to it.
        array = np.require(move_to(array, xp=np, device="cpu"), requirements=["C", "W"])
        array = torch.from_numpy(array)
    return array.detach().to(device=device, dtype=dtype)


def from_tensor(tensor: Tensor, like: Any) -> Any:
    """Return a tensor as an array with namespace, device and float dtype of ``like``."""
    return as_kind(tensor.to(getattr(torch, str(like.dtype).split(".")[-1])), like)


def as_kind(tensor: Tensor, like: Any) -> Any:
    """Return a tensor as an array of the namespace and device of ``like``, dtype kept."""
    if isinstance(like, Tensor):
        return tensor.to(like.device)
    array = tensor.cpu().numpy()
    if isinstance(like, np.ndarray):
        return array
    xp, _, device = get_namespace_and_device(like)
    return move_to(array, xp=xp, device=device)


def to_computed(array: Any, D: Tensor) -> Tensor:
    """Return a validated array in the dtype of the fit, and raise if it does not fit in there."""
    tensor = to_tensor(array, dtype=D.dtype, device=D.device)
    if D.dtype == torch.float32 and not bool(torch.isfinite(tensor).all()):
        raise ValueError(
            "Input contains values too large for float32, the dtype of the fit. Rescale it, or "
            "fit in float64."
        )
    return tensor


def to_cpu(nested: Any) -> Any:
    """Return nested dicts, lists and tuples with all tensors on the host."""
    if isinstance(nested, Tensor):
        return nested.cpu()
    if isinstance(nested, dict):
        return {key: to_cpu(value) for key, value in nested.items()}
    if isinstance(nested, (list, tuple)):
        return type(nested)(to_cpu(value) for value in nested)
    return nested


def refuse_complex(array: Any, name: str) -> None:
    """Raise for complex arrays of any namespace; scikit-learn sees only numpy's."""
    if "complex" in str(getattr(array, "dtype", "")):
        raise ValueError(
            f"Complex data not supported: {name} is complex. Give real numbers, such as rows "
            f"[Re | Im] made by sklearn_unroll.functional.pack_complex."
        )


def check_codes(y: Any) -> None:
    """Raise for codes that scikit-learn lets through and torch cannot take."""
    refuse_complex(y, "y")
    if issparse(y):
        raise TypeError("Sparse data was passed for y, but dense codes are required: y.toarray().")


def check_numeric(y: Any) -> None:
    """Raise for codes that are no numbers."""
    if isinstance(y, np.ndarray) and y.dtype.kind not in "biuf":
        raise ValueError(
            f"y must hold numbers, the codes of X; got dtype {y.dtype}. If y are labels for a "
            f"later step of a Pipeline, give the dictionary and use "
            f"trainer=Trainer(objective='lasso'), which ignores them."
        )


def check_magnitude(D: Tensor) -> Tensor:
    """Return D, and raise if the squares of its entries overflow."""
    if not bool(torch.isfinite(D.square().sum())):
        raise ValueError(
            f"The dictionary has entries too large for {D.dtype} (largest "
            f"{float(D.abs().max()):.3g}): their squares overflow. Rescale it."
        )
    return D


def check_dictionary(dictionary: Any, n_features: int, dtype: torch.dtype, device) -> Tensor:
    """Return a user's dictionary as a tensor of shape (n_components, n_features)."""
    if isinstance(dictionary, Tensor):
        D = dictionary.detach()
        if D.is_complex():
            raise ValueError("Complex data not supported: dictionary is a complex tensor.")
        if D.ndim != 2:
            raise ValueError(
                f"dictionary must have 2 dimensions (n_components, n_features), got {D.ndim}."
            )
        if not bool(torch.isfinite(D).all()):
            raise ValueError("Input dictionary contains NaN or infinity.")
    else:
        try:
            D = check_array(dictionary, dtype=float_dtypes(dictionary), input_name="dictionary")
        except ValueError as error:
            raise ValueError(f"Invalid dictionary: {error}") from error
    D = to_tensor(D, dtype=dtype, device=device)
    if D.shape[1] != n_features:
        hint = (
            " It looks transposed: rows must be atoms, so pass dictionary.T."
            if D.shape[0] == n_features
            else ""
        )
        raise ValueError(
            f"dictionary has shape {tuple(D.shape)}, but X has {n_features} features; expected "
            f"shape (n_components, {n_features}).{hint}"
        )
    if not len(D):
        raise ValueError(f"dictionary has no atoms, its shape is {tuple(D.shape)}.")
    check_magnitude(D)
    zero = torch.nonzero((D == 0).all(1)).flatten().tolist()
    if zero:
        raise ValueError(
            f"dictionary has {len(zero)} zero atom(s), at rows {zero[:5]}"
            f"{'...' if len(zero) > 5 else ''}: no code can use them. Remove these rows."
        )
    return D


def check_own_dictionaries(
    operators: Any, rows: Tensor, n_features: int, n_components: int | None = None
) -> Dense:
    """Return the operator of one dictionary for each row, with the rows' dtype and device."""
    refuse_complex(operators, "operators")
    if not isinstance(operators, Tensor):
        if isinstance(operators, (list, tuple)):
            shapes = {np.shape(D) for D in operators}
            if len(shapes) > 1:
                raise ValueError(
                    f"operators must all have one shape, got {sorted(shapes, key=str)[:5]}. "
                    f"Fit one model per shape, or add zero signals to shorter ones."
                )
        operators = check_array(
            operators, dtype=float_dtypes(operators), allow_nd=True, ensure_2d=False,
            input_name="operators",
        )  # fmt: skip
    shape = tuple(operators.shape)
    expected = (len(rows), n_components or "n_components", n_features)
    fits = len(shape) == 3 and all(
        want in ("n_components", have) for want, have in zip(expected, shape, strict=True)
    )
    if not fits or shape[1] == 0:
        raise ValueError(
            f"operators must hold one dictionary per sample, of shape "
            f"({', '.join(map(str, expected))}); got shape {shape}."
        )
    D = to_tensor(operators, dtype=rows.dtype, device=rows.device)
    if not bool(torch.isfinite(D).all()):
        raise ValueError("Input operators contains NaN or infinity.")
    return Dense(check_magnitude(D))


def check_codes_match(y: Tensor, A: Operator) -> None:
    """Raise unless codes and operator have the same number of components."""
    if y.shape[1] != A.n_components:
        known = (
            f"the dictionary has {A.n_components} atoms (shape {tuple(A.D.shape[-2:])})"
            if isinstance(A, Dense)
            else f"the operator {type(A).__name__} has {A.n_components}"
        )
        raise ValueError(
            f"y has {y.shape[1]} components per sample, but {known}. y holds the codes, of shape "
            f"(n_samples, n_components), with X ~ y @ dictionary. If y are labels for a later "
            f"step of a Pipeline, use trainer=Trainer(objective='lasso'), which ignores them."
        )


def check_per_sample(name: str, given: Any, n_samples: int) -> Tensor:
    """Return one number, or one for each sample, as a tensor in float64 that broadcasts."""
    if hasattr(given, "__len__") and not isinstance(given, Tensor):
        given = check_array(
            given, dtype=np.float64, ensure_2d=False, allow_nd=True, input_name=name
        )
    tensor = torch.as_tensor(given, dtype=torch.float64)
    if tensor.ndim == 2 and tensor.shape == (n_samples, 1):
        tensor = tensor[:, 0]
    if tensor.shape not in ((), (1,), (n_samples,)):
        raise ValueError(
            f"{name} must be one number, or one per sample of shape ({n_samples},); got shape "
            f"{tuple(tensor.shape)}."
        )
    return tensor


def check_alpha(alpha: Any, n_samples: int, device: torch.device) -> Tensor:
    """Return the weights of samples, of shape (n_samples,); raise for anything else."""
    tensor = check_per_sample("alpha", alpha, n_samples)
    if not bool(((tensor > 0) & torch.isfinite(tensor)).all()):
        raise ValueError(
            f"alpha must be positive and finite; got values from {float(tensor.min())} to "
            f"{float(tensor.max())}. Use least squares where nothing is to be penalised."
        )
    return tensor.to(device).expand(n_samples)


def warn_if_unexplained(obs: Observation, codes: Tensor, weight: Tensor | None) -> None:
    """Warn where the codes of pairs do not explain their observations through the dictionary."""
    weight = torch.ones_like(obs.b[:, 0]) if weight is None else weight
    residual = weight @ obs.A.residual(obs.b, codes).square().sum(1)
    energy = weight @ obs.b.square().sum(1)
    if residual > UNEXPLAINED * energy > 0:
        warnings.warn(
            f"X and y do not fit the dictionary: X - y @ dictionary has "
            f"{float(residual / energy):.3g} times the energy of X "
            f"({10 * math.log10(float(residual / energy)):.1f} dB). Check that y holds codes in "
            f"the order of the dictionary's rows, and that both are scaled alike.",
            stacklevel=4,
        )


def estimate_dictionary(X: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Return the ridge estimate of D in ``X ~ y D``, on the data's device, in float64.

    The ridge is 1e-6 of the mean squared activity: it only matters for atoms whose activity
    the pairs cannot tell apart. Atoms that are never active come out as zero.
    """
    # Own line of algebra instead of sklearn's Ridge: it keeps data on their device.
    codes, signals = y.double(), X.double()
    weighted = codes if weight is None else codes * weight.double()[:, None]
    gram = weighted.T @ codes
    ridge = 1e-6 * gram.diagonal().mean()
    if not ridge > 0:
        raise ValueError(
            "y is all zero: no dictionary can be estimated from it. Pass dictionary=..., or "
            "pairs with active codes."
        )
    gram.diagonal().add_(ridge)
    return torch.linalg.solve(gram, weighted.T @ signals).to(X.dtype)
