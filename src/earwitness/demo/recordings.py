"""One piece of made-up music and the files made from it.

Conventions: the format follows the suffix, and every file of one format is written with the same
settings, real or fake: MP3 at a variable rate of about 145 kbit/s (LAME's low-pass lies near
17 kHz), WAV and FLAC at 16 bit.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from scipy.signal import resample_poly

from earwitness.core.files import replacing
from earwitness.demo.fakes import make_fake
from earwitness.demo.instruments import SAMPLE_RATE_HZ, Samples
from earwitness.demo.music import compose
from earwitness.demo.score import draw_artist

CLIP_RATE_HZ = 16_000
"""Rate of FakeMusicCaps clips, which are mono."""


class Copy(NamedTuple):
    """One file of a recording.

    Attributes:
        path: Where it is written.
        fake: Kind of fake, ``None`` for the real recording.
        narrow: Whether it is written in mono at 16 kHz.
    """

    path: Path
    fake: str | None = None
    narrow: bool = False


@dataclass(frozen=True)
class Recording:
    """A track to be composed and its copies.

    Attributes:
        title: What to call it when it is done.
        seed: Seed of the track.
        artist: Seed of the artist.
        length_s: Length in seconds.
        copies: Files made of it.
    """

    title: str
    seed: tuple[int, ...]
    artist: tuple[int, ...]
    length_s: float
    copies: tuple[Copy, ...]


def make_recording(recording: Recording) -> str:
    """Compose the track, make and write its copies; return its title."""
    artist = draw_artist(np.random.default_rng(recording.artist), recording.title)
    track = compose(recording.seed, artist, length_s=recording.length_s)
    for i, (path, fake, narrow) in enumerate(recording.copies):
        seed = (*recording.seed, i)
        write_samples(path, make_fake(fake, track, seed=seed) if fake else track, narrow=narrow)
    return recording.title


def write_samples(path: Path, samples: Samples, *, narrow: bool = False) -> None:
    """Write ``(2, n_samples)`` at 44.1 kHz as an audio file; its folder is made.

    Args:
        path: MP3, WAV or FLAC, by its suffix.
        samples: What to write.
        narrow: Write the mean of the channels at 16 kHz.

    Raises:
        RunError: The disk is full, or refuses the file for another reason.
    """
    rate = CLIP_RATE_HZ if narrow else SAMPLE_RATE_HZ
    if narrow:
        samples = resample_poly(samples.mean(axis=0, keepdims=True), 160, 441, axis=1)
    settings: dict[str, Any] = (
        {"bitrate_mode": "VARIABLE", "compression_level": 0.4}
        if path.suffix == ".mp3"
        else {"subtype": "PCM_16"}
    )
    content = io.BytesIO()  # libsndfile does not say what a disk refuses
    soundfile.write(content, samples.T, rate, format=path.suffix[1:], **settings)
    with replacing(path) as temporary:
        temporary.write_bytes(content.getvalue())
