"""Decode many files in worker processes that may crash, be killed or be interrupted.

A task is a file, or a part of a long one. Every task has a result: clips, or a reason.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from multiprocessing import connection, resource_tracker
from types import FrameType
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from loky import ProcessPoolExecutor
from loky.backend import resource_tracker as loky_tracker
from loky.backend.utils import kill_process_tree
from loky.process_executor import BrokenProcessPool

from earwitness.audio.decode import AudioInfo
from earwitness.scoring.clips import ClipRequest, Cut, DecodedFile, Job, cut_file

CRASHED = "the audio decoder crashed on this file"
KILLED = (
    "the process that decoded this file was killed from outside, or memory ran out; "
    "--retry-errors tries it again"
)
OUT_OF_MEMORY = "memory ran out while this file was decoded; --retry-errors tries it again"


class Task(NamedTuple):
    """A file, or a part of it, to cut clips from; see ``cut_file``."""

    job: Job
    requests: tuple[ClipRequest, ...]
    part: int = 0
    info: AudioInfo | None = None
    n_parts: int = 1


def decode_files(
    tasks: Iterable[Task],
    *,
    n_workers: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[DecodedFile]:
    """Yield the clips of many files as they are ready, in bounded memory.

    ``should_stop`` is called before every task; once true, only tasks in progress are finished.
    """
    queue = TaskQueue(tasks, should_stop=should_stop, follow=_further_parts)
    return map_tasks(_cut, queue, if_crashed=_crashed, n_workers=n_workers)


def _cut(*task: Any) -> DecodedFile:
    """Cut a file; running out of memory fails that file only."""
    job, requests, part, info, _ = whole = Task(*task)
    try:
        return cut_file(job, requests, part, info)
    except MemoryError:
        return _failed(whole, OUT_OF_MEMORY)


def _further_parts(task: Task, decoded: DecodedFile) -> list[Task]:
    """Return the tasks for the rest of a file, after its first part."""
    n_parts = 1 if task.part else decoded.n_parts
    more = task._replace(info=decoded.info, n_parts=n_parts)
    return [more._replace(part=part) for part in range(1, n_parts)]


def _crashed(task: Task, death: Death) -> DecodedFile:
    return _failed(task, CRASHED if death == "crashed" else KILLED)


def _failed(task: Task, reason: str) -> DecodedFile:
    cuts: dict[ClipRequest, Cut | str] = dict.fromkeys(task.requests, reason)
    return DecodedFile(task.job, cuts, part=task.part, n_parts=task.n_parts)


Death = Literal["crashed", "killed"]
"""How a worker died: by itself, or by a signal from outside or from a system short of memory."""

_T = TypeVar("_T", bound=tuple[Any, ...])
_R = TypeVar("_R")


def default_workers() -> int:
    """Return the default number of workers: the usable processors, at most 16."""
    return min(usable_processors(), 16)


def usable_processors() -> int:
    """Return the number of processors that this process may use."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


class TaskQueue(Generic[_T, _R]):
    """Tasks (tuples of arguments) in order; those that ``follow`` from a result come first."""

    def __init__(
        self,
        tasks: Iterable[_T],
        *,
        should_stop: Callable[[], bool] = lambda: False,
        follow: Callable[[_T, _R], Iterable[_T]] = lambda _task, _result: (),
    ) -> None:
        self._tasks = iter(tasks)
        self._next: deque[_T] = deque()
        self._should_stop = should_stop
        self._follow = follow

    def take(self) -> _T | None:
        """Return the next task, or ``None`` if there is none for now."""
        if self._should_stop():
            return None
        return self._next.popleft() if self._next else next(self._tasks, None)

    def done(self, task: _T, result: _R) -> _R:
        """Queue the tasks that follow from a result, and return it."""
        self._next += self._follow(task, result)
        return result


def map_tasks(
    function: Callable[..., _R],
    queue: TaskQueue[_T, _R],
    *,
    if_crashed: Callable[[_T, Death], _R],
    n_workers: int | None = None,
) -> Iterator[_R]:
    """Yield ``function(*task)`` for every task as results are ready.

    If a worker dies, the tasks in progress are repeated one at a time: one whose worker crashes
    again has failed; one whose worker is killed is tried a few more times.

    Args:
        function: A function that can be pickled, like its arguments.
        queue: The tasks.
        if_crashed: Returns the result of a task that has failed, by how its worker died.
        n_workers: Processes; 0 runs in this one, ``None`` takes ``default_workers``.
    """
    n_workers = default_workers() if n_workers is None else n_workers
    if n_workers == 0:
        while (task := queue.take()) is not None:
            yield queue.done(task, function(*task))
        return
    suspects: deque[_T] = deque()
    while True:
        yield from _run(function, queue, n_workers, suspects)
        if not suspects:
            return
        while suspects:
            task = suspects.popleft()
            yield queue.done(task, _try_alone(function, task, if_crashed))


