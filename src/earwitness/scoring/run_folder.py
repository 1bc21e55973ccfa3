"""Describe a run in its folder, and compare it with what is to be resumed.

A run folder::

    run.json                          options, cards, weight hashes, manifest digests, versions
    store/<detector>.jsonl            scores of finished files
    manifests/<name>.csv              the manifests
    preds/<manifest>/<detector>.csv   one row out per row in; <detector>_windows.csv for windows;
                                      with the option ``format``, all of these as Parquet
    errors.csv                        rows that could not be scored, if any
    shard/<manifest>.parquet          rows of a shard, and their positions; see ``shards``
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from earwitness import __version__
from earwitness.core.errors import PredictionsError, RunError, UsageError
from earwitness.core.io import atomic_write, file_stem, write_json
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import Predictions
from earwitness.core.registry import list_plugins
from earwitness.core.remote import is_url, join, recorded_name, shown_name, to_path
from earwitness.core.text_table import read_text_table
from earwitness.detectors.base import AnyDetector
from earwitness.scoring.options import FORMS, Form, ScoringOptions, deciding
from earwitness.scoring.perturbed import Recipe
from earwitness.scoring.store import STORE_FOLDER
from earwitness.splits.manifests import SPLITS_JSON, recorded_roots, write_manifest, write_root

RUN_JSON = "run.json"
ERRORS_CSV = "errors.csv"


def begin_run(
    out: Path,
    manifests: Sequence[Manifest],
    detectors: Sequence[AnyDetector],
    options: ScoringOptions,
    *,
    recipes: Sequence[Recipe] = (),
    shard: Mapping[str, Any] | None = None,
) -> None:
    """Add manifests and detectors to ``run.json``; raise ``RunError`` if it is of another run.

    Each of ``recipes`` perturbs the rows of a manifest. ``shard`` describes the part of the
    manifests that the folder is for; see ``describe_shard``.
    """
    path = out / RUN_JSON
    before, now = read_run(path), _describe(manifests, detectors, options)
    for manifest, recipe in zip(manifests, recipes, strict=bool(recipes)):
        now["manifests"][manifest.name]["recipe"] = recipe._asdict()
    if shard is not None:
        now["shard"] = dict(shard)
    if before is None:
        write_json(path, now)
        return
    if options.resume == "always":
        names = [card["name"] for card in now["detectors"]]
        others = [card for card in before["detectors"] if card["name"] not in names]
        before = before | {"detectors": others}
    if before["detectors"]:
        if changes := list_changes(before, now):
            raise RunError(
                f"{path}: the run there is another one: {'; '.join(changes)}. "
                "Choose another folder, or --resume always to score all again"
            )
        if shard is not None:
            now["shard"]["rows"] = before["shard"]["rows"] | now["shard"]["rows"]
        now["manifests"] = before["manifests"] | now["manifests"]
        known = {card["name"]: card for card in (*before["detectors"], *now["detectors"])}
        now["detectors"] = list(known.values())
        now["earlier"] = earlier_calls(before, now)
        now["computed_by"] = before.get("computed_by", {}) | now["computed_by"]
    write_json(path, now)


def drop_changed(
    out: Path,
    manifests: Sequence[Manifest],
    detectors: Sequence[AnyDetector],
    options: ScoringOptions,
) -> None:
    """Drop what ``begin_run`` would refuse: rows of changed detectors, and manifests.

    Rows of all detectors are dropped if an option that decides scores has changed.
    """
    path = out / RUN_JSON
    before, now = read_run(path), _describe(manifests, detectors, options)
    described = before or now | {"detectors": [], "manifests": {}}
    known = {card["name"] for card in described["detectors"]}
    changed = {name for name, _ in _detector_changes(described, now)}
    if any(_option_changes(described, now)):
        changed = known
    # Rows go first, so that none is ever described by the card of another detector.
    for name in changed | {card["name"] for card in now["detectors"]} - known:
        (out / STORE_FOLDER / f"{file_stem(name)}.jsonl").unlink(missing_ok=True)
    if before is not None:
        kept = [card for card in before["detectors"] if card["name"] not in changed]
        write_json(path, before | {"detectors": kept, "manifests": {}})


def check_unique_names(manifests: Sequence[Manifest]) -> None:
    """Raise a ``UsageError`` if two manifests would have the same file name."""
    stems = [file_stem(manifest.name) for manifest in manifests]
    duplicates = sorted({stem for stem in stems if stems.count(stem) > 1})
    if duplicates:
        raise UsageError(f"two manifests are named {duplicates[0]!r}; rename one of the files")


def refuse_contents(out: Path) -> None:
    """Raise a ``RunError`` if a folder is not empty, or is a file."""
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: found a file, expected an empty or a new folder")
    if out.is_dir() and (found := sorted(entry.name for entry in out.iterdir())):
        raise RunError(f"{out}: holds {found[0]} and more, expected an empty or a new folder")


def list_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs between two runs and decides scores: rows of both must not be mixed."""
    changes = [*_option_changes(before, now)]
    for name, was in before["manifests"].items():
        is_now = now["manifests"].get(name, was)
        changes += compare(f"manifest {name}", was, is_now, ("digest", "roots"))
    changes += [change for _, change in _detector_changes(before, now)]
    parts = (run.get("shard") or {} for run in (before, now))
    was, is_now = ({"count": p.get("of"), "numbers": p.get("numbers")} for p in parts)
    return [*changes, *compare("shard", was, is_now, ("count", "numbers"))]


