"""Parts say what they need of each other; a pair that does not fit is refused by name."""

import pytest
import torch
from torch import nn

from sklearn_unroll.functional import Convolution, Dense, Observation, soft
from sklearn_unroll.nn import (
    AdaptedWeights,
    AdaptiveRule,
    AdjointWeights,
    ConditionalMean,
    CoupledWeights,
    DenseADMMLayer,
    ErrorVarianceRule,
    FBSRule,
    FixedRule,
    FreeWeights,
    LearnedRule,
    LearnedStep,
    LogRule,
    OnsagerRule,
    ProxGradLayer,
    ScaledWeights,
    SmoothThreshold,
    SoftThreshold,
    SupportSelection,
    Unrolled,
    alista,
    lista,
)
from sklearn_unroll.nn.proxgrad import follow_
from sklearn_unroll.nn.recurrent import Controller, RecurrentRule

one = torch.tensor(1.0)
A = Dense(torch.eye(3, 2))
OBS = Observation(torch.tensor([[2.0, -1.0]]), A)
WEIGHTS = {
    "free": lambda: FreeWeights(A, torch.ones(3, 2)),
    "scaled": lambda: ScaledWeights(torch.ones(3, 2), torch.ones(3, 3)),
    "coupled": lambda: CoupledWeights(torch.ones(3, 2)),
    "adjoint": AdjointWeights,
    "adapted": lambda: AdaptedWeights(A),
}
STEP, ALL = {"coupled", "adjoint", "adapted"}, {"free", "scaled", "coupled"}
# Every rule, and the weights it goes with.
RULES = {
    "learned": (lambda: LearnedRule(one), ALL),
    "learned with a step": (lambda: LearnedRule(one, one), STEP),
    "log": (lambda: LogRule(one), ALL),
    "log with a step": (lambda: LogRule(one, one), STEP),
    "step": (lambda: LearnedStep(one, 0.1), STEP),
    "fixed": (lambda: FixedRule(1.0), ALL),
    "FBS": (lambda: FBSRule(one, one), STEP),
    "adaptive": (lambda: AdaptiveRule(torch.ones(3, 2), 0.4, 0.05, 0.02, 4.0), {"coupled"}),
    "recurrent": (lambda: RecurrentRule(Controller(2, one, torch.Generator())), {"coupled"}),
    "variance": (lambda: ErrorVarianceRule(one, 0.1, 2.0, 2.0, 2.0), {"coupled"}),
    "Onsager": (lambda: OnsagerRule(one), {"coupled"}),
}


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("rule", RULES)
def test_pairs_that_fit_run_and_others_are_refused_by_name(rule, weights):
    make, fitting = RULES[rule]
    parts = WEIGHTS[weights](), make()
    shrinkage = ConditionalMean(0.2, 1.0) if rule == "variance" else SoftThreshold()
    if weights in fitting:
        layer = ProxGradLayer(*parts, shrinkage)
        assert layer.readout(layer(layer.init(OBS), OBS)).shape == (1, 3)
        return
    names = sorted(type(part).__name__ for part in parts)
    with pytest.raises(ValueError, match=f"{names[0]}.*{names[1]}|{names[1]}.*{names[0]}"):
        ProxGradLayer(*parts, shrinkage)


@pytest.mark.parametrize(
    "weights, rule, message",
    [
        ("free", "adaptive", "AdaptiveRule needs weights with a correction, such as "
         "CoupledWeights; got FreeWeights."),
        ("free", "step", "LearnedStep needs weights that take a step, such as CoupledWeights; "
         "got FreeWeights."),
        ("adjoint", "learned", "AdjointWeights needs a rule with a step .gamma., such as "
         "LearnedStep; got LearnedRule."),
    ],
)  # fmt: skip
def test_the_message_says_what_would_do(weights, rule, message):
    with pytest.raises(ValueError, match=message):
        ProxGradLayer(WEIGHTS[weights](), RULES[rule][0]())


COUNTED = {"learned", "learned with a step", "log", "log with a step", "step", "adaptive"}
COUNTED |= {"recurrent"}


