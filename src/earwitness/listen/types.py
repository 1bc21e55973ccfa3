"""Hearings: what detectors said of one song, as a whole and over its course.

Conventions: scores rise with fakeness; times are seconds from the start of the file. An opinion
has a verdict, a reason why the detector abstained, or an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from earwitness.core.cards import DetectorCard

Verdict = Literal["says real", "leans real", "is undecided", "leans fake", "says fake"]
"""What a detector said, in words that follow its name."""


class Segment(NamedTuple):
    """A stretch of a song and its score.

    Attributes:
        start_s: Where it begins.
        end_s: Where it ends.
        logit: The detector's score, any real number.
        prob: The detector's number between 0 and 1.
    """

    start_s: float
    end_s: float
    logit: float
    prob: float


class Silence(NamedTuple):
    """A stretch of a song from which a detector abstained.

    Attributes:
        start_s: Where it begins.
        end_s: Where it ends.
        reason: Why, such as "nothing to analyse (digital silence)".
    """

    start_s: float
    end_s: float
    reason: str


@dataclass(frozen=True)
class DetectorResult:
    """What one detector said of one song.

    Attributes:
        card: The detector's card.
        verdict: Its verdict in words; ``None`` where it abstained or could not judge.
        logit: Mean over what it heard.
        prob: The same as a number between 0 and 1.
        windows: What it scored, window by window in time order; they may overlap.
        silences: What it abstained from, window by window in time order; they may overlap.
        encoders: Its encoder head, by class; empty where it has none.
        remarks: What to know of this detector and this song, a sentence each.
        abstained: Why it gave no verdict: the song holds nothing that it could analyse.
        error: Why it could not judge.
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
    """What detectors said of one song.

    Attributes:
        path: The file.
        duration_s: Its length; ``None`` where it could not be read.
        sample_rate_hz: Its own rate; ``None`` where it could not be read.
        opinions: One a detector; none where the file could not be read.
        error: Why the file could not be read.
    """

    path: Path
    duration_s: float | None = None
    sample_rate_hz: int | None = None
    opinions: tuple[DetectorResult, ...] = ()
    error: str | None = None

    @property
    def is_judged(self) -> bool:
        """Whether any detector gave a verdict."""
        return any(opinion.verdict is not None for opinion in self.opinions)
