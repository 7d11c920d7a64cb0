"""The atoms of a dictionary as pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from sklearn_unroll.plotting._axes import get_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["DictionaryDisplay"]


class DictionaryDisplay:
    """Atoms as small pictures side by side, each from its smallest value to its largest.

    Parameters
    ----------
    components : array-like of shape (n_components, n_features)
        Atoms, one a row.
    image_shape : tuple of (height, width), default=None
        Of one atom; None takes squares.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the atoms.
    figure_ : matplotlib Figure
        Figure of these axes.
    im_ : matplotlib AxesImage
        The one picture that holds them all.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_unroll.plotting import DictionaryDisplay
    >>> display = DictionaryDisplay(components=np.eye(6, 4)).plot()
    >>> display.im_.get_array().shape
    (7, 10)
    """

    def __init__(self, *, components: Any, image_shape: tuple[int, int] | None = None) -> None:
        self.components = components
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        image_shape: tuple[int, int] | None = None,
        ax: Axes | None = None,
        **im_kw: Any,
    ) -> DictionaryDisplay:
        """Draw the atoms of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted, with a linear ``inverse_transform``: what learns a dictionary, such as
            :class:`~sklearn_unroll.OnlineDictionaryLearning`, or codes over one.
        image_shape : tuple of (height, width), default=None
            Of one atom; None takes squares.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **im_kw : dict
            Passed to ``Axes.imshow``.

        Returns
        -------
        DictionaryDisplay
            The display, drawn.
        """
        check_is_fitted(estimator)
        n_atoms = len(estimator.get_feature_names_out())
        # The signals of unit codes, whatever the attribute that holds the atoms is called.
        components = estimator.inverse_transform(np.eye(n_atoms))
        return cls(components=components, image_shape=image_shape).plot(ax=ax, **im_kw)

    def plot(self, ax: Axes | None = None, **im_kw: Any) -> DictionaryDisplay:
        """Draw the atoms row by row, in as good as a square.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **im_kw : dict
            Passed to ``Axes.imshow``.

        Returns
        -------
        DictionaryDisplay
            This display.

        Raises
        ------
        ValueError
            If atoms are no pictures of that shape.
        """
        atoms = check_array(self.components, input_name="components")
        height, width = self._shape(atoms.shape[1])
        n_columns = math.ceil(math.sqrt(len(atoms)))
        n_rows = math.ceil(len(atoms) / n_columns)
        low, high = atoms.min(1, keepdims=True), atoms.max(1, keepdims=True)
        scaled = (atoms - low) / np.where(high > low, high - low, 1)
        # NaN, which is drawn as nothing, between them.
        canvas = np.full((n_rows * (height + 1) + 1, n_columns * (width + 1) + 1), np.nan)
        for number, atom in enumerate(scaled):
            row, column = divmod(number, n_columns)
            top, left = row * (height + 1) + 1, column * (width + 1) + 1
            canvas[top : top + height, left : left + width] = atom.reshape(height, width)
        self.figure_, self.ax_ = get_axes(ax)
        self.im_ = self.ax_.imshow(canvas, **{"cmap": "gray", "interpolation": "nearest"} | im_kw)
        self.ax_.set_axis_off()
        return self

    def _shape(self, n_features: int) -> tuple[int, int]:
        side = math.isqrt(n_features)
        height, width = (side, side) if self.image_shape is None else self.image_shape
        if height * width != n_features:
            raise ValueError(
                f"atoms have {n_features} features, which are no picture of {height}x{width}. "
                f"Pass image_shape=(height, width)."
            )
        return height, width
