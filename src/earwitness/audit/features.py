"""What an audit knows of one file, taken in one pass over it.

Conventions: ``FileFeatures`` belong to bytes, not to a path: equal bytes are decoded once. Of a
very long file the beginning is used. What cannot be read has an ``error`` and nothing else but,
where it can be read at all, the hash of its bytes.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.decode import (
    AudioInfo,
    Packets,
    mix_down,
    probe_audio,
    read_slice,
    scan_packets,
)
from earwitness.audio.resample import resample
from earwitness.audit.near_duplicates.fingerprints import (
    N_CLASSES,
    RATE_HZ,
    Chroma,
    Words,
    fingerprint,
    time_chroma,
)
from earwitness.audit.signal import Channel, measure_channel
from earwitness.core.errors import AudioError

LONGEST_S = 1_200
"""How much of a file is heard, from its start."""

VERSION = 2
"""Raised whenever the same file gives another ``FileFeatures``."""

CRASHED = "the audio decoder crashed on this file"
KILLED = "the process that read this file was killed from outside, or memory ran out"


_ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {
    "words": ("<u4", (-1,)),
    "chroma": ("<i1", (-1, N_CLASSES)),
}


@dataclass(frozen=True, eq=False)
class FileFeatures:
    """What is known of one file.

    Attributes:
        sha256: Of its bytes; ``None`` where they cannot be read.
        error: Why it cannot be heard; ``None`` where it can.
        packets_sha256: Of its compressed packets; ``None`` where they cannot be told.
        samples_sha256: Of its samples at their own rate, rounded to 16 bits.
        duration_s: Its length.
        sample_rate_hz: Its own rate.
        n_channels: Its channels.
        codec: Coding of its samples.
        container: What they are wrapped in.
        bit_rate_kbps: Mean over its compressed packets, to the nearest whole number.
        encoder: What wrote it, as its tag says.
        tag_fields: Names of its other metadata fields, with ``|`` between them; empty for none.
        cover_art: ``yes`` or ``no``: whether it holds a cover picture.
        channel: What the channel left on it.
        words: Sub-fingerprints, see ``audio.fingerprint``.
        chroma: Time–chroma, see ``audio.chroma``.
    """

    sha256: str | None = None
    error: str | None = None
    packets_sha256: str | None = None
    samples_sha256: str | None = None
    duration_s: float | None = None
    sample_rate_hz: int | None = None
    n_channels: int | None = None
    codec: str | None = None
    container: str | None = None
    bit_rate_kbps: int | None = None
    encoder: str | None = None
    tag_fields: str | None = None
    cover_art: str | None = None
    channel: Channel | None = None
    words: Words = field(default_factory=lambda: np.zeros(0, dtype=np.uint32))
    chroma: Chroma = field(default_factory=lambda: np.zeros((0, N_CLASSES), dtype=np.int8))


def hear_file(path: str, sha256: str) -> FileFeatures:
    """Take everything an audit wants to know of a file; errors become words.

    Args:
        path: The file.
        sha256: Of its bytes.
    """
    try:
        info = probe_audio(path)
        n_samples = min(info.n_samples, LONGEST_S * info.sample_rate_hz)
        samples = read_slice(path, 0, n_samples)
        packets = scan_packets(path)
    except AudioError as error:
        return FileFeatures(sha256, error.reason)
    low = resample(mix_down(samples), info.sample_rate_hz, RATE_HZ)[0]
    return FileFeatures(
        sha256,
        packets_sha256=packets.sha256 if packets else None,
        samples_sha256=_hash_samples(samples, info),
        duration_s=info.duration_s,
        sample_rate_hz=info.sample_rate_hz,
        n_channels=info.n_channels,
        codec=info.codec,
        container=info.container,
        bit_rate_kbps=_bit_rate_kbps(packets, info),
        encoder=packets.encoder if packets else None,
        tag_fields="|".join(packets.tags) if packets else None,
        cover_art=("yes" if packets.has_cover else "no") if packets else None,
        channel=measure_channel(samples, info.sample_rate_hz),
        words=fingerprint(low),
        chroma=time_chroma(low),
    )


def _bit_rate_kbps(packets: Packets | None, info: AudioInfo) -> int | None:
    return round(packets.n_bytes * 8 / info.duration_s / 1000) if packets else None


def _hash_samples(samples: NDArray[np.float32], info: AudioInfo) -> str:
    """Return the SHA-256 of samples rounded to 16 bits, with their rate, channels and length."""
    shape = f"{info.sample_rate_hz}\0{info.n_channels}\0{info.n_samples}\0"
    digest = hashlib.sha256(shape.encode())
    for channel in samples:
        rounded = np.rint(channel * 32_768).clip(-32_768, 32_767).astype("<i2")
        digest.update(rounded.tobytes())
    return digest.hexdigest()


def sound_row(sound: FileFeatures) -> dict[str, Any]:
    """Return a sound as JSON can hold it: arrays as base64 of their little-endian bytes."""
    row = {one.name: getattr(sound, one.name) for one in fields(FileFeatures)}
    packed = {name: base64.b64encode(row[name].tobytes()).decode() for name in _ARRAYS}
    return row | packed


def read_row(row: Any) -> FileFeatures:
    """Return the sound that ``sound_row`` made a row of.

    Raises:
        TypeError: The row is another.
        KeyError: Likewise.
        ValueError: Likewise.
    """
    unpacked = {
        name: np.frombuffer(base64.b64decode(row[name]), dtype).reshape(shape)
        for name, (dtype, shape) in _ARRAYS.items()
    }
    channel = None if row["channel"] is None else Channel(*row["channel"])
    return FileFeatures(**(row | unpacked | {"channel": channel}))