@pytest.mark.parametrize("rule", RULES)
def test_shrinkages_need_what_rules_may_not_give(rule):
    make, fitting = RULES[rule]
    weights = WEIGHTS[min(fitting)]()
    gives = {
        SupportSelection(): rule in COUNTED,
        SoftThreshold(): rule != "variance",
        SmoothThreshold(3.0): rule != "variance",
        ConditionalMean(0.2, 1.0): rule == "variance",
    }
    for shrinkage, fits in gives.items():
        if fits:
            ProxGradLayer(weights, make(), shrinkage)
            continue
        with pytest.raises(ValueError, match=rf"{type(shrinkage).__name__} needs a rule that .*; "
                           rf"got {type(make()).__name__}\."):  # fmt: skip
            ProxGradLayer(weights, make(), shrinkage)


def test_dense_admm_keeps_no_memory_and_shrinks_by_a_threshold():
    DenseADMMLayer(WEIGHTS["free"](), LearnedRule(one), SupportSelection())
    with pytest.raises(ValueError, match="OnsagerRule needs a layer that keeps a rule's memory, "
                       "such as ProxGradLayer; got DenseADMMLayer"):  # fmt: skip
        DenseADMMLayer(WEIGHTS["coupled"](), OnsagerRule(one))
    with pytest.raises(ValueError, match="FBSRule needs weights that take a step"):
        DenseADMMLayer(WEIGHTS["free"](), FBSRule(one, one))
    with pytest.raises(ValueError, match="SupportSelection needs .* support count"):
        DenseADMMLayer(WEIGHTS["free"](), FixedRule(1.0), SupportSelection())


def test_parts_of_ones_own_that_declare_nothing_are_taken_as_they_are():
    class Mine(nn.Module):
        def forward(self, x, obs, gamma=None):
            return x + obs.b @ torch.ones(2, 3)

        def correction(self, x, obs):
            return obs.b, obs.b @ torch.ones(2, 3)

    for rule in ("learned", "adaptive"):
        layer = ProxGradLayer(Mine(), RULES[rule][0](), lambda z, how: soft(z, how.theta))
        assert layer.readout(layer(layer.init(OBS), OBS)).shape == (1, 3)


def test_an_operator_goes_where_the_tensors_of_its_layer_go():
    weights = CoupledWeights(Convolution(torch.ones(1, 2), 5), learn=False)
    assert weights.double().W.like.dtype == torch.float64
    assert nn.Sequential(weights).float()[0].W.like.dtype == torch.float32


def test_steps_follow_the_norm_of_the_operator():
    """Over a dictionary three times as large ISTA's steps and thresholds are a ninth as large."""
    D = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for kind in ("adjoint", "coupled", "free"):
        old, new = (lista(Dense(s * D), n_layers=3, weights=kind, tied=True) for s in (1.0, 3.0))
        follow_(old, 1 / 9)
        for mine, fresh in zip(old.layers, new.layers, strict=True):
            assert mine.rule.scalars() == pytest.approx(fresh.rule.scalars())
    # A step of A^T, not of the larger one's: a third of the fresh weights, and tied ones once.
    net = lista(Dense(D), n_layers=3, tied=True)
    first = net.layers[0].weights.W.detach().clone()
    follow_(net, 1 / 9)
    torch.testing.assert_close(net.layers[2].weights.W, first / 9)
    free = lista(Dense(D), n_layers=1, weights="free")
    follow_(free, 0.5)
    W1, W2 = (w.detach() for w in free.layers[0].weights.parameters())
    torch.testing.assert_close(W2, torch.eye(5, dtype=torch.float64) - W1 @ D.T)
    # Weights computed from the operator are computed anew, and their scalars stay.
    computed = alista(Dense(D), D, n_layers=2, theta=0.2)
    follow_(computed, 1 / 9)
    assert float(computed.layers[0].rule.theta.detach()) == pytest.approx(0.2)
    steps = ProxGradLayer(AdjointWeights(), LogRule(torch.tensor(0.2), torch.tensor(0.5)))
    follow_(Unrolled([steps]), 0.1)
    assert float(steps.rule.gamma.detach()) == pytest.approx(0.05)
    assert float(steps.rule.theta.detach()) == pytest.approx(0.02)
