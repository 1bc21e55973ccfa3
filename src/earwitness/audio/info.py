"""What is known of an audio file before its samples are read.

Conventions: lengths are samples per channel at the file's own rate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from earwitness.audio.views import Part, Plan
from earwitness.core.errors import AudioError

Reader = Literal["seek", "stream", "frames", "ffmpeg"]
"""libsndfile by a seek, libsndfile from the start, MPEG frames one by one, or FFmpeg from the
start."""

LOWEST_RATE_HZ = 1_000
HIGHEST_RATE_HZ = 1_536_000
SMALLEST_YIELD = 0.99


class Span(NamedTuple):
    """A stretch of a file, in samples at its own rate; the stop is one past the last sample."""

    start: int
    stop: int


@dataclass(frozen=True)
class AudioInfo:
    """Format and length of one file.

    Attributes:
        path: The file, as it was asked for.
        sample_rate_hz: Its own rate.
        n_channels: Channels.
        n_samples: Samples per channel that decoding yields, not what a header claims.
        codec: Coding of the samples ("mp3", "pcm_s16le").
        container: What they are wrapped in ("mp3", "wav").
        claimed_samples: Length the header claims; ``None`` where it claims none.
        reader: Which reader gives its samples, and from where.
        parts: What libsndfile reads in place of the file, one after another; none where it reads
            the file itself.
    """

    path: str
    sample_rate_hz: int
    n_channels: int
    n_samples: int
    codec: str
    container: str
    claimed_samples: int | None = None
    reader: Reader = "stream"
    parts: tuple[Part, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate_hz


def check_info(info: AudioInfo, *, slack_s: float = 0.0) -> AudioInfo:
    """Return ``info`` if the file can be used.

    Args:
        info: What was found.
        slack_s: How far a claim of this format may be off on top of 1 % (codec delay).

    Raises:
        AudioError: It yields over 1 % less than it claims, holds no samples, or its rate is
            not one that audio has.
    """
    rate_hz = info.sample_rate_hz
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        expected = f"{LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz"
        raise AudioError(info.path, f"its sample rate is {rate_hz} Hz, expected {expected}")
    claimed = info.claimed_samples or 0
    if info.n_samples < SMALLEST_YIELD * claimed - slack_s * rate_hz:
        reason = f"truncated at {info.duration_s:.2f} s"
        raise AudioError(info.path, f"{reason} (its header claims {claimed / rate_hz:.2f} s)")
    if info.n_samples == 0:
        raise AudioError(info.path, "holds no samples")
    return info


def claim(info: AudioInfo, plan: Plan) -> AudioInfo:
    """Return ``info`` with the length that the header claims, where its reader found none."""
    claimed = info.claimed_samples or plan.claimed_samples
    if claimed is None and plan.claimed_share > 1:
        claimed = round(info.n_samples * plan.claimed_share)
    return replace(info, claimed_samples=claimed)


def describe_change(was: tuple[int, int], now: tuple[int, int], at_s: float) -> str:
    """Say that rate (Hz) or channels of a file change within it."""
    if was[0] == now[0]:
        return f"changes from {was[1]} to {now[1]} channels at {at_s:.2f} s"
    if was[1] == now[1]:
        return f"changes from {was[0]} to {now[0]} Hz at {at_s:.2f} s"
    before, after = (f"{rate_hz} Hz and {n} channels" for rate_hz, n in (was, now))
    return f"changes from {before} to {after} at {at_s:.2f} s"
