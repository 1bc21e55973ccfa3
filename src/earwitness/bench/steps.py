"""Run the stages of a pipeline whose inputs or output files have changed.

A stage has parts: one per detector for scoring, otherwise a single one named ``""``.
``stages.json`` records the inputs of every part and the SHA-256 of its files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from earwitness.core.errors import RunError, StoppedError
from earwitness.core.io import sha256_of, write_json

_STAGES_JSON, _VERSION = "stages.json", 1
NOT_DONE = "not done yet"
"""Reason of a part without a record."""

Inputs = Mapping[str, str]
"""Inputs of a part: name → digest, or the value itself if it is short."""


@dataclass(frozen=True)
class Record:
    """A finished part: its inputs, and its files with their SHA-256."""

    inputs: dict[str, str]
    files: dict[str, str]


@dataclass
class PipelineState:
    """The finished parts of a run folder: stage → part → record."""

    out: Path
    stages: dict[str, dict[str, Record]] = field(default_factory=dict)

    def files(self, stage: str) -> dict[str, str]:
        """Return the files of a stage, with their SHA-256."""
        parts = self.stages.get(stage, {}).values()
        return {name: sha256 for part in parts for name, sha256 in part.files.items()}

    def forget(self, stage: str, parts: Collection[str]) -> None:
        """Drop the records of some parts; their files are kept until the stage runs again."""
        kept = {p: record for p, record in self.stages.get(stage, {}).items() if p not in parts}
        self._update(stage, kept)

    def _update(self, stage: str, records: dict[str, Record]) -> None:
        """Replace the records of a stage, and write ``stages.json``."""
        self.stages[stage] = records
        if not records:
            del self.stages[stage]
        stages = {
            name: {part: vars(record) for part, record in parts.items()}
            for name, parts in self.stages.items()
        }
        write_json(self.out / _STAGES_JSON, {"version": _VERSION, "stages": stages})

    def _keep(self, stage: str, parts: Collection[str]) -> None:
        """Drop the records of all other parts, and delete their files unless they were edited."""
        known = self.stages.get(stage, {})
        if dropped := [record for part, record in known.items() if part not in parts]:
            self._update(stage, {part: known[part] for part in known if part in parts})
            still = self.files(stage)
            for record in dropped:
                for name, sha256 in record.files.items():
                    if name not in still:
                        _delete(self.out, name, sha256)

    def _record(
        self, stage: str, inputs: Mapping[str, Inputs], written: Mapping[str, Sequence[Path]]
    ) -> None:
        records = self.stages.get(stage, {})
        for part, paths in written.items():
            files = {path.relative_to(self.out).as_posix(): sha256_of(path) for path in paths}
            records[part] = Record(dict(inputs[part]), files)
        self._update(stage, {part: records[part] for part in inputs})

    def _changes(self, stage: str, part: str, inputs: Inputs) -> Iterator[str]:
        """Yield the reasons to run a part again."""
        record = self.stages.get(stage, {}).get(part)
        if record is None:
            yield NOT_DONE
            return
        for name in [*inputs, *(name for name in record.inputs if name not in inputs)]:
            if name not in record.inputs:
                yield f"{name} is new"
            elif name not in inputs:
                yield f"{name} is gone"
            elif (was := record.inputs[name]) != (now := inputs[name]):
                is_short = max(len(was), len(now)) <= 40
                yield f"{name} was {was}, is {now}" if is_short else f"{name} changed"
        for name, sha256 in record.files.items():
            if not (self.out / name).is_file():
                yield f"{name} is missing"
            elif sha256_of(self.out / name) != sha256:
                yield f"{name} was edited"


@dataclass(frozen=True)
class Stage:
    """One stage of a pipeline.

    Attributes:
        inputs: Returns the inputs of each part; called after all earlier stages.
        run: Runs the given parts; returns the files that each has written.
    """

    name: str
    inputs: Callable[[PipelineState], Mapping[str, Inputs]]
    run: Callable[[PipelineState, Sequence[str]], Mapping[str, Sequence[Path]]]


def single(
    name: str,
    inputs: Callable[[PipelineState], Inputs],
    run: Callable[[PipelineState], Sequence[Path]],
) -> Stage:
    """Return a stage of one part."""
    return Stage(name, lambda state: {"": inputs(state)}, lambda state, _: {"": run(state)})


class Watcher(Protocol):
    """Progress callbacks of a pipeline."""

    def plan(self, stages: Sequence[str]) -> None:
        """Called first, with all stages in order."""

    def begin(self, stage: str, stale: Mapping[str, str], n_parts: int) -> None:
        """Called before a stage, with the parts to run and the reason of each."""

    def skip(self, stage: str) -> None:
        """Called for an unchanged stage."""

    def end(self, stage: str) -> None:
        """Called after a stage."""


def run_stages(stages: Sequence[Stage], out: Path, watcher: Watcher) -> list[str]:
    """Run the changed parts of all stages, in order.

    Files of stages and parts that are no longer asked for are deleted, unless they were edited.

    Returns:
        The names of the stages that ran.

    Raises:
        StoppedError: Ctrl-C was pressed.
        RunError: ``stages.json`` cannot be read.
    """
    names = [stage.name for stage in stages]
    watcher.plan(names)
    state = read_state(out)
    for name in [name for name in state.stages if name not in names]:
        state._keep(name, ())
    done = []
    for stage in stages:
        inputs = stage.inputs(state)
        reasons = {p: next(state._changes(stage.name, p, inputs[p]), None) for p in inputs}
        stale = {part: reason for part, reason in reasons.items() if reason is not None}
        state._keep(stage.name, inputs.keys() - stale.keys())
        if not stale:
            watcher.skip(stage.name)
            continue
        watcher.begin(stage.name, stale, len(inputs))
        try:
            written = stage.run(state, list(stale))
        except KeyboardInterrupt:
            raise StoppedError(
                f"stopped at {stage.name}; finished stages are kept in {out}; "
                "the same command resumes"
            ) from None
        state._record(stage.name, inputs, written)
        watcher.end(stage.name)
        done.append(stage.name)
    return done


def read_state(out: Path) -> PipelineState:
    """Read ``stages.json`` of a run folder, if it has one.

    Raises:
        RunError: The file is not valid, or names a file outside the folder.
    """
    path = out / _STAGES_JSON
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != _VERSION:
            raise ValueError(f"version {content['version']}, expected {_VERSION}")
        stages = {
            str(stage): {str(part): _parse_record(record) for part, record in parts.items()}
            for stage, parts in content["stages"].items()
        }
    except FileNotFoundError:
        return PipelineState(out)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(
            f"{path}: cannot be read ({error}); delete it to check every stage again"
        ) from None
    return PipelineState(out, stages)


def _parse_record(content: Any) -> Record:
    inputs = {str(name): str(digest) for name, digest in content["inputs"].items()}
    files = {str(name): str(sha256) for name, sha256 in content["files"].items()}
    for name in files:
        if PurePosixPath(name).is_absolute() or ".." in name.split("/") or "\\" in name:
            raise ValueError(f"{name} is outside the run folder")
    return Record(inputs, files)


def _delete(out: Path, name: str, sha256: str) -> None:
    """Delete a file that is as it was written, and the folders that are empty without it."""
    path = out / name
    if not path.is_file() or sha256_of(path) != sha256:
        return
    path.unlink()
    for folder in path.relative_to(out).parents:
        if folder == Path() or any((out / folder).iterdir()):
            return
        (out / folder).rmdir()
