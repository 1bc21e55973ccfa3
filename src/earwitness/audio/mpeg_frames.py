"""Frames of an MPEG audio file, counted by their headers without decoding.

Header layout: ISO/IEC 11172-3, 13818-3 and the unofficial MPEG-2.5. The Xing/Info header replaces
the main data of the first frame; the VBRI header is 32 bytes after the frame header.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from earwitness.audio.files import read_at
from earwitness.audio.headers import (
    TAG_MARKS,
    end_of_id3v2,
    end_of_tags,
    start_of_tags,
    untagged_bytes,
)

CHUNK_BYTES = 1 << 20
LONGEST_LEAD = 1 << 16
LONGEST_FRAME = 2048
FRAMES_TO_BELIEVE = 2
FRAMES_OF_ANOTHER_KIND = 6
"""Minimum number of consecutive frames of a kind other than the first."""

_LAYER_I, _LAYER_II, _LAYER_III = 3, 2, 1
_MPEG1 = 3
_KBPS = {
    (True, _LAYER_I): (*range(0, 449, 32), 0),
    (True, _LAYER_II): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 0),
    (True, _LAYER_III): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    (False, _LAYER_I): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256, 0),
    (False, _LAYER_II): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
    (False, _LAYER_III): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
_RATES_HZ = {
    _MPEG1: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}
_MONO = 3
_DECODER_DELAY = 529


class FrameKind(NamedTuple):
    """Properties common to all frames of a stream."""

    version: int
    rate_index: int
    mono: bool
    layer: int = _LAYER_III

    @property
    def is_mpeg1(self) -> bool:
        """Whether it is MPEG-1, not MPEG-2 or 2.5."""
        return self.version == _MPEG1

    @property
    def is_layer3(self) -> bool:
        """Whether it is Layer III."""
        return self.layer == _LAYER_III

    @property
    def codec(self) -> str:
        """Name of the coding."""
        return f"mp{4 - self.layer}"

    @property
    def n_channels(self) -> int:
        """Channels."""
        return 1 if self.mono else 2

    @property
    def rate_hz(self) -> int:
        """Samples per second."""
        return _RATES_HZ[self.version][self.rate_index]

    @property
    def samples(self) -> int:
        """Samples per channel of a frame."""
        if self.layer == _LAYER_I:
            return 384
        return 1152 if self.is_mpeg1 or self.layer == _LAYER_II else 576

    @property
    def side_bytes(self) -> int:
        """Bytes of Layer III side information after the header."""
        if self.is_mpeg1:
            return 17 if self.mono else 32
        return 9 if self.mono else 17


@functools.lru_cache(maxsize=128)
def frame_lengths(kind: FrameKind) -> tuple[int, ...]:
    """Return the frame length by third header byte, 0 for another kind."""
    kbps = _KBPS[kind.is_mpeg1, kind.layer]
    slot = 4 if kind.layer == _LAYER_I else 1
    per_kbps = kind.samples // 8 * 1000 // slot
    return tuple(
        (kbps[third >> 4] * per_kbps // kind.rate_hz + (third >> 1 & 1)) * slot
        if kbps[third >> 4] and third >> 2 & 3 == kind.rate_index
        else 0
        for third in range(256)
    )


class Run(NamedTuple):
    """Consecutive frames of one kind, with ``n_lost`` bytes of neither frames nor tags before."""

    start: int
    stop: int
    n_frames: int
    kind: FrameKind
    n_lost: int


@dataclass(frozen=True)
class Mp3Frames:
    """Frames of a file.

    Attributes:
        n_frames: Number of audio frames, without a header frame.
        kind: Kind of the first run.
        unbroken: There is only one run.
        has_header: The first frame is a Xing or Info header.
        has_vbri: The first frame is a VBRI header.
        claimed_frames: Number of frames in the header, if any.
        ends_in_a_frame: The file ends within a frame.
        delay: Samples to drop at the start, from encoder and decoder.
        padding: Samples to drop at the end.
        runs: The frames, header frames included.
        starts_in_tags: The file begins with a tag or a WAV header.
        n_trailing: Bytes after the last frame that are neither frames nor tags.
    """

    n_frames: int
    kind: FrameKind
    unbroken: bool
    has_header: bool
    has_vbri: bool
    claimed_frames: int | None
    ends_in_a_frame: bool
    delay: int
    padding: int
    runs: tuple[Run, ...] = field(compare=False)
    starts_in_tags: bool = field(compare=False)
    n_trailing: int = field(compare=False)

    @property
    def n_samples(self) -> int:
        """Samples per channel, encoder delay and padding included."""
        return self.n_frames * self.kind.samples

    @property
    def is_sure(self) -> bool:
        """Whether decoding gives this count, up to delay and padding."""
        return self.unbroken and (not self.has_header or self.claimed_frames == self.n_frames)


def walk_frames(fd: int) -> Mp3Frames | None:
    """Return all frames of an MPEG audio file, or ``None`` if there are none."""
    size = os.fstat(fd).st_size
    stop = start_of_tags(fd, size)
    lead = end_of_tags(fd, 0, stop)
    runs = list(_runs(fd, lead, stop))
    if not runs:
        return None
    kind = runs[0].kind
    first = read_at(fd, runs[0].start, 4 + kind.side_bytes + 160)
    header = first[4 + kind.side_bytes :] if kind.is_layer3 else b""
    has_header = header[:4] in {b"Xing", b"Info"}
    has_vbri = kind.is_layer3 and first[36:40] == b"VBRI"
    claimed = _claimed_frames(header) if has_header else None
    delay, padding = _delay_and_padding(header) if claimed else (0, 0)
    end = runs[-1].stop
    return Mp3Frames(
        n_frames=sum(run.n_frames for run in runs) - (has_header or has_vbri),
        kind=kind,
        unbroken=runs[0].start == end_of_id3v2(fd) and len(runs) == 1 and not has_vbri,
        has_header=has_header,
        has_vbri=has_vbri,
        claimed_frames=claimed,
        ends_in_a_frame=_is_cut_frame(read_at(fd, end, LONGEST_FRAME), runs[-1].kind),
        delay=delay,
        padding=padding,
        runs=tuple(runs),
        starts_in_tags=lead > 0 or read_at(fd, 0, 3) in {*TAG_MARKS, b"RIF"},
        n_trailing=untagged_bytes(fd, end, stop),
    )


def frames_of(fd: int, run: Run) -> Iterator[bytes]:
    """Yield the frames of a run."""
    lengths = frame_lengths(run.kind)
    position = run.start
    while position < run.stop:
        chunk = read_at(fd, position, min(CHUNK_BYTES, run.stop - position))
        offset = 0
        while offset + 4 <= len(chunk):
            length = lengths[chunk[offset + 2]]
            if length == 0 or offset + length > len(chunk):
                break
            yield chunk[offset : offset + length]
            offset += length
        if offset == 0:
            return
        position += offset


def _claimed_frames(header: bytes) -> int | None:
    """Return the number of frames in a Xing or Info header."""
    return int.from_bytes(header[8:12], "big") if len(header) >= 12 and header[7] & 1 else None


def _delay_and_padding(header: bytes) -> tuple[int, int]:
    """Return samples to drop at start and end, from the LAME fields as in libmpg123.

    The fields follow optional frames, bytes, table and quality. Missing fields are zero.
    """
    flags = header[7]
    position = 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1)
    position += 4 * (flags >> 3 & 1) + 21
    packed = int.from_bytes(header[position : position + 3].ljust(3, b"\0"), "big")
    return (packed >> 12) + _DECODER_DELAY, max(0, (packed & 0xFFF) - _DECODER_DELAY)


def _is_cut_frame(tail: bytes, kind: FrameKind) -> bool:
    """Return whether the rest of the file is the start of one more frame."""
    return _kind_of(tail[:4]) == kind and len(tail) < frame_lengths(kind)[tail[2]]


def _kind_of(header: bytes) -> FrameKind | None:
    """Return the kind of a frame header, or ``None`` if it is not one."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    rate_index = header[2] >> 2 & 3
    if version not in _RATES_HZ or layer == 0 or rate_index == 3:
        return None
    return FrameKind(version, rate_index, header[3] >> 6 == _MONO, layer)


