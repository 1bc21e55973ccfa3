"""Readers by PyAV: MPEG audio frame by frame, and formats beyond libsndfile (M4A, AAC, WMA, …).

Files are always decoded from the start. Every MPEG frame yields its samples, or zeros if it cannot
be decoded; tags between frames, and up to 1 % of other bytes, are skipped.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.files import (
    SMALLEST_YIELD,
    AudioInfo,
    Span,
    describe_change,
    fill_spans,
)
from earwitness.audio.headers import end_of_id3v2, start_of_tags
from earwitness.audio.mpeg_frames import Mp3Frames, frames_of, walk_frames
from earwitness.core.errors import AudioError

if TYPE_CHECKING:
    import av

# No playlists or scripts, which would make FFmpeg open other files or addresses.
FORMATS = (
    "mov,asf,aac,loas,matroska,mp3,ogg,flac,wav,w64,aiff,au,caf,ac3,eac3,dts,ape,wv,tta,tak,"
    "mpc,mpc8,amr,amrnb,amrwb,dsf,iff,oma,truehd,mlp,avi,flv,mpegts,mpeg"
)
LONGEST_TAG, MOST_TAGS = 80, 40


class Packets(NamedTuple):
    """Compressed packets and tags of a file.

    Attributes:
        sha256: Hash of codec and packets, independent of tags.
        n_bytes: Total size of the packets.
        encoder: The encoder tag, if any.
        tags: The other tags, printable and bounded, by name in lower case, sorted.
        has_cover: Whether there is a cover picture.
    """

    sha256: str
    n_bytes: int
    encoder: str | None
    tags: Mapping[str, str] = MappingProxyType({})
    has_cover: bool = False


class _Stream(NamedTuple):
    """An open audio stream, with blocks of samples ``(n_channels, n)`` and their rate."""

    blocks: Iterator[tuple[NDArray[np.float32], int]]
    codec: str
    container: str
    claimed_s: float | None


def probe(fd: int, path: str) -> AudioInfo:
    """Return format and length by decoding the whole file."""
    n_samples, rate_hz, n_channels = 0, 0, 0
    with _open_stream(fd, path) as stream:
        frames = walk_frames(fd) if stream.container == "mp3" else None
        if frames is not None:
            return probe_mpeg(fd, frames, path)
        for samples, rate_hz in stream.blocks:  # noqa: B007 - the last rate is used below
            n_channels = samples.shape[0]
            n_samples += samples.shape[1]
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
    """Return ``(n_channels, n_samples)`` of each span; see ``decode.read_spans``."""
    with _open_stream(fd, info.path) as stream:
        return fill_spans(info, spans, (samples for samples, _ in stream.blocks))


def read_all(file: BinaryIO, path: str) -> tuple[NDArray[np.float32], int]:
    """Return all samples, ``(n_channels, n_samples)``, and their rate, of a file or one in memory.

    ``path`` names it in errors, which are ``AudioError``.
    """
    with _audio_of(file, path) as (container, stream):
        blocks = list(_blocks(container, stream, path, 0))
    if not blocks:
        raise AudioError(path, "holds no samples")
    return np.concatenate([samples for samples, _ in blocks], axis=1), blocks[0][1]


def scan_packets(fd: int, path: str) -> Packets:
    """Return hash and size of the compressed packets, and the tags."""
    with _audio_stream(fd, path) as (container, stream):
        encoder = _encoder(stream.metadata, container.metadata)
        digest = hashlib.sha256(f"{_codec(stream)}\0".encode())
        n_bytes = 0
        for packet in _packets(container, stream):
            digest.update(packet)
            n_bytes += packet.size
        tags = _tags(stream.metadata, container.metadata)
        return Packets(digest.hexdigest(), n_bytes, encoder, tags, _has_cover(container))


def _tags(*tags: Mapping[str, str]) -> dict[str, str]:
    """Return all tags but the encoder's, printable and bounded; the first of a name."""
    named: dict[str, str] = {}
    for said in tags:
        for key, value in said.items():
            name = _printable(key.casefold()).replace("|", " ")[:LONGEST_TAG]
            named.setdefault(name, " ".join(_printable(value).split())[:LONGEST_TAG])
    return {name: named[name] for name in sorted(named.keys() - {"encoder"})[:MOST_TAGS]}


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _has_cover(container: Any) -> bool:
    from av.stream import Disposition

    return any(s.disposition & Disposition.attached_pic for s in container.streams.video)


def _encoder(*tags: Mapping[str, str]) -> str | None:
    """Return the encoder tag, printable and bounded."""
    for said in tags:
        for key, value in said.items():
            name = " ".join(_printable(value).split())
            if key.casefold() == "encoder" and name:
                return name[:LONGEST_TAG]
    return None


