"""Synthetic music: artists, their songs, the instruments.

Conventions: samples are stereo ``(2, n_samples)`` float32 at 44.1 kHz with a peak of -1 dBFS; a bar
has sixteen steps. An artist is a fixed choice of instruments, tuning, scale, tempo range, mix and
room; a track is a progression, a beat and a melody drawn for an artist.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

Samples = NDArray[np.float32]
Instrument = Callable[[float, Samples, Samples], Samples]
"""``(frequency_hz, seconds, noise) -> samples``; ``noise`` is longer than ``seconds``."""

SAMPLE_RATE_HZ = 44_100
PEAK = 10.0 ** (-1.0 / 20)
NOISE_SAMPLES = round(4.2 * SAMPLE_RATE_HZ)
"""Noise per track; twice the longest note, so that strokes can start at different places."""


def _phase(frequency_hz: float, n_samples: int) -> Samples:
    """Return the phase in radians."""
    # wrapped every two turns: exact in float32, and half-odd multiples stay continuous
    turns = np.arange(n_samples) * (frequency_hz / SAMPLE_RATE_HZ) % 2.0
    return np.asarray(2 * np.pi * turns, dtype=np.float32)


def _fade(samples: Samples, attack_s: float, release_s: float) -> Samples:
    """Fade in and out in place along raised cosines."""
    for length_s, part in ((attack_s, slice(None)), (release_s, slice(None, None, -1))):
        n = min(max(round(length_s * SAMPLE_RATE_HZ), 1), samples.size)
        ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(n, dtype=np.float32) / n)
        samples[part][:n] *= ramp
    return samples


def pluck(frequency_hz: float, t: Samples, noise: Samples) -> Samples:
    """Plucked string (Karplus and Strong, 1983), its averaging filter applied to the spectrum."""
    period = max(round(SAMPLE_RATE_HZ / frequency_hz), 8)
    n_periods = math.ceil(t.size / period)
    burst = rfft(noise[:period] - noise[:period].mean())
    angle = np.pi * np.arange(burst.size) / period
    loss = np.cos(angle) * 10.0 ** (-3.0 * period / SAMPLE_RATE_HZ / 2.5)
    powers = loss[None, :] ** np.arange(n_periods)[:, None]
    drift = np.exp(-1j * angle[None, :] * np.arange(n_periods)[:, None])
    string = irfft(burst[None, :] * powers * drift, n=period, axis=1).ravel()
    string = string[: t.size].astype(np.float32)
    return _fade(string / max(float(np.abs(string).max()), 1e-9), 0.001, 0.03)


def electric_piano(frequency_hz: float, t: Samples, noise: Samples) -> Samples:
    """FM piano (Chowning, 1973): one modulator for the body, a short high one for the tine."""
    phase = _phase(frequency_hz, t.size)
    body = 1.6 * np.exp(-t / 0.5) * np.sin(phase)
    tine = 0.35 * np.exp(-t / 0.06) * np.sin(14 * phase)
    hammer = np.zeros_like(t)
    n = min(600, t.size)
    hammer[:n] = 0.08 * noise[:n] * np.exp(-t[:n] / 0.004)
    return _fade(np.sin(phase + body + tine) * np.exp(-t / 0.9) + hammer, 0.002, 0.04)


def organ(frequency_hz: float, t: Samples, noise: Samples) -> Samples:
    """Additive organ: nine drawbars, vibrato, wind noise."""
    phase = _phase(frequency_hz, t.size) + 0.12 * np.sin(2 * np.pi * 5.7 * t)
    drawbars = {0.5: 0.5, 1: 1.0, 1.5: 0.3, 2: 0.6, 3: 0.3, 4: 0.35, 5: 0.1, 6: 0.12, 8: 0.15}
    tone = np.zeros_like(t)
    for ratio, level in drawbars.items():
        if ratio * frequency_hz < 0.45 * SAMPLE_RATE_HZ:
            tone += level * np.sin(ratio * phase)
    return _fade(tone / 2.2 + 0.01 * noise[: t.size], 0.02, 0.06)


def pad(frequency_hz: float, t: Samples, noise: Samples) -> Samples:
    """String pad: three detuned voices of ten harmonics."""
    tone = np.zeros_like(t)
    for cents, start in ((-7.0, 0.1), (0.0, 0.4), (6.0, 0.8)):
        phase = _phase(frequency_hz * 2 ** (cents / 1200), t.size) + 2 * np.pi * start
        tone += _sawtooth(phase, frequency_hz, 10)
    return _fade(tone / 4.5 + 0.006 * noise[: t.size], 0.25, 0.3)


def _sawtooth(phase: Samples, frequency_hz: float, n_harmonics: int) -> Samples:
    """Return the sum of ``sin(k phase) / k`` below 18 kHz, by Horner's rule in ``exp(i phase)``."""
    turn = np.exp(1j * phase)
    highest = max(min(n_harmonics, int(18_000 / frequency_hz)), 1)
    total = np.full_like(turn, 1 / highest)
    for harmonic in range(highest - 1, 0, -1):
        total = total * turn + np.complex64(1 / harmonic)
    return np.asarray((total * turn).imag, dtype=np.float32)


