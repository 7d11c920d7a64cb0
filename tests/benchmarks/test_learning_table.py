"""The table of learning curves in the docs, from results whose times are known."""

import pandas as pd
import pytest

from benchmarks import learning_table


def results(seed, factor, last=100.0):
    """Return curves whose times are 1, 2, 3, 4, and those of SPAMS so many times as long."""
    curves = {
        "ours": ([1.0, 2.0, 3.0, 4.0], [116.0, 108.0, 104.0, 100.0]),
        "spams": ([1.0 * factor, 2.0 * factor, 3.0 * factor], [116.0, 108.0, 104.0]),
        "scikit-learn": ([10.0, 20.0], [107.0, last]),
        "10 layers": ([50.0], [90.0]),
    }
    return pd.DataFrame(
        [
            {
                "problem": "patches", "shape": "16x32", "method": method, "threads": 1,
                "options": f"--seed {seed}", "seconds": s, "objective": v,
            }
            for method, (seconds, values) in curves.items()
            for s, v in zip(seconds, values, strict=True)
        ]
    )  # fmt: skip


def test_the_table_of_learning_curves_says_when_who_was_where(tmp_path):
    sources = [tmp_path / f"{seed}.csv" for seed in (0, 1)]
    for source, seed, factor in zip(sources, (0, 1), (2.0, 4.0), strict=True):
        results(seed, factor).to_csv(source, index=False)
    target, picture = tmp_path / "table.csv", tmp_path / "curves.svg"
    learning_table.main(str(target), str(picture), *map(str, sources))
    found = pd.read_csv(target, dtype=str).set_index("above, %")
    assert list(found.index) == ["16", "12", "8", "6", "4", "3", "2", "1", "0.5"]
    assert found.loc["8", "ours, s"] == "2" and found.loc["6", "ours, s"] == "2.5"
    assert found.loc["8", "SPAMS, s"] == "6" and found.loc["8", "times SPAMS"] == "3 (2 to 4)"
    # SPAMS ends at 4 %, and the first dictionary of scikit-learn is better than 8 %.
    assert found.loc["3", "SPAMS, s":"times SPAMS"].isna().all()
    assert found.loc[["16", "8"], "times scikit-learn"].isna().all()
    # Other methods make no line, and no level lower.
    assert found.loc["1", "times scikit-learn"].startswith("5")
    assert "scikit-learn" in picture.read_text(encoding="utf-8")
    # The same results make the same files.
    before = picture.read_bytes(), target.read_bytes()
    learning_table.main(str(target), str(picture), *map(str, sources))
    assert (picture.read_bytes(), target.read_bytes()) == before


def test_a_first_point_below_a_level_is_said_to_be_one():
    curve = learning_table.excess(results(0, 2.0).query("method != '10 layers'"))
    assert learning_table.seconds_to(50.0, curve["ours"], True) == 1.0
    for level in (50.0, 2.0):
        assert pd.isna(learning_table.seconds_to(level, curve["spams"], False))
    late = results(0, 2.0).query("method != '10 layers'")
    late = late[~((late.method == "ours") & (late.seconds < 3))]
    lines = {line["above, %"]: line for line in learning_table.lines(late)}
    assert lines["8"]["ours, s"] == "<3" and lines["8"]["times SPAMS"].startswith("1.3")


def test_a_rival_that_did_not_run_is_left_out():
    table = results(0, 2.0).query("method in ('ours', 'spams')")
    line = next(learning_table.lines(table))
    assert line["times SPAMS"] == "2" and line["scikit-learn, s"] == ""
    both = pd.concat([table, results(1, 4.0).query("method in ('ours', 'scikit-learn')")])
    line = {line["above, %"]: line for line in learning_table.lines(both)}["4"]
    assert line["times SPAMS"] == "2" and line["times scikit-learn"].startswith("4.8")


def test_where_we_are_not_the_table_says_so():
    table = results(0, 2.0, last=50.0).query("method != '10 layers'")
    lines = {line["above, %"]: line for line in learning_table.lines(table)}
    assert lines["4"] == {
        "problem": "patches 16x32", "threads": 1, "above, %": "4", "ours, s": "never",
        "SPAMS, s": "", "times SPAMS": "", "scikit-learn, s": "20", "times scikit-learn": "",
    }  # fmt: skip


@pytest.mark.parametrize("level, seconds", [(12.0, 1.5), (0.0, 4.0)])
def test_times_lie_on_straight_lines(level, seconds):
    curve = learning_table.excess(results(0, 2.0).query("method == 'ours'"))["ours"]
    assert learning_table.seconds_to(level, curve, True) == pytest.approx(seconds)
