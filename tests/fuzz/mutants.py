"""Damage: blind, or such that the checksums and lengths around it still hold."""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Callable
from copy import deepcopy
from typing import Any

Mutate = Callable[[bytes, random.Random], bytes]

_ODD = (b"\0", b"\xff" * 4, b"\x7f\xff\xff\xff", b"99999999999", b"-1", b"NaN", b"[", b'"', b"\x01")
_VALUES: tuple[Any, ...] = (
    *(None, True, "", "x", "/", "\0", "é" * 3_000, "1e999", [], {}, [[]], [None], {"": 0}),
    *(0, -1, 1, 2, 15, 2**31, 2**63, -(2**64), 10**400, 0.5, -0.0, 1e-320, 1e308, -1e308),
    *(float("nan"), float("inf"), [0] * 1_000, ["x"] * 50, "2**70", "\u202e<b>"),
)


def damage(seed: bytes, draw: random.Random) -> bytes:
    """Return a damaged copy: bits turned, parts cut, doubled, or replaced by odd values."""
    data = bytearray(seed)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        at = draw.randrange(len(data) + 1)
        end = min(len(data), at + draw.choice((1, 2, 4, 8, 64, 1024)))
        kind = draw.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            data[at:end] = draw.randbytes(end - at)
        elif kind == 2:
            del data[at:end]
        elif kind == 3:
            data[at:at] = data[at:end] * draw.choice((1, 2, 50))
        elif kind == 4:
            odd = draw.choice(_ODD)
            data[at : at + len(odd)] = odd
        else:
            del data[at if draw.random() < 0.2 else len(data) :]
    return bytes(data)


def damage_end(seed: bytes, draw: random.Random) -> bytes:
    """Damage the last bytes as often as the others: Parquet's metadata lies there."""
    at = max(0, len(seed) - 1_024) if draw.random() < 0.5 else 0
    return seed[:at] + damage(seed[at:], draw)


def damage_json(seed: bytes, draw: random.Random) -> bytes:
    """Mostly put odd values in the place of some, leave some out, or say them twice."""
    if draw.random() < 0.2:
        return damage(seed, draw)
    return json.dumps(_changed(json.loads(seed), draw)).encode()


def damage_safetensors(seed: bytes, draw: random.Random) -> bytes:
    """Mostly damage the header, and state its length as it then is."""
    if draw.random() < 0.2:
        return damage(seed, draw)
    n_header = int.from_bytes(seed[:8], "little")
    header = damage_json(seed[8 : 8 + n_header], draw)
    length = draw.choice((len(header),) * 9 + (1 << draw.randrange(64),))
    return length.to_bytes(8, "little") + header + seed[8 + n_header :]


def damage_png(seed: bytes, draw: random.Random) -> bytes:
    """Mostly damage a chunk, text chunks inflated, and state its length and CRC as they are."""
    if draw.random() < 0.2:
        return damage(seed, draw)
    chunks, at = [], 8
    while at < len(seed):
        (n,) = struct.unpack(">I", seed[at : at + 4])
        chunks.append((seed[at + 4 : at + 8], seed[at + 8 : at + 8 + n]))
        at += 12 + n
    place = draw.randrange(len(chunks))
    kind, content = chunks[place]
    if draw.random() < 0.1:
        kind, content = b"zTXt", b"earwitness:spectrogram\0\0" + zlib.compress(bytes(1 << 24), 9)
    chunks[place] = (kind, damage(content, draw))
    if draw.random() < 0.1:
        chunks.insert(draw.randrange(len(chunks)), draw.choice(chunks))
    return seed[:8] + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def damage_bundle(seed: bytes, draw: random.Random) -> bytes:
    """Mostly damage the one data block of a bundle's index, and state its CRC as it then is."""
    from bundles import masked_crc

    if draw.random() < 0.2:
        return damage(seed, draw)
    data = bytearray(seed)
    n = _first_block(seed)
    for _ in range(draw.choice((1, 1, 2, 4))):
        data[draw.randrange(n)] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
    data[n + 1 : n + 5] = masked_crc(bytes(data[: n + 1]))
    return bytes(data)


def damage_ogg(seed: bytes, draw: random.Random) -> bytes:
    """Mostly damage a page of Ogg, and state its CRC as it then is."""
    if draw.random() < 0.2:
        return damage(seed, draw)
    starts = [at for at in range(len(seed)) if seed.startswith(b"OggS", at)]
    place = draw.randrange(len(starts))
    start, end = starts[place], [*starts[1:], len(seed)][place]
    page = bytearray(seed[start:end])
    for _ in range(draw.choice((1, 1, 2, 4))):
        at = draw.randrange(4, min(len(page), 80) if draw.random() < 0.7 else len(page))
        page[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
    page[22:26] = bytes(4)
    page[22:26] = _ogg_crc(page).to_bytes(4, "little")
    return seed[:start] + bytes(page) + seed[end:]


def _changed(value: Any, draw: random.Random) -> Any:
    """Return a JSON value with one to four of its parts changed."""
    for _ in range(draw.choice((1, 1, 2, 4))):
        places = list(_places(value))
        if not places:
            return deepcopy(draw.choice(_VALUES))
        holder, key = draw.choice(places)
        kind = draw.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, list):
            holder.append(holder[key])
        elif kind == 1:
            holder[f"{key}x"] = holder.pop(key)
        elif kind == 2:
            other, at = draw.choice(places)
            holder[key] = deepcopy(other[at])
        elif kind == 3 and isinstance(holder[key], int | float):
            holder[key] *= draw.choice((-1, 2, 1_000))
        else:
            holder[key] = deepcopy(draw.choice(_VALUES))
    return value


def _places(value: Any) -> list[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    places = [(value, key) for key in keys]
    for key in keys:
        if isinstance(value[key], dict | list):
            places += _places(value[key])
    return places


def _first_block(index: bytes) -> int:
    """Return the length of the block at the start of an index, by its CRC."""
    from bundles import masked_crc

    return next(n for n in range(len(index)) if masked_crc(index[: n + 1]) == index[n + 1 : n + 5])


def _ogg_crc(page: bytes | bytearray) -> int:
    """CRC-32 of Ogg (RFC 3533): polynomial 0x04C11DB7, not reflected, no initial value."""
    crc = 0
    for byte in page:
        crc = (crc << 8 & 0xFFFFFFFF) ^ _OGG_TABLE[crc >> 24 ^ byte]
    return crc


def _ogg_entry(byte: int) -> int:
    value = byte << 24
    for _ in range(8):
        value = (value << 1 ^ (0x04C11DB7 if value & 1 << 31 else 0)) & 0xFFFFFFFF
    return value


_OGG_TABLE = [_ogg_entry(byte) for byte in range(256)]
