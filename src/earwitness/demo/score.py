"""Who plays what and when: made-up artists, and the notes of their tracks.

An artist is a fixed choice of instruments, tuning, scale, tempo range, mix and room; a track is
a progression, a beat and a tune drawn for that artist.

Conventions: times are seconds, pitches Hz, levels dB; a bar has sixteen steps. Functions named
``draw_…`` take all their randomness from the generator they are given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft

Samples = NDArray[np.float32]
Note = Callable[[float, float, Samples], Samples]
"""``(frequency_hz, length_s, noise) -> samples``; ``noise`` is longer than the note."""

SAMPLE_RATE_HZ = 44_100


def _seconds(length_s: float) -> Samples:
    return np.arange(round(length_s * SAMPLE_RATE_HZ), dtype=np.float32) / np.float32(
        SAMPLE_RATE_HZ
    )


def _phase(frequency_hz: float, n_samples: int) -> Samples:
    """Return the phase in radians, wrapped every two turns so that float32 stays exact.

    Half-odd multiples of it (an organ's 16-foot and 5⅓-foot drawbars) are continuous still.
    """
    turns = np.arange(n_samples) * (frequency_hz / SAMPLE_RATE_HZ) % 2.0
    return np.asarray(2 * np.pi * turns, dtype=np.float32)


def _gate(samples: Samples, attack_s: float, release_s: float) -> Samples:
    """Fade in and out along raised cosines, so that no note starts or ends with a click."""
    for length_s, part in ((attack_s, slice(None)), (release_s, slice(None, None, -1))):
        n = min(max(round(length_s * SAMPLE_RATE_HZ), 1), samples.size)
        ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(n, dtype=np.float32) / n)
        samples[part][:n] *= ramp
    return samples


def pluck(frequency_hz: float, length_s: float, noise: Samples) -> Samples:
    """A plucked string: a burst of noise that loses its highs with every period.

    The string of Karplus and Strong (1983) with its delay line taken as a circle: the averaging
    filter is then a product on the burst's spectrum, and period ``k`` is its ``k``-th power.
    """
    period = max(round(SAMPLE_RATE_HZ / frequency_hz), 8)
    n_periods = int(np.ceil(length_s * SAMPLE_RATE_HZ / period))
    burst = rfft(noise[:period] - noise[:period].mean())
    angle = np.pi * np.arange(burst.size) / period
    loss = np.cos(angle) * 10.0 ** (-3.0 * period / SAMPLE_RATE_HZ / 2.5)
    powers = loss[None, :] ** np.arange(n_periods)[:, None]
    drift = np.exp(-1j * angle[None, :] * np.arange(n_periods)[:, None])
    string = irfft(burst[None, :] * powers * drift, n=period, axis=1).ravel()
    string = string[: round(length_s * SAMPLE_RATE_HZ)].astype(np.float32)
    return _gate(string / max(float(np.abs(string).max()), 1e-9), 0.001, 0.03)


def electric_piano(frequency_hz: float, length_s: float, noise: Samples) -> Samples:
    """An FM piano: one modulator for the body, a short high one for the tine (Chowning, 1973)."""
    t = _seconds(length_s)
    phase = _phase(frequency_hz, t.size)
    body = 1.6 * np.exp(-t / 0.5) * np.sin(phase)
    tine = 0.35 * np.exp(-t / 0.06) * np.sin(14 * phase)
    hammer = np.zeros_like(t)
    n = min(600, t.size)
    hammer[:n] = 0.08 * noise[:n] * np.exp(-t[:n] / 0.004)
    return _gate(np.sin(phase + body + tine) * np.exp(-t / 0.9) + hammer, 0.002, 0.04)


def organ(frequency_hz: float, length_s: float, noise: Samples) -> Samples:
    """An additive organ: nine drawbars with a slow vibrato and a breath of wind."""
    t = _seconds(length_s)
    phase = _phase(frequency_hz, t.size) + 0.12 * np.sin(2 * np.pi * 5.7 * t)
    drawbars = {0.5: 0.5, 1: 1.0, 1.5: 0.3, 2: 0.6, 3: 0.3, 4: 0.35, 5: 0.1, 6: 0.12, 8: 0.15}
    tone = np.zeros_like(t)
    for ratio, level in drawbars.items():
        if ratio * frequency_hz < 0.45 * SAMPLE_RATE_HZ:
            tone += level * np.sin(ratio * phase)
    wind = 0.01 * noise[: t.size]
    return _gate(tone / 2.2 + wind, 0.02, 0.06)


def pad(frequency_hz: float, length_s: float, noise: Samples) -> Samples:
    """A string pad: three detuned voices of ten falling harmonics under a slow swell."""
    t = _seconds(length_s)
    tone = np.zeros_like(t)
    for cents, start in ((-7.0, 0.1), (0.0, 0.4), (6.0, 0.8)):
        phase = _phase(frequency_hz * 2 ** (cents / 1200), t.size) + 2 * np.pi * start
        tone += _sawtooth(phase, frequency_hz, 10)
    return _gate(tone / 4.5 + 0.006 * noise[: t.size], 0.25, 0.3)


def _sawtooth(phase: Samples, frequency_hz: float, n_harmonics: int) -> Samples:
    """Sum ``sin(k phase) / k`` below 18 kHz, as a polynomial in ``exp(i phase)``."""
    turn = np.exp(1j * phase)
    highest = max(min(n_harmonics, int(18_000 / frequency_hz)), 1)
    total = np.full_like(turn, 1 / highest)
    for harmonic in range(highest - 1, 0, -1):
        total = total * turn + np.complex64(1 / harmonic)
    return np.asarray((total * turn).imag, dtype=np.float32)


def lead(frequency_hz: float, length_s: float, noise: Samples) -> Samples:
    """A bright lead: harmonics up to 18 kHz, with a late vibrato."""
    t = _seconds(length_s)
    vibrato = 0.25 * np.minimum(t / 0.4, 1) * np.sin(2 * np.pi * 5.2 * t)
    tone = _sawtooth(_phase(frequency_hz, t.size) + vibrato, frequency_hz, 24) / 1.8
    return _gate(tone + 0.008 * noise[: t.size], 0.01, 0.05)


def bass(frequency_hz: float, length_s: float, noise: Samples) -> Samples:
    """A bass: a few harmonics that close like a filter, and the click of a finger."""
    t = _seconds(length_s)
    phase = _phase(frequency_hz, t.size)
    tone = np.zeros_like(t)
    for harmonic in range(1, 7):
        tone += np.exp(-t * harmonic / 0.8) * np.sin(harmonic * phase) / harmonic
    n = min(400, t.size)
    tone[:n] += 0.1 * noise[:n] * np.exp(-t[:n] / 0.002)
    return _gate(np.tanh(1.3 * tone), 0.003, 0.04)


def kick(frequency_hz: float, length_s: float, noise: Samples) -> Samples:
    """A kick drum: a sine that falls to ``frequency_hz`` and a click of noise."""
    t = _seconds(length_s)
    phase = 2 * np.pi * (frequency_hz * t + 6.0 * (1 - np.exp(-t / 0.03)))
    click = 0.25 * noise[: t.size] * np.exp(-t / 0.003)
    return _gate(np.sin(phase) * np.exp(-t / 0.12) + click, 0.0005, 0.02)


def snare(frequency_hz: float, length_s: float, noise: Samples) -> Samples:
    """A snare drum: two modes of the skin under full-band rattle."""
    t = _seconds(length_s)
    skin = np.sin(2 * np.pi * frequency_hz * t) + 0.6 * np.sin(2 * np.pi * 1.78 * frequency_hz * t)
    rattle = noise[: t.size] * np.exp(-t / 0.07)
    return _gate(0.4 * skin * np.exp(-t / 0.05) + 0.25 * rattle, 0.0005, 0.02)


def hat(frequency_hz: float, length_s: float, noise: Samples) -> Samples:
    """A hi-hat: noise that rises up to 22 kHz and rings for a quarter of its length."""
    t = _seconds(length_s)
    hiss = noise[1 : t.size + 1] - 0.5 * noise[: t.size]
    metal = np.sign(np.sin(2 * np.pi * frequency_hz * t) * np.sin(9.13 * frequency_hz * t))
    return _gate((0.3 * hiss + 0.05 * metal) * np.exp(-4 * t / length_s), 0.0005, 0.01)


_CHORDS: tuple[Note, ...] = (
    pluck,
    electric_piano,
    organ,
    pad,
)
_TUNES: tuple[Note, ...] = (
    lead,
    pluck,
    electric_piano,
    organ,
)
NOISE_SAMPLES = round(4.2 * SAMPLE_RATE_HZ)
"""Noise that a track's notes are cut from: twice the longest note, so that strokes differ."""

_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10))
_PROGRESSIONS = ((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 3), (1, 4, 0, 0), (0, 6, 5, 4))
_COMPING = ((0, 8), (0, 6, 12), (4, 12), (0, 3, 6, 10, 14), (0,))
_BASS_LINES = ((0, 8), (0, 4, 8, 12), (0, 3, 6, 8, 11, 14), (0, 6, 10))
_KICKS = ((0, 8), (0, 4, 8, 12), (0, 6, 10), (0, 3, 8, 11))
_HATS = (tuple(range(16)), (0, 2, 4, 6, 8, 10, 12, 14), (2, 6, 10, 14), (0, 3, 4, 7, 8, 11, 12, 15))


