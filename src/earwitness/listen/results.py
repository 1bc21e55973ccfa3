"""Results for one song: scores, verdicts, and segments that score as fake.

Times are seconds from the start of the file. A verdict describes a detector's score, never how a
song was made; the threshold is the middle between real and fake.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from earwitness.core.cards import DetectorCard
from earwitness.evaluation.windows import Segment, merge_windows

Verdict = Literal[
    "says real",
    "leans real",
    "is undecided",
    "leans fake",
    "says fake",
    "finds no trace",
    "finds a trace",
]
"""A verdict, worded to follow the detector's name."""


_SAME_LINES = 1e-4
"""Largest deviation of a multiple from a period, relative."""


class Silence(NamedTuple):
    """A segment on which a detector abstained, and why, such as digital silence."""

    start_s: float
    end_s: float
    reason: str


@dataclass(frozen=True)
class DetectorResult:
    """The result of one detector on one song.

    Attributes:
        card: The detector's card.
        verdict: Its verdict; ``None`` if it abstained or failed.
        logit: Mean score over the windows.
        prob: The same between 0 and 1.
        windows: Windows with scores, in time order; they may overlap.
        silences: Windows on which it abstained, in time order; they may overlap.
        encoders: Output of its encoder head, by class; empty if it has none.
        details: Further output for the song, name → value.
        remarks: Notes on this detector and this song, a sentence each.
        abstained: Why it abstained: the song has nothing to analyse.
        error: Why it failed.
    """

    card: DetectorCard
    verdict: Verdict | None = None
    logit: float | None = None
    prob: float | None = None
    windows: tuple[Segment, ...] = ()
    silences: tuple[Silence, ...] = ()
    encoders: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    abstained: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class SongResult:
    """The results of all detectors on one song.

    Attributes:
        path: The file.
        duration_s: Its length; ``None`` if it could not be read.
        sample_rate_hz: Its sample rate; ``None`` if it could not be read.
        opinions: One result per detector; none if the file could not be read.
        error: Why the file could not be read.
    """

    path: Path
    duration_s: float | None = None
    sample_rate_hz: int | None = None
    opinions: tuple[DetectorResult, ...] = ()
    error: str | None = None

    @property
    def has_verdict(self) -> bool:
        """Whether any detector gave a verdict."""
        return any(result.verdict is not None for result in self.opinions)


def fakeness(prob: float, threshold: float) -> float:
    """Map a score to 0 (real), 0.5 (the threshold) and 1 (fake), linearly between."""
    if prob < threshold:
        return 0.5 * prob / threshold
    return 1.0 if threshold == 1 else 0.5 + 0.5 * (prob - threshold) / (1 - threshold)


def sureness(prob: float, threshold: float) -> str:
    """Return in words how far a score that reaches the threshold is above it."""
    value = fakeness(prob, threshold)
    return "just above the limit" if value <= 0.6 else "likely" if value <= 0.9 else "clearly"


def label_score(prob: float, threshold: float, *, one_sided: bool = False) -> Verdict:
    """Return the verdict for a score between 0 and 1.

    Args:
        prob: The score.
        threshold: The detector's threshold.
        one_sided: The detector only finds traces: what it does not find says nothing of real,
            and what reaches the threshold is found.
    """
    if one_sided:
        return "finds a trace" if prob >= threshold else "finds no trace"
    upper_ends: tuple[tuple[float, Verdict], ...] = (
        (0.1, "says real"),
        (0.4, "leans real"),
        (0.6, "is undecided"),
        (0.9, "leans fake"),
        (1.0, "says fake"),
    )
    value = fakeness(prob, threshold)
    return next(verdict for end, verdict in upper_ends if value <= end)


def side_of(verdict: Verdict) -> Literal["real", "fake", "undecided", "no trace"]:
    """Return what a verdict points to; no trace points to nothing."""
    sides: dict[Verdict, Literal["undecided", "no trace", "real"]] = {
        "is undecided": "undecided",
        "finds no trace": "no trace",
        "says real": "real",
        "leans real": "real",
    }
    return sides.get(verdict, "fake")


def fake_segments(windows: Sequence[Segment], threshold: float) -> list[tuple[float, float]]:
    """Return the ranges that score as fake, in time order, joined across gaps."""
    grouped = itertools.groupby(merge_windows(windows), lambda one: one.prob >= threshold)
    runs = [list(run) for is_fake, run in grouped if is_fake]
    return [(run[0].start_s, run[-1].end_s) for run in runs]


def is_contested(results: Sequence[DetectorResult]) -> bool:
    """Whether some detectors point to real and some to fake."""
    return {"real", "fake"} <= _sides(results)


def compare_verdicts(results: Sequence[DetectorResult]) -> str | None:
    """Return whether detectors agree; ``None`` with fewer than two verdicts."""
    given = [(o.card.name, o.verdict) for o in results if o.verdict is not None]
    if len(given) < 2:
        return None
    verdicts = ", ".join(f"{name} {verdict}" for name, verdict in given)
    if is_contested(results):
        return f"The detectors disagree: {verdicts}."
    sides = _sides(results)
    if len(sides) > 1:
        return f"The detectors agree only in part: {verdicts}."
    side = sides.pop()
    where = {"undecided": "are undecided", "no trace": "find no trace"}.get(
        side, f"point to {side}"
    )
    if all(verdict == "finds a trace" for _, verdict in given):
        where = "find a trace"
    return f"{'Both' if len(given) == 2 else f'All {len(given)}'} detectors {where}."


def found_lines(results: Sequence[DetectorResult]) -> list[DetectorResult]:
    """Return results with spectral lines, without those whose lines an earlier one has, too."""
    found: list[DetectorResult] = []
    for result in results:
        if result.details.get("decoder_period_hz") and compare_lines(result, found) is None:
            found.append(result)
    return found


def compare_lines(result: DetectorResult, others: Sequence[DetectorResult]) -> str | None:
    """Return in a phrase which other result has the lines of this one; ``None`` if none has.

    Lines at multiples of a period are lines at that period, too.
    """
    period_hz = result.details.get("decoder_period_hz")
    for other in others:
        other_hz = other.details.get("decoder_period_hz")
        if not period_hz or not other_hz:
            continue
        ratio = max(period_hz, other_hz) / min(period_hz, other_hz)
        if abs(ratio - round(ratio)) > _SAME_LINES * ratio:
            continue
        name, n = other.card.name, round(ratio)
        if n == 1:
            return f"the same lines as {name}"
        if period_hz > other_hz:
            return f"one in {n} of the lines of {name}, every {period_hz:.4g} Hz"
        return f"lines every {period_hz:.4g} Hz, of which {name} found one in {n}"
    return None


def _sides(results: Sequence[DetectorResult]) -> set[str]:
    return {side_of(result.verdict) for result in results if result.verdict is not None}
