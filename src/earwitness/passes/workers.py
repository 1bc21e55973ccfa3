"""Decoding many files in worker processes.

Conventions: one job is one file; every job comes back once, with the clips asked for or with
the reason why there are none. Workers are processes, so that a C library that crashes on a
hostile file costs that file alone and its chatter stays off the terminal.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from loky.process_executor import BrokenProcessPool
from numpy.typing import NDArray

from earwitness.audio.clips import Clip, Window, Windows, pad_clip, place_windows
from earwitness.audio.decode import AudioInfo, probe_audio, read_slice
from earwitness.audio.resample import resampled_length
from earwitness.core.cards import ClipContract
from earwitness.core.errors import AudioError
from earwitness.passes.pool import worker_pool

CRASHED = "the audio decoder crashed on this file"
_MAX_WORKERS = 8


class Job(NamedTuple):
    """One file to decode.

    Attributes:
        path: The file.
        skip_s: What requests that skip leave out at its start.
    """

    path: str
    skip_s: float = 0.0


@dataclass(frozen=True)
class ClipRequest:
    """Clips that a detector asks of every file.

    Attributes:
        contract: The audio it wants.
        windows: Which clips.
        skips: Whether the job's ``skip_s`` is left out before clips are placed.
    """

    contract: ClipContract
    windows: Windows = "published"
    skips: bool = False


@dataclass(frozen=True)
class DecodedFile:
    """What came of one file.

    Attributes:
        job: What was decoded.
        clips: For each request its clips, or why there are none.
        info: Format and length; ``None`` where the file cannot be read at all.
    """

    job: Job
    clips: tuple[list[Clip] | str, ...]
    info: AudioInfo | None = None


def default_workers() -> int:
    """Return how many workers to start: the processors this process may use, 8 at most."""
    usable = getattr(os, "sched_getaffinity", None)
    n = len(usable(0)) if usable else os.cpu_count() or 1
    return min(n, _MAX_WORKERS)


def decode_files(
    jobs: Iterable[Job], requests: tuple[ClipRequest, ...], *, n_workers: int | None = None
) -> Iterator[DecodedFile]:
    """Decode the clips of many files, in the order in which they are ready.

    Memory holds a few files a worker, whatever the number of files.

    Args:
        jobs: Files to read.
        requests: Clips that are cut out of each.
        n_workers: Processes; 0 decodes in this one, ``None`` takes ``default_workers``.
    """
    n_workers = default_workers() if n_workers is None else n_workers
    if n_workers == 0:
        for job in jobs:
            yield decode_file(job, requests)
        return
    suspects: deque[Job] = deque()
    waiting = iter(jobs)
    while True:
        yield from _run(waiting, requests, n_workers, suspects)
        if not suspects:
            return
        yield from _run_alone(suspects, requests)


def decode_file(job: Job, requests: tuple[ClipRequest, ...]) -> DecodedFile:
    """Cut the clips asked for out of one file; errors become words."""
    try:
        info = probe_audio(job.path)
        return DecodedFile(job, tuple(_cut(info, job, request) for request in requests), info)
    except AudioError as error:
        return DecodedFile(job, tuple(error.reason for _ in requests))


def _cut(info: AudioInfo, job: Job, request: ClipRequest) -> list[Clip] | str:
    contract = request.contract
    rate = contract.rate_for(info.sample_rate_hz)
    skipped = int(job.skip_s * rate) if request.skips else 0
    n_samples = resampled_length(info.n_samples, info.sample_rate_hz, rate) - skipped
    if skipped and n_samples <= 0:
        return f"{info.duration_s:.2f} s long, a skip_time of {job.skip_s:g} s leaves nothing of it"
    shortest = max(contract.min_samples, 1)
    if n_samples < shortest:
        needed = f"{shortest / rate:.2g} s"
        return f"{n_samples / rate:.3g} s long, the detector needs at least {needed}"
    placed = place_windows(n_samples, contract, request.windows)
    windows = [Window(skipped + start, length) for start, length in placed]
    read = _read_together if request.windows == "all" else _read_apart
    return [
        Clip(pad_clip(samples, contract.clip_samples or window.n_samples), rate, window)
        for window, samples in zip(windows, read(info, windows, rate), strict=True)
    ]


def _read_apart(info: AudioInfo, windows: list[Window], rate: int) -> list[NDArray[np.float32]]:
    """Read windows one at a time: little is decoded and held where they lie far apart."""
    return [read_slice(info.path, *window, sample_rate_hz=rate) for window in windows]


def _read_together(info: AudioInfo, windows: list[Window], rate: int) -> list[NDArray[np.float32]]:
    """Read windows that touch in one go; the samples are the same."""
    first, stop = windows[0].start, windows[-1].start + windows[-1].n_samples
    samples = read_slice(info.path, first, stop - first, sample_rate_hz=rate)
    return [samples[:, start - first : start - first + length] for start, length in windows]


def _run(
    waiting: Iterator[Job],
    requests: tuple[ClipRequest, ...],
    n_workers: int,
    suspects: deque[Job],
) -> Iterator[DecodedFile]:
    """Decode until ``waiting`` is empty or a worker dies; then ``suspects`` holds what was lost."""
    in_flight: dict[Future[DecodedFile], Job] = {}
    with worker_pool(n_workers) as submit:
        for job in waiting:
            try:
                in_flight[submit(decode_file, job, requests)] = job
            except BrokenProcessPool:
                suspects.append(job)
                break
            if len(in_flight) >= 3 * n_workers:
                yield from _collect(in_flight, suspects)
                if suspects:
                    break
        while in_flight:
            yield from _collect(in_flight, suspects)


def _collect(
    in_flight: dict[Future[DecodedFile], Job], suspects: deque[Job]
) -> Iterator[DecodedFile]:
    done, _ = wait(in_flight, return_when=FIRST_COMPLETED)
    for future in done:
        job = in_flight.pop(future)
        try:
            decoded = future.result()
        except BrokenProcessPool:
            suspects.append(job)
            continue
        yield decoded


def _run_alone(suspects: deque[Job], requests: tuple[ClipRequest, ...]) -> Iterator[DecodedFile]:
    """Decode one file at a time, to tell the one that kills from those that were beside it."""
    while suspects:
        job = suspects.popleft()
        with worker_pool(1) as submit:
            try:
                decoded = submit(decode_file, job, requests).result()
            except BrokenProcessPool:
                decoded = DecodedFile(job, tuple(CRASHED for _ in requests))
        yield decoded
