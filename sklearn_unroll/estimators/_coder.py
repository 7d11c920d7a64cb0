"""What transformers share that code signals over a dictionary and learn nothing else."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from sklearn.base import _fit_context
from sklearn.utils.metadata_routing import UNUSED
from torch import Tensor

from sklearn_unroll.estimators._arrays import (
    check_out,
    own_arithmetic,
    resolve_device,
    to_tensor,
    torch_dtype,
)
from sklearn_unroll.estimators._codes import Codes
from sklearn_unroll.estimators._document import fill
from sklearn_unroll.estimators._missing import atoms_of
from sklearn_unroll.estimators._operators import group_operators, one_of
from sklearn_unroll.estimators._shell import Seen, Shell, Transforms
from sklearn_unroll.estimators._state import Fitting, as_fitted
from sklearn_unroll.estimators._validation import check_weight, weighted_mean
from sklearn_unroll.functional import Operator
from sklearn_unroll.functional.rows import Rows, whole
from sklearn_unroll.solvers.masks import put_in_order


@fill
class BaseCoder(Transforms, Shell):
    """Fit, score, inverse transform and everything around codes; a subclass finds them.

    A subclass has a constructor that only assigns, with at least the parameters below.
    """

    task = Codes(any_size=True, zero_atoms=True, missing=True)
    takes_operators = True
    applies_operators = False
    # Where results go is no metadata, which a meta-estimator would split or route.
    __metadata_request__predict: ClassVar[dict] = {"out": UNUSED}
    __metadata_request__transform: ClassVar[dict] = {"out": UNUSED}
    _parameter_constraints: ClassVar[dict] = {
        **Shell._parameter_constraints,
        "dictionary": ["array-like", None],
    }

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, operators: Any = None) -> BaseCoder:
        """Check parameters and store the dictionary.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations: they set the dtype of the dictionary.
        y : array-like of shape (n_samples, n_components), default=None
            True codes, to estimate the dictionary from; ignored if there is one, so that y may
            be the labels of a classifier that follows in a Pipeline.
        operators : array-like of shape (n_samples, n_components, n_features), default=None
            The dictionary of every sample, where there is not one for all: then methods need
            theirs, too.

        Returns
        -------
        %(fitted)s

        Raises
        ------
        ValueError
            If an input or a parameter is not valid.
        NotFittedError
            If a parameter is an estimator that has to be fitted before and is not.
        """
        with own_arithmetic(), Fitting(self) as fitting:
            work = fitting.work
            known = self.own_operator() is not None or operators is not None
            given = self.task.take_in(
                work, X, None if known else y, None, operators=one_of(operators)
            )
            work.check_fit(atoms_of(given.obs.A))
            vars(work).update(given.fitted)
        return self

    @abstractmethod
    def predict(self, X: Any) -> Any:
        """Return the codes of observations.

        Parameters
        ----------
        %(X)s

        Returns
        -------
        array of shape (n_samples, n_components) or (n_samples,)
            Codes; one-dimensional where the dictionary was estimated from such y.
        """

    @as_fitted
    def inverse_transform(self, X: Any) -> Any:
        """Return the signals of codes, ``X @ dictionary_``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components) or (n_samples,)
            Codes.

        Returns
        -------
        array of shape (n_samples, n_features)
            Signals.
        """
        return self._signals(X)

    def compute_like(self, X: Any) -> Tensor:
        """Return a tensor with the dtype of X, on the device in use."""
        return torch.empty(0, dtype=torch_dtype(X), device=resolve_device(self.device, X))

    def check_fit(self, A: Operator) -> None:
        """Check what depends on the dictionary; by default nothing does.

        Parameters
        ----------
        A : Operator
            That of the dictionary in use.
        """

    def _seen(self, X: Any, method: str, operators: Any) -> Seen:
        """Validate X; of dictionaries of samples one has to do here, see :func:`by_dictionary`."""
        return self.task.see_rows(self, X, method, operators=one_of(operators))

    def _into(self, seen: Seen, out: Any, method: str) -> Tensor | None:
        """Return the caller's array for codes, if there is one, as a matrix on its memory."""
        if out is None:
            return None
        shape = len(seen.obs.b), seen.obs.A.n_components
        one = method == "predict" and self._y_was_1d
        return check_out(out, shape[:1] if one else shape, seen.X).view(shape)

    def _score(self, seen: Seen, codes: Any, y: Any, sample_weight: Any, problem: Any) -> float:
        """Return R^2 of codes, or minus the mean objective of a problem where there is no y."""
        if y is not None:
            return self._r2(seen, codes, y, sample_weight)
        value = problem.value(to_tensor(codes, dtype=problem.b.dtype, device=problem.b.device))
        return -weighted_mean(value, check_weight(sample_weight, seen.X, value))

    def __sklearn_is_fitted__(self) -> bool:
        return "dictionary_" in vars(self)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.target_tags.required = self.dictionary is None
        tags.target_tags.multi_output = True
        return tags


def room_for(codes: Tensor | None, b: Tensor | Rows, *shape: int) -> Tensor:
    """Return where to write codes of data: the caller's array where it is as they are computed."""
    if codes is not None and codes.dtype == b.dtype and codes.device == b.device:
        return codes
    return b.new_empty(*shape)


def written(codes: Any, found: Tensor, into: Tensor | None, out: Any) -> Any:
    """Return codes, those in the caller's array where there is one."""
    if into is None:
        return codes
    if found.data_ptr() != into.data_ptr():
        into.copy_(found)
    return out


def by_dictionary(
    b: Tensor | Rows, operators: Any, solve: Callable[[Tensor, Tensor, Tensor], tuple]
) -> Any:
    """Return what ``solve(rows, b, D)`` gives for the samples of each dictionary, put in order."""
    b = whole(b)
    groups = group_operators(operators, len(b), b)
    return put_in_order((rows, solve(rows, b[rows], D)) for rows, D in groups)
