"""Learning a dictionary: held-out objective against seconds, ours, SPAMS and scikit-learn.

``python -m benchmarks.dictionary_learning`` learns from patches of one photograph and is judged on
those of another, and from Gaussian atoms, which are known, with the same alpha in one run and on
the threads that it prints. ``stains`` are the optical densities of a stained section, 512x512
pixels with two positive atoms and positive codes at alpha 0.1 (Vahadane et al. 2016), judged on
some of them.
A row is a method after so many seconds: ``objective`` is the mean lasso objective of signals that
no method has seen, each solved to a gap of 1e-6 over its dictionary, with evaluations left out of
the time, and ``recovered`` the share of true atoms with a match of cosine 0.95 or more.
``times_faster`` is how much sooner our curve is at that objective, empty where it never is.
SPAMS shows nothing on the way, so it learns anew for every row. ``10 layers`` codes by a network
of learned gradient steps, through which the gradient reaches the dictionary in ``10 layers,
unrolled``; exact codes judge both.
``pursuit`` is the first example of dictlearn, approximate K-SVD on 500 signals of 8 atoms each, by
its own measure: ``objective`` is the root mean square of what 8 atoms by OMP leave of the signals
learned from. There the seed of the data is also that of its first dictionary, which so is the true
one; here the seeds differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from time import perf_counter, process_time
from typing import Any, NamedTuple
from warnings import catch_warnings, simplefilter

import numpy as np
import torch
from sklearn.datasets import make_sparse_coded_signal
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.exceptions import ConvergenceWarning

from benchmarks.study import Option, Row, Study, sides
from benchmarks.timing import installed
from sklearn_unroll import (
    LassoCoder,
    LISTARegressor,
    OMPCoder,
    OnlineDictionaryLearning,
    Trainer,
)
from sklearn_unroll.datasets import load_image_patches, make_sparse_recovery

Curve = list[tuple[float, np.ndarray]]  # seconds of learning so far, dictionary


class Clock(NamedTuple):
    """What to read the time from, and how many seconds there are."""

    now: Callable[[], float]
    seconds: float


class OutOfTimeError(Exception):
    """Ends a fit from inside, where it has no other way to end."""


class Snapshots:
    """Keeps dictionaries, ever rarer, with the seconds that learning alone has taken."""

    def __init__(self, clock: Clock) -> None:
        self.curve: Curve = []
        self.now, self.budget = clock
        self.next, self.idle, self.start = 0.0, 0.0, self.now()

    def seen(self, D: Callable[[], np.ndarray]) -> bool:
        """Keep the dictionary if it is time to; return whether the time is up."""
        now = self.now()
        seconds = now - self.start - self.idle
        if seconds >= self.next:
            self.curve.append((seconds, np.array(D())))
            self.next = 1.3 * seconds
        self.idle += self.now() - now
        return seconds > self.budget

    # What scikit-learn calls of a callback.
    def setup(self, estimator: Any, context: Any) -> None:
        """Do nothing: the clock runs since this was made, as for rivals."""

    def teardown(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, fitted_estimator: Any = None
    ) -> bool:
        """Keep the dictionary of an epoch; return whether to stop."""
        return context.task_name == "epoch" and self.seen(lambda: fitted_estimator.components_)


def ours(
    X: np.ndarray, n_atoms: int, alpha: float, clock: Clock, seed: int, positive: bool = False,
    **parameters: Any,
) -> Curve:  # fmt: skip
    """Learn with the defaults, until the time is up."""
    parameters |= {"positive_code": positive, "positive_dict": positive}
    kept = Snapshots(clock)
    learner = OnlineDictionaryLearning(n_atoms, alpha=alpha, tol=0.0, random_state=seed)
    learner.set_params(max_iter=10_000, **parameters).set_callbacks(kept).fit(X)
    return kept.curve


def by_layers(
    X: np.ndarray, n_atoms: int, alpha: float, clock: Clock, seed: int, *, truncate: int
) -> Curve:
    """Learn with ten gradient steps of learned length as coder."""
    trainer = Trainer("lasso", max_epochs=1)
    network = LISTARegressor(weights="adjoint", n_layers=10, alpha=alpha, trainer=trainer)
    return ours(X, n_atoms, alpha, clock, seed, coder=network, truncate=truncate)


def scikit_learn(
    X: np.ndarray, n_atoms: int, alpha: float, clock: Clock, seed: int, positive: bool = False
) -> Curve:
    """Learn by coordinate descent in batches of 512, from samples as we do."""
    signs = {"positive_code": positive, "positive_dict": positive}
    kept = Snapshots(clock)

    def watch(at: dict) -> None:
        if kept.seen(lambda: at["dictionary"]):
            raise OutOfTimeError

    first = X[np.random.default_rng(seed).choice(len(X), n_atoms, replace=False)]
    first = first / np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-12)
    learner = MiniBatchDictionaryLearning(
        n_atoms, alpha=alpha, batch_size=512, fit_algorithm="cd", dict_init=first, tol=0.0,
        max_no_improvement=None, callback=watch, random_state=seed, **signs,
    )  # fmt: skip
    with catch_warnings():
        simplefilter("ignore", ConvergenceWarning)
        with suppress(OutOfTimeError):
            learner.fit(X)
    return kept.curve


def spams_train(
    X: np.ndarray, n_atoms: int, alpha: float, clock: Clock, seed: int, positive: bool = False
) -> Curve:
    """Learn anew for every point, with twice as many batches each time."""
    import spams

    columns, curve, n_batches = np.asfortranarray(X.T), [], 15
    while not curve or sum(seconds for seconds, _ in curve) < 0.5 * clock.seconds:
        start = clock.now()
        D = spams.trainDL(
            columns, K=n_atoms, lambda1=alpha, mode=2, iter=n_batches, batchsize=512,
            numThreads=torch.get_num_threads(), verbose=False, posAlpha=positive, posD=positive,
        )  # fmt: skip
        curve.append((clock.now() - start, np.ascontiguousarray(D.T)))
        n_batches *= 2
    return curve


def dictlearn_fit(
    X: np.ndarray, n_atoms: int, alpha: float, clock: Clock, seed: int, **_: Any
) -> Curve:
    """Learn anew for every point by approximate K-SVD, with twice as many passes each time."""
    from dictlearn import DictionaryLearning

    learner = DictionaryLearning(n_atoms, n_nonzero_coefs=NONZEROS, random_state=seed + 1)
    learner.set_params(max_iter=1).fit(X)  # compiles
    curve, n_passes = [], 5
    while not curve or sum(seconds for seconds, _ in curve) < 0.5 * clock.seconds:
        start = clock.now()
        learner.set_params(max_iter=n_passes).fit(X)
        curve.append((clock.now() - start, learner.components_))
        n_passes *= 2
    return curve


CLOCKS = {"wall": perf_counter, "processor": process_time}
NONZEROS = 8  # of the example of dictlearn
METHODS = {"ours": (ours, None), "spams": (spams_train, "spams")}
METHODS |= {"scikit-learn": (scikit_learn, None)}
LAYERS = {"10 layers": (partial(by_layers, truncate=0), None)}
LAYERS |= {"10 layers, unrolled": (partial(by_layers, truncate=10), None)}
PURSUIT = {"ours": (partial(ours, coder=OMPCoder(n_nonzero_coefs=NONZEROS)), None)}
PURSUIT |= {"dictlearn": (dictlearn_fit, "dictlearn")}
RIVALS = ("spams", "scikit-learn", "dictlearn")
OWN = {"stains": METHODS, "pursuit": PURSUIT}  # methods of problems that not all are for
STAIN_ALPHA = 0.1  # of optical densities


def problem(name: str, shape: str, n_samples: int, seed: int) -> tuple:
    """Return signals to learn from, signals to judge by, and the true atoms or None."""
    n_features, n_atoms = sides(shape)
    if name == "stains":
        X = densities()
        return X, X[np.random.default_rng(seed).choice(len(X), 10_000, replace=False)], None
    if name == "pursuit":
        X, atoms, _ = make_sparse_coded_signal(
            n_samples=500, n_components=n_atoms, n_features=n_features,
            n_nonzero_coefs=NONZEROS, random_state=seed,
        )  # fmt: skip
        return X, X, atoms
    if name == "gaussian":
        data = make_sparse_recovery(
            n_samples + 1000, n_features, n_atoms, sparsity=0.05, snr_db=30, random_state=seed
        )
        learn, judge, atoms = data.X[1000:], data.X[:1000], data.dictionary
    else:
        learn = patches("china.jpg", n_features, n_samples, seed)
        judge, atoms = patches("flower.jpg", n_features, 1000, seed), None
    learn, judge = (X * np.sqrt(n_features / np.square(X).sum(1).mean()) for X in (learn, judge))
    return learn, judge, atoms


def densities() -> np.ndarray:
    """Return the optical densities of a stained section, a pixel a row (Beer and Lambert)."""
    from skimage import data

    return -np.log((data.immunohistochemistry().reshape(-1, 3) + 1.0) / 256.0)


def patches(picture: str, n_features: int, n: int, seed: int) -> np.ndarray:
    """Return patches of a photograph in random order."""
    side = round(n_features**0.5)
    data = load_image_patches(picture, patch_size=(side, side), n_patches=n, random_state=seed)
    return np.random.default_rng(seed).permutation(data.X)


def rows(
    *,
    seed: int,
    shapes: tuple = Option(
        (
            "patches:64x256", "patches:144x512", "gaussian:100x200", "stains:3x2",
            "pursuit:64x128",
        ),
        ("patches:16x32", "gaussian:10x20", "pursuit:20x30"),
        "kind:features x atoms",
    ),
    methods: tuple = Option((*METHODS, "dictlearn", *LAYERS), help="who learns, ours always"),
    n_samples: int = Option(60_000, 2000),
    alpha: float = Option(1.2, help="where signals have a mean square of one a feature"),
    budget: float = Option(3.0, 0.2, "seconds of ours, and of layers; rivals get more"),
    rival_budget: float = Option(40.0, 1.0, "seconds of scikit-learn, and half of it of others"),
    clock: str = Option("wall", choices=tuple(CLOCKS), help="of one thread both tell the same"),
) -> Iterator[Row]:  # fmt: skip
    """Yield the points of every method's curve."""
    now = CLOCKS[clock]
    for told in shapes:
        kind, shape = told.split(":")
        if kind == "stains" and not installed("skimage", kind):
            continue
        weight, positive = (STAIN_ALPHA, {"positive": True}) if kind == "stains" else (alpha, {})
        X, held_out, atoms = problem(kind, shape, n_samples, seed)
        n_atoms, own = sides(shape)[1], None
        judge = residual if kind == "pursuit" else partial(objective, alpha=weight, **positive)
        for method, (learn, package) in OWN.get(kind, METHODS | LAYERS).items():
            if method not in ("ours", *methods) or not installed(package, f"{method}, {kind}"):
                continue
            if own is None:
                learn(X[:2000], n_atoms, weight, Clock(now, 0.1), seed, **positive)  # compiles
            given = Clock(now, rival_budget if method in RIVALS else budget)
            curve = learn(X, n_atoms, weight, given, seed, **positive)
            points = [(s, judge(D, held_out), recovered(D, atoms)) for s, D in curve]
            own = points if own is None else own
            for seconds, value, found in points:
                yield {
                    "problem": kind, "shape": shape, "method": method, "seconds": seconds,
                    "objective": value, **faster(own, seconds, value),
                    **({} if found is None else {"recovered": found}),
                }  # fmt: skip


