"""FLAC files that libsndfile would truncate: after tags, concatenated, or with a wrong total.

Layout (RFC 9639): ``fLaC``, metadata blocks, first STREAMINFO, then frames with their number or
first sample, a CRC-8 of the header and a CRC-16 of the frame.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from earwitness.audio.files import Plan, View, describe_change, patched, read_at
from earwitness.audio.headers import end_of_id3v2, start_of_tags
from earwitness.core.errors import AudioError

MARK = b"fLaC"
CHUNK_BYTES = 1 << 20
_STREAMINFO_HEADS = (b"\x00\x00\x00\x22", b"\x80\x00\x00\x22")
_STREAMINFO_AT = 8
_TOTAL_AT = _STREAMINFO_AT + 13
_HEAD_BYTES = _STREAMINFO_AT + 34
_TAIL_BYTES = 1 << 17
_WINDOW_BYTES = 1 << 15
_N_LOOKS = 8
_MOST_STREAMS = 1_000
_HIGHEST_TOTAL = 1 << 36
_BLOCKS = (0, 192, 576, 1152, 2304, 4608, 0, 0, *(256 << n for n in range(8)))


class _Stream(NamedTuple):
    """One FLAC stream of a file."""

    start: int
    stop: int
    head: bytes

    @property
    def block(self) -> int:
        """Samples per block, if constant."""
        return int.from_bytes(self.head[_STREAMINFO_AT + 2 : _STREAMINFO_AT + 4], "big")

    @property
    def rate_hz(self) -> int:
        return int.from_bytes(self.head[_STREAMINFO_AT + 10 : _STREAMINFO_AT + 13], "big") >> 4

    @property
    def n_channels(self) -> int:
        return (self.head[_STREAMINFO_AT + 12] >> 1 & 7) + 1

    @property
    def total(self) -> int:
        """Claimed number of samples, or 0."""
        return int.from_bytes(self.head[_TOTAL_AT : _TOTAL_AT + 5], "big") & (_HIGHEST_TOTAL - 1)


def plan_flac(fd: int, path: str) -> Plan:
    """Return how to read a FLAC file.

    Raises:
        AudioError: Rate or channels change, there are over 1000 streams, or one is truncated.
    """
    begin, stop = end_of_id3v2(fd), start_of_tags(fd, os.fstat(fd).st_size)
    first = _Stream(begin, stop, read_at(fd, begin, _HEAD_BYTES))
    if begin == 0 and len(first.head) == _HEAD_BYTES and _is_alone(fd, first):
        return Plan(claimed_samples=first.total)
    starts = list(islice(_starts(fd, begin), _MOST_STREAMS + 1))
    if len(starts) > _MOST_STREAMS:
        raise AudioError(path, f"holds more than {_MOST_STREAMS} FLAC streams")
    if not starts or starts[0] != begin:
        return Plan()
    stops = [*starts[1:], stop]
    streams = [
        _Stream(start, stop, read_at(fd, start, _HEAD_BYTES))
        for start, stop in zip(starts, stops, strict=True)
    ]
    _check_alike(streams, path)
    views = [_mend(fd, stream, path) for stream in streams]
    if len(streams) == 1 and begin == 0 and views == [None]:
        return Plan(claimed_samples=streams[0].total or None)
    claimed = sum(stream.total for stream in streams) or None
    whole = [
        view or ((stream.start, stream.stop),) for view, stream in zip(views, streams, strict=True)
    ]
    return Plan(tuple(whole), claimed)


def _is_alone(fd: int, stream: _Stream) -> bool:
    """Return whether one stream fills the file, checked by a few frames and the total."""
    if stream.total == 0 or _total_by_last_frame(fd, stream) != stream.total:
        return False
    ends: list[int | None] = []
    for n in range(1, _N_LOOKS):
        at = stream.start + (stream.stop - stream.start) * n // _N_LOOKS
        window = read_at(fd, at, min(_WINDOW_BYTES, stream.stop - at))
        found = (_end_of_block(window[k : k + 16], stream) for k in _marks(window))
        ends.append(next((end for end in found if end is not None), None))
    known = [end for end in ends if end is not None]
    return len(known) == len(ends) and known == sorted(set(known))


def _marks(window: bytes) -> Iterator[int]:
    """Yield possible starts of frames."""
    at = -1
    while (at := window.find(b"\xff", at + 1)) >= 0:
        yield at


def _starts(fd: int, position: int) -> Iterator[int]:
    """Yield the starts of FLAC streams."""
    while len(chunk := read_at(fd, position, CHUNK_BYTES)) > _HEAD_BYTES:
        at = -1
        while (at := chunk.find(MARK, at + 1)) >= 0:
            head = chunk[at + 4 : at + _HEAD_BYTES]
            if head[:4] in _STREAMINFO_HEADS and int.from_bytes(head[14:17], "big") >> 4:
                yield position + at
        position += len(chunk) - _HEAD_BYTES


def _check_alike(streams: list[_Stream], path: str) -> None:
    kinds = [(stream.rate_hz, stream.n_channels) for stream in streams]
    before_s = 0.0
    for stream, kind in zip(streams, kinds, strict=True):
        if kind != kinds[0]:
            raise AudioError(path, describe_change(kinds[0], kind, before_s))
        before_s += stream.total / max(1, stream.rate_hz)


def _mend(fd: int, stream: _Stream, path: str) -> View | None:
    """Return a view with the total of the last frame, or ``None`` if it is correct."""
    total = _total_by_last_frame(fd, stream)
    if total is None and stream.total == 0:
        raise AudioError(path, "truncated: its last FLAC frame is cut off")
    if total is None or total <= stream.total:
        return None
    kept = stream.head[_TOTAL_AT] & 0xF0
    content = total.to_bytes(5, "big")
    content = bytes([kept | content[0] & 0x0F]) + content[1:]
    return patched([(stream.start + _TOTAL_AT, content)], stream.start, stream.stop)


def _total_by_last_frame(fd: int, stream: _Stream) -> int | None:
    """Return the end of the last frame in samples, or ``None`` if the stream ends otherwise."""
    begin = max(stream.start + _HEAD_BYTES, stream.stop - _TAIL_BYTES)
    tail = read_at(fd, begin, stream.stop - begin)
    at = len(tail)
    ends: list[tuple[int, int]] = []
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        end = _end_of_block(tail[at : at + 16], stream)
        if end == stream.total and not ends:
            return end
        if end is not None:
            ends.append((at, end))
    return next((end for at, end in ends if _crc(tail[at:], _CRC16, 16) == 0), None)


def _end_of_block(head: bytes, stream: _Stream) -> int | None:
    """Return the end of a frame in samples, or ``None`` if this is not a frame header."""
    if len(head) < 6 or head[1] & 0xFE != 0xF8 or head[3] & 1 or head[3] >> 4 > 10:
        return None
    n_ones = 8 - (head[4] ^ 0xFF).bit_length()
    if n_ones in {1, 8}:
        return None
    at = 4 + max(1, n_ones)
    number = head[4] & 0xFF >> n_ones + 1
    for byte in head[5:at]:
        number = number << 6 | byte & 0x3F
    code, rate_code = head[2] >> 4, head[2] & 15
    n_size = {6: 1, 7: 2}.get(code, 0)
    block = int.from_bytes(head[at : at + n_size], "big") + 1 if n_size else _BLOCKS[code]
    at += n_size + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if block == 0 or at >= len(head) or _crc(head[: at + 1], _CRC8, 8):
        return None
    return number * (1 if head[1] & 1 else stream.block) + block


def _crc_table(polynomial: int, n_bits: int) -> list[int]:
    table = []
    for byte in range(256):
        value = byte << (n_bits - 8)
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> (n_bits - 1) & 1 else 0)
            value &= (1 << n_bits) - 1
        table.append(value)
    return table


_CRC8, _CRC16 = _crc_table(0x07, 8), _crc_table(0x8005, 16)


def _crc(content: bytes, table: list[int], n_bits: int) -> int:
    """Return the CRC, highest bit first; 0 if the last bytes are the checksum."""
    value, mask = 0, (1 << n_bits) - 1
    for byte in content:
        value = (value << 8 & mask) ^ table[value >> (n_bits - 8) ^ byte]
    return value
