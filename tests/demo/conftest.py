"""One small run of the demo, shared by all tests of it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from bench.test_steps import Watching
from earwitness.bench.run import BenchmarkRun
from earwitness.cli import bench as command
from earwitness.cli import console
from earwitness.demo.run import Settings, prepare_demo, run_demo

SMALL = Settings(n_tracks=12, n_songs=4, n_captions=2, clip_s=6.0)


@dataclass(frozen=True)
class SmallDemo:
    """A finished demo: its folder, its steps, what it printed, its result."""

    out: Path
    steps: list[str]
    terminal: str
    done: BenchmarkRun


@pytest.fixture(scope="session")
def small_demo(tmp_path_factory: pytest.TempPathFactory) -> SmallDemo:
    """The demo at seed 0 on a workspace that is made in seconds."""
    out, steps = tmp_path_factory.mktemp("demo") / "out", list[str]()
    printed = Console(file=io.StringIO(), width=110, highlight=False, soft_wrap=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EARWITNESS_WEIGHTS", raising=False)
        patch.setenv("EARWITNESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(console, "out", printed)
        prepare_demo(out, SMALL, on_step=steps.append)
        done = run_demo(out, SMALL, on_step=steps.append, watcher=Watching())
        command._print_demo(done, out)
    return SmallDemo(out, steps, printed.file.getvalue(), done)  # type: ignore[attr-defined]
