"""A folder of splits: manifests, ``splits.json`` and ``omitted.csv``.

Conventions: paths in the manifests are POSIX and relative to the root that ``splits.json`` records,
or absolute where asked for; every file that was left out stands in ``omitted.csv`` with its reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from earwitness.core.io import atomic_write
from earwitness.core.manifest import Manifest
from earwitness.splits.build import Source, SplitSet
from earwitness.splits.manifests import arrange, write_manifest, write_root
from earwitness.splits.sampling import stratum_counts

OMITTED_CSV = "omitted.csv"


def write_splits(splits: SplitSet, out_dir: Path, *, absolute_paths: bool = False) -> list[Path]:
    """Write every manifest, ``splits.json`` and, where files were left out, ``omitted.csv``.

    Returns:
        The manifests' paths.
    """
    written: list[Path] = []
    recorded: dict[str, Any] = {}
    for name, frame in splits.frames.items():
        rows = frame.drop("key").with_columns(
            pl.Series("filepath", _paths(frame, splits.root, absolute=absolute_paths))
        )
        manifest = Manifest(name, arrange(rows))
        path = out_dir / f"{name}.csv"
        write_manifest(manifest, path)
        written.append(path)
        recorded[name] = {"file": path.name, "digest": manifest.digest} | _class_counts(rows)
    _write_omitted(splits, out_dir / OMITTED_CSV)
    write_root(
        out_dir,
        splits.root,
        options=splits.options,
        warnings=list(splits.warnings),
        looked_at=list(splits.looked_at),
        sources={source.name: _record(source) for source in splits.sources},
        manifests=recorded,
    )
    return written


def _paths(frame: pl.DataFrame, root: Path, *, absolute: bool) -> list[str]:
    paths = frame["filepath"].to_list()
    prefix = root.as_posix().rstrip("/") + "/"
    return paths if absolute else [path.removeprefix(prefix) for path in paths]


def _record(source: Source) -> dict[str, Any]:
    reasons = [omission.reason for omission in source.omitted]
    dropped = {reason: reasons.count(reason) for reason in sorted(set(reasons))}
    missing = dropped.pop("no such file", 0)
    return {
        "asked": source.asked,
        "found": source.found,
        "missing": missing,
        "not_drawn": source.n_not_drawn,
        "dropped": dropped,
        "taken": source.taken.height,
        "stratified_over_generators": source.stratified,
        "per_generator": stratum_counts(source.taken),
        "n_groups": source.taken["group_id"].n_unique(),
    }


def _class_counts(rows: pl.DataFrame) -> dict[str, Any]:
    per_source: dict[str, dict[str, int]] = {}
    for source, target, n in (
        rows.group_by("source_dataset", "target").len().sort("source_dataset", "target").iter_rows()
    ):
        per_source.setdefault(source, {"real": 0, "fake": 0})["fake" if target else "real"] = n
    return {
        "n": rows.height,
        "real": int((rows["target"] == 0).sum()),
        "fake": int((rows["target"] == 1).sum()),
        "per_source": per_source,
    }


def _write_omitted(splits: SplitSet, path: Path) -> None:
    rows = [(s.name, o.name, o.reason) for s in splits.sources for o in s.omitted]
    if not rows:
        path.unlink(missing_ok=True)
        return
    frame = pl.DataFrame(rows, schema=["source", "name", "reason"], orient="row")
    with atomic_write(path) as temporary:
        frame.write_csv(temporary)
