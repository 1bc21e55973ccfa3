"""Leaks of every kind planted in a clean pair of sets of made-up music, and none in its twin."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from earwitness.audio.encode import write_coded
from earwitness.audit.audit import audit
from earwitness.audit.schema import AuditReport
from earwitness.core.manifest import Manifest
from earwitness.demo.music import SAMPLE_RATE_HZ, compose, draw_artist

N = 22
"""Sounds in each set; across sets and inside one they make over 600 unrelated pairs."""

SHORT_S, LONG_S = 6.5, 14.0
N_LONG = 3

Samples = NDArray[np.float32]


def make_track(number: int) -> Samples:
    artist = draw_artist(np.random.default_rng((7, number)))
    length_s = LONG_S if number < N_LONG else SHORT_S
    return compose((7, number), artist, length_s=length_s)


def row(name: str, **more: Any) -> dict[str, Any]:
    artist = {"artist": f"artist of {name}"} if name[0] == "t" else {}
    blank = {"target": 0, "source_dataset": "mine", "artist": None, "group_id": name}
    return {"filepath": name, **blank, **artist, **more}


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of both sets and of the leaks: ``t00.mp3`` … trained on, ``e00.flac`` … evaluated."""
    folder = tmp_path_factory.mktemp("planted")
    tracks = [make_track(number) for number in range(2 * N)]
    for number in range(N):
        write_coded(
            folder / f"t{number:02d}.mp3",
            tracks[number],
            SAMPLE_RATE_HZ,
            codec="libmp3lame",
            kbps=256,
        )
        soundfile.write(folder / f"e{number:02d}.flac", tracks[N + number].T, SAMPLE_RATE_HZ)
    (folder / "sub").mkdir()
    plant(folder, tracks)
    return folder


def plant(folder: Path, tracks: list[Samples]) -> None:
    """Write one leak of each kind, each of another track of the training set."""
    rate = SAMPLE_RATE_HZ
    shutil.copy(folder / "t03.mp3", folder / "bytes.mp3")
    (folder / "link.mp3").symlink_to("t04.mp3")
    tag = b"ID3\x03\0\0\0\0\0\x14" + b"TIT2\0\0\0\x0a\0\0another one"[:20]
    (folder / "tagged.mp3").write_bytes(tag + (folder / "t05.mp3").read_bytes())
    write_coded(folder / "mp3_64.mp3", tracks[6], rate, codec="libmp3lame", kbps=64)
    write_coded(folder / "aac.m4a", tracks[7], rate, codec="aac", kbps=64)
    write_coded(folder / "opus_32.opus", tracks[8], rate, codec="libopus", kbps=32)
    soundfile.write(folder / "resampled.wav", soxr.resample(tracks[9].T, rate, 16_000), 16_000)
    soundfile.write(folder / "quiet.wav", tracks[10].T * 10 ** (-12 / 20), rate)
    loud = (tracks[11].T * 10 ** (12 / 20)).clip(-1, 1)
    soundfile.write(folder / "loud.wav", loud, rate)
    crop = tracks[0].T[int(2.345 * rate) : int(12.345 * rate)]
    soundfile.write(folder / "cropped.wav", crop, rate)
    silence = np.zeros((int(1.234 * rate), 2), dtype=np.float32)
    soundfile.write(folder / "late.wav", np.concatenate([silence, tracks[1].T]), rate)


PLANTED = {
    "sub/../t02.mp3": ("path_across", "t02.mp3"),
    "link.mp3": ("path_across", "t04.mp3"),
    "bytes.mp3": ("bytes_across", "t03.mp3"),
    "tagged.mp3": ("packets_across", "t05.mp3"),
    "mp3_64.mp3": ("copies_across", "t06.mp3"),
    "aac.m4a": ("copies_across", "t07.mp3"),
    "opus_32.opus": ("copies_across", "t08.mp3"),
    "resampled.wav": ("copies_across", "t09.mp3"),
    "quiet.wav": ("copies_across", "t10.mp3"),
    "loud.wav": ("copies_across", "t11.mp3"),
    "cropped.wav": ("copies_across", "t00.mp3"),
    "late.wav": ("copies_across", "t01.mp3"),
    "e00.flac": ("artist_across", "t12.mp3"),
    "fake_00003_suno_1.flac": ("track_across", "fake_00003_suno_0.flac"),
}


@pytest.fixture(scope="module")
def trained(music: Path) -> Manifest:
    rows = [row(f"t{number:02d}.mp3") for number in range(N)]
    shutil.copy(music / f"e{N - 1}.flac", music / "fake_00003_suno_0.flac")
    shutil.copy(music / f"e{N - 2}.flac", music / "fake_00003_suno_1.flac")
    rows.append(row("fake_00003_suno_0.flac", target=1, source_dataset="SONICS"))
    return Manifest("train", pl.DataFrame(rows), (music,))


@pytest.fixture(scope="module")
def clean(music: Path, trained: Manifest) -> AuditReport:
    rows = [row(f"e{number:02d}.flac") for number in range(N - 2)]
    evaluated = Manifest("eval", pl.DataFrame(rows), (music,))
    return audit(evaluated, against=[trained], store=music / "store", n_workers=0)


@pytest.fixture(scope="module")
def planted(music: Path, trained: Manifest) -> AuditReport:
    rows = [row(f"e{number:02d}.flac") for number in range(1, N - 2)]
    rows += [row(name) for name in PLANTED if name[0] not in "ef"]
    rows.append(row("e00.flac", artist="Artist of  T12.mp3"))
    rows.append(row("fake_00003_suno_1.flac", target=1, source_dataset="SONICS"))
    return audit(
        Manifest("eval", pl.DataFrame(rows), (music,)),
        against=[trained],
        store=music / "store",
        n_workers=0,
    )


@pytest.mark.parametrize("name", PLANTED)
def test_every_planted_leak_is_found_by_its_check(planted: AuditReport, name: str) -> None:
    check, partner = PLANTED[name]
    found = {
        finding.check: finding.other_filepath
        for finding in planted.findings
        if finding.filepath == name
    }
    assert found.get(check) == partner


def test_the_offset_of_a_crop_is_reported(planted: AuditReport) -> None:
    offsets = {f.filepath: f.offset_s for f in planted.findings if f.check == "copies_across"}
    assert offsets["cropped.wav"] == pytest.approx(-2.345, abs=0.05)
    assert offsets["late.wav"] == pytest.approx(1.234, abs=0.05)


def test_nothing_but_what_was_planted_is_found(planted: AuditReport) -> None:
    others = ("undecided", "shortcut")  # of the 51 rows one is fake, and of a corpus of its own
    assert {f.filepath for f in planted.findings if f.relation not in others} == set(PLANTED)


def test_the_clean_twin_has_no_finding_in_over_six_hundred_pairs(clean: AuditReport) -> None:
    assert clean.n_findings == 0
    assert {finding.relation for finding in clean.findings} <= {"undecided"}
    n_false = sum(link.relation not in ("undecided", "by_design") for link in clean.links)
    n_pairs = sum(
        int(str(clean.check(f"versions_{scope}").figures["n_comparisons"]))
        for scope in ("across", "inside")
    )
    assert n_false == 0
    assert n_pairs > 600
