"""Every study runs, quickly, as ``python -m benchmarks.NAME --quick`` runs it. No times."""

import runpy
import sys
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.solvers import all_solvers
from benchmarks.study import all_studies

STUDIES = all_studies()
# Measures that only rivals have: without them the column is there, and empty.
OF_RIVALS = {"recovery_frontier": {"times_faster_than_omp": "spams"}}


def alpha_choice(table):
    assert len(table) == 15 and set(table["case"]) == {"gaussian"}
    one = table["way"].isin(["sure", "cross_validation"])
    assert (table.loc[one, "excess_percent"] >= -1e-6).all()


def bfloat16(table):
    full, half, mixed = table["nmse_db"]
    assert full < half - 10 and mixed < half - 10  # -79, -51 and -78 dB without noise
    assert table["times_faster"][0] == 1


def block_sparse(table):
    assert table.groupby("snr").size().to_dict() == {20.0: 7, np.inf: 7}
    assert (table["median_db"] <= table["worst_db"]).all()
    found = table.set_index(["snr", "method"])
    assert found.loc[(np.inf, "group OMP"), "median_db"] == -300  # exact, without noise
    assert found.loc[(20.0, "group OMP"), "median_db"] > -40
    assert found.xs("group lasso", level="method")["gap_max"].lt(0.01).all()


def certificate(table):
    assert set(table.loc[table["part"] == "gap", "alpha"]) == {0.1}
    assert set(table.loc[table["part"] == "alpha", "alpha"]) == {0.5, 0.05}
    assert (table["gap_max"] < 2e-2).all() and (table["gap_median"] <= table["gap_max"]).all()
    ours = table[table["solver"] == "lasso_coder"]
    assert (ours["gap_max"] <= 1e-4).all()
    assert (ours.loc[ours["part"] == "alpha", "gap_max"] <= 1e-10).all()
    patches = ours[ours["part"] == "patches"]
    assert set(patches["dtype"]) == {"float32", "float64"} and (patches["gap_max"] <= 1e-6).all()
    assert (patches["times_slower_than_lasso_coder"] == 1).all()
    last = ours[(ours["part"] == "gap") & (ours["dtype"] == "float64")].iloc[-1]
    assert last["parameters"] == "tol=1e-10" and last["times_slower_than_lasso_coder"] == 1
    slow = table["solver"].isin({"celer_path", "skglm_cd", "sklearn_lasso_lars"})
    assert set(table[slow]["n_samples"]) == {10} and set(table[~slow]["n_samples"]) == {40}
    assert set(all_solvers()) - set(table["solver"]) <= {
        "lista", "ista_untrained", "sklearn_omp", "spams_omp", *without_their_package()
    }  # fmt: skip


def compressive_imaging(table):
    assert len(table) == 6 and set(table["mask"]) == {"Cartesian", "pseudo-radial"}
    assert set(table["picture"]) == {"head", "camera", "astronaut"}
    np.testing.assert_allclose(table["over_tv"], table["admm_csnet"] - table["total_variation"])
    assert (table["total_variation"] > table["zero_filling"] + 0.1).all()


def clients(table):
    assert {"scipy nnls", "scikit-learn"} <= set(table["rival"])
    assert (table["gap_max"] <= 1e-6).all() and (table["ratio"] > 0).all()


def convolutional(table):
    assert {"float32", "float64"} == set(table["dtype"])
    assert (table["excess"] > -1e-2).all() and (table["floor_gap"] <= 1e-3).all()


def missing_entries(table):
    assert set(table["missing"]) == {0.5}
    filled = table[~table["method"].str.startswith("codes")]
    assert (filled["psnr"] > 10).all() and (filled["psnr_worst"] <= filled["psnr"] + 1e-9).all()
    loops = table[table["method"].str.startswith("codes: scikit-learn")]
    assert len(loops) == 2 and (loops["off"] < 1e-3).all()


def dictionary_learning(table):
    both = table.groupby("problem")["method"].apply(set)
    assert {"ours", "scikit-learn"} <= both["patches"] & both["gaussian"]
    assert "ours" in both["pursuit"] <= {"ours", "dictlearn"}
    ours = table[table["method"] == "ours"]
    assert (ours.groupby("problem")["times_faster"].first() == 1).all()
    for _, curve in table.groupby(["problem", "method"]):
        assert (np.diff(curve["seconds"]) > 0).all() or curve["method"].iloc[0] in (
            "spams",
            "dictlearn",
        )
        assert curve["objective"].min() <= curve["objective"].iloc[0]
    assert table["recovered"].notna().eq(table["problem"] != "patches").all()
    assert table["recovered"].dropna().between(0, 1).all()


