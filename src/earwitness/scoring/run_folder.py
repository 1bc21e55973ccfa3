"""The files of a run folder that are not scores: what was judged, by whom, with what.

A run folder::

    run.json                          options, cards, weight hashes, manifest digests, versions
    store/<detector>.jsonl            finished rows, the moment they are finished
    manifests/<name>.csv              what was judged
    preds/<manifest>/<detector>.csv   one row out per row in; beside it <detector>_windows.csv
                                      with the score of every window, where they are kept
    errors.csv                        rows that could not be scored, where there are any
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from earwitness import __version__
from earwitness.core.errors import PredictionsError, RunError, UsageError
from earwitness.core.io import atomic_write, file_stem, write_json
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import Predictions
from earwitness.core.text_table import read_text_table
from earwitness.detectors.base import Detector
from earwitness.scoring.options import ScoringOptions, deciding
from earwitness.scoring.store import STORE_FOLDER
from earwitness.splits.manifests import SPLITS_JSON, recorded_roots, write_manifest, write_root

ERRORS_CSV = "errors.csv"
_LIBRARIES = ("numpy", "polars", "torch", "soundfile", "av", "soxr", "scipy", "scikit-learn")
_ERROR_COLUMNS = ("manifest", "detector", "filepath", "error")


def begin_run(
    out: Path,
    manifests: Sequence[Manifest],
    detectors: Sequence[Detector],
    options: ScoringOptions,
) -> None:
    """Check that a run may go on in a folder, and write its ``run.json``.

    What an earlier call judged there, and by whom, stays in it.

    Raises:
        RunError: The folder belongs to another run.
    """
    path = out / RUN_JSON
    before, now = read_run(path), _describe(manifests, detectors, options)
    if before is None:
        write_json(path, now)
        return
    if options.resume == "always":
        judged = [card["name"] for card in now["detectors"]]
        others = [card for card in before["detectors"] if card["name"] not in judged]
        before = before | {"detectors": others}
    if before["detectors"]:
        check_same(path, before, now)
        now["manifests"] = before["manifests"] | now["manifests"]
        known = {card["name"]: card for card in (*before["detectors"], *now["detectors"])}
        now["detectors"] = list(known.values())
        now["earlier"] = _earlier(before, now)
        now["computed_by"] = before.get("computed_by", {}) | now["computed_by"]
    write_json(path, now)


def drop_changed(
    out: Path,
    manifests: Sequence[Manifest],
    detectors: Sequence[Detector],
    options: ScoringOptions,
) -> None:
    """Drop from a run folder what ``begin_run`` would refuse to go on with.

    Rows of detectors that changed, or of all of them where an option that decides scores did, and
    manifests that are others now or are no longer judged. Rows go first, so that none of them ever
    stands under another's name.

    Raises:
        RunError: ``run.json`` cannot be read.
    """
    path = out / RUN_JSON
    before, now = read_run(path), _describe(manifests, detectors, options)
    described = before or now | {"detectors": [], "manifests": {}}
    known = {card["name"] for card in described["detectors"]}
    changed = changed_detectors(described, now)
    for name in changed | {card["name"] for card in now["detectors"]} - known:
        (out / STORE_FOLDER / f"{file_stem(name)}.jsonl").unlink(missing_ok=True)
    if before is not None:
        kept = [card for card in before["detectors"] if card["name"] not in changed]
        write_json(path, before | {"detectors": kept, "manifests": {}})


def check_unique_names(manifests: Sequence[Manifest]) -> None:
    """Refuse manifests whose files would go by one name.

    Raises:
        UsageError: There are two.
    """
    stems = [file_stem(manifest.name) for manifest in manifests]
    twins = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twins:
        raise UsageError(f"two manifests go by the name {twins[0]!r}; rename one of the files")


def refuse_contents(out: Path) -> None:
    """Refuse a folder that holds anything, for a run that is to be the first there.

    Raises:
        RunError: It does.
    """
    if out.is_dir() and (found := sorted(entry.name for entry in out.iterdir())):
        raise RunError(f"{out}: holds {found[0]} and more, expected an empty or a new folder")


def _earlier(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what else rows of this folder may have been scored with."""
    parts = ("earwitness", "python", "machine", "libraries")
    computed = {
        name: by for name, by in before.get("computed_by", {}).items() if name in now["computed_by"]
    }
    then = {part: before.get(part) for part in parts} | {"computed_by": computed}
    same = {part: now[part] for part in parts} | {
        "computed_by": {name: now["computed_by"][name] for name in computed}
    }
    earlier: list[dict[str, Any]] = list(before.get("earlier", []))
    return earlier if then == same or then in earlier else [*earlier, then]


def _describe(
    manifests: Sequence[Manifest], detectors: Sequence[Detector], options: ScoringOptions
) -> dict[str, Any]:
    return {
        "earwitness": __version__,
        "python": platform.python_version(),
        "machine": platform.platform(),
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "earlier": [],
        "options": options.record(),
        "manifests": {
            manifest.name: {
                "n": len(manifest),
                "digest": manifest.digest,
                "roots": [root.absolute().as_posix() for root in manifest.roots],
            }
            for manifest in manifests
        },
        "detectors": [detector.card.model_dump(mode="json") for detector in detectors],
        "computed_by": {d.card.name: f"{d.backend} on {d.device}" for d in detectors},
    }


