"""Reader of TensorFlow's checkpoint format, the tensor bundle; every length is checked.

A bundle with prefix ``X`` has an index ``X.index`` and data ``X.data-00000-of-0000N``. The index is
a sorted string table ("LevelDB table format"): blocks of prefix-compressed entries with a restart
array, each followed by a compression byte and a masked CRC-32C, and a footer with the handle of the
block of block handles. Its values are ``BundleHeaderProto`` (under the empty key) and
``BundleEntryProto`` of TensorFlow's ``tensor_bundle.proto``.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import WeightsError
from earwitness.core.registry import nearest

_FOOTER_BYTES = 48
_TRAILER_BYTES = 5
_TABLE_MAGIC = 0xDB4775248B80FB57
_MAX_INDEX_BYTES = 16 << 20
_MAX_ENTRIES = 1 << 16
_MAX_KEY_BYTES = 1 << 10

_NUMBERS = {1: "float32", 2: "float64", 19: "float16", 3: "int32", 5: "int16", 6: "int8"}
_NUMBERS |= {9: "int64", 4: "uint8", 17: "uint16", 22: "uint32", 23: "uint64"}
"""TensorFlow's number of each type that is read."""
_ONLY_LISTED = {7: "string", 8: "complex64", 10: "bool", 14: "bfloat16"}


class _MalformedError(Exception):
    """A malformed file; the message follows its path."""


@dataclass(frozen=True)
class TensorEntry:
    """Type, position in a data file (``shard``) and masked CRC-32C of a tensor."""

    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    n_bytes: int
    crc32c: int


def list_tensors(prefix: Path) -> dict[str, TensorEntry]:
    """Return the entries of a bundle's index, sorted by name.

    Raises:
        WeightsError: The index is missing, damaged or not supported.
    """
    return _read_index(prefix)[1]


def read_tensors(prefix: Path, names: Iterable[str]) -> dict[str, NDArray[np.generic]]:
    """Return the named tensors.

    Raises:
        WeightsError: No such name, an unsupported type, or a missing or damaged file.
    """
    n_shards, entries = _read_index(prefix)
    tensors = {}
    for name in names:
        if name not in entries:
            hint = nearest(name, list(entries))
            raise WeightsError(f"{index_path(prefix)}: no tensor named {name!r}{hint}")
        path = shard_path(prefix, entries[name].shard, n_shards)
        with _naming(path):
            tensors[name] = _read_tensor(path, name, entries[name])
    return tensors


def list_files(prefix: Path) -> list[Path]:
    """Return the files of a bundle: its index, then its data files in order.

    Raises:
        WeightsError: The index is damaged, or a file is missing.
    """
    n_shards, _ = _read_index(prefix)
    files = [index_path(prefix)]
    for shard in range(n_shards):
        files.append(shard_path(prefix, shard, n_shards))
        if not files[-1].is_file():
            raise WeightsError(f"{files[-1]}: no such file, expected beside {files[0].name}")
    return files


def index_path(prefix: Path) -> Path:
    """Return the path of a bundle's index."""
    return Path(f"{prefix}.index")