def faster(own: list[tuple], seconds: float, value: float) -> Row:
    """Return how much sooner our curve is there, on straight lines between its points."""
    times, values = (np.array(column) for column in list(zip(*own, strict=True))[:2])
    values = np.minimum.accumulate(values)
    if not values[-1] <= value <= values[0]:
        return {}
    return {"times_faster": seconds / float(np.interp(-value, -values, times))}


def objective(D: np.ndarray, X: np.ndarray, alpha: float, positive: bool = False) -> float:
    """Return the mean lasso objective, each signal solved."""
    return -LassoCoder(D, alpha=alpha, positive=positive).fit(X).score(X)


def residual(D: np.ndarray, X: np.ndarray) -> float:
    """Return the root mean square of what codes by OMP leave."""
    coder = OMPCoder(D, n_nonzero_coefs=NONZEROS).fit(X)
    return float(np.sqrt(np.square(X - coder.inverse_transform(coder.transform(X))).mean()))


def recovered(D: np.ndarray, atoms: np.ndarray | None) -> float | None:
    """Return the share of true atoms that have a match."""
    if atoms is None:
        return None
    D = D / np.maximum(np.linalg.norm(D, axis=1, keepdims=True), 1e-12)
    return float((np.abs(atoms @ D.T).max(1) > 0.95).mean())


def draw(table: Any) -> Any:
    """Draw held-out objective against seconds, one panel a problem; lower left is better."""
    from matplotlib.figure import Figure

    problems = list(table.groupby(["problem", "shape"], sort=False))
    figure = Figure(figsize=(5 * len(problems), 4), layout="constrained")
    for ax, (name, here) in zip(
        figure.subplots(1, len(problems), squeeze=False).flat, problems, strict=True
    ):
        for method, curve in here.groupby("method", sort=False):
            ax.plot(curve["seconds"], curve["objective"], "o-", ms=3, label=method)
        threads = here["threads"].iloc[0]
        ax.set(xscale="log", title=", ".join(name), xlabel=f"seconds, {threads} thread(s)")
        ax.grid(alpha=0.3)
        ax.legend(fontsize="small")
    figure.supylabel("held-out objective")
    return figure


STUDY = Study(
    rows,
    labels="problem shape method",
    measures="seconds objective times_faster recovered",
    draw=draw,
)

if __name__ == "__main__":
    STUDY.main()
