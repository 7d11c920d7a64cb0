"""Every estimator on an accelerator: there, back, and stored where there is none.

On the one of this machine, or on that which ``TEST_DEVICE`` names.
"""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from sklearn_unroll import LassoCoder
from tests.estimator_table import LEARNED, MAKERS, case

DEVICE = os.environ.get("TEST_DEVICE", "cuda" if torch.cuda.is_available() else "")
pytestmark = [
    pytest.mark.skipif(not DEVICE, reason="no accelerator here, and none in TEST_DEVICE"),
    pytest.mark.filterwarnings("ignore:This fit of"),  # trainings are short
]

LOAD = """
import pickle, sys
import numpy as np
with open(sys.argv[1], "rb") as file:
    model, X, metadata, method, codes = pickle.load(file)
np.testing.assert_allclose(getattr(model, method)(X, **metadata), codes, atol=1e-4)
"""


def on(entry, device):
    """Return the parameters that put an estimator, or its coder, there."""
    model = entry.estimator
    if "device" in model.get_params(deep=False):
        return {"device": device}
    if model.coder is not None:
        return {"coder__device": device}
    return {"coder": LassoCoder(alpha=model.alpha, tol=1e-12, device=device)}


@pytest.mark.parametrize("name", MAKERS)
def test_a_fit_there_is_the_fit_here(name):
    entry = case(name)
    # Solvers differ between devices: codes agree where both are at the optimum.
    exact = {"tol": 1e-12} if name.startswith("LassoCoder") else {}
    there, here = (entry.fit(**on(entry, device), **exact) for device in (DEVICE, "cpu"))
    if "network_" in vars(there):
        kinds = {tensor.device.type for tensor in there.network_.state_dict().values()}
        assert kinds == {torch.device(DEVICE).type}
    np.testing.assert_allclose(entry.run(there), entry.run(here), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MAKERS)
def test_a_fit_there_loads_where_there_is_no_device(name, tmp_path):
    entry = case(name)
    model = entry.fit(**on(entry, DEVICE))
    if name in LEARNED:
        model.partial_fit(entry.X, entry.y, **entry.metadata)
    getattr(model, "coder_", model).set_params(device="auto")
    stored = [model, entry.holes(), entry.metadata, entry.method]
    path = tmp_path / "model.pickle"
    path.write_bytes(pickle.dumps([*stored, entry.run(model)]))
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
