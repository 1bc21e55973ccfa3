"""Where the tags of an audio file begin and end: ID3v1, ID3v2, APE and Lyrics3.

Conventions: offsets are bytes. Layouts after id3.org (ID3v2 sizes are four 7-bit bytes) and the
APEv2 specification (sizes count items and footer, not the header).
"""

from __future__ import annotations

from earwitness.audio.regular import read_at

TAG_MARKS = frozenset({b"ID3", b"TAG", b"APE"})
"""First bytes of tags."""

_MOST_TAGS = 1_000
_ID3V1_BYTES = 128
_ID3V1_EXTENSION_BYTES = 227
_APE_BYTES = 32
_APE_HAS_HEADER = 1 << 31
_LONGEST_LYRICS = 5_200


def end_of_id3v2(fd: int, position: int = 0) -> int:
    """Return the offset after all ID3v2 tags that follow one another from ``position`` on."""
    for _ in range(_MOST_TAGS):
        size = _id3v2_bytes(read_at(fd, position, 10), b"ID3")
        if size == 0:
            break
        position += size
    return position


def end_of_tags(fd: int, position: int, stop: int) -> int:
    """Return the offset after all tags that follow one another from ``position`` to ``stop``."""
    for _ in range(_MOST_TAGS):
        head = read_at(fd, position, _APE_BYTES)
        size = _id3v2_bytes(head[:10], b"ID3")
        if head[:8] == b"APETAGEX" and len(head) == _APE_BYTES:
            size = _APE_BYTES + int.from_bytes(head[12:16], "little")
        elif head[:4] == b"TAG+":
            size = _ID3V1_EXTENSION_BYTES
        elif head[:3] == b"TAG":
            size = _ID3V1_BYTES
        elif head[:11] == b"LYRICSBEGIN":
            size = _lyrics_bytes(fd, position)
        if size == 0 or position + size > stop:
            break
        position += size
    return position


def start_of_tags(fd: int, stop: int) -> int:
    """Return the offset where the tags begin that follow one another up to ``stop``."""
    for _ in range(_MOST_TAGS):
        tail = read_at(fd, max(0, stop - _ID3V1_BYTES), min(stop, _ID3V1_BYTES))
        if tail[:3] == b"TAG" and len(tail) == _ID3V1_BYTES:
            size = _ID3V1_BYTES
        elif tail[-_APE_BYTES:-24] == b"APETAGEX":
            footer = tail[-_APE_BYTES:]
            has_header = int.from_bytes(footer[20:24], "little") & _APE_HAS_HEADER
            size = int.from_bytes(footer[12:16], "little") + (_APE_BYTES if has_header else 0)
        elif tail[-9:] == b"LYRICS200" and tail[-15:-9].isdigit():
            size = int(tail[-15:-9]) + 15
        elif tail[-9:] == b"LYRICSEND":
            size = _lyrics_bytes(fd, max(0, stop - _LONGEST_LYRICS), stop)
        elif extension := _ends_in_extension(fd, stop):
            size = extension
        else:
            size = _id3v2_bytes(tail[-10:], b"3DI")
        if not 0 < size <= stop:
            break
        stop -= size
    return stop


def untagged_bytes(fd: int, start: int, stop: int) -> int:
    """Return how many bytes between two offsets belong to no tag."""
    after = end_of_tags(fd, start, stop)
    return max(0, start_of_tags(fd, stop) - after) if after < stop else 0


def _id3v2_bytes(head: bytes, mark: bytes) -> int:
    """Return the length of a whole tag, 0 where ``head`` is not the head or foot of one."""
    if len(head) < 10 or head[:3] != mark or any(byte & 0x80 for byte in head[6:10]):
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _lyrics_bytes(fd: int, position: int, stop: int | None = None) -> int:
    """Return the length of the Lyrics3 tag that begins at ``position`` or ends at ``stop``."""
    text = read_at(fd, position, _LONGEST_LYRICS if stop is None else stop - position)
    begin = text.rfind(b"LYRICSBEGIN") if stop is not None else 0
    ends = [text.find(mark, begin) for mark in (b"LYRICSEND", b"LYRICS200")]
    found = [end + 9 for end in ends if end >= 0]
    return min(found) - begin if found and begin >= 0 else 0


def _ends_in_extension(fd: int, stop: int) -> int:
    mark = read_at(fd, max(0, stop - _ID3V1_EXTENSION_BYTES), 4)
    return _ID3V1_EXTENSION_BYTES if mark == b"TAG+" else 0
