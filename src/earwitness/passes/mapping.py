"""Work on many files in worker processes, none of them lost.

Conventions: every task comes back with a result. Workers are processes, so that a C library that
crashes on a hostile file costs that file alone and its chatter stays off the terminal.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Generic, Literal, TypeVar

from loky.process_executor import BrokenProcessPool

from earwitness.passes.pool import worker_pool

Death = Literal["crashed", "killed"]
"""How a worker died: of itself, or by a signal that only others send (or the system, short of
memory)."""

_MAX_WORKERS = 16
_MOST_TRIES = 5
_KILLED = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")

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
        stopping: Asked before every task; once it says so, only what is in hand is finished.
        follow: Returns the further tasks that a result calls for.
    """

    def __init__(
        self,
        tasks: Iterable[_T],
        *,
        stopping: Callable[[], bool] = lambda: False,
        follow: Callable[[_T, _R], Iterable[_T]] = lambda _task, _result: (),
    ) -> None:
        self._tasks = iter(tasks)
        self._next: deque[_T] = deque()
        self._stopping = stopping
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
    """Return how a worker died, by the exit codes that loky names in its error."""
    return "killed" if any(sign in str(error) for sign in _KILLED) else "crashed"
