"""Reader by libsndfile: WAV, FLAC, OGG, MP3 and others.

A slice equals the same slice of a full decode bit for bit, so seeks are used only where exact:

- PCM, floats and lossless codecs: seeks are exact. ADPCM: not after a damaged block.
- MP3: decoding starts earlier, by the frames of the bit reservoir (at most 9 in MPEG-1). Mono and
  MPEG-2 would still differ in the last bit, so they are decoded from the start.
- OGG: libsndfile's seeks are wrong at some positions, so files are decoded from the start.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import soundfile
from numpy.typing import NDArray

from earwitness.audio.files import (
    AudioInfo,
    Part,
    Plan,
    Reader,
    Span,
    View,
    describe_change,
    fill_spans,
    open_view,
)
from earwitness.audio.mpeg_frames import Mp3Frames, walk_frames
from earwitness.audio.pyav import check_damage, probe_mpeg
from earwitness.core.errors import AudioError

COUNTED_SAMPLES = 1 << 12  # small, since samples before damage in a block are not counted
READ_SAMPLES = 1 << 16
MP3_LEAD_SAMPLES = 16 * 1152
HIGHEST_COUNT = 1 << 40  # a header with more samples means an unknown length

_EXACT_SEEKS = {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"}
_EXACT_SEEKS |= {"ALAW", "ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32"}
_CODECS = {
    "PCM_S8": "pcm_s8",
    "PCM_U8": "pcm_u8",
    "ULAW": "pcm_mulaw",
    "ALAW": "pcm_alaw",
    "MPEG_LAYER_I": "mp1",
    "MPEG_LAYER_II": "mp2",
    "MPEG_LAYER_III": "mp3",
}
_PLAIN = {
    "PCM_16": "pcm_s16",
    "PCM_24": "pcm_s24",
    "PCM_32": "pcm_s32",
    "FLOAT": "pcm_f32",
    "DOUBLE": "pcm_f64",
}


class NotForLibsndfileError(Exception):
    """libsndfile does not support the format, or has a wrong length for this file."""


class _ForwardSound(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound file without the seek of soundfile after each read, which changes later samples."""

    def seekable(self) -> bool:
        """Return False, which prevents soundfile's own seeks."""
        return False

    def go_to(self, position: int) -> None:
        """Seek if the format can, even to the start: opening an MP3 decodes its first frame."""
        if super().seekable():
            self.seek(position)


