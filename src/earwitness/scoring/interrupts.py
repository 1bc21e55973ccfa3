"""Ctrl-C that lets work in hand end well.

Conventions: the first Ctrl-C only asks to stop; a second one interrupts at once.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def held_interrupts() -> Iterator[Callable[[], bool]]:
    """Yield what says whether Ctrl-C was pressed inside the block.

    Only the main thread of a process may listen to signals; elsewhere nothing is held back.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def hear(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal calls it
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.signal(signal.SIGINT, hear)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
