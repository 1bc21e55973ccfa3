"""Batch the clips of each detector while files are decoded, and collect scores by file.

A file is finished when every window has a score or an abstention, or as soon as one has an error,
which is the file's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.clips import Clip, describe_lack, pad_clip
from earwitness.core.cards import Windows
from earwitness.core.errors import DetectorError
from earwitness.core.predictions import Details, FileScore, WindowScore
from earwitness.detectors.base import Detector
from earwitness.scoring.clips import ClipRequest, DecodedFile, Job
from earwitness.scoring.stored_scores import StoredScores
from earwitness.scoring.workers import usable_processors


class Waiting(NamedTuple):
    """A clip that waits for its score, and its file."""

    job: Job
    clip: Clip


class ClipScore(NamedTuple):
    """A detector's output for one clip.

    Attributes:
        logit: Its logit, which is not used if the detector abstains.
        encoders: Its row of the encoder head, if there is one.
        abstained: Why the detector abstains from it.
        note: A note for the user.
        details: Further columns of the file's row.
    """

    logit: float
    encoders: NDArray[np.float64] | None = None
    abstained: str | None = None
    note: str | None = None
    details: Details | None = None


@dataclass
class OpenFile:
    """A file with windows that have no score yet; one that abstains at once has no output."""

    n_clips: int
    native_rate_hz: int | None
    windows: dict[WindowScore, ClipScore | None] = field(default_factory=dict)

    def close(self) -> FileScore:
        """Return the score of the whole file; windows may have come in any order."""
        windows = sorted(self.windows, key=lambda window: (window.start_s, window.duration_s or 0))
        answers = [score for window in windows if (score := self.windows[window]) is not None]
        scores = [score for score in answers if score.abstained is None]
        rows = [score.encoders for score in scores if score.encoders is not None]
        highest = max(scores, key=lambda score: score.logit, default=None)
        return FileScore(
            windows=tuple(windows),
            encoders=tuple(np.mean(rows, axis=0).tolist()) if rows else (),
            native_rate_hz=self.native_rate_hz,
            details=(highest.details or None) if highest else None,
            note=next((score.note for score in answers if score.note is not None), None),
        )


@dataclass
class FileScores:
    """Scores of one detector by file.

    Attributes:
        finished: Scores of finished files, by ``key``.
        on_finished: Called with every finished file; adds it to ``finished`` if that is no dict.
    """

    finished: dict[Job, FileScore] | StoredScores = field(default_factory=dict)
    on_finished: Callable[[Job, FileScore], None] | None = None

    def lacks(self, keys: Iterable[Job]) -> NDArray[np.bool_]:
        """Return which keys have no score."""
        if isinstance(self.finished, StoredScores):
            return self.finished.lacks(keys)
        return np.fromiter((key not in self.finished for key in keys), bool)

    def read(self, keys: Sequence[Job]) -> list[FileScore]:
        """Return the scores of keys; ``KeyError`` without one."""
        if isinstance(self.finished, StoredScores):
            return self.finished.read(keys)
        return [self.finished[key] for key in keys]

    def finish(self, job: Job, score: FileScore) -> None:
        """Record the score of a file."""
        if isinstance(self.finished, dict):
            self.finished[job] = score
        if self.on_finished:
            self.on_finished(job, score)


@dataclass(kw_only=True)
class Tally(FileScores):
    """Scores of one detector by file, and the clips that wait for theirs.

    Attributes:
        detector: The detector.
        request: The clips that it requests from every file.
        batch_size: Maximum batch size; ``None`` takes the detector's preferred one.
    """

    detector: Detector
    request: ClipRequest
    batch_size: int | None = None
    _open: dict[Job, OpenFile] = field(default_factory=dict)
    _queue: list[Waiting] = field(default_factory=list)

    @property
    def windows(self) -> Windows:
        """Clips per file."""
        return self.request.windows

    def key(self, job: Job) -> Job:
        """Return the key of a job's scores: the part of the file that this detector uses."""
        return job if self.request.skips or not job.skip_s else job._replace(skip_s=0.0)

    def add(self, decoded: DecodedFile) -> None:
        """Queue the clips of a decoded file that this detector requested."""
        cut, job = decoded.cuts.get(self.request), self.key(decoded.job)
        card = self.detector.card
        if cut is None or job in self.finished:
            return
        rate_hz = decoded.info.sample_rate_hz if decoded.info else None
        if isinstance(cut, str):
            self._finish(job, FileScore(native_rate_hz=rate_hz, error=cut))
            return
        file = self._open.setdefault(job, OpenFile(cut.n_clips, rate_hz))
        for clip in cut.clips:
            contract = self.request.contract.at_rate(clip.sample_rate_hz)
            lack = describe_lack(clip.samples, contract, band_hz=card.band_hz, needs=card.needs)
            if lack:
                file.windows[_window_score(clip, None, lack)] = None
            else:
                self._queue.append(Waiting(job, clip))
        self._close_if_complete(job, file)

    def take_batches(self, *, rest: bool = False) -> Iterable[list[Waiting]]:
        """Yield full batches from the queue; with ``rest``, also a last short one."""
        while self._queue:
            size = self._size_with(self._queue[0].clip)
            if size > len(self._queue) and not rest:
                return
            batch, self._queue = self._queue[:size], self._queue[size:]
            yield batch

    def _size_with(self, clip: Clip) -> int:
        """Return the batch size for clips like one."""
        length = self.request.contract.clip_samples or clip.n_samples
        most: int = 64 * 2**20 // (4 * clip.samples.shape[0] * length)
        return max(1, min(most, self.batch_size or self.detector.batch_size))

    def padded(self, batch: Sequence[Waiting]) -> list[Clip]:
        """Return the clips of a batch, padded to the detector's contract."""
        length = self.request.contract.clip_samples or 0
        clips = [replace(clip, samples=pad_clip(clip.samples, length)) for _, clip in batch]
        if length and self.detector.device != "cpu":
            # Arithmetic on a GPU depends on the number of rows: fill short batches up.
            clips += clips[:1] * (self._size_with(batch[0].clip) - len(clips))
        return clips

    def record(self, batch: Sequence[Waiting], scores: Sequence[ClipScore | str]) -> None:
        """Record a score for each clip of a batch, or the reason why there is none."""
        for (job, clip), score in zip(batch, scores, strict=False):  # fillers have none to take
            file = self._open.get(job)
            if file is None:
                continue  # another window of it failed
            if isinstance(score, str) or not np.isfinite(score.logit):
                reason = score if isinstance(score, str) else "the detector gave no finite score"
                self._finish(job, FileScore(native_rate_hz=file.native_rate_hz, error=reason))
                continue
            logit = score.logit if score.abstained is None else None
            file.windows[_window_score(clip, logit, score.abstained)] = score
            self._close_if_complete(job, file)

    def results(self) -> dict[Job, FileScore | OpenFile]:
        """Return what is known of every file, for the tally of another process."""
        return {**self.finished, **self._open}

    def join(self, job: Job, found: FileScore | OpenFile) -> None:
        """Add what the tally of another process knows of a file; a window counts once."""
        if job in self.finished:
            return
        if isinstance(found, FileScore):
            self._finish(job, found)
            return
        file = self._open.setdefault(job, OpenFile(found.n_clips, found.native_rate_hz))
        known = {window[:2] for window in file.windows}
        file.windows |= {w: score for w, score in found.windows.items() if w[:2] not in known}
        self._close_if_complete(job, file)

    def _close_if_complete(self, job: Job, file: OpenFile) -> None:
        if len(file.windows) == file.n_clips:
            self._finish(job, file.close())

    def _finish(self, job: Job, score: FileScore) -> None:
        self._open.pop(job, None)
        self.finish(job, score)


