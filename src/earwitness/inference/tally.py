"""Gathering one detector's scores, file by file, while files are decoded.

Conventions: a file is scored once for each stretch of it that is skipped; windows are averaged as
logits; a file has scores or the reason why it has none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.clips import Clip
from earwitness.core.errors import DetectorError
from earwitness.detectors.base import Detector
from earwitness.passes.workers import ClipRequest, DecodedFile, Job

_BATCH_BYTES = 64 * 2**20
_NOT_FINITE = "the detector gave no finite score"


class WindowScore(NamedTuple):
    """The logit of one window, and where it lies in its file."""

    start_s: float
    duration_s: float
    logit: float


@dataclass
class Tally:
    """Scores of one detector by file, and the batch that waits for it.

    Attributes:
        detector: Who judges.
        request: The clips it asks of every file.
        batch_size: Clips it sees at once.
        windows: Scores by file, in the order of its windows.
        encoders: Rows of the encoder head by file.
        errors: Why files have no score.
    """

    detector: Detector
    request: ClipRequest
    batch_size: int
    windows: dict[Job, list[WindowScore]] = field(default_factory=dict)
    encoders: dict[Job, list[NDArray[np.float64]]] = field(default_factory=dict)
    errors: dict[Job, str] = field(default_factory=dict)
    _taken: set[Job] = field(default_factory=set)
    _queue: list[tuple[Job, Clip]] = field(default_factory=list)
    _queued_bytes: int = 0

    def key(self, job: Job) -> Job:
        """Return what scores of a job are kept under: what this detector hears of the file."""
        return job if self.request.skips else Job(job.path)

    def add(self, decoded: DecodedFile, clips: list[Clip] | str) -> None:
        """Take what was decoded of one file and score when enough has come together."""
        job = self.key(decoded.job)
        if job in self._taken:
            return
        self._taken.add(job)
        if isinstance(clips, str):
            self.errors[job] = clips
            return
        for clip in clips:
            self._queue.append((job, clip))
            self._queued_bytes += clip.samples.nbytes
            if len(self._queue) >= self.batch_size or self._queued_bytes >= _BATCH_BYTES:
                self.flush()

    def flush(self) -> None:
        """Score what waits; a clip that the detector refuses costs its own file alone."""
        queue, self._queue, self._queued_bytes = self._queue, [], 0
        if not queue:
            return
        try:
            scores = self.detector.score([clip for _, clip in queue])
        except DetectorError as error:
            if len(queue) == 1:
                self.errors[queue[0][0]] = str(error)
                return
            for waiting in queue:
                self._queue = [waiting]
                self.flush()
            return
        for position, (job, clip) in enumerate(queue):
            logit = float(scores.logits[position])
            self.windows.setdefault(job, []).append(_window_score(clip, logit))
            if scores.encoders is not None:
                self.encoders.setdefault(job, []).append(scores.encoders[position])

    def logit(self, job: Job) -> float | None:
        """Return the mean logit of a file's windows, or ``None`` where there is none."""
        key = self.key(job)
        if key in self.errors or key not in self.windows:
            return None
        mean = float(np.mean([window.logit for window in self.windows[key]]))
        return mean if np.isfinite(mean) else None

    def error(self, job: Job) -> str | None:
        """Return why a file has no score, or ``None`` where it has one."""
        if (key := self.key(job)) in self.errors:
            return self.errors[key]
        return None if self.logit(job) is not None else _NOT_FINITE


def _window_score(clip: Clip, logit: float) -> WindowScore:
    start, n_samples = clip.window or (0, clip.n_samples)
    return WindowScore(start / clip.sample_rate_hz, n_samples / clip.sample_rate_hz, logit)
