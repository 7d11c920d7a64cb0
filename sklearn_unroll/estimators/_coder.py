"""What transformers share that code signals over a dictionary and learn nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_array
from sklearn.utils._array_api import check_same_namespace
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from sklearn_unroll.estimators._state import all_or_nothing
from sklearn_unroll.estimators._validation import (
    check_codes,
    check_codes_match,
    check_dictionary,
    check_magnitude,
    check_numeric,
    estimate_dictionary,
    float_dtypes,
    from_tensor,
    refuse_complex,
    resolve_device,
    to_tensor,
)
from sklearn_unroll.functional import Dense


class BaseCoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """Fit, inverse transform and everything around codes; a subclass says how to find them.

    A subclass has a constructor that only assigns, with at least the parameters below.
    """

    _parameter_constraints: ClassVar[dict] = {
        "dictionary": ["array-like", None],
        "device": [str, torch.device],
    }

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> BaseCoder:
        """Check parameters and store the dictionary.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations: they set the dtype of the dictionary.
        y : array-like of shape (n_samples, n_components), default=None
            True codes, to estimate the dictionary from; ignored if there is one, so that y may
            be the labels of a classifier that follows in a Pipeline.

        Returns
        -------
        self : estimator
            The fitted estimator.

        Raises
        ------
        ValueError
            If an input or a parameter is not valid.
        NotFittedError
            If a parameter is an estimator that has to be fitted before and is not.
        """
        with all_or_nothing(self):
            refuse_complex(X, "X")
            dtypes, given = float_dtypes(X), self._given_dictionary()
            if given is not None:
                X = validate_data(self, X, dtype=dtypes)
            else:
                check_codes(y)
                X, y = validate_data(self, X, y, dtype=dtypes, multi_output=True, y_numeric=True)
                check_numeric(y)
            device = resolve_device(self.device, X)
            b = to_tensor(X, dtype=None, device=device)
            if given is not None:
                D = check_dictionary(given, b.shape[1], b.dtype, device)
            else:
                codes = to_tensor(y, dtype=b.dtype, device=device).reshape(len(b), -1)
                D = check_magnitude(estimate_dictionary(b, codes, None))
            self._check_fit(D)
            self._y_was_1d = given is None and y.ndim == 1
            self.dictionary_ = from_tensor(D.clone(), X)
        return self

    def fit_transform(self, X: Any, y: Any = None, **transform_params: Any) -> Any:
        """Fit, and return the codes of the observations.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.
        y : array-like of shape (n_samples, n_components), default=None
            As in ``fit``.
        **transform_params : Any
            What ``transform`` takes per sample.

        Returns
        -------
        array of shape (n_samples, n_components)
            Codes.
        """
        # Unlike scikit-learn's, with what is routed to transform.
        return self.fit(X, y).transform(X, **transform_params)

    @abstractmethod
    def predict(self, X: Any) -> Any:
        """Return the codes of observations.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.

        Returns
        -------
        array of shape (n_samples, n_components) or (n_samples,)
            Codes; one-dimensional where the dictionary was estimated from such y.
        """

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
        check_is_fitted(self)
        refuse_complex(X, "X")
        check_same_namespace(X, self, attribute="dictionary_", method="inverse_transform")
        codes = check_array(X, dtype=float_dtypes(X), ensure_2d=not self._y_was_1d)
        device = resolve_device(self.device, codes)
        z = to_tensor(codes, dtype=None, device=device)
        A = Dense(self._tensor_dictionary(z.dtype, device))
        z = z[:, None] if z.ndim == 1 else z
        check_codes_match(z, A)
        return from_tensor(A(z), codes)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "dictionary_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.target_tags.required = self.dictionary is None
        tags.target_tags.multi_output = True
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.dictionary_.shape[0]

    def _given_dictionary(self) -> Any:
        """Return the user's dictionary, None where it is to be estimated."""
        return self.dictionary

    def _check_fit(self, D: Tensor) -> None:
        """Check what depends on the dictionary, and set what a subclass has besides it."""

    def _tensor_dictionary(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        return to_tensor(self.dictionary_, dtype=dtype, device=device)

    def _observe(self, X: Any, method: str) -> tuple[Any, Tensor]:
        """Return X validated, and as a tensor."""
        check_is_fitted(self)
        refuse_complex(X, "X")
        check_same_namespace(X, self, attribute="dictionary_", method=method)
        checked = validate_data(self, X, reset=False, dtype=float_dtypes(X))
        device = resolve_device(self.device, checked)
        return checked, to_tensor(checked, dtype=None, device=device)

    def _ravel(self, codes: Any) -> Any:
        return codes[:, 0] if self._y_was_1d else codes


def weighted_mean(value: Tensor, sample_weight: Any, X: Any) -> float:
    """Return the mean over the samples of X in float64."""
    value = value.double()
    if sample_weight is None:
        return float(value.mean())
    checked = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
    weight = to_tensor(checked, dtype=torch.float64, device=value.device)
    return float((weight * value).sum() / weight.sum())