def copy_manifests(manifests: Sequence[Manifest], folder: Path) -> list[Path]:
    """Copy what was judged; paths stay relative where one root serves the whole folder.

    Returns:
        The copies, and ``splits.json`` where there is one.
    """
    root = _common_root(manifests)
    recorded = folder / SPLITS_JSON
    if root is not None and recorded.is_file():
        known = [there.resolve() for there in recorded_roots(recorded)]
        root = root if root.resolve() in known else None
    written = [folder / f"{file_stem(manifest.name)}.csv" for manifest in manifests]
    for manifest, path in zip(manifests, written, strict=True):
        copy = manifest
        if root is None:
            located = pl.Series("filepath", [str(p.absolute()) for p in manifest.locate_all()])
            copy = Manifest(manifest.name, manifest.frame.with_columns(located))
        write_manifest(copy, path)
    if root is not None and not recorded.is_file():
        write_root(folder, root)
    return [*written, recorded] if recorded.is_file() else written


def _common_root(manifests: Sequence[Manifest]) -> Path | None:
    """Return the first root of all manifests where all their relative paths lie below it."""
    firsts = {manifest.roots[:1] for manifest in manifests}
    first = next(iter(firsts)) if len(firsts) == 1 else ()
    if not first:
        return None
    for manifest in manifests:
        paths = manifest.frame["filepath"].to_list()
        if any(first[0] / p != at for p, at in zip(paths, manifest.locate_all(), strict=True)):
            return None
    return first[0]


def write_errors(predictions: Sequence[Predictions], path: Path) -> None:
    """Write the rows that could not be scored; those of other detectors in the folder stay."""
    judged = pl.DataFrame(
        [(p.dataset, p.detector) for p in predictions], _ERROR_COLUMNS[:2], orient="row"
    )
    frames = [
        p.frame.filter(pl.col("error").is_not_null()).select(
            pl.lit(p.dataset).alias("manifest"),
            pl.lit(p.detector).alias("detector"),
            pl.col("filepath", "error"),
        )
        for p in predictions
        if p.n_failed
    ]
    if path.is_file():
        there = read_text_table(path, error=PredictionsError, needed=_ERROR_COLUMNS)
        others = there.select(_ERROR_COLUMNS).join(judged, on=list(judged.columns), how="anti")
        frames += [others] if others.height else []
    if not frames:
        path.unlink(missing_ok=True)
        return
    with atomic_write(path) as temporary:
        pl.concat(frames).write_csv(temporary)


RUN_JSON = "run.json"
"""What describes a run, in its folder."""

_OPTIONS = deciding("scores")
_CARD = (
    "kind",
    "contract",
    "images",
    "classes",
    "preprocessing",
    "precision",
    "encoders",
    "needs",
    "weights_sha256",
    "details",
)
_MANIFEST = ("digest", "roots")
_SHOWN = 60


class _Manifest(BaseModel):
    digest: str
    roots: list[str] = []


class _Detector(BaseModel):
    name: str = Field(max_length=1_000)


class _Run(BaseModel):
    """The parts of ``run.json`` that are looked into; further ones are only compared."""

    model_config = ConfigDict(strict=True)

    options: dict[str, JsonValue]
    manifests: dict[str, _Manifest]
    detectors: list[_Detector]
    libraries: dict[str, JsonValue] = {}


def read_run(path: Path) -> dict[str, Any] | None:
    """Return what ``run.json`` says, or ``None`` where there is none.

    Raises:
        RunError: It cannot be read as one.
    """
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


def check_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with a run that other scores would come of.

    Raises:
        RunError: Something that decides a score differs; all that does is named.
    """
    differences = list(_differences(before, now))
    if differences:
        raise RunError(
            f"{path}: the run there is another one: {'; '.join(differences)}. "
            "Choose another folder, or --resume always to score anew"
        )


def changed_detectors(before: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    """Return the detectors of an earlier run whose scores are not what they would be now.

    All of them where an option that decides scores differs, those of ``now`` that are others now,
    else none.
    """
    cards = {card["name"]: card for card in before["detectors"]}
    if any(_compare("option", before["options"], now["options"], _OPTIONS)):
        return set(cards)
    return {
        card["name"]
        for card in now["detectors"]
        if card["name"] in cards and any(_compare("detector", cards[card["name"]], card, _CARD))
    }


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    yield from _compare("option", before["options"], now["options"], _OPTIONS)
    for name in before["manifests"].keys() & now["manifests"].keys():
        was, is_now = before["manifests"][name], now["manifests"][name]
        yield from _compare(f"manifest {name}", was, is_now, _MANIFEST)
    cards = {card["name"]: card for card in before["detectors"]}
    for card in now["detectors"]:
        if card["name"] in cards:
            yield from _compare(f"detector {card['name']}", cards[card["name"]], card, _CARD)


def _compare(
    what: str, was: Mapping[str, Any], is_now: Mapping[str, Any], keys: tuple[str, ...]
) -> Iterator[str]:
    for key in keys:
        one, other = was.get(key), is_now.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            inner = tuple(sorted(one.keys() | other.keys()))
            yield from _compare(f"{what} {key}", one, other, inner)
        elif one != other:
            yield f"{what} {key} was {_short(one)}, is {_short(other)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
