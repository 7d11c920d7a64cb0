"""The frame of every study: its options, threads, progress, table, CSV and figure.

A study is a generator of rows, dictionaries, whose arguments are its options, and a declaration of
its columns: ``STUDY = Study(...)``, in a module of this folder. ``--quick`` is no branch in a
study but a second value of its options, so that the same lines run in seconds.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import import_module
from inspect import signature
from numbers import Integral, Real
from pathlib import Path
from pkgutil import iter_modules
from time import perf_counter
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.exceptions import ConvergenceWarning

from benchmarks.timing import cpu_model, installed_versions, limit_threads
from sklearn_unroll.exceptions import GuardWarning, TrainingWarning

RESULTS = Path(__file__).parent / "results"
WHERE = ("threads", "options", "cpu", "versions", "date")  # the frame's own columns, in all rows

Row = dict[str, Any]


class StudyError(RuntimeError):
    """A study that yields no rows, or rows that are not what it declares."""


@dataclass(frozen=True)
class Option:
    """A value, or a tuple of values, and what ``--quick`` takes instead (None: the same)."""

    full: Any
    quick: Any = None
    help: str = ""
    choices: Sequence[str] | None = None

    def default(self, quick: bool) -> Any:
        """Return the value that holds where the command line says nothing."""
        return self.quick if quick and self.quick is not None else self.full

    def add_to(self, parser: argparse.ArgumentParser, name: str, quick: bool) -> None:
        """Add ``--name`` to a parser; one word or more where the value is a tuple."""
        example = self.quick if self.full is None else self.full
        many = isinstance(example, tuple)
        parser.add_argument(
            _flag(name),
            type=type(example[0] if many else example),
            nargs="+" if many else None,
            choices=self.choices,
            default=self.default(quick),
            help=f"{self.help} [{self.full}; {self.default(True)}]".replace("%", "%%"),
        )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


SHARED = {
    "seed": Option(0, help="of all that is drawn"),
    "threads": Option(1, help="of BLAS, OpenMP and torch"),
}


@dataclass(frozen=True)
class Study:
    """A generator of rows, and what it declares.

    The arguments of ``rows`` are options, by keyword, with an ``Option`` as default unless they
    are the shared ones. It yields dictionaries with all of the labels and any of the measures,
    which are finite numbers. ``draw`` makes a figure of the data frame that the CSV holds.
    """

    rows: Callable[..., Iterator[Row]]
    labels: str  # names of columns, with spaces between them
    measures: str
    draw: Callable[[Any], Any] | None = None

    @property
    def name(self) -> str:
        """The name of its module, which is ``__main__`` while it runs."""
        return sys.modules[self.rows.__module__].__spec__.name.rpartition(".")[2]

    @property
    def about(self) -> list[str]:
        """The lines of its module's docstring; the first one is the title."""
        return sys.modules[self.rows.__module__].__doc__.splitlines()

    @property
    def columns(self) -> list[str]:
        """Labels, then measures, then what the frame knows."""
        return [*self.labels.split(), *self.measures.split(), *WHERE]

    def main(self, argv: Sequence[str] | None = None) -> Path:
        """Run, print, write and draw what the command line asks for; return the CSV's path."""
        settings, folder = self._parse(sys.argv[1:] if argv is None else argv)
        threads, path = settings["threads"], folder / f"{self.name}.csv"
        given = {_flag(k): v for k, v in settings.items() if v is not None}
        told = " ".join(f"{k} {' '.join(map(str, np.atleast_1d(v)))}" for k, v in given.items())
        values = threads, told, cpu_model(), installed_versions(), date.today().isoformat()
        where = dict(zip(WHERE, values, strict=True))
        with limit_threads(threads) as pools, warnings.catch_warnings():
            # Results are judged by what is measured of them, whatever a solver says of itself.
            for kind in (ConvergenceWarning, GuardWarning, TrainingWarning):
                warnings.simplefilter("ignore", kind)
            print(self.about[0], pools, *values[1:], sep="\n", flush=True)
            wanted = signature(self.rows).parameters
            found = self.rows(**{name: settings[name] for name in wanted})
            rows = self._write(found, where, path)
        self._print(rows)
        print(f"{len(rows)} rows written to {path}")
        faults = [fault for row in rows for fault in self.faults(row)]
        if faults or not rows:
            raise StudyError("\n".join([f"{self.name}: {len(rows)} rows", *faults]))
        if self.draw is not None:
            import pandas as pd

            self.draw(pd.read_csv(path)).savefig(path.with_suffix(".png"), dpi=110)
            print(f"drawn in {path.with_suffix('.png')}", flush=True)
        return path

    def _parse(self, argv: Sequence[str]) -> tuple[Row, Path]:
        parser = argparse.ArgumentParser(
            prog=f"python -m benchmarks.{self.name}",
            description="\n".join(self.about),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog="In brackets: the value by default, and with --quick.",
            allow_abbrev=False,
        )
        parser.add_argument("--quick", action="store_true", help="seconds: shows that it runs")
        parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
        own = {name: given.default for name, given in signature(self.rows).parameters.items()}
        options = SHARED | {name: o for name, o in own.items() if isinstance(o, Option)}
        for name, option in options.items():
            option.add_to(parser, name, "--quick" in argv)
        given = vars(parser.parse_args(argv))
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        folder = settings.pop("output")
        del settings["quick"]
        for name, value in settings.items():
            if isinstance(value, int) and value < (name != "seed"):
                parser.error(f"{_flag(name)} must be at least {int(name != 'seed')}, got {value}")
        return settings, folder

    def _write(self, found: Iterable[Row], where: Row, path: Path) -> list[Row]:
        """Write every row as it comes, so that an interruption loses none that is done."""
        rows: list[Row] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        start = perf_counter()
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            try:
                for row in found:
                    rows.append(row)
                    writer.writerow(row | where)
                    file.flush()
                    labels = ", ".join(str(row.get(name)) for name in self.labels.split())
                    print(f"{perf_counter() - start:6.0f} s  {labels}", flush=True)
            except BaseException as error:
                error.add_note(f"{self.name} stopped after {len(rows)} rows, kept in {path}")
                raise
        return rows

    def faults(self, row: Row) -> list[str]:
        """Return in words where a row is not what was declared."""
        labels, measures = set(self.labels.split()), set(self.measures.split())
        wrong = {
            "lacks": labels - set(row),
            "should not have": set(row) - labels - measures,
            "has no finite number in": {k for k in measures & set(row) if not _finite(row[k])},
        }
        return [f"{row} {what} {', '.join(sorted(k))}" for what, k in wrong.items() if k]

    def _print(self, rows: Sequence[Row]) -> None:
        """Print a table, numbers to three digits; labels that all rows share go into the title."""
        labels, lines = self.labels.split(), self.about[:1]
        for name in self.labels.split():
            if len(values := {row.get(name) for row in rows}) == 1:
                lines.append(f"{_spaced(name)}: {values.pop()}")
                labels.remove(name)
        table = Table(title="\n".join(lines))
        shown = [*labels, *self.measures.split()]
        for name in shown:
            table.add_column(_spaced(name), no_wrap=name in labels)
        for row in rows:
            table.add_row(*(_text(row.get(name, "")) for name in shown))
        Console(width=180).print(table)


def _finite(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _text(value: Any) -> str:
    whole = isinstance(value, Integral) or not isinstance(value, Real)
    return str(value) if whole else f"{value:.3g}"


def all_studies() -> dict[str, Study]:
    """Return the study of every module of this folder that has one, by the module's name."""
    names = [m.name for m in iter_modules([str(Path(__file__).parent)]) if m.name[0] != "_"]
    modules = {name: vars(import_module(f"benchmarks.{name}")) for name in names}
    return {name: module["STUDY"] for name, module in modules.items() if "STUDY" in module}


def sides(shape: str) -> tuple[int, ...]:
    """Return the numbers of a shape such as ``250x500``."""
    return tuple(int(side) for side in shape.split("x"))


def decibels(snr: float) -> float | None:
    """Return a noise level as the package's generators take it: None instead of inf."""
    return None if math.isinf(snr) else snr


def with_epochs(estimator: Any, epochs: int | None) -> Any:
    """Return an estimator that trains so many epochs; None leaves it its own recipe."""
    return estimator if epochs is None else estimator.set_params(trainer__max_epochs=epochs)
