"""Ogg files: pages (RFC 3533) and links, and views that mend wrong headers and ends.

Granules are samples at the codec's rate, in Opus always 48 kHz: its header has the rate before
encoding (RFC 7845). A link is one stream; concatenated files have several.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from earwitness.audio.files import SMALLEST_YIELD, Plan, View, patched, read_at
from earwitness.core.errors import AudioError

OPUS_RATE_HZ = 48_000
_ENDS_STREAM = 4
_OPUS_RATE_AT = 12
_RATES_AT: dict[bytes, tuple[int, Literal["little", "big"], int]] = {
    b"OpusHead": (_OPUS_RATE_AT, "little", 0),
    b"\x01vorbis": (12, "little", 0),
    b"\x7fFLAC": (27, "big", 12),
    b"Speex   ": (36, "little", 0),
}
"""First bytes of a codec → offset, byte order and shift of its four-byte rate."""


class _Link(NamedTuple):
    """Pages of one stream.

    Attributes:
        pages: Its intact pages.
        head: First bytes of its first packet.
        end: Offset after the last page, of interleaved streams too.
        stop: Offset of the next link or the end of the file.
        is_mixed: Whether it is interleaved with other streams.
    """

    pages: list[Page]
    head: bytes
    end: int
    stop: int
    is_mixed: bool

    @property
    def is_opus(self) -> bool:
        return self.head.startswith(b"OpusHead")

    @property
    def is_sound(self) -> bool:
        """Whether it is audio in a supported codec."""
        return any(self.head.startswith(mark) for mark in _RATES_AT)

    @property
    def rate_hz(self) -> int:
        """Granules per second."""
        if self.is_opus:
            return OPUS_RATE_HZ
        for mark, (at, order, shift) in _RATES_AT.items():
            if self.head.startswith(mark):
                return int.from_bytes(self.head[at : at + 4], order) >> shift or 1
        return 1

    @property
    def is_simple(self) -> bool:
        """Whether libsndfile can read it from a view."""
        is_known = self.is_opus or self.head.startswith(b"\x01vorbis")
        return is_known and not self.is_mixed

    def seconds(self, page: Page | None = None) -> float:
        """Return the time at the end of a page, by default the last."""
        granules = [p.granule for p in self.pages if page is None or p.stop <= page.stop]
        return max([0, *granules]) / self.rate_hz


def plan_ogg(fd: int, path: str) -> Plan:
    """Return how to read an Ogg file.

    Raises:
        AudioError: Over 1 % of a link's pages are missing, or its end is cut off.
    """
    links = list(_links(fd))
    before_s, missing = 0.0, 0
    for link in links:
        if link.is_sound:
            missing += _check_pages(fd, link, before_s, path)
            before_s += link.seconds()
    if missing:
        return Plan(is_foreign=True)
    if not links or not all(link.is_simple for link in links):
        return Plan()
    views = [_mend(fd, link) for link in links]
    if len(links) == 1 and links[0].pages[0].start == 0 and views == [None]:
        return Plan()
    ranges = [((link.pages[0].start, link.pages[-1].stop),) for link in links]
    return Plan(tuple(view or whole for view, whole in zip(views, ranges, strict=True)))


def _links(fd: int) -> Iterator[_Link]:
    """Yield the streams of a file in order."""
    streams: dict[int, list[Page]] = {}
    for page in walk_pages(fd):
        if page.begins and any(len(pages) > 1 for pages in streams.values()):
            yield from _together(fd, streams, page.start)
            streams = {}
        if page.begins:
            streams[page.serial] = [page]
        elif page.serial in streams:
            streams[page.serial].append(page)
    yield from _together(fd, streams, os.fstat(fd).st_size)


def _together(fd: int, streams: dict[int, list[Page]], stop: int) -> Iterator[_Link]:
    end = max((pages[-1].stop for pages in streams.values()), default=0)
    for pages in streams.values():
        first = pages[0]
        head = read_at(fd, first.content, min(64, first.stop - first.content))
        yield _Link(pages, head, end, stop, len(streams) > 1)


def _check_pages(fd: int, link: _Link, before_s: float, path: str) -> int:
    """Return the number of missing pages; raise ``AudioError`` over 1 % or without an end."""
    missing, first_s = 0, None
    for page, following in zip(link.pages, link.pages[1:], strict=False):
        gap = following.sequence - page.sequence - 1
        if gap > 0:
            missing += gap
            first_s = link.seconds(page) if first_s is None else first_s
    last = link.pages[-1]
    end_s = before_s + link.seconds()
    if not last.ends and link.end < link.stop:
        if read_at(fd, link.end, 4) == b"OggS":
            raise AudioError(path, f"truncated at {end_s:.2f} s (its last page is cut off)")
        reason = f"{link.stop - link.end} bytes after it are no Ogg page"
        raise AudioError(path, f"damaged near {end_s:.2f} s: {reason}")
    if missing > (1 - SMALLEST_YIELD) * (len(link.pages) + missing):
        n_all = len(link.pages) + missing
        reason = f"{missing} of {n_all} Ogg pages are missing or damaged"
        raise AudioError(path, f"damaged near {before_s + (first_s or 0):.2f} s: {reason}")
    return missing


def _mend(fd: int, link: _Link) -> View | None:
    """Return a view with header and end mended for libsndfile, or ``None`` if not needed."""
    first, last = link.pages[0], link.pages[-1]
    patches = []
    end = end_granule(fd, link.pages, is_opus=link.is_opus)
    if link.is_opus and _u32(link.head, _OPUS_RATE_AT) != OPUS_RATE_HZ:
        at = first.content - first.start + _OPUS_RATE_AT
        rate = OPUS_RATE_HZ.to_bytes(4, "little")
        patches.append((first.start, _patched_page(fd, first, at, rate)))
    if end != last.granule or (link.is_opus and not last.ends):
        flags = read_at(fd, last.start + 5, 1)[0] | _ENDS_STREAM
        content = bytes([flags]) + end.to_bytes(8, "little", signed=True)
        patches.append((last.start, _patched_page(fd, last, 5, content)))
    return patched(patches, first.start, last.stop) if patches else None


def _patched_page(fd: int, page: Page, at: int, content: bytes) -> bytes:
    """Return a page with bytes replaced at an offset, and a new checksum."""
    old = read_at(fd, page.start, page.stop - page.start)
    new = old[:at] + content + old[at + len(content) :]
    return new[:22] + checksum(new).to_bytes(4, "little") + new[26:]


CHUNK_BYTES = 1 << 20
HEADER_BYTES = 27
LONGEST_PAGE = HEADER_BYTES + 255 + 255 * 255
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_ALL_BITS = 0xFFFFFFFF
_MOST_DAMAGED = 2_000
"""Maximum number of damaged pages before the search ends."""


class Page(NamedTuple):
    """A page with a valid checksum; ``content`` is its first segment, ``sizes`` those of all.

    ``granule`` is -1 if no packet ends in it.
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
    """Yield the valid pages of a file."""
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
    """Return the page at an offset of ``chunk``, or ``None``."""
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
    """Return the checksum of a page: a CRC-32 with the highest bit first, unlike zlib's."""
    cleared = page[:22] + bytes(4) + page[26:]
    crc = zlib.crc32(cleared.translate(_REVERSED), _ALL_BITS) ^ _ALL_BITS
    return int.from_bytes(crc.to_bytes(4, "little").translate(_REVERSED), "big")


