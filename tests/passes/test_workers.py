from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from builders import write_tone
from earwitness.audio.clips import Clip
from earwitness.core.cards import ClipContract
from earwitness.passes.workers import CRASHED, ClipRequest, DecodedFile, Job, decode_files

CENTRE = ClipRequest(ClipContract(sample_rate_hz=16_000, clip_samples=8_000))
WHOLE = ClipRequest(ClipContract(sample_rate_hz=44_100, max_samples=88_200, min_samples=22_050))


class Killer(str):
    """A path that ends the process that unpickles it, as a crashing C library would."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (1,)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("sound")
    return [
        str(write_tone(folder / f"{n}.wav", seconds=seconds, hz=300 + 100 * n))
        for n, seconds in enumerate((1.0, 3.0, 0.4, 0.6))
    ]


def decode(paths: list[str], n_workers: int) -> dict[str, DecodedFile]:
    jobs = [Job(path) for path in paths]
    return {d.job.path: d for d in decode_files(jobs, (CENTRE, WHOLE), n_workers=n_workers)}


@pytest.mark.parametrize("n_workers", [0, 1, 2])
def test_every_file_comes_back_once_with_its_clips(files: list[str], n_workers: int) -> None:
    broken = str(Path(files[0]).with_name("absent.wav"))
    decoded = decode([*files, broken], n_workers)
    assert set(decoded) == {*files, broken}
    assert decoded[broken].clips == ("no such file",) * 2
    lengths = {}
    for name in files:
        centre, whole = decoded[name].clips
        assert isinstance(centre, list)
        assert centre[0].samples.shape == (2, 8_000)
        lengths[Path(name).stem] = whole if isinstance(whole, str) else whole[0].n_samples
    too_short = "0.40 s long, the detector needs at least 0.50 s"
    assert lengths == {"0": 44_100, "1": 88_200, "2": too_short, "3": 26_460}


def test_workers_give_the_same_samples_as_this_process(files: list[str]) -> None:
    here, there = decode(files, 0), decode(files, 2)
    for name in files:
        for one, other in zip(here[name].clips, there[name].clips, strict=True):
            if isinstance(one, str):
                assert one == other
                continue
            for a, b in zip(one, other, strict=True):
                np.testing.assert_array_equal(a.samples, b.samples)


def test_short_files_are_padded_at_their_end(files: list[str]) -> None:
    (clip,) = decode(files, 0)[files[2]].clips[0]
    assert isinstance(clip, Clip)
    assert np.abs(clip.samples[:, :6_300]).max() > 0.1
    assert not clip.samples[:, 6_400:].any()


def test_a_file_that_kills_the_decoder_costs_itself_alone(files: list[str]) -> None:
    killer = Killer("/killer.mp3")
    decoded = decode([*files, killer, *(f"{name}.absent" for name in files)], 2)
    assert decoded[killer].clips == (CRASHED, CRASHED)
    assert len(decoded) == 2 * len(files) + 1
    assert all(isinstance(decoded[name].clips[0], list) for name in files)


def test_the_clip_lies_in_the_centre(tmp_path: Path) -> None:
    ramp = np.linspace(0, 0.9, 16_000, dtype=np.float32)
    soundfile.write(tmp_path / "ramp.wav", ramp, 16_000, subtype="FLOAT")
    (decoded,) = decode_files([Job(str(tmp_path / "ramp.wav"))], (CENTRE,), n_workers=0)
    (clip,) = decoded.clips[0]
    assert isinstance(clip, Clip)
    np.testing.assert_array_equal(clip.samples[0], ramp[4_000:12_000])
