"""Shards of one pass over files into one folder: ``audit`` reads them, ``render`` draws them.

Conventions: a file is in the shard of its first row; see ``shards``. While there are shards, the
folder has ``shards/shard-K-of-N/shard.json`` for each, with what was asked for and how many of its
files are finished. The call without a shard needs all of them finished, and removes them.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from earwitness.core.errors import RunError
from earwitness.core.io import read_model, write_json
from earwitness.core.manifest import Manifest
from earwitness.core.remote import absolute_name, redact
from earwitness.scoring.run_folder import compare, describe_manifests
from earwitness.scoring.shards import Lack, Shard, name_first, shard_numbers
from earwitness.scoring.store import locked

SHARDS_FOLDER = "shards"
SHARD_JSON = "shard.json"

_WRITTEN_EVERY_S = 1.0


class ShardState(BaseModel):
    """What ``shard.json`` has.

    Attributes:
        number: Number of the shard, from 1.
        asked: Manifests and settings of the pass.
        command: Arguments of ``earwitness`` with ``{shard}`` in place of the shard; may be empty.
        n_files: Number of files of every shard.
        n_done: Number of finished files of this one, failed ones included.
        n_failed: Those that could not be read.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    number: int = Field(ge=1)
    asked: dict[str, JsonValue]
    command: list[str]
    n_files: list[int] = Field(min_length=1)
    n_done: int = 0
    n_failed: int = 0


def number_files(manifests: Sequence[Manifest], of: int) -> dict[str, int]:
    """Return the shard of each distinct file, by absolute path; URLs as they are."""
    numbers: dict[str, int] = {}
    for manifest in manifests:
        paths = (absolute_name(os.fspath(path)) for path in manifest.locate_all())
        for path, number in zip(paths, shard_numbers(manifest, of), strict=True):
            numbers.setdefault(path, number)
    return numbers


@dataclass
class ShardPass:
    """A shard in progress: its folder, and the absolute paths of its files, in order."""

    folder: Path
    files: dict[str, None]
    state: ShardState

    def counting(self, advance: Callable[[bool], None]) -> Callable[[bool], None]:
        """Return ``advance``, called once a file, which also counts for ``shard.json``."""
        written_at = time.monotonic()

        def count(succeeded: bool) -> None:
            nonlocal written_at
            self.state.n_done += 1
            self.state.n_failed += not succeeded
            advance(succeeded)
            if time.monotonic() - written_at > _WRITTEN_EVERY_S:
                self.write()
                written_at = time.monotonic()

        return count

    def write(self) -> None:
        """Write ``shard.json``."""
        write_json(self.folder / SHARD_JSON, self.state.model_dump(mode="json"))


@contextmanager
def shard_pass(
    out: Path,
    shard: Shard,
    manifests: Sequence[Manifest],
    settings: Mapping[str, Any],
    command: Sequence[str] = (),
) -> Iterator[ShardPass]:
    """Lock the folder of a shard, and record how far it comes.

    Args:
        out: Folder of the whole pass.
        shard: The shard.
        manifests: All manifests of the pass.
        settings: What decides its results; the same in all shards.
        command: See ``ShardState``.

    Raises:
        RunError: The shard is in use, or its folder cannot be written.
    """
    numbers = number_files(manifests, shard.of)
    n_files = Counter(numbers.values())
    state = ShardState(
        number=shard.number,
        asked=_asked(manifests, settings),
        command=[redact(word) for word in command],
        n_files=[n_files[number] for number in range(1, shard.of + 1)],
    )
    files = dict.fromkeys(path for path, number in numbers.items() if number == shard.number)
    folder = out / SHARDS_FOLDER / shard.folder
    with locked(folder):
        own = ShardPass(folder, files, state)
        own.write()
        try:
            yield own
        finally:
            own.write()


@contextmanager
def joined_shards(
    out: Path, manifests: Sequence[Manifest], settings: Mapping[str, Any]
) -> Iterator[list[Path]]:
    """Yield the folders of all shards, if there are any; remove them if the block succeeds.

    Raises:
        RunError: They are of another pass, or one is missing or unfinished.
    """
    states = read_states(out)
    if states:
        _check_same(states, _asked(manifests, settings))
        if lacks := _find_lacks([*states.values()]):
            raise RunError(
                f"{out}: incomplete: {name_first(lacks)}. Without {out / SHARDS_FOLDER} this "
                "command does all itself"
            )
    yield [*states]
    if states:
        shutil.rmtree(out / SHARDS_FOLDER, ignore_errors=True)


def read_states(out: Path) -> dict[Path, ShardState]:
    """Return the states of the shards in a folder, by their folders, sorted."""
    return {
        path.parent: read_model(
            path, ShardState, error=RunError, expected="the state of a shard of audit or render"
        )
        for path in sorted((out / SHARDS_FOLDER).glob(f"*/{SHARD_JSON}"))
    }


def _asked(manifests: Sequence[Manifest], settings: Mapping[str, Any]) -> dict[str, JsonValue]:
    return {"manifests": describe_manifests(manifests), **settings}


def _check_same(states: Mapping[Path, ShardState], asked: Mapping[str, Any]) -> None:
    of = len(next(iter(states.values())).n_files)
    now = {"count": of, **asked}
    for folder, state in states.items():
        was = {"count": len(state.n_files), **state.asked}
        if changes := [*compare("shard", was, now, sorted(was.keys() | now.keys()))]:
            raise RunError(
                f"{folder}: of another pass: {'; '.join(changes)}; expected shards of this one"
            )


def _find_lacks(states: Sequence[ShardState]) -> list[Lack]:
    n_done = {state.number: state.n_done for state in states}
    counts, command = states[0].n_files, states[0].command
    return [
        Lack(Shard(number, len(counts)), n - n_done.get(number, 0), n, command, "files")
        for number, n in enumerate(counts, 1)
        if n_done.get(number, 0) < n
    ]