def _window_score(clip: Clip, logit: float | None, abstained: str | None = None) -> WindowScore:
    start, n_samples = clip.window or (0, clip.n_samples)
    where = start / clip.sample_rate_hz, n_samples / clip.sample_rate_hz
    return WindowScore(*where, logit, abstained)


class Scorers:
    """A thread pool per device of the detectors; a context manager.

    On a CPU it has ``n_threads``, by default one per processor.
    """

    def __init__(self, detectors: Sequence[Detector], n_threads: int | None = None) -> None:
        devices = {detector.device for detector in detectors}
        on_cpu = n_threads or usable_processors()
        n_threads_of = {device: on_cpu if device == "cpu" else 1 for device in devices}
        # Two batches wait for each device, so that it never waits for the next one.
        self._room = {device: n + 2 for device, n in n_threads_of.items()}
        torch = sys.modules.get("torch")
        self._n_torch_threads = torch.get_num_threads() if torch else None
        self._pools = {
            device: ThreadPoolExecutor(n, "scorer", initializer=_use_one_thread)
            for device, n in n_threads_of.items()
        }
        self._pending: dict[Future[list[ClipScore | str]], tuple[Tally, list[Waiting]]] = {}

    def submit(self, tally: Tally, batch: list[Waiting]) -> None:
        """Submit a batch as soon as there is room for it."""
        device = tally.detector.device
        while (
            sum(t.detector.device == device for t, _ in self._pending.values())
            >= (self._room[device])
        ):
            self._collect()
        future = self._pools[device].submit(score_clips, tally.detector, tally.padded(batch))
        self._pending[future] = (tally, batch)

    def add(self, tallies: Sequence[Tally], decoded: DecodedFile) -> None:
        """Score the clips that tallies requested from a file, in batches as they are full."""
        for tally in tallies:
            tally.add(decoded)
            for batch in tally.take_batches():
                self.submit(tally, batch)

    def finish(self, tallies: Sequence[Tally]) -> None:
        """Score the clips that are left, and collect all scores."""
        for tally in tallies:
            for batch in tally.take_batches(rest=True):
                self.submit(tally, batch)
        while self._pending:
            self._collect()

    def _collect(self) -> None:
        done, _ = wait(self._pending, return_when=FIRST_COMPLETED)
        for future in done:
            tally, batch = self._pending.pop(future)
            tally.record(batch, future.result())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        for pool in self._pools.values():
            pool.shutdown(wait=error is None, cancel_futures=True)
        if self._n_torch_threads:
            sys.modules["torch"].set_num_threads(self._n_torch_threads)


def score_clips(detector: Detector, clips: Sequence[Clip]) -> list[ClipScore | str]:
    """Return a detector's output for each clip, or the error of a clip that it refuses."""
    try:
        scores = detector.score(clips)
    except DetectorError as error:
        if len(clips) == 1:
            return [str(error)]
        return [score for clip in clips for score in score_clips(detector, [clip])]
    logits, encoders, abstained, notes, details = scores
    nothing = [None] * len(logits)
    return [
        ClipScore(float(logit), *rest)
        for logit, *rest in zip(
            logits,
            nothing if encoders is None else encoders,
            abstained or nothing,
            notes or nothing,
            details or nothing,
            strict=True,
        )
    ]


def _use_one_thread() -> None:
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
