"""Verdicts for scores, and the segments of a song that score as fake.

Conventions: a verdict describes a detector's score, never how a song was made. The threshold maps
to the middle between real and fake, wherever it is on the detector's own scale.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from scipy.special import expit

from earwitness.listen.types import DetectorResult, Segment, Verdict

_UPPER_ENDS: tuple[tuple[float, Verdict], ...] = (
    (0.1, "says real"),
    (0.4, "leans real"),
    (0.6, "is undecided"),
    (0.9, "leans fake"),
    (1.0, "says fake"),
)


def fakeness(prob: float, threshold: float) -> float:
    """Map a score to 0 (real), 0.5 (the threshold) and 1 (fake), linearly between."""
    if prob < threshold:
        return 0.5 * prob / threshold
    return 1.0 if threshold == 1 else 0.5 + 0.5 * (prob - threshold) / (1 - threshold)


def label_score(prob: float, threshold: float) -> Verdict:
    """Return the verdict for a score between 0 and 1."""
    value = fakeness(prob, threshold)
    return next(verdict for end, verdict in _UPPER_ENDS if value <= end)


def probability_of(logit: float) -> float:
    """Return the logistic function of a logit."""
    return float(expit(logit))


def merge_windows(windows: Sequence[Segment]) -> list[Segment]:
    """Return segments without overlap, in time order: overlapping windows are averaged.

    Gaps that no window covers are in none of them.
    """
    edges = sorted({edge for window in windows for edge in window[:2]})
    starting = sorted(windows, key=lambda window: window.start_s)
    open_windows: list[Segment] = []
    segments, at = [], 0
    for start_s, end_s in itertools.pairwise(edges):
        while at < len(starting) and starting[at].start_s <= start_s:
            open_windows.append(starting[at])
            at += 1
        open_windows = [window for window in open_windows if window.end_s > start_s]
        if open_windows:
            logit = math.fsum(w.logit for w in open_windows) / len(open_windows)
            segments.append(Segment(start_s, end_s, logit, probability_of(logit)))
    return segments


def covered_s(windows: Sequence[Segment]) -> float:
    """Return the number of seconds that windows cover, each counted once."""
    return math.fsum(s.end_s - s.start_s for s in merge_windows(windows))


def fake_segments(windows: Sequence[Segment], threshold: float) -> list[tuple[float, float]]:
    """Return the segments that score as fake, ``(start_s, end_s)`` in time order.

    Neighbours are joined, together with any gap between them.
    """
    runs: list[tuple[float, float]] = []
    follows = False
    for segment in merge_windows(windows):
        is_fake = segment.prob >= threshold
        if is_fake and follows:
            runs[-1] = (runs[-1][0], segment.end_s)
        elif is_fake:
            runs.append((segment.start_s, segment.end_s))
        follows = is_fake
    return runs


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
    where = "are undecided" if side == "undecided" else f"point to {side}"
    return f"{'Both' if len(given) == 2 else f'All {len(given)}'} detectors {where}."


def _sides(results: Sequence[DetectorResult]) -> set[str]:
    """Return the last words of the verdicts: real, fake, undecided."""
    return {result.verdict.split()[-1] for result in results if result.verdict is not None}