def _runs(fd: int, lead: int, stop: int) -> Iterator[Run]:
    """Yield the runs of frames between two offsets.

    A last frame is dropped if another frame begins inside it: it is incomplete or its header wrong.
    """
    run = _first_run(fd, lead, stop)
    first = run.kind if run else None
    while run is not None and first is not None:
        n_frames, end, last = _follow(fd, run.start, run.kind)
        found = _next_start(fd, end, last, stop, first)
        if found is not None and found < end:
            n_frames, end = n_frames - 1, last
        if n_frames:
            yield run._replace(stop=end, n_frames=n_frames)
        if found is None:
            return
        kind = _kind_of(read_at(fd, found, 4)) or first
        run = Run(found, found, 0, kind, untagged_bytes(fd, end, found))


def _first_run(fd: int, lead: int, stop: int) -> Run | None:
    """Return the start of the first run: after tags, else anywhere (a tag's size may be wrong)."""
    for start, limit, n_frames in (
        (lead, lead + 1, FRAMES_TO_BELIEVE),
        (0, stop, FRAMES_OF_ANOTHER_KIND),
        (lead, min(stop, lead + LONGEST_LEAD), FRAMES_TO_BELIEVE),
    ):
        found = _find_chain(fd, start, limit, stop, n_frames)
        kind = None if found is None else _kind_of(read_at(fd, found, 4))
        if found is not None and kind is not None:
            return Run(found, found, 0, kind, max(0, found - lead))
    return None


