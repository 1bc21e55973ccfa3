from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

import earwitness as ew
from earwitness.core.errors import PredictionsError, UsageError
from earwitness.core.estimate import Counts
from earwitness.core.predictions import Predictions
from earwitness.evaluation.schema import Metrics, read_metrics, write_metrics
from earwitness.evaluation.slices import Slice
from earwitness.evaluation.summarize import summarize
from earwitness.metrics.measures import METRICS, measure
from frames import audited, fail, keep, predictions

REAL, FAKE = pl.col("target") == 0, pl.col("target") == 1


def evaluate(*sources: Predictions | str | Path, **options: object) -> Metrics:
    return ew.evaluate(list(sources), n_resamples=60, **options)


def the(metrics: Metrics, kind: str, **keys: str) -> Slice:
    (found,) = [part for part in metrics.slices if part.kind == kind and part.keys == keys]
    return found


def test_every_slice_has_every_metric_with_an_interval_or_a_reason() -> None:
    metrics = evaluate(predictions())
    assert {tuple(part.estimates) for part in metrics.slices} == {tuple(METRICS)}
    for part in metrics.slices:
        for name, estimate in part.estimates.items():
            assert estimate.low is not None or estimate.reason, (part.name, name)


def test_metrics_are_those_of_the_rows() -> None:
    whole = predictions()
    overall = the(evaluate(whole), "overall")
    frame = whole.frame
    found = overall.estimates["auroc"]
    assert found.value == measure("auroc", frame["target"], frame["logit"])
    assert (found.n_items, found.n_groups) == (180, 60)
    assert found.low < found.value < found.high
    right = (frame["target"] == frame["pred_label"]).mean()
    assert overall.estimates["accuracy"].value == pytest.approx(right)
    assert overall.counts.n == 180
    assert overall.estimates["recall"].n_items == 120
    assert overall.estimates["specificity"].n_items == 60


def test_the_grid_crosses_reals_with_fakes() -> None:
    whole = predictions()
    metrics = evaluate(whole)
    cell = the(metrics, "grid", real_corpus="FMA", generator="suno", fake_corpus="SONICS")
    rows = whole.frame.filter(
        (REAL & (pl.col("source_dataset") == "FMA"))
        | ((pl.col("generator") == "suno") & (pl.col("source_dataset") == "SONICS"))
    )
    assert cell.estimates["auroc"].value == measure("auroc", rows["target"], rows["logit"])
    assert cell.name == "FMA × suno (SONICS)"
    assert len(metrics.where(kind="grid")) == 3 * 4
    one_corpus = evaluate(predictions(corpora=["FMA"]))
    assert [part.name for part in one_corpus.where(kind="grid")] == ["FMA × encodec", "FMA × suno"]


def test_one_class_says_so() -> None:
    metrics = evaluate(keep(predictions(corpora=["FMA"]), FAKE))
    overall = the(metrics, "overall")
    for name in ("auroc", "eer", "precision", "f1", "mcc", "brier", "cllr", "specificity"):
        assert overall.estimates[name].value is None
        assert overall.estimates[name].reason == "only fakes in this slice"
    assert overall.estimates["accuracy"].value == overall.estimates["recall"].value
    assert overall.no_curves == "only fakes in this slice"
    (row,) = metrics.table
    assert row.values["precision_fake"] == 1
    assert row.values["specificity_real"] is None
    assert row.by_construction == ["precision_fake", "f1_fake"]
    assert evaluate(predictions()).table[0].by_construction == []


def test_rows_abstained_from_are_counted_apart() -> None:
    whole = predictions(corpora=["FMA"], generators=["suno"])
    silent = pl.col("filepath").str.ends_with("/7.wav") & FAKE
    scores = pl.col("logit", "pred_prob", "pred_label")
    frame = whole.frame.with_columns(
        pl.when(~silent).then(scores), abstained=pl.when(silent).then(pl.lit("digital silence"))
    )
    metrics = evaluate(Predictions("mixed", "cnn", frame))
    covered = metrics.where(kind="overall")[0].coverage
    assert (covered.n_items, covered.n_scored, covered.n_abstained) == (120, 119, 1)
    assert (covered.n_failed, covered.n_missing, covered.n_fake_lost) == (0, 0, 1)
    assert (covered.errors, covered.abstentions) == ({}, {"digital silence": 1})
    (summary,) = summarize([Predictions("mixed", "cnn", frame)])
    assert (summary.row.counts.n, summary.n_abstained, summary.n_failed) == (119, 1, 0)


