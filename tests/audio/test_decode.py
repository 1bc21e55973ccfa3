import contextlib
import os
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from earwitness.audio import decode
from earwitness.audio.decode import (
    Span,
    capture_stderr,
    probe_audio,
    read_audio,
    read_slice,
    scan_packets,
)
from earwitness.core.errors import AudioError
from soundfiles import music, write_av, write_ogg


def reference(path: Path) -> np.ndarray:
    with capture_stderr():
        return sf.read(path, dtype="float32", always_2d=True)[0].T


def check_slices(path: Path, whole: np.ndarray, n_slices: int = 12) -> None:
    rng = np.random.default_rng(1)
    length = whole.shape[1]
    starts = [0, length - 1, *(int(s) for s in rng.integers(0, length, n_slices))]
    for start in starts:
        n_samples = int(rng.integers(1, 9000))
        part = read_slice(path, start, n_samples)
        np.testing.assert_array_equal(part, whole[:, start : start + n_samples], str(start))


MP3_WRITERS: dict[str, Callable[[Path, np.ndarray, int], object]] = {
    "cbr": lambda path, x, hz: sf.write(path, x, hz, bitrate_mode="CONSTANT"),
    "vbr": lambda path, x, hz: sf.write(path, x, hz, bitrate_mode="VARIABLE"),
    "lame-low": lambda path, x, hz: write_av(path, x, hz, "libmp3lame", bit_rate=32_000),
    "lame-plain": lambda path, x, hz: write_av(
        path, x, hz, "libmp3lame", muxer={"write_xing": "0", "id3v2_version": "0"}
    ),
}


@pytest.mark.parametrize("writer", MP3_WRITERS)
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 44_100, 48_000])
def test_mp3_length_and_slices(tmp_path: Path, writer: str, n_channels: int, rate_hz: int) -> None:
    path = tmp_path / "a.mp3"
    MP3_WRITERS[writer](path, music(rate_hz, 4, n_channels), rate_hz)
    whole = reference(path)
    info = probe_audio(path)
    assert (info.sample_rate_hz, info.n_channels) == (rate_hz, n_channels)
    assert (info.codec, info.container) == ("mp3", "mp3")
    assert info.n_samples == whole.shape[1]
    assert info.claimed_samples == (None if writer == "lame-plain" else info.n_samples)
    check_slices(path, whole)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_U8", "FLOAT", "DOUBLE", "ULAW"])
def test_wav_length_and_slices(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, music(22_050, 1, 2), 22_050, subtype=subtype)
    info = probe_audio(path)
    assert (info.n_samples, info.claimed_samples, info.container) == (22_050, 22_050, "wav")
    check_slices(path, reference(path))


@pytest.mark.parametrize(
    ("name", "format_", "subtype"),
    [
        ("a.flac", "FLAC", "PCM_16"),
        ("a.aiff", "AIFF", "PCM_24"),
        ("a.caf", "CAF", "ALAC_16"),
        ("ima.wav", "WAV", "IMA_ADPCM"),
        ("gsm.wav", "WAV", "GSM610"),
        ("a.w64", "W64", "PCM_16"),
        ("a.rf64", "RF64", "PCM_16"),
    ],
)
def test_other_libsndfile_formats(tmp_path: Path, name: str, format_: str, subtype: str) -> None:
    path = tmp_path / name
    n_channels = 1 if subtype == "GSM610" else 2
    sf.write(path, music(16_000, 1, n_channels), 16_000, format=format_, subtype=subtype)
    whole = reference(path)
    assert probe_audio(path).n_samples == whole.shape[1]
    check_slices(path, whole)


@pytest.mark.parametrize(("subtype", "codec"), [("VORBIS", "vorbis"), ("OPUS", "opus")])
@pytest.mark.parametrize(("rate_hz", "n_channels"), [(16_000, 1), (48_000, 2), (48_000, 6)])
def test_ogg_slices(
    tmp_path: Path, subtype: str, codec: str, rate_hz: int, n_channels: int
) -> None:
    path = tmp_path / "a.ogg"
    write_ogg(path, music(rate_hz, 5, n_channels), rate_hz, subtype)
    whole = reference(path) if rate_hz == 48_000 or codec != "opus" else read_audio(path)[0]
    info = probe_audio(path)
    assert (info.codec, info.n_samples) == (codec, whole.shape[1])
    assert info.sample_rate_hz == (48_000 if codec == "opus" else rate_hz)
    assert info.duration_s == 5
    check_slices(path, whole, 25)