def _u32(chunk: bytes, at: int) -> int:
    return int.from_bytes(chunk[at : at + 4], "little")


_FRAME_SAMPLES = ((480, 960, 1920, 2880), (480, 960), (120, 240, 480, 960))
"""By mode: SILK, hybrid, CELT."""

_N_VORBIS_HEADERS = 3
_MODE_BITS = 41
_MOST_MODES = 64
_LONGEST_SETUP = 1 << 20


class _Packet(NamedTuple):
    """A packet: index of the page in which it ends, and its first two bytes."""

    page: int
    head: bytes


class _Blocks(NamedTuple):
    """Short and long block size of a Vorbis stream, and whether each mode is long."""

    sizes: tuple[int, int]
    modes: tuple[bool, ...]

    def of(self, packet: bytes) -> int:
        """Return the block size of a packet."""
        n_bits = (len(self.modes) - 1).bit_length()
        mode = packet[0] >> 1 & ((1 << n_bits) - 1)
        return self.sizes[self.modes[mode] if mode < len(self.modes) else 0]


def end_granule(fd: int, pages: Sequence[Page], *, is_opus: bool) -> int:
    """Return the granule at the end of an Opus or Vorbis stream.

    It is the end of the packets, or the last page's granule if that is marked as the end and lower.
    """
    last = pages[-1]
    known = [n for n, page in enumerate(pages[:-1]) if page.granule > 0]
    if not is_opus and not known:
        return last.granule
    begin = known[-1] if known else 1
    packets = list(_packets(fd, pages[begin:]))
    held = pages[begin].granule if known else 0
    if is_opus:
        held += sum(_opus_samples(p.head) for p in packets if p.page > 0 or not known)
    else:
        blocks = _vorbis_blocks(fd, pages)
        if blocks is None:
            return last.granule
        held += sum(
            (blocks.of(before.head) + blocks.of(packet.head)) // 4
            for before, packet in pairwise(packets)
            if packet.page > 0
        )
    return min(last.granule, held) if last.ends and last.granule >= 0 else held