def shard_path(prefix: Path, shard: int, n_shards: int) -> Path:
    """Return the path of one of a bundle's data files."""
    return Path(f"{prefix}.data-{shard:05d}-of-{n_shards:05d}")


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Raise errors as ``WeightsError`` with the path."""
    try:
        yield
    except _MalformedError as error:
        raise WeightsError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file, expected part of a tensor bundle") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None


def _read_tensor(path: Path, name: str, entry: TensorEntry) -> NDArray[np.generic]:
    """Return one tensor after checking its position and checksum."""
    if entry.dtype not in _NUMBERS.values():
        raise _MalformedError(f"tensor {name!r} is of type {entry.dtype}, expected numbers")
    with path.open("rb") as file:
        held = file.seek(0, 2)
        if entry.offset + entry.n_bytes > held:
            wanted = entry.offset + entry.n_bytes
            raise _MalformedError(f"{held} bytes, expected at least {wanted} for {name!r}")
        file.seek(entry.offset)
        data = file.read(entry.n_bytes)
    if _masked_crc32c(data) != entry.crc32c:
        raise _MalformedError(f"checksum of {name!r} does not match its bytes")
    stored = np.dtype(entry.dtype).newbyteorder("<")
    return np.frombuffer(data, stored).reshape(entry.shape).astype(entry.dtype)


def _read_index(prefix: Path) -> tuple[int, dict[str, TensorEntry]]:
    """Return the number of data files and the entries of an index."""
    path = index_path(prefix)
    with _naming(path):
        with path.open("rb") as file:
            table = file.read(_MAX_INDEX_BYTES + 1)
        if len(table) > _MAX_INDEX_BYTES:
            raise _MalformedError(f"over {_MAX_INDEX_BYTES} bytes, expected a smaller index")
        records = _table_records(table)
        key, value = next(records, (b"", b""))
        if key or not value:
            raise _MalformedError("no header entry, expected one under the empty key")
        n_shards = _parse_header(value)
        named = ((_decode(key), value) for key, value in records)
        return n_shards, {name: _parse_entry(name, value, n_shards) for name, value in named}


def _decode(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise _MalformedError(f"key {key!r}, expected UTF-8") from None


def _table_records(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a sorted string table, keys strictly ascending."""
    footer = table[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or int.from_bytes(footer[-8:], "little") != _TABLE_MAGIC:
        raise _MalformedError("no table footer at its end, expected a tensor bundle's index")
    _, at = _read_handle(footer, 0)
    index_handle, _ = _read_handle(footer, at)
    previous, end, n_records = b"", 0, 0
    for _, value in _block_records(_read_block(table, *index_handle)):
        (offset, size), used = _read_handle(value, 0)
        if used != len(value) or offset < end:
            raise _MalformedError("block handles are damaged, expected ascending blocks")
        end = offset + size
        for key, record in _block_records(_read_block(table, offset, size)):
            if n_records and key <= previous:
                raise _MalformedError(f"key {key!r} after {previous!r}, expected ascending keys")
            if n_records > _MAX_ENTRIES:
                raise _MalformedError(f"over {_MAX_ENTRIES} entries, expected fewer")
            previous, n_records = key, n_records + 1
            yield key, record


def _read_handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Return a block's offset and size, and where the handle ends."""
    offset, at = _read_varint(data, at)
    size, at = _read_varint(data, at)
    return (offset, size), at


def _read_block(table: bytes, offset: int, size: int) -> bytes:
    """Return the entries of one block, without its restart array and trailer."""
    end = offset + size
    if end + _TRAILER_BYTES + _FOOTER_BYTES > len(table):
        raise _MalformedError(f"a block ends at byte {end}, beyond the end of the blocks")
    checksum = int.from_bytes(table[end + 1 : end + _TRAILER_BYTES], "little")
    if _masked_crc32c(table[offset : end + 1]) != checksum:
        raise _MalformedError(f"checksum of the block at byte {offset} does not match its bytes")
    if table[end]:
        names = {1: "snappy", 2: "zlib", 4: "zstd"}
        name = names.get(table[end], f"type {table[end]}")
        raise _MalformedError(f"compressed blocks ({name}), expected uncompressed ones")
    n_restarts = int.from_bytes(table[max(end - 4, offset) : end], "little")
    if 4 * (n_restarts + 1) > size:
        raise _MalformedError(f"{n_restarts} restarts in a block of {size} bytes, expected fewer")
    return table[offset : end - 4 * (n_restarts + 1)]


def _block_records(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a block, keys decompressed."""
    key, at = b"", 0
    while at < len(block):
        n_shared, at = _read_varint(block, at)
        n_new, at = _read_varint(block, at)
        n_value, at = _read_varint(block, at)
        value_at = at + n_new
        if n_shared > len(key) or value_at + n_value > len(block):
            raise _MalformedError("an entry reaches beyond its block")
        if n_shared + n_new > _MAX_KEY_BYTES:
            raise _MalformedError(f"a key over {_MAX_KEY_BYTES} bytes, expected a shorter one")
        key = key[:n_shared] + block[at:value_at]
        at = value_at + n_value
        yield key, block[value_at:at]


def _parse_header(message: bytes) -> int:
    """Return the number of data files in a ``BundleHeaderProto``."""
    fields = _scalars(message)
    n_shards = fields.get(1, 0)
    if not 1 <= n_shards <= 99_999:
        raise _MalformedError(f"{n_shards} data files, expected 1 to 99999")
    if fields.get(2, 0) != 0:
        raise _MalformedError("big-endian tensors, expected little-endian ones")
    return n_shards


def _parse_entry(name: str, message: bytes, n_shards: int) -> TensorEntry:
    """Return a validated ``BundleEntryProto``."""
    fields, numbers = list(_fields(message)), _scalars(message)
    number = numbers.get(1, 0)
    dtype = (_NUMBERS | _ONLY_LISTED).get(number, f"number {number}")
    shape = _parse_shape(name, b"".join(v for n, v in fields if n == 2 and isinstance(v, bytes)))
    shard, n_bytes = numbers.get(3, 0), numbers.get(5, 0)
    if any(n == 7 for n, _ in fields):
        raise _MalformedError(f"{name!r} is stored in slices, expected whole tensors")
    if shard >= n_shards:
        raise _MalformedError(f"{name!r} is in data file {shard}, expected below {n_shards}")
    if number in _NUMBERS and n_bytes != math.prod(shape) * np.dtype(dtype).itemsize:
        raise _MalformedError(f"{name!r} has {n_bytes} bytes, expected {dtype} of shape {shape}")
    return TensorEntry(dtype, shape, shard, numbers.get(4, 0), n_bytes, numbers.get(6, 0))


def _parse_shape(name: str, message: bytes) -> tuple[int, ...]:
    """Return the dimensions of a ``TensorShapeProto``."""
    shape = []
    for number, value in _fields(message):
        if number == 3 and value:
            raise _MalformedError(f"{name!r} is of unknown rank, expected a shape")
        if number == 2 and isinstance(value, bytes):
            shape.append(_scalars(value).get(1, 0))
    if len(shape) > 32 or math.prod(max(n, 1) for n in shape) >= 1 << 48:
        raise _MalformedError(f"{name!r} is of shape {shape[:8]}, expected a smaller one")
    return tuple(shape)


def _scalars(message: bytes) -> dict[int, int]:
    """Return the integer fields of a protocol-buffer message, the last of each number."""
    return {number: value for number, value in _fields(message) if isinstance(value, int)}


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the field numbers and values of a protocol-buffer message."""
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        wire, start = tag & 7, at
        if wire == 0:
            value, at = _read_varint(message, at)
            yield tag >> 3, value
            continue
        if wire == 2:
            n_bytes, start = _read_varint(message, at)
        elif wire in (1, 5):
            n_bytes = 8 if wire == 1 else 4
        else:
            raise _MalformedError(f"a message with wire type {wire}, expected 0, 1, 2 or 5")
        at = start + n_bytes
        if at > len(message):
            raise _MalformedError("a message ends in the middle of a field")
        part = message[start:at]
        yield tag >> 3, part if wire == 2 else int.from_bytes(part, "little")


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a base-128 number of up to 64 bits and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise _MalformedError("a number ends in the middle")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            if value >> 64:
                break
            return value, at
    raise _MalformedError("a number over 64 bits, expected a smaller one")


def _masked_crc32c(data: bytes) -> int:
    """Return the CRC-32C of ``data`` in LevelDB's masked form."""
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