def earlier_calls(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the versions and devices of earlier calls that differ."""
    parts, by = ("earwitness", "python", "machine", "libraries"), now["computed_by"]
    computed = {name: how for name, how in before.get("computed_by", {}).items() if name in by}
    then = {part: before.get(part) for part in parts} | {"computed_by": computed}
    same = {part: now[part] for part in parts} | {"computed_by": {n: by[n] for n in computed}}
    earlier: list[dict[str, Any]] = list(before.get("earlier", []))
    return earlier if then == same or then in earlier else [*earlier, then]


def _describe(
    manifests: Sequence[Manifest], detectors: Sequence[AnyDetector], options: ScoringOptions
) -> dict[str, Any]:
    libraries = ("numpy", "polars", "torch", "soundfile", "av", "soxr", "scipy", "scikit-learn")
    plugins = list_plugins("earwitness.detectors") | list_plugins("earwitness.perturbations")
    return {
        "earwitness": __version__,
        "python": platform.python_version(),
        "machine": platform.platform(),
        "libraries": {name: importlib.metadata.version(name) for name in libraries} | plugins,
        "earlier": [],
        "options": options.record(),
        "manifests": describe_manifests(manifests),
        "detectors": [detector.card.model_dump(mode="json") for detector in detectors],
        "computed_by": {d.card.name: f"{d.backend} on {d.device}" for d in detectors},
    }


def describe_manifests(manifests: Iterable[Manifest]) -> dict[str, dict[str, Any]]:
    """Return the number of rows, the digest and the roots of each manifest, by name."""
    return {
        manifest.name: {
            "n": len(manifest),
            "digest": manifest.digest,
            "roots": [root.absolute().as_posix() for root in manifest.roots],
        }
        for manifest in manifests
    }


def copy_manifests(manifests: Sequence[Manifest], folder: Path, form: Form = "csv") -> list[Path]:
    """Copy manifests, with relative paths if the folder has one root; return what was written."""
    root = _common_root(manifests)
    recorded = folder / SPLITS_JSON
    if root is not None and recorded.is_file():
        known = [there.resolve() for there in recorded_roots(recorded)]
        root = root if root.resolve() in known else None
    written = [folder / f"{file_stem(manifest.name)}.{form}" for manifest in manifests]
    for manifest, path in zip(manifests, written, strict=True):
        copy = manifest
        if root is None:
            both = zip(manifest.frame["filepath"], manifest.files, strict=True)
            files = [given if is_url(given) else recorded_name(file) for given, file in both]
            located = pl.Series("filepath", files)
            copy = Manifest(manifest.name, manifest.frame.with_columns(located))
        write_manifest(copy, path)
        for other in FORMS:
            if other != form:  # of an earlier call
                path.with_suffix(f".{other}").unlink(missing_ok=True)
    if root is not None and not recorded.is_file():
        write_root(folder, root)
    return [*written, recorded] if recorded.is_file() else written


def _common_root(manifests: Sequence[Manifest]) -> Path | None:
    """Return the first root of all manifests if it is that of all their relative paths."""
    firsts = {manifest.roots[:1] for manifest in manifests}
    first = next(iter(firsts)) if len(firsts) == 1 else ()
    if not first:
        return None
    paths = (zip(m.frame["filepath"], m.files, strict=True) for m in manifests)
    is_below = (
        at == join(first[0], p) or to_path(at) == first[0] / p for rows in paths for p, at in rows
    )
    return first[0] if all(is_below) else None


def write_errors(predictions: Sequence[Predictions], path: Path) -> None:
    """Write the rows that could not be scored; those of other detectors are kept."""
    columns = ("manifest", "detector", "filepath", "error")
    scored = pl.DataFrame([(p.dataset, p.detector) for p in predictions], columns[:2], orient="row")
    frames = [
        p.frame.filter(pl.col("error").is_not_null()).select(
            pl.lit(p.dataset).alias("manifest"),
            pl.lit(p.detector).alias("detector"),
            pl.col("filepath").map_elements(shown_name, pl.String),
            "error",
        )
        for p in predictions
        if p.n_failed
    ]
    if path.is_file():
        there = read_text_table(path, error=PredictionsError, needed=columns)
        others = there.select(columns).join(scored, on=columns[:2], how="anti")
        frames += [others] if others.height else []
    if not frames:
        path.unlink(missing_ok=True)
        return
    with atomic_write(path) as temporary:
        pl.concat(frames).write_csv(temporary)


class _Manifest(BaseModel):
    digest: str
    roots: list[str] = []
    recipe: Recipe | None = None


class _Detector(BaseModel):
    name: str = Field(max_length=1_000)


class _Shard(BaseModel):
    of: int = Field(ge=1)
    numbers: list[int]
    rows: dict[str, list[int]]
    command: list[str] = []


class _Run(BaseModel):
    """The parts of ``run.json`` that are validated."""

    model_config = ConfigDict(strict=True)

    options: dict[str, JsonValue]
    manifests: dict[str, _Manifest]
    detectors: list[_Detector]
    libraries: dict[str, JsonValue] = {}
    shard: _Shard | None = None


def read_run(path: Path) -> dict[str, Any] | None:
    """Return the content of ``run.json``, or ``None`` if there is none."""
    try:
        run: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read as the description of a run ({error})") from error
    try:
        _Run.model_validate(run)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        problem = f"{where}: {first['msg']}" if where else first["msg"]
        raise RunError(f"{path}: not the description of a run: {problem[:200]}") from None
    return dict(run)


def _option_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    return compare("option", before["options"], now["options"], deciding("scores"))


def _detector_changes(
    before: Mapping[str, Any], now: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield the name of each detector of both that has changed, and a difference."""
    fields = ["kind", "contract", "images", "classes", "preprocessing", "precision", "encoders"]
    fields += ["needs", "weights_sha256", "details"]
    cards = {card["name"]: card for card in before["detectors"]}
    for card in now["detectors"]:
        if (name := card["name"]) in cards:
            for change in compare(f"detector {name}", cards[name], card, fields):
                yield name, change


def compare(
    what: str, was: Mapping[str, Any], is_now: Mapping[str, Any], keys: Sequence[str]
) -> Iterator[str]:
    """Yield what differs between two descriptions, of ``keys`` and all below them."""
    for key in keys:
        one, other = was.get(key), is_now.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            inner = sorted(one.keys() | other.keys())
            yield from compare(f"{what} {key}", one, other, inner)
        elif one != other:
            yield f"{what} {key} was {_short(one)}, is {_short(other)}"


def _short(value: Any, most: int = 60) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else f"{text[: most - 1]}…"
