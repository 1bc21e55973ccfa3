"""``evaluate`` and ``compare``, from prediction files to tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from earwitness.evaluation.schema import read_metrics
from earwitness.report.metric_tables import estimates_tables
from earwitness.scoring.asvspoof import write_scores
from earwitness.scoring.prediction_files import write_predictions
from frames import fail, keep, predictions

Run = Callable[..., tuple[int, str, str]]
FEW = ("--resamples", 100)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two detectors on two datasets; one failed on an item."""
    for detector, seed in (("one", 0), ("two", 1)):
        whole = fail(
            predictions(detector=detector, seed=seed, shift=1 + 2 * seed),
            (pl.col("group_id") == "FMA:0") & (pl.lit(detector) == "one"),
        )
        for corpus in ("FMA", "SONICS"):
            part = keep(whole, pl.col("source_dataset") == corpus)
            write_predictions(
                part.frame, tmp_path / detector / "preds" / corpus / f"{detector}.csv"
            )
    return tmp_path


def test_evaluate_prints_a_table_and_writes_json_and_csv(run: Run, runs: Path) -> None:
    out = runs / "metrics.json"
    code, printed, err = run("evaluate", runs / "one", runs / "two", "--out", out, *FEW)
    assert code == 0, err
    metrics = read_metrics(out)
    assert [d.name for d in metrics.detectors] == ["one", "two"]
    overall = metrics.where(kind="overall")[0].estimates["auroc"]
    row = next(line for line in printed.splitlines() if line.startswith("overall"))
    assert row.split()[1:4] == ["177", "59", "3"]
    assert f"{overall.value:.3f} .{1000 * overall.low:.0f}–.{1000 * overall.high:.0f}" in row
    assert "3 of 180 items are not scored" in err
    assert "log-likelihood ratio" in err
    with (runs / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(part.estimates) for part in metrics.slices)
    found = next(r for r in rows if (r["slice"], r["metric"]) == ("overall", "auroc"))
    assert float(found["value"]) == overall.value
    undefined = next(r for r in rows if r["kind"] == "generator" and r["metric"] == "auroc")
    assert (undefined["value"], undefined["reason"]) == ("", "only fakes in this slice")


def test_evaluate_by_a_column_at_a_threshold(run: Run, runs: Path) -> None:
    out = runs / "metrics.json"
    code, printed, _ = run(
        *("evaluate", runs / "one", "--out", out, "--by", "split", "--threshold", 0.8, *FEW)
    )
    assert code == 2
    code, printed, _ = run(
        *("evaluate", runs / "one", "--out", out, "--by", "generator", "--threshold", 0.8, *FEW)
    )
    assert code == 0
    assert "generator suno" in printed
    assert "only fakes in this slice" in printed
    settings = read_metrics(out).provenance.settings
    assert (settings.threshold, settings.by, settings.n_resamples) == ("0.8", ["generator"], 100)


def test_tables_fit_80_columns_and_lose_nothing(run: Run, runs: Path) -> None:
    arguments = (
        "evaluate",
        runs / "one",
        "--out",
        runs / "metrics.json",
        "--by",
        "generator",
        *FEW,
    )
    run(*arguments)
    slices = read_metrics(runs / "metrics.json").slices
    consoled = Console(width=80, file=io.StringIO())
    for table in estimates_tables(slices):
        consoled.print(table)
    printed = consoled.file.getvalue()
    assert "…" not in printed
    for part in slices:
        for name in ("auroc", "recall"):
            estimate = part.estimates[name]
            if estimate.value is not None:
                assert f"{estimate.value:.3f}" in printed
            if estimate.low not in (None, 0) and estimate.high not in (None, 1):
                low, high = (f"{end:.3f}"[1:] for end in (estimate.low, estimate.high))
                assert f"{low}–{high}" in printed


