"""How a quantity of untrained networks scales with their width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.utils import check_random_state, check_scalar

from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.nn import Unrolled
from sklearn_unroll.theory._hessian import gradient_norm, hessian_spectral_norm
from sklearn_unroll.theory._kernel_spectrum import kernel_spectrum

__all__ = ["QUANTITIES", "WidthScaling", "width_scaling"]


class WidthScaling(NamedTuple):
    """A quantity of untrained networks of several widths.

    Parameters
    ----------
    widths : ndarray of shape (n_widths,)
        Numbers of components.
    values : ndarray of shape (n_widths, n_seeds)
        The quantity.
    """

    widths: np.ndarray
    values: np.ndarray

    @property
    def exponent(self) -> float:
        """The p of the power law ``width^p`` that fits the geometric means best."""
        return float(np.polyfit(np.log(self.widths), np.log(self.values).mean(1), 1)[0])


def _mean(measure: Callable) -> Callable:
    def quantity(network: Unrolled, obs: Observation, readout: Any, seed: int) -> float:
        return float(measure(network, obs, readout=readout, random_state=seed).mean())

    return quantity


def _smallest(network: Unrolled, obs: Observation, readout: Any, seed: int) -> float:
    return kernel_spectrum(network, obs).smallest


def _condition(network: Unrolled, obs: Observation, readout: Any, seed: int) -> float:
    return kernel_spectrum(network, obs).condition_number


QUANTITIES: dict[str, Callable[[Unrolled, Observation, Any, int], float]] = {
    "hessian": _mean(hessian_spectral_norm),
    "gradient": _mean(gradient_norm),
    "smallest_eigenvalue": _smallest,
    "condition_number": _condition,
}


def width_scaling(
    recipe: Callable[..., Unrolled],
    widths: Sequence[int] = (32, 64, 128, 256),
    *,
    quantity: str = "hessian",
    n_samples: int = 1,
    features_per_component: float = 0.2,
    readout: Any = "signs",
    n_seeds: int = 4,
    random_state: Any = None,
) -> WidthScaling:
    """Measure a quantity of untrained networks over their width.

    Each seed draws a network and observations for every width: of random directions, and of norm
    ``sqrt(n_features)``.

    Parameters
    ----------
    recipe : callable
        ``recipe(A, generator=generator)`` returns a network for an operator of a shape, such
        as :func:`~sklearn_unroll.nn.smooth_lista`; bind other arguments with
        :func:`functools.partial`.
    widths : sequence of int, default=(32, 64, 128, 256)
        Numbers of components, at least two, increasing.
    quantity : str, default="hessian"
        ``"hessian"`` or ``"gradient"`` for the norm of a readout's, the mean over samples;
        ``"smallest_eigenvalue"`` or ``"condition_number"`` for the tangent kernel's.
    n_samples : int, default=1
        Number of observations.
    features_per_component : float, default=0.2
        Observations have this many features, rounded, for each component.
    readout : {"signs"} or int, default="signs"
        Of which norms are taken, see :func:`hessian_spectral_norm`.
    n_seeds : int, default=4
        Number of networks of each width.
    random_state : int, RandomState instance or None, default=None
        Seed of all draws.

    Returns
    -------
    WidthScaling
        The values, and the exponent of a power law.

    Raises
    ------
    ValueError
        If a number is out of range, or the quantity is not known.

    See Also
    --------
    sklearn_unroll.plotting.WidthScalingDisplay : Draws it.

    Examples
    --------
    >>> from functools import partial
    >>> from sklearn_unroll.nn import smooth_lista
    >>> from sklearn_unroll.theory import width_scaling
    >>> scaling = width_scaling(partial(smooth_lista, n_layers=3), [32, 64, 128], random_state=0)
    >>> -0.7 < scaling.exponent < -0.35
    True
    """
    if quantity not in QUANTITIES:
        raise ValueError(f"quantity must be one of {sorted(QUANTITIES)}, got {quantity!r}.")
    check_scalar(n_seeds, "n_seeds", Integral, min_val=1)
    check_scalar(n_samples, "n_samples", Integral, min_val=1)
    sizes = np.asarray(widths)
    valid = sizes.ndim == 1 and len(sizes) > 1 and sizes.dtype.kind in "iu"
    if not (valid and sizes[0] > 0 and np.all(np.diff(sizes) > 0)):
        raise ValueError(f"widths must hold at least two increasing integers, got {widths!r}.")
    rng = check_random_state(random_state)
    seeds = rng.randint(2**31 - 1, size=(len(sizes), n_seeds))
    values = np.empty(seeds.shape)
    for i, m in enumerate(sizes.tolist()):
        n = max(round(features_per_component * m), 1)
        A = Dense(torch.zeros(m, n, dtype=torch.float64))
        for j, seed in enumerate(seeds[i].tolist()):
            generator = torch.Generator().manual_seed(seed)
            network = recipe(A, generator=generator)
            b = torch.randn(n_samples, n, generator=generator, dtype=torch.float64)
            # Their norms spread the wider the fewer the features are, and that is no width.
            b *= n**0.5 / b.norm(dim=1, keepdim=True)
            values[i, j] = QUANTITIES[quantity](network, Observation(b, A), readout, seed)
    return WidthScaling(sizes, values)
