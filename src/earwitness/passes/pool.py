"""Worker processes that leave Ctrl-C to the process that the user runs, and end with it.

Conventions: ``loky`` starts workers afresh (no fork of a process that runs PyTorch) and needs no
``__main__`` guard in scripts and notebooks. An exception ends the work in hand, too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from multiprocessing import resource_tracker
from typing import Any

from loky import ProcessPoolExecutor
from loky.backend import resource_tracker as loky_tracker

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

    def submit(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        with _unheard_interrupts():
            future: Future[Any] = pool.submit(function, *arguments)
        return future

    try:
        yield submit
    except BaseException:
        pool.shutdown(wait=True, kill_workers=True)
        raise
    pool.shutdown(wait=True)


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
