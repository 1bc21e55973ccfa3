"""Batch the clips of each detector while files are decoded, and collect scores by file.

Conventions: a file is scored once for each stretch of it that is skipped; it is finished when all
its windows have a score or hold nothing to analyse, or as soon as one of them cannot have a
score, whose reason is the file's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.clips import Clip, describe_lack, pad_clip
from earwitness.core.errors import DetectorError
from earwitness.core.predictions import FileScore, WindowScore
from earwitness.detectors.base import Detector
from earwitness.scoring.clips import ClipRequest, DecodedFile, Job
from earwitness.scoring.workers import usable_processors

_BATCH_BYTES = 64 * 2**20
_NOT_FINITE = "the detector gave no finite score"

Keep = Callable[[Job, FileScore], None]
"""Called with every file that is finished."""


class Waiting(NamedTuple):
    """A clip that waits for its score, and whose it is."""

    job: Job
    clip: Clip


class ClipScore(NamedTuple):
    """A detector's output for one clip: its logit and the row of its encoder head, if any."""

    logit: float
    encoders: NDArray[np.float64] | None = None


@dataclass
class _OpenFile:
    """A file that still waits for some of its windows."""

    n_clips: int
    native_rate_hz: int | None
    windows: dict[WindowScore, NDArray[np.float64] | None] = field(default_factory=dict)

    def close(self) -> FileScore:
        """Return the score of the whole file, whatever the order in which windows came."""
        windows = sorted(self.windows, key=lambda window: (window.start_s, window.duration_s))
        rows = [row for window in windows if (row := self.windows[window]) is not None]
        return FileScore(
            windows=tuple(windows),
            encoders=tuple(np.mean(rows, axis=0).tolist()) if rows else (),
            native_rate_hz=self.native_rate_hz,
        )


@dataclass
class Tally:
    """Scores of one detector by file, and the clips that wait for theirs.

    Attributes:
        detector: The detector.
        request: The clips it asks of every file.
        batch_size: Maximum batch size; ``None`` takes the detector's preferred one.
        finished: Scores of finished files, by ``key``.
        keep: Called with every file that is finished.
    """

    detector: Detector
    request: ClipRequest
    batch_size: int | None = None
    finished: dict[Job, FileScore] = field(default_factory=dict)
    keep: Keep | None = None
    _open: dict[Job, _OpenFile] = field(default_factory=dict)
    _queue: list[Waiting] = field(default_factory=list)

    def key(self, job: Job) -> Job:
        """Return the key of a job's scores: the part of the file that this detector uses."""
        return job if self.request.skips else Job(job.path)

    def add(self, decoded: DecodedFile) -> None:
        """Take what was decoded of one file, where this detector asked for it."""
        cut, job = decoded.cuts.get(self.request), self.key(decoded.job)
        if cut is None or job in self.finished:
            return
        rate_hz = decoded.info.sample_rate_hz if decoded.info else None
        if isinstance(cut, str):
            self._finish(job, FileScore(native_rate_hz=rate_hz, error=cut))
            return
        file = self._open.setdefault(job, _OpenFile(cut.n_clips, rate_hz))
        for clip in cut.clips:
            if lack := self._describe_lack(clip):
                file.windows[_window_score(clip, None, lack)] = None
            else:
                self._queue.append(Waiting(job, clip))
        self._close_if_complete(job, file)

    def _describe_lack(self, clip: Clip) -> str | None:
        card = self.detector.card
        contract = self.request.contract
        return describe_lack(clip.samples, contract, band_hz=card.band_hz, needs=card.needs)

    def take_batches(self, *, rest: bool = False) -> Iterable[list[Waiting]]:
        """Yield clips to be scored together, taken off the queue; the last few only as ``rest``."""
        while self._queue:
            size = self._size_with(self._queue[0].clip)
            if size > len(self._queue) and not rest:
                return
            batch, self._queue = self._queue[:size], self._queue[size:]
            yield batch

    def _size_with(self, clip: Clip) -> int:
        """Return how many clips like one are scored at once."""
        length = self.request.contract.clip_samples or clip.n_samples
        most: int = _BATCH_BYTES // (4 * clip.samples.shape[0] * length)
        return max(1, min(most, self.batch_size or self.detector.batch_size))

    def padded(self, batch: Sequence[Waiting]) -> list[Clip]:
        """Return the clips of a batch as the detector's contract has them.

        On a GPU a short batch is filled up: arithmetic there depends on how many rows there are.
        """
        length = self.request.contract.clip_samples or 0
        clips = [
            Clip(pad_clip(clip.samples, length), clip.sample_rate_hz, clip.window)
            for _, clip in batch
        ]
        if length and self.detector.device != "cpu":
            clips += clips[:1] * (self._size_with(batch[0].clip) - len(clips))
        return clips

    def record(self, batch: Sequence[Waiting], scores: Sequence[ClipScore | str]) -> None:
        """Take what the detector said of a batch: a score for each clip, or why there is none."""
        for (job, clip), score in zip(batch, scores, strict=False):  # fillers have none to take
            file = self._open.get(job)
            if file is None:
                continue  # another window of it failed
            if isinstance(score, str) or not np.isfinite(score.logit):
                reason = score if isinstance(score, str) else _NOT_FINITE
                self._finish(job, FileScore(native_rate_hz=file.native_rate_hz, error=reason))
                continue
            file.windows[_window_score(clip, score.logit)] = score.encoders
            self._close_if_complete(job, file)

    def _close_if_complete(self, job: Job, file: _OpenFile) -> None:
        if len(file.windows) == file.n_clips:
            self._finish(job, file.close())

    def _finish(self, job: Job, score: FileScore) -> None:
        self._open.pop(job, None)
        self.finished[job] = score
        if self.keep:
            self.keep(job, score)


