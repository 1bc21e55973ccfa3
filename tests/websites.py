"""The page of ``earwitness serve`` on loopback, with the detectors comb and box."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import soundfile
import uvicorn

import earwitness as ew
from builders import write_comb
from earwitness.core.manifest import Manifest
from earwitness.detectors.loading import open_detector
from earwitness.evaluation.schema import write_metrics
from earwitness.perturb.suites import Entry, Suite
from earwitness.scoring.options import ScoringOptions
from earwitness.scoring.run import score_into_run
from earwitness.web.app import make_app
from earwitness.web.runs import Runs
from earwitness.web.server import bind
from earwitness.web.songs import Songs
from frames import HOSTILE

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


def write_run(folder: Path, *, threshold: float | None = None) -> Path:
    """Write a run of comb: one right, two wrong, one too short for it and one that is text."""
    rng = np.random.default_rng(0)
    fakes = [write_comb(folder.parent / "audio" / f"fake_{n}.wav", n, seconds=6) for n in range(2)]
    names = [*(path.name for path in fakes), HOSTILE.replace("/", ""), "noise.wav", "text.mp3"]
    paths = [folder.parent / "audio" / name for name in names]
    for path, seconds in zip(paths[2:4], (1, 6), strict=True):
        noise = 0.1 * rng.standard_normal(44_100 * seconds)
        soundfile.write(path, noise.clip(-1, 1), 44_100)
    paths[4].write_bytes(b"hello\n" * 50)
    frame = pl.DataFrame({"filepath": names, "target": [1, 0, 0, 1, 0], "skip_time": [0.0] * 5})
    manifest = Manifest("songs", frame, (folder.parent / "audio",))
    options = ScoringOptions(threshold=threshold, num_workers=0)
    score_into_run([manifest], [open_detector("comb")], folder, options=options)
    write_metrics(ew.evaluate([folder], n_resamples=20), folder / "metrics.json")
    return folder


def wait_until(holds: Callable[[], bool], *, seconds: float = 60) -> None:
    """Wait for the server's thread; ``AssertionError`` if nothing comes of it."""
    end_s = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end_s, "still waiting"
        time.sleep(0.02)
