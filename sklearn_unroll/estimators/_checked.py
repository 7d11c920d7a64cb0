"""scikit-learn's validators for what a user gives, with errors that name the argument."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from numbers import Complex, Real
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import check_array
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.validation import validate_data
from torch import Tensor

from sklearn_unroll.estimators._arrays import float_dtypes, refuse_kind, to_rows, to_tensor
from sklearn_unroll.functional.rows import Rows, blocks

# Factor on observations and codes that what is computed of them may have.
_ROOM = 2.0**10
_SHAPES = {"X": "(n_samples, n_features)", "y": "(n_samples, n_components)"}
_MISSING = (
    "Leave such rows out, or fill the entries, with sklearn.impute.SimpleImputer, say. "
    "LassoCoder, OMPCoder, OnlineDictionaryLearning and, for least squares, MathL2OSolver take "
    "NaN for what was not seen. AdaLISTARegressor and LISTARegressor(weights='adjoint') take "
    "zeros there, in X and in the columns of each sample's own dictionary, operators=...; "
    "GlowProxInpainter fills in pictures."
)


def check_parameters(owner: Any) -> None:
    """Raise for parameters that scikit-learn's constraints fail on or let pass, of parts too.

    These are fractions, classes in place of instances, and words among numbers.
    """
    defaults = inspect.signature(type(owner)).parameters
    for name, value in owner.get_params(deep=False).items():
        if name not in owner._parameter_constraints:
            continue
        expected = None
        if isinstance(value, Fraction):
            expected = f"a float, float({value})"
        elif isinstance(value, type):
            expected = f"an instance, {value.__name__}(...)"
        elif isinstance(value, (list, tuple)) and isinstance(defaults[name].default, tuple):
            numbers = all(isinstance(v, Real) and math.isfinite(v) for v in value)
            expected = None if numbers else f"finite numbers, such as {defaults[name].default}"
        if expected is not None:
            raise InvalidParameterError(
                f"The {name!r} parameter of {type(owner).__name__} must be {expected}. Got "
                f"{value!r} instead."
            )
        for part in value if isinstance(value, (list, tuple)) else [value]:
            if hasattr(part, "_parameter_constraints") and not hasattr(part, "fit"):
                check_parameters(part)
                part._validate_params()


def check_observations(
    est: Any, X: Any, *, reset: bool, y: Any = "no_validation", missing: bool = False
) -> Any:
    """Return observations of float dtype, of as many features as were fitted.

    Parameters
    ----------
    est : estimator
        Whose they are.
    X : array-like
        What was given.
    reset : bool
        Whether a fit begins.
    y : None, default="no_validation"
        None asks whether the estimator can do without.
    missing : bool, default=False
        Whether NaN stands for what is missing.
    """
    if not reset and y is not None and _is_ready(est, X):
        return X
    with named("X", X):
        _refuse_others(X, "X")
        finite = "allow-nan" if missing else True
        return _floating(
            validate_data(est, X, y, reset=reset, dtype=float_dtypes(X), ensure_all_finite=finite)
        )


def _is_ready(est: Any, X: Any) -> bool:
    """Return whether scikit-learn's validators would return X."""
    if not _is_plain(X) or hasattr(est, "feature_names_in_"):
        return False
    return X.shape == (len(X), est.n_features_in_)


def _is_plain(array: Any) -> bool:
    """Return whether these are finite floats of numpy: validators take longer than small codes.

    They have the say on all others, those with NaN, too.
    """
    if type(array) is not np.ndarray or array.dtype not in (np.float32, np.float64):
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        return array.size > 0 and math.isfinite(array.sum())


def check_numbers(array: Any, name: str, missing: bool = False, **options: Any) -> Any:
    """Return finite numbers of float dtype, or NaN, of any shape; tensors stay tensors."""
    if _is_plain(array) and (array.ndim == 2 or not options):
        return array
    with named(name, array):
        _refuse_others(array, name)
        if isinstance(array, Tensor):
            known = torch.isfinite(array) | torch.isnan(array) & missing
            if not bool(known.all()):
                raise ValueError(f"Input {name} contains NaN or infinity.")
            return array.detach()
        finite = "allow-nan" if missing else True
        options = {"ensure_2d": False, "allow_nd": True, "ensure_all_finite": finite, **options}
        array = np.asarray(array) if isinstance(array, Complex) else array
        dtypes = float_dtypes(array)
        return _floating(check_array(array, dtype=dtypes, input_name=name, **options))


def check_y(y: Any, X: Any) -> Any:
    """Return what belongs to observations, one row for each, of any dtype but finite."""
    with named("y", y):
        refuse_kind(y, "y")
        if issparse(y):
            raise TypeError(
                "Sparse data was passed for y, but dense codes are required: y.toarray()."
            )
        y = check_array(y, dtype=None, ensure_2d=False, input_name="y")
        if getattr(y.dtype, "kind", "") == "O":
            # Objects that are numbers; words stay, for whoever knows what they may be.
            try:
                y = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
            except (TypeError, ValueError) as error:
                if "convert" not in str(error):
                    raise
    if y.shape[0] != X.shape[0]:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: X has {X.shape[0]} "
            f"rows and y {y.shape[0]}. Give one row of y for each row of X."
        )
    return y


