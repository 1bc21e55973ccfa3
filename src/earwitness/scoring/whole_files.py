"""Score whole files with detectors that read them themselves, a few calls at a time.

A call has up to the detector's ``batch_size`` files; a file is finished when its call is. Of
items under perturbations it gets temporary copies, of clean ones as well.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from earwitness.core.cache import local_copy
from earwitness.core.cards import Windows
from earwitness.core.errors import AudioError, PerturbationError
from earwitness.core.io import file_stem
from earwitness.core.predictions import FileScore, WindowScore
from earwitness.detectors.base import FileDetector
from earwitness.scoring.batching import FileScores
from earwitness.scoring.clips import Job
from earwitness.scoring.perturbed import perturbed_audio


@dataclass(kw_only=True)
class FileTally(FileScores):
    """Scores of one detector of whole files, by file."""

    detector: FileDetector
    windows: ClassVar[Windows] = "published"

    @staticmethod
    def key(job: Job) -> Job:
        """Return the key of a job's scores; nothing is skipped."""
        return Job(job.path, recipe=job.recipe)


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
                pending[pool.submit(_score_existing, detector, some)] = some
            if not pending:
                return
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                for job, found in zip(pending.pop(future), future.result(), strict=True):
                    score = _file_score(found)
                    tally.finish(tally.key(job), score)
                    on_done(job, score.error is None)


def _score_existing(detector: FileDetector, jobs: Sequence[Job]) -> list[float | str]:
    """Return the logit of each file or the reason why there is none; missing files are not sent."""
    found: dict[Job, float | str] = {}
    there: dict[str, Job] = {}
    is_plain = all(job.recipe is None for job in jobs)
    with nullcontext("") if is_plain else TemporaryDirectory(prefix="earwitness-") as folder:
        for n, job in enumerate(jobs):
            try:
                there[_open_file(job, Path(folder, str(n)))] = job
            except AudioError as error:
                found[job] = error.reason
            except OSError as error:
                found[job] = error.strerror or str(error)
        for path, score in zip(there, detector.score_files([*there]), strict=True) if there else ():
            job = there[path]
            found[job] = score.replace(path, job.path) if isinstance(score, str) else score
    return [found[job] for job in jobs]


def _open_file(job: Job, folder: Path) -> str:
    """Return the path of a file here, in ``folder`` if it is perturbed; ``AudioError``."""
    if job.recipe is None:
        path = local_copy(job.path)
        if not os.path.isfile(path):  # noqa: PTH113 - any text is a path
            raise AudioError(job.path, "no such file")
        return path
    from earwitness.perturb.copies import write_samples

    samples, info, _, mover = perturbed_audio(job.path, job.recipe)
    if mover is not None:
        raise AudioError(job.path, "scored whole, it has no windows to move")
    stem = folder / file_stem(Path(job.path).stem)
    try:
        return str(write_samples(stem, samples, info.sample_rate_hz))
    except PerturbationError as error:
        raise AudioError(job.path, str(error)) from error


def _file_score(found: float | str) -> FileScore:
    if isinstance(found, str):
        return FileScore(error=found)
    if not math.isfinite(found):
        return FileScore(error="the detector gave no finite score")
    return FileScore(windows=(WindowScore(0.0, None, found),))
