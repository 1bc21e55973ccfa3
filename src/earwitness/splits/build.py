"""The published evaluation splits: ten balanced, leakage-safe manifests of dataset folders.

Conventions: options have the names and defaults of the published script; each source is sampled
independently. Paths in manifests are POSIX and relative to the root in ``splits.json``, or absolute
on request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from earwitness.core.errors import DatasetError, UsageError
from earwitness.core.io import atomic_write, file_stem
from earwitness.core.manifest import Manifest
from earwitness.core.remote import to_path
from earwitness.datasets.catalog import (
    PUBLISHED,
    Catalog,
    Layout,
    Omission,
)
from earwitness.datasets.fma import ENCODERS
from earwitness.datasets.folder import catalog_folder
from earwitness.datasets.sonics import TRAIN_CHECKS, TrainCheck
from earwitness.splits import grouping
from earwitness.splits.catalogs import load_layout, open_catalog
from earwitness.splits.manifests import arrange, shared_root, write_manifest, write_root

SAME_GROUP = "another of its group is kept"
OMITTED_CSV = "omitted.csv"

Place = Annotated[Path, AfterValidator(to_path)]
"""A folder or file, on this machine or at a URL."""
Count = Annotated[int, Field(ge=0, strict=True)]


class SplitOptions(BaseModel):
    """Options of ``build_splits``: those of ``build_balanced_ood_splits``, and others.

    ``train_check`` is ``True`` for all of ``sonics.TRAIN_CHECKS``, some of them, or ``False``; for
    FMA only songs are compared. Paths that are ``None`` default to the published ones below
    ``root``; ``root`` itself defaults to the working folder, or to the common folder of all sources
    if they are elsewhere. ``datasets`` maps registered names to folders (``None`` is the published
    path below ``root``); ``n_dataset`` counts items per class of one without own ``n_…`` options.
    A name ``hf:owner/name`` is a dataset of the Hugging Face hub, see ``datasets.hub``: its
    columns with class, generator and group, which classes are real, and a pattern of the Parquet
    files to read.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: Place | None = None
    deezer_split_npy: Place | None = None
    deezer_split_name: Literal["train", "valid", "validation", "test"] = "valid"
    fma_real_root: Place | None = None
    fma_fake_root: Place | None = None
    fma_encoders: tuple[str, ...] = ENCODERS
    fakemusiccaps_root: Place | None = None
    sonics_root: Place | None = None
    sonics_eval_csv: Place | None = None
    sonics_train_csv: Place | None = None
    n_fma_real: Count = 2000
    n_fma_fake: Count = 2000
    n_sonics_real: Count = 2000
    n_sonics_fake: Count = 2000
    n_fakemusiccaps_fake: Count = 2000
    seed: int = Field(default=42, strict=True)
    train_check: bool | tuple[TrainCheck, ...] = True
    one_per_group: bool = False
    stratify_fakemusiccaps: bool = True
    absolute_paths: bool = False
    datasets: Mapping[str, Place | None] | None = None
    n_dataset: Count = 2000
    label_column: str | None = None
    generator_column: str | None = None
    group_column: str | None = None
    real_labels: tuple[str, ...] | None = None
    shards: str | None = None

    @property
    def checks(self) -> tuple[TrainCheck, ...]:
        """Keys that rows must not share with the train split."""
        if isinstance(self.train_check, bool):
            return TRAIN_CHECKS if self.train_check else ()
        return self.train_check

    def n_wanted(self, name: str, layout: Layout) -> dict[int, int]:
        """Return the requested number of items of each class of a dataset."""
        names = (f"n_{name}_real", f"n_{name}_fake")
        n = {target: getattr(self, names[target], self.n_dataset) for target in layout.classes}
        return {0: 0, 1: 0} | n


@dataclass(frozen=True)
class Source:
    """One class of one dataset.

    ``asked`` is ``None`` for all items; ``found`` counts items before one of each group is chosen;
    ``taken`` is in random order; ``split`` is empty for a dataset without published splits.
    """

    name: str
    asked: int | None
    found: int
    taken: pl.DataFrame
    omitted: tuple[Omission, ...]
    stratified: bool
    split: str = ""

    @property
    def n_not_drawn(self) -> int:
        """Number of items beyond the requested number."""
        in_group = sum(omission.reason == SAME_GROUP for omission in self.omitted)
        return self.found - in_group - self.taken.height

    @property
    def n_listed(self) -> int:
        """Number of all items: left out, not drawn, and taken."""
        return len(self.omitted) + self.n_not_drawn + self.taken.height