def check_magnitude(
    numbers: Tensor | Rows, name: str, *, room: float = _ROOM, least: float = 0.0
) -> Tensor | Rows:
    """Return numbers, and raise if their squares, and sums of these, leave the range."""
    count = math.prod(numbers.shape)
    if not count:
        return numbers
    parts = [numbers] if numbers.ndim != 2 else (numbers[rows] for rows in blocks(numbers))
    largest = max(float(high.maximum(-low)) for low, high in map(torch.aminmax, parts))
    limit = (torch.finfo(numbers.dtype).max / count) ** 0.5 / room
    if largest <= limit and not 0 < largest < least:
        return numbers
    how = ("small", "digits are lost") if largest < least else ("large", "squares overflow")
    what = f"{name.split(',')[0]} or X" if "," in name else name
    raise ValueError(
        f"{name} has entries too {how[0]} for {numbers.dtype} (largest {largest:.3g}): their "
        f"{how[1]}. Rescale {what}."
    )


def to_computed(array: Any, like: Tensor, name: str = "X") -> Tensor:
    """Return a validated array in the dtype of the fit, and raise if it does not fit in there."""
    return _fitting(to_tensor(array, dtype=like.dtype, device=like.device), name)


def rows_to_compute(array: Any, like: Tensor | Rows, name: str = "X") -> Tensor | Rows:
    """Return a validated matrix as ``to_computed`` does, of maps and other kinds only rows."""
    rows = to_rows(array, dtype=like.dtype, device=like.device)
    # A map in float32 is looked at when it is validated, and not once more.
    return rows if isinstance(rows, Rows) and array.dtype == np.float32 else _fitting(rows, name)


def _fitting(numbers: Tensor | Rows, name: str) -> Tensor | Rows:
    if numbers.dtype == torch.float32 and not _is_finite(numbers):
        raise ValueError(
            f"Input {name} contains values too large for float32, the dtype of the computation. "
            f"Rescale {name}, or fit on X in float64."
        )
    return numbers


def as_codes(y: Any, b: Tensor | Rows) -> Tensor | Rows:
    """Return codes as a matrix, of the dtype and on the device of the observations."""
    codes = check_magnitude(rows_to_compute(y, b, "y"), "y")
    return codes[:, None] if codes.ndim == 1 else codes


def _is_finite(numbers: Tensor | Rows) -> bool:
    parts = [numbers] if numbers.ndim != 2 else (numbers[rows] for rows in blocks(numbers))
    return not any(bool(torch.isinf(part).any()) for part in parts)  # NaN is what was not seen


def check_dtype(dtype: Any) -> None:
    """Raise unless a dtype is None or one that is computed in."""
    if dtype is not None and not any(dtype is kind for kind in (torch.float32, torch.float64)):
        raise ValueError(f"dtype must be torch.float32, torch.float64 or None, got {dtype!r}.")


def _floating(array: Any) -> Any:
    # What only pretends to be an array, such as an operator, passes scikit-learn as an object.
    if getattr(array.dtype, "kind", "") == "O":
        raise TypeError("it holds no numbers.")
    return array


def _refuse_others(array: Any, name: str) -> None:
    """Raise for what holds no numbers, words too, of which scikit-learn reads some."""
    refuse_kind(array, name)
    if isinstance(array, (str, bytes)) or getattr(getattr(array, "dtype", None), "kind", "") in (
        "U", "S",
    ):  # fmt: skip
        raise ValueError(
            f"{name} must hold numbers, got words, {describe(array)}. Encode labels first, "
            f"np.where({name} == word, 1.0, -1.0), say."
        )


@contextmanager
def named(name: str, given: Any) -> Iterator[None]:
    """Let errors about an argument name it, and say what was given and what was expected."""
    try:
        yield
    except (ValueError, TypeError) as error:
        said = _explained(name, given, str(error))
        if said == str(error):
            raise
        raise (TypeError if isinstance(error, TypeError) else ValueError)(said) from error


def _explained(name: str, given: Any, text: str) -> str:
    if "contains NaN" in text and "infinity" not in text:
        return f"Input {name} contains NaN. {_MISSING if name == 'X' else ''}".strip()
    if re.search(rf"\b{name}\b", text):
        return text
    hint, sizes = "", () if isinstance(given, type) else getattr(given, "shape", ())
    if "inhomogeneous" in text:
        hint = " Its rows differ in length."
    elif len(sizes) > 2:
        hint = f" Flatten what a sample holds: {name}.reshape(len({name}), -1)."
    shape = f" of shape {_SHAPES[name]}" if name in _SHAPES else ""
    return f"Invalid {name}, {describe(given)}: {text}{hint} Expected numbers{shape}."


def describe(given: Any) -> str:
    """Return in few words what was given."""
    if given is None or isinstance(given, (str, bytes, Complex)):
        return repr(given)[:60]
    if isinstance(given, type):
        return f"the class {given.__name__}"
    if hasattr(given, "shape"):
        return f"{type(given).__name__} of shape {tuple(given.shape)}"
    size = f" of length {len(given)}" if hasattr(given, "__len__") else ""
    return f"{type(given).__name__}{size}"
