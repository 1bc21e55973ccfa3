"""SONICS by its authors' partitions."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import earwitness as ew
from earwitness.core.predictions import Predictions
from earwitness.evaluation.slices import partition_columns
from earwitness.metrics.compute import count_decisions
from earwitness.metrics.measures import measure_counts
from frames import predictions


def song(**cells: object) -> tuple[str | None, ...]:
    row = {"source_dataset": "SONICS", "target": 1} | cells
    frame = pl.DataFrame([row], schema_overrides={"target": pl.Int8})
    return frame.select(partition_columns(frame)).row(0)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (
            {"algorithm": "chirp-v3", "label": "half fake", "duration_s": 60.0},
            ("chirp-v3", None, "half fake", "short"),
        ),
        ({"label": "Mostly_Fake", "duration_s": 60.5}, (None, None, "mostly fake", "medium")),
        ({"generator": "udio-120s", "duration": "120"}, ("udio-120s", None, None, "medium")),
        (
            {"target": 0, "artist_overlap": "True", "label": "real", "duration_s": 121.0},
            (None, "seen", None, "long"),
        ),
        ({"target": 0, "artist_overlap": "False"}, (None, "unseen", None, None)),
        ({"target": 0, "artist_overlap": " "}, (None, None, None, None)),
        ({"artist_overlap": "True"}, (None, None, None, None)),
        ({"source_dataset": "FMA", "algorithm": "x", "duration_s": 5.0}, (None,) * 4),
        (
            {"source_dataset": None, "artist_overlap": "x", "label": "full fake"},
            (None, None, "full fake", None),
        ),
        ({"source_dataset": None, "label": "full fake"}, (None,) * 4),
    ],
)
def test_values(cells: dict[str, object], expected: tuple[str | None, ...]) -> None:
    assert song(**cells) == expected


def test_slices_have_the_published_metric_as_headline() -> None:
    whole = predictions(n_tracks=80, corpora=["SONICS"], generators=["suno"])
    track = pl.col("group_id").str.split(":").list.get(1).cast(pl.Int64)
    frame = whole.frame.with_columns(
        pl.when(target=0).then((track % 2 == 0).cast(pl.String)).alias("artist_overlap"),
        pl.when(target=1).then(pl.lit("full fake")).otherwise(pl.lit("real")).alias("label"),
        (30 + track).alias("duration_s"),
    )
    metrics = ew.evaluate([Predictions("songs", "cnn", frame)], n_resamples=60)
    slices = {(s.keys["partition"], s.keys["value"]): s for s in metrics.where(kind="sonics")}
    assert {key: part.headline for key, part in slices.items()} == {
        ("algorithm", "suno"): "recall",
        ("singer", "seen"): "specificity",
        ("singer", "unseen"): "specificity",
        ("fake_type", "full fake"): "recall",
        ("length", "medium"): "f1_macro",
        ("length", "short"): "f1_macro",
    }
    for part in slices.values():
        assert part.estimates[part.headline].value is not None
    seen = frame.filter(target=0, artist_overlap="true")
    specificity = slices["singer", "seen"].estimates["specificity"]
    assert specificity.value == (seen["pred_label"] == 0).mean()
    short = frame.filter(pl.col("duration_s") <= 60)
    counts = count_decisions(short["target"], short["pred_label"])
    macro_f1 = measure_counts("f1_macro", counts)
    assert slices["length", "short"].estimates["f1_macro"].value == macro_f1


def test_the_columns_pass_from_upstreams_tables_through_manifests_to_predictions(
    tmp_path: Path,
) -> None:
    header = "filepath,target,skip_time,duration,label,algorithm,artist_overlap\n"
    for split, numbers in (("train", (9,)), ("valid", (0, 1, 2, 3))):
        rows = ""
        for n in numbers:
            path = tmp_path / f"songs/{split}_{'xyzwabcdef'[n]}.wav"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"")
            fake = n % 2
            made = "full fake,chirp-v3," if fake else "real,,True"
            rows += f"songs/{path.name},{fake},0,90,{made}\n"
        (tmp_path / f"{split}.csv").write_text(header + rows)
    frame = ew.catalog_sonics(root=tmp_path).frame.drop("key", strict=False)
    manifest = ew.Manifest("sonics", frame)
    ew.write_manifest(manifest, tmp_path / "sonics.csv")
    rows = ew.read_manifest(tmp_path / "sonics.csv").frame.with_columns(
        detector=pl.lit("cnn"), logit=pl.lit(1.0), pred_prob=pl.lit(0.7), pred_label=pl.lit(1)
    )
    ew.write_predictions(rows, tmp_path / "cnn__sonics.csv")
    metrics = ew.evaluate([tmp_path / "cnn__sonics.csv"], n_resamples=60)
    assert [part.name for part in metrics.where(kind="sonics")] == [
        "SONICS algorithm: chirp-v3",
        "SONICS singer: seen",
        "SONICS fake type: full fake",
        "SONICS length: medium",
    ]
