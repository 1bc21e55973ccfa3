"""The reader for MPEG audio whose frames libsndfile would not give whole, one frame at a time.

Conventions: positions and lengths are samples at the file's own rate. Every whole frame gives its
samples, zeros where it cannot be decoded, so the length follows from the frames alone. Files are
decoded from their start, so that slices equal the whole. What is between frames is passed over
when it is a tag, or so little that at most 1 % of the sound is lost; otherwise the file is an
error that says where.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.files import (
    SMALLEST_YIELD,
    AudioInfo,
    Span,
    describe_change,
    fill_spans,
)
from earwitness.audio.mpeg_frames import Mp3Frames, frames_of, walk_frames
from earwitness.core.errors import AudioError

TRAILING_BYTES = 1 << 14
"""Rubbish behind the last frame that is never taken for lost sound."""

_DECODERS = {"mp3": "mp3float", "mp2": "mp2float", "mp1": "mp1float"}


def probe(fd: int, frames: Mp3Frames, path: str) -> AudioInfo:
    """Return format and length of a file by its frames.

    Raises:
        AudioError: Over 1 % of it is lost, or its rate or channels change.
    """
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
    """Refuse a file that lost over 1 % of its sound, or whose rate or channels change.

    A header that claims no more frames than there are says that none is lost. Without one the
    bytes that are neither frames nor tags are taken for lost sound.

    Raises:
        AudioError: Says what is wrong, and where.
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
    """Return at which frame bytes are lost, and how many."""
    losses, n_before = [], 0
    for number, run in enumerate(frames.runs):
        if run.n_lost and (number or not frames.starts_in_tags):
            losses.append((n_before, run.n_lost))
        n_before += run.n_frames
    if frames.n_trailing > TRAILING_BYTES:
        losses.append((n_before, frames.n_trailing))
    return losses


def _ends_in_padding(fd: int, frames: Mp3Frames) -> bool:
    """Return whether the last samples are the padding that the first header declares.

    They are not where the end is missing, nor where a second file follows, with its own padding.
    """
    if frames.claimed_frames is None or frames.n_frames < frames.claimed_frames:
        return frames.claimed_frames is not None and len(frames.runs) > 1
    at = 4 + frames.kind.side_bytes
    coded = chain.from_iterable(frames_of(fd, run) for run in frames.runs)
    return sum(frame[at : at + 4] in {b"Xing", b"Info"} for frame in coded) == 1


def read(fd: int, info: AudioInfo, spans: Sequence[Span]) -> list[NDArray[np.float32]]:
    """Return ``(n_channels, n_samples)`` of each span; see ``decode.read_spans``.

    Raises:
        AudioError: The file changed since it was probed.
    """
    frames = walk_frames(fd)
    if frames is None:
        raise AudioError(info.path, "changed while it was read: its frames are gone")
    return fill_spans(info, spans, _decode(fd, frames), -frames.delay)


def _decode(fd: int, frames: Mp3Frames) -> Iterator[NDArray[np.float32]]:
    """Yield the samples of each frame."""
    import av

    kind = frames.kind
    decoder: Any = av.CodecContext.create(_DECODERS[kind.codec], "r")
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
