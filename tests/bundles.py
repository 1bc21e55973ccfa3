"""Bundles as TensorFlow would write them, made here from arrays."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import google_crc32c
import numpy as np

TENSORFLOW_DTYPES = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 5,
    "int8": 6,
    "int64": 9,
    "uint16": 17,
    "float16": 19,
    "uint32": 22,
    "uint64": 23,
}
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    rotated = (crc >> 15 | crc << 17) & 0xFFFFFFFF
    return ((rotated + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


def block(records: Iterable[tuple[bytes, bytes]], restart_every: int) -> bytes:
    out, restarts, previous = b"", [0], b""
    for at, (key, value) in enumerate(records):
        shared = 0
        if at and at % restart_every == 0:
            restarts.append(len(out))
        elif at:
            limit = min(len(previous), len(key))
            while shared < limit and previous[shared] == key[shared]:
                shared += 1
        new = key[shared:]
        out += varint(shared) + varint(len(new)) + varint(len(value)) + new + value
        previous = key
    return out + b"".join(n.to_bytes(4, "little") for n in (*restarts, len(restarts)))


def table(
    records: list[tuple[bytes, bytes]],
    *,
    per_block: int = 12,
    compression: int = 0,
    damage: Callable[[bytes], bytes] = bytes,
) -> bytes:
    """A sorted string table of records in order; ``damage`` is done before checksums are taken."""
    out, handles = b"", []

    def put(content: bytes) -> bytes:
        nonlocal out
        content = damage(content)
        handle = varint(len(out)) + varint(len(content))
        tail = bytes([compression])
        out += content + tail + masked_crc(content + tail)
        return handle

    for start in range(0, len(records), per_block):
        part = records[start : start + per_block]
        handles.append((part[-1][0], put(block(part, restart_every=4))))
    footer = put(block([], 1)) + put(block(handles, restart_every=1))
    return out + footer.ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")


def header(*, shards: int = 1, endianness: int = 0) -> tuple[bytes, bytes]:
    return b"", b"\x08" + varint(shards) + b"\x10" + varint(endianness) + b"\x1a\x02\x08\x01"


def entry(
    *,
    dtype: int,
    shape: tuple[int, ...],
    n_bytes: int,
    crc: bytes,
    shard: int = 0,
    offset: int = 0,
    more: bytes = b"",
) -> bytes:
    dims = b""
    for n in shape:
        size = b"\x08" + varint(n)
        dims += b"\x12" + varint(len(size)) + size
    return (
        b"\x08" + varint(dtype)
        + b"\x12" + varint(len(dims)) + dims
        + b"\x18" + varint(shard)
        + b"\x20" + varint(offset)
        + b"\x28" + varint(n_bytes)
        + b"\x35" + crc
        + more
    )  # fmt: skip


def write(prefix: Path, tensors: Mapping[str, np.ndarray | bytes], *, shards: int = 1) -> Path:
    """Write a bundle; bytes stand for a string tensor. Returns the prefix."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    data = [b""] * shards
    records = [header(shards=shards)]
    for at, (name, value) in enumerate(sorted(tensors.items())):
        if isinstance(value, bytes):
            raw, dtype, shape = value, 7, ()
        else:
            raw = value.astype(value.dtype.newbyteorder("<")).tobytes()
            dtype, shape = TENSORFLOW_DTYPES[value.dtype.name], value.shape
        shard = at % shards
        place = {"shard": shard, "offset": len(data[shard])}
        message = entry(dtype=dtype, shape=shape, n_bytes=len(raw), crc=masked_crc(raw), **place)
        records.append((name.encode(), message))
        data[shard] += raw
    Path(f"{prefix}.index").write_bytes(table(records))
    for shard, raw in enumerate(data):
        Path(f"{prefix}.data-{shard:05d}-of-{shards:05d}").write_bytes(raw)
    return prefix


def specnn_variables(*, n_encoders: int = 10, seed: int = 0) -> dict[str, np.ndarray]:
    """Random variables of the published network, by short name, in TensorFlow's layout."""
    rng = np.random.default_rng(seed)
    out: dict[str, np.ndarray] = {}

    def put(name: str, values: np.ndarray) -> None:
        out[f"layer_with_weights-{name}"] = values.astype(np.float32)

    def put_kernel(layer: int, *shape: int) -> None:
        spread = np.sqrt(2 / np.prod(shape[:-1]))
        put(f"{layer}/kernel", rng.normal(0, spread, shape))
        put(f"{layer}/bias", rng.normal(0, 0.1, shape[-1]))

    channels = (1, 16, 32, 64, 128, 256, 512)
    for number, (n_in, n_out) in enumerate(itertools.pairwise(channels)):
        put_kernel(2 * number, 3, 3, n_in, n_out)
        put(f"{2 * number + 1}/gamma", rng.uniform(0.5, 1.5, n_out))
        put(f"{2 * number + 1}/beta", rng.normal(0, 0.3, n_out))
        put(f"{2 * number + 1}/moving_mean", rng.normal(0.5, 0.3, n_out))
        put(f"{2 * number + 1}/moving_variance", rng.uniform(0.5, 1.5, n_out))
    put_kernel(12, 512, 128)
    put_kernel(13, 128, 1)
    put_kernel(14, 128, n_encoders)
    return out


def write_specnn(prefix: Path, variables: Mapping[str, np.ndarray]) -> Path:
    """Write variables among what else Keras saves: metrics, optimizer, object graph."""
    kernel = "layer_with_weights-0/kernel"
    others: dict[str, np.ndarray | bytes] = {
        "_CHECKPOINTABLE_OBJECT_GRAPH": b"\x05graph",
        f"keras_api/metrics/0/total{SUFFIX}": np.float32(1.5).reshape(()),
        f"{kernel}/.OPTIMIZER_SLOT/optimizer/m{SUFFIX}": np.zeros((3, 3, 1, 16), np.float32),
        f"optimizer/_iterations{SUFFIX}": np.array(7, np.int64),
        f"save_counter{SUFFIX}": np.array(1, np.int64),
    }
    return write(prefix, {f"{name}{SUFFIX}": v for name, v in variables.items()} | others)
