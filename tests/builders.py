"""Small real files that tests build on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile


def write_tone(
    path: Path, *, seconds: float = 1.0, hz: float = 440.0, rate: int = 44_100, channels: int = 2
) -> Path:
    """Write a tone with a little noise; the format follows the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(int(hz))
    times = np.arange(round(seconds * rate)) / rate
    mono = 0.3 * np.sin(2 * np.pi * hz * times) + 0.01 * rng.standard_normal(len(times))
    soundfile.write(path, np.repeat(mono[:, None], channels, axis=1), rate)
    return path


def write_comb(path: Path, seed: int, *, seconds: float = 1.5, level: float = 0.01) -> Path:
    """Write noise with a peak every 86 Hz from 5.5 kHz up, as an upsampling layer leaves them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    times = np.arange(round(44_100 * seconds)) / 44_100
    samples = 0.1 * rng.standard_normal(len(times))
    for hz in np.arange(5_512.5, 16_000, 44_100 / 512):
        samples += level * np.sin(2 * np.pi * hz * times + rng.uniform(0, 6))
    soundfile.write(path, samples.clip(-1, 1), 44_100)
    return path


def write_split_file(path: Path, **splits: list[str]) -> Path:
    """Write a split file as Deezer's is: a pickled dict of arrays of names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, {name: np.array(names) for name, names in splits.items()}, allow_pickle=True)
    return path


def touch(path: Path) -> Path:
    """Make an empty file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path
