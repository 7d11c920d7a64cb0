"""Constraints on what the layers do, met on average over the data by multipliers.

The loop minimises ``loss + sum_l nu_l C_l`` in the network's parameters and ascends in the
multipliers, ``nu_l <- max(0, nu_l + rate C_l)``.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from numbers import Real
from typing import ClassVar

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from torch import Tensor

from sklearn_unroll.functional import Observation, Penalty
from sklearn_unroll.functional.descent import DESCENT_KINDS, descent_size
from sklearn_unroll.nn.base import Unrolled, UnrolledLayer

__all__ = ["Constraint", "Descent"]

# Sizes below this share of the mean are as good as zero, and no size to be divided by.
FLOOR = 1e-3


class Constraint(BaseEstimator, ABC):
    """What the layers should do on average; a stateless parameter object.

    A subclass has the parameters ``dual_learning_rate`` and ``update``.
    """

    requires_y: ClassVar[bool] = False
    dual_learning_rate: float
    update: str
    _parameter_constraints: ClassVar[dict] = {
        "dual_learning_rate": [Interval(Real, 0, None, closed="neither")],
        "update": [StrOptions({"epoch", "batch"})],
    }

    @abstractmethod
    def excess(
        self, iterates: list[Tensor], obs: Observation, y: Tensor | None, network: Unrolled
    ) -> Tensor:
        """Return by how much every layer violates the constraint, for every sample.

        Parameters
        ----------
        iterates : list of Tensor of shape (n_samples, n_components)
            ``x_0 .. x_depth``.
        obs : Observation
            Data and operator.
        y : Tensor of shape (n_samples, n_components) or None
            True codes, never None where ``requires_y``.
        network : Unrolled
            The network, whose first ``depth`` layers made the iterates.

        Returns
        -------
        Tensor of shape (n_samples, depth)
            The mean over the samples is to be at most zero, for every layer.
        """


class Descent(Constraint):
    """Every layer descends on average: ``E[g(x_l)] <= (1 - epsilon) E[g(x_(l-1))]``.

    Hadou, NaderiAlizadeh and Ribeiro 2024, "Robust stochastically-descending unrolled networks",
    their constraints C-I (gradient) and C-II (distance).

    Parameters
    ----------
    kind : {"distance", "gradient", "objective", "latent"}, default="distance"
        What is to fall. ``"distance"``: ``||x - y||``, which needs pairs. ``"gradient"``: the
        norm of ``A^T (A x - b)``, the gradient of the smooth part. ``"objective"``:
        ``0.5 ||A x - b||^2 + alpha ||x||_1``, less its value at y where there are pairs, and
        less nothing otherwise: then epsilon should be small, as it cannot fall to zero.
        ``"latent"``: the norm of a layer's latent of x, which is the gradient of the penalty in
        latent space; for layers that have latents, those of
        :func:`~sklearn_unroll.nn.glow_prox`.
    epsilon : float, default=0.05
        Share by which a layer is to lower it, between 0 and 1.
    form : {"ratio", "difference"}, default="ratio"
        ``"ratio"``: the mean of ``g(x_l) / g(x_(l-1)) - (1 - epsilon)``, which knows no scale.
        ``"difference"``: the mean of ``g(x_l) - (1 - epsilon) g(x_(l-1))``, as in the paper.
    alpha : float, default=None
        Weight of the penalty for ``"objective"``; None takes the estimator's.
    dual_learning_rate : float, default=0.1
        Step size of the multipliers: what counts is its product with the number of updates.
    update : {"epoch", "batch"}, default="epoch"
        Whether multipliers move once an epoch, by the excess over all training data, or after
        every minibatch by that of the minibatch.
    penalty : Penalty, default=None
        What alpha weighs; None takes the estimator's, the l1 norm unless it has groups.

    Examples
    --------
    >>> from sklearn_unroll import LISTARegressor, Trainer
    >>> from sklearn_unroll.training import Descent, LayerNoise
    >>> trainer = Trainer(constraint=Descent("distance"), perturbation=LayerNoise())
    >>> model = LISTARegressor(trainer=trainer)
    """

    _parameter_constraints: ClassVar[dict] = {
        **Constraint._parameter_constraints,
        "kind": [StrOptions({*DESCENT_KINDS, "latent"})],
        "epsilon": [Interval(Real, 0, 1, closed="neither")],
        "form": [StrOptions({"ratio", "difference"})],
        "alpha": [Interval(Real, 0, None, closed="left"), None],
        "penalty": [HasMethods(["value"]), None],
    }

    def __init__(
        self,
        kind: str = "distance",
        epsilon: float = 0.05,
        form: str = "ratio",
        alpha: float | None = None,
        dual_learning_rate: float = 0.1,
        update: str = "epoch",
        penalty: Penalty | None = None,
    ) -> None:
        self.kind = kind
        self.epsilon = epsilon
        self.form = form
        self.alpha = alpha
        self.dual_learning_rate = dual_learning_rate
        self.update = update
        self.penalty = penalty

    @property
    def requires_y(self) -> bool:
        """Whether true codes are needed."""
        return self.kind == "distance"

    def excess(
        self, iterates: list[Tensor], obs: Observation, y: Tensor | None, network: Unrolled
    ) -> Tensor:
        """Return ``ratio - (1 - epsilon)``, or the difference, layer by layer."""
        before, after = self.sizes(iterates, obs, y, network)
        if self.form == "difference":
            return after - (1 - self.epsilon) * before
        # NOTE[DIFF]: the paper's code divides by any size. A sample whose true code is zero, as
        # the lasso gives, then makes NaN, and one that has arrived outweighs all others.
        floor = FLOOR * before.detach().mean(0).clamp_min(torch.finfo(before.dtype).tiny)
        return after / torch.maximum(before, floor) - (1 - self.epsilon)

    def sizes(
        self, iterates: list[Tensor], obs: Observation, y: Tensor | None, network: Unrolled
    ) -> tuple[Tensor, Tensor]:
        """Return what is to fall, for every sample, before and after every layer.

        Parameters
        ----------
        iterates : list of Tensor of shape (n_samples, n_components)
            ``x_0 .. x_depth``.
        obs : Observation
            Data and operator.
        y : Tensor of shape (n_samples, n_components) or None
            True codes.
        network : Unrolled
            The network, whose first ``depth`` layers made the iterates.

        Returns
        -------
        tuple of (Tensor, Tensor) of shape (n_samples, depth)
            Nonnegative sizes.

        Raises
        ------
        ValueError
            If the layers have no latents where these are to fall.
        """
        if self.kind == "latent":
            # NOTE[DIFF]: the paper compares latents of different layers, each in the coordinates
            # of its own flow; here both pictures are seen in those of the layer between them.
            pairs = list(zip(network.layers, itertools.pairwise(iterates), strict=False))
            before = [_latent(layer, x).norm(dim=-1) for layer, (x, _) in pairs]
            after = [_latent(layer, x).norm(dim=-1) for layer, (_, x) in pairs]
            return _above_zero(torch.stack(before, 1)), _above_zero(torch.stack(after, 1))
        parts = [descent_size(self.kind, x, obs, y, self.alpha, self.penalty) for x in iterates]
        sizes = torch.stack(parts, 1)
        sizes = sizes if self.kind == "objective" else _above_zero(sizes)
        return sizes[:, :-1], sizes[:, 1:]


def _latent(layer: UnrolledLayer, x: Tensor) -> Tensor:
    if not hasattr(layer, "latent"):
        raise ValueError(
            f"Descent(kind='latent') needs layers with latents, such as those of GLOW-Prox; "
            f"{type(layer).__name__} has none. Use kind='gradient' or 'distance'."
        )
    return layer.latent(x)


def _above_zero(norms: Tensor) -> Tensor:
    """Return norms that can be divided by."""
    return norms.clamp_min(torch.finfo(norms.dtype).tiny ** 0.5)
