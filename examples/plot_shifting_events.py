"""
Events that shift: one atom for all positions
=============================================

A recording holds three kinds of events, each at any time, and noise. A dictionary of patches would
need every shift of every event; :class:`~sklearn_unroll.functional.Convolution` has one kernel for
each. :class:`~sklearn_unroll.LassoCoder` says when which event occurs, with a certificate for
every recording.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from sklearn_unroll import ALISTARegressor, LassoCoder
from sklearn_unroll.functional import Convolution
from sklearn_unroll.metrics import nmse_db

rng = np.random.default_rng(0)
time = np.linspace(-1, 1, 40)
kernels = np.stack(
    [
        np.exp(-8 * time**2) * np.cos(12 * time),
        np.exp(-8 * time**2) * np.sin(5 * time),
        np.where(time < -0.2, 0, np.exp(-6 * (time + 0.2))),
    ]
)
kernels /= np.linalg.norm(kernels, axis=1, keepdims=True)

# %%
# Events lie within the recording, boundary "full": 40 points in 600 have 561 positions.
A = Convolution(kernels, 600, boundary="full")
truth = np.zeros((20, *A.code_shape))
for recording in truth:
    for kernel in recording:
        kernel[rng.choice(len(kernel), 5, replace=False)] = rng.uniform(1, 2, 5)
clean = LassoCoder(A).fit(np.zeros((1, 600))).inverse_transform(truth.reshape(20, -1))
X = clean + 0.1 * rng.standard_normal(clean.shape)

# %%
# Codes, certified: no objective is farther from the least one than this share of that of zeros.
coder = LassoCoder(A, alpha=0.35, positive=True, tol=1e-5).fit(X)
found = coder.solve(X)
maps = found.codes.reshape(truth.shape)
near = np.stack([np.convolve(t, np.ones(3), "same") for t in truth.reshape(-1, truth.shape[-1])])
share = maps.reshape(near.shape)[near > 0].sum() / maps.sum()
print(f"largest gap {found.gap.max():.0e}, iterations {found.n_iter.max()}")
print(f"{share:.0%} of the codes lie within one point of a true event")

# %%
# A network over the same kernels learns two numbers a layer from pairs, other recordings; its
# weight is computed. Ten layers are ten iterations, but smooth kernels, whose shifts are alike,
# are hard for such weights: here the certified codes are better.
events = np.zeros((100, *A.code_shape))
for kernel in events.reshape(-1, events.shape[-1]):
    kernel[rng.choice(len(kernel), 5, replace=False)] = rng.uniform(1, 2, 5)
events = events.reshape(100, -1)
signals = coder.inverse_transform(events)
signals += 0.1 * rng.standard_normal(signals.shape)
network = ALISTARegressor(A, n_layers=10, support_selection=None, random_state=0)
network.set_params(trainer__max_epochs=60).fit(signals, events)
for name, codes in {"LassoCoder": found.codes, "ALISTA": network.predict(X)}.items():
    print(f"{name}: error of the codes {nmse_db(truth.reshape(20, -1), codes):.1f} dB")

# %%
# The first recording: what was found of its events, and what the codes make of it.
figure, axes = plt.subplots(4, 1, figsize=(9, 8), sharex=True, layout="constrained")
axes[0].plot(X[0], color="0.7", label="recording")
axes[0].plot(coder.inverse_transform(found.codes[:1])[0], label="of the codes")
axes[0].legend(loc="upper right")
for ax, true, seen in zip(axes[1:], truth[0], maps[0], strict=True):
    ax.plot(true, "o", color="0.7", markevery=true.nonzero()[0].tolist(), label="true")
    ax.plot(seen, label="found")
    ax.legend(loc="upper right")
axes[-1].set_xlabel("first point of the event")
plt.show()
