"""Merge the run folders of shards into what one run would have written.

Prediction, window and error files and manifests are the same bytes. Rows of ``store/`` are in the
order of the manifests, where one run has them in the order of scoring; ``run.json`` is that of the
first shard without its entry ``shard``, and lists other versions and machines in ``earlier``.
``answers/`` of services are those of all shards, each once. A merge that lacks rows is a shard.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.core.errors import RunError, StoppedError
from earwitness.core.io import write_json
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import Predictions
from earwitness.scoring.options import deciding
from earwitness.scoring.predict import PART_ROWS, Plan, lack_scores
from earwitness.scoring.recorded import (
    recorded_detector,
    recorded_options,
    recorded_plan,
    recorded_recipes,
)
from earwitness.scoring.run import RECORDS, score_into_locked
from earwitness.scoring.run_folder import (
    RUN_JSON,
    copy_manifests,
    earlier_calls,
    list_changes,
    read_run,
    refuse_contents,
)
from earwitness.scoring.shards import (
    Lack,
    Part,
    Shard,
    join_parts,
    name_first,
    read_part,
    rows_path,
    shard_numbers,
)
from earwitness.scoring.store import STORE_FOLDER, RowStore, locked, read_scores
from earwitness.scoring.workers import held_interrupts


@dataclass
class Merged:
    """Result of a merge: predictions by path, and what is missing, by shard."""

    written: dict[Path, Predictions]
    lacks: list[Lack]


def find_shards(folders: Iterable[Path]) -> list[Path]:
    """Return run folders; a folder that is none stands for the run folders in it, sorted."""
    found: list[Path] = []
    for folder in folders:
        below = [folder] if (folder / RUN_JSON).is_file() else _runs_in(folder)
        if not below:
            raise RunError(
                f"{folder}: no {RUN_JSON}, expected a run folder that has begun or several"
            )
        found += below
    return found


def _runs_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    inner = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in inner if (path / RUN_JSON).is_file())


def merge_shards(out: Path, folders: Sequence[Path], *, partial: bool = False) -> Merged:
    """Merge run folders of shards into a new folder, which appears once it is complete.

    Args:
        out: An empty or a new folder.
        folders: Run folders of shards, or of partial merges of them; see ``find_shards``.
        partial: Write the rows there are; else missing rows are an error.

    Raises:
        RunError: Shards of different runs, rows in two of them, or missing rows.
        StoppedError: Ctrl-C was pressed; nothing is left of the merge.
    """
    refuse_contents(out)
    places = find_shards(folders)
    if twice := [place for place, n in Counter(p.resolve() for p in places).items() if n > 1]:
        raise RunError(f"{twice[0]}: given twice, expected each shard once")
    runs = [_read_shard(place) for place in places]
    run = _check_same(places, runs)
    places = [place for place in places if _has_rows(place, run)] or places[:1]
    parts = _join(places, run)
    detectors = [recorded_detector(places[0], card) for card in run["detectors"]]
    options = recorded_options(places[0], run)
    manifests = [part.manifest(run["manifests"][part.name]["roots"]) for part in parts]
    recipes = recorded_recipes(run, manifests)
    folders = [place / STORE_FOLDER for place in places]
    scores = [read_scores(folders, detector.card.name) for detector in detectors]
    plan = recorded_plan(manifests, detectors, options, scores, recipes)
    is_there = [~lack_scores(jobs, plan.tallies) for jobs in plan.jobs]
    lacks = _find_lacks(run, manifests, is_there)
    if lacks and not partial:
        raise RunError(f"{out}: incomplete: {name_first(lacks)}. --partial writes the rest")
    if lacks:
        run["shard"]["numbers"] = sorted({n for one in runs for n in one["shard"]["numbers"]})
        parts = [
            Part(part.name, part.table.filter(pl.Series(mask)))
            for part, mask in zip(parts, is_there, strict=True)
        ]
        manifests = [part.manifest(run["manifests"][part.name]["roots"]) for part in parts]
    else:
        del run["shard"]
        _check_digests(places[0], run, manifests)
    with held_interrupts() as should_stop, _appearing(out) as folder:
        write_json(folder / RUN_JSON, run)
        for part in parts if lacks else ():
            part.write(folder)
        copy_manifests(manifests, folder / "manifests", options.format)
        _copy_answers(places, folder)
        _store(folder, plan, is_there, should_stop)
        del plan, scores  # the same is made again from the store
        written = score_into_locked(manifests, detectors, folder, options=options, recipes=recipes)
        _stop_if(should_stop)
    moved = {out / path.relative_to(folder): found for path, found in written.items()}
    return Merged(moved, lacks)


def _read_shard(folder: Path) -> dict[str, Any]:
    run = read_run(folder / RUN_JSON)
    if run is None or "shard" not in run:
        raise RunError(f"{folder}: a whole run, expected the run folder of a shard")
    return run


def _check_same(places: Sequence[Path], runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return ``run.json`` of all shards: that of the first, and versions and machines of others."""
    first = runs[0]
    run: dict[str, Any] = {**first, "shard": dict(first["shard"])}
    for place, other in zip(places[1:], runs[1:], strict=True):
        alike = other | {"shard": other["shard"] | {"numbers": first["shard"]["numbers"]}}
        changes = list_changes(first, alike)
        for what, names in (("manifests", list), ("detectors", _names)):
            if set(here := names(first[what])) != set(there := names(other[what])):
                changes.append(f"{what} were {', '.join(here)}, are {', '.join(there)}")
        for name in deciding("files"):
            was, now = first["options"].get(name), other["options"].get(name)
            changes += [f"option {name} was {was}, is {now}"] if was != now else []
        if changes:
            raise RunError(f"{place}: of another run than {places[0]}: {'; '.join(changes)}")
        run["earlier"] = _union(run["earlier"], earlier_calls(other, run))
    return run