def growth(table):
    atoms, nonzeros = "atoms, 5% nonzeros", "nonzeros, 60x120"
    assert list(table["sweep"].unique()) == [atoms, nonzeros]
    for sweep, ratio in ((atoms, 120 / 80), (nonzeros, 4 / 2)):
        here = table[(table["sweep"] == sweep) & (table["method"] != "spams LARS")]
        for _, found in here.groupby("method"):
            time, slope = found["us_per_signal"].to_numpy(), found["exponent"].to_numpy()
            assert np.isnan(slope[0]) and np.isclose(ratio ** slope[1], time[1] / time[0])
    network = table["method"].str.startswith("HyperLISTA")
    assert (table["fit_seconds"].notna() == network).all()
    omp, lasso = (table[table["method"] == name] for name in ("OMPCoder", "LassoCoder"))
    assert (omp["nmse_db"].to_numpy() < lasso["nmse_db"].to_numpy() - 3).all()
    lars = table.loc[table["method"] == "spams LARS"]
    assert set(lars["shape"]) <= {"40x80"}  # the larger one is too large
    np.testing.assert_allclose(lars["nmse_db"], lasso["nmse_db"][: len(lars)], atol=3)


def l2o_rivals(table):
    both = table.groupby("problems")["solver"].apply(set)
    assert {"PA", "PA, published", "L2O-DM", "RNNprop", "Ada-LISTA"} < both["a dictionary each"]
    assert "LISTA-CPSS" in both["one dictionary"]
    classical = table[table["solver"].isin({"restarted FISTA", "Adam, rate 0.1"})]
    assert len(classical) == 4
    errors = classical[["after_16", "after_40", "after_100"]].to_numpy()
    assert (np.diff(errors) < 0).all()
    assert table["after_400"].notna().sum() == len(table) - 2  # networks of 16 layers end there
    assert table["after_16"].notna().all()


def math_l2o(table):
    found = table.set_index(["family", "method"])
    new = found.loc["new problems"]
    assert new.loc["ISTA", "last_error"] > 100 * new.loc["restarted FISTA", "last_error"] > 0
    assert new.loc["FISTA", "to_1e-02"] < 40
    assert (found["worst_error"] >= found["last_error"]).all()
    assert (found["worst_to"] >= found["to_1e-06"])[found["worst_to"].notna()].all()
    learned = found.xs("PA", level="method")
    assert len(learned) == 13 and learned["levels_no_slower"].isin(range(5)).all()
    # Scaling a problem and its alpha scales its solution: the same iterations.
    same = found.loc["rescaled by 10", "to_1e-02"] - new["to_1e-02"]
    assert (same.dropna() == 0).all()
    times = found.loc["2 of 10x20, time"]
    assert times["ms_per_iteration"].count() == 2 and times["ms_to_solve"].count() == 4
    exact = ["LassoCoder", "Lasso of scikit-learn"]
    assert (times.loc[exact, "last_error"] <= 1e-6).all()


def prediction_floor(table):
    assert list(table["batch"]) == [100, 100, 100, 600, 600, 600] * 2
    assert list(table["network"]) == ["LISTA", "ALISTA", "HyperLISTA"] * 4
    assert (table[["floor_us", "predict_us", "ratio", "ratio_of_minima"]] > 0).all(axis=None)


def off_distribution(table):
    assert table.groupby("job")["estimator"].nunique().to_dict() == {"patches": 10, "recovery": 12}
    mean = table.pivot(index=["job", "estimator"], columns="data", values="mean")
    assert (mean.loc["patches"].drop("LISTA, guard off")["pure noise"] < 100).all()
    scaled = mean.loc["recovery"].drop("LISTA-CPSS, normalize=False")
    for data in ("times 3", "times 30", "times 0.1"):
        np.testing.assert_allclose(scaled[data], scaled["same"], atol=0.1)
    safe = table[(table["job"] == "patches") & (table["estimator"] != "LISTA, guard off")]
    assert (safe["zeros"] == 0).all()


def provable_l2o(table):
    assert (table["method"] == "published").sum() == 4
    improvement = table.set_index("method")["improvement"].drop("published")
    assert improvement["Nesterov"] > improvement.filter(like="constant step").item() > 0


def recovery_frontier(table):
    found = table.set_index("method")
    assert found["frontier"][found["us_per_signal"].idxmin()] == 1
    assert found["frontier"][found["nmse_db"].idxmin()] == 1
    assert set(found["frontier"]) == {0, 1}
    assert found["nmse_db"]["HyperLISTA 4, debias"] < found["nmse_db"]["HyperLISTA 4"] - 3
    assert {"OMPCoder", "FISTA, best alpha", "TISTA 12"} < set(found.index)
    assert (found.filter(like="OMP", axis=0)["nmse_db"] < -30).all()


