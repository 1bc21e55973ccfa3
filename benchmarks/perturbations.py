"""What perturbations do, measured by formulas, FFmpeg and sox: the table of their docs page.

Conventions: every perturbation is drawn with seed 0 and applied to synthetic audio at ``RATE_HZ``.
Tests assert the same checks.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from earwitness.perturb.base import Perturbation, Samples
from earwitness.perturb.catalog import draw_for
from earwitness.perturb.room import Reverb

RATE_HZ = 44_100
_SOX_Q = (0.5098, 0.6013, 0.9000, 2.5629)
"""Q of the four biquads of a Butterworth filter of order 8: ``1 / (2 cos((2 k + 1) pi / 16))``."""


class Check(NamedTuple):
    """One measurement of a perturbation.

    Attributes:
        name: The perturbation.
        what: The quantity and its unit.
        by: How it is measured; a name in ``PROGRAMS`` is a program.
        expected: The value that the perturbation's name gives.
        tolerance: Largest difference from it.
        measure: Returns the value.
    """

    name: str
    what: str
    by: str
    expected: float
    tolerance: float
    measure: Callable[[], float]

    @property
    def can_run(self) -> bool:
        """Whether the program that it needs is installed."""
        return self.by not in PROGRAMS or shutil.which(self.by) is not None


PROGRAMS = ("ffmpeg", "sox")


def list_checks() -> Iterator[Check]:
    """Yield all checks, in the order of the table."""
    for color, snr_db in product(("white", "pink"), (30, 20, 10)):
        name = f"noise_{color}_snr_{snr_db}"
        yield Check(name, "SNR, dB", "power", snr_db, 0.01, partial(snr_db_of, name, power_db))
        by_ffmpeg = partial(snr_db_of, name, power_db_by_ffmpeg)
        yield Check(name, "SNR, dB", "ffmpeg", snr_db, 0.02, by_ffmpeg)
    name = "loudness_lufs_-14"
    yield Check(name, "loudness, LUFS", "ffmpeg", -14, 0.2, partial(loudness_lufs, name))
    for semitones in (-2, -1, 1, 2):
        yield from _pitch_checks(f"pitch_semitones_{semitones:+d}", semitones, 1)
    for ratio in (0.95, 1.05):
        yield from _pitch_checks(f"tempo_{ratio}", 0, ratio)
    for ratio in (0.94, 1.06):
        name = f"speed_{ratio}"
        yield from _pitch_checks(name, 12 * np.log2(ratio), ratio, tolerance=0.004)
        against_sox = partial(semitones_over_sox, name, ratio)
        yield Check(name, "pitch over sox's, semitones", "sox", 0, 0.004, against_sox)
    for side, cutoff_hz in (("low", 8000), ("low", 4000), ("high", 200), ("high", 2000)):
        yield from _filter_checks(side, cutoff_hz)
    for slope, octaves in product((-3, 3), (-1, 0, 1, 3)):
        name, hz = f"tilt_db_per_octave_{slope:+d}", 1000 * 2.0**octaves
        response = partial(response_db, name, hz)
        yield Check(name, "gain at a frequency, dB", "impulse", octaves * slope, 0.2, response)
    for rt60_s in (0.3, 1.0):
        decay = partial(reverberation_s, rt60_s)
        yield Check(f"reverb_rt60_{rt60_s}", "RT60, s", "T20", rt60_s, 0.05 * rt60_s, decay)


def _pitch_checks(
    name: str, semitones: float, tempo: float, tolerance: float = 0.05
) -> Iterator[Check]:
    n_samples = tone().shape[1]
    pitch, length = partial(semitones_of, name), partial(length_of, name)
    yield Check(name, "pitch, semitones", "peak of a tone", semitones, tolerance, pitch)
    yield Check(name, "length over that before", "samples", 1 / tempo, 1 / n_samples, length)


def _filter_checks(side: str, cutoff_hz: int) -> Iterator[Check]:
    name, octave = f"{side}pass_{cutoff_hz}", 2.0 if side == "low" else 0.5
    for hz, expected_db in ((cutoff_hz, -3.01), (cutoff_hz / octave, 0)):
        response = partial(response_db, name, hz)
        yield Check(name, "gain at a frequency, dB", "impulse", expected_db, 0.1, response)
    against_sox = partial(error_over_sox, name, side, cutoff_hz)
    yield Check(name, "error over sox's filter, ratio", "sox", 0, 1e-4, against_sox)


def tone(hz: float = 1000, seconds: float = 3) -> Samples:
    """Return a tone, ``(1, n_samples)``."""
    time_s = np.arange(int(RATE_HZ * seconds)) / RATE_HZ
    return (0.2 * np.sin(2 * np.pi * hz * time_s))[None].astype(np.float32)


def noise(seconds: float = 3, n_channels: int = 2) -> Samples:
    """Return white noise, ``(n_channels, n_samples)``."""
    shape = (n_channels, int(RATE_HZ * seconds))
    return (0.1 * np.random.default_rng(1).standard_normal(shape)).astype(np.float32)


def change(name: str, samples: Samples) -> Samples:
    """Return perturbed samples."""
    perturbation = draw_for(name, seed=0, item="a")
    assert isinstance(perturbation, Perturbation)
    return perturbation.apply(samples, RATE_HZ)[0]


def snr_db_of(name: str, power: Callable[[Samples], float]) -> float:
    """Return the power of a tone over that of what is added to it."""
    return power(tone()) - power(change(name, tone()) - tone())


def power_db(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


def power_db_by_ffmpeg(samples: Samples) -> float:
    return float(re.findall(r"RMS level dB: (-?[\d.]+)", ffmpeg(samples, "astats"))[-1])


def loudness_lufs(name: str) -> float:
    """Return the loudness that FFmpeg finds in noise after a normalization."""
    text = ffmpeg(change(name, noise(10) * np.float32(0.3)), "ebur128")
    return float(re.findall(r"I:\s+(-?[\d.]+) LUFS", text)[-1])


def peak_hz(samples: Samples) -> float:
    """Return the frequency of the highest peak of the spectrum."""
    spectrum = np.abs(np.fft.rfft(samples[0] * np.hanning(samples.shape[1]), n=1 << 20))
    return float(spectrum.argmax() * RATE_HZ / (1 << 20))


def semitones_of(name: str) -> float:
    return float(12 * np.log2(peak_hz(change(name, tone())) / 1000))


def length_of(name: str) -> float:
    return float(change(name, tone()).shape[1] / tone().shape[1])


def semitones_over_sox(name: str, ratio: float) -> float:
    other = sox(tone(), "speed", str(ratio))
    return float(12 * np.log2(peak_hz(change(name, tone())) / peak_hz(other)))


def response_db(name: str, hz: float) -> float:
    """Return the gain at a frequency, from the response to an impulse of one second."""
    click = np.zeros((1, RATE_HZ), np.float32)
    click[0, RATE_HZ // 2] = 1
    spectrum = np.abs(np.fft.rfft(change(name, click).astype(np.float64), axis=1))[0]
    return float(20 * np.log10(spectrum[round(hz)]))


def error_over_sox(name: str, side: str, cutoff_hz: int) -> float:
    """Return the difference from sox's filter of the same kind over the filtered noise."""
    filters = [str(part) for q in _SOX_Q for part in (f"{side}pass", "-2", cutoff_hz, f"{q}q")]
    ours, other = change(name, noise()), sox(noise(), *filters)
    return float(np.std(ours - other) / np.std(other))