def lead(frequency_hz: float, t: Samples, noise: Samples) -> Samples:
    """Bright lead: harmonics up to 18 kHz, late vibrato."""
    vibrato = 0.25 * np.minimum(t / 0.4, 1) * np.sin(2 * np.pi * 5.2 * t)
    tone = _sawtooth(_phase(frequency_hz, t.size) + vibrato, frequency_hz, 24) / 1.8
    return _fade(tone + 0.008 * noise[: t.size], 0.01, 0.05)


def bass(frequency_hz: float, t: Samples, noise: Samples) -> Samples:
    """Bass: six decaying harmonics and the click of a finger."""
    phase = _phase(frequency_hz, t.size)
    tone = np.zeros_like(t)
    for harmonic in range(1, 7):
        tone += np.exp(-t * harmonic / 0.8) * np.sin(harmonic * phase) / harmonic
    n = min(400, t.size)
    tone[:n] += 0.1 * noise[:n] * np.exp(-t[:n] / 0.002)
    return _fade(np.tanh(1.3 * tone), 0.003, 0.04)


def kick(frequency_hz: float, t: Samples, noise: Samples) -> Samples:
    """Kick drum: a sine that falls to ``frequency_hz`` and a click."""
    phase = 2 * np.pi * (frequency_hz * t + 6.0 * (1 - np.exp(-t / 0.03)))
    click = 0.25 * noise[: t.size] * np.exp(-t / 0.003)
    return _fade(np.sin(phase) * np.exp(-t / 0.12) + click, 0.0005, 0.02)


def snare(frequency_hz: float, t: Samples, noise: Samples) -> Samples:
    """Snare drum: two modes of the skin under full-band rattle."""
    skin = np.sin(2 * np.pi * frequency_hz * t) + 0.6 * np.sin(2 * np.pi * 1.78 * frequency_hz * t)
    rattle = noise[: t.size] * np.exp(-t / 0.07)
    return _fade(0.4 * skin * np.exp(-t / 0.05) + 0.25 * rattle, 0.0005, 0.02)


def hat(frequency_hz: float, t: Samples, noise: Samples) -> Samples:
    """Hi-hat: decaying high-pass noise."""
    hiss = noise[1 : t.size + 1] - 0.5 * noise[: t.size]
    metal = np.sign(np.sin(2 * np.pi * frequency_hz * t) * np.sin(9.13 * frequency_hz * t))
    return _fade(
        (0.3 * hiss + 0.05 * metal) * np.exp(-4 * t / (t.size / SAMPLE_RATE_HZ)), 0.0005, 0.01
    )


_CHORDS: tuple[Instrument, ...] = (pluck, electric_piano, organ, pad)
_MELODIES: tuple[Instrument, ...] = (lead, pluck, electric_piano, organ)
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10))
_PROGRESSIONS = ((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 3), (1, 4, 0, 0), (0, 6, 5, 4))
_COMPING = ((0, 8), (0, 6, 12), (4, 12), (0, 3, 6, 10, 14), (0,))
_BASS_LINES = ((0, 8), (0, 4, 8, 12), (0, 3, 6, 8, 11, 14), (0, 6, 10))
_KICKS = ((0, 8), (0, 4, 8, 12), (0, 6, 10), (0, 3, 8, 11))
_HATS = (tuple(range(16)), (0, 2, 4, 6, 8, 10, 12, 14), (2, 6, 10, 14), (0, 3, 4, 7, 8, 11, 12, 15))


@dataclass(frozen=True)
class Artist:
    """What stays the same from track to track; ``gains``: chords, melody, bass, drums, hats."""

    chords: Instrument
    melody: Instrument
    slowest_bpm: float
    tuning_hz: float
    scale: int
    gains: tuple[float, ...]
    width: float
    room_s: float
    room_db: float
    drive: float
    hiss_db: float


