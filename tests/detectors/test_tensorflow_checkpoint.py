from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bundles
from earwitness.core.errors import WeightsError
from earwitness.detectors.tensorflow_checkpoint import (
    TensorEntry,
    list_files,
    list_tensors,
    read_tensors,
)

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
NO_CRC = b"\0\0\0\0"

TENSORS = {
    "layer/kernel": np.arange(12, dtype=np.float32).reshape(3, 4),
    "layer/bias": np.array([1.5, -2.5], np.float32),
    "layer/none": np.zeros((0, 3), np.float32),
    "counter": np.array(7, np.int64),
}


@pytest.fixture
def prefix(tmp_path):
    return bundles.write(tmp_path / "small", TENSORS)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("scratch") / "x"


def write_index(prefix: Path, table: bytes, data: bytes = b"") -> Path:
    Path(f"{prefix}.index").write_bytes(table)
    Path(f"{prefix}.data-00000-of-00001").write_bytes(data)
    return prefix


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


def test_tensors_come_back_as_written(prefix):
    assert_same(read_tensors(prefix, TENSORS), TENSORS)


def test_entries_say_where_the_bytes_lie(prefix):
    raw = TENSORS["layer/bias"].tobytes()
    crc = int.from_bytes(bundles.masked_crc(raw), "little")
    entries = list_tensors(prefix)
    assert list(entries) == sorted(TENSORS)
    assert entries["layer/bias"] == TensorEntry("float32", (2,), 0, 8, 8, crc)
    assert entries["counter"].shape == ()


@pytest.mark.parametrize("n_tensors", [0, 1, 11, 12, 40])
def test_many_blocks_and_data_files(tmp_path, n_tensors):
    tensors = {f"name/{n:03d}/v": np.full(n % 3, n, np.int32) for n in range(n_tensors)}
    prefix = bundles.write(tmp_path / "many", tensors, shards=3)
    assert_same(read_tensors(prefix, tensors), tensors)
    assert [path.name for path in list_files(prefix)] == [
        "many.index",
        *(f"many.data-{shard:05d}-of-00003" for shard in range(3)),
    ]


@pytest.mark.parametrize(
    "dtype",
    [
        *(f"float{n}" for n in (16, 32, 64)),
        *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)),
    ],
)
def test_every_type_of_number(tmp_path, dtype):
    tensors = {"x": np.array([[1, 2, 100]], dtype)}
    assert_same(read_tensors(bundles.write(tmp_path / "typed", tensors), ["x"]), tensors)


def test_tensors_are_writable_and_their_own(prefix):
    first, second = (read_tensors(prefix, ["layer/bias"])["layer/bias"] for _ in range(2))
    first[0] = 99
    assert second[0] == 1.5


def test_strings_are_listed_but_not_read(tmp_path):
    prefix = bundles.write(tmp_path / "graph", {"_CHECKPOINTABLE_OBJECT_GRAPH": b"\x01x"})
    assert list_tensors(prefix)["_CHECKPOINTABLE_OBJECT_GRAPH"].dtype == "string"
    with pytest.raises(WeightsError, match="is of type string, expected numbers"):
        read_tensors(prefix, ["_CHECKPOINTABLE_OBJECT_GRAPH"])


def test_unknown_name_gets_a_suggestion(prefix):
    with pytest.raises(WeightsError, match=r"small\.index: no tensor.*did you mean 'layer/bias'"):
        read_tensors(prefix, ["layer/biass"])


def test_missing_files_are_named(prefix):
    data = Path(f"{prefix}.data-00000-of-00001")
    data.unlink()
    with pytest.raises(WeightsError, match=r"small\.data-00000-of-00001: no such file"):
        read_tensors(prefix, ["counter"])
    with pytest.raises(WeightsError, match=r"small\.data-00000-of-00001: no such file"):
        list_files(prefix)
    with pytest.raises(WeightsError, match=r"other\.index: no such file"):
        list_tensors(prefix.with_name("other"))


def test_a_folder_in_place_of_the_index(tmp_path):
    (tmp_path / "x.index").mkdir()
    with pytest.raises(WeightsError, match=r"x\.index: cannot be read"):
        list_tensors(tmp_path / "x")


