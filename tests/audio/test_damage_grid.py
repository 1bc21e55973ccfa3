"""Damaged files of every format against FFmpeg, the frame walker and what was written.

Each case damages one file in one way and reads it whole and in slices. It may be refused, with an
error of one line. If it is read, its length is within 1 % of what FFmpeg decodes, of the frames
that the walker counts, or of what was written, it is no shorter than 99 % of what FFmpeg decodes,
and slices equal the whole. ``EARWITNESS_DAMAGE_CASES=500`` tries that many per format and seeds
them with ``EARWITNESS_DAMAGE_SEED``.
"""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from earwitness.audio.decode import capture_stderr, probe_audio, read_audio, read_slice
from earwitness.audio.mpeg_frames import walk_frames
from earwitness.core.errors import AudioError
from soundfiles import music, write_av

N_CASES = int(os.environ.get("EARWITNESS_DAMAGE_CASES", "10"))
SEED = int(os.environ.get("EARWITNESS_DAMAGE_SEED", "0"))
SECONDS = 3.0
RATE = 44_100
SIZES = (1, 3, 20, 300, 2_000, 20_000)
SLACK_S = 0.06
"""Encoder delay and padding that decoders drop or keep."""

PLAIN = {"write_xing": "0", "id3v2_version": "0"}


def by_soundfile(**options: Any) -> Callable[[Path, np.ndarray], object]:
    return lambda path, samples: sf.write(path, samples, RATE, **options)


def by_av(codec: str, format_: str, *, mono: bool = False, **options: Any) -> Any:
    def write(path: Path, samples: np.ndarray) -> None:
        rate = 48_000 if codec == "libopus" else RATE
        write_av(path, samples[:, :1] if mono else samples, rate, codec, format=format_, **options)

    return write


WRITERS: dict[str, Any] = {
    "info.mp3": by_av("libmp3lame", "mp3"),
    "plain.mp3": by_av("libmp3lame", "mp3", muxer=PLAIN),
    "mono.mp3": by_av("libmp3lame", "mp3", muxer=PLAIN, mono=True, bit_rate=48_000),
    "vbr.mp3": by_soundfile(bitrate_mode="VARIABLE"),
    "a.mp2": by_av("mp2", "mp2", mono=True, sample_format="s16"),
    "a.wav": by_soundfile(subtype="PCM_16"),
    "float.wav": by_soundfile(subtype="FLOAT"),
    "ima.wav": by_soundfile(subtype="IMA_ADPCM"),
    "a.flac": by_soundfile(),
    "a.ogg": by_soundfile(),
    "a.opus": by_av("libopus", "ogg", mono=True, sample_format="flt"),
    "a.m4a": by_av("aac", "ipod"),
    "alac.m4a": by_av("alac", "ipod", sample_format="s16p"),
    "a.aac": by_av("aac", "adts"),
    "a.wma": by_av("wmav2", "asf"),
    "a.webm": by_av("libopus", "webm", mono=True, sample_format="flt"),
    "a.aiff": by_soundfile(),
    "a.au": by_soundfile(),
    "a.caf": by_soundfile(),
    "a.w64": by_soundfile(),
}


DAMAGES = ("gone", "changed", "zeroed", "zeros inserted", "noise inserted", "truncated")
DAMAGES += ("joined", "header edited", "tag behind", "tag before")


def damaged(kind: str, data: bytes, at: int, n: int, rng: np.random.Generator) -> bytes:
    """Return a file after one damage of ``n`` bytes at an offset."""
    return {
        "gone": data[:at] + data[at + n :],
        "changed": put(data, at, rng.bytes(n)),
        "zeroed": put(data, at, bytes(n)),
        "zeros inserted": data[:at] + bytes(n) + data[at:],
        "noise inserted": data[:at] + rng.bytes(n) + data[at:],
        "truncated": data[: max(100, at)],
        "joined": data + data,
        "header edited": put(data, at % 120, rng.bytes(1 + n % 3)),
        "tag behind": data + b"TAG" + bytes(125),
        "tag before": b"ID3\x04\0\0\0\0\x07\x68" + bytes(1_000 + n % 99) + data,
    }[kind]