def draw_artist(rng: np.random.Generator) -> Artist:
    """Return a random artist."""
    slowest_bpm = float(rng.uniform(72, 128))
    means_db = (-9.0, -9.0, -5.0, -3.0, -10.0)
    return Artist(
        gains=tuple(_gain(mean_db + float(rng.uniform(-2.5, 2.5))) for mean_db in means_db),
        chords=_CHORDS[rng.integers(len(_CHORDS))],
        melody=_MELODIES[rng.integers(len(_MELODIES))],
        slowest_bpm=slowest_bpm,
        tuning_hz=float(rng.uniform(436, 445)),
        scale=int(rng.integers(len(_SCALES))),
        width=float(rng.uniform(0.3, 0.8)),
        room_s=float(rng.uniform(0.25, 0.9)),
        room_db=float(rng.uniform(-22, -12)),
        drive=float(rng.uniform(0.4, 0.8)),
        hiss_db=float(rng.uniform(-68, -60)),
    )


class Event(NamedTuple):
    """One note, panned from -1 to 1; ``take`` is where its part of the track's noise begins."""

    instrument: Instrument
    frequency_hz: float
    start_s: float
    length_s: float
    gain: float
    pan: float
    take: int = 0


class Bar(NamedTuple):
    """One bar of sixteen steps."""

    artist: Artist
    root: int
    degree: int
    start_s: float
    step_s: float

    def pitch_hz(self, octave: int, interval: int) -> float:
        """Return the frequency ``interval`` scale steps above the bar's degree."""
        more, step = divmod(self.degree + interval, 7)
        midi = self.root + 12 * (octave + more) + _SCALES[self.artist.scale][step]
        return float(self.artist.tuning_hz * 2 ** ((midi - 69) / 12))


