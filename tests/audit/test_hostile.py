"""A big manifest with broken files among sound ones: every one is listed and nothing is lost."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl

from builders import write_tone
from earwitness.audit.audit import audit
from earwitness.core.manifest import Manifest

N_ROWS, ONE_IN = 2_000, 100


def break_file(path: Path, kind: int) -> None:
    """Write a file that cannot be decoded, one kind after another."""
    rng = np.random.default_rng(kind)
    if kind % 4 == 0:
        path.write_bytes(rng.bytes(500 + kind))
    elif kind % 4 == 1:
        path.write_text(f"<html>404 {kind}</html>")
    elif kind % 4 == 2:
        path.touch()


def test_every_broken_file_of_a_big_manifest_is_listed(tmp_path: Path) -> None:
    sound = [write_tone(tmp_path / f"{n}.wav", hz=250 + 60 * n, seconds=0.2) for n in range(4)]
    names, broken = [], []
    for number in range(N_ROWS):
        name = f"{number:06d}.wav"
        names.append(name)
        if number % ONE_IN == 7:
            broken.append(name)
            break_file(tmp_path / name, number // ONE_IN)
        else:
            os.link(sound[number % 4], tmp_path / name)
    frame = pl.DataFrame({"filepath": names, "target": [0] * N_ROWS})
    report = audit(Manifest("big", frame, (tmp_path,)), n_workers=0)
    listed = [f.filepath for f in report.findings if f.check == "readable"]
    assert listed == broken
    assert report.check("readable").n_rows == N_ROWS // ONE_IN
    assert report.check("bytes_inside").n_checked + report.check("bytes_inside").n_unchecked == (
        N_ROWS
    )


def test_a_row_that_is_repeated_very_often_is_flagged_as_often(tmp_path: Path) -> None:
    """What grew with the pairs of these rows would never end."""
    n = 10_000
    write_tone(tmp_path / "one.wav", hz=300, seconds=0.2)
    frame = pl.DataFrame({"filepath": ["one.wav"] * n, "target": [0, *[1] * (n - 1)]})
    report = audit(Manifest("big", frame, (tmp_path,)), n_workers=0)
    check = report.check("bytes_inside")
    assert check.relations == {"conflict": n}
    found = [f for f in report.findings if f.check == check.name]
    assert {f.n_others for f in found} == {n - 1}
    assert [f.other_target for f in found[:3]] == [1, 0, 0]
