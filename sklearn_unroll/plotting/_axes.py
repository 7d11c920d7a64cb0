"""What every display does with its axes; matplotlib is imported here, and not before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

NO_HISTORY = "%(name)s has no history_ to draw: fit an estimator that has a trainer."


def get_axes(ax: Axes | None) -> tuple[Figure, Axes]:
    """Return the axes and their figure, a new one where there are none."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Displays need matplotlib. Install the extra: pip install 'sklearn-unroll[plot]'"
        ) from error
    return plt.subplots(layout="constrained") if ax is None else (ax.figure, ax)


def dress(ax: Axes, legend_kw: dict | None = None, **labels: Any) -> None:
    """Label the axes, and draw grid and legend."""
    ax.set(**labels)
    ax.grid(alpha=0.3)
    ax.legend(**(legend_kw or {}))


def draw_by_layer(ax: Axes, curves: Mapping[str, np.ndarray], line_kw: dict) -> list[Line2D]:
    """Draw one curve for each name over layers counted from 1, with grid and legend."""
    from matplotlib.ticker import MaxNLocator

    lines: list[Any] = []
    for name, values in curves.items():
        layers = np.arange(1, len(values) + 1)
        lines += ax.plot(layers, values, **{"marker": ".", "label": name, **line_kw})
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    dress(ax)
    return lines


def draw_range(ax: Axes, places: np.ndarray, values: np.ndarray, line_kw: dict) -> Line2D:
    """Draw the geometric means of rows, and their ranges; return the line."""
    (line,) = ax.plot(places, geometric_mean(values, axis=1), **{"marker": ".", **line_kw})
    ax.fill_between(places, values.min(1), values.max(1), color=line.get_color(), alpha=0.15)
    return line


def geometric_mean(values: np.ndarray, axis: int | None = None) -> Any:
    """Return the geometric mean; zeros count as the smallest number."""
    return np.exp(np.log(np.maximum(values, np.finfo(np.float64).tiny)).mean(axis))
