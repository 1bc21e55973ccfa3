"""How an Ogg file is read: its links, whole or where they are damaged.

Conventions: granules are samples at the codec's rate; Opus counts them at 48 kHz, which is the
rate it is decoded at whatever rate its header names (RFC 7845: that is the rate of the sound
before it was coded). A link is one stream from its first page to its last; files that were put
one behind another have several.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal, NamedTuple

from earwitness.audio.files import SMALLEST_YIELD, Plan, View, patched, read_at
from earwitness.audio.ogg_pages import Page, checksum, end_granule, walk_pages
from earwitness.core.errors import AudioError

OPUS_RATE_HZ = 48_000
_ENDS_STREAM = 4
_LITTLE: Literal["little", "big"] = "little"
_RATES_AT: dict[bytes, tuple[int, Literal["little", "big"], int]] = {
    b"OpusHead": (12, "little", 0),
    b"\x01vorbis": (12, "little", 0),
    b"\x7fFLAC": (27, "big", 12),
    b"Speex   ": (36, "little", 0),
}
"""Where the first packet of a coding names its rate, in four bytes and how many bits to drop."""

_OPUS_RATE_AT = 12


class _Link(NamedTuple):
    """Pages of one stream of sound.

    Attributes:
        pages: The whole ones.
        head: First bytes of its first packet.
        end: Offset after the last page of this stream and of those mixed with it.
        stop: Offset where the next link or the end of the file is.
        is_mixed: Whether other streams have pages between its own.
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
        """Whether it is sound in a coding known here."""
        return any(self.head.startswith(mark) for mark in _RATES_AT)

    @property
    def rate_hz(self) -> int:
        """Granules per second."""
        if self.is_opus:
            return OPUS_RATE_HZ
        at, order, shift = next(
            (place for mark, place in _RATES_AT.items() if self.head.startswith(mark)),
            (0, _LITTLE, 0),
        )
        return int.from_bytes(self.head[at : at + 4], order) >> shift or 1

    @property
    def is_simple(self) -> bool:
        """Whether libsndfile may read it by pages of its own."""
        is_known = self.is_opus or self.head.startswith(b"\x01vorbis")
        return is_known and not self.is_mixed

    def seconds(self, page: Page | None = None) -> float:
        """Return the time after a page, or after the last one."""
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
    views = [_mended(fd, link) for link in links]
    if len(links) == 1 and links[0].pages[0].start == 0 and views == [None]:
        return Plan()
    whole = [view or _range(link) for view, link in zip(views, links, strict=True)]
    return Plan(tuple(whole))


def _links(fd: int) -> Iterator[_Link]:
    """Yield the streams of a file in order; of streams that are mixed, each is one."""
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
        yield _Link(pages, _head(fd, pages[0]), end, stop, len(streams) > 1)


def _head(fd: int, page: Page) -> bytes:
    return read_at(fd, page.content, min(64, page.stop - page.content))


def _range(link: _Link) -> View:
    return ((link.pages[0].start, link.pages[-1].stop),)


def _check_pages(fd: int, link: _Link, before_s: float, path: str) -> int:
    """Return how many pages of a link are missing.

    Raises:
        AudioError: They are over 1 % of it, or the end is.
    """
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


def _mended(fd: int, link: _Link) -> View | None:
    """Return a link whose header and end are what libsndfile needs, ``None`` where they are."""
    first, last = link.pages[0], link.pages[-1]
    patches = []
    end = end_granule(fd, link.pages, is_opus=link.is_opus)
    if link.is_opus and _opus_rate_hz(link) != OPUS_RATE_HZ:
        at = first.content - first.start + _OPUS_RATE_AT
        patches.append((first.start, _patched_page(fd, first, at, _u32(OPUS_RATE_HZ))))
    if end != last.granule or (link.is_opus and not last.ends):
        flags = read_at(fd, last.start + 5, 1)[0] | _ENDS_STREAM
        content = bytes([flags]) + end.to_bytes(8, "little", signed=True)
        patches.append((last.start, _patched_page(fd, last, 5, content)))
    return patched(patches, first.start, last.stop) if patches else None


def _opus_rate_hz(link: _Link) -> int:
    return int.from_bytes(link.head[_OPUS_RATE_AT : _OPUS_RATE_AT + 4], "little")


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _patched_page(fd: int, page: Page, at: int, content: bytes) -> bytes:
    """Return a page with other bytes at an offset, its checksum made right."""
    old = read_at(fd, page.start, page.stop - page.start)
    new = old[:at] + content + old[at + len(content) :]
    return new[:22] + _u32(checksum(new)) + new[26:]
