"""A network that codes batches while its dictionary is learned, and learns along with it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from sklearn.base import clone
from sklearn.utils import _safe_indexing
from torch import Tensor

from sklearn_unroll.estimators._learned import Learned
from sklearn_unroll.estimators._online import Coded, Coding
from sklearn_unroll.estimators._sizes import option
from sklearn_unroll.estimators._state import twin
from sklearn_unroll.exceptions import TrainingWarning, UnfamiliarDataWarning
from sklearn_unroll.functional import Dense
from sklearn_unroll.nn.lista import nonzero_lipschitz
from sklearn_unroll.nn.proxgrad import follow_
from sklearn_unroll.training import last_layers

MOST_FINAL = 10_000  # samples to train the network on in the end
_ROUNDING = 1e-9  # of the largest entry of a code, between two ways to run a network


class NetworkCoding(Coding):
    """Codes by a network of the package: weights from the dictionary are derived anew for it.

    What is learned goes on from batch to batch: one pass of training over each, without labels,
    before it is coded.

    Parameters
    ----------
    coder : Learned
        The network, without a dictionary.
    fitted : Learned or None
        What an earlier fit has left, to go on from.
    n_samples : int
        Samples of a batch, at most, for the recipe of training.
    truncate : int, default=0
        Last layers through which the derivative by the dictionary goes.
    """

    def __init__(
        self, coder: Learned, fitted: Learned | None, n_samples: int, truncate: int = 0
    ) -> None:
        self.given, self.truncate = coder, truncate
        self.trainer = coder.trainer
        if self.trainer is None:
            self.trainer = coder.default_trainer(n_samples, has_y=False)
        self.coder = clone(coder) if fitted is None else deepcopy(fitted)

    def follow(self, b: Tensor, weight: Tensor, D: Tensor) -> None:
        """Train the network for one pass over a batch."""
        self.coder = self._followed(D.numpy())
        self.coder.set_params(dictionary=D.numpy(), trainer=self.trainer)
        with on_the_way():
            self.coder.partial_fit(b.numpy(), sample_weight=weight.numpy())

    def __call__(self, b: Tensor, D: Tensor, tol: float) -> Coded:
        """Return codes by the network as it is, and penalties; the tolerance is not used."""
        X = b.numpy()
        with on_the_way():
            coder = self.derived(D.numpy(), X)
            codes = torch.from_numpy(coder.transform(X))
        slope = partial(slope_of, coder, X, codes, self.truncate) if self.truncate else None
        return Coded(codes, coder.problem(X).R.value(codes), slope)

    def derived(self, dictionary: Any, X: Any) -> Learned:
        """Return the network for a dictionary, without more training."""
        coder = self._followed(dictionary)  # one that learns keeps its optimiser's state
        idle = clone(self.trainer).set_params(max_epochs=0)
        coder.set_params(dictionary=dictionary, trainer=idle, warm_start=True)
        with on_the_way():
            return self._as_given(coder.fit(X))

    def finished(self, dictionary: Any, X: Any, final: Any) -> Learned:
        """Return the network for the final dictionary, trained by its own recipe on signals."""
        coder = self._followed(dictionary)
        coder.set_params(dictionary=dictionary, trainer=self.given.trainer, warm_start=True)
        X = _safe_indexing(final.X, final.rows)
        return self._as_given(coder.fit(X, sample_weight=final.own_weight))

    def _followed(self, dictionary: Any) -> Learned:
        """Return a twin whose steps are as long for a dictionary as they were for the last one."""
        coder = twin(self.coder)
        if coder.__sklearn_is_fitted__():
            before, now = (
                nonzero_lipschitz(Dense(torch.as_tensor(D, dtype=torch.float64)))
                for D in (coder.dictionary_, dictionary)
            )
            coder.network_ = deepcopy(coder.network_)
            follow_(coder.network_, float(before / now))
        return coder

    def _as_given(self, coder: Learned) -> Learned:
        return coder.set_params(trainer=self.given.trainer, warm_start=self.given.warm_start)


def slope_of(coder: Learned, X: Any, codes: Tensor, truncate: int, weight: Tensor) -> Tensor:
    """Return ``sum_i w_i (dz_i / dD)^T g_i`` through the last layers of a fitted network.

    g is the derivative of the objective by the codes; learned steps are held. Samples whose codes
    are not those of the last layer, as the guard has refused it, are left out: theirs are taken
    as they are.
    """
    seen = coder.task.see(coder, X, "transform")
    problem = coder.task.problem(coder, seen)
    with torch.enable_grad():
        D = seen.obs.A.D.clone().requires_grad_()
        obs = seen.units.inside(seen.obs._replace(A=Dense(D)))
        with torch.no_grad():
            found = seen.units.leave(coder.network_(obs))
        there = codes.to(found)  # the network may be on an accelerator
        off = (found - there).abs().amax(1)
        rows = (off <= _ROUNDING * there.abs().amax(1)).nonzero()[:, 0]  # not NaN
        x = last_layers(coder.network_, obs.take(rows), truncate)
        value = problem.take(rows).value(seen.units.take(rows).leave(x))
        return torch.autograd.grad(weight.to(value)[rows] @ value, D)[0].to(codes)


@contextmanager
def on_the_way() -> Iterator[None]:
    """Say nothing of networks that are not at their end."""
    with warnings.catch_warnings():
        for kind in (TrainingWarning, UnfamiliarDataWarning):
            warnings.simplefilter("ignore", kind)
        yield


def check_network(coder: Learned, n_components: int, n_features: int) -> None:
    """Raise for a network that cannot learn from signals alone."""
    given = clone(coder).set_params(dictionary=torch.ones(n_components, n_features).numpy())
    if given.__sklearn_tags__().target_tags.required:
        raise ValueError(
            f"coder={type(coder).__name__} learns from pairs of signals and codes, and here are "
            f"signals only. Use a network that learns from them, such as LISTARegressor or "
            f"ALISTARegressor, or LassoCoder."
        )


def check_layers(coder: Any, truncate: int) -> None:
    """Raise where no derivative by the dictionary goes through so many layers of a coder."""
    name = type(coder).__name__
    wanted = "LISTARegressor(weights='adjoint')"
    if not isinstance(coder, Learned):
        raise ValueError(
            f"truncate={truncate} is for the layers of a network, and coder={name} has none: "
            f"codes that are optimal need no such derivative. Use truncate=0, or coder={wanted}."
        )
    if not getattr(coder, "applies_operators", False):
        raise ValueError(
            f"truncate={truncate} needs layers that are made of the dictionary alone, but those "
            f"of this {name} have weights of their own, which no derivative moves. Use {wanted}, "
            f"or truncate=0."
        )
    if truncate > coder.n_layers:
        raise ValueError(
            f"truncate={truncate} is more than the {coder.n_layers} layers of coder={name}. "
            f"Lower it, or raise n_layers."
        )
    if option(coder, "debias"):
        raise ValueError(
            f"truncate={truncate} follows the codes of the last layer, which debias=True "
            f"replaces. Use {name}(debias=False), or truncate=0."
        )