@contextlib.contextmanager
def _open_stream(fd: int, path: str) -> Iterator[_Stream]:
    """Yield the default audio stream."""
    with _audio_stream(fd, path) as (container, stream):
        family = container.format.name.split(",")[0]
        yield _Stream(
            blocks=_blocks(container, stream, path, _raw_bytes(fd, family)),
            codec=_codec(stream),
            container="mp4" if family == "mov" else family,
            claimed_s=_claimed_s(container, stream, family),
        )


@contextlib.contextmanager
def _audio_stream(fd: int, path: str) -> Iterator[tuple[Any, Any]]:
    """Yield what ``_audio_of`` does, from the start of the file."""
    os.lseek(fd, 0, os.SEEK_SET)
    with (
        open(fd, "rb", closefd=False) as file,  # a descriptor, not a path
        _audio_of(file, path) as found,
    ):
        yield found


@contextlib.contextmanager
def _audio_of(file: BinaryIO, path: str) -> Iterator[tuple[Any, Any]]:
    """Yield a container and its default audio stream, else its first; errors as ``AudioError``."""
    import av

    with (
        _mapped_errors(path),
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
    return name.removesuffix("float") if name in {"mp3float", "mp2float", "mp1float"} else name


@contextlib.contextmanager
def _mapped_errors(path: str) -> Iterator[None]:
    """Raise the errors of PyAV, which are of a dozen types, as ``AudioError``."""
    try:
        yield
    except AudioError:
        raise
    except Exception as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        reason = reason or type(error).__name__
        raise AudioError(path, f"cannot be decoded: {reason}") from error


def _claimed_s(container: Any, stream: Any, family: str) -> float | None:
    """Return the duration in the header, for formats that have one."""
    with_length = "mov asf matroska flv avi wv tta ape tak mpc8 dsf mpegts mpeg"
    if family not in with_length.split():
        return None
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and len(container.streams) == 1:
        return float(container.duration) / 1_000_000
    return None


def _raw_bytes(fd: int, family: str) -> int:
    """Return the expected size of all packets of a format without a container, else 0."""
    size = os.fstat(fd).st_size
    is_raw = family in {"aac", "loas", "ac3", "eac3", "dts"}
    return start_of_tags(fd, size) - end_of_id3v2(fd) if is_raw else 0


def _blocks(
    container: Any, stream: Any, path: str, n_bytes: int
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Yield the decoded samples and rates of a stream, ``n_bytes`` of packets expected unless 0.

    Up to 1 % of the packets may be damaged, and any number after the last intact one: a truncated
    file is found by its claimed length.

    Raises:
        AudioError: Too many packets are damaged or missing, or the rate or channels change.
    """
    expected: tuple[int, int] | None = None
    position, damage = 0, _Damage()
    for packet in _packets(container, stream):
        frames = _decode(packet)
        damage.count(packet.size, frames, position)
        for frame in frames or ():
            n_channels = frame.layout.nb_channels
            if frame.format.is_planar and n_channels > 8:  # PyAV would crash the process
                raise AudioError(path, f"{n_channels} channels, expected at most 8")
            samples = _as_float32(frame)
            found = (frame.sample_rate, samples.shape[0])
            expected = expected or found
            if found != expected:
                raise AudioError(path, describe_change(expected, found, position / expected[0]))
            position += samples.shape[1]
            yield samples, frame.sample_rate
    n_lost = damage.n_inside + max(0, n_bytes - damage.n_bytes)
    if expected and n_lost > (1 - SMALLEST_YIELD) * max(n_bytes, damage.n_bytes):
        near = "" if damage.first is None else f" near {damage.first / expected[0]:.2f} s"
        raise AudioError(path, f"damaged{near}: {n_lost} bytes of its sound cannot be decoded")


class _Damage:
    """Counts damaged packets, ``n_inside`` those before the last intact one."""

    def __init__(self) -> None:
        self.n_bytes = self.n_inside = self._n_pending = 0
        self.first: int | None = None

    def count(self, n_bytes: int, frames: list[Any] | None, position: int) -> None:
        """Count a packet with its frames at a position in samples."""
        self.n_bytes += n_bytes
        if frames is None:
            self.first = position if self.first is None else self.first
            self._n_pending += n_bytes
        elif frames:
            self.n_inside += self._n_pending
            self._n_pending = 0


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Yield packets until the end or invalid data."""
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
    """Return the frames of a packet, or ``None`` if it is damaged."""
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


def probe_mpeg(fd: int, frames: Mp3Frames, path: str) -> AudioInfo:
    """Return format and length of a file from its frames; see ``check_damage``."""
    check_damage(frames, path)
    kind, claimed = frames.kind, None
    trimmed = frames.delay + (frames.padding if _ends_in_padding(fd, frames) else 0)
    if frames.claimed_frames is not None:
        claimed = max(0, frames.claimed_frames * kind.samples - trimmed)
    return AudioInfo(
        path=path,
        sample_rate_hz=kind.rate_hz,
        n_channels=kind.n_channels,
        n_samples=max(0, frames.n_samples - trimmed),
        codec=kind.codec,
        container=kind.codec,
        claimed_samples=claimed,
        reader="frames",
    )


def check_damage(frames: Mp3Frames, path: str) -> None:
    """Raise ``AudioError`` if over 1 % of a file is lost, or its rate or channels change.

    Frames that a header claims are compared first; else bytes that are neither frames nor tags
    count as lost.
    """
    _check_kinds(frames, path)
    claimed = frames.claimed_frames
    if claimed is None and not frames.has_header and frames.ends_in_a_frame:
        at_s = frames.n_samples / frames.kind.rate_hz
        raise AudioError(path, f"truncated at {at_s:.2f} s (its last frame is cut off)")
    if claimed == frames.n_frames:
        return
    n_bytes = sum(run.stop - run.start for run in frames.runs)
    losses = _losses(frames)
    n_lost = sum(lost for _, lost in losses)
    if claimed is not None and claimed > frames.n_frames:
        is_damaged = bool(losses) and frames.n_frames < SMALLEST_YIELD * claimed
    else:
        is_damaged = n_lost > (1 - SMALLEST_YIELD) * (n_bytes + n_lost)
    if is_damaged:
        at_s = losses[0][0] * frames.kind.samples / frames.kind.rate_hz
        reason = f"damaged near {at_s:.2f} s: {n_lost} bytes are neither MPEG frames nor tags"
        raise AudioError(path, reason)


def _check_kinds(frames: Mp3Frames, path: str) -> None:
    n_before = 0
    for run in frames.runs:
        if run.kind != frames.kind:
            was, now = ((kind.rate_hz, kind.n_channels) for kind in (frames.kind, run.kind))
            at_s = n_before * frames.kind.samples / frames.kind.rate_hz
            raise AudioError(path, describe_change(was, now, at_s))
        n_before += run.n_frames


def _losses(frames: Mp3Frames) -> list[tuple[int, int]]:
    """Return frame position and number of lost bytes, of each gap."""
    losses, n_before = [], 0
    for number, run in enumerate(frames.runs):
        if run.n_lost and (number or not frames.starts_in_tags):
            losses.append((n_before, run.n_lost))
        n_before += run.n_frames
    if frames.n_trailing > 1 << 14:  # fewer bytes after the last frame are no lost audio
        losses.append((n_before, frames.n_trailing))
    return losses


def _ends_in_padding(fd: int, frames: Mp3Frames) -> bool:
    """Return whether the file ends with its header's padding: no cut end, no second file."""
    if frames.claimed_frames is None or frames.n_frames < frames.claimed_frames:
        return frames.claimed_frames is not None and len(frames.runs) > 1
    at = 4 + frames.kind.side_bytes
    coded = chain.from_iterable(frames_of(fd, run) for run in frames.runs)
    return sum(frame[at : at + 4] in {b"Xing", b"Info"} for frame in coded) == 1


def read_mpeg(fd: int, info: AudioInfo, spans: Sequence[Span]) -> list[NDArray[np.float32]]:
    """Return ``(n_channels, n_samples)`` of each span; see ``decode.read_spans``."""
    frames = walk_frames(fd)
    if frames is None:
        raise AudioError(info.path, "changed while it was read: its frames are gone")
    return fill_spans(info, spans, _decode_mpeg(fd, frames), -frames.delay)


def _decode_mpeg(fd: int, frames: Mp3Frames) -> Iterator[NDArray[np.float32]]:
    """Yield the samples of each frame."""
    import av

    kind = frames.kind
    decoder: Any = av.CodecContext.create(f"{kind.codec}float", "r")
    silence = np.zeros((kind.n_channels, kind.samples), dtype=np.float32)
    coded = chain.from_iterable(frames_of(fd, run) for run in frames.runs)
    if frames.has_header or frames.has_vbri:
        next(coded, None)
    for frame in coded:
        try:
            made = [part.to_ndarray() for part in decoder.decode(av.Packet(frame))]
        except av.error.FFmpegError:
            made = []
        fits = len(made) == 1 and made[0].shape == silence.shape
        yield made[0].astype(np.float32, copy=False) if fits else silence