AV_FORMATS = {
    "a.m4a": ("aac", None, "fltp"),
    "alac.m4a": ("alac", "ipod", "s16p"),
    "a.aac": ("aac", "adts", "fltp"),
    "a.webm": ("libopus", "webm", "flt"),
    "a.ac3": ("ac3", "ac3", "fltp"),
}


def write_av_named(path: Path, samples: np.ndarray, rate_hz: int) -> Path:
    codec, format_, sample_format = AV_FORMATS[path.name]
    if sample_format == "flt":
        samples = samples.reshape(-1, 1) if samples.shape[1] == 1 else samples[:, :1]
    return write_av(path, samples, rate_hz, codec, format=format_, sample_format=sample_format)


@pytest.mark.parametrize("name", AV_FORMATS)
def test_formats_that_ffmpeg_reads(tmp_path: Path, name: str) -> None:
    written = music(48_000, 2, 2)
    path = write_av_named(tmp_path / name, written, 48_000)
    whole, info = read_audio(path)
    assert whole.shape == (info.n_channels, info.n_samples)
    assert whole.dtype == np.float32
    assert abs(info.n_samples - 96_000) < 4096
    assert np.std(whole) == pytest.approx(np.std(written[:, : len(whole)]), rel=0.2)
    check_slices(path, whole)


def test_alac_has_the_samples_libsndfile_would_give(tmp_path: Path) -> None:
    samples = music(44_100, 0.5, 2)
    path = write_av_named(tmp_path / "alac.m4a", samples, 44_100)
    expected = (samples * 32767).astype(np.int16).astype(np.float32).T / 32768
    np.testing.assert_array_equal(read_audio(path)[0], expected)


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s32le", "pcm_f32le", "pcm_f64le"])
def test_ffmpeg_scales_as_libsndfile_does(tmp_path: Path, codec: str) -> None:
    from earwitness.audio import pyav

    subtype = {"u8": "PCM_U8", "s16le": "PCM_16", "s32le": "PCM_32", "f32le": "FLOAT"}
    path = tmp_path / "a.wav"
    sf.write(path, music(8_000, 0.3, 2), 8_000, subtype=subtype.get(codec[4:], "DOUBLE"))
    with path.open("rb") as file:
        info = pyav.probe(file.fileno(), str(path))
        (samples,) = pyav.read(file.fileno(), info, [Span(0, info.n_samples)])
    assert info.codec == codec
    np.testing.assert_array_equal(samples, reference(path))


@pytest.mark.parametrize("to_hz", [16_000, 48_000])
@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.m4a"])
def test_resampled_mono_slices(tmp_path: Path, name: str, to_hz: int) -> None:
    path, samples = tmp_path / name, music(44_100, 3, 2)
    if name == "a.m4a":
        write_av_named(path, samples, 44_100)
    else:
        sf.write(path, samples, 44_100)
    whole, info = read_audio(path, sample_rate_hz=to_hz, mono=True)
    assert whole.shape[0] == 1
    assert whole.shape[1] == -(-info.n_samples * to_hz * 2 // 44_100) // 2
    for start, n_samples in [(0, 100), (to_hz + 7, 9000), (whole.shape[1] - 500, 5000)]:
        part = read_slice(path, start, n_samples, sample_rate_hz=to_hz, mono=True)
        np.testing.assert_array_equal(part, whole[:, start : start + n_samples])


def test_mono_is_the_mean_of_the_channels(tmp_path: Path) -> None:
    path, samples = tmp_path / "a.wav", music(8_000, 0.2, 8)
    sf.write(path, samples, 8_000, subtype="FLOAT")
    mono, _ = read_audio(path, mono=True)
    np.testing.assert_allclose(mono[0], samples.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("rate_hz", [8_000, 192_000])
def test_unusual_rates_and_channels(tmp_path: Path, rate_hz: int) -> None:
    path, samples = tmp_path / "a.wav", music(rate_hz, 0.1, 8)
    sf.write(path, samples, rate_hz, subtype="FLOAT")
    read, info = read_audio(path)
    np.testing.assert_array_equal(read, samples.T)
    assert (info.sample_rate_hz, info.n_channels, info.duration_s) == (rate_hz, 8, 0.1)


def test_slice_past_the_end_is_short(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, music(8_000, 1, 2), 8_000)
    assert read_slice(path, 7_990, 100).shape == (2, 10)
    assert read_slice(path, 5, 0).shape == (2, 0)


@pytest.mark.parametrize(
    ("start", "n_samples", "rate_hz"),
    [(-1, 5, None), (8_000, 5, None), (16_000, 1, 16_000), (0, -1, None), (0, 1, 0)],
)
def test_slices_outside_the_file_are_refused(
    tmp_path: Path, start: int, n_samples: int, rate_hz: int | None
) -> None:
    sf.write(tmp_path / "a.wav", music(8_000, 1, 1), 8_000)
    with pytest.raises(ValueError, match="expected"):
        read_slice(tmp_path / "a.wav", start, n_samples, sample_rate_hz=rate_hz)


def fails(path: Path | str, match: str) -> None:
    """Check that every way in gives the same one-line ``AudioError``."""
    for read in (probe_audio, read_audio, lambda p: read_slice(p, 0, 100)):
        with pytest.raises(AudioError, match=match) as caught:
            read(path)
        assert caught.value.path == str(path)
        assert "\n" not in caught.value.reason


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.m4a", "alac.m4a"])
def test_truncated_file_is_refused(tmp_path: Path, name: str) -> None:
    path, samples = tmp_path / name, music(44_100, 3, 2)
    if name.endswith("m4a"):
        codec, format_, sample_format = AV_FORMATS[name]
        write_av(
            path,
            samples,
            44_100,
            codec,
            format=format_,
            sample_format=sample_format,
            muxer={"movflags": "faststart"},
        )
    else:
        sf.write(path, samples, 44_100)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])
    fails(path, r"truncated at [12]\.\d\d s \(its header claims [23]\.\d\d s\)")


