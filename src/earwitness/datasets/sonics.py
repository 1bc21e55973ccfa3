"""SONICS: real songs from YouTube and songs by Suno and Udio.

Layouts::

    SONICS/{train,valid,test}.csv       filepath, target, skip_time, other columns
    SONICS/{real_songs,fake_songs}.csv  published: id, filename, duration, no_vocal, split

Conventions: paths are relative to the SONICS folder; ``filename`` is in ``real_songs/`` or
``fake_songs/`` (``.mp3`` if it has no suffix), and only songs of at least 30 s with vocals are
used, as published. The group is the song: takes ``_0`` and ``_1`` of a fake song are one group.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import polars as pl

from earwitness.core.errors import DatasetError
from earwitness.core.io import spelled_on_disk, tidy_path
from earwitness.core.remote import RemotePath
from earwitness.core.text_table import clean_names, labels, numbers, read_table, without_missing
from earwitness.datasets.catalog import (
    AUDIO_SUFFIXES,
    Catalog,
    CatalogRequest,
    DatasetCard,
    Layout,
    Omission,
    catalog_frame,
)

SOURCE = "SONICS"
UPSTREAM_MIN_DURATION_S = 30.0
TrainCheck = Literal["path", "name", "song"]
TRAIN_CHECKS: tuple[TrainCheck, ...] = get_args(TrainCheck)
"""Keys that a row may share with the train split: path, file name, song."""


class _Table(NamedTuple):
    """Rows of one split, and the files that they are from."""

    origin: str
    frame: pl.DataFrame


def song_of(stem: str, target: int) -> str:
    """Return the song of a file: ``fake_00012_suno_1`` → ``fake_00012_suno``."""
    match = re.match(r"^(fake_\d+_.+?|.*\D)_\d$", stem) if target else None
    return match.group(1) if match else stem


def catalog_sonics(
    *,
    root: Path,
    eval_csv: Path | None = None,
    train_csv: Path | None = None,
    train_check: Collection[str] = TRAIN_CHECKS,
) -> Catalog:
    """Return the catalog of the songs of one split that do not overlap with the train split.

    Args:
        root: The SONICS folder.
        eval_csv: CSV of the split; default ``valid.csv``, or the ``valid`` rows of the published
            files if there is no such CSV.
        train_csv: CSV of the train split; default ``train.csv`` or the published ``train`` rows.
        train_check: Those of ``TRAIN_CHECKS`` to apply; with none the train split is not read.

    Raises:
        DatasetError: A CSV is missing or lacks columns, or a label is neither 0 nor 1.
    """
    evaluated = _read_split(root, eval_csv, "valid")
    omitted: list[Omission] = []
    kept = _keep_upstream(evaluated.frame, omitted)
    if train_check:
        kept = _drop_train(kept, _read_split(root, train_csv, "train"), train_check, omitted)
    kept = _drop(kept, ~pl.col("_path").is_first_distinct(), "listed twice", omitted)
    files = [spelled_on_disk(root, path) for path in kept["filepath"].to_list()]
    kept = kept.with_columns(pl.Series("_file", files, dtype=pl.String))
    kept = _drop(kept, pl.col("_file").is_null(), "no such file", omitted)
    split_tag = (eval_csv or Path("valid")).stem
    looked_at = (
        f"{evaluated.origin}: {evaluated.frame.height} rows, {kept.height} usable below {root}"
    )
    frame = catalog_frame(_columns(kept, root, split_tag), source=SOURCE)
    return Catalog(SOURCE, frame, tuple(omitted), (looked_at,), split_tag)


def _read_split(root: Path, given: Path | None, split: str) -> _Table:
    path = given or root / f"{split}.csv"
    upstream = [root / "real_songs.csv", root / "fake_songs.csv"]
    if given is None and not path.exists() and all(p.exists() for p in upstream):
        return _read_upstream(upstream, split)
    if not path.exists():
        way_out = "; give --sonics-train-csv, or --no-train-check to go without"
        raise DatasetError(
            f"{path}: no such file, expected the SONICS {split} CSV"
            + (way_out if split == "train" else "")
        )
    return _Table(str(path), _with_names(path, *_read(path, ("filepath", "target"))))


def _read_upstream(paths: list[Path], split: str) -> _Table:
    frames = []
    for target, path in enumerate(paths):
        frame, _ = _read(path, ("filename", "duration", "no_vocal", "split"))
        suffix = pl.when(_has_audio_suffix("filename")).then(pl.lit("")).otherwise(pl.lit(".mp3"))
        frame = frame.filter(pl.col("split") == split).with_columns(
            pl.concat_str(pl.lit(f"{path.stem}/"), "filename", suffix).alias("filepath"),
            pl.lit(str(target)).alias("target"),
            pl.lit(True).alias("_upstream"),
        )
        frames.append(frame)
    merged = pl.concat(frames, how="diagonal")
    origin = f"{paths[0]} and {paths[1].name}"
    return _Table(origin, _with_names(paths[0].parent, merged, [0] * merged.height))


def _has_audio_suffix(column: str) -> pl.Expr:
    pattern = "|".join(re.escape(suffix) for suffix in sorted(AUDIO_SUFFIXES))
    return pl.col(column).str.to_lowercase().str.contains(f"(?:{pattern})$")


def _read(path: Path, needed: tuple[str, ...]) -> tuple[pl.DataFrame, Sequence[int]]:
    """Return the columns of a CSV, except unnamed ones and ``_…``, and the lines of its rows."""
    known = ("skip_time", "duration", "duration_s", "no_vocal", "algorithm", "source")
    table = read_table(path, error=DatasetError, needed=needed, known=(*known, "source_dataset"))
    names = [name for name in table.frame.columns if name and not name.startswith("_")]
    return table.frame.select(names), table.lines


def _with_names(path: Path, frame: pl.DataFrame, lines: Sequence[int]) -> pl.DataFrame:
    """Return rows with numeric ``target`` and the keys ``_path``, ``_name`` and ``_song``."""
    target = labels(frame["target"])
    wrong = (frame["filepath"].is_null() | target.is_null()).arg_true()
    if len(wrong):
        row = frame.row(wrong[0], named=True)
        found = f"filepath {row['filepath']!r}, target {row['target']!r}"
        where = f"{path}:{lines[wrong[0]]}"
        raise DatasetError(f"{where}: {found}, expected a path and 0 (real) or 1 (fake)")
    paths = [tidy_path(p) for p in frame["filepath"].to_list()]
    targets = target.to_list()
    stems = [posixpath.splitext(posixpath.basename(p))[0] for p in paths]
    return frame.with_columns(
        pl.Series("target", targets, dtype=pl.Int8),
        pl.Series("_path", paths, dtype=pl.String),
        pl.Series("_name", [posixpath.basename(p) for p in paths], dtype=pl.String),
        pl.Series("_song", [song_of(*pair) for pair in zip(stems, targets, strict=True)]).cast(
            pl.String
        ),
    )


def _keep_upstream(frame: pl.DataFrame, omitted: list[Omission]) -> pl.DataFrame:
    if "_upstream" not in frame.columns:
        return frame
    duration = pl.col("duration").cast(pl.Float64, strict=False)
    short = f"shorter than {UPSTREAM_MIN_DURATION_S:.0f} s, as upstream filters"
    frame = _drop(frame, (duration < UPSTREAM_MIN_DURATION_S).fill_null(True), short, omitted)
    vocal = pl.col("no_vocal").str.to_lowercase().is_in(["false", "0", ""]).fill_null(True)
    frame = _drop(frame, ~vocal, "without vocals, as upstream filters", omitted)
    return frame.drop("_upstream")


def _drop_train(
    frame: pl.DataFrame, train: _Table, checks: Collection[str], omitted: list[Omission]
) -> pl.DataFrame:
    for check, what in zip(TRAIN_CHECKS, ("path", "file name", "song"), strict=True):
        if check in checks:
            shared = pl.col(f"_{check}").is_in(train.frame[f"_{check}"].to_list())
            frame = _drop(frame, shared, f"{what} also in the train split", omitted)
    return frame


def _drop(
    frame: pl.DataFrame, condition: pl.Expr | pl.Series, reason: str, omitted: list[Omission]
) -> pl.DataFrame:
    marked = frame.with_columns(condition.alias("_drop"))
    gone = marked.filter("_drop").select("target", "_path")
    omitted.extend(Omission(target, path, reason) for target, path in gone.iter_rows())
    return marked.filter(~pl.col("_drop")).drop("_drop")


def _tidy(path: Path) -> str:
    return posixpath.normpath(path.as_posix())


def _columns(frame: pl.DataFrame, root: Path, split_tag: str) -> dict[str, Any]:
    files = [root.absolute() / p for p in frame["_file"].to_list()]
    derived: dict[str, Any] = {
        "key": frame["_path"].to_list(),
        "filepath": [str(f) if isinstance(f, RemotePath) else _tidy(f) for f in files],
        "target": frame["target"].to_list(),
        "split_tag": [split_tag] * frame.height,
        "generator": _generators(frame),
        "group_id": [f"sonics:{song}" for song in frame["_song"].to_list()],
    }
    times = {"skip_time": "skip_time", "duration": "duration_s", "duration_s": "duration_s"}
    for name, becomes in times.items():
        if name in frame.columns:
            derived[becomes] = numbers(without_missing(frame[name])).to_list()
    left_out = {*derived, *times, "source_dataset"}
    carried = [c for c in frame.columns if c not in left_out and not c.startswith("_")]
    return derived | {name: frame[name].to_list() for name in carried}


def _generators(frame: pl.DataFrame) -> list[str | None]:
    """Return the algorithm of each fake (``chirp-v3``), else its source (``suno``)."""
    named = [clean_names(frame[c]) for c in ("algorithm", "source") if c in frame.columns]
    generator = pl.when(pl.col("target") == 1).then(pl.coalesce(*named, pl.lit("unknown")))
    generators: list[str | None] = frame.select(generator).to_series().to_list()
    return generators


def _list_files(request: CatalogRequest) -> Catalog:
    given, csv = request.options["sonics_root"], request.options["sonics_eval_csv"]
    root = given or request.folder
    if csv is not None and given is None and not root.is_dir():
        root = csv.parent  # the default folder has precedence over the CSV's own
    return catalog_sonics(
        root=root,
        eval_csv=csv,
        train_csv=request.options["sonics_train_csv"],
        train_check=request.train_check,
    )


LAYOUT = Layout(
    SOURCE,
    _list_files,
    place=Path("SONICS"),
    options=("sonics_root", "sonics_eval_csv", "sonics_train_csv"),
    is_stratified=False,
    card=DatasetCard(
        summary="real songs of YouTube and songs by Suno and Udio",
        layout="SONICS/{train,valid,test}.csv or {real,fake}_songs.csv; real_songs, fake_songs",
        licence="CC BY-NC 4.0",
        size="97 000 songs, 4 751 h; the 49 000 fakes are 32 GB",
        get="hf download awsaf49/sonics --repo-type dataset; reals by their YouTube ids",
        leaks="reals are of 48 kHz and fakes of 16 kHz: the high-frequency floor alone reaches an "
        "AUROC of .98, duration .77; SpecTTTra chooses checkpoints on valid; two takes per fake",
        docs="https://github.com/awsaf49/sonics, arXiv:2408.14080",
    ),
    track_of=lambda stem, target: f"sonics:{song_of(stem, target)}",
)
