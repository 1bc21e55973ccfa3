"""The pages of an Ogg file, read without decoding what they hold.

Conventions: offsets are bytes. Layout after RFC 3533: a page has a header of 27 bytes, a table of
segment sizes and their bytes; its checksum is a CRC-32 that takes the highest bit first.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from earwitness.audio.regular import read_at

CHUNK_BYTES = 1 << 20
HEADER_BYTES = 27
LONGEST_PAGE = HEADER_BYTES + 255 + 255 * 255
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_ALL_BITS = 0xFFFFFFFF
_MOST_DAMAGED = 2_000
"""Marks without a right page behind them after which no more pages are looked for."""


class Page(NamedTuple):
    """One page whose checksum is right.

    Attributes:
        start: Its offset.
        content: Offset of its first segment.
        stop: Offset after it.
        serial: Which stream it belongs to.
        sequence: Its number in that stream.
        granule: Position after it, -1 where no packet ends in it.
        begins: Whether it is the first of its stream.
        ends: Whether it is marked as the last of its stream.
        sizes: Sizes of its segments.
    """

    start: int
    content: int
    stop: int
    serial: int
    sequence: int
    granule: int
    begins: bool
    ends: bool
    sizes: bytes


def walk_pages(fd: int) -> Iterator[Page]:
    """Yield the pages of a file; what is none, or a damaged one, is passed over."""
    size = os.fstat(fd).st_size
    position, n_damaged = 0, 0
    while position < size:
        chunk = read_at(fd, position, CHUNK_BYTES)
        at, whole = 0, len(chunk) - LONGEST_PAGE if position + len(chunk) < size else len(chunk)
        while (at := chunk.find(b"OggS", at)) >= 0 and at <= whole:
            page = _page_at(chunk, at)
            if page is None:
                at, n_damaged = at + 1, n_damaged + 1
                if n_damaged > _MOST_DAMAGED:
                    return
                continue
            at = page.stop
            yield page._replace(
                start=page.start + position,
                content=page.content + position,
                stop=page.stop + position,
            )
        if position + len(chunk) >= size:
            return
        position += at if at >= 0 else max(1, len(chunk) - 3)


def _page_at(chunk: bytes, at: int) -> Page | None:
    """Return the page that begins at an offset of ``chunk``, or ``None`` where none does."""
    content = at + HEADER_BYTES + (chunk[at + 26] if at + HEADER_BYTES <= len(chunk) else 0)
    if content > len(chunk) or chunk[at + 4] != 0:
        return None
    sizes = chunk[at + HEADER_BYTES : content]
    stop = content + sum(sizes)
    if stop > len(chunk) or checksum(chunk[at:stop]) != _u32(chunk, at + 22):
        return None
    flags = chunk[at + 5]
    return Page(
        start=at,
        content=content,
        stop=stop,
        serial=_u32(chunk, at + 14),
        sequence=_u32(chunk, at + 18),
        granule=int.from_bytes(chunk[at + 6 : at + 14], "little", signed=True),
        begins=bool(flags & 2),
        ends=bool(flags & 4),
        sizes=sizes,
    )


def checksum(page: bytes) -> int:
    """Return the checksum of a page, whatever its own field holds.

    zlib's CRC-32 takes the lowest bit first, so bits are turned round before and after.
    """
    cleared = page[:22] + bytes(4) + page[26:]
    crc = zlib.crc32(cleared.translate(_REVERSED), _ALL_BITS) ^ _ALL_BITS
    return int.from_bytes(crc.to_bytes(4, "little").translate(_REVERSED), "big")


def _u32(chunk: bytes, at: int) -> int:
    return int.from_bytes(chunk[at : at + 4], "little")
