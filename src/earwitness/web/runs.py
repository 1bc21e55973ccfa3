"""Run folders below a folder, as pages: a run is a folder with a ``metrics.json``.

Clients name runs and audio by random tokens; nothing that they send is a path.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from earwitness.evaluation.schema import Metrics, Mistake, read_metrics
from earwitness.report.page import audio_finder
from earwitness.scoring.run_folder import RUN_JSON
from earwitness.web.items import RunItems, read_items

_MAX_DEPTH = 3
_METRICS = "metrics.json"


@dataclass
class Run:
    """A run and the audio that its page links.

    Attributes:
        token: Its random name in addresses.
        name: Its folder, relative to that of all runs.
        path: Its ``metrics.json``.
        audio: Paths of mistakes, by token.
        changed_ns: When the file changed last before its page was made.
        page: Its page; empty if it was not made.
        items: Its items; ``None`` if they were not read.
    """

    token: str
    name: str
    path: Path
    audio: dict[str, Path] = field(default_factory=dict)
    changed_ns: int = 0
    page: str = ""
    items: RunItems | None = None

    @property
    def folder(self) -> Path:
        """Its folder."""
        return self.path.parent

    @property
    def has_items(self) -> bool:
        """Whether it is the folder of a benchmark or of predictions, too."""
        return (self.folder / RUN_JSON).is_file()

    def forget_old(self) -> None:
        """Drop what was made if its results have changed."""
        changed_ns = self.path.stat().st_mtime_ns
        if changed_ns != self.changed_ns:
            self.page, self.items, self.changed_ns = "", None, changed_ns

    def read(self) -> Metrics:
        """Return its results; ``PredictionsError`` if the file is not valid."""
        return read_metrics(self.path)

    def read_items(self) -> RunItems:
        """Return its items, read once until its results change; see ``items.read_items``."""
        self.forget_old()
        self.items = self.items or read_items(self.folder)
        return self.items

    def link_audio(self, metrics: Metrics, mistake: Mistake) -> str | None:
        """Return the address of a mistake's audio on the server, ``None`` if there is none."""
        link = audio_finder(metrics, Path("/page.html"), [self.path.parent])(mistake)
        if link is None:
            return None
        path = Path("/") / unquote(urlsplit(link).path)
        token = secrets.token_urlsafe(16)
        self.audio[token] = path
        return f"/runs/{self.token}/audio/{token}"


class Runs:
    """The runs below a folder, found again at each request; ``None`` has none."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._runs: dict[Path, Run] = {}

    def all(self) -> list[Run]:
        """Return the runs by name."""
        found = [] if self.folder is None else sorted(_find(self.folder, _MAX_DEPTH))
        for path in found:
            if path not in self._runs:
                name = path.parent.relative_to(self.folder or path).as_posix()
                self._runs[path] = Run(secrets.token_urlsafe(16), name, path)
        return [self._runs[path] for path in found]

    def get(self, token: str) -> Run | None:
        """Return a run by its token."""
        return next((run for run in self.all() if run.token == token), None)


def _find(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / _METRICS).is_file():
        yield folder / _METRICS
    if depth:
        for child in folder.iterdir():
            if child.is_dir() and not child.is_symlink() and not child.name.startswith("."):
                yield from _find(child, depth - 1)
