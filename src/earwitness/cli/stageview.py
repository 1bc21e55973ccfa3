"""One progress display over the stages of a benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from earwitness.cli import console
from earwitness.workflows.stages import NOT_DONE


class StageView:
    """A line a stage: what is done, what is unchanged, how far the one in hand is.

    A context manager; it is a ``Watcher``.
    """

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=9)),
            BarColumn(bar_width=16),
            TimeElapsedColumn(),
            TextColumn("{task.fields[told]}", markup=False, table_column=Column(overflow="fold")),
            console=console.err,
        )
        self._tasks: dict[str, TaskID] = {}
        self._reasons: dict[str, str] = {}
        self._at: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._at is not None:
            self._progress.update(self._tasks[self._at], told="not finished")
        self._progress.stop()

    def plan(self, stages: Sequence[str]) -> None:
        """Show the stages."""
        self._tasks = {
            name: self._progress.add_task(name, start=False, total=1, told="waits")
            for name in stages
        }
        self._progress.start()

    def begin(self, stage: str, stale: Mapping[str, str], n_parts: int) -> None:
        """Show why a stage has something to do."""
        self._at = stage
        self._reasons[stage] = _why(stale, n_parts)
        self._progress.start_task(self._tasks[stage])
        self._progress.update(self._tasks[stage], told=self._reasons[stage])

    def skip(self, stage: str) -> None:
        """Show that a stage has nothing to do."""
        task = self._tasks[stage]
        self._progress.start_task(task)
        self._progress.update(task, completed=1, told="unchanged, skipped")

    def end(self, stage: str) -> None:
        """Show that a stage is done."""
        task = self._tasks[stage]
        self._at = None
        total = self._progress.tasks[task].total
        reason = self._reasons[stage]
        told = "done" if reason == NOT_DONE else f"done again: {reason}"
        self._progress.update(task, completed=total, told=told)
        self._progress.stop_task(task)

    def start_scoring(self, n_to_do: int, n_done: int) -> Callable[[bool], None]:
        """Turn the bar of the stage in hand into one of files; see ``Starting``."""
        task, n_failed = self._tasks[self._at or ""], 0
        self._progress.update(task, total=n_done + n_to_do, completed=n_done)

        def advance(went_well: bool) -> None:
            nonlocal n_failed
            n_failed += not went_well
            self._progress.advance(task)
            self._progress.update(task, told=self._count(task, n_failed))

        return advance

    def _count(self, task: TaskID, n_failed: int) -> str:
        at = self._progress.tasks[task]
        failed = f", {n_failed} failed" if n_failed else ""
        done, total = (console.thousands(int(n or 0)) for n in (at.completed, at.total))
        return f"{done} of {total} files{failed}"


def _why(stale: Mapping[str, str], n_parts: int) -> str:
    """Say why: of the one thing there is to do, or of the first and how many more."""
    part, reason = next(iter(stale.items()))
    if len(stale) == n_parts and len(set(stale.values())) == 1:
        return reason
    n_kept = n_parts - len(stale)
    kept = f"; {n_kept} other{'s' * (n_kept > 1)} kept" if n_kept else ""
    more = f" and {len(stale) - 1} more" if len(stale) > 1 else ""
    return f"{part}{more}: {reason}{kept}"