def test_small_loss_at_the_end_is_no_error(tmp_path: Path) -> None:
    for name in ("a.wav", "a.mp3"):
        path = tmp_path / name
        sf.write(path, music(44_100, 10, 2), 44_100)
        path.write_bytes(path.read_bytes()[:-600])
        samples, info = read_audio(path)
        assert info.claimed_samples == 441_000
        assert 0.99 * 441_000 < info.n_samples < 441_000
        assert samples.shape == (2, info.n_samples)
        check_slices(path, reference(path), 3)


def test_mp3_without_header_that_ends_in_a_frame_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    MP3_WRITERS["lame-plain"](path, music(44_100, 3, 2), 44_100)
    path.write_bytes(path.read_bytes()[:25_000])
    fails(path, r"truncated at 1\.\d\d s \(its last frame is cut off\)")


def test_mp3_without_header_cut_between_frames_is_a_shorter_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    MP3_WRITERS["lame-plain"](path, music(44_100, 3, 2), 44_100)
    whole = path.read_bytes()
    head = whole[:3]
    path.write_bytes(whole[: whole.rindex(head, 0, 25_000)])
    info = probe_audio(path)
    assert info.n_samples == reference(path).shape[1]
    assert info.n_samples % 1152 == 0
    check_slices(path, read_audio(path)[0])


def test_mp3_that_libsndfile_cuts_short_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    for name, bit_rate in (("loud.mp3", 320_000), ("quiet.mp3", 64_000)):
        muxer = {"write_xing": "0", "id3v2_version": "0"}
        write_av(
            tmp_path / name,
            music(44_100, 2, 2),
            44_100,
            "libmp3lame",
            bit_rate=bit_rate,
            muxer=muxer,
        )
    path.write_bytes((tmp_path / "loud.mp3").read_bytes() + (tmp_path / "quiet.mp3").read_bytes())
    parts = sum(probe_audio(tmp_path / name).n_samples for name in ("loud.mp3", "quiet.mp3"))
    whole, info = read_audio(path)
    assert reference(path).shape[1] < 0.9 * parts
    assert info.n_samples == whole.shape[1] == parts
    check_slices(path, whole, 4)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "plain.mp3"])
def test_rubbish_after_the_end_changes_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "plain.mp3":
        MP3_WRITERS["lame-plain"](path, music(44_100, 2, 2), 44_100)
    else:
        sf.write(path, music(44_100, 2, 2), 44_100)
    whole, _ = read_audio(path)
    path.write_bytes(path.read_bytes() + b"rubbish\xff\xfb" * 300)
    np.testing.assert_array_equal(read_audio(path)[0], whole)


def test_wav_of_unknown_length_claims_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, music(8_000, 1, 1), 8_000)
    data = bytearray(path.read_bytes())
    data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    info = probe_audio(path)
    assert (info.n_samples, info.claimed_samples) == (8_000, None)


