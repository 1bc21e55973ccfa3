"""Ways in which tracks come back changed, for the audit's benchmark.

Conventions: a kind takes samples ``(2, n)`` at ``RATE_HZ`` and returns changed ones. Most are
FFmpeg filter chains.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

RATE_HZ = 44_100
Samples = NDArray[np.float32]
Kind = Callable[[Samples, Samples], Samples]
"""Takes a track and an unrelated one."""

CROP_START_S = 7.3


def filtered(chain: str) -> Kind:
    """Return a kind that sends a track through FFmpeg filters."""
    return lambda track, _: run_filters(track, chain)


def run_filters(samples: Samples, chain: str) -> Samples:
    graph = av.filter.Graph()
    layout = "sample_fmt=fltp:channel_layout=stereo"
    nodes = [graph.add("abuffer", f"sample_rate={RATE_HZ}:{layout}:time_base=1/{RATE_HZ}")]
    for part in chain.split(","):
        name, _, options = part.partition("=")
        nodes.append(graph.add(name, options or None))
    nodes.append(
        graph.add("aformat", f"sample_fmts=fltp:sample_rates={RATE_HZ}:channel_layouts=stereo")
    )
    nodes.append(graph.add("abuffersink"))
    for one, other in pairwise(nodes):
        one.link_to(other)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(samples, dtype=np.float32), format="fltp", layout="stereo"
    )
    frame.sample_rate, frame.pts = RATE_HZ, 0
    graph.push(frame)
    graph.push(None)
    parts = []
    while True:
        try:
            parts.append(graph.pull().to_ndarray())
        except (av.error.EOFError, av.error.BlockingIOError):
            return np.concatenate(parts, axis=1)


def coded(suffix: str, codec: str, kbps: int, times: int = 1) -> Kind:
    """Return a kind that codes a track, several times over where asked."""

    def change(track: Samples, _: Samples) -> Samples:
        from earwitness.audio.decode import read_audio
        from earwitness.audio.encode import write_coded

        with tempfile.TemporaryDirectory() as folder:
            rate = RATE_HZ
            for number in range(times):
                path = Path(folder) / f"{number}{suffix}"
                track, info = read_audio(write_coded(path, track, rate, codec=codec, kbps=kbps))
                rate = info.sample_rate_hz
        return run_filters(track, "anull") if rate == RATE_HZ else resampled(track, rate)

    return change


def resampled(samples: Samples, rate: int) -> Samples:
    from earwitness.audio.clips import resample

    return resample(samples, rate, RATE_HZ)


def speed(factor: float) -> Kind:
    return filtered(f"asetrate={round(RATE_HZ * factor)},aresample={RATE_HZ}")


def pitch(semitones: float) -> Kind:
    factor = 2 ** (semitones / 12)
    rate = round(RATE_HZ * factor)
    return filtered(f"asetrate={rate},aresample={RATE_HZ},atempo={RATE_HZ / rate:.6f}")


def crop(length_s: float) -> Kind:
    start = int(CROP_START_S * RATE_HZ)
    return lambda track, _: track[:, start : start + int(length_s * RATE_HZ)]


def mixed_with_noise(snr_db: float, *, crowd: bool = False) -> Kind:
    def change(track: Samples, _: Samples) -> Samples:
        rng = np.random.default_rng(track.shape[1])
        noise = rng.standard_normal(track.shape).astype(np.float32)
        if crowd:
            noise = run_filters(noise * 0.2, "highpass=f=200,lowpass=f=3000,tremolo=f=3:d=0.6")
            noise = noise[:, : track.shape[1]]
        gain = float(np.sqrt((track**2).mean() / (noise**2).mean())) * 10 ** (-snr_db / 20)
        return track[:, : noise.shape[1]] + noise * gain

    return change


def channels(*rows: tuple[float, float]) -> Kind:
    matrix = np.array(rows, dtype=np.float32)
    return lambda track, _: matrix @ track


def inside_another(track: Samples, other: Samples) -> Samples:
    start, length = int(CROP_START_S * RATE_HZ), 10 * RATE_HZ
    mixed = other.copy()
    mixed[:, length // 2 : length // 2 + length] = track[:, start : start + length]
    return mixed


def late(track: Samples, _: Samples) -> Samples:
    return np.concatenate([np.zeros((2, 10 * RATE_HZ), dtype=np.float32), track], axis=1)


KINDS: dict[str, Kind] = {
    "tempo +3 %": filtered("atempo=1.03"),
    "tempo -3 %": filtered("atempo=0.97"),
    "tempo +10 %": filtered("atempo=1.10"),
    "tempo -10 %": filtered("atempo=0.90"),
    "speed +2 %": speed(1.02),
    "speed -2 %": speed(0.98),
    "speed +3 %": speed(1.03),
    "speed -3 %": speed(0.97),
    "speed +6 %": speed(1.06),
    "speed -6 %": speed(0.94),
    "pitch +1 semitone": pitch(1),
    "pitch -1 semitone": pitch(-1),
    "pitch +2 semitones": pitch(2),
    "pitch -2 semitones": pitch(-2),
    "reverb": filtered("aecho=0.8:0.7:40|90|170|310:0.5|0.4|0.3|0.2"),
    "companding": filtered("acompressor=threshold=0.05:ratio=12:attack=5:release=50:makeup=4"),
    "low-pass 1 kHz": filtered("lowpass=f=1000,lowpass=f=1000"),
    "high-pass 500 Hz": filtered("highpass=f=500,highpass=f=500"),
    "telephone": filtered("highpass=f=300,lowpass=f=3400,aresample=8000"),
    "equaliser": filtered("bass=g=12,treble=g=-12"),
    "mono": channels((0.5, 0.5), (0.5, 0.5)),
    "channels swapped": channels((0, 1), (1, 0)),
    "left channel": channels((1, 0), (1, 0)),
    "inverted": channels((-1, 0), (0, -1)),
    "one channel inverted": channels((1, 0), (0, -1)),
    "vocals cancelled": channels((0.5, -0.5), (0.5, -0.5)),
    "noise 20 dB": mixed_with_noise(20),
    "crowd 10 dB": mixed_with_noise(10, crowd=True),
    "tremolo": filtered("tremolo=f=5:d=0.7"),
    "+12 dB, clipped": lambda track, _: (4 * track).clip(-1, 1),
    "crop 2 s": crop(2),
    "crop 2.5 s": crop(2.5),
    "crop 3.2 s": crop(3.2),
    "crop 4 s": crop(4),
    "crop 10 s": crop(10),
    "10 s of silence before": late,
    "MP3 64 kbit/s, 5 times": coded(".mp3", "libmp3lame", 64, times=5),
    "Opus 12 kbit/s": coded(".opus", "libopus", 12),
    "10 s inside another": inside_another,
    "reversed": lambda track, _: track[:, ::-1].copy(),
}