@dataclass(frozen=True)
class SplitSet:
    """Manifests before they are written: rows by file stem, with paths below ``root``."""

    root: Path
    sources: tuple[Source, ...]
    frames: dict[str, pl.DataFrame]
    warnings: tuple[str, ...]
    looked_at: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of everything that ``write_splits`` writes."""
        digest = hashlib.sha256(repr((self.root, self.options, self.warnings)).encode())
        for name, frame in self.frames.items():
            digest.update(f"{name}\n{frame.write_csv()}".encode())
        for source in self.sources:
            parts = (source.name, source.asked, source.found, source.omitted, source.stratified)
            digest.update(repr(parts).encode())
        return digest.hexdigest()


def build_splits(options: SplitOptions) -> SplitSet:
    """Return the ten published manifests; a source with ``n_… = 0`` for all classes is skipped.

    Raises:
        DatasetError: A folder or file is missing, or a source is empty.
        UsageError: No items are requested.
    """
    sources = []
    looked_at: list[str] = []
    for name, folder in (options.datasets or dict.fromkeys(PUBLISHED)).items():
        layout = load_layout(name, options)
        wanted = options.n_wanted(name, layout)
        if any(wanted.values()):
            catalog = open_catalog(name, layout, folder, wanted, options)
            stratified = getattr(options, f"stratify_{name}", layout.is_stratified)
            drawn = _draw_source(
                file_stem(name), catalog, wanted, options, is_stratified=stratified
            )
            if catalog.prepare is not None:
                catalog.prepare([path for part in drawn for path in part.taken["filepath"]])
            sources += drawn
            looked_at += catalog.looked_at
    if not sources:
        raise UsageError("every --n-… is 0, expected at least one item")
    frames = _frames(sources, seed=options.seed)
    paths = [path for s in sources for path in s.taken["filepath"].to_list()]
    root = options.root.absolute() if options.root else shared_root(paths)
    warnings = [
        f"{s.name}: {s.asked} requested, {s.taken.height} available; all taken"
        for s in sources
        if s.asked is not None and s.taken.height < s.asked
    ]
    warnings += _list_unchecked(options)
    chosen = _list_options(options)
    return SplitSet(root, tuple(sources), frames, tuple(warnings), tuple(looked_at), chosen)


def build_folder_splits(
    root: Path, *, seed: int = 42, one_per_group: bool = False, absolute_paths: bool = False
) -> SplitSet:
    """Return manifests of your own ``real/`` and ``fake/<generator>/`` folders.

    They are ``<name>_real_N``, ``<name>_fake_N``, ``<name>_combined`` and, with both classes,
    ``<name>_balanced``.

    Raises:
        DatasetError: The folder has no audio in that layout.
    """
    root = to_path(root)
    catalog = catalog_folder(root)
    options = SplitOptions(
        root=root, seed=seed, one_per_group=one_per_group, absolute_paths=absolute_paths
    )
    name = catalog.source
    sources = _draw_source(name.lower(), catalog, {0: None, 1: None}, options)
    frames = {f"{s.name}_{s.taken.height}": s.taken for s in sources}
    combined = pl.concat([s.taken for s in sources], how="diagonal")
    frames[f"{name}_combined"] = grouping.with_rank(combined, seed=seed, purpose="combined")
    if combined["target"].n_unique() == 2:
        frames[f"{name}_balanced"] = grouping.balance_classes(
            combined, seed=seed, purpose="balanced"
        )
    chosen = {"folder": str(root), "seed": seed, "one_per_group": one_per_group}
    return SplitSet(root.absolute(), tuple(sources), frames, (), catalog.looked_at, chosen)


def _draw_source(
    name: str,
    catalog: Catalog,
    wanted: Mapping[int, int | None],
    options: SplitOptions,
    *,
    is_stratified: bool = True,
) -> list[Source]:
    frame = grouping.with_rank(catalog.frame, seed=options.seed, purpose=catalog.source)
    omitted = list(catalog.omitted)
    found = {target: frame.filter(pl.col("target") == target).height for target in (0, 1)}
    if options.one_per_group:
        kept = grouping.one_per_group(
            frame, {t: found[t] if n is None else n for t, n in wanted.items()}
        )
        others = frame.join(kept, on="key", how="anti").select("target", "key").sort("key")
        omitted += [Omission(t, key, SAME_GROUP) for t, key in others.rows()]
        frame = kept
    drawn = []
    for target, asked in wanted.items():
        side = frame.filter(pl.col("target") == target)
        if asked == 0 or (asked is None and side.height == 0):
            continue
        stratified = target == 1 and is_stratified
        n = side.height if asked is None else min(asked, side.height)
        rows = (
            grouping.take(side, grouping.share_out(n, grouping.stratum_counts(side)))
            if stratified
            else side.head(n)
        )
        side_name = f"{name}_{'fake' if target else 'real'}"
        left_out = tuple(o for o in omitted if o.target == target)
        n_found = found[target]
        drawn.append(Source(side_name, asked, n_found, rows, left_out, stratified, catalog.split))
    empty = [source.name for source in drawn if source.taken.height == 0]
    if empty or not drawn:
        reasons = ", ".join(sorted({o.reason for o in catalog.omitted}))
        raise DatasetError(
            f"{' and '.join(empty) or catalog.source}: no usable files; found "
            f"{'; '.join(catalog.looked_at)}{f'; left out: {reasons}' if reasons else ''}"
        )
    return drawn


def _frames(sources: list[Source], *, seed: int) -> dict[str, pl.DataFrame]:
    """Return the rows of the published manifests."""
    taken = {source.name: source.taken for source in sources}
    frames = {
        "_".join(filter(None, (s.name, s.split, str(len(s.taken))))): s.taken for s in sources
    }
    everything = pl.concat(taken.values(), how="diagonal")
    name = "ood_requested_combined"
    frames[name] = grouping.with_rank(everything, seed=seed, purpose=name)
    balanced = {
        "ood_requested_combined_balanced": list(taken),
        "ood_sonics_test_balanced": ["sonics_real", "sonics_fake"],
        "ood_fma_real_vs_fakemusiccaps_fake_balanced": ["fma_real", "fakemusiccaps_fake"],
    }
    for name, parts in balanced.items():
        if all(part in taken for part in parts):
            both = pl.concat([taken[part] for part in parts], how="diagonal")
            frames[name] = grouping.balance_classes(both, seed=seed, purpose=name)
    name = "ood_three_source_balanced"
    if everything["source_dataset"].n_unique() == 3:
        frames[name] = grouping.balance_sources(everything, seed=seed, purpose=name)
    return {name: frame for name, frame in frames.items() if frame.height}


def _list_unchecked(options: SplitOptions) -> list[str]:
    if not options.checks:
        return ["--no-train-check: rows may be in the train split of their dataset"]
    if options.deezer_split_name == "train" and (options.n_fma_real or options.n_fma_fake):
        return ["FMA: this is the train split; do not evaluate detectors trained on it"]
    unchecked = [name for name in TRAIN_CHECKS if name not in options.checks]
    if unchecked:
        return [f"--train-check: {' and '.join(unchecked)} may be in the train split, too"]
    return []


def _list_options(options: SplitOptions) -> dict[str, Any]:
    values = dict(vars(options))
    if options.datasets is None:
        del values["n_dataset"]
    else:
        values["datasets"] = {name: str(folder or "") for name, folder in options.datasets.items()}
    return {
        name: value.as_posix() if isinstance(value, Path) else value
        for name, value in values.items()
        if value is not None
    }


def write_splits(splits: SplitSet, out_dir: Path, *, absolute_paths: bool = False) -> list[Path]:
    """Write manifests, ``splits.json`` and, if files were left out, ``omitted.csv``.

    Returns:
        Paths of the manifests.
    """
    written: list[Path] = []
    prefix = "" if absolute_paths else splits.root.as_posix().rstrip("/") + "/"
    recorded: dict[str, Any] = {}
    for name, frame in splits.frames.items():
        rows = frame.drop("key").with_columns(pl.col("filepath").str.strip_prefix(prefix))
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
        "per_generator": grouping.stratum_counts(source.taken),
        "n_groups": source.taken["group_id"].n_unique(),
    }


def _class_counts(rows: pl.DataFrame) -> dict[str, Any]:
    by_source = grouping.count_by_source(rows).items()
    per_source = {source: {"real": n.n_real, "fake": n.n_fake} for source, n in by_source}
    n_fake = int((rows["target"] == 1).sum())
    counts = {"n": rows.height, "real": rows.height - n_fake, "fake": n_fake}
    return counts | {"per_source": per_source}


def _write_omitted(splits: SplitSet, path: Path) -> None:
    rows = [(s.name, o.name, o.reason) for s in splits.sources for o in s.omitted]
    if not rows:
        path.unlink(missing_ok=True)
        return
    frame = pl.DataFrame(rows, schema=["source", "name", "reason"], orient="row")
    with atomic_write(path) as temporary:
        frame.write_csv(temporary)