def put(data: bytes, at: int, content: bytes) -> bytes:
    """Overwrite bytes, no further than the end."""
    return data[:at] + content[: len(data) - at] + data[at + len(content) :]


def by_ffmpeg(path: Path) -> float:
    """Seconds that FFmpeg decodes, past all that it cannot; 0 where it opens nothing."""
    import av

    seconds = 0.0
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            packets = container.demux(container.streams.audio[0])
            while True:
                packet = next(packets, None)
                if packet is None:
                    return seconds
                try:
                    seconds += sum(f.samples / f.sample_rate for f in packet.decode())
                except (av.error.FFmpegError, EOFError):
                    continue
    except (av.error.FFmpegError, EOFError, IndexError, OSError, ValueError):
        return seconds


def by_walker(path: Path) -> float:
    """Seconds of the frames that the walker counts."""
    with path.open("rb") as file:
        frames = walk_frames(file.fileno())
    return frames.n_samples / frames.kind.rate_hz if frames else 0.0


def problem_with(path: Path, written_s: float, rng: np.random.Generator) -> str:
    """Read a damaged file; return ``read``, ``refused``, or what is silently wrong."""
    try:
        whole, info = read_audio(path)
        starts = [0, info.n_samples // 2, max(0, info.n_samples - 3_000)]
        starts += list(map(int, rng.integers(0, info.n_samples, 3)))
        for start in starts:
            part = read_slice(path, start, 4_000)
            expected = whole[:, start : start + 4_000]
            if part.shape != expected.shape:
                return f"slice at {start} has {part.shape}, expected {expected.shape}"
            if np.abs(part - expected).max(initial=0) > (5e-7 if info.container == "mp3" else 0):
                return f"slice at {start} differs by {np.abs(part - expected).max()}"
    except AudioError as error:
        return f"an error of two lines: {error}" if "\n" in error.reason else "refused"
    with capture_stderr():
        decoded_s = by_ffmpeg(path)
    near = [decoded_s, written_s]
    if info.codec in {"mp3", "mp2"}:
        near.append(by_walker(path))
    found_s = info.duration_s
    if found_s < 0.99 * decoded_s - SLACK_S:
        return f"{found_s:.3f} s, FFmpeg decodes {decoded_s:.3f} s"
    if not any(abs(found_s - s) <= 0.01 * s + SLACK_S for s in near):
        return f"{found_s:.3f} s, expected one of {near}"
    return "read"


@pytest.mark.parametrize("name", WRITERS)
def test_no_damage_changes_a_file_in_silence(tmp_path: Path, name: str) -> None:
    written = tmp_path / name
    WRITERS[name](written, music(RATE, SECONDS, 1 if name == "ima.wav" else 2))
    original, written_s = written.read_bytes(), probe_audio(written).duration_s
    rng = np.random.default_rng([SEED, *name.encode()])
    problems, outcomes = [], Counter[str]()
    for turn in range(N_CASES):
        damage = DAMAGES[turn % len(DAMAGES)]
        n, at = int(rng.choice(SIZES)), int(rng.integers(len(original)))
        path = written.with_stem(f"{written.stem}{turn}")
        path.write_bytes(damaged(damage, original, at, n, rng))
        problem = problem_with(path, written_s * (1 + (damage == "joined")), rng)
        outcomes[problem if problem in {"read", "refused"} else "wrong"] += 1
        if problem not in {"read", "refused"}:
            problems.append(f"{damage} ({n} bytes at {at}): {problem}")
        path.unlink()
    print(name, dict(outcomes))  # shown by pytest -s
    assert not problems, "\n".join(problems)