@dataclass(frozen=True)
class Artist:
    """Who plays: what stays the same from track to track.

    Attributes:
        name: Made-up name.
        chords: Instrument of the chords.
        tune: Instrument of the tune.
        tempo_bpm: Slowest and fastest tempo.
        tuning_hz: Pitch of A4.
        scale: Index of the scale.
        levels_db: Levels of chords, tune, bass, drums and hats.
        width: How far instruments lie from the middle, 0 to 1.
        room_s: Reverberation time.
        room_db: Level of the room against the dry sound.
        drive: Gain into the limiter.
        hiss_db: Level of the floor of hiss in dBFS (RMS).
    """

    name: str
    chords: Note
    tune: Note
    tempo_bpm: tuple[float, float]
    tuning_hz: float
    scale: int
    levels_db: tuple[float, float, float, float, float]
    width: float
    room_s: float
    room_db: float
    drive: float
    hiss_db: float


class Event(NamedTuple):
    """One note: who plays it, at what pitch, when, for how long, how loud, from where.

    ``take`` is where in the track's noise its own begins.
    """

    play: Note
    frequency_hz: float
    start_s: float
    length_s: float
    gain: float
    pan: float
    take: int = 0


class Bar(NamedTuple):
    """One bar of sixteen steps: who plays, over what root and degree, when, how fast."""

    artist: Artist
    root: int
    degree: int
    start_s: float
    step_s: float

    def pitch_hz(self, octave: int, interval: int) -> float:
        """Frequency of the note ``interval`` scale steps above the bar's degree."""
        more, step = divmod(self.degree + interval, 7)
        midi = self.root + 12 * (octave + more) + _SCALES[self.artist.scale][step]
        return float(self.artist.tuning_hz * 2 ** ((midi - 69) / 12))

    def gain(self, part: int) -> float:
        """Gain of the artist's ``part``-th level."""
        return float(10.0 ** (self.artist.levels_db[part] / 20))


