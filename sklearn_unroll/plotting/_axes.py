"""What every display does with its axes; matplotlib is imported here, and not before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

NO_HISTORY = "%(name)s has no history_ to draw: fit an estimator that has a trainer."


def get_axes(ax: Axes | None) -> Axes:
    """Return the axes, or those of a new figure."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Displays need matplotlib. Install the extra: pip install 'sklearn-unroll[plot]'"
        ) from error
    return plt.subplots(layout="constrained")[1] if ax is None else ax


def draw_by_layer(ax: Axes, curves: Mapping[str, np.ndarray], line_kw: dict) -> list[Line2D]:
    """Draw one curve for each name over layers counted from 1, with grid and legend."""
    from matplotlib.ticker import MaxNLocator

    lines: list[Any] = []
    for name, values in curves.items():
        layers = np.arange(1, len(values) + 1)
        lines += ax.plot(layers, values, **{"marker": ".", "label": name, **line_kw})
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(alpha=0.3)
    ax.legend()
    return lines
