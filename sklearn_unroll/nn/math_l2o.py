"""Math-L2O: an optimiser whose steps and momentum a coordinate-wise network chooses.

Liu, Chen, Wang, Yin and Cai 2023, "Towards constituting mathematical structures for learning to
optimize": any update that converges to fixed points has this form.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sklearn_unroll.functional import Composite
from sklearn_unroll.nn.base import Unrolled, UnrolledLayer
from sklearn_unroll.nn.coordinate import CoordinateLSTM, CoordinateMLP, CoordinateNetwork
from sklearn_unroll.nn.l2o_features import FEATURES, Progress, first_progress

__all__ = ["VARIANTS", "MathL2OLayer", "MathL2OState", "math_l2o"]

# What is learned, in the order of the heads: P step, B blend, A momentum, 1 and 2 the biases.
VARIANTS = ("PBA12", "PBA1", "PBA2", "PBA", "PA", "P", "A")
MOMENTUM = ("accelerated", "sigmoid", "wide")
REGAIN = 1.02  # growth of the trust in the network per iteration
LOSE = 0.8  # what remains of it where the objective would have risen
GIVE_UP = 0.25  # and where that goes on


class MathL2OState(NamedTuple):
    """The state of Math-L2O.

    Parameters
    ----------
    x, y : Tensor of shape (n_samples, n_components)
        Iterate and extrapolated point.
    memory : tuple of Tensor
        What the network remembers of each coordinate.
    clock : Tensor of shape (n_samples, 1)
        ``t_k`` of the accelerated momentum.
    trust : Tensor of shape (n_samples, 1)
        Factor on the outputs of the network: at 0 the step is the classical one.
    progress : Progress
        Past steps, for the features.
    """

    x: Tensor
    y: Tensor
    memory: Any
    clock: Tensor
    trust: Tensor
    progress: Progress


class MathL2OLayer(UnrolledLayer):
    """``x+ = prox_{R,p}((1 - b) x^ + b y^ - b1)``, ``y+ = x+ + a (x+ - x) + b2``.

    With ``x^ = x - p grad f(x)``, ``y^ = y - p grad f(y)`` and p, b, a, b1, b2 numbers per
    coordinate, outputs u of a network: ``p = c sigmoid(u - log(c - 1)) / L``, ``b = 2
    sigmoid(u)``, a in (0, 1). Where u = 0 this is a classical method: FISTA with restarts (ISTA
    for ``variant="P"``).

    Parameters
    ----------
    network : CoordinateNetwork
        With one output for each letter and digit of the variant, in the order P, B, A, 1, 2.
    variant : {"PBA12", "PBA1", "PBA2", "PBA", "PA", "P", "A"}, default="PA"
        What is learned; otherwise b = 1, b1 = b2 = 0, ``p = 1 / L``, and a = 0.
    features : {"relative", "raw"}, default="relative"
        What the network sees, see :mod:`sklearn_unroll.nn.l2o_features`.
    momentum : {"accelerated", "sigmoid", "wide"}, default="accelerated"
        ``a = sigmoid(logit(beta_k) + u)`` with the momentum ``beta_k`` of FISTA, restarted in
        each sample; ``sigmoid(u)``; or the published ``2 sigmoid(u)``.
    largest_step : float, default=4.0
        The number c, greater than 1; 2 is the published one. On few nonzeros a multiple of
        ``1 / L`` is stable.
    seed : int or None, default=None
        Of a normal first memory, the same for every instance and every ``init``; None is zero.
    """

    # NOTE[DIFF]: the code of Liu et al. 2023 passes b1 and b2 through 2 sigmoid, so that they
    # never vanish and the iterates stall; theory asks for b1, b2 -> 0. Here they are linear, in
    # units of the current classical step (with raw features: of 1 / L).
    # NOTE[DIFF]: their iterate is evaluated at y; here at x, which is feasible.
    # NOTE[DIFF]: their first memory is normal in training and test, so that their solver is
    # random; here it is zero, or normal and the same for each call and each instance.

    def __init__(
        self,
        network: CoordinateNetwork,
        *,
        variant: str = "PA",
        features: str = "relative",
        momentum: str = "accelerated",
        largest_step: float = 4.0,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS or momentum not in MOMENTUM or features not in FEATURES:
            raise ValueError(
                f"variant must be one of {VARIANTS}, features of {tuple(FEATURES)} and momentum "
                f"of {MOMENTUM}; got {variant!r}, {features!r} and {momentum!r}."
            )
        if not largest_step > 1:
            raise ValueError(f"largest_step must be greater than 1, got {largest_step!r}.")
        if network.n_outputs != len(variant):
            raise ValueError(
                f"variant={variant!r} needs a network of {len(variant)} outputs, got one of "
                f"{network.n_outputs}."
            )
        self.network = network
        self.variant, self.features, self.momentum = variant, features, momentum
        self.largest_step, self.seed = largest_step, seed

    def init(self, obs: Composite) -> MathL2OState:
        """Return ``x_0 = y_0``, the problem's start."""
        x = obs.first()
        ones = x.new_ones(len(x), 1)
        source = None
        if self.seed is not None:
            source = torch.Generator().manual_seed(self.seed)  # the same on every device
        memory = self.network.first(x, source)
        return MathL2OState(x, x, memory, ones, ones, first_progress(x, obs))

    def forward(self, state: MathL2OState, obs: Composite) -> MathL2OState:
        """Run one iteration."""
        x, y = state.x, state.y
        g = obs.gradient(y)
        features, progress, size = FEATURES[self.features](state, g, obs)
        kind = self.network.heads.out  # the network may compute in float32, which is enough
        out, memory = self.network(features.to(kind.dtype).flatten(1), state.memory)
        u = dict(zip(self.variant, out.to(x.dtype).view(-1, *x.shape) * state.trust, strict=True))
        p = obs.step
        if "P" in u:
            p = p * self.largest_step * torch.sigmoid(u["P"] - math.log(self.largest_step - 1))
        z = torch.addcmul(y, p.expand_as(y), g, value=-1)
        if "B" in u:
            away = x - p * obs.gradient(x)
            z = away + 2 * torch.sigmoid(u["B"]) * (z - away)
        if "1" in u:
            z = z - size * u["1"]
        new = obs.R.prox(z, p)
        move = new - x
        a, clock = self._momentum(u.get("A"), state, new, move)
        y = new if a is None else torch.addcmul(new, a, move)
        if "2" in u:
            y = y + size * u["2"]
        trust = (REGAIN * state.trust).clamp_max(1)
        after = progress.after(state, new, move, g)
        return MathL2OState(new, y, memory, clock, trust, after)

    def _momentum(
        self, u: Tensor | None, state: MathL2OState, new: Tensor, move: Tensor
    ) -> tuple[Tensor | None, Tensor]:
        """Return the momentum of every coordinate, and the clock."""
        if u is None:
            return None, state.clock
        if self.momentum != "accelerated":
            a = torch.sigmoid(u)
            return (2 * a if self.momentum == "wide" else a), state.clock
        with torch.no_grad():
            # Beck and Teboulle 2009, Eqs. 4.2 and 4.3; restarts of O'Donoghue and Candes 2015.
            uphill = ((state.y - new) * move).sum(1, keepdim=True) > 0
            t = state.clock.masked_fill(uphill, 1.0)
            clock = (1 + torch.sqrt(1 + 4 * t.square())) / 2
            beta = (t - 1) / clock
        return torch.sigmoid(torch.logit(beta) + u), clock

    def resume(self, state: MathL2OState, x: Tensor, wrong: Tensor, lost: Tensor) -> MathL2OState:
        """Return the state with other iterates, momentum kept at first, and less trust."""
        keep = torch.where(lost, x.new_tensor(GIVE_UP), x.new_tensor(LOSE))
        return state._replace(
            x=x,
            y=torch.where(lost, x, state.y),
            clock=state.clock.masked_fill(lost, 1.0),
            trust=torch.where(wrong, keep * state.trust, state.trust),
        )

    def readout(self, state: MathL2OState) -> Tensor:
        """Return the iterate."""
        return state.x

    def with_iterate(self, state: MathL2OState, x: Tensor) -> MathL2OState:
        """Return the state with another iterate; the extrapolated point moves as far."""
        return state._replace(x=x, y=state.y + (x - state.x))