def _window_score(clip: Clip, logit: float | None, abstained: str | None = None) -> WindowScore:
    start, n_samples = clip.window or (0, clip.n_samples)
    where = start / clip.sample_rate_hz, n_samples / clip.sample_rate_hz
    return WindowScore(*where, logit, abstained)


_AHEAD = 2
"""Batches that wait for each device, so that it never waits for the next one."""


class Scorers:
    """A pool of threads for each device that detectors run on; a context manager.

    Args:
        detectors: The detectors that will score.
    """

    def __init__(self, detectors: Sequence[Detector]) -> None:
        devices = {detector.device for detector in detectors}
        n_threads = {d: usable_processors() if d == "cpu" else 1 for d in devices}
        self._room = {device: n + _AHEAD for device, n in n_threads.items()}
        self._n_torch_threads = _torch_threads()
        self._pools = {
            device: ThreadPoolExecutor(n, "scorer", initializer=_use_one_thread)
            for device, n in n_threads.items()
        }
        self._pending: dict[Future[list[ClipScore | str]], tuple[Tally, list[Waiting]]] = {}

    def submit(self, tally: Tally, batch: list[Waiting]) -> None:
        """Submit a batch, after collecting scores until there is room for it."""
        device = tally.detector.device
        while (
            sum(t.detector.device == device for t, _ in self._pending.values())
            >= (self._room[device])
        ):
            self._collect()
        future = self._pools[device].submit(score_clips, tally.detector, tally.padded(batch))
        self._pending[future] = (tally, batch)

    def drain(self) -> None:
        """Collect all scores that are pending."""
        while self._pending:
            self._collect()

    def _collect(self) -> None:
        done, _ = wait(self._pending, return_when=FIRST_COMPLETED)
        for future in done:
            tally, batch = self._pending.pop(future)
            tally.record(batch, future.result())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pool in self._pools.values():
            pool.shutdown(wait=error is None, cancel_futures=True)
        if self._n_torch_threads:
            sys.modules["torch"].set_num_threads(self._n_torch_threads)


def score_clips(detector: Detector, clips: Sequence[Clip]) -> list[ClipScore | str]:
    """Return a detector's output for each clip; a clip that it refuses fails alone."""
    try:
        logits, encoders = detector.score(clips)
    except DetectorError as error:
        if len(clips) == 1:
            return [str(error)]
        return [score for clip in clips for score in score_clips(detector, [clip])]
    return [
        ClipScore(float(logit), None if encoders is None else encoders[at])
        for at, logit in enumerate(logits)
    ]


def _torch_threads() -> int | None:
    """Return how many threads torch uses for one product, or ``None`` where it is not in use."""
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch else None


def _use_one_thread() -> None:
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
