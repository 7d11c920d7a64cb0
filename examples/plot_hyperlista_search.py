"""
HyperLISTA: three numbers, by a rule or by grid search
======================================================

:class:`~sklearn_unroll.HyperLISTARegressor` trains nothing: ``fit`` computes a weight from the
dictionary, and three numbers say how threshold, momentum and support follow the residual. The
default takes them from a rule that needs no tuning at any size. With noise there is a little to
gain, and scikit-learn's own search finds it.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.callback import ProgressBar
from sklearn.model_selection import GridSearchCV

from sklearn_unroll import HyperLISTARegressor
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.metrics import nmse_db, nmse_db_scorer
from sklearn_unroll.plotting import ConvergenceDisplay


def problem(n_features, n_components, snr_db=None, **law):
    train = make_sparse_recovery(
        2000, n_features, n_components, snr_db=snr_db, dtype=np.float32, random_state=0, **law
    )
    test = make_sparse_recovery(
        1000, dictionary=train.dictionary, snr_db=snr_db, dtype=np.float32, random_state=1, **law
    )
    return train, test


# %%
# Without noise the rule is enough, at sizes and sparsities where constants that were tuned for
# 250x500 fail.
for size, sparsity in [((250, 500), 0.1), ((300, 800), 0.06), ((100, 200), 8)]:
    train, test = problem(*size, sparsity=sparsity)
    rule = HyperLISTARegressor(train.dictionary).fit(train.X, train.y)
    fixed = HyperLISTARegressor(train.dictionary, c1=0.07, c2=0.02, c3=300.0)
    fixed.fit(train.X, train.y)
    print(
        f"{size[0]}x{size[1]}, sparsity {sparsity}: rule "
        f"{nmse_db(test.y, rule.predict(test.X)):.1f} dB, constants of 250x500 "
        f"{nmse_db(test.y, fixed.predict(test.X)):.1f} dB"
    )

# %%
# With noise (SNR 30 dB), a search over the three numbers around the rule. (On large dictionaries
# give ``memory``, a cache folder: the weight does not depend on the numbers.)
train, test = problem(250, 500, snr_db=30.0)
model = HyperLISTARegressor(train.dictionary, n_layers=12)
rule = HyperLISTARegressor(train.dictionary, n_layers=12).fit(train.X, train.y)
grid = {
    "c1": [rule.c1_ * factor for factor in (0.9, 1.0, 1.1)],
    "c2": [rule.c2_ * factor for factor in (0.4, 0.7, 1.0)],
    "c3": [30.0, 60.0, np.inf],
}
search = GridSearchCV(model, grid, scoring=nmse_db_scorer, cv=2)
search.set_callbacks(ProgressBar(max_propagation_depth=0)).fit(train.X, train.y)
tuned = search.best_estimator_
print("best:", {name: round(float(value), 4) for name, value in search.best_params_.items()})
for name, estimator in {"rule": rule, "search": tuned}.items():
    print(f"{name:>6}: {nmse_db(test.y, estimator.predict(test.X)):.2f} dB on new signals")

# %%
# Layer by layer: with noise the layers after the eighth have little left to do.
figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
staged = {
    "rule": list(rule.staged_predict(test.X)),
    "search": list(tuned.staged_predict(test.X)),
}
ConvergenceDisplay.from_predictions(staged, test.y, ax=ax)
ax.set_title("SNR 30 dB")
plt.show()
