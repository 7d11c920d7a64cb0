"""Caches on disk: found by other processes, and made anew where they are broken."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_unroll import ALISTARegressor, HyperLISTARegressor, LAMPRegressor, Trainer
from sklearn_unroll.functional._compiled import compiled, compiled_available
from sklearn_unroll.functional.measured import lasso_of_residual
from tests.estimator_table import pairs

MODELS = {
    "ALISTA": ALISTARegressor(n_layers=3, trainer=Trainer(max_epochs=0)),
    "minimax": ALISTARegressor(n_layers=3, weights="minimax", trainer=Trainer(max_epochs=0)),
    "HyperLISTA": HyperLISTARegressor(n_layers=3),
    "LAMP": LAMPRegressor(n_layers=3, init="analytic", trainer=Trainer(max_epochs=0)),
}
# Another process, in which nothing is there to compute a weight with.
OTHER = """
import pickle, sys
import numpy as np
from sklearn_unroll.estimators import _alista

_alista.WEIGHTS.clear()
models, X, y = pickle.load(open(sys.argv[1], "rb"))
codes = [model.fit(X, y).predict(X) for model in models]
np.save(sys.argv[2], codes)
"""


@pytest.mark.filterwarnings("ignore:HyperLISTA diverges")
def test_another_process_finds_the_weights(tmp_path):
    data = pairs()
    models = [
        clone(model).set_params(
            dictionary=data.dictionary, memory=str(tmp_path / "cache"), device="cpu"
        )
        for model in MODELS.values()
    ]
    for model in models:
        if "random_state" in model.get_params():
            model.set_params(random_state=0)
    expected = [clone(model).set_params(memory=None).fit(data.X, data.y) for model in models]
    for model, plain in zip(models, expected, strict=True):
        for fold in (slice(0, 60), slice(20, 80)):  # other arrays of the same numbers
            model.set_params(dictionary=data.dictionary.copy()).fit(data.X[fold], data.y[fold])
        model.fit(data.X, data.y)
        np.testing.assert_array_equal(model.predict(data.X), plain.predict(data.X))
    # ALISTA and LAMP want the same one.
    assert len(list((tmp_path / "cache").rglob("output.pkl"))) == len(models) - 1
    job, answer = tmp_path / "job.pkl", tmp_path / "codes.npy"
    job.write_bytes(pickle.dumps(([clone(model) for model in models], data.X, data.y)))
    subprocess.run([sys.executable, "-W", "ignore", "-c", OTHER, job, answer], check=True)
    for codes, plain in zip(np.load(answer), expected, strict=True):
        np.testing.assert_array_equal(codes, plain.predict(data.X))


@pytest.mark.parametrize("left", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_compiled_loops_do_without_a_cache_that_was_cut_off(kind, left, tmp_path, monkeypatch):
    if not compiled_available():
        pytest.skip("numba is not installed")
    import numba

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    x, r = torch.randn(3, 5), torch.randn(3, 4)
    expected = 0.5 * r.square().sum(1) + 0.1 * x.abs().sum(1)

    def run():
        compiled.cache_clear()  # as in another process
        out = torch.empty(3)
        lasso_of_residual(x, r, 0.1, out)
        torch.testing.assert_close(out, expected)

    try:
        run()
        files = [Path(file) for file in tmp_path.rglob(f"*.{kind}")]
        assert files
        for file in files:
            content = file.read_bytes()
            file.write_bytes(content[: int(left * len(content))])
        run()
        run()  # which has written it again
        assert all(len(file.read_bytes()) > 0.99 * len(content) for file in files)
    finally:
        compiled.cache_clear()


def test_machine_code_is_as_old_as_the_options_it_was_made_with(tmp_path, monkeypatch):
    if not compiled_available():
        pytest.skip("numba is not installed")
    import numba

    options = tmp_path / "options.py"
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setitem(compiled.__wrapped__.__globals__, "__file__", str(options))

    def written(content):
        """Return when the code on disk was written, after a run with such options."""
        options.write_text(content)
        compiled.cache_clear()  # as in another process
        lasso_of_residual(torch.ones(1, 2), torch.ones(1, 2), 0.1, torch.empty(1))
        (index,) = tmp_path.rglob("*.nbi")
        return index.stat().st_mtime_ns

    try:
        first = written("some")
        again = written("others")
        assert again > first
    finally:
        compiled.cache_clear()
