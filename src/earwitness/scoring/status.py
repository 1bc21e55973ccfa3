"""Count the finished rows of runs and shards, which may be running; nothing is locked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from earwitness.core.io import file_stem
from earwitness.core.manifest import Manifest
from earwitness.scoring.file_shards import ShardState, read_states
from earwitness.scoring.merge import find_shards
from earwitness.scoring.options import FORMS
from earwitness.scoring.predict import PART_ROWS, lack_scores
from earwitness.scoring.recorded import (
    recorded_detector,
    recorded_options,
    recorded_plan,
    recorded_recipes,
)
from earwitness.scoring.run_folder import RUN_JSON, read_run
from earwitness.scoring.shards import Shard, read_part, rows_path
from earwitness.scoring.store import STORE_FOLDER, read_scores
from earwitness.splits.manifests import read_manifest


class Progress(NamedTuple):
    """Rows of a run or of a shard.

    Attributes:
        name: Name of the folder.
        n_rows: Rows in all.
        n_done: Rows that every detector has finished.
        n_failed: Those with an error of any detector.
        unit: What is counted: ``files`` by shards of ``audit`` and ``render``.
    """

    name: str
    n_rows: int
    n_done: int
    n_failed: int
    unit: str = "rows"


def read_progress(out: Path) -> list[Progress]:
    """Return the progress of a run folder, or of every shard of the run folders in a folder.

    Shards of ``audit`` and ``render`` are counted by what they state.

    Shards that no folder has are included, with nothing done.

    Raises:
        RunError: There is no run folder, or one cannot be read.
    """
    if states := [*read_states(out).values()]:
        return _count_files(states)
    counted: list[Progress] = []
    begun: dict[int, set[int]] = {}
    n_rows: dict[int, dict[int, int]] = {}
    for place in find_shards([out]):
        run = read_run(place / RUN_JSON) or {}
        counted.append(_count(place, run))
        if shard := run.get("shard"):
            begun.setdefault(shard["of"], set()).update(shard["numbers"])
            counts = zip(*shard["rows"].values(), strict=True)
            n_rows[shard["of"]] = {n: sum(own) for n, own in enumerate(counts, 1)}
    for of, rows in n_rows.items():
        missing = [Shard(number, of) for number in rows if number not in begun[of]]
        counted += [Progress(shard.folder, rows[shard.number], 0, 0) for shard in missing]
    return sorted(counted)


def _count_files(states: Sequence[ShardState]) -> list[Progress]:
    known = {(len(state.n_files), state.number): state for state in states}
    counts = {len(state.n_files): state.n_files for state in states}
    counted = []
    for of, n_files in counts.items():
        for number, n in enumerate(n_files, 1):
            state = known.get((of, number))
            done = (state.n_done, state.n_failed) if state else (0, 0)
            counted.append(Progress(Shard(number, of).folder, n, *done, "files"))
    return sorted(counted)


def _count(place: Path, run: dict[str, Any]) -> Progress:
    read = (_manifest(place, name, run) for name in run["manifests"])
    manifests = [manifest for manifest in read if manifest is not None]
    detectors = [recorded_detector(place, card) for card in run["detectors"]]
    scores = [read_scores([place / STORE_FOLDER], d.card.name) for d in detectors]
    recipes = recorded_recipes(run, manifests)
    options = recorded_options(place, run)
    plan = recorded_plan(manifests, detectors, options, scores, recipes)
    n_done = n_failed = 0
    for jobs in plan.jobs:
        done = [jobs[at] for at in np.flatnonzero(~lack_scores(jobs, plan.tallies)).tolist()]
        n_done += len(done)
        for start in range(0, len(done), PART_ROWS):
            part = done[start : start + PART_ROWS]
            found = (tally.read([tally.key(job) for job in part]) for tally in plan.tallies)
            n_failed += sum(any(score.error for score in row) for row in zip(*found, strict=True))
    return Progress(place.name, sum(map(len, manifests)), n_done, n_failed)


def _manifest(place: Path, name: str, run: dict[str, Any]) -> Manifest | None:
    """Return the rows of a folder; ``None`` if its call has not written them yet."""
    if "shard" in run:
        has_rows = rows_path(place, name).is_file()
        return read_part(place, name).manifest(()) if has_rows else None
    paths = (place / "manifests" / f"{file_stem(name)}.{form}" for form in FORMS)
    return next((read_manifest(path) for path in paths if path.is_file()), None)


def rate_between(before: Sequence[Progress], after: Sequence[Progress], seconds: float) -> float:
    """Return the rows finished per second, by two readings."""
    return (sum(p.n_done for p in after) - sum(p.n_done for p in before)) / seconds