def math_l2o(
    like: Tensor,
    *,
    n_layers: int = 60,
    variant: str = "PA",
    network: str = "lstm",
    hidden_size: int = 16,
    n_hidden_layers: int = 1,
    features: str = "relative",
    state: str = "zero",
    momentum: str = "accelerated",
    largest_step: float = 4.0,
    init: str = "classical",
    generator: torch.Generator,
) -> Unrolled:
    """Assemble Math-L2O, one layer repeated; untrained it is FISTA with restarts.

    The published network has ``features="raw", state="normal", momentum="wide", largest_step=2,
    init="random", hidden_size=20, n_hidden_layers=2``.

    Parameters
    ----------
    like : Tensor
        Sets dtype and device of the parameters; data may have another dtype.
    n_layers : int, default=60
        Number of iterations to unroll.
    variant : {"PBA12", "PBA1", "PBA2", "PBA", "PA", "P", "A"}, default="PA"
        What is learned.
    network : {"lstm", "mlp"}, default="lstm"
        What chooses it for each coordinate.
    hidden_size : int, default=16
        Size of its state or layers.
    n_hidden_layers : int, default=1
        Number of layers of the LSTM.
    features : {"relative", "raw"}, default="relative"
        What it sees.
    state : {"zero", "normal"}, default="zero"
        First memory.
    momentum : {"accelerated", "sigmoid", "wide"}, default="accelerated"
        How a follows from it, see the layer, ``math_l2o.MathL2OLayer``.
    largest_step : float, default=4.0
        Largest step in units of ``1 / L``.
    init : {"classical", "random"}, default="classical"
        Whether its last layer starts at zero.
    generator : torch.Generator
        Source of the first parameters.

    Returns
    -------
    Unrolled
        The network.

    Examples
    --------
    >>> import torch
    >>> from sklearn_unroll.functional import Composite, Dense, L1, LeastSquares
    >>> from sklearn_unroll.nn import math_l2o
    >>> b = torch.tensor([[2.0, 0.0]])
    >>> problem = Composite.of(b, Dense(torch.eye(2)), LeastSquares(), L1(0.5))
    >>> net = math_l2o(b, n_layers=2, generator=torch.Generator().manual_seed(0))
    >>> with torch.no_grad():
    ...     net(problem)
    tensor([[1.5000, 0.0000]])
    """
    made = {"hidden_size": hidden_size, "zero": init == "classical", "like": like}
    sizes = (FEATURES[features].count, len(variant))
    chooses: CoordinateNetwork
    if network == "lstm":
        chooses = CoordinateLSTM(*sizes, n_layers=n_hidden_layers, generator=generator, **made)
    else:
        chooses = CoordinateMLP(*sizes, generator=generator, **made)
    seed = None
    if state == "normal":
        seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    layer = MathL2OLayer(
        chooses, variant=variant, features=features, momentum=momentum,
        largest_step=largest_step, seed=seed,
    )  # fmt: skip
    return Unrolled([layer] * n_layers)
