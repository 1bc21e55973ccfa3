"""Fixtures that many tests share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import processes

settings.register_profile("patient", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("patient")

os.environ.setdefault("OMP_NUM_THREADS", "1")  # networks here are small: threads only wait
os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when the hub's client is first imported
os.environ["HF_HOME"] = os.devnull

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests of the demo, the longest that stay together: nobody waits for them."""
    items.sort(key=lambda item: item.path.parent.name != "demo")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep all tests of the demo on one worker, too: they share one run of it."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "tests/demo" if file.startswith("tests/demo/") else file

    return ByFile(config, log)


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


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Returns what puts a package with entry points on the path of imports."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(package: str, *entries: str, group: str = "earwitness.toys") -> Path:
        folder = tmp_path / package
        monkeypatch.syspath_prepend(folder)
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("\n".join((f"[{group}]", *entries)))
        return folder

    return write
