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

from earwitness.audio.info import AudioInfo, Span, check_info
from earwitness.core.errors import AudioError

if TYPE_CHECKING:
    import av

FORMATS = (
    "mov,asf,aac,loas,matroska,mp3,ogg,flac,wav,w64,aiff,au,caf,ac3,eac3,dts,ape,wv,tta,tak,"
    "mpc,mpc8,amr,amrnb,amrwb,dsf,iff,oma,truehd,mlp,avi,flv,mpegts,mpeg"
)
CLAIM_SLACK_S = 0.1
"""Encoder delay and padding that a claimed length may include."""

LONGEST_TAG = 80
"""Letters of an encoder's tag that are kept."""

_CLAIMING = {"mov", "asf", "matroska"}
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
    """

    sha256: str
    n_bytes: int
    encoder: str | None


class _Stream(NamedTuple):
    """An audio stream, opened."""

    stretches: Iterator[Stretch]
    codec: str
    container: str
    claimed_s: float | None


def probe(fd: int, path: str) -> AudioInfo:
    """Return format and length by decoding the whole file, keeping no samples.

    Raises:
        AudioError: FFmpeg cannot decode it, or it is truncated or holds nothing.
    """
    n_samples, rate_hz, n_channels = 0, 0, 0
    with _opened(fd, path) as stream:
        for stretch in stream.stretches:
            n_channels, rate_hz = stretch.samples.shape[0], stretch.sample_rate_hz
            n_samples += stretch.samples.shape[1]
    if n_samples == 0:
        raise AudioError(path, "holds no samples")
    claimed = None if stream.claimed_s is None else round(stream.claimed_s * rate_hz)
    info = AudioInfo(
        path=path,
        sample_rate_hz=rate_hz,
        n_channels=n_channels,
        n_samples=n_samples,
        codec=stream.codec,
        container=stream.container,
        claimed_samples=claimed,
        reader="ffmpeg",
    )
    return check_info(info, slack_s=CLAIM_SLACK_S)


def read(fd: int, info: AudioInfo, spans: Sequence[Span]) -> list[NDArray[np.float32]]:
    """Return ``(n_channels, n_samples)`` of each span, in one pass over the file.

    Args:
        fd: The file, opened.
        info: What ``probe`` said of it.
        spans: Stretches that lie in the file, in order, not overlapping.

    Raises:
        AudioError: Decoding fails or ends before its time.
    """
    parts = [np.empty((info.n_channels, s.stop - s.start), dtype=np.float32) for s in spans]
    position, last = 0, max((span.stop for span in spans), default=0)
    with _opened(fd, info.path) as stream:
        for stretch in stream.stretches:
            if position >= last:
                break
            _copy_overlaps(stretch.samples, position, spans, parts)
            position += stretch.samples.shape[1]
    if position < last:
        ends_s = position / info.sample_rate_hz
        raise AudioError(info.path, f"ends at {ends_s:.2f} s, expected {info.duration_s:.2f} s")
    return parts


def _copy_overlaps(
    samples: NDArray[np.float32],
    position: int,
    spans: Sequence[Span],
    parts: Sequence[NDArray[np.float32]],
) -> None:
    """Copy what a decoded stretch that begins at ``position`` has of each span."""
    for span, part in zip(spans, parts, strict=True):
        first = max(span.start, position)
        stop = min(span.stop, position + samples.shape[1])
        if first < stop:
            part[:, first - span.start : stop - span.start] = samples[
                :, first - position : stop - position
            ]


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
        return Packets(digest.hexdigest(), n_bytes, encoder)


def _encoder(*tags: Mapping[str, str]) -> str | None:
    """Return what tags call the encoder, on one line of printable letters."""
    for said in tags:
        for key, value in said.items():
            name = " ".join("".join(c if c.isprintable() else " " for c in value).split())
            if key.casefold() == "encoder" and name:
                return name[:LONGEST_TAG]
    return None


@contextlib.contextmanager
def _opened(fd: int, path: str) -> Iterator[_Stream]:
    """Yield what the first audio stream holds."""
    with _audio_stream(fd, path) as (container, stream):
        family = container.format.name.split(",")[0]
        yield _Stream(
            stretches=_stretches(container, stream, path),
            codec=_codec(stream),
            container=_CONTAINERS.get(family, family),
            claimed_s=_claimed_s(container, stream, family),
        )


@contextlib.contextmanager
def _audio_stream(fd: int, path: str) -> Iterator[tuple[Any, Any]]:
    """Yield the container and its first audio stream; what PyAV raises becomes ``AudioError``."""
    import av

    os.lseek(fd, 0, os.SEEK_SET)
    with (
        _mapped_errors(path),
        open(fd, "rb", closefd=False) as file,  # a descriptor, not a path
        av.open(
            file, options={"format_whitelist": FORMATS}, metadata_errors="replace"
        ) as container,
    ):
        if not container.streams.audio:
            raise AudioError(path, "holds no audio")
        yield container, container.streams.audio[0]


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


def _stretches(container: Any, stream: Any, path: str) -> Iterator[Stretch]:
    """Yield the samples of a stream in order.

    Packets that cannot be decoded are passed over where nothing decodable follows them: they
    are rubbish after the end, or the torn end of a truncated file, which its claim tells.

    Raises:
        AudioError: Sound follows a damaged packet, or the rate or the channels change.
    """
    expected: tuple[int, int] | None = None
    position, damaged = 0, False
    for packet in _packets(container, stream):
        frames = _decoded(packet)
        damaged = damaged or frames is None
        for frame in frames or ():
            samples = _as_float32(frame)
            found = (frame.sample_rate, samples.shape[0])
            expected = expected or found
            at = f"{position / expected[0]:.2f} s"
            if damaged:
                raise AudioError(path, f"damaged near {at}: a packet cannot be decoded")
            if found != expected:
                was, now = (f"{rate_hz} Hz, {n} channels" for rate_hz, n in (expected, found))
                raise AudioError(path, f"changes from {was} to {now} at {at}")
            position += samples.shape[1]
            yield Stretch(samples, frame.sample_rate)


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


def _decoded(packet: Any) -> list[Any] | None:
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
