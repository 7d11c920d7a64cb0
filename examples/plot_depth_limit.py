"""
Deeper and deeper: the limit of the forward-backward splitting network
======================================================================

Lin and Wu (2026) train the most basic unrolled network at growing depth and plot its training
loss over the epochs: deeper networks reach a lower loss, and each doubling gains less. This is
that experiment, on 1000 signals with 25 noisy measurements of 50 unknowns, four of them nonzero
(the sizes of the paper are not legible in our source). Then comes what its theory is about:
layers that are steps of length T / L of one time T, where the networks tend to a differential
inclusion.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from sklearn_unroll import FBSNet
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.plotting import DepthLossDisplay, DepthParameterDisplay
from sklearn_unroll.theory import depth_limit, perturbation_stability

data = make_sparse_recovery(1000, 25, 50, sparsity=4, dtype=np.float32, random_state=0)
noise = 0.01 * np.random.default_rng(0).standard_normal(data.X.shape)
X, y = data.X + noise.astype(np.float32), data.y

# %%
# Unit steps, as in the paper's Figure 1: gradient descent with momentum and minibatches, and the
# same number of epochs for all depths.
unit = FBSNet(data.dictionary, random_state=0)
unit.set_params(trainer__max_epochs=25, trainer__early_stopping=False)
figure_1 = depth_limit(unit, X, y, depths=(5, 10, 20, 40), n_steps=None)
for depth, loss in zip(figure_1.depths, figure_1.losses, strict=True):
    print(f"h = 1, {depth:2d} layers: mean squared error {loss:.4f}")
assert (np.diff(figure_1.losses) < 0).all()
assert (np.diff(figure_1.gaps) < 0).all()

# %%
# With unit steps a deeper network goes on for longer. With a horizon all run for the same time;
# the loss no longer falls with depth, it converges: the gaps halve with each doubling, like
# the distances of the learned functions of depth-time, and the network comes near the limit
# system with its own parameters, which is integrated here by small implicit steps.
flow = FBSNet(data.dictionary, horizon=3.0, random_state=0)
flow.set_params(
    trainer__max_epochs=15, trainer__early_stopping=False, trainer__learning_rate=0.005
)
limit = depth_limit(flow, X, y, depths=(10, 20, 40), n_steps=1000)
for number, depth in enumerate(limit.depths):
    print(
        f"h = 3 / L, {depth:2d} layers: {limit.losses[number]:.4f}, "
        f"its limit system {limit.limit_losses[number]:.4f}"
    )
print("gaps", limit.gaps.round(4), "distances of W", limit.distances["W"].round(3))
assert limit.gaps[1] < 0.75 * limit.gaps[0]

# %%
figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
DepthLossDisplay.from_estimators(figure_1.estimators, ax=axes[0, 0])
DepthLossDisplay.from_estimators(limit.estimators, ax=axes[0, 1])
DepthParameterDisplay.from_estimators(limit.estimators, parameter="tau", ax=axes[1, 0])
DepthParameterDisplay.from_estimators(limit.estimators, parameter="lam", ax=axes[1, 1])
axes[0, 0].set_title("unit steps")
axes[0, 1].set_title("steps of 3 / L")
for ax in axes[1]:
    ax.set_title("learned, steps of 3 / L")

# %%
# The learning problem is stable, too: perturb the first iterate, the observations or the labels
# ever less, train again, and the optimum moves ever less. In proportion, where all is smooth; the
# kinks of the soft threshold, crossed or not, make some of the measured rates smaller than one.
small = FBSNet(data.dictionary, n_layers=8, horizon=3.0, random_state=0)
small.set_params(trainer__max_epochs=5, trainer__early_stopping=False)
stability = perturbation_stability(small, X[:300], y[:300], sizes=(1e-2, 1e-3, 1e-4))
figure, ax = plt.subplots(layout="constrained")
for kind, changes in stability.parameter_changes.items():
    rate = stability.parameter_rates[kind]
    print(f"perturbed {kind}: the minimiser moves like size^{rate:.2f}")
    ax.loglog(stability.sizes, changes, marker=".", label=f"{kind}, rate {rate:.2f}")
ax.set(xlabel="relative size of the perturbation", ylabel="relative change of the minimiser")
ax.legend()
plt.show()
