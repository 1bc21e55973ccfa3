"""The reader for what libsndfile decodes: WAV, FLAC, OGG, MP3 and their like.

Conventions: positions and lengths are samples at the file's own rate. A slice equals the same
slice of a full decode bit for bit. Where a seek keeps that promise it is used:

- PCM, floats, ADPCM and lossless codings: seeks are exact.
- MP3: a decoder that starts in mid-file needs the frames that its first frame's bit reservoir
  reaches back to (at most 9 in MPEG-1), so it starts earlier and the lead is thrown away. For
  mono and for MPEG-2 even that leaves differences in the last bit, which never fade (libmpg123's
  synthesis depends on how many frames went before), so they are decoded from the start. A file
  with a damaged frame inside an unbroken chain of frames may show such differences too.
- OGG: libsndfile's seeks land wrongly in some places, Vorbis and Opus alike, so both are decoded
  from the start.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

import numpy as np
import soundfile
from numpy.typing import NDArray

from earwitness.audio.info import AudioInfo, Reader, Span, check_info
from earwitness.audio.mp3length import walk_frames
from earwitness.audio.wavclaim import claimed_wav_samples
from earwitness.core.errors import AudioError

BLOCK_SAMPLES = 1 << 12
MP3_LEAD_SAMPLES = 16 * 1152
HIGHEST_COUNT = 1 << 40
"""A header that claims more samples than this does not know its length."""

_EXACT_SEEKS = {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"}
_EXACT_SEEKS |= {"ALAW", "IMA_ADPCM", "MS_ADPCM", "ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32"}
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
_LITTLE_ENDIAN = {"wav", "rf64", "w64"}


class NotForLibsndfileError(Exception):
    """libsndfile does not know the format, or its length for this file is wrong."""


class _ForwardSound(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound file whose reads go on where the last one ended.

    soundfile seeks to its own idea of the position after each read of a seekable file, and a
    seek in an MP3 or OGG file disturbs the decoder, so that blocks would differ from the whole.
    """

    def seekable(self) -> bool:
        """Return False, which keeps soundfile from seeking of itself."""
        return False

    def go_to(self, position: int) -> None:
        """Seek where the format can, even to the start.

        Opening an MP3 decodes its first frame, and after that its samples may come out
        different in the last bit unless the decoder is sent back.
        """
        if super().seekable():
            self.seek(position)


