"""Decoding many files in worker processes.

Conventions: one task is one file, or one part of a long one; every file comes back, with the clips
asked for or with the reason why there are none.
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
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from loky import ProcessPoolExecutor
from loky.backend import resource_tracker as loky_tracker
from loky.backend.utils import kill_process_tree
from loky.process_executor import BrokenProcessPool

from earwitness.audio.decode import AudioInfo
from earwitness.scoring.clips import ClipRequest, DecodedFile, Job, cut_file

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
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[DecodedFile]:
    """Decode the clips of many files, in the order in which they are ready.

    Memory holds a few parts of files a worker, whatever the number of files and their length.

    Args:
        tasks: Files to read.
        n_workers: Processes; 0 decodes in this one, ``None`` takes ``default_workers``.
        should_stop: Asked before every task; once it says so, only what is in hand is finished.
    """
    queue = TaskQueue(tasks, should_stop=should_stop, follow=_further_parts)
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


Death = Literal["crashed", "killed"]
"""How a worker died: of itself, or by a signal that only others send (or the system, short of
memory)."""

_MAX_WORKERS = 16
_MOST_TRIES = 5
_KILLED = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "EOFError", "end of file")

_T = TypeVar("_T", bound=tuple[Any, ...])
_R = TypeVar("_R")


def default_workers() -> int:
    """Return how many workers to start: the processors this process may use, 16 at most."""
    return min(usable_processors(), _MAX_WORKERS)


def usable_processors() -> int:
    """Return how many processors this process may use."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


class TaskQueue(Generic[_T, _R]):
    """Tasks in order; what follows from a result comes before the tasks that wait.

    Args:
        tasks: Arguments of the function that does the work, a tuple each.
        should_stop: Asked before every task; once it says so, only what is in hand is finished.
        follow: Returns the further tasks that a result calls for.
    """

    def __init__(
        self,
        tasks: Iterable[_T],
        *,
        should_stop: Callable[[], bool] = lambda: False,
        follow: Callable[[_T, _R], Iterable[_T]] = lambda _task, _result: (),
    ) -> None:
        self._tasks = iter(tasks)
        self._next: deque[_T] = deque()
        self._stopping = should_stop
        self._follow = follow

    def take(self) -> _T | None:
        """Return the next task, or ``None`` where there is none for now."""
        if self._stopping():
            return None
        return self._next.popleft() if self._next else next(self._tasks, None)

    def done(self, task: _T, result: _R) -> _R:
        """Return a result, after queueing what follows from it."""
        self._next += self._follow(task, result)
        return result


def map_tasks(
    function: Callable[..., _R],
    queue: TaskQueue[_T, _R],
    *,
    if_crashed: Callable[[_T, Death], _R],
    n_workers: int | None = None,
) -> Iterator[_R]:
    """Yield ``function(*task)`` of every task, in the order in which they are ready.

    When a worker dies, the tasks that were in hand are done again one at a time; one whose worker
    crashes again costs itself alone. One whose worker is killed, by somebody or for lack of memory,
    may be innocent: it is tried several times more.

    Args:
        function: What is done; it and its arguments travel to other processes.
        queue: What it is done to.
        if_crashed: The result of a task whose worker dies of it, by how it died.
        n_workers: Processes; 0 works in this one, ``None`` takes ``default_workers``.
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
        yield from _run_alone(function, queue, suspects, if_crashed)


def _run(
    function: Callable[..., _R], queue: TaskQueue[_T, _R], n_workers: int, suspects: deque[_T]
) -> Iterator[_R]:
    """Work until nothing waits or a worker dies; then ``suspects`` holds what was lost."""
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
            yield from _collect(in_flight, suspects, queue)


def _collect(
    in_flight: dict[Future[_R], _T], suspects: deque[_T], queue: TaskQueue[_T, _R]
) -> Iterator[_R]:
    done, _ = wait(in_flight, return_when=FIRST_COMPLETED)
    for future in done:
        task = in_flight.pop(future)
        try:
            result = future.result()
        except BrokenProcessPool:
            suspects.append(task)
            continue
        yield queue.done(task, result)


def _run_alone(
    function: Callable[..., _R],
    queue: TaskQueue[_T, _R],
    suspects: deque[_T],
    if_crashed: Callable[[_T, Death], _R],
) -> Iterator[_R]:
    """Do one task at a time, to tell the one that kills from those that were beside it."""
    while suspects:
        task = suspects.popleft()
        yield queue.done(task, _try_alone(function, task, if_crashed))


def _try_alone(function: Callable[..., _R], task: _T, if_crashed: Callable[[_T, Death], _R]) -> _R:
    death: Death = "crashed"
    for _ in range(_MOST_TRIES):
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
    """Return how a worker died, by the exit codes that loky names in its error.

    A result that ends too early is of a worker that was killed while it wrote.
    """
    text = f"{error}{error.__cause__}"
    return "killed" if any(sign in text for sign in _KILLED) else "crashed"


_LOOKS_EVERY_S = 0.5

Submit = Callable[..., Future[Any]]
"""Takes a function and its arguments, all of which can be pickled."""


@contextlib.contextmanager
def worker_pool(n_workers: int) -> Iterator[Submit]:
    """Yield what hands work to ``n_workers`` processes, which live as long as the block.

    A worker that dies breaks the pool: all that was in hand, and whatever is submitted after,
    raises ``BrokenProcessPool``.
    """
    # Starting a tracker unblocks Ctrl-C: one that the first submit started would undo the mask.
    resource_tracker.ensure_running()
    loky_tracker.ensure_running()
    pool = ProcessPoolExecutor(n_workers, initializer=_end_with, initargs=(os.getpid(),))
    is_done = threading.Event()
    with _unheard_interrupts():  # in another thread, Ctrl-C would not wake this one
        threading.Thread(target=_watch, args=(pool, is_done), daemon=True).start()

    def submit(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        with _unheard_interrupts():
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
        # Nothing is left to do, and asking workers to end could block: one that was killed while it
        # waited for work still holds the lock that the others need to be asked.
        pool.shutdown(wait=True, kill_workers=True)


def _watch(pool: ProcessPoolExecutor, is_done: threading.Event) -> None:
    """Break a pool that a dead worker blocks.

    loky notices a death at once, unless it is reading a result: the rest of one whose worker was
    killed while writing it never comes, and the other writers keep the pipe open.
    """
    was_dead = False
    while not is_done.wait(_LOOKS_EVERY_S):
        is_dead = bool(connection.wait([worker.sentinel for worker in _workers(pool)], timeout=0))
        if is_dead and was_dead:
            _break(pool)
            return
        was_dead = is_dead


def _break(pool: ProcessPoolExecutor) -> None:
    """Kill the workers and close the pipe of results, so that reading from it ends."""
    for worker in _workers(pool):
        kill_process_tree(worker)
    if pool._result_queue is not None:  # None once loky has shut the pool down itself
        pool._result_queue._writer.close()


def _workers(pool: ProcessPoolExecutor) -> list[Any]:
    return list((pool._processes or {}).values())


@contextlib.contextmanager
def _unheard_interrupts() -> Iterator[None]:
    """Hold back Ctrl-C, so that workers started in the block inherit deaf ears for it.

    An interrupt that comes meanwhile reaches this process when the block ends. Windows sends
    Ctrl-C to whole console groups and has no such mask; there workers die with the run.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(parent: int) -> None:
    """End this worker when its parent is gone: one that was killed cannot end it.

    Where processes keep the id of a parent that is gone (Windows), nothing is seen of it.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOKS_EVERY_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