def robust_inpainting(table):
    assert list(table["network"]) == [
        "plain", "plain + C-I and latent", "noise", "noise + C-I and latent"
    ]  # fmt: skip
    assert (table["clean"] > table["noise_3"]).all() and (
        table["noise_3"] > table["noise_10"]
    ).all()
    assert table["clean"].nunique() == 4  # each was trained, and in its own way
    assert table.filter(like="descending").isin([0, 1, 2]).all(axis=None)


def robust_training(table):
    assert table.groupby("problem").size().to_dict() == {"gaussian 30x60": 5, "tiles 4x4": 5}
    assert (table["noise_30"] > table["noise_1"]).all()
    from_ista = table["network"] == "noise 1 + C-II, from ISTA"
    best = table[from_ista].set_index("problem")["clean"]
    others = table[~from_ista].groupby("problem")["clean"].min()
    assert (best < 0.8 * others).all()


def sparse_coding(table):
    skipped = without_their_package()
    expected = {"floor", *(name for name in all_solvers() if name not in skipped)}
    assert set(table["solver"]) == expected and set(table["n_samples"]) == {40}
    assert (table.loc[table["solver"] == "floor", "ratio_to_floor"] == 1).all()
    for _, here in table[table["solver"] != "floor"].groupby("dataset"):
        excess = here.set_index("solver")["objective_excess"]
        assert excess.notna().all() and excess["lista"] < excess["ista_untrained"]
        assert here["nmse_db"].notna().all() == (here["dataset"] == "gaussian").all()


def memory(table):
    assert set(table["source"]) == {"map"} and list(table["method"]) == ["predict", "fit", "fit"]
    assert (table["ratio"] > 0).all() and (table["data_mb"] < 2).all()


def disk(table):
    assert list(table["model"]) == ["HyperLISTA", "LassoCoder", "OMPCoder"]
    assert (table["ratio"] > 0).all() and (table["codes_mb"] == 3000 * 32 * 4 / 1e6).all()
    assert (table["held_mb"] >= 0).all()


def sparse_layers(table):
    assert len(table) == 5 and set(table["dtype"]) == {"float32"}
    assert (table["nonzeros"] < 40).all() and (table["difference"] < 1e-3).all()
    assert (table[["ratio", "ratio_of_minima", "ratio_dense"]] > 0).all(axis=None)


def training_time(table):
    assert list(table["steps"]) == [60_000, 20]
    assert list(table["recipe"]) == ["published, extrapolated", "ours"]
    assert table["nmse_db"][1] < -5


CHECKS = (
    alpha_choice,
    bfloat16,
    block_sparse,
    certificate,
    clients,
    compressive_imaging,
    convolutional,
    dictionary_learning,
    disk,
    growth,
    l2o_rivals,
    math_l2o,
    missing_entries,
    prediction_floor,
)
CHECKS += (
    off_distribution,
    provable_l2o,
    recovery_frontier,
    robust_inpainting,
    robust_training,
    sparse_coding,
    sparse_layers,
)
CHECKS = {check.__name__: check for check in (*CHECKS, disk, memory, training_time)}


def without_their_package():
    return {n for n, cls in all_solvers().items() if cls.requires and not find_spec(cls.requires)}


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")  # of runpy
def test_every_study_runs_quickly(name, tmp_path, capsys, monkeypatch):
    study = STUDIES[name]
    monkeypatch.setattr(sys, "argv", [name, "--quick", "--output", str(tmp_path)])
    runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)
    printed = capsys.readouterr().out
    table = pd.read_csv(tmp_path / f"{name}.csv")
    assert list(table) == study.columns

    measures = table[study.measures.split()]
    assert np.isfinite(measures.to_numpy(float)[measures.notna()]).all()
    of_rivals = OF_RIVALS.get(name, {}).items()
    assert set(measures.columns[measures.isna().all()]) == {
        column for column, package in of_rivals if not find_spec(package)
    }
    assert (table["threads"] == 1).all() and "threads: torch 1," in printed
    assert table["options"].str.contains("--seed").all()
    assert table["versions"].str.contains(f"torch {torch.__version__}", regex=False).all()
    assert study.about[0] in printed and table["cpu"][0] in printed
    assert (tmp_path / f"{name}.png").exists() == (study.draw is not None)
    CHECKS[name](table)


def test_every_study_has_a_check():
    assert set(CHECKS) == set(STUDIES)
