"""Threads that ask detectors, while files are decoded elsewhere.

Conventions: batches go out and their scores come back in the thread that owns the pool, which
alone changes tallies. On a CPU as many batches are scored at once as there are processors, each
by one thread: several small products side by side take less time than one split among threads.
A GPU is asked by one thread.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self

from earwitness.audio.clips import Clip
from earwitness.core.errors import DetectorError
from earwitness.detectors.base import Detector
from earwitness.inference.tally import ClipScore, Tally, Waiting
from earwitness.passes.mapping import usable_processors

_AHEAD = 2
"""Batches that wait for each device, so that it never waits for the next one."""


class Scorers:
    """A pool of threads for each device that detectors run on; a context manager.

    Args:
        detectors: Who will be asked.
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
        """Hand out a batch, after taking in scores until there is room for it."""
        device = tally.detector.device
        while (
            sum(t.detector.device == device for t, _ in self._pending.values())
            >= (self._room[device])
        ):
            self._collect()
        future = self._pools[device].submit(score_clips, tally.detector, tally.padded(batch))
        self._pending[future] = (tally, batch)

    def drain(self) -> None:
        """Take in all scores that are still to come."""
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
    """Return what a detector says of each clip; one that it refuses costs itself alone."""
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