def test_evaluate_at_a_threshold_that_another_file_gave(run: Run, runs: Path) -> None:
    out = runs / "metrics.json"
    fma, sonics = (runs / "one" / "preds" / name for name in ("FMA", "SONICS"))
    code, printed, err = run(
        *("evaluate", sonics, "--out", out, "--threshold", "fpr=0.2", "--calibration", fma),
        *("--calibrate", "platt", *FEW),
    )
    assert code == 0, err
    metrics = read_metrics(out)
    (point,) = metrics.operating_points
    assert point.rule == "fpr=0.2"
    assert f"{point.threshold:.4g}" in printed
    (fitted,) = metrics.calibrations
    assert fitted.scale > 0
    assert all(part.coverage.n_items <= 90 for part in metrics.slices)
    recall = metrics.where(kind="overall")[0].estimates["recall"]
    assert recall.conditional_on is not None
    whole = pl.concat([pl.read_csv(path) for path in fma.glob("*.csv")])
    reals = whole.filter(pl.col("target") == 0)
    scores = reals["pred_prob"].drop_nulls().to_numpy()
    logits = np.log(scores / (1 - scores))
    as_fitted = 1 / (1 + np.exp(-(fitted.scale * logits + fitted.offset)))
    assert np.mean(as_fitted >= point.threshold) <= 0.2


def test_evaluate_writes_asvspoof_files_that_say_the_same(run: Run, runs: Path) -> None:
    folder, out = runs / "asv", runs / "metrics.json"
    source = runs / "two" / "preds" / "FMA"
    code, _, err = run("evaluate", source, "--out", out, "--asvspoof-out", folder, *FEW)
    assert code == 0, err
    (keys,) = folder.glob("*.key.tsv")
    (scores,) = set(folder.iterdir()) - {keys}
    again = runs / "again.json"
    code, _, err = run("evaluate", scores, "--key", keys, "--out", again, *FEW)
    assert code == 0, err
    first, second = (read_metrics(path).where(kind="overall")[0] for path in (out, again))
    for name in ("auroc", "eer", "average_precision"):
        assert second.estimates[name].value == pytest.approx(first.estimates[name].value, abs=1e-9)


def test_costs_move_the_costs_alone(run: Run, runs: Path) -> None:
    out, other = runs / "metrics.json", runs / "other.json"
    assert run("evaluate", runs / "one", "--out", out, *FEW)[0] == 0
    assert (
        run("evaluate", runs / "one", "--out", other, "--p-fake", 0.5, "--c-miss", 1, *FEW)[0] == 0
    )
    first, second = (read_metrics(path).where(kind="overall")[0] for path in (out, other))
    differ = {
        name
        for name, estimate in first.estimates.items()
        if estimate.value != second.estimates[name].value
    }
    assert differ == {"min_dcf", "act_dcf"}


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--threshold", "fpr=2", "fpr=2"),
        ("--threshold", "best", "best"),
        ("--calibrate", "isotonic", "isotonic"),
        ("--p-fake", "1.5", "1.5"),
        ("--audit", "no.json", "no.json"),
        ("--calibration", "nowhere", "nowhere"),
    ],
)
def test_a_wrong_option_is_one_line(
    run: Run, runs: Path, option: str, value: str, told: str
) -> None:
    out = runs / "metrics.json"
    extra = () if option == "--threshold" else ("--threshold", "eer")
    code, _, err = run("evaluate", runs / "one", "--out", out, option, value, *extra)
    assert code == 2
    (line,) = err.strip().splitlines()
    assert line.startswith("earwitness: ")
    assert told in line
    assert not out.exists()


def test_the_same_seed_gives_the_same_bytes(run: Run, runs: Path) -> None:
    files = [runs / "a.json", runs / "b.json", runs / "c.json"]
    for file, seed in zip(files, (1, 1, 2), strict=True):
        assert run("evaluate", runs / "one", "--out", file, "--seed", seed, *FEW)[0] == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    ends = [read_metrics(file).where(kind="overall")[0].estimates["eer"].low for file in files]
    assert ends[1] != ends[2]


