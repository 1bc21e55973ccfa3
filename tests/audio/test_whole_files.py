"""Odd and damaged files: all that they hold is decoded, or the error says where it ends."""

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from earwitness.audio.decode import probe_audio, read_audio, read_slice
from earwitness.audio.mpeg_frames import frames_of, walk_frames
from earwitness.audio.ogg import checksum, walk_pages
from earwitness.audit.features import extract_file_features
from earwitness.core.errors import AudioError
from earwitness.detectors.fakeprint import FakeprintDetector, fakeprint_card
from earwitness.listen.listen import listen
from earwitness.scoring.clips import ClipRequest, Job, cut_file
from soundfiles import music, write_av

PLAIN = {"write_xing": "0", "id3v2_version": "0"}
ID3V2 = b"ID3\x04\x00\x00\x00\x00\x01\x00" + b"\xff" * 128
ID3V1 = b"TAG" + b"odd".ljust(125, b"\0")


def ape(version: int, *, header: bool, footer: bool = True) -> bytes:
    """An APE tag with one item."""
    item = struct.pack("<II", 3, 0) + b"Title\0odd"
    has_header = header << 31
    size = len(item) + 32 * footer

    def mark(flags: int) -> bytes:
        return b"APETAGEX" + struct.pack("<IIII", version, size, 1, flags) + bytes(8)

    parts = [mark(has_header | 1 << 29) if header else b"", item]
    return b"".join(parts) + (mark(has_header) if footer else b"")


def mp3(path: Path, seconds: float = 3.0, **options: object) -> bytes:
    """An MP3 file: with an Info header unless ``plain``."""
    rate, n_channels = options.get("rate", 44_100), options.get("channels", 2)
    assert isinstance(rate, int)
    assert isinstance(n_channels, int)
    samples = music(rate, seconds, n_channels, seed=int(10 * seconds))
    muxer = PLAIN if options.get("plain") else {}
    write_av(path, samples, rate, "libmp3lame", format="mp3", muxer=muxer)
    return path.read_bytes()


def frames_in(path: Path) -> list[bytes]:
    """The frames of an MP3 file."""
    with path.open("rb") as file:
        frames = walk_frames(file.fileno())
        assert frames is not None
        return [frame for run in frames.runs for frame in frames_of(file.fileno(), run)]


def info_at(data: bytes) -> int:
    return data.index(b"Info" if b"Info" in data else b"Xing")


