"""
Recover sparse codes: learned layers beside classical iterations
================================================================

The standard test bed of the LISTA literature: 250 noiseless measurements of 500 unknowns, each
nonzero with probability 0.1. The network sees 40,000 pairs once per epoch; then 16 of its layers
are compared, layer by layer, with 16 iterations of ISTA and FISTA on new signals.

The rival that this literature leaves out is at the end: orthogonal matching pursuit recovers
noiseless signals of this sparsity to rounding error, at many times the cost per signal in
scikit-learn (compiled implementations are much faster; see the benchmarks).
"""

# %%
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.linear_model import orthogonal_mp

from sklearn_unroll import LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.functional import Dense, Observation
from sklearn_unroll.metrics import nmse_db, support_f1
from sklearn_unroll.plotting import ConvergenceDisplay, HistoryDisplay
from sklearn_unroll.solvers import FISTA, ISTA, iterates

train = make_sparse_recovery(40_000, 250, 500, sparsity=0.1, dtype=np.float32, random_state=0)
test = make_sparse_recovery(
    1000, dictionary=train.dictionary, sparsity=0.1, dtype=np.float32, random_state=1
)

# %%
# LISTA with coupled, tied weights (one matrix for all layers, a threshold for each) learns well
# from few pairs: 125,016 parameters.
model = LISTARegressor(
    train.dictionary,
    n_layers=16,
    tied=True,
    init="ista",  # the default start for pairs is nearer, see the story of LISTA
    trainer=Trainer(learning_rate=3e-3, max_epochs=5),
    random_state=0,
)
start = perf_counter()
model.fit(train.X, train.y)
print(f"training: {perf_counter() - start:.0f} s, {model.history_}")

# %%
# The classical solvers get the alpha that is best for them after 16 iterations.
obs = Observation(torch.from_numpy(test.X), Dense(torch.from_numpy(test.dictionary)))


def classical(method, alpha):
    return [x.numpy() for x in iterates(method(obs, alpha), obs, 16)][1:]


grid = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
staged = {"LISTA, trained": list(model.staged_predict(test.X))}
for name, method in {"ISTA": ISTA, "FISTA": FISTA}.items():
    best = min(grid, key=lambda alpha: nmse_db(test.y, classical(method, alpha)[-1]))
    staged[f"{name}, alpha {best}"] = classical(method, best)

figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
display = ConvergenceDisplay.from_predictions(staged, test.y, ax=axes[0])
HistoryDisplay.from_estimator(model, ax=axes[1])
for name, curve in display.curves.items():
    print(f"{name:>18}: {curve[-1]:6.1f} dB after 16")

# %%
# The gain over FISTA is what the training bought.
gain = min(c[-1] for n, c in display.curves.items() if "LISTA" not in n)
gain -= display.curves["LISTA, trained"][-1]
print(f"LISTA is {gain:.1f} dB better than the best classical solver after 16 iterations.")
assert gain > 8

# %%
# And greedy pursuit, told when to stop: slower by far here, and exact.
start = perf_counter()
greedy = orthogonal_mp(
    test.dictionary.T.astype(float), test.X[:100].T.astype(float), tol=1e-8, precompute=True
).T
print(f"OMP: {nmse_db(test.y[:100], greedy):.0f} dB, {(perf_counter() - start) * 10:.1f} ms each")
start = perf_counter()
codes = model.predict(test.X)
print(f"LISTA: {nmse_db(test.y, codes):.1f} dB, {(perf_counter() - start):.2f} ms each, ", end="")
print(f"support F1 {support_f1(test.y, codes, threshold=0.1):.3f}")
plt.show()
