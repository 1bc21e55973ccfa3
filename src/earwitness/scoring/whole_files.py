"""Score whole files with detectors that read them themselves, a few calls at a time.

A call has up to the detector's ``batch_size`` files; a file is finished when its call is.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import ClassVar

from earwitness.core.cache import local_copy
from earwitness.core.cards import Windows
from earwitness.core.predictions import FileScore, WindowScore
from earwitness.detectors.base import FileDetector
from earwitness.scoring.batching import FileScores
from earwitness.scoring.clips import Job


@dataclass(kw_only=True)
class FileTally(FileScores):
    """Scores of one detector of whole files, by file."""

    detector: FileDetector
    windows: ClassVar[Windows] = "published"

    @staticmethod
    def key(job: Job) -> Job:
        """Return the key of a job's scores; nothing is skipped."""
        return Job(job.path)


def score_whole_files(
    tally: FileTally,
    jobs: Sequence[Job],
    *,
    on_done: Callable[[Job, bool], None],
    should_stop: Callable[[], bool],
) -> None:
    """Score the files of jobs that are not finished.

    Args:
        tally: Gets the scores.
        jobs: Jobs with distinct files.
        on_done: Called for every finished file, with whether it has a score.
        should_stop: Called before every call of the detector; once true, none is started.
    """
    detector = tally.detector
    left = [job for job in jobs if tally.key(job) not in tally.finished]
    n = max(1, detector.batch_size)
    todo = iter([left[start : start + n] for start in range(0, len(left), n)])
    pending: dict[Future[Sequence[float | str]], Sequence[Job]] = {}
    with ThreadPoolExecutor(detector.n_parallel, "caller") as pool:
        while True:
            while len(pending) < detector.n_parallel and not should_stop():
                if (some := next(todo, None)) is None:
                    break
                paths = [job.path for job in some]
                pending[pool.submit(_score_existing, detector, paths)] = some
            if not pending:
                return
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                for job, found in zip(pending.pop(future), future.result(), strict=True):
                    score = _file_score(found)
                    tally.finish(tally.key(job), score)
                    on_done(job, score.error is None)


def _score_existing(detector: FileDetector, paths: Sequence[str]) -> list[float | str]:
    """Return the logit of each file or the reason why there is none; missing files are not sent."""
    found: dict[str, float | str] = dict.fromkeys(paths, "no such file")
    there: dict[str, str] = {}
    for path in paths:
        try:
            copy = local_copy(path)
        except OSError as error:
            found[path] = error.strerror or str(error)
        else:
            there |= {path: copy} if os.path.isfile(copy) else {}  # noqa: PTH113 - any text is a path
    scores = detector.score_files([*there.values()]) if there else ()
    found |= dict(zip(there, scores, strict=True))
    return [found[path] for path in paths]


def _file_score(found: float | str) -> FileScore:
    if isinstance(found, str):
        return FileScore(error=found)
    if not math.isfinite(found):
        return FileScore(error="the detector gave no finite score")
    return FileScore(windows=(WindowScore(0.0, None, found),))
