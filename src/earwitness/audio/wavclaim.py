"""The length a WAV file's header claims, which libsndfile corrects without a word.

Conventions: RIFF chunks are little-endian and padded to even lengths; RF64 and BW64 keep long
sizes in a ``ds64`` chunk (EBU Tech 3306).
"""

from __future__ import annotations

from earwitness.audio.regular import read_at

UNKNOWN_BELOW_4_GIB = range(0x7FFF0000, 0x80000000)
"""Sizes that programs write when they do not know the length; 0 and 0xFFFFFFFF are others."""

_MOST_CHUNKS = 64
_PCM_TAGS = {0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE}


def claimed_wav_samples(fd: int) -> int | None:
    """Return the samples per channel that a WAV header claims.

    ``None`` where it is no RIFF file, claims nothing, or its coding has no fixed sample size.
    """
    head = read_at(fd, 0, 12)
    if head[:4] not in {b"RIFF", b"RF64", b"BW64"} or head[8:12] != b"WAVE":
        return None
    position, block_bytes, long_size = 12, 0, 0
    for _ in range(_MOST_CHUNKS):
        chunk = read_at(fd, position, 8)
        if len(chunk) < 8:
            return None
        size = int.from_bytes(chunk[4:8], "little")
        if chunk[:4] == b"data":
            return _samples(long_size or size, block_bytes)
        body = read_at(fd, position + 8, 16)
        if chunk[:4] == b"ds64":
            long_size = int.from_bytes(body[8:16], "little")
        if chunk[:4] == b"fmt " and int.from_bytes(body[:2], "little") in _PCM_TAGS:
            block_bytes = int.from_bytes(body[12:14], "little")
        position += 8 + size + size % 2
    return None


def _samples(size: int, block_bytes: int) -> int | None:
    unknown = size in {0, 0xFFFFFFFF} or size in UNKNOWN_BELOW_4_GIB
    return None if unknown or block_bytes == 0 else size // block_bytes