def test_flac_of_unknown_length_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    sf.write(path, music(8_000, 1, 1), 8_000)
    expected = reference(path)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)
    np.testing.assert_array_equal(read_audio(path)[0], expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    path, samples = tmp_path / "a.wav", music(8_000, 1, 2)
    samples[50, 1] = value
    sf.write(path, samples, 8_000, subtype="FLOAT")
    assert probe_audio(path).n_samples == 8_000
    for read in (read_audio, lambda p: read_slice(p, 0, 100, mono=True)):
        with pytest.raises(AudioError, match="holds NaN or infinite samples"):
            read(path)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
def test_file_without_samples_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    sf.write(path, np.zeros((0, 2)), 44_100)
    fails(path, "empty|holds no samples|cannot be decoded")


def test_absurd_rate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, music(8_000, 0.1, 1), 8_000)
    data = bytearray(path.read_bytes())
    data[24:28] = struct.pack("<I", 3)
    path.write_bytes(data)
    fails(path, "its sample rate is 3 Hz")


@pytest.mark.parametrize(
    "content",
    [
        b"just words\n",
        "<!DOCTYPE html>\n<p>ü</p>".encode(),
        ("Wörter" * 9).encode("utf-16"),
        b"#EXTM3U\n/etc/passwd\n",
    ],
)
def test_text_is_told_from_audio(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "song.mp3"
    path.write_bytes(content)
    fails(path, "a text/HTML file, not audio")


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(b"\x00\x01" + np.random.default_rng(0).bytes(20_000))
    fails(path, "cannot be decoded")


def test_video_without_sound_is_refused(tmp_path: Path) -> None:
    import av

    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    fails(path, "holds no audio")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    (tmp_path / "to_pipe.wav").symlink_to(tmp_path / "pipe.wav")
    fails(tmp_path, "a folder, not a file")
    fails(tmp_path / "none.wav", "no such file")
    fails(tmp_path / "empty.wav", "the file is empty")
    fails(tmp_path / "empty.wav" / "a.wav", "no such file")
    fails(tmp_path / "pipe.wav", "a named pipe, not a file")
    fails(tmp_path / "to_pipe.wav", "a named pipe, not a file")
    fails(tmp_path / "loop.wav", "run in a circle")
    fails("/dev/null", "a device, not a file")
    fails(tmp_path / ("x" * 300), "its name is too long")
    fails("a\0b.wav", "no file can have this name")


def test_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.wav")
        fails("s.wav", "a socket, not a file")


@pytest.fixture
def nobody() -> Iterator[None]:
    """Run as a user who may not read everything, where the tests run as root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    yield
    if root:
        os.seteuid(0)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
def test_file_without_permission_is_refused(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, music(8_000, 0.1, 1), 8_000)
    path.chmod(stat.S_IWUSR)
    request.getfixturevalue("nobody")
    fails(path, "no permission to read it")


@pytest.mark.parametrize(
    "stem", ["with space", "Ünïcödé 音楽", "two\nlines", "100%03d", "a.raw", os.fsdecode(b"\xff")]
)
def test_odd_names_are_read(tmp_path: Path, stem: str) -> None:
    samples = music(8_000, 0.5, 1)
    for suffix in (".wav", ".m4a"):
        plain, odd = tmp_path / f"a{suffix}", tmp_path / (stem + suffix)
        if suffix == ".wav":
            sf.write(plain, samples, 8_000)
        else:
            write_av_named(plain, samples, 8_000)
        plain.rename(odd)
        assert read_audio(odd)[0].shape[0] == 1
    odd.rename(tmp_path / stem)
    assert read_audio(str(tmp_path / stem))[0].shape[0] == 1


def test_link_to_a_file_is_followed(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", music(8_000, 0.5, 1), 8_000)
    (tmp_path / "link.wav").symlink_to(tmp_path / "a.wav")
    assert probe_audio(tmp_path / "link.wav").n_samples == 4_000


def test_probe_is_kept_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, music(8_000, 1, 1), 8_000)
    assert probe_audio(path) is probe_audio(path)
    sf.write(path, music(8_000, 2, 1), 8_000)
    assert probe_audio(path).n_samples == 16_000
    assert decode._probe.cache_info().maxsize == 4096


def test_short_read_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    sf.write(path, music(44_100, 3, 2), 44_100)
    info = probe_audio(path)
    data = bytearray(path.read_bytes())
    status = path.stat()
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert probe_audio(path) is info
    with pytest.raises(AudioError, match=r"cannot be decoded|ends at 1\.\d\d s, expected 3\.00 s"):
        read_audio(path)


def test_decoder_remarks_reach_the_reason_and_not_stderr(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.mp3"
    sf.write(path, music(44_100, 3, 2), 44_100)
    data = path.read_bytes()
    probe_audio(path)
    status = path.stat()
    path.write_bytes(data[:20_000] + bytes(5_000) + data[25_000:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(AudioError, match=r"cannot be decoded: .*\(.*resync.*\)"):
        read_audio(path)
    assert capfd.readouterr() == ("", "")


def test_importing_loads_neither_ffmpeg_nor_torch() -> None:
    script = "import sys, earwitness.audio.decode; print({'av', 'torch'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


FUZZ = """
import os, sys, warnings
from pathlib import Path
import numpy as np
from earwitness.audio.decode import probe_audio, read_audio, read_slice, scan_packets
from earwitness.core.errors import AudioError

warnings.simplefilter("error")
rng = np.random.default_rng(0)
read = refused = 0
for path in map(Path, sys.argv[1:]):
    original = path.read_bytes()
    for turn in range(40):
        data = bytearray(original)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(0, len(data) if rng.random() < 0.6 else min(200, len(data))))
            n_bytes = int(rng.integers(1, 2000 if rng.random() < 0.3 else 8))
            how = rng.choice(["flip", "cut", "insert", "end"])
            if how == "flip":
                data[at : at + n_bytes] = rng.bytes(min(n_bytes, len(data) - at))
            elif how == "cut":
                del data[at : at + n_bytes]
            elif how == "insert":
                data[at:at] = rng.bytes(n_bytes)
            else:
                del data[max(1, at) :]
        path.write_bytes(data)
        os.utime(path, ns=(turn, turn))
        try:
            samples, info = read_audio(path)
            assert samples.shape == (info.n_channels, info.n_samples)
            assert samples.dtype == np.float32 and np.isfinite(samples).all()
            start = info.n_samples // 3
            part = read_slice(path, start, 1000)
            assert np.allclose(part, samples[:, start : start + 1000], rtol=0, atol=5e-7)
            read += 1
        except AudioError as error:
            assert "\\n" not in error.reason
            refused += 1