def test_every_flipped_byte_of_the_index_is_noticed_or_harmless(prefix):
    path = Path(f"{prefix}.index")
    whole = path.read_bytes()
    n_noticed = 0
    for at in range(len(whole)):
        for flip in (0x01, 0x80, 0xFF):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
            try:
                found = read_tensors(prefix, TENSORS)
            except WeightsError:
                n_noticed += 1
            else:
                assert_same(found, TENSORS)
    assert n_noticed > 2 * len(whole)


def test_every_flipped_byte_of_the_data_is_noticed(prefix):
    path = Path(f"{prefix}.data-00000-of-00001")
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(WeightsError, match=r"data-00000-of-00001: checksum of '"):
            read_tensors(prefix, TENSORS)


def test_every_cut_is_noticed(prefix):
    for path, match in (
        (Path(f"{prefix}.data-00000-of-00001"), "bytes, expected at least"),
        (Path(f"{prefix}.index"), r"small\.index: "),
    ):
        whole = path.read_bytes()
        for n_bytes in range(len(whole)):
            path.write_bytes(whole[:n_bytes])
            with pytest.raises(WeightsError, match=match):
                read_tensors(prefix, TENSORS)
        path.write_bytes(whole)


@settings(deadline=None, max_examples=300)
@given(values=st.lists(st.binary(max_size=40), max_size=5), head=st.binary(max_size=8))
def test_any_message_under_a_right_checksum(scratch, values, head):
    records = [(f"k{n}".encode(), value) for n, value in enumerate(values)]
    for first in (bundles.header(), (b"", head)):
        prefix = write_index(scratch, bundles.table([first, *records]))
        with contextlib.suppress(WeightsError):
            read_tensors(prefix, list_tensors(prefix))


@settings(deadline=None, max_examples=300)
@given(
    claimed=st.fixed_dictionaries(
        {
            "shape": st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3), max_size=40),
            "n_bytes": st.integers(0, 2**64 - 1) | st.integers(0, 32),
            "offset": st.integers(0, 2**64 - 1) | st.integers(0, 32),
            "shard": st.integers(0, 2**64 - 1) | st.just(0),
            "dtype": st.integers(0, 30),
        }
    )
)
def test_any_claim_under_a_right_checksum(scratch, claimed):
    data, offset, n_bytes = bytes(16), claimed["offset"], claimed["n_bytes"]
    crc = bundles.masked_crc(data[offset : offset + n_bytes])
    message = bundles.entry(**claimed, crc=crc)
    prefix = write_index(scratch, bundles.table([bundles.header(), (b"x", message)]), data)
    try:
        values = read_tensors(prefix, ["x"])["x"]
    except WeightsError:
        return
    assert values.shape == tuple(claimed["shape"])
    assert values.nbytes == n_bytes
    assert offset + n_bytes <= len(data)
    assert not values.any()


@settings(deadline=None, max_examples=300)
@given(at=st.integers(0, 120), put=st.binary(min_size=1, max_size=4), shift=st.booleans())
def test_any_block_under_a_right_checksum(scratch, at, put, shift):
    def damage(content):
        return content[:at] + put + content[at + (0 if shift else len(put)) :]

    data = np.float32(2).tobytes()
    message = bundles.entry(dtype=1, shape=(1,), n_bytes=4, crc=bundles.masked_crc(data))
    records = [bundles.header(), (b"layer/a", message), (b"layer/b", message)]
    prefix = write_index(scratch, bundles.table(records, damage=damage), data)
    with contextlib.suppress(WeightsError):
        found = read_tensors(prefix, list_tensors(prefix))
        assert all(values.nbytes in (0, 4) for values in found.values())


@settings(deadline=None, max_examples=200)
@given(content=st.binary(max_size=80), footer=st.binary(max_size=40))
def test_any_bytes_before_the_magic_number(scratch, content, footer):
    magic = (0xDB4775248B80FB57).to_bytes(8, "little")
    prefix = write_index(scratch, content + footer.ljust(40, b"\0") + magic)
    with pytest.raises(WeightsError, match=r"x\.index: "):
        list_tensors(prefix)