def test_lost_rows_are_in_no_metric_and_are_counted() -> None:
    whole = predictions(corpora=["FMA"], generators=["suno"])
    broken = fail(whole, pl.col("filepath").str.ends_with("/7.wav") & FAKE)
    other = Predictions("mixed", "other", keep(whole, pl.col("group_id") != "FMA:3").frame)
    metrics = evaluate(broken, other)
    first, second = (part.coverage for part in metrics.where(kind="dataset"))
    assert (first.n_items, first.n_scored, first.n_failed, first.n_missing) == (120, 119, 1, 0)
    assert (first.n_real_lost, first.n_fake_lost, first.errors) == (0, 1, {"broken": 1})
    assert (second.n_items, second.n_scored, second.n_failed, second.n_missing) == (120, 118, 0, 2)
    assert (second.n_real_lost, second.n_fake_lost) == (1, 1)
    assert (first.n_groups, first.n_groups_real, first.n_groups_fake) == (60, 60, 59)
    (overall, _) = metrics.where(kind="overall")
    kept = broken.frame.drop_nulls("logit")
    assert overall.estimates["auroc"].value == measure("auroc", kept["target"], kept["logit"])
    assert [row.n_lost for row in metrics.table] == [1, 2]
    lost = [c for c in metrics.checks if c.name == "rows_lost"]
    assert lost[0].detail == "1 of 120 items are not scored; most of FMA suno: 1 of 60"
    assert [c.verdict for c in lost] == ["note", "note"]


def test_an_item_in_two_datasets_counts_once_overall() -> None:
    whole = predictions()
    half = keep(whole, pl.col("source_dataset") == "FMA", "half")
    metrics = evaluate(whole, half)
    assert the(metrics, "overall").coverage.n_items == 180
    assert the(metrics, "dataset", dataset="half").coverage.n_items == 90
    assert the(metrics, "corpus", corpus="FMA").coverage.n_items == 90


def test_any_column_cuts() -> None:
    whole = predictions()
    frame = whole.frame.with_columns(lang=pl.lit("en"))
    frame = frame.with_columns(
        pl.when(pl.col("source_dataset") == "FMA").then("lang").alias("lang")
    )
    metrics = evaluate(Predictions("mixed", "cnn", frame), by=["lang"])
    assert the(metrics, "column", column="lang", value="en").coverage.n_items == 90
    assert the(metrics, "column", column="lang", value="unknown").coverage.n_items == 90
    with pytest.raises(UsageError, match=r"--by langs: no such column; did you mean 'lang'"):
        evaluate(Predictions("mixed", "cnn", frame), by=["langs"])


def test_a_threshold_replaces_the_decisions() -> None:
    whole = predictions()
    metrics = evaluate(whole, threshold=0.9)
    called = whole.frame["pred_prob"] >= 0.9
    overall = the(metrics, "overall")
    assert overall.counts.tp + overall.counts.fp == called.sum()
    assert metrics.provenance.settings.threshold == "0.9"
    with pytest.raises(UsageError, match="threshold 2, expected a number from 0 to 1"):
        evaluate(whole, threshold=2)


