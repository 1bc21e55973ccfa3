"""Results for one song: one per detector, overall and over time.

Conventions: scores rise with fakeness; times are seconds from the start of the file. A detector's
result has a verdict, a reason to abstain, or an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from earwitness.core.cards import DetectorCard

Verdict = Literal["says real", "leans real", "is undecided", "leans fake", "says fake"]
"""A verdict in words that follow the detector's name."""


class Segment(NamedTuple):
    """A segment of a song and its score.

    Attributes:
        start_s: Start.
        end_s: End.
        logit: Score on the whole real line.
        prob: Score between 0 and 1.
    """

    start_s: float
    end_s: float
    logit: float
    prob: float


class Silence(NamedTuple):
    """A segment of a song on which a detector abstained.

    Attributes:
        start_s: Start.
        end_s: End.
        reason: Why, such as "nothing to analyse (digital silence)".
    """

    start_s: float
    end_s: float
    reason: str


@dataclass(frozen=True)
class DetectorResult:
    """The result of one detector on one song.

    Attributes:
        card: The detector's card.
        verdict: Its verdict in words; ``None`` if it abstained or failed.
        logit: Mean score over the windows.
        prob: The same between 0 and 1.
        windows: Windows with scores, in time order; they may overlap.
        silences: Windows on which it abstained, in time order; they may overlap.
        encoders: Output of its encoder head, by class; empty if it has none.
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