def _run(
    function: Callable[..., _R], queue: TaskQueue[_T, _R], n_workers: int, suspects: deque[_T]
) -> Iterator[_R]:
    """Run tasks until none is left or a worker dies; lost ones are added to ``suspects``."""
    in_flight: dict[Future[_R], _T] = {}
    with worker_pool(n_workers) as submit:
        while True:
            while not suspects and len(in_flight) < 3 * n_workers:
                if (task := queue.take()) is None:
                    break
                try:
                    in_flight[submit(function, *task)] = task
                except BrokenProcessPool:
                    suspects.append(task)
            if not in_flight:
                return
            done, _ = wait(in_flight, return_when=FIRST_COMPLETED)
            for future in done:
                task = in_flight.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    suspects.append(task)
                else:
                    yield queue.done(task, result)


def _try_alone(function: Callable[..., _R], task: _T, if_crashed: Callable[[_T, Death], _R]) -> _R:
    death: Death = "crashed"
    for _ in range(5):
        with worker_pool(1) as submit:
            try:
                result: _R = submit(function, *task).result()
            except BrokenProcessPool as error:
                death = how_died(error)
            else:
                return result
        if death == "crashed":
            break
    return if_crashed(task, death)


def how_died(error: BaseException) -> Death:
    """Return how a worker died, by the exit codes in loky's error."""
    # A truncated result is of a worker that was killed while writing it.
    signs = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "EOFError", "end of file")
    text = f"{error}{error.__cause__}"
    return "killed" if any(sign in text for sign in signs) else "crashed"


_POLL_S = 0.5
_CLOSING = threading.Lock()


@contextlib.contextmanager
def worker_pool(n_workers: int) -> Iterator[Callable[..., Future[Any]]]:
    """Yield a function that submits a call to ``n_workers`` processes.

    If a worker dies, pending and later calls raise ``BrokenProcessPool``.
    """
    # Starting a tracker unblocks Ctrl-C: one that the first submit started would undo the mask.
    resource_tracker.ensure_running()
    loky_tracker.ensure_running()
    pool = ProcessPoolExecutor(n_workers, initializer=_end_with, initargs=(os.getpid(),))
    is_done = threading.Event()
    with _blocked_interrupts():  # in another thread, Ctrl-C would not wake this one
        threading.Thread(target=_watch, args=(pool, is_done), daemon=True).start()

    def submit(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        with _blocked_interrupts():
            future: Future[Any] = pool.submit(function, *arguments)
        return future

    try:
        yield submit
    except BaseException:
        is_done.set()
        _break(pool)
        raise
    finally:
        is_done.set()
        # Asking workers to end could block: one that was killed while it waited for work still
        # holds the lock of the call queue. Breaking a pool that loky breaks, too, would close the
        # pipe of results twice.
        pool.shutdown(wait=True, kill_workers=True)


def _watch(pool: ProcessPoolExecutor, is_done: threading.Event) -> None:
    """Break a pool that a dead worker blocks."""
    # loky does not notice a death while it reads a result: the rest of one whose worker was killed
    # while writing it never comes, and the other writers keep the pipe open.
    was_dead = False
    while not is_done.wait(_POLL_S):
        is_dead = bool(connection.wait([worker.sentinel for worker in _workers(pool)], timeout=0))
        if is_dead and was_dead:
            _break(pool)
            return
        was_dead = is_dead


def _break(pool: ProcessPoolExecutor) -> None:
    """Kill the workers, and close the pipe of results so that reading from it ends."""
    for worker in _workers(pool):
        kill_process_tree(worker)
    results = pool._result_queue  # None once loky has shut the pool down itself
    if results is None:
        return
    # ``close`` forgets the descriptor only after it has closed it: another thread could close it
    # again, which by then is a pipe of pgrep, that loky reads.
    writer = results._writer
    with _CLOSING:
        handle, writer._handle = writer._handle, None
    if handle is not None:
        type(writer)(handle, readable=False).close()


def _workers(pool: ProcessPoolExecutor) -> list[Any]:
    return list((pool._processes or {}).values())


@contextlib.contextmanager
def _blocked_interrupts() -> Iterator[None]:
    """Block Ctrl-C, so that workers started in the block ignore it; Windows has no such mask."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(parent: int) -> None:
    """End this worker when its parent is gone (not on Windows, where the parent's id is kept)."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def held_interrupts() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C was pressed; a second one interrupts.

    Outside the main thread, which alone receives signals, nothing is held back.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def on_interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal calls it
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
