"""Round trips through codecs, in memory, and a second decoder."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.clips import resample
from earwitness.audio.pyav import read_all
from earwitness.core.errors import AudioError, PerturbationError, first_line
from earwitness.perturb.base import FieldsAsParameters, Parameters, Samples
from earwitness.perturb.resampling import fit_length

CODECS = {
    "mp3": ("libmp3lame", ".mp3"),
    "aac": ("aac", ".m4a"),
    "opus": ("libopus", ".opus"),
}
"""FFmpeg's encoder and the suffix of the file, by codec."""

_RATES_HZ = {
    "mp3": (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    "opus": (48_000,),
}
_DELAY_SAMPLES = {"aac": 1024}
"""Start of the decoded audio, where the file does not state the delay of the encoder."""

_VORBIS_BLOCK = 20_000
"""Samples in a call: libsndfile overflows its stack with long ones."""

_OTHER_RATES_HZ = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)


@dataclass(frozen=True)
class Coding(FieldsAsParameters):
    """A lossy codec at a constant bit rate, decoded to the same rate, length and position."""

    codec: str
    bit_rate_kbps: int

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise ValueError(f"codec {self.codec!r}, expected {', '.join(CODECS)}")

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return decoded samples; ``PerturbationError`` for over two channels."""
        content, coded_hz = self.encode(samples, sample_rate_hz)
        try:
            decoded, _ = read_all(io.BytesIO(content), self.codec)
        except AudioError as error:
            raise PerturbationError(f"{self.codec}: {error.reason}, expected audio") from error
        delay = _DELAY_SAMPLES.get(self.codec, 0)
        back = resample(decoded[:, delay:], coded_hz, sample_rate_hz)
        return fit_length(back, samples.shape[1]), sample_rate_hz

    def encode(self, samples: Samples, sample_rate_hz: int) -> tuple[bytes, int]:
        """Return the coded file and its rate, the lowest of the codec that keeps the band."""
        from earwitness.audio.encode import write_coded

        if samples.shape[0] > 2:
            found = f"{samples.shape[0]} channels"
            raise PerturbationError(f"{self.codec}: {found}, expected one or two")
        rates = _RATES_HZ.get(self.codec, _OTHER_RATES_HZ)
        coded_hz = next((rate for rate in rates if rate >= sample_rate_hz), rates[-1])
        encoder, suffix = CODECS[self.codec]
        resampled = resample(samples, sample_rate_hz, coded_hz)
        file = io.BytesIO()
        try:
            write_coded(
                file,
                fit_length(resampled, max(1, resampled.shape[1])),
                coded_hz,
                codec=encoder,
                kbps=self.bit_rate_kbps,
                suffix=suffix,
            )
        except (ValueError, OSError) as error:
            raise PerturbationError(f"{self.codec}: {first_line(error)}") from error
        return file.getvalue(), coded_hz


@dataclass(frozen=True)
class Vorbis(FieldsAsParameters):
    """Ogg Vorbis, by libsndfile: PyAV's FFmpeg has no good encoder of it.

    The quality is from 0 to 10, as oggenc has it; 5 is about 160 kbit/s.
    """

    quality: float

    def __post_init__(self) -> None:
        if not 0 <= self.quality <= 10:
            raise ValueError(f"quality is {self.quality}, expected 0 to 10")

    @property
    def parameters(self) -> Parameters:
        """The codec and its quality."""
        return {"codec": "vorbis", "quality": self.quality}

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return decoded samples; ``PerturbationError`` for a rate that the encoder refuses."""
        import soundfile

        file = io.BytesIO()
        try:
            with soundfile.SoundFile(
                *(file, "w", sample_rate_hz, samples.shape[0], "VORBIS"),
                format="OGG",
                compression_level=1 - self.quality / 10,
            ) as sound:
                for start in range(0, samples.shape[1], _VORBIS_BLOCK):
                    sound.write(samples[:, start : start + _VORBIS_BLOCK].T)
            file.seek(0)
            back, _ = soundfile.read(file, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise PerturbationError(f"vorbis: {first_line(error)}") from error
        return fit_length(back.T, samples.shape[1]), sample_rate_hz


@dataclass(frozen=True)
class Lossless(FieldsAsParameters):
    """A round trip through a file of 24-bit integers, FLAC or WAV.

    Samples over full scale, as decoded MP3 has them, are not clipped: the file is written at a
    power of two below, and the same power restores its level.
    """

    container: str

    def __post_init__(self) -> None:
        if self.container not in ("flac", "wav"):
            raise ValueError(f"container {self.container!r}, expected flac or wav")

    @property
    def parameters(self) -> Parameters:
        """The container, and what is done with samples over full scale."""
        return {"container": self.container, "bits": 24, "over_full_scale": "scaled"}

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return samples rounded to 24 bits; ``PerturbationError`` if the format has no room."""
        import soundfile

        file = io.BytesIO()
        kind = self.container.upper()
        peak = float(np.abs(samples).max(initial=0))
        scale = np.float32(2.0 ** np.ceil(np.log2(peak)) if peak > 1 else 1)
        try:
            soundfile.write(
                *(file, round_to_24_bits(samples / scale).T, sample_rate_hz),
                subtype="PCM_24",
                format=kind,
            )
            file.seek(0)
            back, _ = soundfile.read(file, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise PerturbationError(f"{self.container}: {first_line(error)}") from error
        return np.ascontiguousarray(back.T) * scale, sample_rate_hz


def round_to_24_bits(samples: Samples) -> NDArray[np.int32]:
    """Return the nearest 24-bit integers, in the upper bits of 32, of samples in [-1, 1].

    libsndfile's own conversion of floats truncates for WAV.
    """
    nearest = np.rint(samples.astype(np.float64) * 2**23)
    return np.minimum(nearest, 2**23 - 1).astype(np.int32) * np.int32(256)


@dataclass(frozen=True)
class OtherDecoder(FieldsAsParameters):
    """A file decoded by FFmpeg, through PyAV, instead of libsndfile."""

    @property
    def parameters(self) -> Parameters:
        """The decoder."""
        return {"decoder": "ffmpeg"}

    def read(self, path: Path) -> tuple[Samples, int]:
        """Return the samples of a file and their rate."""
        try:
            with path.open("rb") as file:
                return read_all(file, str(path))
        except OSError as error:
            raise AudioError(str(path), first_line(error)) from error
