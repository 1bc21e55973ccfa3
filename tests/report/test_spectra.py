"""Pictures of what detectors found in flagged files, which the report reads again."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from builders import write_comb, write_tone
from earwitness.core.manifest import Manifest
from earwitness.evaluation.evaluate import evaluate
from earwitness.evaluation.flagged import N_FLAGGED
from earwitness.evaluation.schema import Metrics
from earwitness.report.page import write_report
from earwitness.report.spectra import spectra
from earwitness.scoring.predict import predict


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("music")
    for name, seed in (("ours", 1), ("a", 2), ("b", 3)):
        write_comb(folder / f"{name}.wav", seed, seconds=6, level=0.02)
    write_tone(folder / "real.wav", seconds=6)
    return folder


@pytest.fixture(scope="module")
def metrics(music: Path) -> Metrics:
    rows = {
        "filepath": ["a.wav", "b.wav", "ours.wav", "real.wav"],
        "target": [1, 1, 0, 0],
        "skip_time": [0] * 4,
        "source_dataset": ["fma"] * 4,
        "split_tag": ["test"] * 4,
        "generator": ["one", "two", None, None],
    }
    manifest = Manifest("m", pl.DataFrame(rows), (music,))
    return evaluate(predict(manifest, ["comb"], n_workers=0), n_resamples=100)


def notes(metrics: Metrics, n: int, music: Path) -> list[tuple[str, int]]:
    """Return caption and number of charts of each picture."""
    section = spectra(metrics, n, audio_roots=[music])
    assert section is not None
    return [(card.note, len(card.charts)) for block in section.blocks for card in block.items]


def test_flagged_files_are_drawn_reals_first_and_one_of_each_kind(
    metrics: Metrics, music: Path
) -> None:
    shown = notes(metrics, N_FLAGGED, music)
    assert [n for _, n in shown] == [1, 1, 1]
    assert shown[0][0].startswith("Real · fma · score")
    assert {note.partition(" ·")[0] for note, _ in shown[1:]} == {"Fake by one", "Fake by two"}
    assert all("lines every 86.13 Hz" in note for note, _ in shown)
    assert all("as left by DAC or LAC 44.1 kHz" in note for note, _ in shown)
    assert len(notes(metrics, 1, music)) == 1
    assert spectra(metrics, 0) is None


def test_a_file_that_is_gone_or_changed_is_said_in_place_of_its_picture(
    metrics: Metrics, music: Path, tmp_path: Path
) -> None:
    for name in ("a.wav", "b.wav"):
        os.link(music / name, tmp_path / name)
    (tmp_path / "b.wav").unlink()
    write_tone(tmp_path / "b.wav", seconds=6)
    shown = {note.partition(" ·")[0]: (note, n) for note, n in notes(metrics, 3, tmp_path)}
    assert shown["Fake by one"][1] == 1
    note, n_charts = shown["Fake by two"]
    assert (n_charts, "when it was scored: the file was changed" in note) == (0, True)
    note, n_charts = shown["Real"]
    assert (n_charts, "No picture: no such file" in note) == (0, True)


def test_the_page_has_the_pictures_if_they_are_asked_for(
    metrics: Metrics, music: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    write_report(metrics, page, audio_roots=[music], n_spectra=2)
    drawn = page.read_text(encoding="utf-8")
    assert drawn.count("lines every 86.13 Hz") == 2
    write_report(metrics, page, audio_roots=[music])
    assert "lines every" not in page.read_text(encoding="utf-8")


def test_detectors_that_cannot_show_what_they_found_say_so(metrics: Metrics) -> None:
    (info,) = metrics.detectors
    other = metrics.model_copy(update={"detectors": [info.model_copy(update={"name": "mine"})]})
    section = spectra(other, 2)
    assert section is not None
    assert "None of these detectors" in section.blocks[0].text
    silent = metrics.model_copy(update={"detectors": [info.model_copy(update={"flagged": []})]})
    section = spectra(silent, 2)
    assert section is not None
    assert "flagged nothing" in section.blocks[0].text
