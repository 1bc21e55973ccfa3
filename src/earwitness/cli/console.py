"""Console output: results on stdout, progress and notes on stderr."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from earwitness.core.remote import redact


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    has_width = stream.isatty() or "COLUMNS" in os.environ
    width = None if has_width else 110  # the comparison table fits
    return Console(stderr=stderr, highlight=False, soft_wrap=True, width=width)


out, err = _console(stderr=False), _console(stderr=True)


class _Speed(ProgressColumn):
    """Items per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} {self._unit}/s" if speed else f"– {self._unit}/s", style="dim")


@contextlib.contextmanager
def progress_bar(
    label: str, total: int, unit: str = "files", *, may_end_early: bool = False
) -> Iterator[Callable[[bool], None]]:
    """Show a progress bar; yield a function to call after each file with whether it succeeded.

    With ``may_end_early`` the bar is complete when the block ends without an error.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(unit),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[failed]}", style="yellow"),
    )
    n_failed = 0
    with Progress(*columns, console=err) as progress:
        task = progress.add_task(label, total=total, failed="")

        def advance(went_well: bool) -> None:
            nonlocal n_failed
            n_failed += not went_well
            progress.update(task, advance=1, failed=f"{n_failed} failed" if n_failed else "")

        yield advance
        if may_end_early:
            progress.update(task, total=progress.tasks[0].completed)


@contextlib.contextmanager
def download_bar(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """Yield a function of bytes done and total that shows a download bar."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    )
    progress = Progress(*columns, console=err)
    task = progress.add_task(label, total=None)

    def show(n_done: int, n_total: int | None) -> None:
        progress.start()
        progress.update(task, completed=n_done, total=n_total)

    try:
        yield show
    finally:
        progress.stop()


def echo(text: object) -> None:
    """Print text on stdout; brackets are not markup."""
    out.print(redact(text) if isinstance(text, str) else text, markup=False)


def remark(*texts: str) -> None:
    """Print notes on stderr."""
    for text in texts:
        err.print(f"note: {redact(text)}", markup=False)


def frequent(failures: Iterable[tuple[str, object]], n_shown: int = 5) -> list[str]:
    """Return the most frequent of reasons with their files: its count, and one file if known."""
    files: dict[str, list[object]] = {}
    for reason, path in failures:
        files.setdefault(reason, []).append(path)
    most = sorted(files.items(), key=lambda item: -len(item[1]))[:n_shown]
    return [f"{len(p)} × {why}{f' (as {p[0]})' if p[0] else ''}" for why, p in most]


class _Remarks(logging.Handler):
    """Prints log messages of the library, such as of a broken plug-in."""

    def emit(self, record: logging.LogRecord) -> None:
        remark(record.getMessage())


logging.getLogger("earwitness").addHandler(_Remarks())


def thousands(n: int) -> str:
    """Format a count with spaces between thousands: ``8 995``."""
    return f"{n:,}".replace(",", " ")


_LABEL_WIDTH = 16


def labelled_lines(fields: Iterable[tuple[str, str]], width: int) -> list[Text]:
    """Return fields as labels with wrapped text; paths and hashes are not broken."""
    room = max(20, min(width, 100) - _LABEL_WIDTH - 2)
    wrapper = textwrap.TextWrapper(room, break_on_hyphens=False, break_long_words=False)
    lines = []
    for label, text in fields:
        first, *others = wrapper.wrap(text) or [""]
        line = Text("  ").append(label.ljust(_LABEL_WIDTH), style="dim").append(first)
        lines += [line, *(Text(" " * (_LABEL_WIDTH + 2) + other) for other in others)]
    return lines
