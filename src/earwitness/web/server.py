"""The server: uvicorn on a socket that is bound before anything is announced."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn

from earwitness.core.errors import UsageError
from earwitness.detectors.base import AnyDetector
from earwitness.perturb.suites import Suite
from earwitness.web.app import make_app
from earwitness.web.runs import Runs
from earwitness.web.songs import Songs


def run_server(
    detectors: Sequence[AnyDetector],
    suite: Suite,
    *,
    host: str,
    public_name: str | None,
    port: int,
    runs: Path | None,
    keep: Path | None,
    time_limit_s: float,
    on_start: Callable[[str], None],
) -> None:
    """Serve until interrupted or terminated; ``UsageError`` if the address cannot be used."""
    # uvicorn raises a signal again at its end, and the default of SIGTERM would keep the uploads.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    listener = bind(host, port)
    shown = f"[{host}]" if ":" in host else host
    songs = Songs(detectors, suite, keep=keep, time_limit_s=time_limit_s)
    with listener, songs:
        app = make_app(songs, Runs(runs), host=host, public_name=public_name)
        config = uvicorn.Config(
            app, log_level="warning", server_header=False, timeout_graceful_shutdown=3
        )
        on_start(f"http://{shown}:{listener.getsockname()[1]}/")
        uvicorn.Server(config).run(sockets=[listener])


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address; ``UsageError`` if it cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()  # so that the address can be opened as soon as it is shown
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageError(f"--host {host} --port {port}: {error}") from error
    return listener
