"""
From coarse to fine: a deep network at the price of a shallow one
=================================================================

In a network whose layers are steps of one time T, parameters are functions of that time, and what
20 layers have learned can be carried to 80. Here are 80 layers that were trained as 20, beside 80
layers that were trained as such for the same time, at the best of three learning rates.

It is a matter of the time at hand: the last lines give the deep network from scratch five times
as long. Few layers take large steps, near the edge of stability, and cannot bear the learning
rates that suit many; so training from coarse to fine is for short budgets, and for starts.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from sklearn_unroll import FBSNet
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.metrics import nmse_db

train = make_sparse_recovery(1000, 25, 50, sparsity=4, snr_db=40, dtype=np.float32, random_state=0)
test = make_sparse_recovery(
    1000, dictionary=train.dictionary, sparsity=4, snr_db=40, dtype=np.float32, random_state=1
)


def fit(n_layers, learning_rate, max_epochs):
    """Return a network with steps of 5 / n_layers, trained by gradient descent."""
    model = FBSNet(train.dictionary, n_layers=n_layers, horizon=5.0, random_state=0)
    model.set_params(
        trainer__loss="mean",
        trainer__learning_rate=learning_rate,
        trainer__schedule__rates={"tau": 0.3, "lam": 0.1},
        trainer__max_epochs=max_epochs,
        trainer__early_stopping=False,
    )
    return model.fit(train.X, train.y)


def show(name, model):
    """Print the errors of a network, and return that on the training signals."""
    errors = [nmse_db(data.y, model.predict(data.X)) for data in (train, test)]
    print(f"{name}: {errors[0]:.1f} dB, {errors[1]:.1f} dB on new signals")
    return errors[0]


# %%
# Eight epochs of 20 layers cost as much as two of 80.
fit(20, 0.1, 1)  # whatever runs first is slower
coarse = fit(20, 0.1, 8)
show("20 layers, 8 epochs", coarse)
carried = show("  carried to 80 layers", coarse.refine(80))
scratch = {rate: fit(80, rate, 2) for rate in (0.1, 0.2, 0.3)}
errors = [show(f"80 layers, 2 epochs at {rate}", model) for rate, model in scratch.items()]
print(f"{coarse.history_[-1].seconds:.1f} s and {scratch[0.1].history_[-1].seconds:.1f} s")
assert carried < errors[0] - 3  # at the same rate
assert carried < min(errors)

# %%
# With the time to train 80 layers as such, start them there, or from scratch.
longer = fit(80, 0.2, 10)
show("80 layers, 10 epochs from scratch", longer)
figure, ax = plt.subplots(layout="constrained")
for label, model in {"20 layers": coarse, "80 layers": longer}.items():
    history = model.history_
    ax.semilogy(history.column("seconds"), history.column("monitor"), marker=".", label=label)
ax.axhline(10 ** (carried / 10), color="C0", linestyle=":", label="20 carried to 80 layers")
ax.set(xlabel="seconds of training", ylabel="relative loss")
ax.legend()
plt.show()
