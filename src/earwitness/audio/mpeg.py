"""Reader of MPEG audio frame by frame, for files that libsndfile does not read completely.

Every frame yields its samples, or zeros if it cannot be decoded, so the length follows from the
frames alone. Tags between frames, and up to 1 % of other bytes, are skipped.
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
"""Maximum number of other bytes after the last frame that do not count as lost audio."""


def probe(fd: int, frames: Mp3Frames, path: str) -> AudioInfo:
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
    if frames.n_trailing > TRAILING_BYTES:
        losses.append((n_before, frames.n_trailing))
    return losses


def _ends_in_padding(fd: int, frames: Mp3Frames) -> bool:
    """Return whether the file ends with the padding of its first header.

    It does not if the end is missing, or if a second file follows.
    """
    if frames.claimed_frames is None or frames.n_frames < frames.claimed_frames:
        return frames.claimed_frames is not None and len(frames.runs) > 1
    at = 4 + frames.kind.side_bytes
    coded = chain.from_iterable(frames_of(fd, run) for run in frames.runs)
    return sum(frame[at : at + 4] in {b"Xing", b"Info"} for frame in coded) == 1


def read(fd: int, info: AudioInfo, spans: Sequence[Span]) -> list[NDArray[np.float32]]:
    """Return ``(n_channels, n_samples)`` of each span; see ``decode.read_spans``."""
    frames = walk_frames(fd)
    if frames is None:
        raise AudioError(info.path, "changed while it was read: its frames are gone")
    return fill_spans(info, spans, _decode(fd, frames), -frames.delay)


def _decode(fd: int, frames: Mp3Frames) -> Iterator[NDArray[np.float32]]:
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
