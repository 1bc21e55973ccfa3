"""Notes of a detector survive the process that wrote them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from builders import write_tone
from earwitness.audio.clips import Clip
from earwitness.detectors.base import Scores
from earwitness.detectors.fakeprint import fakeprint_card
from earwitness.scoring.predict import plan_scoring, score_plan, tabulate
from earwitness.scoring.prediction_files import write_predictions
from earwitness.scoring.store import RowStore
from earwitness.splits.manifests import read_manifest

N_FILES = 12


class NotingDetector:
    """Notes every clip, abstains from some; kills its process after ``n_left`` clips."""

    card = fakeprint_card(name="mine", trained_on=None, training_items=None)
    device = "one at a time"  # any but cpu: three clips at most are scored ahead
    backend = "numpy"
    batch_size = 1
    remarks = ()

    def __init__(self, n_left: int) -> None:
        self.n_left = n_left

    def score(self, clips: Sequence[Clip]) -> Scores:
        if self.n_left < 1:
            os.kill(os.getpid(), signal.SIGKILL)
        self.n_left -= 1
        kinds = [zlib.crc32(clip.samples.tobytes()) % 3 for clip in clips]
        return Scores(
            np.asarray(kinds, np.float64),
            abstained=["too loud" if kind == 0 else None for kind in kinds],
            notes=[f"of kind {kind}" for kind in kinds],
        )


def score(manifest: Path, out: Path, n_left: int = N_FILES) -> tuple[tuple[str, ...], bytes]:
    with RowStore(out, "mine") as store:
        plan = plan_scoring([read_manifest(manifest)], [NotingDetector(n_left)], stores=[store])
        score_plan(plan, n_workers=0)
    (found,) = tabulate(plan)
    write_predictions(found.frame, out / "found.csv")
    return found.notes, (out / "found.csv").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX has them")
def test_a_run_that_was_killed_and_resumed_has_the_same_notes_and_bytes(tmp_path: Path) -> None:
    names = [write_tone(tmp_path / f"{n}.wav", hz=200 + 37 * n).name for n in range(N_FILES)]
    manifest = tmp_path / "m.csv"
    manifest.write_text("filepath,target\n" + "".join(f"{name},0\n" for name in names))
    whole = score(manifest, tmp_path / "whole")
    assert len(whole[0]) == 3
    assert b"too loud" in whole[1]
    killed = multiprocessing.get_context("spawn").Process(
        target=score, args=(manifest, tmp_path / "killed", 8)
    )
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    rows = (tmp_path / "killed" / "mine.jsonl").read_bytes().count(b"\n") - 1
    assert 0 < rows < N_FILES
    assert score(manifest, tmp_path / "killed", N_FILES - rows) == whole


def test_stores_of_versions_without_notes_are_read(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(
        '{"earwitness_store": 1, "detector": "mine"}\n'
        '{"path": "/a.wav", "skip_s": 0.0, "windows": [[0.0, 5.0, 1.5]], "encoders": [],'
        ' "native_rate_hz": 8000, "error": null}\n'
    )
    with RowStore(tmp_path, "mine") as store:
        (found,) = store.finished.values()
    assert (found.logit, found.note) == (1.5, None)