def _next_start(fd: int, end: int, last: int, stop: int, first: FrameKind) -> int | None:
    """Return the start of the next run after a chain that ends at ``end``."""
    after = end_of_tags(fd, end, stop)
    if after >= stop:
        return None
    if after > end and _find_chain(fd, after, after + 1, stop, FRAMES_TO_BELIEVE) == after:
        return after
    return _find_chain(fd, last + 4, stop, stop, FRAMES_TO_BELIEVE, like=first)


def _follow(fd: int, start: int, kind: FrameKind, limit: int | None = None) -> tuple[int, int, int]:
    """Return the number of consecutive frames of a kind, the offset after them and of the last."""
    lengths = frame_lengths(kind)
    seconds = {0xE0 | kind.version << 3 | kind.layer << 1 | crc for crc in (0, 1)}
    position, n_frames, last = start, 0, start
    while limit is None or n_frames < limit:
        chunk = read_at(fd, position, CHUNK_BYTES if limit is None else 1 << 13)
        offset = 0
        while offset + 4 <= len(chunk):
            length = lengths[chunk[offset + 2]]
            if (
                chunk[offset] != 0xFF
                or chunk[offset + 1] not in seconds
                or (chunk[offset + 3] >> 6 == _MONO) is not kind.mono
                or length == 0
                or n_frames == limit
            ):
                return n_frames, position + offset, last
            if offset + length > len(chunk):
                break
            last = position + offset
            offset += length
            n_frames += 1
        if offset == 0:
            return n_frames, position, last
        position += offset
    return n_frames, position, last


def _find_chain(
    fd: int,
    start: int,
    limit: int,
    stop: int,
    n_frames: int,
    *,
    like: FrameKind | None = None,
) -> int | None:
    """Return the first start of a chain of ``n_frames`` frames from ``start`` to ``limit``.

    One whole frame that ends at ``stop`` is a chain too; chains of a kind other than ``like`` must
    be longer.
    """
    position = start
    while position < limit:
        chunk = read_at(fd, position, CHUNK_BYTES)
        at = chunk.find(b"\xff")
        while at >= 0 and position + at < limit:
            kind = _kind_of(chunk[at : at + 4])
            if kind is not None and _may_continue(chunk, at, kind):
                needed = n_frames if like in (None, kind) else FRAMES_OF_ANOTHER_KIND
                if _is_chain(fd, position + at, kind, needed, stop):
                    return position + at
            at = chunk.find(b"\xff", at + 1)
        if len(chunk) < CHUNK_BYTES:
            return None
        position += len(chunk) - 3
    return None


def _may_continue(chunk: bytes, at: int, kind: FrameKind) -> bool:
    """Return whether a frame of the same kind can follow, as far as the chunk shows."""
    after = at + frame_lengths(kind)[chunk[at + 2]]
    following = chunk[after : after + 4]
    return after > at and (len(following) < 4 or _kind_of(following) == kind)


def _is_chain(fd: int, start: int, kind: FrameKind, needed: int, stop: int) -> bool:
    n_frames, end, _ = _follow(fd, start, kind, needed)
    return n_frames >= needed or (n_frames == 1 and needed == FRAMES_TO_BELIEVE and end >= stop)
