"""Ask a service again about recorded files, to find a silent change of its model.

Conventions: differences are of logits; a file without an answer, or changed since, is not compared.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from earwitness.core.errors import DetectorError, RunError
from earwitness.detectors.answers import Answer, read_answers
from earwitness.detectors.service import ServiceDetector, answers_path
from earwitness.scoring.run import RECORDS


class Recheck(NamedTuple):
    """A recorded file that was asked about again.

    Attributes:
        path: Path of the file.
        before: Recorded logit.
        now: Logit of the new answer; ``None`` without one.
        problem: Why there is no new answer.
    """

    path: str
    before: float
    now: float | None
    problem: str | None = None

    def differs(self, tolerance: float) -> bool:
        """Return whether both logits are known and differ by more than a tolerance."""
        return self.now is not None and abs(self.now - self.before) > tolerance


def recheck(
    run: Path,
    detector: ServiceDetector,
    *,
    share: float = 0.1,
    seed: int = 0,
    on_done: Callable[[bool], None] = lambda _: None,
) -> list[Recheck]:
    """Ask a service again about a random share of the files recorded in a run folder.

    New answers are not recorded.

    Args:
        run: The run folder.
        detector: The service.
        share: Share of the recorded files with a score, over 0 up to 1; at least one is asked.
        seed: Random seed of the choice.
        on_done: Called for every file, with whether there is an answer.

    Raises:
        RunError: The folder has no usable answer of this service.
    """
    path = answers_path(run / RECORDS, detector.card.name)
    scored: dict[Answer, float] = {}
    for answer in read_answers(path):
        if detector.is_of_this_request(answer):
            try:
                scored[answer] = detector.read_score(answer.body)
            except DetectorError:
                continue
    if not scored:
        raise RunError(f"{path}: no recorded score of {detector.card.name}, expected one or more")
    ranked = sorted(scored, key=lambda a: hashlib.sha256(f"{seed}:{a.key}".encode()).digest())
    found = []
    for answer in ranked[: math.ceil(share * len(ranked))]:
        now = detector.ask_again(answer)
        on_done(not isinstance(now, str))
        given = (None, now) if isinstance(now, str) else (now, None)
        found.append(Recheck(answer.path, scored[answer], *given))
    return found
