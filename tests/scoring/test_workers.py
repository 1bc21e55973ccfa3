from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from builders import write_tone
from earwitness.audio.clips import Clip
from earwitness.audio.decode import read_slice
from earwitness.core.cards import ClipContract
from earwitness.scoring.clips import ClipRequest, DecodedFile, Job
from earwitness.scoring.workers import CRASHED, KILLED, Task, decode_files

CENTRE = ClipRequest(ClipContract(sample_rate_hz=16_000, clip_samples=8_000))
WHOLE = ClipRequest(ClipContract(sample_rate_hz=44_100, max_samples=88_200, min_samples=22_050))


class Killed(str):
    """A path whose process is killed as often as its file says, as if memory had run out."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return kill_or_give, (str(self),)


def kill_or_give(path: str) -> str:
    """End this process while there are lives left to take, else return the path."""
    left = Path(f"{path}.lives")
    if left.is_file() and (n := int(left.read_text())):
        left.write_text(str(n - 1))
        os.kill(os.getpid(), signal.SIGKILL)
    return path


def list_workers() -> list[int]:
    """Return the processes that decode."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    lines = {int(c): Path(f"/proc/{c}/cmdline").read_bytes() for c in children}
    return [child for child, line in lines.items() if b"popen_loky" in line]


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
    tasks = [Task(Job(path), (CENTRE, WHOLE)) for path in paths]
    return {d.job.path: d for d in decode_files(tasks, n_workers=n_workers)}


def clips_of(decoded: DecodedFile, request: ClipRequest) -> list[Clip] | str:
    cut = decoded.cuts[request]
    return cut if isinstance(cut, str) else cut.clips


@pytest.mark.parametrize("n_workers", [0, 1, 2])
def test_every_file_comes_back_once_with_its_clips(files: list[str], n_workers: int) -> None:
    broken = str(Path(files[0]).with_name("absent.wav"))
    decoded = decode([*files, broken], n_workers)
    assert set(decoded) == {*files, broken}
    assert list(decoded[broken].cuts.values()) == ["no such file"] * 2
    lengths = {}
    for name in files:
        centre, whole = (clips_of(decoded[name], request) for request in (CENTRE, WHOLE))
        assert isinstance(centre, list)
        assert centre[0].samples.shape == (2, 6_400 if Path(name).stem == "2" else 8_000)
        lengths[Path(name).stem] = whole if isinstance(whole, str) else whole[0].n_samples
    too_short = "0.4 s long, the detector needs at least 0.5 s"
    assert lengths == {"0": 44_100, "1": 88_200, "2": too_short, "3": 26_460}


def test_workers_give_the_same_samples_as_this_process(files: list[str]) -> None:
    here, there = decode(files, 0), decode(files, 2)
    for name in files:
        for request in (CENTRE, WHOLE):
            one, other = clips_of(here[name], request), clips_of(there[name], request)
            if isinstance(one, str):
                assert one == other
                continue
            for a, b in zip(one, other, strict=True):
                np.testing.assert_array_equal(a.samples, b.samples)


def test_a_file_that_kills_the_decoder_costs_itself_alone(files: list[str]) -> None:
    killer = Killer("/killer.mp3")
    decoded = decode([*files, killer, *(f"{name}.absent" for name in files)], 2)
    assert list(decoded[killer].cuts.values()) == [CRASHED, CRASHED]
    assert len(decoded) == 2 * len(files) + 1
    assert all(isinstance(clips_of(decoded[name], CENTRE), list) for name in files)


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX has them")
@pytest.mark.parametrize(("n_kills", "is_scored"), [(1, True), (4, True), (1_000, False)])
def test_a_file_whose_process_is_killed_is_tried_again(
    files: list[str], tmp_path: Path, n_kills: int, is_scored: bool
) -> None:
    path = Killed(write_tone(tmp_path / "killed.wav"))
    Path(f"{path}.lives").write_text(str(n_kills))
    decoded = decode([*files, path], 2)
    assert all(isinstance(clips_of(decoded[name], CENTRE), list) for name in files)
    found = clips_of(decoded[path], CENTRE)
    assert isinstance(found, list) if is_scored else found == KILLED
    assert "--retry-errors" in KILLED


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes in /proc")
def test_kills_from_outside_cost_no_healthy_file(files: list[str]) -> None:
    names = [f"{name}?{n}" for name in files[:2] for n in range(12)]
    for name in names:
        Path(name).unlink(missing_ok=True)
        Path(name).hardlink_to(name.partition("?")[0])
    tasks = [Task(Job(name), (CENTRE,)) for name in names]
    decoded, n_kills = {}, 0
    for done in decode_files(tasks, n_workers=2):
        decoded[done.job.path] = done
        for worker in list_workers()[:1] if n_kills < 8 and len(decoded) % 3 == 0 else []:
            os.kill(worker, signal.SIGKILL)
            n_kills += 1
    assert n_kills >= 3
    assert set(decoded) == set(names)
    assert all(isinstance(clips_of(decoded[name], CENTRE), list) for name in names)