def claim(**changes):
    usual = {"dtype": 1, "shape": (1,), "n_bytes": 4, "crc": NO_CRC}
    return bundles.entry(**usual | changes)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"shape": (2,)}, r"'x' has 4 bytes, expected float32 of shape \(2,\)"),
        ({"shape": (2**40,), "n_bytes": 2**42}, "bytes, expected at least"),
        ({"shape": (0, 2**62), "n_bytes": 0}, "expected a smaller one"),
        ({"offset": 2**63}, "bytes, expected at least"),
        ({"shard": 1}, "is in data file 1, expected below 1"),
        ({"more": b"\x3a\x00"}, "stored in slices, expected whole tensors"),
        ({"more": b"\x12\x02\x18\x01"}, "unknown rank"),
        ({"dtype": 14}, "type bfloat16"),
        ({"dtype": 99}, "type number 99"),
        ({"more": b"\x28"}, "a number ends in the middle"),
        ({"more": b"\x28" + b"\xff" * 10}, "over 64 bits"),
        ({"more": b"\x43"}, "wire type 3"),
        ({"more": b"\x42\x7f"}, "ends in the middle of a field"),
    ],
)
def test_claims_that_do_not_hold(tmp_path, changes, match):
    message = claim(**changes)
    prefix = write_index(tmp_path / "x", bundles.table([bundles.header(), (b"x", message)]))
    with pytest.raises(WeightsError, match=match):
        read_tensors(prefix, ["x"])


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ([b"b", b"a"], "expected ascending keys"),
        ([b"a", b"a"], "expected ascending keys"),
        ([b"\xff"], "expected UTF-8"),
        ([b"a" * 2000], "a key over 1024 bytes"),
    ],
)
def test_keys_that_are_not_as_they_should_be(tmp_path, names, match):
    records = [bundles.header(), *((name, claim()) for name in names)]
    with pytest.raises(WeightsError, match=match):
        list_tensors(write_index(tmp_path / "x", bundles.table(records)))


def test_headers_that_are_not_as_they_should_be(tmp_path):
    def listed(*records):
        return list_tensors(write_index(tmp_path / "x", bundles.table(list(records))))

    assert listed(bundles.header()) == {}
    with pytest.raises(WeightsError, match="no header entry"):
        listed((b"x", claim()))
    with pytest.raises(WeightsError, match="no header entry"):
        listed()
    with pytest.raises(WeightsError, match="0 data files, expected 1"):
        listed(bundles.header(shards=0))
    with pytest.raises(WeightsError, match="big-endian"):
        listed(bundles.header(endianness=1))


def test_compressed_blocks_are_refused(tmp_path):
    table = bundles.table([bundles.header()], compression=1)
    with pytest.raises(WeightsError, match=r"compressed blocks \(snappy\), expected uncompressed"):
        list_tensors(write_index(tmp_path / "x", table))


def test_an_index_that_is_too_large(tmp_path):
    with (tmp_path / "x.index").open("wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(WeightsError, match="expected a smaller index"):
        list_tensors(tmp_path / "x")


def test_the_published_index():
    prefix = SHARED / "published" / "deezer_index" / "variables"
    if not Path(f"{prefix}.index").exists():
        pytest.skip("needs the published index in the folder shared")
    entries = list_tensors(prefix)
    assert len(entries) == 115
    assert entries["_CHECKPOINTABLE_OBJECT_GRAPH"].dtype == "string"
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    kernel = f"layer_with_weights-10/kernel{suffix}"
    assert entries[kernel].shape == (3, 3, 256, 512)
    assert entries[kernel].n_bytes == 4 * 9 * 256 * 512
    with pytest.raises(WeightsError, match=r"data-00000-of-00001: no such file"):
        read_tensors(prefix, [kernel])


def test_a_bundle_that_tensorflow_wrote():
    prefix = SHARED / "golden" / "specnn_amplitude" / "variables" / "variables"
    if not Path(f"{prefix}.index").exists():
        pytest.skip("needs the golden bundle in the folder shared")
    entries = list_tensors(prefix)
    numbers = [name for name, entry in entries.items() if entry.dtype != "string"]
    tensors = read_tensors(prefix, numbers)
    assert len(entries) == len(numbers) + 1 == 51
    assert all(np.isfinite(values).all() for values in tensors.values())
    assert sum(v.size for name, v in tensors.items() if name.startswith("layer")) == 1_643_595
