"""How many nonzeros a method recovers from how many measurements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_scalar

from sklearn_unroll.plotting._axes import get_axes
from sklearn_unroll.plotting._success import Trial, check_grid, check_method, success_rates
from sklearn_unroll.theory import l1_phase_transition

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PhaseTransitionDisplay"]

GRID = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class PhaseTransitionDisplay:
    """Share of signals recovered, over measurements per unknown and nonzeros per measurement.

    The picture of Donoho and Tanner: most methods recover all signals on one side of a narrow
    band and none on the other. Make one with :meth:`from_estimator`.

    Parameters
    ----------
    success : ndarray of shape (n_sparsity, n_undersampling)
        Share of signals recovered, in [0, 1].
    undersampling : array-like of shape (n_undersampling,)
        Measurements per unknown, ``n_features / n_components``, increasing.
    sparsity : array-like of shape (n_sparsity,)
        Nonzeros per measurement, increasing.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the heat map.
    figure_ : matplotlib Figure
        Figure of these axes.
    im_ : matplotlib QuadMesh
        The heat map.
    contour_ : matplotlib QuadContourSet or None
        Where half of the signals are recovered; None where that is nowhere.
    l1_curve_ : matplotlib Line2D or None
        The law of l1 minimisation, where it was asked for.

    Examples
    --------
    >>> from sklearn_unroll import HyperLISTARegressor
    >>> from sklearn_unroll.plotting import PhaseTransitionDisplay
    >>> display = PhaseTransitionDisplay.from_estimator(
    ...     HyperLISTARegressor(),
    ...     n_components=100,
    ...     undersampling=[0.5, 0.8],
    ...     sparsity=[0.05, 0.9],
    ...     n_samples=10,
    ...     success_db=-20,
    ...     random_state=0,
    ... )
    >>> display.success
    array([[1., 1.],
           [0., 0.]])
    """

    def __init__(
        self, *, success: np.ndarray, undersampling: Sequence[float], sparsity: Sequence[float]
    ) -> None:
        self.success = success
        self.undersampling = undersampling
        self.sparsity = sparsity

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        n_components: int = 100,
        undersampling: Sequence[float] = GRID,
        sparsity: Sequence[float] = GRID,
        n_samples: int = 50,
        n_train_samples: int = 1000,
        success_db: float = -40.0,
        dictionary: str = "gaussian",
        magnitude: str | Callable = "gaussian",
        snr_db: float | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        ax: Axes | None = None,
        **plot_kw: Any,
    ) -> PhaseTransitionDisplay:
        """Measure and draw the success rate of an estimator, or of any method.

        Each cell has a dictionary of its own, training pairs and test signals, drawn by
        :func:`~sklearn_unroll.datasets.make_sparse_recovery` with a fixed number of nonzeros.
        The same ``random_state`` gives all methods the same dictionaries and test signals,
        whatever ``n_jobs`` and ``n_train_samples``. A ``ConvergenceWarning`` in a cell is not
        shown: beyond recovery it is the rule.

        Parameters
        ----------
        estimator : estimator or callable
            A template, cloned and fitted in every cell with that cell's ``dictionary``; or a
            callable ``(dictionary, X) -> codes`` with nothing to learn, a classical solver.
        n_components : int, default=100
            Number of unknowns.
        undersampling : array-like of float, default=(0.1, 0.2, ..., 0.9)
            ``n_features / n_components``, increasing in (0, 1], at least two values. Sizes are
            rounded, to at least one.
        sparsity : array-like of float, default=(0.1, 0.2, ..., 0.9)
            Nonzeros of a code over n_features, likewise.
        n_samples : int, default=50
            Test signals in a cell.
        n_train_samples : int, default=1000
            Pairs to fit on in a cell. Networks that learn matrices want more; every cell
            takes the time of one fit.
        success_db : float, default=-40.0
            A signal is recovered if its own NMSE is below this.
        dictionary : {"gaussian", "bernoulli", "correlated", "dct"}, default="gaussian"
            Law of the dictionary.
        magnitude : {"gaussian", "uniform", "sign", "laplace"} or callable, default="gaussian"
            Law of the nonzeros.
        snr_db : float or None, default=None
            Signal-to-noise ratio; None adds no noise.
        random_state : int, RandomState instance or None, default=None
            Seed of all draws; the estimator has its own.
        n_jobs : int or None, default=None
            Cells to work on at the same time, through joblib.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **plot_kw : dict
            Passed to :meth:`plot`.

        Returns
        -------
        PhaseTransitionDisplay
            The display, drawn.
        """
        undersampling = check_grid(undersampling, "undersampling")
        sparsity = check_grid(sparsity, "sparsity")
        check_scalar(n_components, "n_components", Integral, min_val=2)
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        check_scalar(n_train_samples, "n_train_samples", Integral, min_val=1)
        check_scalar(success_db, "success_db", Real)
        trial = Trial(
            method=check_method(estimator),
            n_components=n_components,
            n_samples=n_samples,
            n_train_samples=n_train_samples,
            success_db=success_db,
            law={"dictionary": dictionary, "magnitude": magnitude, "snr_db": snr_db},
        )
        success = success_rates(trial, undersampling, sparsity, random_state, n_jobs)
        display = cls(success=success, undersampling=undersampling, sparsity=sparsity)
        return display.plot(ax=ax, **plot_kw)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        contour: bool = True,
        l1_curve: bool = False,
        colorbar: bool = True,
        **im_kw: Any,
    ) -> PhaseTransitionDisplay:
        """Draw the heat map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        contour : bool, default=True
            Draw where half of the signals are recovered, if there is such a line.
        l1_curve : bool, default=False
            Draw where l1 minimisation fails on large Gaussian dictionaries without noise,
            :func:`~sklearn_unroll.theory.l1_phase_transition`.
        colorbar : bool, default=True
            Draw the scale.
        **im_kw : dict
            Passed to ``Axes.pcolormesh``.

        Returns
        -------
        PhaseTransitionDisplay
            This display.
        """
        success, delta, rho = map(np.asarray, (self.success, self.undersampling, self.sparsity))
        if success.shape != (len(rho), len(delta)) or min(success.shape) < 2:
            raise ValueError(
                f"success must have shape (n_sparsity, n_undersampling), at least 2 x 2; got "
                f"{success.shape} with {len(rho)} values of sparsity and {len(delta)} of "
                f"undersampling."
            )
        self.figure_, self.ax_ = get_axes(ax)
        im_kw = {"cmap": "Blues_r", "vmin": 0, "vmax": 1, "shading": "nearest", **im_kw}
        self.im_ = self.ax_.pcolormesh(delta, rho, success, **im_kw)
        frame = self.ax_.axis()
        self.contour_ = self.l1_curve_ = None
        if contour and success.min() < 0.5 < success.max():
            self.contour_ = self.ax_.contour(delta, rho, success, [0.5], colors="tab:orange")
            self.ax_.plot([], [], color="tab:orange", label="half recovered")
        if l1_curve:
            grid = np.linspace(max(frame[0], 1e-3), min(frame[1], 1), 200)
            (self.l1_curve_,) = self.ax_.plot(
                grid,
                l1_phase_transition(grid),
                "--",
                color="crimson",
                label="l1 minimisation, in theory",
            )
        self.ax_.axis(frame)
        if self.ax_.get_legend_handles_labels()[0]:
            self.ax_.legend(loc="upper left")
        if colorbar:
            self.figure_.colorbar(self.im_, ax=self.ax_, label="share of signals recovered")
        self.ax_.set(
            xlabel="measurements per unknown  $m / n$", ylabel="nonzeros per measurement  $s / m$"
        )
        return self
