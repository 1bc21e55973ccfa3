"""``earwitness splits``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from earwitness.cli import console
from earwitness.cli.options import comma_list, option, switch
from earwitness.core.errors import UsageError

if TYPE_CHECKING:
    from earwitness.datasets.sonics import TrainCheck
    from earwitness.splits.build import SplitSet

_FMA, _SONICS, _CAPS = "FMA", "SONICS", "FakeMusicCaps"
_OTHERS, _OWN = "Other datasets", "Your own folders"


def _count(text: str, panel: str) -> Any:
    return option("N", text, panel, min=0)


def splits(
    *,
    root: Annotated[
        Path | None,
        option(
            "DIR",
            "Workspace root. Other paths default to the published ones below it, and manifests "
            "contain paths relative to it (default: the working folder).",
        ),
    ] = None,
    out_dir: Annotated[Path, option("DIR", "Output folder of the manifests.")] = Path(
        "ood_eval/manifests"
    ),
    seed: Annotated[int, option("N", "Random seed.")] = 42,
    deezer_split_npy: Annotated[
        Path | None, option("FILE", "Deezer's split file (.npy).", _FMA)
    ] = None,
    deezer_split_name: Annotated[
        Literal["train", "valid", "validation", "test"],
        typer.Option(help="Split to sample from.", rich_help_panel=_FMA),
    ] = "valid",
    fma_real_root: Annotated[Path | None, option("DIR", "Folder of real tracks.", _FMA)] = None,
    fma_fake_root: Annotated[
        Path | None, option("DIR", "Folder with one folder per encoder.", _FMA)
    ] = None,
    fma_encoders: Annotated[
        str,
        option(
            "NAMES",
            "Encoders to sample from, comma-separated (default: the nine published).",
            _FMA,
            show_default=False,
        ),
    ] = "",
    n_fma_real: Annotated[int, _count("Number of real tracks.", _FMA)] = 2000,
    n_fma_fake: Annotated[
        int, _count("Number of reconstructions, equally from each encoder.", _FMA)
    ] = 2000,
    sonics_root: Annotated[Path | None, option("DIR", "The SONICS folder.", _SONICS)] = None,
    sonics_eval_csv: Annotated[
        Path | None,
        option("FILE", "Split to sample from (default: valid.csv of the SONICS folder).", _SONICS),
    ] = None,
    sonics_train_csv: Annotated[
        Path | None,
        option("FILE", "Train split, which must not overlap (default: train.csv).", _SONICS),
    ] = None,
    n_sonics_real: Annotated[int, _count("Number of real songs.", _SONICS)] = 2000,
    n_sonics_fake: Annotated[int, _count("Number of generated songs.", _SONICS)] = 2000,
    fakemusiccaps_root: Annotated[
        Path | None, option("DIR", "Folder with one folder per generator.", _CAPS)
    ] = None,
    n_fakemusiccaps_fake: Annotated[int, _count("Number of generated clips.", _CAPS)] = 2000,
    stratify_fakemusiccaps: Annotated[
        bool,
        typer.Option(
            "--stratify/--no-stratify",
            help="Sample equally from each generator.",
            rich_help_panel=_CAPS,
        ),
    ] = True,
    dataset: Annotated[
        list[str] | None,
        option(
            "NAME[=DIR]",
            "Dataset to sample from, and its folder: one of `earwitness datasets`, of another "
            "package, or hf:OWNER/NAME[@REVISION] of the hub (default: fma, sonics, "
            "fakemusiccaps). Repeatable.",
            _OTHERS,
            show_default=False,
        ),
    ] = None,
    n_dataset: Annotated[
        int, _count("Number of items per class of a dataset without --n-… options.", _OTHERS)
    ] = 2000,
    label_column: Annotated[
        str | None, option("NAME", "Column with the class, of hf: datasets.", _OTHERS)
    ] = None,
    generator_column: Annotated[
        str | None,
        option("NAME", "Column with the generator, of hf: datasets (default: generator).", _OTHERS),
    ] = None,
    group_column: Annotated[
        str | None,
        option(
            "NAME",
            "Column with the track, song or speaker, of hf: datasets (default: group_id).",
            _OTHERS,
        ),
    ] = None,
    real_label: Annotated[
        list[str] | None,
        option(
            "VALUE",
            "Value of --label-column that is real, all others being fake (default: its values are "
            "words for real and fake). Repeatable.",
            _OTHERS,
            show_default=False,
        ),
    ] = None,
    shards: Annotated[
        str | None,
        option("GLOB", "Parquet files of hf: datasets to read (default: all).", _OTHERS),
    ] = None,
    folder: Annotated[
        Path | None,
        option(
            "DIR",
            "Make manifests of <folder>/real/** and <folder>/fake/<generator>/** instead.",
            _OWN,
        ),
    ] = None,
    train_check: Annotated[
        str,
        option(
            "KEYS",
            "Keys that rows must not share with the train split of their dataset: path, name, song "
            "(comma-separated), or all. The published rule is path.",
        ),
    ] = "all",
    no_train_check: Annotated[
        bool, switch("--no-train-check", "Do not check against the train split.")
    ] = False,
    one_per_group: Annotated[
        bool, switch("--one-per-group", "One item per track: the real one or one fake.")
    ] = False,
    absolute_paths: Annotated[
        bool, switch("--absolute-paths", "Write absolute paths, as the published scripts expect.")
    ] = False,
) -> None:
    """Sample balanced, leakage-safe manifests from dataset folders.

    Writes the ten manifests of the published benchmark, splits.json (requested, found, missing,
    dropped and sampled items of each source) and omitted.csv (every file left out, with the
    reason). A dataset is not needed if its --n-… options are 0.
    """
    given = locals()
    from earwitness.datasets.fma import ENCODERS
    from earwitness.splits import build

    if folder is not None and root is not None:
        raise UsageError("--folder and --root: expected one of them")
    if folder is not None:
        drawn = build.build_folder_splits(
            folder, seed=seed, one_per_group=one_per_group, absolute_paths=absolute_paths
        )
    else:
        given |= {
            "fma_encoders": tuple(comma_list([fma_encoders])) or ENCODERS,
            "train_check": () if no_train_check else _train_checks(train_check),
            "datasets": _datasets(dataset),
            "real_labels": tuple(real_label) if real_label else None,
        }
        names = build.SplitOptions.model_fields
        drawn = build.build_splits(build.SplitOptions(**{name: given[name] for name in names}))
    build.write_splits(drawn, out_dir, absolute_paths=absolute_paths)
    _print(drawn, out_dir)


def _train_checks(text: str) -> tuple[TrainCheck, ...]:
    from earwitness.datasets.sonics import TRAIN_CHECKS

    keys = comma_list([text])
    for key in keys:
        if key not in (*TRAIN_CHECKS, "all"):
            raise UsageError(f"--train-check {key}: expected {', '.join(TRAIN_CHECKS)} or all")
    return TRAIN_CHECKS if "all" in keys else tuple(k for k in TRAIN_CHECKS if k in keys)


def _datasets(values: list[str] | None) -> dict[str, Path | None] | None:
    """Return datasets with their folders; ``None`` is the default folder."""
    pairs = (value.partition("=") for value in values or ())
    return {name: Path(folder) if folder else None for name, _, folder in pairs} or None


def _print(drawn: SplitSet, out_dir: Path) -> None:
    from rich.table import Table
    from rich.text import Text

    console.remark(*drawn.warnings)
    headings = ("source", "asked", "listed", "left out, and why", "not drawn", "taken")
    sources = Table(*headings, box=None)
    for source in drawn.sources:
        reasons = [omission.reason for omission in source.omitted]
        why = ", ".join(f"{reasons.count(r)} {r}" for r in sorted(set(reasons)))
        asked = "all" if source.asked is None else str(source.asked)
        counts = (str(source.n_not_drawn), str(source.taken.height))
        sources.add_row(Text(source.name), asked, str(source.n_listed), Text(why), *counts)
    manifests = Table("manifest", "real", "fake", box=None)
    for name, frame in drawn.frames.items():
        n_fake = int((frame["target"] == 1).sum())
        manifests.add_row(Text(name), str(frame.height - n_fake), str(n_fake))
    console.out.print(sources)
    console.out.print()
    console.out.print(manifests)
    console.echo(f"\nwritten to {out_dir}")
