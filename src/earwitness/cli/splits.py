"""``earwitness splits``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from earwitness.cli import console
from earwitness.cli.options import MANIFESTS, comma_list, train_checks

if TYPE_CHECKING:
    from earwitness.splits.build import SplitSet

_FMA = "FMA"
_SONICS = "SONICS"
_CAPS = "FakeMusicCaps"
_OTHERS = "Other datasets"
_OWN = "Your own folders"


def splits(
    *,
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Workspace root: paths not given below are the published ones under it, and "
            "manifests hold paths relative to it. Default: the working folder.",
        ),
    ] = None,
    out_dir: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the manifests.")
    ] = MANIFESTS,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed.")] = 42,
    deezer_split_npy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Deezer's split file (.npy).", rich_help_panel=_FMA),
    ] = None,
    deezer_split_name: Annotated[
        Literal["train", "valid", "validation", "test"],
        typer.Option(help="Which of its splits to draw from.", rich_help_panel=_FMA),
    ] = "valid",
    fma_real_root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of real tracks.", rich_help_panel=_FMA),
    ] = None,
    fma_fake_root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder with one folder per encoder.", rich_help_panel=_FMA
        ),
    ] = None,
    fma_encoders: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            show_default=False,
            help="Encoders to draw from, by comma (default: the nine published).",
            rich_help_panel=_FMA,
        ),
    ] = "",
    n_fma_real: Annotated[
        int, typer.Option(min=0, metavar="N", help="Real tracks.", rich_help_panel=_FMA)
    ] = 2000,
    n_fma_fake: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Reconstructions, shared out over the encoders.",
            rich_help_panel=_FMA,
        ),
    ] = 2000,
    sonics_root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The SONICS folder.", rich_help_panel=_SONICS)
    ] = None,
    sonics_eval_csv: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Split to draw from (default: valid.csv of the SONICS folder).",
            rich_help_panel=_SONICS,
        ),
    ] = None,
    sonics_train_csv: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Split to keep clear of (default: train.csv).",
            rich_help_panel=_SONICS,
        ),
    ] = None,
    n_sonics_real: Annotated[
        int, typer.Option(min=0, metavar="N", help="Real songs.", rich_help_panel=_SONICS)
    ] = 2000,
    n_sonics_fake: Annotated[
        int, typer.Option(min=0, metavar="N", help="Generated songs.", rich_help_panel=_SONICS)
    ] = 2000,
    fakemusiccaps_root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder with one folder per generator.", rich_help_panel=_CAPS
        ),
    ] = None,
    n_fakemusiccaps_fake: Annotated[
        int, typer.Option(min=0, metavar="N", help="Generated clips.", rich_help_panel=_CAPS)
    ] = 2000,
    stratify_fakemusiccaps: Annotated[
        bool,
        typer.Option(
            "--stratify/--no-stratify",
            help="Share the clips out over the generators.",
            rich_help_panel=_CAPS,
        ),
    ] = True,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=DIR]",
            show_default=False,
            help="Dataset to draw from, and its folder: fma, sonics, fakemusiccaps or one that "
            "another package registers (default: these three). Repeatable.",
            rich_help_panel=_OTHERS,
        ),
    ] = None,
    n_dataset: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Items of each class of a dataset without --n-… options of its own.",
            rich_help_panel=_OTHERS,
        ),
    ] = 2000,
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Make manifests of <folder>/real/** and <folder>/fake/<generator>/** instead.",
            rich_help_panel=_OWN,
        ),
    ] = None,
    train_check: Annotated[
        str,
        typer.Option(
            metavar="KEYS",
            help="Leave out rows whose path, name or song is in the train split of their dataset; "
            "some of them by comma, or all. The published rule is path.",
        ),
    ] = "all",
    no_train_check: Annotated[
        bool, typer.Option("--no-train-check", help="Do not look at the train split.")
    ] = False,
    one_per_group: Annotated[
        bool,
        typer.Option("--one-per-group", help="One item per track, real or fake, not both."),
    ] = False,
    absolute_paths: Annotated[
        bool,
        typer.Option("--absolute-paths", help="Absolute paths, as the published scripts expect."),
    ] = False,
) -> None:
    """Draw balanced, leakage-safe manifests from dataset folders.

    Writes the ten manifests of the published benchmark, splits.json (what was asked, found,
    missing, dropped and why, taken) and omitted.csv (every file left out, with its reason). A
    dataset of which nothing is asked (--n-… 0) is not looked for.
    """
    from earwitness.core.errors import UsageError
    from earwitness.datasets import fma
    from earwitness.splits import build as jobs
    from earwitness.splits.build import write_splits

    if folder is not None and root is not None:
        raise UsageError("--folder and --root: expected one of them")
    if folder is not None:
        drawn = jobs.build_folder_splits(
            folder, seed=seed, one_per_group=one_per_group, absolute_paths=absolute_paths
        )
    else:
        drawn = jobs.build_splits(
            jobs.SplitOptions(
                root=root,
                deezer_split_npy=deezer_split_npy,
                deezer_split_name=deezer_split_name,
                fma_real_root=fma_real_root,
                fma_fake_root=fma_fake_root,
                fma_encoders=tuple(comma_list([fma_encoders])) or fma.ENCODERS,
                fakemusiccaps_root=fakemusiccaps_root,
                sonics_root=sonics_root,
                sonics_eval_csv=sonics_eval_csv,
                sonics_train_csv=sonics_train_csv,
                n_fma_real=n_fma_real,
                n_fma_fake=n_fma_fake,
                n_sonics_real=n_sonics_real,
                n_sonics_fake=n_sonics_fake,
                n_fakemusiccaps_fake=n_fakemusiccaps_fake,
                seed=seed,
                train_check=() if no_train_check else train_checks(train_check),
                one_per_group=one_per_group,
                stratify_fakemusiccaps=stratify_fakemusiccaps,
                absolute_paths=absolute_paths,
                datasets=_datasets(dataset),
                n_dataset=n_dataset,
            )
        )
    write_splits(drawn, out_dir, absolute_paths=absolute_paths)
    _print(drawn, out_dir)


def _datasets(values: list[str] | None) -> dict[str, Path | None] | None:
    """Return the folder of each dataset that ``--dataset`` names; ``None`` is its usual place."""
    pairs = (value.partition("=") for value in values or ())
    return {name: Path(folder) if folder else None for name, _, folder in pairs} or None


def _print(drawn: SplitSet, out_dir: Path) -> None:
    from rich.table import Table
    from rich.text import Text

    for line in drawn.warnings:
        console.remark(line)
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
    console.out.print(f"\nwritten to {out_dir}", markup=False)
