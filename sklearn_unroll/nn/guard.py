"""A guard around the layers of a network: no iterate leaves a stated region."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.functional import Composite, LeastSquares
from sklearn_unroll.functional.observation import Residual, first_residual
from sklearn_unroll.nn.base import Unrolled
from sklearn_unroll.nn.layer import UnrolledLayer

__all__ = ["REGIONS", "Guarded", "GuardedState", "guarded", "roomy"]

REGIONS = ("descent", "objective", "residual")
ROUNDING = 8.0  # units in the last place by which a value may seem to rise
PATIENCE = 3  # refusals in a row through which momentum is kept: the value may come down again


class GuardedState(NamedTuple):
    """The state of a guarded layer.

    Parameters
    ----------
    inner : NamedTuple of Tensor
        The state of the layer.
    value : Tensor of shape (n_samples,) or None
        What is measured of the iterate; None where the iterate is from elsewhere.
    bound : Tensor of shape (n_samples,)
        What it may be at most.
    least : Tensor of shape (n_samples,)
        The least value so far; in the region "residual" the bound.
    best : Tensor of shape (n_samples, n_components) or None
        Iterates of that value, where it is not that of the present iterate.
    behind : Tensor of shape (n_samples,) or None
        Where that is; None for nowhere.
    known : Residual or None
        Of the present iterate, for the next layer.
    rises : Tensor of shape (n_samples,) or None
        How often in a row an iterate has been refused; None for never.
    n_fallbacks : Tensor of shape (n_samples,)
        How often one has been refused.
    """

    inner: Any
    value: Tensor | None
    bound: Tensor
    least: Tensor
    best: Tensor | None
    behind: Tensor | None
    known: Residual | None
    rises: Tensor | None
    n_fallbacks: Tensor


class Guarded(UnrolledLayer):
    """The step of a layer, unless it leaves a region: then a step that never does.

    Heaton, Chen, Wang and Yin 2023, "Safeguarded learned convex optimization". Whatever the
    layers have learned and whatever the data are, for every sample and after every layer, to
    rounding (8 units in the last place):

    * ``"descent"``: the objective is at most the least so far.
    * ``"objective"``: it is at most that of the zero code (of the nearest code in the domain,
      where that of zero is infinite), and what is read out is the best iterate so far: good
      networks do not descend in every layer, and where nothing goes wrong nothing is changed.
    * ``"residual"``: f alone, the energy of the residual, is at most that of the zero code; for
      networks that have learned from pairs, whose problem is not known.

    A sample that is refused takes the classical step ``prox(x - grad f(x) / L)`` from the
    iterate before, which raises no objective; where even that fails, by rounding, and in the
    region ``"residual"``, it stays where it is. An iterate outside the domain is projected first.

    Parameters
    ----------
    layer : UnrolledLayer
        The layer.
    region : {"descent", "objective", "residual"}, default="objective"
        Which region. Data are a :class:`~sklearn_unroll.functional.Composite` for all of them.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import L1, Composite, Dense, LeastSquares
    >>> from sklearn_unroll.nn import guarded, lista
    >>> A = Dense(torch.eye(3))
    >>> net = lista(A, n_layers=4, alpha=0.5)
    >>> problem = Composite.of(torch.tensor([[2.0, 0.0, -1.0]]), A, LeastSquares(), L1(0.5))
    >>> with torch.no_grad():
    ...     for parameter in net.parameters():
    ...         _ = parameter.mul_(1000.0)  # a network that explodes
    ...     guarded(net)(problem)
    tensor([[ 1.5000,  0.0000, -0.5000]])
    """

    def __init__(self, layer: UnrolledLayer, region: str = "objective") -> None:
        super().__init__()
        if region not in REGIONS:
            raise ValueError(f"region must be one of {REGIONS}, got {region!r}.")
        self.layer = layer
        self.region = region

    def init(self, obs: Composite) -> GuardedState:
        """Return the first state, whose iterate lies in the region."""
        inner = self.layer.init(obs)
        x = self.layer.readout(inner)
        value, known = self._measure(x, obs, may_be_zero=True)
        none = torch.zeros(len(obs.b), dtype=torch.long, device=obs.b.device)
        bound = roomy(value)
        state = GuardedState(inner, value, bound, value, None, None, known, None, none)
        if self.region == "descent":
            return state
        zero = obs.R.prox(torch.zeros_like(x), 0.0)
        at_zero = value if torch.equal(x, zero) else self._measure(zero, obs, may_be_zero=True)[0]
        bound = roomy(at_zero)
        wrong = ~(value <= bound)
        if bool(wrong.any()):
            x = torch.where(wrong[:, None], zero, x)
            inner = self.layer.resume(inner, x, wrong[:, None], wrong[:, None])
            value = torch.where(wrong, at_zero, value)
            state = state._replace(inner=inner, known=None)
        least = bound if self.region == "residual" else value
        return state._replace(value=value, bound=bound, least=least)

    def forward(self, state: GuardedState, obs: Composite) -> GuardedState:
        """Run one iteration."""
        if state.value is None:
            state = self._begin_again(state, obs)
        layer = self.layer
        before = layer.readout(state.inner)
        old = before if torch.is_grad_enabled() else before.clone()  # it may be overwritten
        inner = layer(state.inner, obs._replace(known=state.known))
        value, known = self._measure(layer.readout(inner), obs)
        fine = value <= state.least  # false for NaN
        if bool(fine.all()):
            least = state.least if self.region == "residual" else value
            bound = roomy(least) if self.region == "descent" else state.bound
            return GuardedState(
                inner, value, bound, least, None, None, known, None, state.n_fallbacks
            )
        rises = None
        if not bool((value <= state.bound).all()):
            value, wrong, inner, rises = self._refuse(state, obs, old, inner, value)
            known = None
            state = state._replace(n_fallbacks=state.n_fallbacks + wrong)
            fine = value <= state.least
        if self.region == "residual":
            return state._replace(inner=inner, value=value, known=known, rises=rises)
        least, best, behind = torch.minimum(value, state.least), None, None
        bound = roomy(least) if self.region == "descent" else state.bound
        if self.region == "objective":
            best, behind = self._best(state, old, ~fine), ~fine
        return GuardedState(
            inner, value, bound, least, best, behind, known, rises, state.n_fallbacks
        )

    def readout(self, state: GuardedState) -> Tensor:
        """Return the iterate; in the region ``"objective"`` the best one so far."""
        x = self.layer.readout(state.inner)
        if state.behind is None:
            return x
        rows = state.behind.nonzero()[:, 0]
        return x.index_copy(0, rows, state.best[rows])

    def with_iterate(self, state: GuardedState, x: Tensor) -> GuardedState:
        """Return the state with another iterate, which counts as the first one."""
        inner = self.layer.with_iterate(state.inner, x)
        return state._replace(inner=inner, value=None, best=None, behind=None, known=None)

    def project_(self) -> None:
        """Keep the layer's parameters admissible."""
        self.layer.project_()

    def continue_from_(self, previous: Guarded) -> None:
        """Start the layer where the previous one has been trained to.

        Parameters
        ----------
        previous : Guarded
            The layer before this one.
        """
        self.layer.continue_from_(previous.layer)

    def _measure(
        self, x: Tensor, obs: Composite, may_be_zero: bool = False
    ) -> tuple[Tensor, Residual | None]:
        """Return what is bounded, and the residual for the next layer."""
        known = None
        if isinstance(obs.f, LeastSquares):
            b, A = obs.b, obs.A
            r = first_residual(b, A, x) if may_be_zero else A.residual(b, x)
            known = Residual(b, x, r, x._version)
        obs = obs._replace(known=known)
        return obs.f.value(x, obs) if self.region == "residual" else obs.value(x), known

    def _begin_again(self, state: GuardedState, obs: Composite) -> GuardedState:
        """Return the state with an iterate from elsewhere measured; it may be anywhere."""
        value, known = self._measure(self.layer.readout(state.inner), obs)
        bound = roomy(value)
        if self.region != "descent":
            bound = torch.maximum(bound, state.bound)
        least = bound if self.region == "residual" else value
        return state._replace(value=value, bound=bound, least=least, known=known)

    def _refuse(
        self, state: GuardedState, obs: Composite, old: Tensor, inner: Any, value: Tensor
    ) -> tuple[Tensor, Tensor, Any, Tensor]:
        """Return values, who was refused, the state and rises, where a step left the region."""
        wrong = ~(value <= state.bound)
        rows = wrong.nonzero()[:, 0]
        x = self.layer.readout(inner)
        x, value, refused = self._instead(state, obs, old, x, value, rows)
        wrong = torch.zeros_like(wrong).index_copy(0, rows, refused)
        rises = wrong.long() if state.rises is None else (state.rises + 1) * wrong
        lost = rises > PATIENCE
        inner = self.layer.resume(inner, x, wrong[:, None], lost[:, None])
        return value, wrong, inner, rises * ~lost

    def _best(self, state: GuardedState, old: Tensor, behind: Tensor) -> Tensor:
        """Return iterates that are the best where the present ones are not."""
        if state.behind is None:
            return old
        rows = (state.behind & behind).nonzero()[:, 0]
        if torch.is_grad_enabled():
            return old.index_copy(0, rows, state.best[rows])
        return old.index_copy_(0, rows, state.best[rows])  # a copy already

    def _instead(
        self,
        state: GuardedState,
        obs: Composite,
        old: Tensor,
        x: Tensor,
        value: Tensor,
        rows: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return iterates and values with those of some samples replaced, and which of these
        were refused, and not merely projected.
        """
        part, old, bound = obs.take(rows), old[rows], state.bound[rows]
        kept = state.value[rows]
        refused = torch.ones_like(rows, dtype=torch.bool)
        new, instead = old, kept
        if self.region != "residual":
            step = part.classical(old)
            at_step = part.value(step)
            moves = at_step <= bound
            new = torch.where(moves[:, None], step, old)
            instead = torch.where(moves, at_step, kept)
        if bool(value[rows].isinf().any()):
            inside = part.R.prox(x[rows], 0.0)
            at_inside = self._measure(inside, part)[0]
            fits = at_inside <= bound
            new = torch.where(fits[:, None], inside, new)
            instead = torch.where(fits, at_inside, instead)
            refused = ~fits
        return x.index_copy(0, rows, new), value.index_copy(0, rows, instead), refused


class _WholeState(NamedTuple):
    x: Tensor


class _Whole(UnrolledLayer):
    """A network as one layer, from zero: for networks whose inner layers hold no codes."""

    def __init__(self, network: Unrolled) -> None:
        super().__init__()
        self.network = network

    def init(self, obs: Composite) -> _WholeState:
        """Return zeros."""
        return _WholeState(obs.b.new_zeros(len(obs.b), obs.A.n_components))

    def forward(self, state: _WholeState, obs: Composite) -> _WholeState:
        """Run the network, which does not look at the state."""
        return _WholeState(self.network(obs).clone())

    def readout(self, state: _WholeState) -> Tensor:
        """Return the codes."""
        return state.x

    def with_iterate(self, state: _WholeState, x: Tensor) -> _WholeState:
        """Return other codes."""
        return _WholeState(x)


def guarded(network: Unrolled, region: str = "objective", *, whole: bool = False) -> Unrolled:
    """Return a network with a guard around every layer; it shares all parameters.

    Parameters
    ----------
    network : Unrolled
        The network.
    region : {"descent", "objective", "residual"}, default="objective"
        What is guarded, see :class:`Guarded`.
    whole : bool, default=False
        Guard its answer only: for networks whose inner layers hold no codes.

    Returns
    -------
    Unrolled
        For data that are a :class:`~sklearn_unroll.functional.Composite`; of one layer, where
        the whole is guarded.
    """
    layers = [_Whole(network)] if whole else network.layers
    return Unrolled(Guarded(layer, region) for layer in layers)


def roomy(value: Tensor) -> Tensor:
    """Return the largest value that rounding may make of one."""
    value = value.detach()
    return value + ROUNDING * torch.finfo(value.dtype).eps * value.abs()