@contextlib.contextmanager
def _sound(fd: int, path: str, view: View | None = None) -> Iterator[_ForwardSound]:
    """Yield the open file, or a view of it; errors are raised as ``AudioError``."""
    os.lseek(fd, 0, os.SEEK_SET)
    try:
        sound = _ForwardSound(open_view(fd, view) if view else fd, closefd=False)
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:
        raise NotForLibsndfileError(str(error)) from error
    with sound:
        try:
            yield sound
        except (soundfile.LibsndfileError, ValueError, MemoryError) as error:
            raise AudioError(path, f"cannot be decoded: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return libsndfile's message, on one line."""
    text = str(getattr(error, "error_string", error)) or type(error).__name__
    return " ".join(text.split()).rstrip(".")


def probe(fd: int, path: str, plan: Plan) -> AudioInfo:
    """Return format and decoded length.

    Raises:
        AudioError: The file is damaged, or its rate or channels change.
        NotForLibsndfileError: The format is not supported, or not read completely.
    """
    if plan.is_foreign:
        raise NotForLibsndfileError("FFmpeg reads it")
    if not plan.views:
        info = _probe_one(fd, path, None)
        if info.container == "w64" and plan.claimed_samples:  # it reads on to the file's end
            info = replace(info, n_samples=min(info.n_samples, plan.claimed_samples))
        return info
    infos = [_probe_one(fd, path, view) for view in plan.views]
    kinds = [(info.sample_rate_hz, info.n_channels) for info in infos]
    n_samples = 0
    for info, kind in zip(infos, kinds, strict=True):
        if kind != kinds[0]:
            raise AudioError(path, describe_change(kinds[0], kind, n_samples / kinds[0][0]))
        n_samples += info.n_samples
    parts = tuple(
        Part(view, info.n_samples, info.reader == "seek")
        for view, info in zip(plan.views, infos, strict=True)
    )
    return replace(infos[0], n_samples=n_samples, claimed_samples=None, parts=parts)


def _probe_one(fd: int, path: str, view: View | None) -> AudioInfo:
    """Return format and decoded length of a file, or of a view of it, unchecked."""
    with _sound(fd, path, view) as sound:
        container = _container_of(sound)
        if container == "mp3":
            return _probe_mp3(sound, fd, path)
        reader, n_samples = _other_length(sound, fd, container, path, view)
        return _info_of(sound, path, reader, n_samples, None)


def _container_of(sound: _ForwardSound) -> str:
    return "wav" if sound.format == "WAVEX" else str(sound.format).lower()


def _info_of(
    sound: _ForwardSound, path: str, reader: Reader, n_samples: int, claimed: int | None
) -> AudioInfo:
    container = _container_of(sound)
    return AudioInfo(
        path=path,
        sample_rate_hz=sound.samplerate,
        n_channels=sound.channels,
        n_samples=n_samples,
        codec=_codec_of(sound.subtype, container),
        container=container,
        claimed_samples=claimed,
        reader=reader,
    )


def _codec_of(subtype: str, container: str) -> str:
    if container == "flac":
        return "flac"
    if subtype in _PLAIN:
        return _PLAIN[subtype] + ("le" if container in {"wav", "rf64", "w64"} else "be")
    return _CODECS.get(subtype, subtype.lower())


def _probe_mp3(sound: _ForwardSound, fd: int, path: str) -> AudioInfo:
    """Return format and length of an MPEG file.

    libsndfile stops at the first gap between frames and at the claimed length, so it reads only
    unbroken files with a correct header or none.
    """
    frames = walk_frames(fd)
    if frames is None or not frames.kind.is_layer3:
        return _probe_rare_mpeg(sound, fd, path, frames)
    claimed = sound.frames if frames.has_header else None
    expected = frames.n_samples - frames.delay - frames.padding
    agrees = sound.frames == expected if frames.has_header else sound.frames >= expected
    if frames.is_sure and agrees:
        check_damage(frames, path)
        stable = frames.kind.is_mpeg1 and not frames.kind.mono
        return _info_of(sound, path, "seek" if stable else "stream", expected, claimed)
    if frames.unbroken and frames.n_frames < (frames.claimed_frames or 0):
        n_samples = _count(fd, path, damage_is_end=True)
        if n_samples >= frames.n_samples - frames.delay:
            return _info_of(sound, path, "stream", n_samples, claimed)
    return probe_mpeg(fd, frames, path)


def _probe_rare_mpeg(
    sound: _ForwardSound, fd: int, path: str, frames: Mp3Frames | None
) -> AudioInfo:
    """Return format and length for layers I and II and free bit rates, by decoding."""
    if frames is not None and not frames.is_sure:
        return probe_mpeg(fd, frames, path)
    n_samples = _count(fd, path, damage_is_end=frames is not None)
    if frames is not None and n_samples < frames.n_samples:
        return probe_mpeg(fd, frames, path)
    return _info_of(sound, path, "stream", n_samples, None)


def _other_length(
    sound: _ForwardSound, fd: int, container: str, path: str, view: View | None
) -> tuple[Reader, int]:
    """Return reader and decoded length for other formats."""
    known = 0 < sound.frames < HIGHEST_COUNT
    if container == "ogg" and known:
        return "stream", sound.frames
    lossless = container == "flac" or sound.subtype in _EXACT_SEEKS
    reader: Reader = "seek" if lossless else "stream"
    if sound.frames == 0 or (known and lossless and _has_last_sample(sound)):
        return reader, sound.frames
    # In these containers the claimed length shows that decoding ended too early.
    damage_is_end = container in {"flac", "wav", "rf64", "w64", "aiff", "caf", "au"}
    return reader, _count(fd, path, view, damage_is_end=damage_is_end)


def _has_last_sample(sound: _ForwardSound) -> bool:
    try:
        sound.seek(sound.frames - 1)
        return len(sound.read(1, dtype="float32")) == 1
    except soundfile.LibsndfileError:
        return False


def _count(fd: int, path: str, view: View | None = None, *, damage_is_end: bool) -> int:
    """Return the length by decoding; an error counts as the end or is an ``AudioError``."""
    n_samples = 0
    with _sound(fd, path, view) as sound:
        sound.go_to(0)
        try:
            for block in _blocks(sound, sys.maxsize, COUNTED_SAMPLES):
                n_samples += block.shape[1]
        except soundfile.LibsndfileError as error:
            if not damage_is_end:
                at = f"{n_samples / sound.samplerate:.2f} s"
                raise AudioError(path, f"damaged near {at}: {_reason(error)}") from error
    return n_samples


def read(fd: int, info: AudioInfo, spans: Sequence[Span]) -> list[NDArray[np.float32]]:
    """Return ``(n_channels, n_samples)`` of each span; see ``decode.read_spans``."""
    if not info.parts:
        return _read_one(fd, info, spans, None)
    pieces: list[list[NDArray[np.float32]]] = [[] for _ in spans]
    begin = 0
    for part in info.parts:
        inside = [_inside(span, begin, begin + part.n_samples) for span in spans]
        wanted = [span for span in inside if span is not None]
        reader: Reader = "seek" if part.by_seek else "stream"
        own = replace(info, n_samples=part.n_samples, reader=reader)
        found = iter(_read_one(fd, own, wanted, part.view) if wanted else ())
        for piece, span in zip(pieces, inside, strict=True):
            if span is not None:
                piece.append(next(found))
        begin += part.n_samples
    empty = np.empty((info.n_channels, 0), dtype=np.float32)
    return [np.concatenate([empty, *piece], axis=1) for piece in pieces]


def _inside(span: Span, begin: int, end: int) -> Span | None:
    """Return the overlap of a span with a part of the file, relative to the part."""
    start, stop = max(span.start, begin), min(span.stop, end)
    return Span(start - begin, stop - begin) if start < stop else None


def _read_one(
    fd: int, info: AudioInfo, spans: Sequence[Span], view: View | None
) -> list[NDArray[np.float32]]:
    """Return the spans of a file, or of a view of it."""
    parts: list[NDArray[np.float32]] = []
    with _opened_again(fd, info, view) as sound:
        for first, group in _passes(info, spans):
            sound.go_to(first)
            blocks = _blocks(sound, group[-1].stop - first, READ_SAMPLES)
            try:
                parts += fill_spans(info, group, blocks, first)
            except soundfile.LibsndfileError:
                if info.container != "mp3":  # an MP3's frames were checked: the file has changed
                    _count(fd, info.path, view, damage_is_end=False)
                raise
    return parts


def _passes(info: AudioInfo, spans: Sequence[Span]) -> list[tuple[int, list[Span]]]:
    """Return seek positions, each with the spans read from there."""
    passes: list[tuple[int, list[Span]]] = []
    lead = MP3_LEAD_SAMPLES if info.container == "mp3" else 0
    for span in spans:
        first = max(0, span.start - lead) if info.reader == "seek" else 0
        if passes and first <= passes[-1][1][-1].stop:
            passes[-1][1].append(span)
        else:
            passes.append((first, [span]))
    return passes


@contextlib.contextmanager
def _opened_again(fd: int, info: AudioInfo, view: View | None) -> Iterator[_ForwardSound]:
    try:
        with _sound(fd, info.path, view) as sound:
            yield sound
    except NotForLibsndfileError as error:
        raise AudioError(info.path, f"changed while it was read: {_reason(error)}") from error


def _blocks(sound: _ForwardSound, n_samples: int, size: int) -> Iterator[NDArray[np.float32]]:
    """Yield blocks ``(n_channels, n)``; each is overwritten by the next."""
    buffer = np.empty((size, sound.channels), dtype=np.float32)
    while n_samples and len(block := sound.read(out=buffer[: min(size, n_samples)])):
        n_samples -= len(block)
        yield block.T