def test_labels_alone_give_rates_and_say_what_they_lack(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("target,pred_label\n" + "1,1\n0,0\n1,0\n" * 20)
    metrics = evaluate(path)
    overall = the(metrics, "overall")
    assert metrics.basis == "labels"
    assert overall.estimates["recall"].value == 0.5
    assert overall.estimates["auroc"].reason == "labels alone, no scores"
    assert overall.no_curves == "no scores to draw curves of"
    assert "60 items have no group_id" in metrics.notes[0]
    with pytest.raises(PredictionsError, match="labels alone"):
        evaluate(path, threshold=0.5)


def test_groups_not_items_make_an_interval() -> None:
    whole = predictions(n_tracks=9, corpora=["own"])
    overall = the(evaluate(whole), "overall")
    assert overall.estimates["auroc"].reason == "too few groups"
    assert overall.estimates["auroc"].value is not None
    loose = the(evaluate(Predictions("m", "cnn", whole.frame.drop("group_id"))), "overall")
    assert loose.estimates["recall"].low is not None


def abstain(given: Predictions, where: pl.Expr) -> Predictions:
    outputs = ("logit", "pred_prob", "pred_label")
    frame = given.frame.with_columns(
        *(pl.when(~where).then(pl.col(name)).alias(name) for name in outputs),
        abstained=pl.when(where).then(pl.lit("too short")),
    )
    return Predictions(given.dataset, given.detector, frame)


def test_selective_metrics_take_abstentions_as_neither_right_nor_wrong() -> None:
    whole = predictions(n_tracks=40)
    numbered = whole.frame.with_row_index("n")["n"]
    frame = whole.frame.with_columns(odd=numbered % 4 == 0)
    found = evaluate(abstain(Predictions("m", "cnn", frame), REAL & pl.col("odd")))
    part = the(found, "overall")
    kept = frame.filter(~(REAL & pl.col("odd")))
    values = {name: part.estimates[name].value for name in METRICS}
    n_real = frame.filter(REAL).height
    assert part.coverage.n_real_abstained == frame.height - kept.height > 0.15 * n_real
    assert part.coverage.n_fake_abstained == 0
    assert values["coverage"] == pytest.approx(kept.height / frame.height)
    wrong = (kept["target"] != kept["pred_label"]).mean()
    assert values["selective_risk"] == pytest.approx(wrong)
    assert values["tpr_abstained_unflagged"] == values["recall"]
    n_flagged = kept.filter(REAL & (pl.col("pred_label") == 1)).height
    assert n_flagged
    assert values["fpr_abstained_unflagged"] == pytest.approx(n_flagged / n_real)
    assert values["fpr_abstained_unflagged"] < 1 - values["specificity"]
    assert part.estimates["coverage"].n_items == frame.height
    curve = part.curves.risk_coverage
    assert curve.coverage[-1] == pytest.approx(values["coverage"])
    assert curve.risk[-1] == pytest.approx(wrong)
    assert curve.confidence == sorted(curve.confidence, reverse=True)
    (check,) = [one for one in found.checks if one.name == "abstentions"]
    assert check.verdict == "warning"
    assert f"{part.coverage.n_real_abstained} of {n_real} reals" in check.detail
    assert not [one for one in evaluate(whole).checks if one.name == "abstentions"]


def test_a_detector_that_abstains_from_all_has_no_coverage_and_no_risk() -> None:
    part = the(evaluate(abstain(predictions(n_tracks=12), pl.lit(value=True))), "overall")
    assert part.estimates["coverage"].value == 0
    assert part.estimates["selective_risk"].reason
    assert part.estimates["tpr_abstained_unflagged"].value == 0
    assert part.estimates["recall"].reason == "no scored items in this slice"


def test_confidence_is_the_distance_from_the_threshold_of_the_decisions() -> None:
    whole = predictions()
    moved = whole.frame.with_columns(
        pl.col("logit") + 3, pred_prob=1 / (1 + (-pl.col("logit") - 3).exp())
    )
    ours = the(evaluate(whole), "overall").estimates
    other = the(evaluate(Predictions("m", "cnn", moved)), "overall").estimates
    assert other["aurc"].value == pytest.approx(ours["aurc"].value, abs=0.02)
    turned = whole.frame.with_columns(pl.col("logit") * -1, 1 - pl.col("pred_prob"))
    reason = the(evaluate(Predictions("m", "cnn", turned)), "overall").estimates["aurc"].reason
    assert reason == "no threshold on logits that gives the decisions"


def test_a_detector_that_failed_everywhere_is_undefined_everywhere() -> None:
    metrics = evaluate(fail(predictions(n_tracks=10), pl.lit(value=True)))
    overall = the(metrics, "overall")
    assert {e.reason for e in overall.estimates.values()} == {"no scored items in this slice"}
    assert overall.counts == Counts(0, 0, 0, 0)
    assert overall.coverage.n_failed == 30


def test_writing_and_reading_changes_nothing(tmp_path: Path) -> None:
    metrics = evaluate(predictions(), audit=audited("d1"), seed=3)
    write_metrics(metrics, tmp_path / "metrics.json")
    assert read_metrics(tmp_path / "metrics.json") == metrics
    assert metrics.audit == audited("d1")
    assert "NaN" not in (tmp_path / "metrics.json").read_text()
    write_metrics(evaluate(predictions(), audit=audited("d1"), seed=3), tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "metrics.json").read_bytes()


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_metrics(evaluate(predictions(n_tracks=10)), path)
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | {"extra": 1}))
    with pytest.raises(PredictionsError, match=r"metrics.json: extra: .*expected a metrics.json"):
        read_metrics(path)


def test_sources_carry_their_hashes(tmp_path: Path) -> None:
    path = tmp_path / "preds" / "mixed" / "cnn.csv"
    path.parent.mkdir(parents=True)
    ew.write_predictions(predictions(n_tracks=10).frame, path)
    (source,) = evaluate(tmp_path).provenance.sources
    assert (source.detector, source.dataset, source.n_rows) == ("cnn", "mixed", 30)
    assert len(source.sha256 or "") == 64


def test_nothing_to_evaluate() -> None:
    with pytest.raises(UsageError, match="no predictions, expected a prediction file or more"):
        evaluate()


def test_the_worst_mistakes_come_first() -> None:
    (info,) = evaluate(predictions()).detectors
    alarms = [mistake.logit for mistake in info.worst_false_alarms]
    assert alarms == sorted(alarms, reverse=True)
    assert all(
        mistake.target == 0 and mistake.generator is None for mistake in info.worst_false_alarms
    )
    misses = [mistake.logit for mistake in info.worst_misses]
    assert misses == sorted(misses)
    assert len(misses) == 10
    assert {mistake.generator for mistake in info.worst_misses} <= {"encodec", "suno"}


def test_curves_are_thin_and_go_from_corner_to_corner() -> None:
    overall = the(evaluate(predictions(n_tracks=400)), "overall")
    roc, det = overall.curves.roc, overall.curves.det
    assert (roc.fpr[0], roc.tpr[0], roc.threshold[0]) == (0, 0, None)
    assert (roc.fpr[-1], roc.tpr[-1]) == (1, 1)
    assert len(roc.fpr) <= 200
    assert roc.fpr == sorted(roc.fpr)
    assert roc.threshold[1:] == sorted(roc.threshold[1:], reverse=True)
    assert len(det.fpr) == len(det.probit_fnr)
    assert sum(overall.histograms[0].real) == 400
    assert sum(overall.histograms[1].fake) == 800
    assert sum(part.n for part in overall.reliability) == 1200
