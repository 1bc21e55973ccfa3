"""The reader for what libsndfile does not decode: M4A, AAC, WMA and their like, by PyAV.

Conventions: positions and lengths are samples at the file's own rate. A file is always decoded
from its start, a packet at a time, so slices equal the whole and memory stays small. Samples
are scaled to [-1, 1) as libsndfile does. Only formats that hold sound themselves are tried, so
that no playlist or script makes FFmpeg open other files or addresses.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.audio import mpeg
from earwitness.audio.files import (
    SMALLEST_YIELD,
    AudioInfo,
    Span,
    describe_change,
    fill_spans,
)
from earwitness.audio.headers import end_of_id3v2, start_of_tags
from earwitness.audio.mpeg_frames import walk_frames
from earwitness.core.errors import AudioError

if TYPE_CHECKING:
    import av

FORMATS = (
    "mov,asf,aac,loas,matroska,mp3,ogg,flac,wav,w64,aiff,au,caf,ac3,eac3,dts,ape,wv,tta,tak,"
    "mpc,mpc8,amr,amrnb,amrwb,dsf,iff,oma,truehd,mlp,avi,flv,mpegts,mpeg"
)
LONGEST_TAG = 80
"""Letters of an encoder's tag that are kept."""

MOST_TAGS = 40
"""Metadata fields of a file that are named."""

_MOST_CHANNELS = 8
"""PyAV reads beyond its planes where a frame has more, which ends the process."""

_CLAIMING = {"mov", "asf", "matroska", "flv", "avi", "wv", "tta", "ape", "tak"}
_CLAIMING |= {"mpc8", "dsf", "mpegts", "mpeg"}
_RAW = {"aac", "loas", "ac3", "eac3", "dts"}
"""Formats that are nothing but frames, so that all bytes but tags belong to packets."""

_CONTAINERS = {"mov": "mp4"}
_CODECS = {"mp3float": "mp3", "mp2float": "mp2", "mp1float": "mp1"}
_MICROSECONDS = 1_000_000


class Stretch(NamedTuple):
    """Decoded samples that follow the ones before.

    Attributes:
        samples: ``(n_channels, n)`` float32.
        sample_rate_hz: Their rate.
    """

    samples: NDArray[np.float32]
    sample_rate_hz: int


class Packets(NamedTuple):
    """What a file holds before it is decoded.

    Attributes:
        sha256: Of codec and compressed packets, which tags do not change.
        n_bytes: Length of the packets.
        encoder: What wrote it, as its tag says; ``None`` without one.
        tags: Names of its other metadata fields, in small letters and order.
        has_cover: Whether it holds a cover picture.
    """

    sha256: str
    n_bytes: int
    encoder: str | None
    tags: tuple[str, ...] = ()
    has_cover: bool = False


class _Stream(NamedTuple):
    """An audio stream, opened."""

    stretches: Iterator[Stretch]
    codec: str
    container: str
    claimed_s: float | None


def probe(fd: int, path: str) -> AudioInfo:
    """Return format and length by decoding the whole file, keeping no samples.

    Raises:
        AudioError: FFmpeg cannot decode it, or it holds nothing.
    """
    n_samples, rate_hz, n_channels = 0, 0, 0
    with _open_stream(fd, path) as stream:
        frames = walk_frames(fd) if stream.container == "mp3" else None
        if frames is not None:
            return mpeg.probe(fd, frames, path)
        for stretch in stream.stretches:
            n_channels, rate_hz = stretch.samples.shape[0], stretch.sample_rate_hz
            n_samples += stretch.samples.shape[1]
    if n_samples == 0:
        raise AudioError(path, "holds no samples")
    claimed = None if stream.claimed_s is None else round(stream.claimed_s * rate_hz)
    return AudioInfo(
        path=path,
        sample_rate_hz=rate_hz,
        n_channels=n_channels,
        n_samples=n_samples,
        codec=stream.codec,
        container=stream.container,
        claimed_samples=claimed,
        reader="ffmpeg",
    )


def read(fd: int, info: AudioInfo, spans: Sequence[Span]) -> list[NDArray[np.float32]]:
    """Return ``(n_channels, n_samples)`` of each span; see ``decode.read_spans``.

    Raises:
        AudioError: Decoding fails or ends before its time.
    """
    with _open_stream(fd, info.path) as stream:
        return fill_spans(info, spans, (stretch.samples for stretch in stream.stretches))


def scan_packets(fd: int, path: str) -> Packets:
    """Return hash and length of the compressed packets, and the encoder's tag.

    Raises:
        AudioError: FFmpeg finds no sound in it.
    """
    with _audio_stream(fd, path) as (container, stream):
        encoder = _encoder(stream.metadata, container.metadata)
        digest = hashlib.sha256(f"{_codec(stream)}\0".encode())
        n_bytes = 0
        for packet in _packets(container, stream):
            digest.update(packet)
            n_bytes += packet.size
        tags = _tag_names(stream.metadata, container.metadata)
        return Packets(digest.hexdigest(), n_bytes, encoder, tags, _has_cover(container))


