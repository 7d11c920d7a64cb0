"""Ada-LISTA as a scikit-learn estimator: the dictionary is an input, one per observation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from sklearn.base import _fit_context

from sklearn_unroll.estimators._state import Given
from sklearn_unroll.estimators._trained import TrainedUnrolledRegressor
from sklearn_unroll.nn import Unrolled, ada_lista
from sklearn_unroll.training import Trainer

__all__ = ["AdaLISTARegressor"]

FIRST_STEP_FROM = 64  # dictionaries


class AdaLISTARegressor(TrainedUnrolledRegressor):
    """Sparse codes by a network that is given the dictionary with every observation.

    ``x+ = soft(x + gamma_k A^T (W2^T b - W1^T W1 A x), theta_k)`` [1]_: two matrices that act
    on signals are learned, so that one network serves a family of dictionaries. Untrained it
    is ISTA.

    ``operators``, of shape (n_samples, n_components, n_features), is metadata: ``fit``,
    ``predict`` and all other methods accept it, and scikit-learn slices and routes it like
    ``sample_weight`` (call ``set_fit_request(operators=True)`` and the like, see
    scikit-learn's guide on metadata routing). Without it every observation has ``dictionary``.

    Parameters
    ----------
    dictionary : array-like of shape (n_components, n_features), default=None
        Rows are atoms; used where no ``operators`` are passed. None estimates it from the
        pairs of a fit without ``operators``.
    alpha : float, default=0.1
        Weight of the l1 norm. It is the objective of a fit without y, and sets the first
        thresholds of a fit with y.
    n_layers : int, default=16
        Number of layers, the iterations of the untrained network.
    normalize : bool, default=False
        Bring every observation to the mean norm of those of ``fit`` and scale its codes back.
    debias : bool or {"least_squares", "repair"}, default=False
        Follow the codes by least squares on their support, see
        :class:`~sklearn_unroll.LISTARegressor`.
    trainer : Trainer, default=None
        How to train; None takes the default :class:`~sklearn_unroll.Trainer`.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the network of the last fit.
    device : str or torch.device, default="auto"
        Where to compute, see :class:`~sklearn_unroll.LISTARegressor`.
    random_state : int, RandomState instance or None, default=None
        Seed of shuffles and of the validation split.

    Attributes
    ----------
    network_ : Unrolled
        The trained network.
    dictionary_ : array of shape (n_components, n_features) or None
        The dictionary in use where no ``operators`` are passed; None if ``fit`` had them and
        ``dictionary`` is None.
    n_components_ : int
        Number of atoms.
    debias_ : {"least_squares", "repair"} or None
        The debiasing in use.
    norm_ : float or None
        Norm to which observations are brought, with ``normalize=True``.
    history_ : History
        Losses, rates and times in seconds, of the last ``fit``.
    n_epochs_ : int
        Epochs trained.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where X had names.

    See Also
    --------
    LISTARegressor : For one dictionary; faster, and better on that one.

    References
    ----------
    .. [1] Aberdam, A., Golts, A. and Elad, M., "Ada-LISTA: Learned solvers adaptive to varying
       models", IEEE Transactions on Pattern Analysis and Machine Intelligence 44, 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_unroll import AdaLISTARegressor, Trainer
    >>> rng = np.random.default_rng(0)
    >>> dictionaries = rng.standard_normal((200, 30, 20))
    >>> dictionaries /= np.linalg.norm(dictionaries, axis=2, keepdims=True)
    >>> y = rng.standard_normal((200, 30)) * (rng.random((200, 30)) < 0.1)
    >>> X = np.einsum("in,inm->im", y, dictionaries)
    >>> model = AdaLISTARegressor(n_layers=4, trainer=Trainer(max_epochs=5), random_state=0)
    >>> model.fit(X, y, operators=dictionaries).predict(X, operators=dictionaries).shape
    (200, 30)
    """

    def __init__(
        self,
        dictionary: Any = None,
        *,
        alpha: float = 0.1,
        n_layers: int = 16,
        normalize: bool = False,
        debias: bool | str = False,
        trainer: Trainer | None = None,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        random_state: Any = None,
    ) -> None:
        self.dictionary = dictionary
        self.alpha = alpha
        self.n_layers = n_layers
        self.normalize = normalize
        self.debias = debias
        self.trainer = trainer
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, operators: Any = None
    ) -> AdaLISTARegressor:
        """Learn the network's parameters, from pairs or from observations alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.
        y : array-like of shape (n_samples, n_components), default=None
            True codes. Without them the network learns to minimise the l1 problem.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights of the samples in the loss.
        operators : array-like of shape (n_samples, n_components, n_features), default=None
            The dictionary of every observation.

        Returns
        -------
        self : estimator
            The fitted estimator.

        Raises
        ------
        ValueError
            If an input or a parameter is not valid.
        DivergenceError
            If the training loss becomes infinite or NaN; the estimator is left as it was.
        """
        return self._fit(X, y, sample_weight, operators)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, operators: Any = None
    ) -> AdaLISTARegressor:
        """Take one pass over a batch of a stream.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.
        y : array-like of shape (n_samples, n_components), default=None
            True codes, as in ``fit``.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights of the samples in the loss.
        operators : array-like of shape (n_samples, n_components, n_features), default=None
            The dictionary of every observation.

        Returns
        -------
        self : estimator
            The fitted estimator.
        """
        return self._partial_fit(X, y, sample_weight, operators)

    def fit_transform(
        self, X: Any, y: Any = None, sample_weight: Any = None, operators: Any = None
    ) -> Any:
        """Fit, and return the codes of the same observations.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.
        y : array-like of shape (n_samples, n_components), default=None
            True codes, as in ``fit``.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights of the samples in the loss.
        operators : array-like of shape (n_samples, n_components, n_features), default=None
            The dictionary of every observation.

        Returns
        -------
        array of shape (n_samples, n_components)
            Codes.
        """
        fitted = self.fit(X, y, sample_weight=sample_weight, operators=operators)
        return fitted.transform(X, operators=operators)

    def predict(self, X: Any, operators: Any = None) -> Any:
        """Return the codes of observations, the last iterate of the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.
        operators : array-like of shape (n_samples, n_components, n_features), default=None
            The dictionary of every observation.

        Returns
        -------
        array of shape (n_samples, n_components) or (n_samples,)
            Codes, with the kind, device and float dtype of X; one-dimensional where y was.
        """
        return self._ravel(self._codes(X, "predict", operators))

    def transform(self, X: Any, operators: Any = None) -> Any:
        """Return the codes of observations, as ``predict`` does, always two-dimensional.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.
        operators : array-like of shape (n_samples, n_components, n_features), default=None
            The dictionary of every observation.

        Returns
        -------
        array of shape (n_samples, n_components)
            Codes.
        """
        return self._codes(X, "transform", operators)

    def inverse_transform(self, X: Any, operators: Any = None) -> Any:
        """Return the signals of codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components) or (n_samples,)
            Codes; one-dimensional where y was.
        operators : array-like of shape (n_samples, n_components, n_features), default=None
            The dictionary of every code.

        Returns
        -------
        array of shape (n_samples, n_features)
            Signals.
        """
        return self._signals(X, operators)

    def staged_predict(self, X: Any, operators: Any = None) -> Iterator[Any]:
        """Yield the codes after every layer; the last ones are those of ``predict``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.
        operators : array-like of shape (n_samples, n_components, n_features), default=None
            The dictionary of every observation.

        Yields
        ------
        array of shape (n_samples, n_components) or (n_samples,)
            Codes after layer 1, 2, ...
        """
        yield from self._stages(X, operators)

    def score(
        self, X: Any, y: Any = None, sample_weight: Any = None, operators: Any = None
    ) -> float:
        """Return R^2 of the codes, or minus the mean objective where there is no y.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.
        y : array-like of shape (n_samples, n_components), default=None
            True codes.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        operators : array-like of shape (n_samples, n_components, n_features), default=None
            The dictionary of every observation.

        Returns
        -------
        float
            Greater is better.
        """
        return self._score(X, y, sample_weight, operators)

    def certify(self, X: Any, alpha: Any = None, operators: Any = None) -> Any:
        """Return how far the codes of ``predict`` are from the lasso's optimum, at most.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations.
        alpha : float or array-like of shape (n_samples,), default=None
            Weight of the l1 norm; the estimator's own by default.
        operators : array-like of shape (n_samples, n_components, n_features), default=None
            The dictionary of every observation.

        Returns
        -------
        array of shape (n_samples,)
            Relative duality gaps, evaluated in float64.
        """
        return self._certify(X, alpha, operators)

    def _build_network(self, given: Given) -> Unrolled:
        A = given.obs.A
        if A.per_sample:
            # The longest step that is safe for all; these have the largest norms, to a bound.
            sizes = A.D.square().sum((1, 2))
            if given.weight is not None:
                sizes = sizes * (given.weight > 0)
            A = A.take(sizes.topk(min(FIRST_STEP_FROM, len(sizes))).indices)
        return ada_lista(A, n_layers=self.n_layers, alpha=self.alpha)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False  # it may be given dictionaries instead
        return tags

    def _fitted_state(self, network: Unrolled, given: Given) -> dict:
        n_components = given.obs.A.n_components
        return {**super()._fitted_state(network, given), "n_components_": n_components}

    @property
    def _n_features_out(self) -> int:
        return self.n_components_
