"""The length of an MP3 file, counted from its frame headers without decoding.

Conventions: offsets are bytes. Only Layer III at a stated bit rate is counted; what is not an
unbroken chain of such frames is told apart, for the caller to count by decoding. Header layout
after ISO/IEC 11172-3 and 13818-3 (and the unofficial MPEG-2.5); the Xing/Info header stands
where the first frame would hold its main data, the VBRI header 32 bytes after the frame header.
"""

from __future__ import annotations

from typing import NamedTuple

from earwitness.audio.regular import read_at

CHUNK_BYTES = 1 << 20
LONGEST_LEAD = 1 << 16
LONGEST_FRAME = 2048
FRAMES_TO_BELIEVE = 2

_KBPS_MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_KBPS_MPEG2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_RATES_HZ = {
    3: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}
_LAYER_III = 1
_MONO = 3


class FrameKind(NamedTuple):
    """What all frames of one stream have in common."""

    version: int
    rate_index: int
    mono: bool

    @property
    def is_mpeg1(self) -> bool:
        """Whether it is MPEG-1, not MPEG-2 or 2.5."""
        return self.version == 3

    @property
    def rate_hz(self) -> int:
        """Samples per second."""
        return _RATES_HZ[self.version][self.rate_index]

    @property
    def samples(self) -> int:
        """Samples per channel of a frame."""
        return 1152 if self.is_mpeg1 else 576

    @property
    def side_bytes(self) -> int:
        """Bytes of side information after the header."""
        if self.is_mpeg1:
            return 17 if self.mono else 32
        return 9 if self.mono else 17

    def lengths(self) -> list[int]:
        """Return the frame length for each third header byte, 0 where it is not of this kind."""
        kbps = _KBPS_MPEG1 if self.is_mpeg1 else _KBPS_MPEG2
        per_kbps = self.samples // 8 * 1000
        return [
            kbps[third >> 4] * per_kbps // self.rate_hz + (third >> 1 & 1)
            if kbps[third >> 4] and third >> 2 & 3 == self.rate_index
            else 0
            for third in range(256)
        ]


class Mp3Frames(NamedTuple):
    """What walking over the frames of a file found.

    Attributes:
        n_frames: Whole frames of audio, an Info or Xing frame not counted.
        kind: What they have in common.
        unbroken: Nothing but tags and rubbish lies before and after one chain of frames.
        has_header: The first frame is a Xing or Info header.
        claimed_frames: Frames that header claims, where it does.
        ends_in_a_frame: The file ends in the middle of a further frame of the chain.
    """

    n_frames: int
    kind: FrameKind
    unbroken: bool
    has_header: bool
    claimed_frames: int | None
    ends_in_a_frame: bool

    @property
    def n_samples(self) -> int:
        """Samples per channel, encoder delay and padding included."""
        return self.n_frames * self.kind.samples

    @property
    def is_sure(self) -> bool:
        """Whether the count is what decoding will give, up to delay and padding."""
        return self.unbroken and (not self.has_header or self.claimed_frames == self.n_frames)


def walk_frames(fd: int) -> Mp3Frames | None:
    """Walk over the frames of an MP3 file.

    Returns:
        What was found, or ``None`` where there is no chain of Layer III frames near the start.
    """
    lead = _end_of_id3v2(fd)
    start = _find_chain(fd, lead, lead + LONGEST_LEAD)
    if start is None:
        return None
    kind = _kind_of(read_at(fd, start, 4))
    if kind is None:
        return None
    n_frames, end = _follow(fd, start, kind)
    first = read_at(fd, start, 4 + kind.side_bytes + 12)
    header = first[4 + kind.side_bytes :]
    has_header = header[:4] in {b"Xing", b"Info"}
    counts_frames = has_header and len(header) == 12 and bool(header[7] & 1)
    vbri = read_at(fd, start + 36, 4) == b"VBRI"
    return Mp3Frames(
        n_frames=n_frames - has_header,
        kind=kind,
        unbroken=start == lead and not vbri and _find_chain(fd, end, None) is None,
        has_header=has_header,
        claimed_frames=int.from_bytes(header[8:12], "big") if counts_frames else None,
        ends_in_a_frame=_is_cut_frame(read_at(fd, end, LONGEST_FRAME), kind),
    )


def _is_cut_frame(tail: bytes, kind: FrameKind) -> bool:
    """Tell whether what follows the chain is the beginning of one more frame, and no more."""
    return _kind_of(tail[:4]) == kind and len(tail) < kind.lengths()[tail[2]]


def _end_of_id3v2(fd: int) -> int:
    """Return the offset after all ID3v2 tags at the start (sizes are four 7-bit bytes)."""
    position = 0
    while True:
        tag = read_at(fd, position, 10)
        if len(tag) < 10 or tag[:3] != b"ID3" or any(byte & 0x80 for byte in tag[6:10]):
            return position
        size = tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9]
        footer = 10 if tag[5] & 0x10 else 0
        position += 10 + size + footer


def _kind_of(header: bytes) -> FrameKind | None:
    """Return the kind a frame header states, or ``None`` where it is no Layer III header."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    rate_index = header[2] >> 2 & 3
    if version not in _RATES_HZ or layer != _LAYER_III or rate_index == 3:
        return None
    return FrameKind(version, rate_index, header[3] >> 6 == _MONO)


def _follow(fd: int, start: int, kind: FrameKind, limit: int | None = None) -> tuple[int, int]:
    """Return how many whole frames of ``kind`` follow one another, and the offset after them."""
    lengths = kind.lengths()
    seconds = {0xE0 | kind.version << 3 | _LAYER_III << 1 | crc for crc in (0, 1)}
    position, n_frames = start, 0
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
                return n_frames, position + offset
            if offset + length > len(chunk):
                break
            offset += length
            n_frames += 1
        if offset == 0:
            return n_frames, position
        position += offset
    return n_frames, position


def _find_chain(fd: int, start: int, stop: int | None) -> int | None:
    """Return where, from ``start`` on, frames of one kind follow one another, if anywhere.

    One whole frame that ends the file is a chain too; ``stop`` bounds where it may begin.
    """
    position = start
    while stop is None or position < stop:
        chunk = read_at(fd, position, CHUNK_BYTES)
        at = chunk.find(b"\xff")
        while at >= 0:
            if stop is not None and position + at >= stop:
                return None
            kind = _kind_of(chunk[at : at + 4])
            if kind is not None and _is_chain(fd, position + at, kind):
                return position + at
            at = chunk.find(b"\xff", at + 1)
        if len(chunk) < CHUNK_BYTES:
            return None
        position += len(chunk) - 3
    return None


def _is_chain(fd: int, start: int, kind: FrameKind) -> bool:
    n_frames, end = _follow(fd, start, kind, FRAMES_TO_BELIEVE)
    return n_frames >= FRAMES_TO_BELIEVE or (n_frames == 1 and not read_at(fd, end, 1))