@contextlib.contextmanager
def _sound(fd: int, path: str) -> Iterator[_ForwardSound]:
    """Yield the file as libsndfile opens it, its errors as ``AudioError``."""
    os.lseek(fd, 0, os.SEEK_SET)
    try:
        sound = _ForwardSound(fd, closefd=False)
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:
        raise NotForLibsndfileError(str(error)) from error
    with sound:
        try:
            yield sound
        except (soundfile.LibsndfileError, ValueError, MemoryError) as error:
            raise AudioError(path, f"cannot be decoded: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return what libsndfile says, on one line."""
    text = str(getattr(error, "error_string", error)) or type(error).__name__
    return " ".join(text.split()).rstrip(".")


def probe(fd: int, path: str) -> AudioInfo:
    """Return format and decoded length; MP3 frames are counted, a FLAC's last sample is tried.

    Raises:
        AudioError: The file is truncated, damaged or holds nothing.
        NotForLibsndfileError: The format is another, or an MP3 holds more than libsndfile gives.
    """
    with _sound(fd, path) as sound:
        container = "wav" if sound.format == "WAVEX" else sound.format.lower()
        if container == "mp3":
            reader, n_samples, claimed = _mp3_length(sound, fd, path)
        else:
            reader, n_samples, claimed = _other_length(sound, fd, container, path)
        info = AudioInfo(
            path=path,
            sample_rate_hz=sound.samplerate,
            n_channels=sound.channels,
            n_samples=n_samples,
            codec=_codec_of(sound.subtype, container),
            container=container,
            claimed_samples=claimed,
            reader=reader,
        )
    return check_info(info)


def _codec_of(subtype: str, container: str) -> str:
    if container == "flac":
        return "flac"
    if subtype in _PLAIN:
        return _PLAIN[subtype] + ("le" if container in _LITTLE_ENDIAN else "be")
    return _CODECS.get(subtype, subtype.lower())


def _mp3_length(sound: _ForwardSound, fd: int, path: str) -> tuple[Reader, int, int | None]:
    """Return reader, decoded length and claimed length of an MP3 file."""
    frames = walk_frames(fd)
    headed = frames is not None and frames.has_header
    claimed = sound.frames if headed else None
    if frames is not None and frames.ends_in_a_frame and not headed:
        at_s = frames.n_samples / frames.kind.rate_hz
        raise AudioError(path, f"truncated at {at_s:.2f} s (its last frame is cut off)")
    if frames is None or not frames.is_sure:
        length = _count(fd, path, damage_is_end=claimed is not None)
        return "stream", length, claimed
    stable = frames.kind.is_mpeg1 and not frames.kind.mono
    reader: Reader = "seek" if stable else "stream"
    if headed:
        return reader, sound.frames, claimed
    if frames.n_samples > 1.01 * sound.frames:
        raise NotForLibsndfileError("libsndfile takes it to be shorter than it is")
    return reader, min(frames.n_samples, sound.frames), None


def _other_length(
    sound: _ForwardSound, fd: int, container: str, path: str
) -> tuple[Reader, int, int | None]:
    """Return reader, decoded length and claimed length of any other file."""
    known = 0 < sound.frames < HIGHEST_COUNT
    if container == "ogg" and known:
        return "stream", sound.frames, None
    lossless = container == "flac" or sound.subtype in _EXACT_SEEKS
    reader: Reader = "seek" if lossless else "stream"
    claimed = claimed_wav_samples(fd) if container in {"wav", "rf64"} else None
    if container == "flac" and known:
        claimed = sound.frames
    if sound.frames == 0 or (known and lossless and _has_last_sample(sound)):
        return reader, sound.frames, claimed
    return reader, _count(fd, path, damage_is_end=claimed is not None), claimed


def _has_last_sample(sound: _ForwardSound) -> bool:
    try:
        sound.seek(sound.frames - 1)
        return len(sound.read(1, dtype="float32")) == 1
    except soundfile.LibsndfileError:
        return False


def _count(fd: int, path: str, *, damage_is_end: bool) -> int:
    """Return the decoded length by decoding, a block at a time, with a decoder of its own.

    Raises:
        AudioError: Decoding fails on the way, unless that may count as the end.
    """
    n_samples = 0
    with _sound(fd, path) as sound:
        buffer = np.empty((BLOCK_SAMPLES, sound.channels), dtype=np.float32)
        sound.go_to(0)
        try:
            while len(block := sound.read(out=buffer)):
                n_samples += len(block)
        except soundfile.LibsndfileError as error:
            if not damage_is_end:
                at = f"{n_samples / sound.samplerate:.2f} s"
                raise AudioError(path, f"damaged near {at}: {_reason(error)}") from error
    return n_samples


def read(fd: int, info: AudioInfo, spans: Sequence[Span]) -> list[NDArray[np.float32]]:
    """Return ``(n_channels, n_samples)`` of each span, in one pass over the file.

    Args:
        fd: The file, opened.
        info: What ``probe`` said of it.
        spans: Stretches that lie in the file, in order, not overlapping.

    Raises:
        AudioError: Decoding fails or ends before its time.
    """
    lead = MP3_LEAD_SAMPLES if info.container == "mp3" else 0
    parts, position = [], -1
    with _opened_again(fd, info) as sound:
        for span in spans:
            first = max(0, span.start - lead) if info.reader == "seek" else 0
            if position < first:
                sound.go_to(first)
                position = first
            position += _skip(sound, span.start - position)
            frames = sound.read(span.stop - span.start, dtype="float32", always_2d=True)
            position += len(frames)
            if position < span.stop:
                ends_s = position / info.sample_rate_hz
                reason = f"ends at {ends_s:.2f} s, expected {info.duration_s:.2f} s"
                raise AudioError(info.path, reason)
            parts.append(frames.T)
    return parts


@contextlib.contextmanager
def _opened_again(fd: int, info: AudioInfo) -> Iterator[_ForwardSound]:
    try:
        with _sound(fd, info.path) as sound:
            yield sound
    except NotForLibsndfileError as error:
        raise AudioError(info.path, f"changed while it was read: {_reason(error)}") from error


def _skip(sound: _ForwardSound, n_samples: int) -> int:
    """Decode and drop samples; return how many there were, fewer at the end."""
    buffer = np.empty((BLOCK_SAMPLES, sound.channels), dtype=np.float32)
    skipped = 0
    while skipped < n_samples:
        block = sound.read(out=buffer[: min(BLOCK_SAMPLES, n_samples - skipped)])
        if len(block) == 0:
            break
        skipped += len(block)
    return skipped
