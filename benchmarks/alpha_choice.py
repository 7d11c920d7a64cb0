"""Which alpha criteria choose, against the best one, which only the truth knows.

``python -m benchmarks.alpha_choice`` adds white noise to signals, Gaussian ones with codes of a
few atoms or patches of a photograph over a dictionary learned from others of its noisy patches,
and lets criteria choose one alpha for all. ``excess_percent`` is what the mean squared error of
the signals exceeds the least one over the alphas by, ``worst`` the error of the worst signal in
units of the variance of the noise. Rows named ``error`` bound the residual of each signal instead:
by the energy of the noise, or by what 97.5 % of noises stay below; their alpha is the median one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.study import Option, Row, Study
from sklearn_unroll import LassoCoder, OnlineDictionaryLearning
from sklearn_unroll.datasets import load_image_patches, make_sparse_recovery
from sklearn_unroll.metrics import noise_energy
from sklearn_unroll.plotting import AlphaScoresDisplay

CASES = ("gaussian", "patches")
LEVELS = {"gaussian": (10.0, 20.0, 30.0), "patches": (0.04, 0.08, 0.16)}


def gaussian(snr_db: float, n_samples: int, seed: int) -> tuple[np.ndarray, ...]:
    """Return dictionary, signals without noise, with noise, and its standard deviation."""
    data = make_sparse_recovery(n_samples, 50, 100, sparsity=5, random_state=seed)
    signals = data.y @ data.dictionary
    noise = float(np.sqrt(np.mean(signals**2) * 10 ** (-snr_db / 10)))
    white = np.random.default_rng(seed).standard_normal(signals.shape)
    return data.dictionary, signals, signals + noise * white, np.array(noise)


def patches(noise: float, n_samples: int, seed: int) -> tuple[np.ndarray, ...]:
    """Return the same of centred 8x8 patches; a pixel is between 0 and 1."""
    rng = np.random.default_rng(seed)
    clean = load_image_patches("china.jpg", n_patches=1, random_state=0).image[80:280, 220:476]
    noisy = clean + noise * rng.standard_normal(clean.shape)
    truth, seen = (load_image_patches(one, patch_size=(8, 8)).X for one in (clean, noisy))
    order = rng.permutation(len(seen))
    rows, others = order[:n_samples], order[n_samples : 20 * n_samples]
    learner = OnlineDictionaryLearning(256, alpha=1.5 * noise, random_state=seed)
    D = learner.fit(seen[others]).components_
    D = D / np.linalg.norm(D, axis=1, keepdims=True)
    return D, truth[rows], seen[rows], np.array(noise)


def rows(
    *,
    seed: int,
    cases: Sequence[str] = Option(CASES, ("gaussian",), choices=CASES),
    n_samples: int = Option(1000, 60),
    alphas: int = Option(40, 8),
) -> Iterator[Row]:
    """Yield a row per case, level of noise and way to choose."""
    for name in cases:
        for level in LEVELS[name]:
            make = gaussian if name == "gaussian" else patches
            D, signals, X, noise = make(level, n_samples, seed)
            coder = LassoCoder(D).fit(X)
            scores = AlphaScoresDisplay.from_estimator(
                coder, X, alphas=alphas, noise=noise, X_true=signals
            ).scores
            true = scores.pop("error")
            ways = {way: {"alpha": found.best_alpha} for way, found in scores.items()}
            ways["error"] = {"error": noise_energy(X, noise)}
            ways["error, 97.5 %"] = {"error": noise_energy(X, noise, confidence=0.975)}
            for way, given in ways.items():
                solved = coder.solve(X, **given)
                errors = np.mean((solved.codes @ D - signals) ** 2, axis=1)
                yield {
                    "case": name,
                    "level": level,
                    "way": way,
                    "alpha_of_best": float(np.median(solved.alpha)) / true.best_alpha,
                    "excess_percent": 100 * (errors.mean() / true.scores.min() - 1),
                    "worst": errors.max() / float(noise) ** 2,
                }


STUDY = Study(
    rows,
    labels="case level way",
    measures="alpha_of_best excess_percent worst",
)

if __name__ == "__main__":
    STUDY.main()