def test_a_file_too_short_for_one_sample_is_an_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tiny.wav", np.zeros(1), 192_000)
    (decoded,) = decode([str(tmp_path / "tiny.wav")], 0).values()
    assert all("long, the detector needs at least" in str(cut) for cut in decoded.cuts.values())


def test_the_clip_lies_in_the_centre(tmp_path: Path) -> None:
    ramp = np.linspace(0, 0.9, 16_000, dtype=np.float32)
    soundfile.write(tmp_path / "ramp.wav", ramp, 16_000, subtype="FLOAT")
    (clip,) = cut(tmp_path / "ramp.wav", CENTRE)
    assert isinstance(clip, Clip)
    np.testing.assert_array_equal(clip.samples[0], ramp[4_000:12_000])


NATIVE = ClipRequest(ClipContract(sample_rate_hz=16_000, native_rate=True, clip_samples=8_000))


def cut(path: Path, request: ClipRequest, skip_s: float = 0.0) -> list[Clip] | str:
    (decoded,) = decode_files([Task(Job(str(path), skip_s), (request,))], n_workers=0)
    return clips_of(decoded, request)


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    """A second and a half that rises from 0 to 1 by 1/12 000 a sample, at 8 kHz."""
    samples = np.arange(12_000, dtype=np.float32) / 12_000
    soundfile.write(tmp_path / "ramp.wav", samples, 8_000, subtype="FLOAT")
    return tmp_path / "ramp.wav"


def starts(clips: list[Clip] | str) -> list[int]:
    """The first sample of each clip of ``ramp``, from its level."""
    assert isinstance(clips, list)
    return [round(float(clip.samples[0, 0]) * 12_000) for clip in clips]


def test_native_clips_keep_the_rate_and_count_in_it(ramp: Path) -> None:
    (clip,) = cut(ramp, NATIVE)
    assert isinstance(clip, Clip)
    assert (clip.sample_rate_hz, clip.n_samples, starts([clip])) == (8_000, 8_000, [2_000])


@pytest.mark.parametrize(("skips", "expected"), [(True, 4_000), (False, 2_000)])
def test_skip_time_shortens_the_file_where_it_counts(
    ramp: Path, skips: bool, expected: int
) -> None:
    request = ClipRequest(NATIVE.contract, skips=skips)
    clips = cut(ramp, request, 0.5)
    assert starts(clips) == [expected]
    assert clips[0].window == (expected, 8_000)


def test_what_is_skipped_counts_at_the_rate_of_the_clips(ramp: Path) -> None:
    request = ClipRequest(CENTRE.contract, windows="all", skips=True)
    clips = cut(ramp, request, 0.25)
    assert isinstance(clips, list)
    assert [clip.window for clip in clips] == [(4_000, 8_000), (12_000, 8_000), (16_000, 8_000)]


def test_a_skip_time_past_the_end(ramp: Path) -> None:
    request = ClipRequest(NATIVE.contract, skips=True)
    assert cut(ramp, request, 2) == "1.50 s long, a skip_time of 2 s leaves nothing of it"


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 11_025])
def test_windows_read_together_are_the_same_samples(ramp: Path, rate_hz: int) -> None:
    contract = ClipContract(sample_rate_hz=rate_hz, clip_samples=3_000)
    together = cut(ramp, ClipRequest(contract, windows="all"))
    assert isinstance(together, list)
    for clip in together:
        assert clip.window is not None
        apart = read_slice(ramp, clip.window.start, 3_000, sample_rate_hz=rate_hz)
        np.testing.assert_array_equal(clip.samples, apart)


def test_a_clip_longer_than_its_file_is_the_file(tmp_path: Path) -> None:
    short = write_tone(tmp_path / "short.wav", seconds=0.25, rate=16_000)
    (clip,) = cut(short, CENTRE)
    assert isinstance(clip, Clip)
    assert (clip.n_samples, clip.window) == (4_000, (0, 4_000))
