"""Single notes and drum strokes of the made-up music.

Conventions: every function is pure; noise comes in as an argument. Samples are float32 at
``SAMPLE_RATE_HZ``, mono, about 1 at their peak and start at the attack. Pitch is a frequency in
Hz, so that each artist may tune as they like.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft

SAMPLE_RATE_HZ = 44_100

Samples = NDArray[np.float32]
Note = Callable[[float, float, Samples], Samples]
"""``(frequency_hz, length_s, noise) -> samples``; ``noise`` is longer than the note."""


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
