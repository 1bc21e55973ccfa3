from __future__ import annotations

import polars as pl
import pytest

import earwitness as ew
from earwitness.audit.schema import CheckResult
from earwitness.core.estimate import Estimate
from earwitness.evaluation.schema import Check, Metrics
from earwitness.report import formatting
from earwitness.report.headline import write_headline
from frames import audited, fail, keep, predictions


def metrics_of(*sources: ew.Predictions) -> Metrics:
    return ew.evaluate(list(sources), n_resamples=60)


@pytest.fixture(scope="module")
def plain() -> Metrics:
    """One detector."""
    return metrics_of(predictions())


def turned(whole: ew.Predictions, generator: str) -> ew.Predictions:
    """The same with the scores of one generator's fakes turned round, far."""
    own = pl.col("generator").eq_missing(pl.lit(generator))
    frame = whole.frame.with_columns(
        pl.when(own).then(-2 * pl.col("logit")).otherwise("logit").alias("logit")
    )
    return ew.Predictions(whole.dataset, whole.detector, frame)


def test_the_weakness_of_the_best_is_named() -> None:
    lead = write_headline(metrics_of(turned(predictions(shift=5, n_tracks=160), "suno"))).lead
    assert lead.startswith("cnn separates real from fake with an AUROC of 0.")
    assert "It fails on suno against the reals of" in lead


def test_chance_is_not_shown_to_be_beaten() -> None:
    one = metrics_of(predictions(shift=0, n_tracks=40))
    lead = write_headline(one).lead
    assert lead.startswith("cnn is not shown to do better than chance, with an AUROC of 0.")
    assert "] on 120 items of 40 groups." in lead
    two = metrics_of(
        predictions(shift=0, n_tracks=40), predictions(shift=0, n_tracks=40, seed=3, detector="b")
    )
    assert "Of 2 detectors, none is shown to do better than chance" in write_headline(two).lead


def test_a_wide_interval_is_not_called_chance() -> None:
    few = predictions(shift=0.5, n_tracks=12, generators=["suno"], corpora=["FMA"])
    lead = write_headline(metrics_of(few)).lead
    assert "is not shown to do better than chance" in lead
    assert "on 24 items of 12 groups" in lead
    assert "does not do better" not in lead


def test_worse_than_chance_is_said() -> None:
    lead = write_headline(metrics_of(predictions(shift=-3, n_tracks=40))).lead
    assert lead.startswith("cnn does worse than chance, with an AUROC of 0.")


def test_decisions_that_beat_chance_are_named_where_the_order_does_not() -> None:
    whole = predictions(n_tracks=100, generators=["suno"], corpora=["FMA"])
    own = pl.col("group_id").str.split(":").list.get(1).cast(pl.Int64) % 10 < 7
    usual = pl.when(pl.col("target") == 1).then(0.6).otherwise(0.4)
    odd = pl.when(pl.col("target") == 1).then(0.1).otherwise(0.9)
    prob = pl.when(own).then(usual).otherwise(odd)
    frame = whole.frame.with_columns(prob.alias("pred_prob"))
    frame = frame.with_columns(
        (pl.col("pred_prob") / (1 - pl.col("pred_prob"))).log().alias("logit"),
        (pl.col("pred_prob") >= 0.5).cast(pl.Int8).alias("pred_label"),
    )
    lead = write_headline(metrics_of(ew.Predictions("d", "cnn", frame))).lead
    assert "is not shown to do better than chance, with an AUROC of 0.490" in lead
    assert "; its decisions are better than chance, balanced accuracy 0.700 [0." in lead


def test_ties_are_ties() -> None:
    near = metrics_of(
        predictions(detector="a", shift=3.0),
        predictions(detector="b", shift=3.02),
        predictions(detector="c", shift=0.6),
    )
    lead = write_headline(near).lead
    assert "Of 3 detectors, b ranks first, with an AUROC of 0." in lead
    assert "; a is not shown to differ from it; c ranks last, with 0." in lead
    assert " best" not in lead


@pytest.fixture(scope="module")
def far() -> Metrics:
    """Two detectors whose intervals do not overlap."""
    return metrics_of(
        predictions(detector="a", shift=6), predictions(detector="b", shift=1, seed=1)
    )


def test_the_best_is_one_whose_interval_is_apart_from_all_others(far: Metrics) -> None:
    assert "Of 2 detectors, a separates real from fake best, with" in write_headline(far).lead


def test_a_slice_of_two_fakes_is_not_where_it_fails() -> None:
    whole = turned(predictions(shift=5, generators=["encodec", "suno", "rare"]), "rare")
    rare = pl.col("generator").eq_missing(pl.lit("rare"))
    few = keep(whole, ~rare | pl.col("group_id").is_in(["FMA:0", "FMA:2"]))
    lead = write_headline(metrics_of(few)).lead
    assert "on rare" not in lead
    assert " slices are too small to compare" in lead


def test_a_generator_whose_files_all_failed_is_no_success() -> None:
    whole = predictions(shift=7, n_tracks=80)
    lead = write_headline(
        metrics_of(fail(whole, pl.col("generator").eq_missing(pl.lit("suno"))))
    ).lead
    assert "is robust" not in lead
    assert "80 items have no score" in lead
    assert "on suno" not in lead
    assert "specificity" not in lead


