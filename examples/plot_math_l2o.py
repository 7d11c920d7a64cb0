"""
Learn to optimise: a solver for a family of problems
====================================================

:class:`~sklearn_unroll.MathL2OSolver` learns how long each coordinate's step and how large its
momentum should be, from instances of a problem without their solutions. Untrained it is FISTA
with restarts; an iteration that would raise the objective is replaced by the classical step, so
that it cannot diverge, whatever it is given.

It is trained here on small synthetic lasso problems, each with a matrix of its own, in a minute or
two on one thread; then it solves new ones, larger ones, and real ones: patches of a photograph
over a learned dictionary. It saves iterations, not time: scikit-learn's coordinate descent is
faster on a single lasso problem on a CPU, and restarted FISTA costs several times less for each
iteration.
"""

# %%
# Training, without labels
# ------------------------
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.preprocessing import scale

from sklearn_unroll import MathL2OSolver
from sklearn_unroll.datasets import load_image_patches, make_sparse_recovery
from sklearn_unroll.functional import L1, Composite, Dense, LeastSquares, Logistic
from sklearn_unroll.solvers import NesterovDescent, iterates, optimal_values

torch.set_num_threads(1)
ALPHA, N_ITER = 0.1, 80


def problems(n, m, n_components, n_nonzero, seed):
    return make_sparse_recovery(
        n, m, n_components, sparsity=n_nonzero, per_sample_dictionary=True, random_state=seed
    )


train = problems(256, 50, 100, 10, seed=0)
solver = MathL2OSolver(alpha=ALPHA, random_state=0).set_params(trainer__max_epochs=20)
start = perf_counter()
solver.fit(train.X, operators=train.dictionary)
print(f"training: {perf_counter() - start:.0f} s, {solver.history_}")

# %%
# New problems, larger problems, real problems
# --------------------------------------------
# The weights belong to coordinates, not to a size. Patches are brought to [0, 1] and lose their
# mean; their dictionary has 128 atoms of 64 pixels.
patches = load_image_patches(n_patches=2064, center=False, random_state=0).X
low = patches.min(1, keepdims=True)
patches = (patches - low) / (patches.max(1, keepdims=True) - low + 1e-3)
patches -= patches.mean(1, keepdims=True)
learner = MiniBatchDictionaryLearning(128, alpha=0.5, max_iter=10, random_state=0)
atoms = learner.fit(patches[64:]).components_
atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)

new, large = problems(64, 50, 100, 10, seed=1), problems(16, 250, 500, 50, seed=2)
families = {
    "new, 50x100": (new.X, new.dictionary, ALPHA),
    "250x500": (large.X, large.dictionary, ALPHA),
    "patches, 64x128": (patches[:64], atoms, 0.5),
}


def compare(problem, trajectory):
    """Return error curves relative to the first error: learned, restarted FISTA."""
    least = optimal_values(problem).numpy()
    points = iterates(NesterovDescent(), problem, N_ITER)
    classical = np.stack([problem.value(x).numpy() for x in points])
    first = classical[0] - least
    # A patch that is nearly flat has zero codes: it starts at its optimum.
    counted = first > 1e-9 * classical[0]
    errors = [(values - least)[:, counted] / first[counted] for values in (trajectory, classical)]
    return [error.mean(1) for error in errors]


figure, axes = plt.subplots(1, 4, figsize=(16, 4), layout="constrained")
history = solver.history_
axes[0].plot(history.column("seconds"), history.column("monitor"), marker=".")
axes[0].set(xlabel="seconds of training", ylabel="mean decimal logarithm of the error")
for ax, (name, (X, D, alpha)) in zip(axes[1:], families.items(), strict=True):
    found = solver.solve(X, n_iter=N_ITER, operators=D, alpha=alpha)
    A = Dense(torch.from_numpy(D))
    problem = Composite.of(torch.from_numpy(X), A, LeastSquares(), L1(alpha))
    learned, classical = compare(problem, found.trajectory)
    for label, curve in (("learned", learned), ("FISTA, restarted", classical)):
        ax.semilogy(np.maximum(curve, 1e-15), label=label)
    ax.set(title=name, xlabel="iteration", ylabel="relative error", ylim=(1e-14, 1))
    ax.grid(alpha=0.3)
    hits = [int(np.argmax(curve <= 1e-4)) for curve in (learned, classical)]
    print(
        f"{name}: 1e-4 after {hits[0]} iterations, restarted FISTA {hits[1]}; "
        f"{found.n_fallbacks.mean():.1f} fallbacks, largest gap {found.gap.max():.0e}"
    )
axes[1].legend()

# %%
# Another loss: logistic regression on breast cancer data
# -------------------------------------------------------
# One instance is one classification problem: its labels are a row of X, its points the operator.
# The solver is trained on random halves of the data set's first two thirds, and solves the rest.
points, labels = load_breast_cancer(return_X_y=True)
points = scale(points)
rng = np.random.default_rng(0)
rows = np.stack([rng.choice(380, 190, replace=False) for _ in range(64)])
logistic = MathL2OSolver(loss="logistic", alpha=0.01, random_state=0, n_layers=40)
logistic.set_params(trainer__max_epochs=6)
start = perf_counter()
logistic.fit(labels[rows].astype(float), operators=points[rows].transpose(0, 2, 1))
print(f"training: {perf_counter() - start:.0f} s, {logistic.history_}")


def solve(name, labels, points):
    """Print how far the learned solver and FISTA get on problems with the same points."""
    found = logistic.solve(labels, n_iter=N_ITER, operators=points.T)
    A = Dense(torch.from_numpy(points.T.copy()))
    problem = Composite.of(torch.from_numpy(2 * labels - 1), A, Logistic(), L1(0.01))
    learned, classical = compare(problem, found.trajectory)
    print(
        f"{name}, after {N_ITER} iterations: learned {learned[-1]:.0e}, restarted FISTA "
        f"{classical[-1]:.0e}; {np.count_nonzero(found.codes, axis=1).mean():.0f} of "
        f"{points.shape[1]} coefficients, largest gap {found.gap.max():.0e}"
    )


solve("breast cancer, the rest", labels[None, 380:].astype(float), points[380:])

# %%
# The same solver on another data set: each of ten digits against the others, 1797 points of 64
# pixels. Both methods know the Lipschitz constant ``||A||^2 / 4m`` of the loss.
pixels, digits = load_digits(return_X_y=True)
solve("digits", np.stack([digits == digit for digit in range(10)]).astype(float), scale(pixels))
plt.show()