def _packets(fd: int, pages: Sequence[Page]) -> Iterator[_Packet]:
    """Yield the packets that begin and end in these pages."""
    head = b""
    is_begun = read_at(fd, pages[0].start + 5, 1)[0] & 1
    for number, page in enumerate(pages):
        at = page.content
        for size in page.sizes:
            head = head or (b"" if is_begun else read_at(fd, at, min(2, size)))
            at += size
            if size < 255:
                if head:
                    yield _Packet(number, head)
                head, is_begun = b"", 0


def _opus_samples(packet: bytes) -> int:
    """Return the length of an Opus packet by its first bytes (RFC 6716, 3.1)."""
    config, code = packet[0] >> 3, packet[0] & 3
    mode, size = (0, config & 3) if config < 12 else (1, config & 1)
    if config >= 16:
        mode, size = 2, config & 3
    n_frames = (packet[1] & 63 if len(packet) > 1 else 0) if code == 3 else (1, 2, 2)[code]
    return _FRAME_SAMPLES[mode][size] * n_frames


def _vorbis_blocks(fd: int, pages: Sequence[Page]) -> _Blocks | None:
    """Return the block sizes in the headers, or ``None`` if unreadable."""
    first, setup = _vorbis_headers(fd, pages)
    if len(first) < 29 or not setup:
        return None
    sizes = 1 << (first[28] & 15), 1 << (first[28] >> 4)
    modes = _modes_at_end(setup)
    return _Blocks(sizes, modes) if modes else None


def _vorbis_headers(fd: int, pages: Sequence[Page]) -> tuple[bytes, bytes]:
    """Return the identification and the setup header, empty if incomplete."""
    headers, packet = [], b""
    for page in pages:
        content = read_at(fd, page.content, page.stop - page.content)
        at = 0
        for size in page.sizes:
            packet += content[at : at + size]
            at += size
            if size < 255:
                headers.append(packet)
                packet = b""
            if len(headers) == _N_VORBIS_HEADERS:
                return headers[0], headers[2]
        if len(packet) > _LONGEST_SETUP:
            break
    return b"", b""


def _modes_at_end(setup: bytes) -> tuple[bool, ...]:
    """Return which modes are long, parsed from the end of a setup header to skip its codebooks.

    Modes come last, before one set bit, and after their number in six bits.
    """
    bits = int.from_bytes(setup[-512:], "little")
    stop = bits.bit_length() - 1
    modes: tuple[bool, ...] = ()
    found: tuple[bool, ...] = ()
    while len(modes) < _MOST_MODES and (stop := stop - _MODE_BITS) >= 6:
        mode = bits >> stop & ((1 << _MODE_BITS) - 1)
        if mode >> 1 & 0xFFFFFFFF:
            break
        modes = (bool(mode & 1), *modes)
        if (bits >> (stop - 6) & 63) == len(modes) - 1:
            found = modes
    return found
