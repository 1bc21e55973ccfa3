"""Scores and manifests of other tools: polarity converted once, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from builders import touch
from earwitness.core.errors import ManifestError, PredictionsError
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import Predictions
from earwitness.scoring.asvspoof import Truth, make_predictions
from earwitness.scoring.score_formats import (
    SCORE_FORMATS,
    read_all_type_add_real_high,
    read_df_arena_real_high,
    read_mirex_fake_high,
    read_protocol,
    write_deepfense,
    write_df_arena_protocol,
)


def put(path: Path, *rows: str) -> Path:
    touch(path).write_text("\n".join(rows) + "\n")
    return path


def scored(logits: list[float], targets: list[int]) -> Predictions:
    names = [f"x/{number}.wav" for number in range(len(logits))]
    truths = {name: Truth(target, None) for name, target in zip(names, targets, strict=True)}
    by_name = dict(zip(names, logits, strict=True))
    return make_predictions("s", "d", truths, by_name, missing="")


def test_all_type_add_is_high_for_real(tmp_path: Path) -> None:
    scores = put(tmp_path / "wpt__music.txt", "-0SdAVK79lg 0.9 real", "MusicGen_1 0.2 fake")
    found = read_all_type_add_real_high(scores)
    assert (found.detector, found.dataset) == ("wpt", "music")
    assert found.frame["target"].to_list() == [0, 1]
    assert found.frame["pred_prob"].to_list() == pytest.approx([0.1, 0.8])
    assert found.frame["pred_label"].to_list() == [0, 1]
    assert found.frame["logit"].to_list() == pytest.approx([-2.1972246, 1.3862944])


def test_mirex_is_high_for_fake_and_its_labels_are_in_a_manifest(tmp_path: Path) -> None:
    scores = put(tmp_path / "ours.txt", "song 1.wav\t0.9", "b.wav\t0.2")
    key = put(tmp_path / "m.csv", "filepath,target,generator", "x/song 1.wav,1,suno", "x/b.wav,0,")
    found = read_mirex_fake_high(scores, key)
    columns = ("filepath", "target", "generator", "pred_prob")
    assert found.frame.select(columns).rows() == [
        ("x/song 1.wav", 1, "suno", 0.9),
        ("x/b.wav", 0, None, 0.2),
    ]


def test_df_arena_is_high_for_real_and_its_protocol_is_the_key(tmp_path: Path) -> None:
    scores = put(tmp_path / "aasist.txt", "/data/a.wav 3.5", "/data/b.wav -2")
    key = put(tmp_path / "p.csv", "file_name,label", "/data/a.wav,bonafide", "/data/b.wav,spoof")
    found = read_df_arena_real_high(scores, key).frame
    assert found.select("target", "logit", "pred_label").rows() == [(0, -3.5, 0), (1, 2.0, 1)]


@pytest.mark.parametrize("name", list(SCORE_FORMATS))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(logits=st.lists(st.floats(-30, 30), min_size=2, max_size=6))
def test_what_is_written_reads_back_with_its_polarity(
    tmp_path: Path, name: str, logits: list[float]
) -> None:
    targets = [n % 2 for n in range(len(logits))]
    before = scored(logits, targets)
    scores, key = tmp_path / "d__s.txt", tmp_path / "key.csv"
    assert SCORE_FORMATS[name].write(before, scores, key) == 0
    has_labels = name == "all-type-add"
    after = SCORE_FORMATS[name].read(scores, None if has_labels else key).frame
    assert after["target"].to_list() == targets
    assert after["logit"].to_list() == pytest.approx(logits, abs=1e-2, rel=1e-6)
    assert (after["logit"] >= 0).cast(pl.Int8).to_list() == after["pred_label"].to_list()


def test_every_format_of_one_detector_has_one_auroc(tmp_path: Path) -> None:
    before = scored([0.3, -1.0, 2.0, 0.9, -0.5], [0, 0, 1, 1, 1])
    for name, way in SCORE_FORMATS.items():
        way.write(before, tmp_path / f"{name}.txt", tmp_path / f"{name}.csv")
        key = None if name == "all-type-add" else tmp_path / f"{name}.csv"
        frame = way.read(tmp_path / f"{name}.txt", key).frame
        assert roc_auc_score(frame["target"], frame["logit"]) == pytest.approx(5 / 6)


@pytest.mark.parametrize(
    ("read", "row", "message"),
    [
        (read_all_type_add_real_high, "a 1.5 real", ":1: score '1.5', expected 0 to 1"),
        (read_all_type_add_real_high, "a 0.5", ":1: score '0.5', expected 0 to 1|score"),
        (read_all_type_add_real_high, "a 0.5 perhaps", "label 'perhaps', expected real or fake"),
        (read_all_type_add_real_high, "a 0.5 real\na 0.5 real", ":2: 'a' again"),
        (read_all_type_add_real_high, "", "no scores"),
        (read_mirex_fake_high, "a\t0.5", r"expected a key \(--key\)"),
    ],
)
def test_an_invalid_score_file_is_one_line(
    tmp_path: Path, read: Callable[[Path], object], row: str, message: str
) -> None:
    with pytest.raises(PredictionsError, match=message) as caught:
        read(put(tmp_path / "s.txt", row))
    assert "\n" not in str(caught.value)


def test_a_score_of_a_file_that_is_not_in_the_key_is_refused(tmp_path: Path) -> None:
    key = put(tmp_path / "k.csv", "filepath,target", "x/a.wav,1", "y/a.wav,0")
    with pytest.raises(PredictionsError, match=r"'a.wav' is 2 files of the key"):
        read_mirex_fake_high(put(tmp_path / "s.txt", "a.wav 0.5"), key)
    with pytest.raises(PredictionsError, match=r"'b.wav' is 0 files of the key"):
        read_mirex_fake_high(put(tmp_path / "s.txt", "b.wav 0.5"), key)


def test_a_key_with_an_invalid_label_is_one_line(tmp_path: Path) -> None:
    key = put(tmp_path / "k.csv", "file_name,label", "a.wav,perhaps")
    with pytest.raises(PredictionsError, match=r"k.csv:2: 'a.wav' 'perhaps', expected"):
        read_df_arena_real_high(put(tmp_path / "s.txt", "a.wav 0.5"), key)


def test_manifests_of_others_are_read_and_written(tmp_path: Path) -> None:
    frame = pl.DataFrame({"filepath": ["a.wav", "b.wav"], "target": [0, 1]})
    manifest = Manifest("m", frame, roots=(tmp_path,))
    write_df_arena_protocol(manifest, tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text() == (
        f"file_name,label\n{tmp_path}/a.wav,bonafide\n{tmp_path}/b.wav,spoof\n"
    )
    write_deepfense(manifest, tmp_path / "d.parquet")
    table = pl.read_parquet(tmp_path / "d.parquet")
    assert table.rows() == [
        ("a", f"{tmp_path}/a.wav", "bonafide", "m"),
        ("b", f"{tmp_path}/b.wav", "spoof", "m"),
    ]
    for path in (tmp_path / "p.csv", tmp_path / "d.parquet"):
        found = read_protocol(path)
        assert found.frame["target"].to_list() == [0, 1]
        assert found.frame["filepath"].to_list() == [f"{tmp_path}/a.wav", f"{tmp_path}/b.wav"]
    with pytest.raises(ManifestError, match="expected file_name or path, and label"):
        read_protocol(put(tmp_path / "x.csv", "file,label", "a,spoof"))
