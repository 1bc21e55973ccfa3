from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.core.errors import UsageError
from earwitness.core.predictions import Predictions
from earwitness.evaluation.evaluate import evaluate
from earwitness.evaluation.schema import Metrics
from earwitness.evaluation.slices import StratumThreshold
from earwitness.metrics.sweep import conformal_threshold
from earwitness.report.metric_tables import strata_table
from frames import predictions

FEW = 100


def with_codec(n_tracks: int = 400) -> Predictions:
    """Half of the tracks are FLAC, most others MP3, and a few AAC; MP3 raises every score by 3."""
    whole = predictions(n_tracks=n_tracks)
    track = pl.col("group_id").str.extract(r"(\d+)$").cast(pl.Int64)
    codec = pl.when(track % 2 == 0).then(pl.lit("flac")).otherwise(pl.lit("mp3"))
    frame = whole.frame.with_columns(
        pl.when(track < 16).then(pl.lit("aac")).otherwise(codec).alias("codec")
    ).with_columns(pl.col("logit") + pl.when(codec="mp3").then(3.0).otherwise(0.0))
    prob = 1 / (1 + (-pl.col("logit")).exp())
    frame = frame.with_columns(pred_prob=prob, pred_label=(prob >= 0.5).cast(pl.Int8))
    return Predictions(whole.dataset, whole.detector, frame)


def by_codec(metrics: Metrics) -> dict[str, StratumThreshold]:
    return {one.stratum["codec"]: one for one in metrics.strata}


@given(
    scores=st.lists(st.integers(-3, 3), min_size=1, max_size=25),
    fpr=st.sampled_from([0.1, 0.25, 0.5]),
)
def test_the_threshold_is_just_above_the_kth_highest_score(scores: list[int], fpr: float) -> None:
    found = conformal_threshold([0] * len(scores), scores, range(len(scores)), fpr)
    if len(scores) + 1 < 1 / fpr:
        assert math.isnan(found)
        return
    n_above = sum(score >= found for score in scores)
    assert (n_above + 1) / (len(scores) + 1) <= fpr + 1e-9  # the new real counts as flagged
    lower = math.nextafter(found, -math.inf)
    assert (sum(s >= lower for s in scores) + 1) / (len(scores) + 1) > fpr or lower in scores


def test_a_group_counts_once_by_its_highest_score() -> None:
    score, group = [0.1, 0.9, 0.2, 0.3, 9.0], [0, 0, 1, 2, 3]
    found = conformal_threshold([0, 0, 0, 0, 1], score, group, 0.5)
    assert found == np.nextafter(0.3, 1)  # of 0.9, 0.2 and 0.3 the second, without the fake
    assert math.isnan(conformal_threshold([0] * 8, range(8), [0, 1] * 4, 0.25))


def test_new_reals_are_flagged_as_often_as_asked_for() -> None:
    rng, flagged = np.random.default_rng(0), []
    for _ in range(400):
        reals = rng.standard_t(3, 39)
        threshold = conformal_threshold([0] * 39, reals, range(39), 0.05)
        flagged.append((rng.standard_t(3, 500) >= threshold).mean())
    assert np.mean(flagged) == pytest.approx(0.05, abs=3 * np.std(flagged) / 20)


def test_each_stratum_keeps_its_rate() -> None:
    pooled = evaluate([with_codec()], threshold="conformal=0.1", by=["codec"], n_resamples=FEW)
    within = evaluate([with_codec()], threshold="conformal=0.1", within=["codec"], n_resamples=FEW)
    worst = max(
        1 - (part.estimates["specificity"].value or 0)
        for part in pooled.where(kind="column")
        if part.keys["value"] == "mp3"
    )
    found = by_codec(within)
    assert list(found) == ["aac", "flac", "mp3"]
    assert worst > 0.2  # one threshold for all flags the louder codec
    for codec in ("flac", "mp3"):
        fpr = found[codec].fpr
        assert fpr.low is not None
        assert fpr.low <= 0.1 <= (fpr.high or 0)
        assert fpr.conditional_on == f"threshold {found[codec].threshold:.4g}"
    assert (found["mp3"].threshold or 0) > (found["flac"].threshold or 1)


def test_a_stratum_without_enough_reals_is_abstained_from() -> None:
    metrics = evaluate([with_codec()], threshold="conformal=0.1", within=["codec"], n_resamples=FEW)
    lacking = by_codec(metrics)["aac"]
    assert lacking.threshold is None
    assert lacking.reason == "needs 9 groups of reals to fit on, found 7"
    assert not lacking.fpr.is_defined
    (overall,) = metrics.where(kind="overall")
    assert overall.coverage.n_abstained == 27
    assert overall.coverage.abstentions == {f"no threshold for aac: {lacking.reason}": 27}
    assert (
        "cnn abstains from 1 of 3 strata, which have no threshold by conformal=0.1."
        in metrics.notes
    )
    given = overall.estimates["recall"].conditional_on
    assert given == "thresholds by codec, fitted on the calibration half"
    table = strata_table(metrics.strata)
    assert [row.cells[1].text for row in table.rows] == ["aac", "flac", "mp3"]


def test_no_stratum_with_a_threshold_is_told_and_nothing_is_decided() -> None:
    metrics = evaluate([with_codec(40)], threshold="fpr=0.01", within=["codec"], n_resamples=FEW)
    (point,) = metrics.operating_points
    assert point.reason is not None
    assert point.reason.startswith("no stratum has one; needs 100 groups of reals to fit on, found")
    (overall,) = metrics.where(kind="overall")
    assert overall.coverage.n_scored == 0


def test_strata_of_two_columns_and_of_calibration_files() -> None:
    first = predictions(n_tracks=200, seed=1)
    renamed = first.frame.with_columns(
        pl.col("filepath").str.replace(r"/(\d+)\.wav", "/1000$1.wav"), pl.col("group_id") + "000"
    )
    calibration = Predictions("fit", "cnn", renamed.with_columns(codec=pl.lit("mp3")))
    reported = predictions().frame.with_columns(codec=pl.lit("mp3"))
    metrics = evaluate(
        [Predictions("mixed", "cnn", reported)],
        threshold="conformal=0.05",
        within=["source_dataset", "codec"],
        calibration=[calibration],
        n_resamples=FEW,
    )
    assert [one.stratum for one in metrics.strata] == [
        {"source_dataset": name, "codec": "mp3"} for name in ("FMA", "SONICS")
    ]
    assert sum(one.fpr.n_items for one in metrics.strata) == 60
    assert json.loads(metrics.model_dump_json())["strata"][0]["n_fitted"] == 300


def test_within_needs_a_rule_to_fit(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="within codec, expected a threshold rule to fit"):
        evaluate([with_codec(40)], within=["codec"])
    with pytest.raises(UsageError, match="genre: no such column"):
        evaluate([with_codec(40)], threshold="conformal=0.1", within=["genre"])