print(read, refused)
"""


def test_damaged_files_give_samples_or_audio_errors_and_nothing_else(tmp_path: Path) -> None:
    samples = music(44_100, 0.7, 2)
    names = ["f.wav", "f.flac", "f.ogg", "f.mp3"]
    for name in names:
        sf.write(tmp_path / name, samples, 44_100)
    sf.write(tmp_path / "mono.mp3", samples[:, 0], 22_050)
    MP3_WRITERS["lame-plain"](tmp_path / "plain.mp3", samples, 44_100)
    write_ogg(tmp_path / "opus.ogg", samples, 48_000, "OPUS")
    for name in ("a.m4a", "a.aac"):
        write_av_named(tmp_path / name, samples, 44_100)
    paths = sorted(str(path) for path in tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", FUZZ, *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    read, refused = map(int, done.stdout.split())
    assert read + refused == 40 * len(paths)
    assert min(read, refused) > 20


@pytest.fixture(scope="module")
def shared_mp3s() -> list[Path]:
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "audio"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    return sorted(folder.rglob("*.mp3"))[::16]


def test_real_mp3s(shared_mp3s: list[Path]) -> None:
    for path in shared_mp3s:
        whole = reference(path)
        assert probe_audio(path).n_samples == whole.shape[1]
        check_slices(path, whole, 2)


@pytest.mark.parametrize("size", [1 << 61, (1 << 62) - 100])
def test_a_chunk_beyond_what_file_systems_hold_ends_the_search(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.caf"
    sf.write(path, np.zeros(4_000), 16_000, format="CAF")
    content = path.read_bytes()
    at = content.index(b"free") + 4
    path.write_bytes(content[:at] + size.to_bytes(8, "big") + content[at + 8 :])
    with pytest.raises(AudioError):
        read_audio(path)
    with contextlib.suppress(AudioError):
        scan_packets(path)


def test_more_channels_than_the_decoder_can_give_are_one_line() -> None:
    path = Path(__file__).parent / "files" / "channels_127.ogg"  # from the fuzzer
    with pytest.raises(AudioError, match="127 channels, expected at most 8"):
        probe_audio(path)
