"""Sizes in the headers of uncompressed audio, which libsndfile corrects silently, and tags.

RIFF (WAV), RF64 and BW64 (EBU Tech 3306), Sony Wave64, AIFF and 8SVX (EA IFF 85), CAF and AU have
one chunk of audio. A size beyond the file's end means a truncated file; some sizes mean an unknown
length; after the audio only chunks, tags or zeros are valid.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

from earwitness.audio.files import SMALLEST_YIELD, Plan, View, patched, read_at
from earwitness.core.errors import AudioError

_MOST_CHUNKS = 256
_4_GIB = 1 << 32
_UNKNOWN_SIZES = (range(1), range(0x7FFF0000, 0x80010000), range(0xFFFF0000, _4_GIB))
"""Sizes below 4 GiB that mean an unknown length."""

_MPEG_TAGS = (b"\x50\0", b"\x55\0")
_FILE_MARKS = {b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"riff"}
"""First bytes of another file."""

_PCM_TAGS = {0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE}
_AIFF_CODINGS = {b"NONE", b"sowt", b"twos", b"raw ", b"fl32", b"FL32", b"fl64", b"FL64", b"in24"}
_AIFF_CODINGS |= {b"in32", b"42ni", b"23ni", b"ulaw", b"ULAW", b"alaw", b"ALAW"}
_AU_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_RF64_HEAD = 80


class _Chunk(NamedTuple):
    """A chunk: name, offset and stated size of its body."""

    name: bytes
    body: int
    size: int


class _Sound(NamedTuple):
    """Position of the audio.

    Attributes:
        start: Offset of the first byte.
        size: Stated size, if known.
        block: Bytes of one sample of all channels, or 0.
        n_samples: Stated number of samples, or 0.
        size_at: Offset of the stated size, four bytes.
        order: Byte order of the size.
        fmt: Body of a WAV file's ``fmt `` chunk.
        extra: Further bytes included in the stated size.
    """

    start: int
    size: int | None
    block: int = 0
    n_samples: int = 0
    size_at: int = 0
    order: Literal["little", "big"] = "little"
    fmt: bytes = b""
    extra: int = 0


def plan_by_header(fd: int, path: str, begin: int = 0) -> Plan:
    """Return the claims of a file's header, and a view if its sizes are wrong.

    Raises:
        AudioError: Over 1 % of the file follows the audio and is not part of the format.
    """
    sound = _find_sound(fd, begin)
    if sound is None:
        return Plan()
    if sound.fmt[:2] in _MPEG_TAGS and sound.order == "little":
        return Plan(is_mpeg=True)
    end = os.fstat(fd).st_size
    held = end - sound.start
    size = _true_size(fd, sound, end)
    views: tuple[View, ...] = (((begin, end),),) if begin else ()
    if size is None:
        if sound.size == 0 and sound.size_at:
            views = (_with_size(sound, held, begin, end),)
        return Plan(views)
    if size != sound.size:
        views = (_with_size(sound, size, begin, end),)
    _check_rest(fd, sound, size, end, path)
    claimed = sound.n_samples or (size // sound.block if sound.block else 0)
    return Plan(views, claimed or None, claimed_share=max(1.0, size / max(1, held)))


def _find_sound(fd: int, begin: int) -> _Sound | None:
    head = read_at(fd, begin, 64)
    if head[:4] in {b"RIFF", b"RIFX", b"RF64", b"BW64"} and head[8:12] == b"WAVE":
        return _in_wav(fd, begin, "big" if head[:4] == b"RIFX" else "little")
    if head[:4] == b"FORM" and head[8:12] in {b"AIFF", b"AIFC", b"8SVX", b"16SV"}:
        return _in_iff(fd, begin)
    if head[:4] == b"riff" and head[28:40] == _W64_TAIL:
        return _in_w64(fd, begin)
    if head[:4] == b"caff":
        return _in_caf(fd, begin)
    if head[:4] in {b".snd", b"dns."}:
        return _in_au(head, begin)
    return None


def _chunks(fd: int, position: int, order: Literal["little", "big"]) -> Iterator[_Chunk]:
    """Yield chunks with four-byte sizes, padded to even lengths."""
    for _ in range(_MOST_CHUNKS):
        head = read_at(fd, position, 8)
        if len(head) < 8:
            return
        chunk = _Chunk(head[:4], position + 8, int.from_bytes(head[4:], order))
        yield chunk
        position = chunk.body + chunk.size + chunk.size % 2


def _in_wav(fd: int, begin: int, order: Literal["little", "big"]) -> _Sound | None:
    block, long_size, fmt = 0, 0, b""
    for chunk in _chunks(fd, begin + 12, order):
        if chunk.name == b"ds64":
            long_size = int.from_bytes(read_at(fd, chunk.body + 8, 8), "little")
        elif chunk.name == b"fmt ":
            fmt = read_at(fd, chunk.body, min(chunk.size, 1 << 12))
            block = _wav_block(fmt, order)
        elif chunk.name == b"data":
            size = long_size or _known(chunk.size)
            return _Sound(chunk.body, size, block, 0, chunk.body - 4, order, fmt)
    return None


def _wav_block(fmt: bytes, order: Literal["little", "big"]) -> int:
    """Return the bytes of a sample of all channels; the stated value is wrong in some files."""
    if len(fmt) < 16 or int.from_bytes(fmt[:2], order) not in _PCM_TAGS:
        return 0
    n_channels, n_bits = int.from_bytes(fmt[2:4], order), int.from_bytes(fmt[14:16], order)
    return n_channels * ((n_bits + 7) // 8)


def _known(size: int) -> int | None:
    """Return a size below 4 GiB, or ``None`` if it means an unknown length."""
    return size if size == 0 or not any(size in sizes for sizes in _UNKNOWN_SIZES) else None


def _in_iff(fd: int, begin: int) -> _Sound | None:
    n_samples = 0
    for chunk in _chunks(fd, begin + 12, "big"):
        if chunk.name == b"COMM":
            body = read_at(fd, chunk.body, 22)
            if chunk.size < 22 or body[18:22] in _AIFF_CODINGS:
                n_samples = int.from_bytes(body[2:6], "big")
        elif chunk.name in {b"SSND", b"BODY"}:
            offset = 8 if chunk.name == b"SSND" else 0
            size = _known(chunk.size)
            size = max(0, size - offset) if size else size
            start, size_at = chunk.body + offset, chunk.body - 4
            return _Sound(start, size, 0, n_samples, size_at, "big", extra=offset)
    return None


def _in_w64(fd: int, begin: int) -> _Sound | None:
    position, block = begin + 40, 0
    for _ in range(_MOST_CHUNKS):
        head = read_at(fd, position, 24)
        if len(head) < 24:
            return None
        size = int.from_bytes(head[16:], "little") - 24
        if head[:4] == b"fmt ":
            block = _wav_block(read_at(fd, position + 24, 16), "little")
        elif head[:4] == b"data":
            return _Sound(position + 24, size if 0 < size < 1 << 62 else None, block)
        position += 24 + (max(0, size) + 7) // 8 * 8
    return None


def _in_caf(fd: int, begin: int) -> _Sound | None:
    position, block = begin + 8, 0
    for _ in range(_MOST_CHUNKS):
        head = read_at(fd, position, 12)
        if len(head) < 12:
            return None
        size = int.from_bytes(head[4:], "big", signed=True)
        if head[:4] == b"desc":
            body = read_at(fd, position + 12, 32)
            n_bytes, n_frames = (int.from_bytes(body[at : at + 4], "big") for at in (16, 20))
            block = n_bytes if n_frames == 1 else 0
        elif head[:4] == b"data":
            return _Sound(position + 16, size - 4 if size >= 4 else None, block)
        position += 12 + max(0, size)
    return None


def _in_au(head: bytes, begin: int) -> _Sound | None:
    order: Literal["little", "big"] = "big" if head[:4] == b".snd" else "little"
    start, size, coding, _, n_channels = (
        int.from_bytes(head[at : at + 4], order) for at in range(4, 24, 4)
    )
    known = _known(size) or None
    return _Sound(begin + start, known, _AU_WIDTHS.get(coding, 0) * n_channels)


def _true_size(fd: int, sound: _Sound, end: int) -> int | None:
    """Return the size of the audio, or ``None`` if it extends to the file's end.

    A size of 0 is valid if a chunk or nothing follows. Over 4 GiB the upper bits are missing.
    """
    held = end - sound.start
    if sound.size == 0:
        return 0 if held == 0 or _is_chunk(fd, sound, 0, end) else None
    if sound.size is None or not sound.size_at or held < _4_GIB:
        return sound.size
    wrapped = sound.size + (held - sound.size) // _4_GIB * _4_GIB
    rest = held - wrapped
    is_end = rest <= (1 - SMALLEST_YIELD) * held or _is_chunk(fd, sound, wrapped, end)
    return wrapped if is_end else sound.size


def _is_chunk(fd: int, sound: _Sound, size: int, end: int) -> bool:
    """Return whether a valid chunk follows the audio."""
    position = sound.start + size + size % 2
    head = read_at(fd, position, 24)
    if len(head) < 8:
        return False
    if head[:4] in _FILE_MARKS:
        return False
    name_is_text = all(32 <= byte < 127 for byte in head[:4])
    if sound.size_at:
        return name_is_text and int.from_bytes(head[4:8], sound.order) <= end - position - 8
    sizes = (int.from_bytes(head[4:12], "big"), int.from_bytes(head[16:24], "little"))
    return name_is_text and any(0 < stated <= end - position for stated in sizes)


def _check_rest(fd: int, sound: _Sound, size: int, end: int, path: str) -> None:
    """Raise ``AudioError`` if unknown data follows the audio."""
    after = sound.start + size
    rest = end - after - 1
    if rest <= (1 - SMALLEST_YIELD) * (size + rest) or _is_chunk(fd, sound, size, end):
        return
    if untagged_bytes(fd, after, end) == 0 or _is_zero(fd, after, end):
        return
    reason = f"its header describes {size} bytes of sound, but {end - after} more follow"
    raise AudioError(path, f"{reason} that are no part of the format")


def _is_zero(fd: int, start: int, stop: int) -> bool:
    while start < stop:
        chunk = read_at(fd, start, min(1 << 20, stop - start))
        if not chunk or chunk.strip(b"\0"):
            return False
        start += len(chunk)
    return True


def _with_size(sound: _Sound, size: int, begin: int, end: int) -> View:
    """Return a view with the correct size, as RF64 from 4 GiB."""
    if size < _4_GIB:
        stated = (size + sound.extra).to_bytes(4, sound.order)
        return patched([(sound.size_at, stated)], begin, end)
    fmt = sound.fmt + bytes(len(sound.fmt) % 2)
    total = _RF64_HEAD - 8 + len(fmt) - 16 + size
    head = b"RF64" + b"\xff" * 4 + b"WAVE" + b"ds64" + struct.pack("<IQQQI", 28, total, size, 0, 0)
    head += b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + b"\xff" * 4
    return (head, (sound.start, sound.start + size))


TAG_MARKS = frozenset({b"ID3", b"TAG", b"APE"})
"""First bytes of tags."""

_MOST_TAGS = 1_000
_ID3V1_BYTES = 128
_ID3V1_EXTENSION_BYTES = 227
_APE_BYTES = 32
_APE_HAS_HEADER = 1 << 31
_LONGEST_LYRICS = 5_200


def end_of_id3v2(fd: int, position: int = 0) -> int:
    """Return the offset after consecutive ID3v2 tags from ``position``."""
    for _ in range(_MOST_TAGS):
        size = _id3v2_bytes(read_at(fd, position, 10), b"ID3")
        if size == 0:
            break
        position += size
    return position


def end_of_tags(fd: int, position: int, stop: int) -> int:
    """Return the offset after consecutive tags between ``position`` and ``stop``."""
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
    """Return the start of consecutive tags that end at ``stop``."""
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
    """Return the number of bytes between two offsets outside tags."""
    after = end_of_tags(fd, start, stop)
    return max(0, start_of_tags(fd, stop) - after) if after < stop else 0


def _id3v2_bytes(head: bytes, mark: bytes) -> int:
    """Return the length of a tag by its header or footer, or 0."""
    if len(head) < 10 or head[:3] != mark or any(byte & 0x80 for byte in head[6:10]):
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _lyrics_bytes(fd: int, position: int, stop: int | None = None) -> int:
    """Return the length of a Lyrics3 tag that begins at ``position`` or ends at ``stop``."""
    text = read_at(fd, position, _LONGEST_LYRICS if stop is None else stop - position)
    begin = text.rfind(b"LYRICSBEGIN") if stop is not None else 0
    ends = [text.find(mark, begin) for mark in (b"LYRICSEND", b"LYRICS200")]
    found = [end + 9 for end in ends if end >= 0]
    return min(found) - begin if found and begin >= 0 else 0


def _ends_in_extension(fd: int, stop: int) -> int:
    mark = read_at(fd, max(0, stop - _ID3V1_EXTENSION_BYTES), 4)
    return _ID3V1_EXTENSION_BYTES if mark == b"TAG+" else 0
