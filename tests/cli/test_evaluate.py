"""``evaluate`` and ``compare``, from prediction files to tables."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from earwitness.core.metrics import read_metrics
from earwitness.manifests.asvspoof import write_scores
from earwitness.manifests.scores import write_predictions
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
    row = next(line for line in printed.splitlines() if line.startswith(" overall"))
    assert row.split()[1:4] == ["177", "59", "3"]
    assert f"{overall.value:.3f} [.{1000 * overall.low:.0f}, .{1000 * overall.high:.0f}]" in row
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
    assert "177 items that both scored; 3 others left out" in printed


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
    assert "60 items that both scored; 0 others left out" in printed


def test_compare_refuses_what_has_nothing_in_common(run: Run, runs: Path) -> None:
    fma, sonics = (runs / "one" / "preds" / name for name in ("FMA", "SONICS"))
    code, _, err = run("compare", fma, sonics)
    assert code == 2
    assert err.strip().endswith("no item that both scored, expected common rows")
