"""Spectra of tangent kernels, and what becomes of norms and eigenvalues with the width."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sklearn_unroll.nn import Unrolled
from sklearn_unroll.plotting._axes import draw_range, dress, geometric_mean, get_axes
from sklearn_unroll.theory import KernelSpectrum, WidthScaling, kernel_spectrum, width_scaling

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["KernelSpectrumDisplay", "WidthScalingDisplay"]

LABELS = {
    "hessian": r"$\|\nabla^2 f\|$",
    "gradient": r"$\|\nabla f\|$",
    "smallest_eigenvalue": r"$\lambda_{\min}(K)$",
    "condition_number": r"$\lambda_{\max}(K)\; / \;\lambda_{\min}(K)$",
}


class KernelSpectrumDisplay:
    """Eigenvalues of tangent kernels, in decreasing order.

    Gradient descent learns the directions of large eigenvalues first, and those of small ones
    last. Make one with :meth:`from_estimator`, which draws several estimators into the same axes
    where it is given those of the first.

    Parameters
    ----------
    spectra : dict of str to KernelSpectrum
        Spectra with all eigenvalues, by name.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure of these axes.
    lines_ : list of matplotlib Line2D
        The curves.

    Examples
    --------
    >>> from sklearn_unroll import FeedForwardRegressor
    >>> from sklearn_unroll.datasets import make_sparse_recovery
    >>> from sklearn_unroll.plotting import KernelSpectrumDisplay
    >>> from sklearn_unroll.theory import untrained
    >>> data = make_sparse_recovery(4, 4, 20, sparsity=2, random_state=0)
    >>> start = untrained(FeedForwardRegressor(random_state=0), data.X, data.y)
    >>> display = KernelSpectrumDisplay.from_estimator(start, data.X)
    >>> len(display.lines_[0].get_ydata())
    80
    """

    def __init__(self, *, spectra: Mapping[str, KernelSpectrum]) -> None:
        self.spectra = dict(spectra)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        name: str | None = None,
        memory_limit: float = 4e9,
        ax: Axes | None = None,
        **line_kw: Any,
    ) -> KernelSpectrumDisplay:
        """Plot the spectrum of a fitted estimator's tangent kernel.

        Parameters
        ----------
        estimator : estimator or Unrolled
            What :func:`~sklearn_unroll.theory.kernel_spectrum` takes.
        X : array-like of shape (n_samples, n_features) or Observation
            Observations.
        name : str, default=None
            Label of the curve; the class name by default.
        memory_limit : float, default=4e9
            Bytes that may be used for the kernel.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot``.

        Returns
        -------
        KernelSpectrumDisplay
            The display, drawn.
        """
        name = type(estimator).__name__ if name is None else name
        spectra = {name: kernel_spectrum(estimator, X, memory_limit=memory_limit)}
        return cls(spectra=spectra).plot(ax=ax, **line_kw)

    def plot(self, ax: Axes | None = None, **line_kw: Any) -> KernelSpectrumDisplay:
        """Draw the curves; eigenvalues below rounding leave a gap.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kw : dict
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        KernelSpectrumDisplay
            This display.
        """
        missing = [name for name, found in self.spectra.items() if found.eigenvalues is None]
        if missing:
            raise ValueError(
                f"The spectra of {missing} hold no eigenvalues but the ends: they were found "
                f"matrix-free. Compute them with another method."
            )
        self.figure_, self.ax_ = get_axes(ax)
        self.lines_ = []
        for name, found in self.spectra.items():
            values = found.eigenvalues[::-1]
            values = np.where(values > found.resolution, values, np.nan)
            places = np.arange(1, len(values) + 1)
            self.lines_ += self.ax_.plot(places, values, **{"label": name, **line_kw})
        dress(self.ax_, xlabel="number", ylabel="eigenvalue of the tangent kernel", yscale="log")
        return self


class WidthScalingDisplay:
    """Norms of gradient or Hessian, or ends of the kernel's spectrum, over the width.

    On logarithmic axes, with the power laws that fit best. Make one with :meth:`from_recipes`.

    Parameters
    ----------
    scalings : dict of str to WidthScaling
        Measured values, by name.
    quantity : {"hessian", "gradient", "smallest_eigenvalue", "condition_number"}
        What they are.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure of these axes.
    lines_ : list of matplotlib Line2D
        Geometric means over the seeds.
    fits_ : list of matplotlib Line2D
        The power laws.

    Examples
    --------
    >>> from functools import partial
    >>> from sklearn_unroll.nn import smooth_lista
    >>> from sklearn_unroll.plotting import WidthScalingDisplay
    >>> display = WidthScalingDisplay.from_recipes(
    ...     {"LISTA": partial(smooth_lista, n_layers=2)}, widths=[16, 32, 64], n_seeds=2,
    ...     random_state=0,
    ... )
    >>> display.lines_[0].get_label().startswith("LISTA, width^-0.")
    True
    """

    def __init__(self, *, scalings: Mapping[str, WidthScaling], quantity: str) -> None:
        self.scalings = dict(scalings)
        self.quantity = quantity

    @classmethod
    def from_recipes(
        cls,
        recipes: Mapping[str, Callable[..., Unrolled]],
        *,
        quantity: str = "hessian",
        ax: Axes | None = None,
        line_kw: dict | None = None,
        **kwargs: Any,
    ) -> WidthScalingDisplay:
        """Measure and draw a quantity of untrained networks over their width.

        Parameters
        ----------
        recipes : dict of str to callable
            What :func:`~sklearn_unroll.theory.width_scaling` takes, by name.
        quantity : str, default="hessian"
            ``"hessian"``, ``"gradient"``, ``"smallest_eigenvalue"`` or ``"condition_number"``.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        line_kw : dict, default=None
            Passed to ``Axes.plot`` for every curve.
        **kwargs : dict
            Passed to :func:`~sklearn_unroll.theory.width_scaling`, such as ``widths``. A number
            as ``random_state`` gives all recipes the same draws.

        Returns
        -------
        WidthScalingDisplay
            The display, drawn.
        """
        scalings = {
            name: width_scaling(recipe, quantity=quantity, **kwargs)
            for name, recipe in recipes.items()
        }
        return cls(scalings=scalings, quantity=quantity).plot(ax=ax, **(line_kw or {}))

    def plot(
        self, ax: Axes | None = None, *, fit: bool = True, **line_kw: Any
    ) -> WidthScalingDisplay:
        """Draw geometric means over the seeds, their range, and the power laws.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        fit : bool, default=True
            Draw the power laws, and name their exponents in the legend.
        **line_kw : dict
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        WidthScalingDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        self.lines_, self.fits_ = [], []
        for name, found in self.scalings.items():
            label = f"{name}, width^{found.exponent:.2f}" if fit else name
            line = draw_range(self.ax_, found.widths, found.values, {"label": label, **line_kw})
            self.lines_.append(line)
            if fit:
                law = (found.widths / geometric_mean(found.widths)) ** found.exponent
                law = law * geometric_mean(found.values)
                self.fits_ += self.ax_.plot(found.widths, law, ":", color=line.get_color())
        labels = {"xlabel": "width, components", "ylabel": LABELS[self.quantity]}
        dress(self.ax_, xscale="log", yscale="log", **labels)
        widths = sorted({int(m) for found in self.scalings.values() for m in found.widths})
        self.ax_.set_xticks(widths, [str(m) for m in widths])
        self.ax_.set_xticks([], minor=True)
        return self
