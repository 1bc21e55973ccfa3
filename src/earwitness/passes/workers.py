"""Decoding many files in worker processes.

Conventions: one task is one file, or one part of a long one; every file comes back, with the clips
asked for or with the reason why there are none. Workers are processes, so that a C library that
crashes on a hostile file costs that file alone and its chatter stays off the terminal.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import NamedTuple

from loky.process_executor import BrokenProcessPool

from earwitness.audio.decode import AudioInfo
from earwitness.passes.cutting import ClipRequest, DecodedFile, Job, cut_file
from earwitness.passes.pool import worker_pool

CRASHED = "the audio decoder crashed on this file"
_MAX_WORKERS = 16


class Task(NamedTuple):
    """What is wanted of one file, or of a part of it.

    Attributes:
        job: The file.
        requests: Clips that are cut out of it, no two the same.
        part: Which part of the file.
        info: What is known of the file.
    """

    job: Job
    requests: tuple[ClipRequest, ...]
    part: int = 0
    info: AudioInfo | None = None


def default_workers() -> int:
    """Return how many workers to start: the processors this process may use, 16 at most."""
    return min(usable_processors(), _MAX_WORKERS)


def usable_processors() -> int:
    """Return how many processors this process may use."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


def decode_files(
    tasks: Iterable[Task],
    *,
    n_workers: int | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[DecodedFile]:
    """Decode the clips of many files, in the order in which they are ready.

    Memory holds a few parts of files a worker, whatever the number of files and their length.

    Args:
        tasks: Files to read.
        n_workers: Processes; 0 decodes in this one, ``None`` takes ``default_workers``.
        stopping: Asked before every task; once it says so, only what is in hand is finished.
    """
    queue = _Queue(tasks, stopping)
    n_workers = default_workers() if n_workers is None else n_workers
    if n_workers == 0:
        while task := queue.take():
            yield queue.followed(cut_file(*task), task)
        return
    suspects: deque[Task] = deque()
    while True:
        yield from _run(queue, n_workers, suspects)
        if not suspects:
            return
        yield from _run_alone(suspects, queue)


class _Queue:
    """Tasks in order, the further parts of a file as soon as they are known."""

    def __init__(self, tasks: Iterable[Task], stopping: Callable[[], bool]) -> None:
        self._tasks = iter(tasks)
        self._parts: deque[Task] = deque()
        self._stopping = stopping

    def take(self) -> Task | None:
        """Return the next task, or ``None`` where there is none for now."""
        if self._stopping():
            return None
        return self._parts.popleft() if self._parts else next(self._tasks, None)

    def followed(self, decoded: DecodedFile, task: Task) -> DecodedFile:
        """Return what came of a task, after queueing what follows from it."""
        if task.part == 0:
            further = range(1, decoded.n_parts)
            self._parts += [task._replace(part=n, info=decoded.info) for n in further]
        return decoded


def _run(queue: _Queue, n_workers: int, suspects: deque[Task]) -> Iterator[DecodedFile]:
    """Decode until nothing waits or a worker dies; then ``suspects`` holds what was lost."""
    in_flight: dict[Future[DecodedFile], Task] = {}
    with worker_pool(n_workers) as submit:
        while True:
            while not suspects and len(in_flight) < 3 * n_workers and (task := queue.take()):
                try:
                    in_flight[submit(cut_file, *task)] = task
                except BrokenProcessPool:
                    suspects.append(task)
            if not in_flight:
                return
            yield from _collect(in_flight, suspects, queue)


def _collect(
    in_flight: dict[Future[DecodedFile], Task], suspects: deque[Task], queue: _Queue
) -> Iterator[DecodedFile]:
    done, _ = wait(in_flight, return_when=FIRST_COMPLETED)
    for future in done:
        task = in_flight.pop(future)
        try:
            decoded = future.result()
        except BrokenProcessPool:
            suspects.append(task)
            continue
        yield queue.followed(decoded, task)


def _run_alone(suspects: deque[Task], queue: _Queue) -> Iterator[DecodedFile]:
    """Decode one file at a time, to tell the one that kills from those that were beside it."""
    while suspects:
        task = suspects.popleft()
        with worker_pool(1) as submit:
            try:
                decoded = submit(cut_file, *task).result()
            except BrokenProcessPool:
                decoded = DecodedFile(task.job, dict.fromkeys(task.requests, CRASHED))
        yield queue.followed(decoded, task)
