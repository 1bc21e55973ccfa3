"""What a score says in words, and which stretches of a song it says it of.

Conventions: a verdict tells what a detector heard, never how a song was made. The threshold lies
in the middle between real and fake, wherever on the detector's own scale it is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from earwitness.listen.types import DetectorResult, Segment, Verdict

_UPPER_ENDS: tuple[tuple[float, Verdict], ...] = (
    (0.1, "says real"),
    (0.4, "leans real"),
    (0.6, "is undecided"),
    (0.9, "leans fake"),
    (1.0, "says fake"),
)


def fakeness(prob: float, threshold: float) -> float:
    """Return where a number lies from 0 (real) over one half (the threshold) to 1 (fake)."""
    if prob < threshold:
        return 0.5 * prob / threshold
    return 1.0 if threshold == 1 else 0.5 + 0.5 * (prob - threshold) / (1 - threshold)


def label_score(prob: float, threshold: float) -> Verdict:
    """Return the verdict that a detector's number between 0 and 1 stands for."""
    value = fakeness(prob, threshold)
    return next(verdict for end, verdict in _UPPER_ENDS if value <= end)


def probability_of(logit: float) -> float:
    """Return the logistic function, without overflow at either end."""
    small = math.exp(-abs(logit))
    return 1 / (1 + small) if logit >= 0 else small / (1 + small)


def without_overlaps(windows: Sequence[Segment]) -> list[Segment]:
    """Return stretches that do not overlap: where windows do, their mean logit holds.

    Args:
        windows: In any order.

    Returns:
        Stretches in time order; what no window covers is in none of them.
    """
    edges = sorted({edge for window in windows for edge in window[:2]})
    starting = sorted(windows, key=lambda window: window.start_s)
    open_windows: list[Segment] = []
    stretches, at = [], 0
    for start_s, end_s in itertools.pairwise(edges):
        while at < len(starting) and starting[at].start_s <= start_s:
            open_windows.append(starting[at])
            at += 1
        open_windows = [window for window in open_windows if window.end_s > start_s]
        if open_windows:
            logit = math.fsum(w.logit for w in open_windows) / len(open_windows)
            stretches.append(Segment(start_s, end_s, logit, probability_of(logit)))
    return stretches


def covered_s(windows: Sequence[Segment]) -> float:
    """Return how many seconds windows cover, each counted once."""
    return math.fsum(s.end_s - s.start_s for s in without_overlaps(windows))


def fake_segments(windows: Sequence[Segment], threshold: float) -> list[tuple[float, float]]:
    """Return where a song sounds fake, ``(start_s, end_s)`` in time order.

    Neighbours that both sound fake make one run, with what was not heard between them.
    """
    runs: list[tuple[float, float]] = []
    follows = False
    for stretch in without_overlaps(windows):
        is_fake = stretch.prob >= threshold
        if is_fake and follows:
            runs[-1] = (runs[-1][0], stretch.end_s)
        elif is_fake:
            runs.append((stretch.start_s, stretch.end_s))
        follows = is_fake
    return runs


def says_both(opinions: Sequence[DetectorResult]) -> bool:
    """Whether some detectors are on the side of real and some on that of fake."""
    return {"real", "fake"} <= _sides(opinions)


def compare_verdicts(opinions: Sequence[DetectorResult]) -> str | None:
    """Say whether detectors agree; ``None`` where fewer than two gave a verdict."""
    given = [(o.card.name, o.verdict) for o in opinions if o.verdict is not None]
    if len(given) < 2:
        return None
    told = ", ".join(f"{name} {verdict}" for name, verdict in given)
    if says_both(opinions):
        return f"The detectors disagree: {told}."
    sides = _sides(opinions)
    if len(sides) > 1:
        return f"The detectors agree in part: {told}."
    side = sides.pop()
    where = side if side == "undecided" else f"on the side of {side}"
    return f"{'Both' if len(given) == 2 else f'All {len(given)}'} detectors are {where}."


def _sides(opinions: Sequence[DetectorResult]) -> set[str]:
    """Return the last words of the verdicts: real, fake, undecided."""
    return {opinion.verdict.split()[-1] for opinion in opinions if opinion.verdict is not None}
