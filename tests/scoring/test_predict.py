from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from builders import write_tone
from earwitness.audio.clips import Clip
from earwitness.core.cards import ClipContract, DetectorCard
from earwitness.core.errors import DetectorError
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import PREDICTION_COLUMNS, WINDOW_COLUMNS
from earwitness.detectors.base import Scores
from earwitness.detectors.fakeprint import fakeprint_card, save_fakeprint
from earwitness.scoring.predict import (
    plan_scoring,
    predict,
    score_plan,
    tabulate,
)
from earwitness.scoring.prediction_files import read_predictions, write_predictions
from earwitness.scoring.run import list_remarks, section_accuracies
from earwitness.scoring.store import RowStore


class Loudness:
    """A detector whose logit is the level of the clip in decibels over -20: easy to foretell."""

    def __init__(self, name: str = "loudness", clip_samples: int | None = 4_000) -> None:
        self.card = DetectorCard(
            name=name,
            kind="loudness",
            contract=ClipContract(sample_rate_hz=8_000, clip_samples=clip_samples),
            band_hz=(0, 4_000),
            encoders=("real", "loud"),
            licence="none",
            source="this test",
            limits="It is a test.",
        )
        self.device, self.batch_size, self.remarks = "cpu", 4, ()
        self.batches: list[int] = []

    def score(self, clips: Sequence[Clip]) -> Scores:
        self.batches.append(len(clips))
        levels = np.array([np.sqrt((c.samples.astype(np.float64) ** 2).mean()) for c in clips])
        if (levels > 0.5).any():
            raise DetectorError("loudness: too loud")
        logits = 20 * np.log10(levels + 1e-300) + 20
        return Scores(np.where(levels < 1e-3, np.nan, logits), np.stack([1 - levels, levels], 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sound")
    for n in range(7):
        write_tone(root / f"{n}.wav", hz=200 + 150 * n, seconds=0.3 + 0.4 * n, rate=8_000)
    (root / "page.mp3").write_text("<!DOCTYPE html><html>404</html>")
    return root


def manifest(root: Path, *names: str, name: str = "m") -> Manifest:
    frame = pl.DataFrame(
        {"filepath": names, "target": [0] * len(names), "mine": ["kept"] * len(names)}
    )
    return Manifest(name, frame.with_columns(pl.col("target").cast(pl.Int8)), (root,))


NAMES = tuple(f"{n}.wav" for n in range(7))


def test_one_row_out_per_row_in_in_order(folder: Path) -> None:
    names = ("3.wav", "absent.wav", "0.wav", "page.mp3", "3.wav")
    (prediction,) = predict([manifest(folder, *names)], [Loudness()], n_workers=0)
    frame = prediction.frame
    assert frame["filepath"].to_list() == list(names)
    added = [*PREDICTION_COLUMNS, "encoder_real", "encoder_loud"]
    assert frame.columns == ["filepath", "target", "mine", *added]
    failed = frame.filter(pl.col("error").is_not_null())
    assert failed["filepath"].to_list() == ["absent.wav", "page.mp3"]
    assert failed.select("logit", "pred_prob", "pred_label", "encoder_loud").null_count().row(
        0
    ) == (
        2,
        2,
        2,
        2,
    )
    assert (prediction.n_scored, prediction.n_failed) == (3, 2)
    assert frame["logit"][0] == frame["logit"][4]


@pytest.mark.parametrize("name", ["x" * 300 + ".mp3", "nul\0.mp3", "a/" * 2000 + "b.mp3"])
def test_names_that_no_disk_can_hold_are_rows_with_their_error(folder: Path, name: str) -> None:
    (prediction,) = predict([manifest(folder, name, "1.wav")], [Loudness()], n_workers=0)
    assert prediction.frame["error"].is_null().to_list() == [False, True]


def test_the_number_between_0_and_1_is_the_logistic_of_the_logit(folder: Path) -> None:
    (prediction,) = predict([manifest(folder, "1.wav")], [Loudness()], n_workers=0)
    row = prediction.frame.row(0, named=True)
    assert row["pred_prob"] == pytest.approx(1 / (1 + math.exp(-row["logit"])), abs=1e-12)
    assert row["pred_label"] == int(row["pred_prob"] >= 0.5)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
@pytest.mark.parametrize("n_workers", [0, 2])
def test_batch_size_and_workers_change_nothing(
    folder: Path, batch_size: int, n_workers: int
) -> None:
    detector = Loudness()
    options = {"windows": 3, "n_workers": 0}
    (expected,) = predict([manifest(folder, *NAMES)], [Loudness()], **options)  # type: ignore[arg-type]
    options |= {"n_workers": n_workers, "batch_size": batch_size}
    (prediction,) = predict([manifest(folder, *NAMES)], [detector], **options)  # type: ignore[arg-type]
    assert prediction.frame.equals(expected.frame)
    assert max(detector.batches) <= batch_size


def test_windows_are_averaged_as_logits(folder: Path) -> None:
    whole, three = (
        predict([manifest(folder, "6.wav")], [Loudness()], windows=n, n_workers=0)[0].frame
        for n in (1, 3)
    )
    assert three["windows"][0] == "3"
    assert abs(three["logit"][0] - whole["logit"][0]) < 0.5


def test_a_file_in_several_manifests_is_scored_once(folder: Path) -> None:
    detector = Loudness()
    manifests = [manifest(folder, "1.wav", "2.wav", name="a"), manifest(folder, "2.wav", name="b")]
    seen: list[bool] = []
    first, second = predict(manifests, [detector], n_workers=0, advance=seen.append)
    assert sum(detector.batches) == 2
    assert seen == [True, True]
    assert (first.dataset, second.dataset) == ("a", "b")
    assert first.frame["logit"][1] == second.frame["logit"][0]


def test_several_detectors_in_one_pass(folder: Path) -> None:
    detectors = [Loudness("short"), Loudness("whole", clip_samples=None)]
    short, whole = predict([manifest(folder, "5.wav")], detectors, n_workers=0)
    assert (short.detector, whole.detector) == ("short", "whole")
    assert short.frame["logit"][0] != whole.frame["logit"][0]


def test_what_a_detector_refuses_costs_its_own_row(folder: Path) -> None:
    import soundfile

    square = np.where(np.arange(8_000) % 2, 0.9, -0.9)
    soundfile.write(folder / "loud.wav", square, 8_000)
    soundfile.write(folder / "faint.wav", square * 1e-3, 8_000)
    names = ("1.wav", "loud.wav", "faint.wav", "2.wav")
    (prediction,) = predict([manifest(folder, *names)], [Loudness()], n_workers=0)
    assert prediction.frame["error"].to_list() == [
        None,
        "loudness: too loud",
        "the detector gave no finite score",
        None,
    ]
    assert prediction.frame["logit"].is_null().to_list() == [False, True, True, False]


def test_files_without_content_are_abstained_from(folder: Path, tmp_path: Path) -> None:
    import soundfile

    noise = 0.1 * np.random.default_rng(0).standard_normal(8_000)
    soundfile.write(folder / "silence.wav", np.zeros(8_000), 8_000)
    soundfile.write(folder / "dc.wav", np.full(8_000, 0.5), 8_000)
    soundfile.write(folder / "half.wav", np.concatenate([np.zeros(8_000), noise]), 8_000)
    files = manifest(folder, "silence.wav", "half.wav", "dc.wav", "absent.wav")
    path = tmp_path / "store"
    path.mkdir()
    with RowStore(path, "loudness") as store:
        plan = plan_scoring([files], [Loudness()], windows="all", stores=[store])
        score_plan(plan, n_workers=0)
        (prediction,) = tabulate(plan, keep_windows=True)
    counts = prediction.n_scored, prediction.n_abstained, prediction.n_failed
    assert counts == (1, 2, 1)
    assert prediction.frame["abstained"].to_list() == [
        "nothing to analyse (digital silence)",
        None,
        "nothing to analyse (a constant level)",
        None,
    ]
    empty = prediction.frame.filter(pl.col("abstained").is_not_null())
    assert empty.select("logit", "pred_prob", "pred_label", "error").null_count().row(0) == (2,) * 4
    windows = prediction.windows
    assert windows is not None
    half = windows.filter(pl.col("filepath") == "half.wav")
    assert half["logit"].is_null().to_list() == [True, True, False, False]
    assert half["abstained"].is_null().to_list() == [False, False, True, True]
    scored = half["logit"].drop_nulls()
    assert prediction.frame["logit"][1] == pytest.approx(scored.sum() / len(scored))
    with RowStore(path, "loudness") as store:
        again = plan_scoring([files], [Loudness()], windows="all", stores=[store])
    assert again.is_done
    assert tabulate(again)[0].frame.equals(prediction.frame)


def test_another_threshold(folder: Path) -> None:
    (prediction,) = predict([manifest(folder, *NAMES)], [Loudness()], n_workers=0, threshold=0.0)
    assert prediction.frame["pred_label"].to_list() == [1] * 7


def test_columns_of_an_earlier_run_are_replaced(folder: Path) -> None:
    old = manifest(folder, "1.wav")
    frame = old.frame.with_columns(pl.lit("old").alias("detector"), pl.lit("old").alias("error"))
    (prediction,) = predict([Manifest("m", frame, (folder,))], [Loudness()], n_workers=0)
    assert prediction.frame.select("detector", "error").row(0) == ("loudness", None)
    assert prediction.frame["mine"][0] == "kept"


def test_native_rate_and_band_stand_beside_every_score(folder: Path, tmp_path: Path) -> None:
    write_tone(tmp_path / "low.wav", rate=4_000)
    rows = manifest(tmp_path, "low.wav", str(folder / "1.wav"), "absent.wav")
    (prediction,) = predict([rows], [Loudness()], n_workers=0)
    assert prediction.frame["native_rate_hz"].to_list() == [4_000, 8_000, None]
    assert prediction.frame["below_band"].to_list() == [True, False, None]
    columns = prediction.frame.columns
    assert columns[columns.index("windows") + 1] == "native_rate_hz"


def with_skips(root: Path, *rows: tuple[str, float | None], name: str = "m") -> Manifest:
    plain = manifest(root, *(path for path, _ in rows), name=name)
    skips = pl.Series("skip_time", [skip for _, skip in rows], pl.Float64)
    return Manifest(name, plain.frame.with_columns(skips), plain.roots)


def test_skip_time_counts_where_it_is_asked_for(folder: Path) -> None:
    rows = with_skips(folder, ("6.wav", 0.0), ("6.wav", 1.0), ("6.wav", None), ("0.wav", 9.0))
    detector = Loudness()
    seen: list[bool] = []
    (found,) = predict([rows], [detector], n_workers=0, use_skip_time=True, advance=seen.append)
    first, skipped, nothing, _ = found.frame["logit"].to_list()
    assert first == nothing != skipped
    assert "skip_time of 9 s leaves nothing" in found.frame["error"][3]
    assert sum(detector.batches) == 2
    assert len(seen) == plan_scoring([rows], [detector], use_skip_time=True).n_files == 3
    (plain,) = predict([rows], [Loudness()], n_workers=0)
    assert plain.frame["logit"].n_unique() == 2
    assert plan_scoring([rows], [detector]).n_files == 2


def test_a_detector_whose_config_skips_beside_one_whose_does_not(folder: Path) -> None:
    rows = with_skips(folder, ("6.wav", 0.0), ("6.wav", 1.0))
    skipping, plain = Loudness("skipping"), Loudness("plain")
    contract = skipping.card.contract.model_copy(update={"skip_time": True})
    skipping.card = skipping.card.model_copy(update={"contract": contract})
    first, second = predict([rows], [skipping, plain], n_workers=0)
    assert first.frame["logit"].n_unique() == 2
    assert second.frame["logit"].n_unique() == 1
    assert sum(plain.batches) == 1


def test_scores_per_window_are_kept_on_demand(folder: Path) -> None:
    rows = manifest(folder, "6.wav", "absent.wav", "0.wav")
    options = {"windows": "all", "n_workers": 0, "batch_size": 2}
    (without,) = predict([rows], [Loudness()], **options)  # type: ignore[arg-type]
    assert without.windows is None
    (kept,) = predict([rows], [Loudness()], keep_windows=True, **options)  # type: ignore[arg-type]
    assert kept.frame.equals(without.frame)
    assert kept.windows is not None
    assert tuple(kept.windows.columns) == WINDOW_COLUMNS
    assert kept.windows["filepath"].to_list() == ["6.wav"] * 6 + ["0.wav"]
    assert kept.windows["window"].to_list() == [1, 2, 3, 4, 5, 6, 1]
    assert kept.windows["start_s"].to_list() == pytest.approx([0, 0.5, 1, 1.5, 2, 2.2, 0])
    assert kept.windows["duration_s"].to_list() == pytest.approx([0.5] * 6 + [0.3])
    mean = kept.windows.group_by("filepath", maintain_order=True).agg(pl.col("logit").mean())
    assert mean["logit"].to_list() == pytest.approx(kept.frame["logit"].drop_nulls().to_list())
    for logit, prob in kept.windows.select("logit", "pred_prob").iter_rows():
        assert prob == pytest.approx(1 / (1 + math.exp(-logit)))


def test_remarks_are_made_once_with_a_count(folder: Path, tmp_path: Path) -> None:
    for n in range(3):
        write_tone(tmp_path / f"{n}.wav", rate=(4_000, 16_000, 8_000)[n])
    rows = [manifest(tmp_path, "0.wav", "1.wav", "2.wav", "absent.wav", name=n) for n in "ab"]
    detector = Loudness()
    (first, second) = predict(rows, [detector], n_workers=0)
    below = "loudness: 1 file with a rate below 8000 Hz"
    (remark,) = list_remarks([first, second], [detector.card])
    assert remark.startswith(below)
    contract = detector.card.contract.model_copy(update={"native_rate": True})
    native = detector.card.model_copy(update={"contract": contract})
    unresampled, again = list_remarks([first, second], [native])
    assert unresampled.startswith("loudness: 2 files not at 8000 Hz, scored as if at it")
    assert again == remark
    twin = native.model_copy(update={"name": "twin"})
    both = [first, dataclasses.replace(first, detector="twin")]
    assert list_remarks(both, [native, twin])[0].startswith("2 detectors (as loudness): 2 files")
    alone = [predict([manifest(tmp_path, "2.wav")], [detector], n_workers=0)[0]]
    assert list_remarks(alone, [native]) == []


def test_one_manifest_and_a_detector_by_its_folder(folder: Path, tmp_path: Path) -> None:
    card = fakeprint_card(name="mine", trained_on=None, training_items=None)
    save_fakeprint(card, np.zeros(4_087), 2.0, tmp_path / "mine")
    write_tone(tmp_path / "high.wav", hz=9_000, seconds=1)
    (prediction,) = predict(manifest(tmp_path, "high.wav"), [str(tmp_path / "mine")], n_workers=0)
    assert prediction.detector == "mine"
    assert prediction.frame["logit"].to_list() == [2.0]


def test_columns_of_a_manifest_do_not_pass_for_scores(folder: Path, tmp_path: Path) -> None:
    odd = (
        *PREDICTION_COLUMNS,
        "encoder_name",
        "encoder_kbps",
        "pred_prob_real",
        "y_pred",
        "y_true",
    )
    frame = pl.DataFrame(
        {"filepath": ["0.wav", "1.wav"], "target": [0, 1], "generator": [None, "loud"]}
        | {name: ["lac14", "7"] for name in odd}
    )
    manifest = Manifest("m", frame.with_columns(pl.col("target").cast(pl.Int8)), (folder,))
    (found,) = predict(manifest, [Loudness()], n_workers=0)
    write_predictions(found.frame, tmp_path / "m.csv")
    (back,) = read_predictions(tmp_path / "m.csv")
    assert back.frame["logit"].to_list() == found.frame["logit"].to_list()
    assert back.frame["encoder_name"].to_list() == ["lac14", "7"]
    sections = section_accuracies(back)
    assert sections["loud"]["encoder_accuracy"] in (0, 1)
    assert sections == section_accuracies(found)
