"""Pieces over one backing share it, and are not dropped; copies and reconstructions are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from earwitness.audit.audit import drop_flagged
from earwitness.audit.checks import make_context
from earwitness.audit.features import FileFeatures
from earwitness.audit.near_duplicates.check import check_near_duplicates
from earwitness.audit.near_duplicates.fingerprints import RATE_HZ, fingerprint, time_chroma
from earwitness.audit.schema import Finding
from earwitness.core.manifest import Manifest

N_PIECES, LENGTH_S = 5, 15.0
Samples = NDArray[np.float64]


@cache
def notes(seed: int, *, low: int, n_harmonics: int, at_once: int = 1) -> Samples:
    """Return notes of a scale, each of a random length, with power 1."""
    rng = np.random.default_rng(seed)
    mixed = np.zeros(int(LENGTH_S * RATE_HZ))
    for _ in range(at_once):
        place = 0
        while place < len(mixed):
            n = min(int(RATE_HZ * rng.choice([0.25, 0.375, 0.5, 0.75])), len(mixed) - place)
            key = low + 12 * rng.integers(2) + (0, 2, 4, 5, 7, 9, 11)[rng.integers(7)]
            time_s = np.arange(n) / RATE_HZ
            phase = 2 * np.pi * 440 * 2 ** ((key - 69) / 12) * time_s
            tone = sum(np.sin(k * phase) / k**1.2 for k in range(1, n_harmonics + 1))
            mixed[place : place + n] += tone * np.exp(-2 * time_s) * np.minimum(1, time_s / 0.01)
            place += n
    return mixed / mixed.std()


def backing(seed: int) -> Samples:
    """Return chords, a bass and a noise for the beat."""
    rng = np.random.default_rng((seed, 1))
    beat = rng.standard_normal(int(LENGTH_S * RATE_HZ))
    beat *= np.exp(-12 * (np.arange(len(beat)) / RATE_HZ % 0.5))
    chords = notes(seed, low=57, n_harmonics=4, at_once=3)
    return chords + notes(seed + 1, low=38, n_harmonics=6) + 0.3 * beat / beat.std()


def features_of(name: str, samples: Samples) -> FileFeatures:
    low = (0.1 * samples / samples.std()).astype(np.float32)
    return FileFeatures(name, words=fingerprint(low), chroma=time_chroma(low))


def pieces(n: int, level_db: float) -> list[Samples]:
    """Return melodies of their own, ``level_db`` above one backing."""
    under = backing(1)
    under = under / under.std()
    gain = 10 ** (level_db / 20)
    return [under + gain * notes(100 + k, low=60, n_harmonics=6) for k in range(n)]


def findings_of(tracks: Sequence[Samples]) -> tuple[Manifest, list[Finding]]:
    frame = pl.DataFrame({"filepath": [f"{n}.wav" for n in range(len(tracks))], "target": 0})
    manifest = Manifest("eval", frame, (Path("/nowhere"),))
    context = make_context([manifest], [], ())
    files = context.rows["file"].to_list()
    features = [features_of(str(number), track) for number, track in enumerate(tracks)]
    context = replace(context, features=dict(zip(files, features, strict=True)))
    outcomes = check_near_duplicates(context)
    return manifest, [finding for outcome in outcomes for finding in outcome.findings]


@pytest.mark.parametrize("level_db", [-12, -6, 0, 6, 12])
def test_no_piece_over_a_shared_backing_is_dropped(level_db: float) -> None:
    manifest, findings = findings_of(pieces(N_PIECES, level_db))
    rest, dropped = drop_flagged(manifest, findings)
    assert (len(rest), dropped.height) == (N_PIECES, 0)
    assert {finding.relation for finding in findings} <= {"partial", "undecided"}
    if level_db <= 0:
        assert {finding.row for finding in findings} == set(range(1, N_PIECES + 1))


def noisy(track: Samples, snr_db: float) -> Samples:
    noise = np.random.default_rng(len(track)).standard_normal(len(track))
    return track / track.std() + noise * 10 ** (-snr_db / 20)


def echoed(track: Samples) -> Samples:
    delays = ((0.04, 0.5), (0.09, 0.4), (0.17, 0.3))
    return track + sum(gain * np.roll(track, int(s * RATE_HZ)) for s, gain in delays)


def faded(track: Samples) -> Samples:
    """Return a track whose level wavers five times a second."""
    return track * (1 + 0.7 * np.sin(2 * np.pi * 5 * np.arange(len(track)) / RATE_HZ))


def faster(track: Samples) -> Samples:
    """Return a track 3 % faster at the same pitch: short frames that overlap more."""
    hop, length = 275, 1_100
    starts = np.arange(0, len(track) - length, round(hop * 1.03))
    joined = np.zeros(hop * len(starts) + length)
    for number, start in enumerate(starts):
        joined[hop * number :][:length] += track[start : start + length] * np.hanning(length)
    return joined


@pytest.mark.parametrize(
    "change", [faster, lambda track: noisy(track, 20), lambda track: noisy(track, 6), echoed, faded]
)
def test_a_disturbed_copy_is_dropped(change: Callable[[Samples], Samples]) -> None:
    others = [notes(200 + k, low=60, n_harmonics=6) + backing(300 + 2 * k) for k in range(9)]
    manifest, findings = findings_of([*others, change(others[0])])
    _, dropped = drop_flagged(manifest, findings)
    assert dropped["row"].to_list() == [10]
