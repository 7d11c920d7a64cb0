"""The frame of the studies: options, CSV, table, and what it says of a study that fails."""

import os
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import benchmarks.__main__ as listing
from benchmarks import study, timing
from benchmarks.study import Option, Study, StudyError
from benchmarks.timing import clocked, compete, installed, limit_threads


def squares(
    *, seed, sizes=Option((1, 2, 30), (1,), "sides", (1, 2, 30)), epochs=Option(None, 5)
):  # fmt: skip
    for size in sizes:
        yield {"size": size, "half": size / 2} | ({} if epochs is None else {"sum": seed + epochs})


SQUARES = Study(squares, labels="size", measures="half sum")


def run(rows, tmp_path, *argv, labels="size", measures="half sum"):
    path = Study(rows, labels=labels, measures=measures).main([*argv, "--output", str(tmp_path)])
    return pd.read_csv(path)


def test_the_csv_says_what_was_run_and_where(tmp_path, capsys):
    table = run(squares, tmp_path / "new", "--sizes", "2", "30", "--seed", "7", "--epochs", "4")
    assert list(table) == [
        "size", "half", "sum", "threads", "options", "cpu", "versions", "date"
    ]  # fmt: skip
    assert list(table["half"]) == [1, 15] and list(table["sum"]) == [11, 11]
    assert set(table["options"]) == {"--seed 7 --threads 1 --sizes 2 30 --epochs 4"}
    assert (table["threads"] == 1).all()
    assert table["versions"].str.contains(f"torch {torch.__version__}", regex=False).all()
    printed = capsys.readouterr().out
    for said in (SQUARES.about[0], "threads: torch 1", table["cpu"][0], table["versions"][0]):
        assert said in printed


@pytest.mark.parametrize(
    "argv, sizes", [((), [1, 2, 30]), (("--quick",), [1]), (("--quick", "--sizes", "2"), [2])]
)
def test_quick_is_a_second_set_of_defaults(argv, sizes, tmp_path):
    table = run(squares, tmp_path, *argv)
    assert list(table["size"]) == sizes
    assert table["sum"].notna().all() == bool(argv)  # epochs is None, and 5 with --quick
    assert table["options"].str.contains("--epochs").all() == bool(argv)


def test_threads_are_limited_while_a_study_runs(tmp_path):
    def rows():
        yield {"size": 1, "half": torch.get_num_threads()}

    before = torch.get_num_threads()
    table = run(rows, tmp_path, "--threads", str(before + 1))
    assert list(table["half"]) == list(table["threads"]) == [before + 1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--sizes", "3"], "invalid choice: 3"),
        (["--threads", "0"], "--threads must be at least 1, got 0"),
        (["--seed", "-1"], "--seed must be at least 0, got -1"),
        (["--epochs", "two"], "invalid int value"),
        (["--qui"], "unrecognized arguments: --qui"),
    ],
)
def test_an_option_that_is_wrong_is_refused(argv, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(squares, tmp_path, *argv)
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "row, fault",
    [
        ({"half": 1.0}, "lacks size"),
        ({"size": 1, "hlaf": 1.0}, "should not have hlaf"),
        ({"size": 1, "half": float("nan")}, "no finite number in half"),
        ({"size": 1, "half": np.float32("inf")}, "no finite number in half"),
        ({"size": 1, "half": "1.0"}, "no finite number in half"),
    ],
)
def test_a_study_that_yields_something_else_is_reported(row, fault, tmp_path):
    def rows():
        yield {"size": 2, "half": 1.0}
        yield row

    with pytest.raises(StudyError, match=f"test_study: 2 rows\n.*{fault}"):
        run(rows, tmp_path)
    assert len(pd.read_csv(tmp_path / "test_study.csv")) == 2  # hours of work are not thrown away


def test_a_study_without_rows_is_reported(tmp_path):
    with pytest.raises(StudyError, match="test_study: 0 rows"):
        run(lambda: iter(()), tmp_path)


def test_a_study_that_stops_keeps_its_rows(tmp_path):
    def rows():
        yield {"size": 2, "half": 1.0}
        raise ZeroDivisionError("on the way")

    with pytest.raises(ZeroDivisionError) as stopped:
        run(rows, tmp_path)
    path = tmp_path / "test_study.csv"
    assert stopped.value.__notes__ == [f"test_study stopped after 1 rows, kept in {path}"]
    assert list(pd.read_csv(path)["size"]) == [2]


def test_the_table_has_three_digits_and_leaves_out_what_all_rows_share(tmp_path, capsys):
    def rows():
        for size in (1, 2):
            yield {"kind": "square", "size": size, "half_side": size / 3}

    run(rows, tmp_path, labels="kind size", measures="half_side")
    table = capsys.readouterr().out.partition("kind: square")[2]
    assert "half side" in table and "0.333 " in table
    assert "square" not in table and "size" in table


def test_every_study_is_listed_with_its_first_line(capsys):
    listing.main([])
    lines = capsys.readouterr().out.splitlines()
    studies = study.all_studies()
    assert [line.split()[0] for line in lines] == list(studies)
    assert all(line.endswith(s.about[0]) for line, s in zip(lines, studies.values(), strict=True))
    assert [s.name for s in studies.values()] == list(studies)
    folder = Path(study.__file__).parent
    declared = {f.stem for f in folder.glob("*.py") if "\nSTUDY = " in f.read_text("utf-8")}
    assert set(studies) == declared


def test_a_study_runs_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "all_studies", lambda: {"squares": SQUARES})
    listing.main(["squares", "--sizes", "2", "--output", str(tmp_path)])
    assert list(pd.read_csv(tmp_path / "test_study.csv")["size"]) == [2]
    with pytest.raises(SystemExit, match="no study 'cubes'"):
        listing.main(["cubes"])


def test_jobs_run_once_and_are_then_timed_in_turn():
    calls = []
    found, seconds = compete({name: lambda n=name: calls.append(n) or n for name in "AB"}, 2)
    assert calls == list("ABABAB")
    assert found == {"A": "A", "B": "B"}
    assert {key: len(value) for key, value in seconds.items()} == {"A": 2, "B": 2}


@pytest.mark.parametrize("clock, step", [("wall", 1), ("processor", 100)])
def test_jobs_are_timed_by_the_clock_that_is_named(clock, step, monkeypatch):
    for name, each in (("wall", 1), ("processor", 100)):
        ticks = count(0, each)
        monkeypatch.setitem(timing.CLOCKS, name, lambda t=ticks: next(t))
    assert clocked(lambda: "A", clock) == ("A", step)
    assert compete({"A": int, "B": str}, 2, clock)[1] == {"A": [step, step], "B": [step, step]}


def test_what_is_not_installed_is_said(capsys):
    assert installed(None, "all") and installed("torch", "ours")
    assert capsys.readouterr().out == ""
    assert not installed("no_such_module", "theirs")
    assert "skipped theirs: no_such_module is not installed" in capsys.readouterr().out


def test_the_line_on_threads_says_what_the_pools_report():
    with limit_threads(1) as line:
        assert line.startswith("threads: torch 1, ")
        assert f"openmp {os.environ.get('OMP_NUM_THREADS', 1)}" in line
