"""Run the tests of training under other arithmetic, and say by what margin each of them holds.

`make test-portable` runs this. What training reaches depends on rounding: on the instruction set,
on the number of threads, on the last digit of a first weight. A test of it (one that uses the
fixture `assert_below`) must hold under all of them: at least a tenth of the bound away from it,
and as far from it as the worst of them is from their median.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import NamedTuple

OLD = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Prescott",
    "NUMBA_CPU_NAME": "generic",
    "NUMBA_CPU_FEATURES": "",
}
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "",
}
SETTINGS = {  # name: what the environment says, threads, disturbance of the starts
    "as it is": ({}, 1, 0),
    "no vectors": (OLD, 1, 0),
    "AVX2": (AVX2, 1, 0),
    "AVX2, two threads": (AVX2, 2, 0),
    "disturbed, 1": ({}, 1, 1),
    "disturbed, 2": ({}, 1, 2),
    "disturbed, 3": ({}, 1, 3),
}
LEAST = 0.1  # of the bound


class Margin(NamedTuple):
    """How far a test stays from its bound, over all settings."""

    name: str
    bound: float
    median: float
    worst: float

    @property
    def relative(self):
        return (self.bound - self.worst) / abs(self.bound) if self.bound else 0.0

    @property
    def holds(self):
        return self.relative >= LEAST and self.bound - self.worst >= self.worst - self.median


def margins(lines):
    """Return a Margin for every comparison, the narrowest first."""
    found = {}
    for line in lines:
        name, value, bound = json.loads(line)
        found.setdefault((name, bound), []).append(value)
    table = [Margin(*key, median(values), max(values)) for key, values in found.items()]
    return sorted(table, key=lambda margin: margin.relative)


def run(name, file, arguments):
    """Run the tests under a setting and return whether they passed."""
    environment, threads, seed = SETTINGS[name]
    print(f"\n=== {name} ===", flush=True)
    workers = str(max((os.cpu_count() or 1) // threads, 1))
    variables = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    command = [sys.executable, "-m", "pytest", "-q", "-m", "training and not long", "-n", workers]
    command += [f"--margins={file}", *([f"--disturb={seed}"] if seed else []), *arguments]
    return not subprocess.run(command, env={**os.environ, **variables, **environment}).returncode


def main(arguments):
    """Run all settings, print the margins, and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "margins")
        failed = [name for name in SETTINGS if not run(name, file, arguments)]
        table = margins(file.read_text(encoding="utf-8").splitlines())
    print("\nmargin     bound     worst    median  test")
    for m in table:
        mark = "" if m.holds else "  <- too narrow"
        print(f"{m.relative:6.0%} {m.bound:9.4g} {m.worst:9.4g} {m.median:9.4g}  {m.name}{mark}")
    narrow = sum(not m.holds for m in table)
    print(f"\n{len(table)} margins, {narrow} too narrow; settings that failed: {failed or 'none'}")
    return int(bool(narrow or failed or not table))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["tests"]))