def reverberation_s(rt60_s: float) -> float:
    """Return three times the time from -5 to -25 dB of Schroeder's decay curve."""
    decay = Reverb(rt60_s, -3.0, 5).impulse_response(RATE_HZ)[1:]
    energy = np.cumsum(np.square(decay)[::-1])[::-1]
    level_db = 10 * np.log10(energy / energy[0])
    return float(3 * (np.argmax(level_db < -25) - np.argmax(level_db < -5)) / RATE_HZ)


def ffmpeg(samples: Samples, audio_filter: str) -> str:
    """Return what a filter of FFmpeg reports."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_wav(Path(folder) / "a.wav", samples)
        command = ["ffmpeg", "-nostats", "-i", str(path), "-af", audio_filter, "-f", "null", "-"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def sox(samples: Samples, *effects: str) -> Samples:
    """Return samples after effects of sox."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = write_wav(Path(folder) / "a.wav", samples), Path(folder) / "b.wav"
        command = ["sox", "-V1", str(source), str(target), *effects]
        subprocess.run(command, check=True)
        changed, _ = soundfile.read(target, dtype="float32", always_2d=True)
    return np.ascontiguousarray(changed.T)


def write_wav(path: Path, samples: Samples) -> Path:
    soundfile.write(path, samples.T, RATE_HZ, subtype="FLOAT")
    return path


def summarize(done: Sequence[tuple[Check, float]]) -> Iterator[tuple[str, ...]]:
    """Yield a row of the table for each kind of perturbation and quantity."""
    groups: dict[tuple[str, str, str], list[tuple[Check, float]]] = {}
    for check, value in done:
        kind = check.name.split("_")[0]
        groups.setdefault((kind, check.what, check.by), []).append((check, value))
    for (kind, what, by), found in groups.items():
        largest = max(found, key=lambda one: abs(one[1] - one[0].expected))
        limits = dict.fromkeys(f"{check.tolerance:.2g}" for check, _ in found)
        difference = f"{abs(largest[1] - largest[0].expected):.2g}"
        yield f"`{kind}_…`", what, by, str(len(found)), difference, ", ".join(limits)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    from doc_tables import markdown_lines

    done = [(check, check.measure()) for check in list_checks() if check.can_run]
    heads = ("perturbations", "what", "by", "checks", "largest difference", "tolerance")
    columns = zip(*summarize(done), strict=True)
    print(*markdown_lines(dict(zip(heads, columns, strict=True))), sep="\n")
    wrong = [c.name for c, value in done if not abs(value - c.expected) <= c.tolerance]
    raise SystemExit(f"outside the tolerance: {', '.join(wrong)}" if wrong else 0)


if __name__ == "__main__":
    main()
