"""Every command line of the documentation, page by page from top to bottom, on small audio."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx2
import pytest

import documents
import processes
import webservers
from cli.conftest import Run
from conftest import REPOSITORY
from detectors.test_service import Service
from documented_world import ASSUMED, Assumed, write_world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

LESS = {
    "--rows 10000000": "--rows 5000",
    "--rows 1000000": "--rows 5000",
    "--sizes [12]0000 100000": "--sizes 300",
    "--sizes 30000": "--sizes 300",
    "--shards 64 --": "--shards 2 --",
    "--audio DIR": "--audio songs/real --files 2",
    "--only": "--audio songs/real --only",
    "comb_rules.py": "comb_rules.py --pairs 1",
    "--seconds 3600": "--seconds 5",
    "--seconds 170": "--seconds 5",
    "--images data": "--images data --epochs 1 --init none",
    "--images spectrograms": "--images spectrograms --epochs 1 --init none",
    "--epochs 6": "--epochs 1",
    "--csv tables": "--epochs 1 --init none --csv tables",
    "--out models/rendered": "--out models/rendered --epochs 1 --init none",
    "--out models/specnn": "--out models/specnn --epochs 1",
    "--out models/gamma": "--out models/gamma --epochs 1",
    "(?<=[_ ])2000": "2",
    "^earwitness train$": "earwitness train --init none --epochs 1",
    "serve --runs runs": "serve --runs runs --port 0",
}
"""Patterns of what stands in a page, and what is run in their place."""

STATUS = {"earwitness datasets check": 1}
"""Status of lines for which a page says another than 0."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    write_world(root)
    return root


@pytest.fixture(scope="module")
def bucket(world: Path) -> Iterator[dict[str, str]]:
    """The datasets as ``s3://bucket/root``; yields the environment of clients."""
    data = world / "data" / "music"
    files = {
        f"root/{path.relative_to(data).as_posix()}": path.read_bytes()
        for path in data.rglob("*")
        if path.is_file()
    }
    with webservers.s3_server(files, "bucket") as environment:
        yield environment


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def here(
    world: Path, bucket: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The folder of a page: our scripts, weights, a hub without a connection, and an array task."""
    from huggingface_hub import constants

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(world / "hub"))
    environment = {
        **bucket,
        "API_KEY": "secret",
        "EARWITNESS_WEIGHTS": str(tmp_path / "weights"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        **{f"SLURM_ARRAY_TASK_{part}": "1" for part in ("ID", "MIN")},
        **{f"SLURM_ARRAY_TASK_{part}": "64" for part in ("COUNT", "MAX")},
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name, place in (("benchmarks", REPOSITORY), ("tests", REPOSITORY), (".venv", None)):
        (tmp_path / name).symlink_to(place / name if place else sys.prefix)
    return tmp_path


def write_shown(text: str, folder: Path, service: Service) -> None:
    """Write blocks whose first line is a comment with a path, as a reader would."""
    for path, content in re.findall(r"```\w+\n# (\S+\.\w+)\n(.*?)```", text, re.DOTALL):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        asked = content.replace("https://api.example.org/v1/detect", service.url)
        (folder / path).write_text(asked, encoding="utf-8")


def visit(words: list[str]) -> tuple[int, str]:
    """Start a server, ask for its page, and end it with Ctrl-C."""
    process = processes.start(words)
    assert process.stdout is not None
    status = httpx2.get(process.stdout.readline().split()[1], trust_env=False).status_code
    process.send_signal(signal.SIGINT)
    code, out, err = processes.finish(process)
    return (code if (status, code) != (200, 130) else 0), out + err


def run_line(line: str, world: Path, run: Run) -> tuple[int, str]:
    """Run a line on less; return its status and what it printed."""
    data = (world / "data").as_posix()
    places = {"(?<=[ =])/data/": f"{data}/", "(?<=[ =])/scratch/": "scratch/"}
    for pattern, less in (places | {r"\$ROOT": f"{data}/music"} | LESS).items():
        line = re.sub(pattern, less, line)
    words = shlex.split(line, comments=True)
    if words[:2] == ["earwitness", "serve"]:
        return visit([sys.executable, "-m", *words])
    if words[0] == "earwitness" and "--engine" not in words:
        code, *printed = run(*words[1:])
    else:
        start = [sys.executable, "-m"] if words[0] == "earwitness" else []
        code, *printed = processes.finish(processes.start([*start, *words]))
    return code, "".join(printed)


def expected_status(line: str) -> int:
    return next((status for start, status in STATUS.items() if line.startswith(start)), 0)


PAGES = [page for page in documents.PAGES if any(map(documents.is_run, documents.lines_of(page)))]


@pytest.mark.parametrize("page", PAGES, ids=documents.name_of)
def test_a_page_runs_from_top_to_bottom(
    page: Path, world: Path, here: Path, service: Service, run: Run
) -> None:
    def must_run(command: str) -> None:
        code, *printed = run(*shlex.split(command))
        assert code == 0, printed

    ASSUMED.get(documents.name_of(page), Assumed()).write(here, world, must_run)
    write_shown(page.read_text(encoding="utf-8"), here, service)
    failed = {}
    for line in filter(documents.is_run, documents.lines_of(page)):
        code, printed = run_line(line, world, run)
        if code != expected_status(line):
            failed[line] = (code, printed[-2000:])
    assert not failed
