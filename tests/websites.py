"""The page of ``earwitness serve`` on loopback, with the detectors comb and box."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import uvicorn

from earwitness.detectors.loading import open_detector
from earwitness.perturb.suites import Entry, Suite
from earwitness.web.app import make_app
from earwitness.web.runs import Runs
from earwitness.web.server import bind
from earwitness.web.songs import Songs

SUITE = Suite(perturbations=(Entry(name="gain_db_-12"),))


class Site(NamedTuple):
    """A running server and its songs."""

    url: str
    songs: Songs


@contextmanager
def web_site(*, runs: Path | None = None, keep: Path | None = None, limit_mb: int = 2) -> Iterator:
    """Serve on a free port of loopback."""
    detectors = [open_detector(name) for name in ("comb", "box")]
    with bind("127.0.0.1", 0) as listener, Songs(detectors, SUITE, keep=keep) as songs:
        app = make_app(songs, Runs(runs), limit_mb=limit_mb)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield Site(f"http://127.0.0.1:{listener.getsockname()[1]}", songs)
        finally:
            server.should_exit = True
            thread.join()


def wait_until(holds: Callable[[], bool], *, seconds: float = 60) -> None:
    """Wait for the server's thread; ``AssertionError`` if nothing comes of it."""
    end_s = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end_s, "still waiting"
        time.sleep(0.02)