def test_compare_prints_both_and_the_difference(run: Run, runs: Path) -> None:
    code, printed, err = run("compare", runs / "one", runs / "two")
    assert code == 0, err
    assert "first: one" in printed
    assert "overall: 177 items, 59 groups" in printed
    assert "clustered DeLong" in printed
    assert "177 items scored by both; 3 others excluded" in printed


def test_compare_two_runs_detector_by_detector(run: Run, tmp_path: Path) -> None:
    for folder, seed in (("a", 0), ("b", 5)):
        for at, detector in enumerate(("cnn", "vit", folder)):
            frame = predictions(n_tracks=20, detector=detector, seed=seed + at).frame
            write_predictions(frame, tmp_path / folder / "preds" / "mixed" / f"{detector}.csv")
    code, printed, err = run("compare", tmp_path / "a", tmp_path / "b")
    assert code == 0, err
    firsts = [line for line in printed.splitlines() if line.startswith("first:")]
    assert firsts == [f"first: {name} in {tmp_path / 'a'}" for name in ("cnn", "vit")]
    assert "Holm: corrected for 20 tests" in printed
    assert f"a in {tmp_path / 'a'} has no counterpart" in err.replace("\n", "")


def test_compare_asvspoof_score_files(run: Run, tmp_path: Path) -> None:
    for detector, seed in (("cnn", 0), ("vit", 1)):
        found = predictions(n_tracks=20, detector=detector, seed=seed)
        write_scores(found, tmp_path / f"{detector}.tsv", tmp_path / "key.tsv")
    files = tmp_path / "cnn.tsv", tmp_path / "vit.tsv"
    code, _, err = run("compare", *files)
    assert code == 2
    assert "expected a key file with it (--key)" in err
    code, printed, err = run("compare", *files, "--key", tmp_path / "key.tsv")
    assert code == 0, err
    assert "overall: 60 items, 60 groups" in printed
    assert "60 items scored by both; 0 others excluded" in printed


def test_compare_refuses_what_has_nothing_in_common(run: Run, runs: Path) -> None:
    fma, sonics = (runs / "one" / "preds" / name for name in ("FMA", "SONICS"))
    code, _, err = run("compare", fma, sonics)
    assert code == 2
    assert err.strip().endswith("no item that both scored, expected common rows")


def test_abstentions_of_one_sided_detectors_are_counted_on_the_way(
    tmp_path: Path, run: Run
) -> None:
    silent = pl.col("group_id").is_in(["FMA:2", "FMA:4"])
    whole = fail(predictions(detector="comb"), pl.col("group_id") == "FMA:0").frame
    outputs = [pl.when(~silent).then(n).alias(n) for n in ("logit", "pred_prob", "pred_label")]
    frame = whole.with_columns(*outputs, abstained=pl.when(silent).then(pl.lit("too short")))
    write_predictions(frame, tmp_path / "preds" / "mixed" / "comb.csv")
    table, page = tmp_path / "table.csv", tmp_path / "report.html"
    code, _, err = run("summarize", tmp_path / "preds", "--output-csv", table)
    assert (code, "6 rows abstained from" in err) == (0, True)
    (row,) = csv.DictReader(io.StringIO(table.read_text()))
    assert (row["n"], row["n_lost"], row["n_abstained"], row["one_sided"]) == (
        "171",
        "9",
        "6",
        "true",
    )
    for source in (table, tmp_path / "metrics.json"):
        if source.suffix == ".json":
            asked = ("--out", source, "--resamples", 100)
            assert run("evaluate", tmp_path / "preds", *asked)[0] == 0
        assert run("report", source, "--out", page)[0] == 0
        text = page.read_text(encoding="utf-8")
        assert "no trace" in text
        assert "abstained" in text
        assert "called real" not in text.partition("Comparison table")[0].partition("Decisions")[2]
    assert run("plot", "--input-csv", table, "--out-dir", tmp_path / "plots")[0] == 0
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["mixed__comb.png"]
