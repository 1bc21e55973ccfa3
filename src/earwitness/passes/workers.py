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

from loky.process_executor import BrokenProcessPool

from earwitness.audio.clips import Clip, pad_clip, place_windows
from earwitness.audio.decode import AudioInfo, probe_audio, read_slice
from earwitness.audio.resample import resampled_length
from earwitness.core.cards import ClipContract
from earwitness.core.errors import AudioError
from earwitness.passes.pool import worker_pool

CRASHED = "the audio decoder crashed on this file"
_MAX_WORKERS = 8


@dataclass(frozen=True)
class ClipRequest:
    """Clips that a detector asks of every file."""

    contract: ClipContract
    n_windows: int = 1


@dataclass(frozen=True)
class DecodedFile:
    """What came of one file.

    Attributes:
        path: The file.
        clips: For each request its clips, or why there are none.
        info: Format and length; ``None`` where the file cannot be read at all.
    """

    path: str
    clips: tuple[list[Clip] | str, ...]
    info: AudioInfo | None = None


def default_workers() -> int:
    """Return how many workers to start: the processors this process may use, 8 at most."""
    usable = getattr(os, "sched_getaffinity", None)
    n = len(usable(0)) if usable else os.cpu_count() or 1
    return min(n, _MAX_WORKERS)


def decode_files(
    paths: Iterable[str], requests: tuple[ClipRequest, ...], *, n_workers: int | None = None
) -> Iterator[DecodedFile]:
    """Decode the clips of many files, in the order in which they are ready.

    Memory holds a few files a worker, whatever the number of files.

    Args:
        paths: Files to read.
        requests: Clips that are cut out of each.
        n_workers: Processes; 0 decodes in this one, ``None`` takes ``default_workers``.
    """
    n_workers = default_workers() if n_workers is None else n_workers
    if n_workers == 0:
        for path in paths:
            yield decode_file(path, requests)
        return
    suspects: deque[str] = deque()
    waiting = iter(paths)
    while True:
        yield from _run(waiting, requests, n_workers, suspects)
        if not suspects:
            return
        yield from _run_alone(suspects, requests)


def decode_file(path: str, requests: tuple[ClipRequest, ...]) -> DecodedFile:
    """Cut the clips asked for out of one file; errors become words."""
    try:
        info = probe_audio(path)
        return DecodedFile(path, tuple(_cut(info, request) for request in requests), info)
    except AudioError as error:
        return DecodedFile(path, tuple(error.reason for _ in requests))


def _cut(info: AudioInfo, request: ClipRequest) -> list[Clip] | str:
    contract = request.contract
    rate = contract.sample_rate_hz
    n_samples = resampled_length(info.n_samples, info.sample_rate_hz, rate)
    if n_samples < max(contract.min_samples, 1):
        needed = max(contract.min_samples, 1) / rate
        return f"{info.duration_s:.3g} s long, the detector needs at least {needed:.2g} s"
    clips = []
    for start, length in place_windows(n_samples, contract, request.n_windows):
        samples = read_slice(info.path, start, length, sample_rate_hz=rate)
        clips.append(Clip(pad_clip(samples, contract.clip_samples or length), rate))
    return clips


def _run(
    waiting: Iterator[str],
    requests: tuple[ClipRequest, ...],
    n_workers: int,
    suspects: deque[str],
) -> Iterator[DecodedFile]:
    """Decode until ``waiting`` is empty or a worker dies; then ``suspects`` holds what was lost."""
    in_flight: dict[Future[DecodedFile], str] = {}
    with worker_pool(n_workers) as submit:
        for path in waiting:
            try:
                in_flight[submit(decode_file, path, requests)] = path
            except BrokenProcessPool:
                suspects.append(path)
                break
            if len(in_flight) >= 3 * n_workers:
                yield from _collect(in_flight, suspects)
                if suspects:
                    break
        while in_flight:
            yield from _collect(in_flight, suspects)


def _collect(
    in_flight: dict[Future[DecodedFile], str], suspects: deque[str]
) -> Iterator[DecodedFile]:
    done, _ = wait(in_flight, return_when=FIRST_COMPLETED)
    for future in done:
        path = in_flight.pop(future)
        try:
            decoded = future.result()
        except BrokenProcessPool:
            suspects.append(path)
            continue
        yield decoded


def _run_alone(suspects: deque[str], requests: tuple[ClipRequest, ...]) -> Iterator[DecodedFile]:
    """Decode one file at a time, to tell the one that kills from those that were beside it."""
    while suspects:
        path = suspects.popleft()
        with worker_pool(1) as submit:
            try:
                decoded = submit(decode_file, path, requests).result()
            except BrokenProcessPool:
                decoded = DecodedFile(path, tuple(CRASHED for _ in requests))
        yield decoded
