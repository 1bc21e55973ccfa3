"""Fixtures that many tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import processes

settings.register_profile("patient", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("patient")

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when the hub's client is first imported
os.environ["HF_HOME"] = os.devnull

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden values and real music; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no folder {SHARED} with golden values and real music")
    return SHARED


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, and no weights in the environment."""
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EARWITNESS_WEIGHTS", raising=False)
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """What a test started ends with it, whether it passed or not."""
    yield
    processes.kill_started()
