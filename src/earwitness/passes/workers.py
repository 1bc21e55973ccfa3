"""Decoding many files in worker processes.

Conventions: one task is one file, or one part of a long one; every file comes back, with the clips
asked for or with the reason why there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from earwitness.audio.decode import AudioInfo
from earwitness.passes.cutting import ClipRequest, DecodedFile, Job, cut_file
from earwitness.passes.mapping import Death, TaskQueue, map_tasks

CRASHED = "the audio decoder crashed on this file"
KILLED = (
    "the process that decoded this file was killed from outside, or memory ran out; "
    "--retry-errors tries it again"
)
OUT_OF_MEMORY = "memory ran out while this file was decoded; --retry-errors tries it again"


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
    queue = TaskQueue(tasks, stopping=stopping, follow=_further_parts)
    return map_tasks(_cut, queue, if_crashed=_crashed, n_workers=n_workers)


def _cut(
    job: Job, requests: tuple[ClipRequest, ...], part: int = 0, info: AudioInfo | None = None
) -> DecodedFile:
    """Cut a file; memory that runs out costs it alone."""
    try:
        return cut_file(job, requests, part, info)
    except MemoryError:
        return DecodedFile(job, dict.fromkeys(requests, OUT_OF_MEMORY))


def _further_parts(task: Task, decoded: DecodedFile) -> list[Task]:
    """Return the tasks for the rest of a file, once its first part says how many there are."""
    if task.part > 0:
        return []
    return [task._replace(part=n, info=decoded.info) for n in range(1, decoded.n_parts)]


def _crashed(task: Task, death: Death) -> DecodedFile:
    reason = CRASHED if death == "crashed" else KILLED
    return DecodedFile(task.job, dict.fromkeys(task.requests, reason))