def draw_events(rng: np.random.Generator, artist: Artist, length_s: float) -> list[Event]:
    """Return the notes of a random track; the last bar may run past ``length_s``."""
    step_s = 15.0 / rng.uniform(artist.slowest_bpm, artist.slowest_bpm + 16)
    root = int(rng.integers(40, 52))
    patterns = (_PROGRESSIONS, _COMPING, _BASS_LINES, _KICKS, _HATS)
    progression, comping, bass_line, kicks, hats = (p[rng.integers(len(p))] for p in patterns)
    events: list[Event] = []
    for number in range(math.ceil(length_s / (16 * step_s))):
        degree = progression[number % len(progression)]
        bar = Bar(artist, root, degree, 16 * number * step_s, step_s)
        events += _chord_events(bar, comping)
        events += _bass_events(bar, bass_line)
        force, takes = rng.uniform(0.75, 1.0, 32), rng.integers(0, NOISE_SAMPLES // 2, 32)
        events += _drum_events(bar, kicks, hats, force, takes)
        events += _melody_events(bar, rng.integers(-2, 3, 8), rng.random(8) < 0.65)
    return events


def _chord_events(bar: Bar, steps: tuple[int, ...]) -> list[Event]:
    """Return four voices spread from left to right, each a little after the last."""
    events = []
    for step, after in zip(steps, (*steps[1:], 16), strict=True):
        length_s = min((after - step) * bar.step_s * 0.98, 2.0)
        for voice, interval in enumerate((0, 2, 4, 7)):
            pan = bar.artist.width * (voice - 1.5) / 1.5
            start_s = bar.start_s + step * bar.step_s + 0.006 * voice
            note = (bar.artist.chords, bar.pitch_hz(1, interval), start_s, length_s)
            events.append(Event(*note, bar.artist.gains[0], pan))
    return events


def _bass_events(bar: Bar, steps: tuple[int, ...]) -> list[Event]:
    """Return the degree in the low octave, its fifth every fourth time."""
    events = []
    for i, step in enumerate(steps):
        pitch_hz = bar.pitch_hz(-1, 4 if i % 4 == 3 else 0)
        note = (bass, pitch_hz, bar.start_s + step * bar.step_s, 3 * bar.step_s)
        events.append(Event(*note, bar.artist.gains[2], 0.0))
    return events


def _drum_events(
    bar: Bar,
    kicks: tuple[int, ...],
    hats: tuple[int, ...],
    force: NDArray[np.float64],
    takes: NDArray[np.int64],
) -> list[Event]:
    """Return kicks, snares on two and four, and hats."""
    (*_, gain, hat_gain), width = bar.artist.gains, bar.artist.width
    strokes = [Event(kick, 48.0, step, 0.3, gain, 0.0) for step in kicks]
    strokes += [Event(snare, 185.0, step, 0.3, 0.8 * gain, 0.15 * width) for step in (4, 12)]
    strokes += [
        Event(hat, 3170.0, step, 0.25 if step % 8 == 6 else 0.08, hat_gain, -0.6 * width)
        for step in hats
    ]
    return [
        stroke._replace(
            start_s=bar.start_s + stroke.start_s * bar.step_s,
            gain=stroke.gain * float(force[i]),
            take=int(takes[i]),
        )
        for i, stroke in enumerate(strokes)
    ]


def _melody_events(bar: Bar, leaps: NDArray[np.int64], sounds: NDArray[np.bool_]) -> list[Event]:
    """Return a melody around the chord, two steps a note, with rests."""
    walk = 7 + np.cumsum(leaps).clip(-4, 6)
    events = []
    for i in map(int, np.flatnonzero(sounds)):
        start_s = bar.start_s + 2 * i * bar.step_s
        note = (bar.artist.melody, bar.pitch_hz(1, int(walk[i])), start_s, 2 * bar.step_s)
        events.append(Event(*note, bar.artist.gains[1], 0.35 * bar.artist.width))
    return events


def compose(seed: int | tuple[int, ...], artist: Artist, *, length_s: float) -> Samples:
    """Return a track by ``artist``; a tuple as seed keeps seeds of different purposes apart."""
    rng = np.random.default_rng(seed)
    n_samples = round(length_s * SAMPLE_RATE_HZ)
    events = [e for e in draw_events(rng, artist, length_s) if e.start_s < length_s]
    noise = rng.standard_normal(NOISE_SAMPLES, dtype=np.float32)
    hiss = rng.standard_normal((2, n_samples), dtype=np.float32)
    room = rng.standard_normal((2, round(artist.room_s * SAMPLE_RATE_HZ)), dtype=np.float32)
    dry = _play(events, _pink(noise), n_samples)
    wet = dry + _gain(artist.room_db) * _reverberate(dry, room)
    rms = float(np.sqrt(np.mean(wet * wet))) + 1e-9
    mix = np.tanh(artist.drive * 0.2 / rms * wet)
    mix *= PEAK / float(np.abs(mix).max())
    mix += _gain(artist.hiss_db) * hiss
    return np.asarray(mix * (PEAK / float(np.abs(mix).max())), dtype=np.float32)


def _gain(level_db: float) -> float:
    return float(10.0 ** (level_db / 20))


def _pink(noise: Samples) -> Samples:
    """Return noise tilted by -3 dB an octave above 200 Hz, at RMS 1."""
    spectrum = rfft(noise)
    bin_hz = np.arange(spectrum.size, dtype=np.float32) * (SAMPLE_RATE_HZ / noise.size)
    tilted = irfft(spectrum / np.sqrt(np.maximum(bin_hz, 200)), noise.size)
    return np.asarray(tilted / tilted.std())


def _play(events: list[Event], noise: Samples, n_samples: int) -> Samples:
    """Return the sum of the notes, panned at equal power."""
    mix = np.zeros((2, n_samples), dtype=np.float32)

    @cache
    def play(instrument: Instrument, frequency_hz: float, length_s: float, take: int) -> Samples:
        n = round(length_s * SAMPLE_RATE_HZ)
        seconds = np.arange(n, dtype=np.float32) / np.float32(SAMPLE_RATE_HZ)
        return instrument(frequency_hz, seconds, noise[take:])

    for event in events:
        start = round(event.start_s * SAMPLE_RATE_HZ)
        sound = play(event.instrument, event.frequency_hz, event.length_s, event.take)
        sound = sound[: n_samples - start]
        angle = np.pi / 4 * (1 + event.pan)
        mix[0, start : start + sound.size] += float(event.gain * np.cos(angle)) * sound
        mix[1, start : start + sound.size] += float(event.gain * np.sin(angle)) * sound
    return mix


def _reverberate(dry: Samples, noise: Samples) -> Samples:
    """Return the mean of both channels convolved with decaying noise, one per channel."""
    n_room = noise.shape[1]
    decay = 10.0 ** (-3.0 * np.arange(n_room, dtype=np.float32) / n_room)
    response = noise * decay / np.sqrt(np.sum(decay * decay))
    n_fft = next_fast_len(dry.shape[1] + n_room, real=True)
    send = rfft(dry.mean(axis=0), n_fft)
    return np.asarray(irfft(send * rfft(response, n_fft), n_fft)[:, : dry.shape[1]])
