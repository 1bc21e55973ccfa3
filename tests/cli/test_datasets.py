"""``earwitness datasets``: the list, one card, and a check of a folder."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from builders import touch, write_split_file, write_tone
from cli.conftest import Run
from conftest import REPOSITORY
from dataset_folders import FOLDERS, lines
from earwitness.datasets.catalog import LAYOUTS
from earwitness.datasets.fma import ENCODERS


def test_the_list_names_every_dataset_with_its_licence(run: Run) -> None:
    status, out, _ = run("datasets")
    assert status == 0
    for name, layout in LAYOUTS.items():
        assert f"{name}  {layout.source} (" in out
    assert out.count("licence") >= len(FOLDERS)


def test_one_dataset_is_shown_with_its_leaks(run: Run) -> None:
    _, out, _ = run("datasets", "show", "mtg_jamendo")
    assert "mtg_jamendo  MTG-Jamendo (real)" in out
    assert "also the reals of AIME" in out
    status, _, err = run("datasets", "show", "mtg_jamend")
    assert status == 2
    assert "did you mean 'mtg_jamendo'" in err


def test_a_whole_folder_passes(tmp_path: Path, run: Run) -> None:
    for number in (1, 2):
        write_tone(tmp_path / f"{number}.wav", seconds=0.1)
    table = lines("file,speaker,label", "1.wav,A,spoof", "2.wav,A,bona-fide")
    (tmp_path / "meta.csv").write_text(table)
    status, out, _ = run("datasets", "check", "in_the_wild", tmp_path)
    assert status == 0
    assert out.startswith("In-the-Wild: 2 items (1 real, 1 fake)")
    assert out.endswith("nothing is missing or broken\n")


def test_everything_missing_or_broken_is_reported_at_once(tmp_path: Path, run: Run) -> None:
    FOLDERS["asvspoof_5"].make(tmp_path)
    write_tone(tmp_path / "flac_T" / "T_0000000000.flac", seconds=0.1)
    (tmp_path / "flac_T" / "T_0000000001.flac").write_text("<html>404</html>")
    touch(tmp_path / "flac_T" / "T_9.flac")
    out_csv = tmp_path / "problems.csv"
    status, out, _ = run("datasets", "check", "asvspoof_5", tmp_path, "--out", out_csv)
    assert status == 1
    found = pl.read_csv(out_csv)
    assert found.select("kind", pl.col("name").str.split("/").list.last()).rows() == [
        ("missing", "ASVspoof5.dev.track_1.tsv"),
        ("missing", "E_0000000002.flac"),
        ("unlisted", "T_9.flac"),
        ("broken", "E_0000000001.flac"),
        ("broken", "T_0000000001.flac"),
        ("broken", "T_0000000002.flac"),
    ]
    assert "missing: 2: " in out
    assert "text/HTML file, not audio: 1: " in out
    status, out, _ = run("datasets", "check", "asvspoof_5", tmp_path, "--names-only")
    assert status == 1
    assert "broken" not in out


def test_published_datasets_are_found_below_their_workspace(tmp_path: Path, run: Run) -> None:
    fma = tmp_path / "deepfake-detector"
    write_split_file(
        fma / "data" / "dataset_medium_split_filtered.npy",
        train=["1.mp3"],
        validation=["2.mp3"],
        test=["3.mp3"],
    )
    touch(fma / "fma_real_medium" / "resampled" / "2.mp3")
    touch(fma / "fma_rebuilt_medium" / "lac2" / "2.mp3")
    touch(tmp_path / "FakeMusicCaps" / "mustango" / "caption.wav")
    status, out, _ = run("datasets", "check", "fakemusiccaps", tmp_path, "--names-only")
    assert status == 0
    assert "1 audio files, 0 others; folders of generators: mustango" in out
    status, out, _ = run("datasets", "check", "fma", tmp_path, "--names-only")
    assert status == 1
    assert out.startswith("FMA: 2 items (1 real, 1 fake)")
    assert f"missing: {len(ENCODERS) - 1}: {fma / 'fma_rebuilt_medium' / 'encodec3'}, " in out


def test_the_folder_of_another_dataset_is_one_line(tmp_path: Path, run: Run) -> None:
    FOLDERS["musdb"].make(tmp_path)
    status, out, err = run("datasets", "check", "gtzan", tmp_path)
    assert status == 2
    assert not out
    assert err == (
        f"earwitness: {tmp_path}: no file in its layout; it contains notes.txt, test, train, "
        f"{os.fsdecode(b'?')}.mp3, expected the folder of GTZAN\n"
    )


def test_the_page_has_what_the_command_prints(run: Run) -> None:
    page = (REPOSITORY / "docs" / "datasets.md").read_text(encoding="utf-8")
    assert page.endswith("\n\n" + run("datasets", "show", "--markdown").out.rstrip("\n") + "\n")