def agree(path: Path, *, atol: float = 0.0) -> np.ndarray:
    """Check that slices equal the whole; return it."""
    whole, info = read_audio(path)
    assert whole.shape == (info.n_channels, info.n_samples)
    rng = np.random.default_rng(0)
    length = info.n_samples
    starts = [0, length // 2, max(0, length - 2_000), *map(int, rng.integers(0, length, 6))]
    for start in starts:
        part = read_slice(path, start, 3_000)
        np.testing.assert_allclose(part, whole[:, start : start + 3_000], rtol=0, atol=atol)
    return whole


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def refused(path: Path, match: str) -> None:
    for read in (probe_audio, read_audio, lambda p: read_slice(p, 0, 10)):
        with pytest.raises(AudioError, match=match) as caught:
            read(path)
        assert "\n" not in caught.value.reason


LEADS: dict[str, Callable[[], bytes]] = {
    "ape2": lambda: ape(2000, header=True),
    "ape2 without footer": lambda: ape(2000, header=True, footer=False),
    "id3 then ape": lambda: ID3V2 + ape(2000, header=True),
    "ape then id3": lambda: ape(2000, header=True) + ID3V2,
    "id3v1": lambda: ID3V1,
    "id3 twice": lambda: ID3V2 + ID3V2,
    "id3 and zeros": lambda: ID3V2 + bytes(3_000),
    "id3 with a size too small": lambda: ID3V2 + b"\xff\xd8picture" * 500,
    "id3 with a size of eight-bit bytes": lambda: b"ID3\x03\0\0\0\0\0\xff" + bytes(255),
    "id3 with a size beyond the file": lambda: b"ID3\x03\0\0\x7f\x7f\x7f\x7f" + bytes(300),
    "id3 with a size into the sound": lambda: b"ID3\x03\0\0\0\0\x7f\x7f" + bytes(300),
    "id3 with a footer": lambda: b"ID3\x04\0\x10\0\0\0\x05" + bytes(5) + b"3DI\x04\0\x10\0\0\0\x05",
}


@pytest.mark.parametrize("lead", LEADS)
def test_tags_before_an_mp3_leave_no_delay(tmp_path: Path, lead: str) -> None:
    data = mp3(tmp_path / "a.mp3")[45:]
    plain = agree(put(tmp_path / "plain.mp3", data[data.index(b"\xff\xfb") :]))
    data = data[data.index(b"\xff\xfb") :]
    tagged = agree(put(tmp_path / "tagged.mp3", LEADS[lead]() + data))
    np.testing.assert_allclose(tagged, plain, atol=1e-5)


TRAILS: dict[str, bytes] = {
    "id3v1": ID3V1,
    "ape1": ape(1000, header=False),
    "ape2 and id3v1": ape(2000, header=True) + ID3V1,
    "lyrics3": b"LYRICSBEGININD0000200LYR00003odd000034LYRICS200" + ID3V1,
    "long ape": ape(2000, header=True) * 600,
}


@pytest.mark.parametrize("trail", TRAILS)
@pytest.mark.parametrize("plain", [False, True])
def test_tags_behind_an_mp3_change_nothing(tmp_path: Path, trail: str, plain: bool) -> None:
    data = mp3(tmp_path / "a.mp3", plain=plain)
    before = agree(tmp_path / "a.mp3")
    after = agree(put(tmp_path / "b.mp3", data + TRAILS[trail]))
    np.testing.assert_array_equal(after, before)


def test_bytes_gone_from_an_mp3_cost_a_frame_or_two(tmp_path: Path) -> None:
    data = mp3(tmp_path / "a.mp3", 6, plain=True)
    whole = probe_audio(tmp_path / "a.mp3").n_samples
    for n_bytes in (1, 20, 300):
        path = put(tmp_path / f"{n_bytes}.mp3", data[:30_000] + data[30_000 + n_bytes :])
        agree(path)
        assert 0 < whole - probe_audio(path).n_samples <= 2 * 1152


@pytest.mark.parametrize("plain", [False, True])
def test_an_mp3_with_much_damage_is_refused(tmp_path: Path, plain: bool) -> None:
    data = mp3(tmp_path / "a.mp3", plain=plain)
    path = put(tmp_path / "b.mp3", data[:20_000] + bytes(8_000) + data[28_000:])
    refused(path, r"damaged near 1\.2\d s: [78]\d\d\d bytes are neither MPEG frames nor tags")
    tail = put(tmp_path / "c.mp3", data[:20_000] + bytes(len(data) - 20_000))
    refused(tail, r"damaged near 1\.2\d s")


def test_junk_in_an_mp3_whose_header_counts_all_frames_is_passed_over(tmp_path: Path) -> None:
    data = mp3(tmp_path / "a.mp3")
    at = data.index(frames_in(tmp_path / "a.mp3")[60])
    whole = agree(tmp_path / "a.mp3")
    found = agree(put(tmp_path / "b.mp3", data[:at] + bytes(8_000) + data[at:]))
    np.testing.assert_allclose(found, whole, atol=1e-5)


@pytest.mark.parametrize("between", [b"", ID3V1, ID3V1 + ID3V2, ape(2000, header=True) + ID3V2])
@pytest.mark.parametrize("plain", [False, True])
def test_mp3s_one_behind_another_are_read_whole(
    tmp_path: Path, between: bytes, plain: bool
) -> None:
    first, second = mp3(tmp_path / "a.mp3", 3, plain=plain), mp3(tmp_path / "b.mp3", 2, plain=plain)
    path = put(tmp_path / "c.mp3", first + between + second)
    agree(path)
    assert probe_audio(path).duration_s == pytest.approx(5, abs=0.15)


@pytest.mark.parametrize("share", [3, 1000])
def test_header_that_claims_too_few_frames(tmp_path: Path, share: int) -> None:
    data = bytearray(mp3(tmp_path / "a.mp3"))
    plain, at = agree(tmp_path / "a.mp3"), info_at(data) + 8
    n_frames = int.from_bytes(data[at : at + 4], "big")
    data[at : at + 4] = (n_frames // share or 1).to_bytes(4, "big")
    found = agree(put(tmp_path / "b.mp3", data))
    np.testing.assert_allclose(found, plain, atol=1e-5)


def test_vbri_frame_is_no_sound(tmp_path: Path) -> None:
    plain = mp3(tmp_path / "plain.mp3", plain=True)
    whole = agree(tmp_path / "plain.mp3")
    first = bytearray(frames_in(tmp_path / "plain.mp3")[0])
    first[4:] = bytes(len(first) - 4)
    first[36:62] = b"VBRI" + struct.pack(">HHHIIHHHH", 1, 0, 75, len(plain), 115, 0, 1, 1, 0)
    found = agree(put(tmp_path / "vbri.mp3", bytes(first) + plain))
    np.testing.assert_allclose(found, whole, atol=1e-5)


@pytest.mark.parametrize(
    ("rate", "channels", "match"),
    [
        (48_000, 2, r"changes from 44100 to 48000 Hz at 3\.\d\d s"),
        (44_100, 1, r"changes from 2 to 1 channels at 3\.\d\d s"),
        (22_050, 1, r"changes from 44100 Hz and 2 channels to 22050 Hz and 1 channels at 3\."),
    ],
)
@pytest.mark.parametrize("plain", [False, True])
def test_mp3_that_changes_is_refused(
    tmp_path: Path, rate: int, channels: int, match: str, plain: bool
) -> None:
    first = mp3(tmp_path / "a.mp3", plain=plain)
    second = mp3(tmp_path / "b.mp3", 2, plain=plain, rate=rate, channels=channels)
    refused(put(tmp_path / "c.mp3", first + second), match)


def test_layer_2_with_bytes_gone_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "a.mp2"
    write_av(path, music(44_100, 6, 1), 44_100, "mp2", format="mp2", sample_format="s16")
    whole, data = agree(path), path.read_bytes()
    path.write_bytes(data[:30_000] + data[30_020:])
    assert 0 < whole.shape[1] - agree(path).shape[1] <= 2 * 1152


def ogg(path: Path, seconds: float, codec: str, seed: int = 0) -> bytes:
    rate = 48_000 if codec == "libopus" else 44_100
    samples = music(rate, seconds, 1 if codec == "libopus" else 2, seed=seed)
    sample_format = "flt" if codec == "libopus" else "fltp"
    write_av(path, samples, rate, codec, format="ogg", sample_format=sample_format)
    return path.read_bytes()


def vorbis(path: Path, seconds: float, seed: int = 0) -> bytes:
    sf.write(path, music(44_100, seconds, 2, seed), 44_100, format="OGG", subtype="VORBIS")
    return path.read_bytes()


def change_page(data: bytes, number: int, at: int, content: bytes) -> bytes:
    """Put bytes into a page and make its checksum right."""
    starts, position = [], 0
    while position < len(data):
        starts.append(position)
        n_segments = data[position + 26]
        sizes = data[position + 27 : position + 27 + n_segments]
        position += 27 + n_segments + sum(sizes)
    starts.append(position)
    begin, end = starts[:-1][number], starts[1:][number]
    page = bytearray(data[begin:end])
    page[at : at + len(content)] = content
    page[22:26] = checksum(bytes(page)).to_bytes(4, "little")
    return data[:begin] + bytes(page) + data[end:]


def test_checksums_of_pages_are_those_of_the_writer(tmp_path: Path) -> None:
    data = vorbis(tmp_path / "a.ogg", 3)
    with (tmp_path / "a.ogg").open("rb") as file:
        pages = list(walk_pages(file.fileno()))
    assert pages[0].begins
    assert pages[-1].ends
    assert sum(page.stop - page.start for page in pages) == len(data)
    assert pages[-1].granule == 3 * 44_100


@pytest.mark.parametrize("codec", ["vorbis", "libopus"])
def test_links_of_an_ogg_file_follow_one_another(tmp_path: Path, codec: str) -> None:
    make = vorbis if codec == "vorbis" else lambda p, s, n: ogg(p, s, codec, n)
    parts, wholes = [], []
    for n, seconds in enumerate((3, 2, 0.5)):
        parts.append(make(tmp_path / f"{n}.ogg", seconds, n))
        wholes.append(agree(tmp_path / f"{n}.ogg"))
    found = agree(put(tmp_path / "all.ogg", b"".join(parts)))
    np.testing.assert_array_equal(found, np.concatenate(wholes, axis=1))
    border = wholes[0].shape[1]
    part = read_slice(tmp_path / "all.ogg", border - 10, 20)
    np.testing.assert_array_equal(part, found[:, border - 10 : border + 10])


def test_links_of_other_rates_are_refused(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.ogg", music(44_100, 1, 2), 44_100)
    sf.write(tmp_path / "b.ogg", music(48_000, 1, 2), 48_000)
    data = b"".join((tmp_path / name).read_bytes() for name in ("a.ogg", "b.ogg"))
    refused(put(tmp_path / "c.ogg", data), r"changes from 44100 to 48000 Hz at 1\.00 s")


@pytest.mark.parametrize("codec", ["vorbis", "libopus"])
def test_an_ogg_file_cut_in_a_page_is_refused(tmp_path: Path, codec: str) -> None:
    make = vorbis if codec == "vorbis" else lambda p, s: ogg(p, s, codec)
    data = make(tmp_path / "a.ogg", 6)
    path = put(tmp_path / "b.ogg", data[: len(data) // 2])
    refused(path, r"truncated at [23]\.\d\d s \(its last page is cut off\)")
    refused(put(path, data[: len(data) // 2] + bytes(len(data) // 2)), r"truncated|damaged near")


@pytest.mark.parametrize("codec", ["vorbis", "libopus"])
def test_an_ogg_file_with_a_damaged_page_is_refused(tmp_path: Path, codec: str) -> None:
    make = vorbis if codec == "vorbis" else lambda p, s: ogg(p, s, codec)
    data = bytearray(make(tmp_path / "a.ogg", 6))
    data[len(data) // 2] ^= 0xFF
    match = r"damaged near [123]\.\d\d s: 1 of \d+ Ogg pages are missing or damaged"
    refused(put(tmp_path / "b.ogg", data), match)


@pytest.mark.parametrize("rate", [0, 8_000, 16_000, 44_100, 96_000, 2**32 - 1])
def test_opus_is_decoded_at_48_khz_whatever_its_header_says(tmp_path: Path, rate: int) -> None:
    data = ogg(tmp_path / "a.opus", 3, "libopus")
    whole = agree(tmp_path / "a.opus")
    path = put(tmp_path / "b.opus", change_page(data, 0, 28 + 12, rate.to_bytes(4, "little")))
    assert probe_audio(path).sample_rate_hz == 48_000
    np.testing.assert_array_equal(agree(path), whole)


def test_opus_without_end_of_stream_is_read_to_its_last_packet(tmp_path: Path) -> None:
    data = ogg(tmp_path / "a.opus", 3, "libopus")
    n_samples = probe_audio(tmp_path / "a.opus").n_samples
    path = put(tmp_path / "b.opus", change_page(data, -1, 5, b"\0"))
    assert 0 <= agree(path).shape[1] - n_samples < 960


def test_opus_that_names_more_samples_than_its_packets_hold(tmp_path: Path) -> None:
    data = ogg(tmp_path / "a.opus", 3.0137, "libopus")
    with (tmp_path / "a.opus").open("rb") as file:
        *_, last = walk_pages(file.fileno())
    held = agree(put(tmp_path / "c.opus", change_page(data, -1, 5, b"\0"))).shape[1]
    for more in (10, 5_000):
        granule = (last.granule + 960 + more).to_bytes(8, "little")
        path = put(tmp_path / f"{more}.opus", change_page(data, -1, 6, granule))
        assert agree(path).shape[1] == held


def flac(path: Path, seconds: float, seed: int = 0) -> bytes:
    sf.write(path, music(44_100, seconds, 2, seed), 44_100)
    return path.read_bytes()


@pytest.mark.parametrize("lead", [ID3V2, ID3V2 + ID3V2])
@pytest.mark.parametrize("trail", [b"", ID3V1])
def test_flac_behind_tags(tmp_path: Path, lead: bytes, trail: bytes) -> None:
    data = flac(tmp_path / "a.flac", 3)
    whole = agree(tmp_path / "a.flac")
    path = put(tmp_path / "b.flac", lead + data + trail)
    np.testing.assert_array_equal(agree(path), whole)
    tail = read_slice(path, whole.shape[1] - 5, 5)
    np.testing.assert_array_equal(tail, whole[:, -5:])


@pytest.mark.parametrize(("first_s", "second_s"), [(3, 2), (2, 2), (1, 4), (4, 0.3)])
@pytest.mark.parametrize("between", [b"", ID3V2])
def test_flacs_one_behind_another(
    tmp_path: Path, first_s: float, second_s: float, between: bytes
) -> None:
    data = [flac(tmp_path / f"{n}.flac", s, n) for n, s in enumerate((first_s, second_s))]
    wholes = [agree(tmp_path / f"{n}.flac") for n in range(2)]
    found = agree(put(tmp_path / "c.flac", between.join(data)))
    np.testing.assert_array_equal(found, np.concatenate(wholes, axis=1))


@pytest.mark.parametrize("total", [0, 1, 44_100, 3 * 44_100 - 1])
def test_flac_whose_header_claims_too_little(tmp_path: Path, total: int) -> None:
    data = bytearray(flac(tmp_path / "a.flac", 3))
    whole = agree(tmp_path / "a.flac")
    data[21:26] = bytes([data[21] & 0xF0]) + total.to_bytes(4, "big")
    np.testing.assert_array_equal(agree(put(tmp_path / "b.flac", data)), whole)


@pytest.mark.parametrize("n_bytes", [1, 300])
def test_damage_inside_a_flac_is_placed(tmp_path: Path, n_bytes: int) -> None:
    data = bytearray(flac(tmp_path / "a.flac", 6))
    at = len(data) // 2
    data[at : at + n_bytes] = bytes(255 - byte for byte in data[at : at + n_bytes])
    with pytest.raises(AudioError, match=r"damaged near [23]\.\d\d s: "):
        read_audio(put(tmp_path / "b.flac", data))


STATED: dict[str, tuple[str, str]] = {
    "a.aiff": ("AIFF", "PCM_16"),
    "b.aiff": ("AIFF", "ULAW"),
    "a.au": ("AU", "PCM_16"),
    "b.au": ("AU", "FLOAT"),
    "a.caf": ("CAF", "PCM_16"),
    "a.w64": ("W64", "PCM_24"),
    "a.rf64": ("RF64", "PCM_16"),
    "a.svx": ("SVX", "PCM_16"),
    "ima.wav": ("WAV", "IMA_ADPCM"),
    "ms.w64": ("W64", "MS_ADPCM"),
    "ima.aiff": ("AIFF", "IMA_ADPCM"),
    "a.wav": ("WAV", "PCM_U8"),
}


@pytest.mark.parametrize("name", STATED)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.97])
def test_cut_files_whose_header_states_a_length_are_refused(
    tmp_path: Path, name: str, share: float
) -> None:
    format_, subtype = STATED[name]
    samples = music(22_050, 3, 1)
    sf.write(tmp_path / name, samples, 22_050, format=format_, subtype=subtype)
    n_samples = agree(tmp_path / name).shape[1]
    assert n_samples == pytest.approx(len(samples), abs=2_000)
    data = (tmp_path / name).read_bytes()
    refused(put(tmp_path / f"cut{name}", data[: int(share * len(data))]), "truncated at|malformed")


@pytest.mark.parametrize(
    "name", [name for name in STATED if "ima" not in name and "ms" not in name]
)
def test_files_behind_tags_are_read_and_checked_as_without(tmp_path: Path, name: str) -> None:
    format_, subtype = STATED[name]
    sf.write(tmp_path / name, music(22_050, 2, 1), 22_050, format=format_, subtype=subtype)
    data = (tmp_path / name).read_bytes()
    tagged = put(tmp_path / f"tagged{name}", ID3V2 + data)
    np.testing.assert_array_equal(agree(tagged), agree(tmp_path / name))
    refused(
        put(tmp_path / f"cut{name}", (ID3V2 + data)[: len(data) // 2]),
        "truncated|cannot be decoded",
    )


def test_ogg_behind_a_tag(tmp_path: Path) -> None:
    data = vorbis(tmp_path / "a.ogg", 2)
    tagged = put(tmp_path / "b.ogg", ID3V2 + data)
    np.testing.assert_array_equal(agree(tagged), agree(tmp_path / "a.ogg"))


def wav(samples: np.ndarray, *, size: int | None = None, block: int | None = None) -> bytes:
    """A 16-bit mono file at 8 kHz; size and block align as they are wanted."""
    data = samples.astype("<i2").tobytes()
    fmt = struct.pack("<HHIIHH", 1, 1, 8_000, 16_000, 2 if block is None else block, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt
    body += b"data" + struct.pack("<I", len(data) if size is None else size) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


SPEECH = (8_000 * np.sin(np.arange(8_000) / 9)).astype(np.int16)
PLACEHOLDERS = [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0x80000024]
PLACEHOLDERS += [0xFFFFFF00, 0xFFFFFFDB, 2**32 - 1]


@pytest.mark.parametrize("size", PLACEHOLDERS, ids=hex)
def test_wav_sizes_of_writers_that_cannot_seek(tmp_path: Path, size: int) -> None:
    path = put(tmp_path / "a.wav", wav(SPEECH, size=size))
    np.testing.assert_array_equal(agree(path), SPEECH[None] / np.float32(32_768))
    assert probe_audio(path).container == "wav"


@pytest.mark.parametrize("block", [0, 1, 3, 4, 65_535])
def test_wav_with_a_wrong_block_align(tmp_path: Path, block: int) -> None:
    path = put(tmp_path / "a.wav", wav(SPEECH, block=block))
    np.testing.assert_array_equal(agree(path), SPEECH[None] / np.float32(32_768))
    cut = put(tmp_path / "b.wav", wav(SPEECH, block=block)[:8_000])
    refused(cut, r"truncated at 0\.50 s \(its header claims 1\.00 s\)")


def test_wav_that_really_holds_nothing(tmp_path: Path) -> None:
    empty = wav(SPEECH[:0]) + b"LIST" + struct.pack("<I", 4) + b"INFO"
    refused(put(tmp_path / "a.wav", empty), "holds no samples")


def test_wav_whose_header_is_stale(tmp_path: Path) -> None:
    path = put(tmp_path / "a.wav", wav(SPEECH, size=4_000))
    refused(path, "its header describes 4000 bytes of sound, but 12000 more follow")


@pytest.mark.parametrize("trail", [b"LIST\x04\0\0\0INFO" * 9, bytes(2_000), ID3V2, b"x" * 100])
def test_what_may_follow_the_sound_of_a_wav(tmp_path: Path, trail: bytes) -> None:
    path = put(tmp_path / "a.wav", wav(SPEECH) + trail)
    np.testing.assert_array_equal(agree(path), SPEECH[None] / np.float32(32_768))


def test_wav_size_that_wrapped_beyond_4_gib(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    n_bytes = 2**32 + 40_000
    path.write_bytes(wav(SPEECH, size=40_000))
    with path.open("r+b") as file:
        file.truncate(44 + n_bytes - 16_000)
        file.seek(0, 2)
        file.write(SPEECH.tobytes())
    info = probe_audio(path)
    assert info.n_samples == n_bytes // 2
    tail = read_slice(path, info.n_samples - 8_000, 8_000)
    np.testing.assert_array_equal(tail, SPEECH[None] / np.float32(32_768))


@pytest.mark.parametrize(("format_", "suffix"), [("WAV", "wav"), ("AIFF", "aiff"), ("W64", "w64")])
def test_two_files_in_one_with_a_stated_size_are_refused(
    tmp_path: Path, format_: str, suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    sf.write(path, music(22_050, 1, 1), 22_050, format=format_)
    refused(put(path, path.read_bytes() * 2), r"its header describes \d+ bytes of sound")


def test_other_codings_in_ogg_are_not_cut_either(tmp_path: Path) -> None:
    import av

    path, rate = tmp_path / "a.ogg", 16_000
    data = (music(rate, 6, 1).T * 32_767).astype(np.int16)
    with av.open(str(path), "w", format="ogg") as container:
        stream = container.add_stream("flac", rate=rate, layout="mono")
        for at in range(0, data.shape[1] - 4_608 + 1, 4_608):
            part = np.ascontiguousarray(data[:, at : at + 4_608])
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
            frame.sample_rate, frame.pts = rate, at
            container.mux([packet for packet in stream.encode(frame) if packet.size])
    assert agree(path).shape[1] == pytest.approx(6 * rate, abs=9_300)
    data = path.read_bytes()
    refused(put(tmp_path / "b.ogg", data[: len(data) // 2]), "truncated at [1-4]")
    holed = data[: len(data) // 2] + bytes(40) + data[len(data) // 2 + 40 :]
    refused(put(tmp_path / "c.ogg", holed), "Ogg pages are missing or damaged|damaged near")


def test_flac_of_unknown_length_that_is_cut(tmp_path: Path) -> None:
    data = bytearray(flac(tmp_path / "a.flac", 3))
    data[21:26] = bytes([data[21] & 0xF0]) + bytes(4)
    refused(put(tmp_path / "b.flac", data[: len(data) // 2]), "its last FLAC frame is cut off")


def test_mp3_inside_a_wav_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_av(path, music(44_100, 6, 2), 44_100, "libmp3lame", format="wav")
    whole, data = agree(path), path.read_bytes()
    assert whole.shape[1] == pytest.approx(6 * 44_100, abs=3_000)
    gone = put(tmp_path / "b.wav", data[:30_000] + data[30_020:])
    assert 0 < whole.shape[1] - agree(gone).shape[1] <= 2 * 1152
    zeroed = put(tmp_path / "c.wav", data[:30_000] + bytes(20_000) + data[50_000:])
    refused(zeroed, r"damaged near 1\.\d\d s")


@pytest.mark.parametrize("more", [100, 5_000, 200_000])
def test_vorbis_that_names_more_samples_than_its_packets_hold(tmp_path: Path, more: int) -> None:
    data = vorbis(tmp_path / "a.ogg", 3)
    granule = (3 * 44_100 + more).to_bytes(8, "little")
    path = put(tmp_path / "b.ogg", change_page(data, -1, 6, granule))
    assert 0 <= agree(path).shape[1] - 3 * 44_100 < 2_048


@pytest.mark.parametrize("marked", [0, 1])
def test_the_default_audio_stream_of_a_video_is_read(tmp_path: Path, marked: int) -> None:
    import av

    path = tmp_path / "a.mkv"
    lengths_s = (2, 3)
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("aac", rate=44_100, layout="stereo") for _ in lengths_s]
        for number, stream in enumerate(streams):
            flag = av.stream.Disposition.default
            stream.disposition = flag if number == marked else av.stream.Disposition(0)
        for number, (stream, seconds) in enumerate(zip(streams, lengths_s, strict=True)):
            data = np.ascontiguousarray(music(44_100, seconds, 2, number).T)
            frame = av.AudioFrame.from_ndarray(data, format="fltp", layout="stereo")
            frame.sample_rate = 44_100
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)
    agree(path)
    assert probe_audio(path).duration_s == pytest.approx(lengths_s[marked], abs=0.1)


@pytest.mark.parametrize("name", [*STATED, "a.flac", "a.ogg", "a.mp3"])
def test_headers_that_are_cut_or_absurd_give_errors_and_take_no_memory(
    tmp_path: Path, name: str
) -> None:
    format_, subtype = STATED.get(name, (None, None))
    path = tmp_path / name
    sf.write(path, music(22_050, 0.5, 1), 22_050, format=format_, subtype=subtype)
    data = path.read_bytes()
    places = range(4, 112, 8)
    odd = [data[:at] for at in places]
    odd += [data[:at] + b"\xff" * n + data[at + n :] for at in places for n in (4, 8)]
    odd += [data[:at] + b"\x7f\xff\xff\xff" * 2 + data[at + 8 :] for at in places]
    tracemalloc.start()
    for number, content in enumerate(odd):
        try:
            read_slice(put(tmp_path / f"{number}{name}", content), 0, 1_000)
        except AudioError:
            continue
    assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    tracemalloc.stop()


def test_all_commands_show_the_same_length_or_error(tmp_path: Path) -> None:
    first, second = (vorbis(tmp_path / f"{n}.ogg", s, n) for n, s in enumerate((6, 4)))
    whole = put(tmp_path / "whole.ogg", first + second)
    cut = put(tmp_path / "cut.ogg", first[: len(first) // 2])
    card = fakeprint_card(name="fakeprint", trained_on=None, training_items=None)
    detector = FakeprintDetector(card, np.zeros(4_087), 0.0)
    reason = probe_error(cut)
    by_name = {hearing.path.name: hearing for hearing in listen([whole, cut], [detector])}
    assert by_name["whole.ogg"].duration_s == 10
    assert by_name["cut.ogg"].error == reason
    request = ClipRequest(card.contract)
    assert cut_file(Job(str(cut)), [request]).cuts == {request: reason}
    assert extract_file_features(str(whole), "0").duration_s == 10
    assert extract_file_features(str(cut), "0").error == reason


def probe_error(path: Path) -> str:
    with pytest.raises(AudioError) as caught:
        probe_audio(path)
    return caught.value.reason


def test_a_claim_that_counts_encoder_padding_is_no_truncation(tmp_path: Path) -> None:
    path = tmp_path / "short.wma"
    write_av(path, music(44_100, 3.0, 2), 44_100, "wmav2", format="asf")
    info = probe_audio(path)
    assert info.claimed_samples is not None
    assert info.n_samples < 0.99 * info.claimed_samples