def draw_artist(rng: np.random.Generator, name: str) -> Artist:
    """Draw a made-up artist."""
    slow = rng.uniform(72, 128)
    chords, tune, bass, drums, hats = (
        mean_db + float(rng.uniform(-2.5, 2.5)) for mean_db in (-9.0, -9.0, -5.0, -3.0, -10.0)
    )
    return Artist(
        name=name,
        chords=_CHORDS[rng.integers(len(_CHORDS))],
        tune=_TUNES[rng.integers(len(_TUNES))],
        tempo_bpm=(float(slow), float(slow + 16)),
        tuning_hz=float(rng.uniform(436, 445)),
        scale=int(rng.integers(len(_SCALES))),
        levels_db=(chords, tune, bass, drums, hats),
        width=float(rng.uniform(0.3, 0.8)),
        room_s=float(rng.uniform(0.25, 0.9)),
        room_db=float(rng.uniform(-22, -12)),
        drive=float(rng.uniform(0.4, 0.8)),
        hiss_db=float(rng.uniform(-68, -60)),
    )


def draw_events(rng: np.random.Generator, artist: Artist, length_s: float) -> list[Event]:
    """Draw tempo, key, progression and patterns, and write them out bar by bar.

    The last bar may run past ``length_s``.
    """
    step_s = 15.0 / rng.uniform(*artist.tempo_bpm)
    root = int(rng.integers(40, 52))
    progression = _PROGRESSIONS[rng.integers(len(_PROGRESSIONS))]
    comping = _COMPING[rng.integers(len(_COMPING))]
    bass_line = _BASS_LINES[rng.integers(len(_BASS_LINES))]
    beat = (_KICKS[rng.integers(len(_KICKS))], _HATS[rng.integers(len(_HATS))])
    events: list[Event] = []
    for number in range(math.ceil(length_s / (16 * step_s))):
        degree = progression[number % len(progression)]
        bar = Bar(artist, root, degree, 16 * number * step_s, step_s)
        events += _chord_events(bar, comping)
        events += _bass_events(bar, bass_line)
        force, takes = rng.uniform(0.75, 1.0, 32), rng.integers(0, NOISE_SAMPLES // 2, 32)
        events += _drum_events(bar, beat, force, takes)
        events += _tune_events(bar, rng.integers(-2, 3, 8), rng.random(8) < 0.65)
    return events


def _chord_events(bar: Bar, steps: tuple[int, ...]) -> list[Event]:
    """Four voices spread from left to right, each a little after the last."""
    events = []
    for step, after in zip(steps, (*steps[1:], 16), strict=True):
        length_s = min((after - step) * bar.step_s * 0.98, 2.0)
        for voice, interval in enumerate((0, 2, 4, 7)):
            pan = bar.artist.width * (voice - 1.5) / 1.5
            start_s = bar.start_s + step * bar.step_s + 0.006 * voice
            pitch_hz = bar.pitch_hz(1, interval)
            events.append(Event(bar.artist.chords, pitch_hz, start_s, length_s, bar.gain(0), pan))
    return events


def _bass_events(bar: Bar, steps: tuple[int, ...]) -> list[Event]:
    """The degree in the low octave, its fifth every fourth time."""
    pitches_hz = [bar.pitch_hz(-1, 4 if i % 4 == 3 else 0) for i in range(len(steps))]
    starts_s = [bar.start_s + step * bar.step_s for step in steps]
    return [
        Event(bass, pitch_hz, start_s, 3 * bar.step_s, bar.gain(2), 0.0)
        for pitch_hz, start_s in zip(pitches_hz, starts_s, strict=True)
    ]


def _drum_events(
    bar: Bar,
    beat: tuple[tuple[int, ...], tuple[int, ...]],
    force: NDArray[np.float64],
    takes: NDArray[np.int64],
) -> list[Event]:
    """Kick and hats as ``beat`` has them, snares on two and four, no two strokes alike."""
    drums, hats, width = bar.gain(3), bar.gain(4), bar.artist.width
    strokes = [Event(kick, 48.0, step, 0.3, drums, 0.0) for step in beat[0]]
    strokes += [Event(snare, 185.0, step, 0.3, 0.8 * drums, 0.15 * width) for step in (4, 12)]
    strokes += [
        Event(hat, 3170.0, step, 0.25 if step % 8 == 6 else 0.08, hats, -0.6 * width)
        for step in beat[1]
    ]
    return [
        stroke._replace(
            start_s=bar.start_s + stroke.start_s * bar.step_s,
            gain=stroke.gain * float(force[i]),
            take=int(takes[i]),
        )
        for i, stroke in enumerate(strokes)
    ]


def _tune_events(bar: Bar, leaps: NDArray[np.int64], sounds: NDArray[np.bool_]) -> list[Event]:
    """A tune that wanders about the chord, two steps a note with rests."""
    walk = 7 + np.cumsum(leaps).clip(-4, 6)
    return [
        Event(
            play=bar.artist.tune,
            frequency_hz=bar.pitch_hz(1, int(walk[i])),
            start_s=bar.start_s + 2 * int(i) * bar.step_s,
            length_s=2 * bar.step_s,
            gain=bar.gain(1),
            pan=0.35 * bar.artist.width,
        )
        for i in np.flatnonzero(sounds)
    ]
