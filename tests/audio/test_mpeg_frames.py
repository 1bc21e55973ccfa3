import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from earwitness.audio.decode import capture_stderr
from earwitness.audio.mpeg_frames import Mp3Frames, walk_frames


def walk(path: Path) -> Mp3Frames | None:
    fd = os.open(path, os.O_RDONLY)
    try:
        return walk_frames(fd)
    finally:
        os.close(fd)


@pytest.fixture
def mp3(tmp_path: Path) -> Path:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (44_100, 2))
    sf.write(tmp_path / "a.mp3", samples, 44_100)
    return tmp_path / "a.mp3"


def id3v2(n_bytes: int) -> bytes:
    size = bytes((n_bytes >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00\x00" + size + b"\xff\xfb\x90\x44" * (n_bytes // 4) + bytes(n_bytes % 4)


def test_frames_agree_with_the_header(mp3: Path) -> None:
    frames = walk(mp3)
    assert frames is not None
    assert frames.is_sure
    assert frames.has_header
    assert frames.claimed_frames == frames.n_frames
    assert frames.kind.samples == 1152
    assert 44_100 < frames.n_samples < 44_100 + 4 * 1152


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 24_000, 32_000, 48_000])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_every_rate_is_counted(tmp_path: Path, rate_hz: int, n_channels: int) -> None:
    path = tmp_path / "a.mp3"
    sf.write(path, np.zeros((rate_hz, n_channels)), rate_hz)
    frames = walk(path)
    assert frames is not None
    assert frames.is_sure
    assert frames.kind.is_mpeg1 == (rate_hz >= 32_000)
    assert frames.kind.mono == (n_channels == 1)


def test_tags_before_and_after_change_nothing(mp3: Path) -> None:
    plain = walk(mp3)
    mp3.write_bytes(id3v2(200_003) + id3v2(10) + mp3.read_bytes() + b"TAG" + bytes(125))
    assert walk(mp3) == plain


def test_cut_in_a_frame_drops_that_frame(mp3: Path) -> None:
    plain = walk(mp3)
    mp3.write_bytes(mp3.read_bytes()[:-10])
    cut = walk(mp3)
    assert plain is not None
    assert cut is not None
    assert cut.n_frames == plain.n_frames - 1
    assert cut.unbroken
    assert not cut.is_sure


@pytest.mark.parametrize("where", ["before", "inside"])
def test_rubbish_among_frames_is_told(mp3: Path, where: str) -> None:
    data = mp3.read_bytes()
    at = 0 if where == "before" else len(data) // 2
    mp3.write_bytes(data[:at] + bytes(999) + data[at:])
    frames = walk(mp3)
    assert frames is not None
    assert not frames.unbroken


def test_rubbish_after_the_end_is_passed_over(mp3: Path) -> None:
    plain = walk(mp3)
    mp3.write_bytes(mp3.read_bytes() + b"\xff\xff\xff" + bytes(5000) + b"rubbish")
    assert walk(mp3) == plain


@pytest.mark.parametrize("content", [b"x", b"\xff" * 5000, b"ID3", id3v2(100)[:50], bytes(70_000)])
def test_what_is_no_mp3_gives_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp3").write_bytes(content)
    assert walk(tmp_path / "a.mp3") is None


def test_real_files_count_as_they_decode(shared_mp3s: list[Path]) -> None:
    for path in shared_mp3s:
        frames = walk(path)
        with capture_stderr():
            decoded = len(sf.read(path, dtype="float32")[0])
            claimed = sf.info(path).frames
        assert frames is not None
        assert frames.is_sure
        assert decoded == (claimed if frames.has_header else frames.n_samples), path


@pytest.fixture(scope="module")
def shared_mp3s() -> list[Path]:
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "audio"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    return sorted(folder.rglob("*.mp3"))[::8]
