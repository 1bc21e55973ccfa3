"""Stages in a row, each done only where something that it depends on has changed.

Conventions: a stage has parts (one a detector for scoring, else a single one named ``""``); a part
is known by its inputs, name → digest, and leaves files below the run folder. ``stages.json`` holds
inputs and SHA-256 of the files of every part that is done, and is written when a stage ends, so
that whatever ends a run, the next one does again just what has no record. A part is done again
where an input differs from its record, or a file is not there or not what was written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from earwitness.core.errors import RunError, StoppedError
from earwitness.core.io import sha256_of, write_json

STAGES_JSON = "stages.json"
NOT_DONE = "not done yet"
"""Why a part is done that was never done."""

_VERSION = 1

_SHOWN = 40

Inputs = Mapping[str, str]
"""What a part depends on: name → digest, or a short value as it is."""


@dataclass(frozen=True)
class Record:
    """A part that was done.

    Attributes:
        inputs: What it depended on.
        files: What it left: path below the run folder → SHA-256.
    """

    inputs: dict[str, str]
    files: dict[str, str]


@dataclass
class PipelineState:
    """What is done in a run folder, by stage and part.

    Attributes:
        out: The run folder.
        stages: Stage → part → record.
    """

    out: Path
    stages: dict[str, dict[str, Record]] = field(default_factory=dict)

    def files(self, stage: str) -> dict[str, str]:
        """Return the files that all parts of a stage left, with their SHA-256."""
        parts = self.stages.get(stage, {}).values()
        return {name: sha256 for part in parts for name, sha256 in part.files.items()}

    def forget(self, stage: str, parts: Collection[str]) -> None:
        """Take parts for not done; their files stay until they are done again."""
        known = self.stages.get(stage, {})
        self.stages[stage] = {part: known[part] for part in known if part not in parts}
        self.write()

    def write(self) -> None:
        """Write ``stages.json``, atomically."""
        stages = {
            stage: {part: vars(record) for part, record in parts.items()}
            for stage, parts in self.stages.items()
        }
        write_json(self.out / STAGES_JSON, {"version": _VERSION, "stages": stages})


@dataclass(frozen=True)
class Stage:
    """One thing to do.

    Attributes:
        name: Its name.
        inputs: Tells what each part depends on; asked when all stages before it are done.
        run: Does the parts that are named; returns the files that each left.
    """

    name: str
    inputs: Callable[[PipelineState], Mapping[str, Inputs]]
    run: Callable[[PipelineState, Sequence[str]], Mapping[str, Sequence[Path]]]


class Watcher(Protocol):
    """Told of how stages go."""

    def plan(self, stages: Sequence[str]) -> None:
        """These are the stages, in order."""

    def begin(self, stage: str, stale: Mapping[str, str], n_parts: int) -> None:
        """A stage begins; ``stale`` says of each part that is to be done why."""

    def skip(self, stage: str) -> None:
        """A stage has nothing to do."""

    def end(self, stage: str) -> None:
        """A stage is done."""


def run_stages(stages: Sequence[Stage], out: Path, watcher: Watcher) -> list[str]:
    """Do whatever is not done yet, in order.

    Stages and parts that are no longer among these leave: their files are deleted where they are
    still what was written.

    Args:
        stages: What there is to do.
        out: The run folder.
        watcher: Told of how it goes.

    Returns:
        The stages that were done; none where nothing had changed.

    Raises:
        StoppedError: Ctrl-C was pressed.
        RunError: ``stages.json`` cannot be read.
    """
    watcher.plan([stage.name for stage in stages])
    ledger = read_ledger(out)
    _leave(ledger, {stage.name for stage in stages})
    done = []
    for stage in stages:
        inputs = stage.inputs(ledger)
        stale = _clear(ledger, stage.name, inputs)
        if not stale:
            watcher.skip(stage.name)
            continue
        watcher.begin(stage.name, stale, len(inputs))
        left = _run(stage, ledger, list(stale))
        records = ledger.stages.get(stage.name, {})
        for part in stale:
            files = {_below(path, out): sha256_of(path) for path in left[part]}
            records[part] = Record(dict(inputs[part]), files)
        ledger.stages[stage.name] = {part: records[part] for part in inputs}
        ledger.write()
        watcher.end(stage.name)
        done.append(stage.name)
    return done


def read_ledger(out: Path) -> PipelineState:
    """Read what is done in a run folder; nothing is where there is no ``stages.json``.

    Raises:
        RunError: The file is not what ``PipelineState.write`` writes, or names a file outside.
    """
    path = out / STAGES_JSON
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != _VERSION:
            raise ValueError(f"version {content['version']}, expected {_VERSION}")
        stages = {
            str(stage): {str(part): _record(record) for part, record in parts.items()}
            for stage, parts in content["stages"].items()
        }
    except FileNotFoundError:
        return PipelineState(out)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(
            f"{path}: cannot be read ({error}); delete it, and every stage is looked at anew"
        ) from None
    return PipelineState(out, stages)


def _record(content: Any) -> Record:
    inputs = {str(name): str(digest) for name, digest in content["inputs"].items()}
    files = {str(name): str(sha256) for name, sha256 in content["files"].items()}
    for name in files:
        if PurePosixPath(name).is_absolute() or ".." in name.split("/") or "\\" in name:
            raise ValueError(f"{name} lies outside the run folder")
    return Record(inputs, files)


def _run(stage: Stage, ledger: PipelineState, parts: Sequence[str]) -> Mapping[str, Sequence[Path]]:
    try:
        return stage.run(ledger, parts)
    except KeyboardInterrupt:
        raise StoppedError(
            f"stopped at {stage.name}; what is finished is kept in {ledger.out}; "
            "the same command resumes"
        ) from None


def _clear(ledger: PipelineState, stage: str, inputs: Mapping[str, Inputs]) -> dict[str, str]:
    """Return the parts to be done and why; what they and parts that are gone left is deleted."""
    known = ledger.stages.get(stage, {})
    found = {part: _reason(ledger.out, known.get(part), now) for part, now in inputs.items()}
    stale = {part: reason for part, reason in found.items() if reason}
    gone = {part: known[part] for part in known if part not in inputs or part in stale}
    kept = {part: record for part, record in known.items() if part not in gone}
    still = {name for record in kept.values() for name in record.files}
    if gone:
        _forget(ledger, stage, kept)
        for record in gone.values():
            _delete(ledger.out, {n: s for n, s in record.files.items() if n not in still})
    return stale


def _leave(ledger: PipelineState, stages: set[str]) -> None:
    """Forget stages that are no longer asked for."""
    for stage in [name for name in ledger.stages if name not in stages]:
        files = ledger.files(stage)
        _forget(ledger, stage, {})
        _delete(ledger.out, files)


def _forget(ledger: PipelineState, stage: str, kept: dict[str, Record]) -> None:
    ledger.stages[stage] = kept
    if not kept:
        del ledger.stages[stage]
    ledger.write()


def _delete(out: Path, files: Mapping[str, str]) -> None:
    for name, sha256 in files.items():
        path = out / name
        if path.is_file() and sha256_of(path) == sha256:
            path.unlink()
            _tidy(path.parent, out)


def _tidy(folder: Path, out: Path) -> None:
    """Delete folders that are empty now, up to the run folder."""
    while folder != out and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _reason(out: Path, record: Record | None, inputs: Inputs) -> str | None:
    """Return why a part has to be done, ``None`` where it has not."""
    if record is None:
        return NOT_DONE
    return next(_changes(out, record, inputs), None)


def _changes(out: Path, record: Record, inputs: Inputs) -> Iterator[str]:
    for name in [*inputs, *(name for name in record.inputs if name not in inputs)]:
        if name not in record.inputs:
            yield f"{name} is new"
        elif name not in inputs:
            yield f"{name} is gone"
        elif record.inputs[name] != inputs[name]:
            yield _change(name, record.inputs[name], inputs[name])
    for name, sha256 in record.files.items():
        if not (out / name).is_file():
            yield f"{name} is not there"
        elif sha256_of(out / name) != sha256:
            yield f"{name} is not what was written"


def _change(name: str, was: str, now: str) -> str:
    short = len(was) <= _SHOWN and len(now) <= _SHOWN
    return f"{name} was {was}, is {now}" if short else f"{name} changed"


def _below(path: Path, out: Path) -> str:
    return path.relative_to(out).as_posix()
