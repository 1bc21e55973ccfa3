"""``earwitness perturb``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from earwitness.cli import console
from earwitness.cli.options import Root, option


def perturb(
    *,
    manifest: Annotated[Path, option("FILE", "Manifest of the files to copy.")],
    suite: Annotated[str, option("NAME", "quick, sensitivity, full or a YAML file.")] = "quick",
    out: Annotated[Path, option("DIR", "Output folder of copies and manifest.csv.")] = Path(
        "perturbed"
    ),
    file_format: Annotated[
        Literal["flac", "wav"],
        typer.Option(
            "--format", help="24-bit FLAC (WAV of floats for copies over full scale), or WAV."
        ),
    ] = "flac",
    seed: Annotated[int, option("N", "Random seed of quick and full.")] = 0,
    root: Root = None,
) -> None:
    """Write perturbed copies of a manifest's files, and a manifest of them.

    Run it again to resume. Files that fail are in errors.csv, with the reason.
    """
    import polars as pl

    from earwitness.core.manifest import Manifest
    from earwitness.perturb.copies import write_copies
    from earwitness.perturb.suites import load_suite
    from earwitness.splits.grouping import track_keys
    from earwitness.splits.manifests import read_manifest, write_manifest

    items, perturbations = read_manifest(manifest, root=root), load_suite(suite, seed=seed)
    is_named = "source_dataset" in items.frame.columns
    tracks = track_keys(items.frame) if is_named else ()
    rows = []
    total = len(items) * len(perturbations.perturbations)
    with console.progress_bar("perturb", total, "copies") as advance:
        for row in write_copies(items, perturbations, out, tracks=tracks, kind=file_format):
            rows.append(row)
            advance(row["error"] is None)
    frame = pl.DataFrame(rows, infer_schema_length=None)
    failed = frame.filter(pl.col("error").is_not_null())
    done = frame.filter(pl.col("error").is_null()).drop("error")
    write_manifest(Manifest("errors", failed), out / "errors.csv")
    write_manifest(Manifest("manifest", done), out / "manifest.csv")
    console.echo(f"{done.height} copies, {failed.height} failed; written to {out}")