def _has_rows(place: Path, run: Mapping[str, Any]) -> bool:
    """Return whether a shard has its rows; one that was killed as it began has none."""
    return all(rows_path(place, name).is_file() for name in run["manifests"])


def _names(cards: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(card["name"]) for card in cards]


def _union(first: list[Any], second: list[Any]) -> list[Any]:
    return [*first, *(value for value in second if value not in first)]


def _join(places: Sequence[Path], run: Mapping[str, Any]) -> list[Part]:
    """Return the rows of all shards by manifest; ``RunError`` if two of them have one row."""
    joined = []
    for name in run["manifests"]:
        parts = [read_part(place, name) for place in places]
        part = join_parts(parts)
        if (twice := part.positions.filter(part.positions.is_duplicated())).len():
            one, other, *_ = (
                place
                for place, own in zip(places, parts, strict=True)
                if (own.positions == twice[0]).any()
            )
            raise RunError(
                f"{other}: overlaps {one}: both have row {twice[0] + 1} of {name} (and "
                f"{twice.n_unique() - 1} more), expected each row once"
            )
        joined.append(part)
    return joined


def _find_lacks(
    run: Mapping[str, Any], manifests: Sequence[Manifest], is_there: Sequence[NDArray[np.bool_]]
) -> list[Lack]:
    shard = run["shard"]
    n_there = Counter(
        number
        for manifest, mask in zip(manifests, is_there, strict=True)
        for number, there in zip(shard_numbers(manifest, shard["of"]), mask, strict=True)
        if there
    )
    lacks = []
    for number in range(1, shard["of"] + 1):
        one = Shard(number, shard["of"])
        n_rows = sum(counts[number - 1] for counts in shard["rows"].values())
        if n_there[number] < n_rows:
            lacks.append(Lack(one, n_rows - n_there[number], n_rows, shard["command"]))
    return lacks


def _check_digests(place: Path, run: Mapping[str, Any], manifests: Sequence[Manifest]) -> None:
    for manifest in manifests:
        if manifest.digest != run["manifests"][manifest.name]["digest"]:
            raise RunError(
                f"{place}: rows of {manifest.name} have another digest than the manifest, "
                "expected the same; a file of a shard was changed"
            )


def _store(
    folder: Path,
    plan: Plan,
    is_there: Sequence[NDArray[np.bool_]],
    should_stop: Callable[[], bool],
) -> None:
    """Write the scores of the rows that are there into the stores of a folder, each once."""
    for tally in plan.tallies:
        both = zip(plan.jobs, is_there, strict=True)
        jobs = (jobs[at] for jobs, mask in both for at in np.flatnonzero(mask).tolist())
        keys = list(dict.fromkeys(map(tally.key, jobs)))
        with RowStore(folder / STORE_FOLDER, tally.detector.card.name) as store:
            for start in range(0, len(keys), PART_ROWS):
                part = keys[start : start + PART_ROWS]
                for key, score in zip(part, tally.read(part), strict=True):
                    _stop_if(should_stop)
                    store.add(key, score)


def _copy_answers(places: Sequence[Path], folder: Path) -> None:
    """Copy what services answered, each line once; a torn last line is left out."""
    lines: dict[str, dict[bytes, None]] = {}
    for place in places:
        for path in sorted((place / RECORDS).glob("*.jsonl")):
            whole = (line for line in path.read_bytes().splitlines(True) if line.endswith(b"\n"))
            lines.setdefault(path.name, {}).update(dict.fromkeys(whole))
    for name, own in lines.items():
        (folder / RECORDS).mkdir(exist_ok=True)
        (folder / RECORDS / name).write_bytes(b"".join(own))


def _stop_if(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise StoppedError("stopped; nothing was merged")


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """Yield a locked folder beside ``out`` that takes its place if the block succeeds."""
    folder = out.absolute().with_name(f".{out.absolute().name}.merging")
    with locked(folder):
        for path in folder.iterdir():  # of a merge that was killed
            if path.name != STORE_FOLDER:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in (folder / STORE_FOLDER).glob("*.jsonl"):
            path.unlink()
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    if out.is_dir():
        out.rmdir()  # empty; other systems do not replace it
    folder.rename(out)