def test_a_robust_detector_is_shown_with_its_lowest_slice() -> None:
    lead = write_headline(metrics_of(predictions(shift=7))).lead
    assert "It is robust across slices: its lowest AUROC is" in lead


def test_best_and_worst_with_overlapping_intervals_are_tied(far: Metrics) -> None:
    near = metrics_of(predictions(detector="a"), predictions(detector="b", seed=1))
    assert any("their order may be chance" in caveat for caveat in write_headline(near).caveats)
    assert write_headline(far).caveats == []


def test_warnings_and_missing_intervals_are_caveats() -> None:
    whole = predictions(n_tracks=8)
    lost = fail(whole, pl.col("group_id") == "FMA:0")
    caveats = write_headline(metrics_of(lost)).caveats
    assert caveats == [
        "No interval is possible: too few groups.",
        "1 check warns that metrics may mislead: see Checks.",
    ]


def finding(name: str, scope: str, n_rows: int, **figures: object) -> CheckResult:
    return CheckResult.model_validate(
        {"name": name, "title": name, "scope": scope, "verdict": "finding", "detail": "d"}
        | {"advice": "a", "n_rows": n_rows, "n_checked": 360, "figures": figures}
    )


def slice_of(generator: str, auroc: float, *, is_finding: bool) -> dict[str, object]:
    keys = {"real_corpus": "all", "generator": generator, "fake_corpus": "all"}
    return {**keys, "auroc": auroc, "finding": is_finding}


def test_overlap_and_length_are_in_the_headline(far: Metrics) -> None:
    plain = far
    checks = [
        finding("exposure_b", "exposure", 7),
        finding("exposure_a", "exposure", 12),
        finding("bytes_across", "across", 1),
        finding("track_across", "across", 30),
        finding("bytes_inside", "inside", 99),
        finding(
            "alone_duration_s",
            "shortcuts",
            0,
            slices=[
                slice_of("suno", 0.98, is_finding=True),
                slice_of("udio", 0.01, is_finding=True),
                slice_of("all", 0.6, is_finding=False),
            ],
        ),
    ]
    found = plain.model_copy(update={"audit": audited("d1", checks=checks)})
    lead = write_headline(found).lead
    assert lead.startswith(write_headline(plain).lead)
    assert lead.endswith(
        "Interpret with care: a was trained or selected on 12 of 360 rows, as was b on its own; "
        "30 of 360 rows overlap with a set that must be disjoint; "
        "length alone separates fakes on udio from reals, AUROC 0.010."
    )
    assert "6 audit checks have findings: see Audit." in write_headline(found).caveats


def test_rows_of_several_manifests_are_distinguished_from_items(plain: Metrics) -> None:
    audit = audited("d1", checks=[finding("track_across", "across", 30)])
    sets = [audit.manifests[0].model_copy(update={"n_rows": 180, "name": n}) for n in "ab"]
    found = plain.model_copy(update={"audit": audit.model_copy(update={"manifests": sets})})
    n_items = plain.slices[0].coverage.n_items
    assert write_headline(found).lead.endswith(
        f" Rows are counted in 2 manifests: {n_items} items have 360 rows."
    )
    alone = plain.model_copy(update={"audit": audit.model_copy(update={"manifests": sets[:1]})})
    assert "Rows are counted" not in write_headline(alone).lead


@pytest.mark.parametrize("verdict", ["warning", "note"])
def test_an_audit_of_other_rows_says_nothing_of_these(plain: Metrics, verdict: str) -> None:
    bound = Check(detector=None, name="audit_bound", verdict=verdict, detail="of others")
    found = plain.model_copy(
        update={
            "audit": audited("d1", checks=[finding("exposure_cnn", "exposure", 7)]),
            "checks": [*plain.checks, bound],
        }
    )
    assert write_headline(found).lead == write_headline(plain).lead
    caveat = "The audit may cover other rows than these and is not used here: see Audit."
    assert caveat in write_headline(found).caveats


def test_no_ranking_without_scored_items() -> None:
    every = keep(predictions(), pl.col("target") == 1)
    lead = write_headline(metrics_of(fail(every, pl.lit(True)))).lead
    assert lead == ("No detector can be ranked: no scored items in this slice.")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.000"), (0.0002, "<0.001"), (0.5, "0.500"), (0.9998, ">0.999"), (1, "1.000")],
)
def test_values_are_not_rounded_to_0_or_1(value: float, text: str) -> None:
    assert formatting.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 %"),
        (0.0001, "< 0.1 %"),
        (0.027, "2.7 %"),
        (0.5, "50 %"),
        (0.955, "95.5 %"),
        (0.9999, "> 99.9 %"),
        (1, "100 %"),
    ],
)
def test_shares_are_not_rounded_to_none_or_all(value: float, text: str) -> None:
    assert formatting.percent(value) == text


def test_an_estimate_has_its_interval_or_the_reason_why_it_has_none() -> None:
    whole = Estimate(value=0.5, low=0.25, high=0.75, n_items=1234, n_groups=12, method="m")
    assert formatting.full_estimate(whole) == "0.500 [0.250,\u00a00.750]"
    assert formatting.sample_size(whole) == "1\u202f234 items of 12 groups"
    assert (
        formatting.full_estimate(Estimate(value=0.5, reason="too few groups"))
        == "0.500 (too few groups)"
    )
    assert formatting.full_estimate(Estimate(reason="only fakes")) == "undefined, only fakes"