def _tag_names(*tags: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of metadata fields but the encoder's, printable and bounded."""
    named = {
        "".join(c if c.isprintable() and c != "|" else " " for c in key.casefold())[:LONGEST_TAG]
        for said in tags
        for key in said
    }
    return tuple(sorted(named - {"encoder"})[:MOST_TAGS])


def _has_cover(container: Any) -> bool:
    from av.stream import Disposition

    return any(s.disposition & Disposition.attached_pic for s in container.streams.video)


def _encoder(*tags: Mapping[str, str]) -> str | None:
    """Return what tags call the encoder, on one line of printable letters."""
    for said in tags:
        for key, value in said.items():
            name = " ".join("".join(c if c.isprintable() else " " for c in value).split())
            if key.casefold() == "encoder" and name:
                return name[:LONGEST_TAG]
    return None


@contextlib.contextmanager
def _open_stream(fd: int, path: str) -> Iterator[_Stream]:
    """Yield what the audio stream holds that a player would choose."""
    with _audio_stream(fd, path) as (container, stream):
        family = container.format.name.split(",")[0]
        yield _Stream(
            stretches=_stretches(container, stream, path, _raw_bytes(fd, family)),
            codec=_codec(stream),
            container=_CONTAINERS.get(family, family),
            claimed_s=_claimed_s(container, stream, family),
        )


@contextlib.contextmanager
def _audio_stream(fd: int, path: str) -> Iterator[tuple[Any, Any]]:
    """Yield a container and its audio stream: the first that is marked as default, else the first.

    What PyAV raises becomes ``AudioError``.
    """
    import av

    os.lseek(fd, 0, os.SEEK_SET)
    with (
        _mapped_errors(path),
        open(fd, "rb", closefd=False) as file,  # a descriptor, not a path
        av.open(
            file, options={"format_whitelist": FORMATS}, metadata_errors="replace"
        ) as container,
    ):
        streams = container.streams.audio
        if not streams:
            raise AudioError(path, "holds no audio")
        marked = (s for s in streams if s.disposition & av.stream.Disposition.default)
        yield container, next(marked, streams[0])


def _codec(stream: Any) -> str:
    name: str = stream.codec_context.name
    return _CODECS.get(name, name)


@contextlib.contextmanager
def _mapped_errors(path: str) -> Iterator[None]:
    """Turn what PyAV raises (a dozen types, built-in ones among them) into ``AudioError``."""
    try:
        yield
    except AudioError:
        raise
    except Exception as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        reason = reason or type(error).__name__
        raise AudioError(path, f"cannot be decoded: {reason}") from error


def _claimed_s(container: Any, stream: Any, family: str) -> float | None:
    """Return the length the file's header claims, where its format has such a claim."""
    if family not in _CLAIMING:
        return None
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and len(container.streams) == 1:
        return float(container.duration) / _MICROSECONDS
    return None


def _raw_bytes(fd: int, family: str) -> int:
    """Return how many bytes a file's packets must have; 0 where that is not known."""
    size = os.fstat(fd).st_size
    return start_of_tags(fd, size) - end_of_id3v2(fd) if family in _RAW else 0


def _stretches(container: Any, stream: Any, path: str, n_bytes: int) -> Iterator[Stretch]:
    """Yield the samples of a stream in order.

    Packets that cannot be decoded are passed over where nothing decodable follows them: they
    are rubbish after the end, or the torn end of a truncated file, which its claim tells. Before
    that they may be 1 % of all.

    Args:
        container: The file.
        stream: Its audio stream.
        path: Its name.
        n_bytes: Expected bytes of all packets, up to 1 %; 0 where that is not known.

    Raises:
        AudioError: Too many packets cannot be decoded, bytes are in no packet, or the rate or the
            channels change.
    """
    expected: tuple[int, int] | None = None
    position, damage = 0, _Damage()
    for packet in _packets(container, stream):
        frames = _decode(packet)
        damage.count(packet.size, frames, position)
        for frame in frames or ():
            n_channels = frame.layout.nb_channels
            if frame.format.is_planar and n_channels > _MOST_CHANNELS:
                raise AudioError(path, f"{n_channels} channels, expected at most {_MOST_CHANNELS}")
            samples = _as_float32(frame)
            found = (frame.sample_rate, samples.shape[0])
            expected = expected or found
            if found != expected:
                raise AudioError(path, describe_change(expected, found, position / expected[0]))
            position += samples.shape[1]
            yield Stretch(samples, frame.sample_rate)
    n_lost = damage.n_inside + max(0, n_bytes - damage.n_bytes)
    if expected and n_lost > (1 - SMALLEST_YIELD) * max(n_bytes, damage.n_bytes):
        near = "" if damage.first is None else f" near {damage.first / expected[0]:.2f} s"
        raise AudioError(path, f"damaged{near}: {n_lost} bytes of its sound cannot be decoded")


class _Damage:
    """Packets that cannot be decoded, counted as far as sound follows them.

    Attributes:
        n_bytes: Bytes of all packets.
        n_inside: Bytes of damaged ones that sound follows.
        first: Samples before the first damaged one; ``None`` without one.
    """

    def __init__(self) -> None:
        self.n_bytes = self.n_inside = self._n_pending = 0
        self.first: int | None = None

    def count(self, n_bytes: int, frames: list[Any] | None, position: int) -> None:
        """Count a packet, its frames given, after ``position`` samples."""
        self.n_bytes += n_bytes
        if frames is None:
            self.first = position if self.first is None else self.first
            self._n_pending += n_bytes
        elif frames:
            self.n_inside += self._n_pending
            self._n_pending = 0


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Yield packets until the end, or until FFmpeg finds no more sense in the file."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.error.InvalidDataError, EOFError):
            return
        if packet is None:
            return
        yield packet


def _decode(packet: Any) -> list[Any] | None:
    """Return the frames of a packet, or ``None`` where it cannot be decoded."""
    import av

    try:
        return list(packet.decode())
    except EOFError:
        return []
    except av.error.FFmpegError:
        return None


def _as_float32(frame: av.AudioFrame) -> NDArray[np.float32]:
    """Return a frame as ``(n_channels, n)`` in [-1, 1)."""
    samples: NDArray[Any] = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    elif samples.dtype.kind == "i":
        samples = samples / -float(np.iinfo(samples.dtype).min)
    return np.asarray(samples, dtype=np.float32)
