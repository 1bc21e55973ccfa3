"""Made-up music: from one seed to the samples of a track.

Everything random is drawn first (``draw_track``); ``render`` then only computes.

Conventions: stereo float32 ``(2, n_samples)`` at 44.1 kHz, peak at -1 dBFS, with a floor of hiss
up to the Nyquist frequency as recordings have.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from earwitness.demo.score import NOISE_SAMPLES, SAMPLE_RATE_HZ, Artist, Event, Samples, draw_events

PEAK = 10.0 ** (-1.0 / 20)
"""Peak of every finished track."""


@dataclass(frozen=True, eq=False)
class TrackPlan:
    """All that was drawn for one track.

    Attributes:
        artist: Who plays.
        events: The notes, in no special order.
        noise: ``(n_noise,)`` noise that attacks and drums are cut from, longer than any note.
        hiss: ``(2, n_samples)`` noise for the floor.
        room: ``(2, n_room)`` noise for the room's response.
    """

    artist: Artist
    events: tuple[Event, ...]
    noise: Samples
    hiss: Samples
    room: Samples


def draw_track(rng: np.random.Generator, artist: Artist, *, length_s: float) -> TrackPlan:
    """Draw a track for ``artist``: its notes and its noise.

    Raises:
        ValueError: ``length_s`` is not positive.
    """
    if not length_s > 0:
        raise ValueError(f"a track of {length_s} s, expected more than 0 s")
    n_samples = round(length_s * SAMPLE_RATE_HZ)
    return TrackPlan(
        artist=artist,
        events=tuple(e for e in draw_events(rng, artist, length_s) if e.start_s < length_s),
        noise=rng.standard_normal(NOISE_SAMPLES, dtype=np.float32),
        hiss=rng.standard_normal((2, n_samples), dtype=np.float32),
        room=rng.standard_normal((2, round(artist.room_s * SAMPLE_RATE_HZ)), dtype=np.float32),
    )


def _gain(level_db: float) -> float:
    return float(10.0 ** (level_db / 20))


def render(plan: TrackPlan) -> Samples:
    """Play a plan.

    Returns:
        ``(2, n_samples)`` float32 at 44.1 kHz, peak at -1 dBFS.
    """
    dry = _play(plan)
    wet = dry + _gain(plan.artist.room_db) * _room(plan, dry)
    rms = float(np.sqrt(np.mean(wet * wet))) + 1e-9
    mix = np.tanh(plan.artist.drive * 0.2 / rms * wet)
    mix *= PEAK / float(np.abs(mix).max())
    mix += _gain(plan.artist.hiss_db) * plan.hiss
    return np.asarray(mix * (PEAK / float(np.abs(mix).max())), dtype=np.float32)


def _pink(noise: Samples) -> Samples:
    """Tilt white noise by -3 dB an octave above 200 Hz; it stays at RMS 1 or so."""
    spectrum = rfft(noise)
    bin_hz = np.arange(spectrum.size, dtype=np.float32) * (SAMPLE_RATE_HZ / noise.size)
    tilted = irfft(spectrum / np.sqrt(np.maximum(bin_hz, 200)), noise.size)
    return np.asarray(tilted / tilted.std())


def _play(plan: TrackPlan) -> Samples:
    """Sum the notes, panned at equal power; a note that comes back is computed once."""
    mix = np.zeros_like(plan.hiss)
    noise = _pink(plan.noise)
    note = lru_cache(maxsize=None)(lambda play, *which, take: play(*which, noise[take:]))
    for event in plan.events:
        start = round(event.start_s * SAMPLE_RATE_HZ)
        sound = note(event.play, event.frequency_hz, event.length_s, take=event.take)
        sound = sound[: mix.shape[1] - start]
        angle = np.pi / 4 * (1 + event.pan)
        mix[0, start : start + sound.size] += float(event.gain * np.cos(angle)) * sound
        mix[1, start : start + sound.size] += float(event.gain * np.sin(angle)) * sound
    return mix


def _room(plan: TrackPlan, dry: Samples) -> Samples:
    """Convolve with two independent decaying noises: a small room, decorrelated left and right."""
    n_room = plan.room.shape[1]
    decay = 10.0 ** (-3.0 * np.arange(n_room, dtype=np.float32) / n_room)
    response = plan.room * decay / np.sqrt(np.sum(decay * decay))
    n_fft = next_fast_len(dry.shape[1] + n_room, real=True)
    send = rfft(dry.mean(axis=0), n_fft)
    return np.asarray(irfft(send * rfft(response, n_fft), n_fft)[:, : dry.shape[1]])


def compose(seed: int | tuple[int, ...], artist: Artist, *, length_s: float) -> Samples:
    """Compose and play a track: the same seed and artist give the same samples.

    Args:
        seed: Seed of the track; a tuple keeps seeds of different purposes apart.
        artist: Who plays.
        length_s: Length of the track in seconds.

    Returns:
        ``(2, n_samples)`` float32 at 44.1 kHz, peak at -1 dBFS.
    """
    return render(draw_track(np.random.default_rng(seed), artist, length_s=length_s))
