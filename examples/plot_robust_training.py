"""
Layers that descend, and networks that bear noise
=================================================

A LISTA network that is trained from random weights to predict the lasso's codes need not
behave like an algorithm: its last layer does the work, the others wander. Two things change that,
and both are arguments of :class:`~sklearn_unroll.Trainer`: a constraint, that every layer brings
the iterates nearer on average, and noise between the layers while it is trained (Hadou,
NaderiAlizadeh and Ribeiro 2024). This example tells which of the two does what.
"""

# %%
# The problem
# -----------
# Sparse codes over a random dictionary of 60 atoms; what is to be learned is the lasso's answer.
import matplotlib.pyplot as plt
import numpy as np

from sklearn_unroll import LassoCoder, LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.plotting import DescentDisplay, MultiplierDisplay, RobustnessDisplay
from sklearn_unroll.theory import convergence_report, robustness
from sklearn_unroll.training import Descent, LayerNoise

data = make_sparse_recovery(3000, 30, 60, sparsity=0.1, random_state=0, dtype="float32")
coder = LassoCoder(data.dictionary, alpha=0.1).fit(data.X)
y = coder.transform(data.X)
train, fresh = slice(2400), slice(2400, None)

# %%
# Four networks
# -------------
# The same network and the same steps, but for noise and constraint.


def trained(constraint=None, perturbation=None):
    """Return a network of ten layers, trained from random weights."""
    trainer = Trainer(
        max_epochs=150,
        batch_size=300,
        decay="constant",
        max_grad_norm=None,
        early_stopping=False,
        constraint=constraint,
        perturbation=perturbation,
    )
    model = LISTARegressor(
        data.dictionary,
        n_layers=10,
        weights="free",
        init="random",
        trainer=trainer,
        random_state=0,
    )
    return model.fit(data.X[train], y[train])


descent = Descent("distance", epsilon=0.05, dual_learning_rate=1.0)
networks = {
    "plain": trained(),
    "noise": trained(None, LayerNoise()),
    "descent": trained(descent),
    "noise and descent": trained(descent, LayerNoise()),
}

# %%
# What the layers do
# ------------------
# On the left the mean distance from the lasso's codes, on the right the share of fresh samples
# that a layer brings nearer. Only the constraint makes layers descend.
X, wanted = data.X[fresh], y[fresh]
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
DescentDisplay.from_estimator(networks, X, wanted, ax=left)
DescentDisplay.from_estimator(networks, X, wanted, quantity="descending", ax=right)

# %%
# What noise does to them
# -----------------------
# Noise is added to every iterate but the last, of a standard deviation that follows the gradient.
# Most of what makes a network bear it is to have seen it; the constraint does not replace that.
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
scales = (0, 0.3, 1, 3, 10)
RobustnessDisplay.from_estimator(networks, X, wanted, where=["layers"], scales=scales, ax=left)
MultiplierDisplay.from_estimator(networks["noise and descent"], ax=right)

print(f"{'network':18s} {'clean':>7s} {'noise 10':>9s}   layers that bring most samples nearer")
errors = {}
for name, model in networks.items():
    error = robustness(model, X, wanted, where=["layers"], scales=scales).error["layers"]
    report = convergence_report(model, X, wanted)
    errors[name] = error
    most = int((report.descending > 0.5).sum())
    print(f"{name:18s} {error[0]:7.3f} {error[-1]:9.1f}   {most} of 10")

# %%
# What is guaranteed
# ------------------
# If every layer keeps the constraint up to a slack, the mean distance obeys a bound that follows
# by induction. Where the slack is not small the bound says little, and the report shows that.
print(convergence_report(networks["descent"], X, wanted))

# %%
# A network that starts as ISTA descends from the first step on: the multipliers stay at zero, and
# the constraint changes nothing.
start_as_ista = LISTARegressor(
    data.dictionary,
    n_layers=10,
    weights="free",
    trainer=Trainer(max_epochs=20, constraint=descent, early_stopping=False),
    random_state=0,
).fit(data.X[train], y[train])
print("largest multiplier:", np.nanmax(start_as_ista.history_.column("multipliers")[1:]))
plt.show()
