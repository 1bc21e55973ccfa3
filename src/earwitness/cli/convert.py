"""``earwitness convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from earwitness.cli import console
from earwitness.cli.options import Key, Root, option, refuse_inputs
from earwitness.core.errors import UsageError

OWN: Literal["earwitness"] = "earwitness"
Format = Literal[
    "earwitness", "asvspoof", "df-arena", "all-type-add", "mirex", "df-arena-protocol", "deepfense"
]


def convert(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="File to read.")],
    out: Annotated[Path, typer.Argument(metavar="OUTPUT", help="File to write.")],
    *,
    from_: Annotated[Format, typer.Option("--from", help="Format of the input.")] = OWN,
    to: Annotated[Format, typer.Option("--to", help="Format of the output.")] = OWN,
    key: Key = None,
    key_out: Annotated[
        Path | None,
        option("FILE", "Key to write beside scores without labels (default: OUTPUT with _key)."),
    ] = None,
    root: Root = None,
) -> None:
    """Convert scores and manifests of other tools to ours (CSV, or Parquet by suffix) and back.

    Scores: asvspoof and df-arena (any number, high is real), all-type-add (name, probability of
    real, label), mirex (probability of fake, high is fake). Manifests: df-arena-protocol (CSV of
    file_name and label) and deepfense (Parquet of path, label and ID). A key is the ASVspoof one or
    any CSV of files and labels, such as a manifest.
    """
    from earwitness.scoring.score_formats import PROTOCOL_FORMATS

    is_manifest = {from_, to} & {*PROTOCOL_FORMATS}
    if is_manifest and not {from_, to} <= {OWN, *PROTOCOL_FORMATS}:
        raise UsageError(f"--from {from_} --to {to}: one has scores, the other none")
    if from_ == to:
        raise UsageError(f"--from {from_} --to {to}: expected two formats")
    key_out = key_out or out.with_name(f"{out.stem}_key{'.csv' if to != 'asvspoof' else '.tsv'}")
    refuse_inputs("OUTPUT", [out, key_out], [source, key])
    if is_manifest:
        _convert_manifest(source, out, from_, to, root)
    else:
        _convert_scores(source, out, from_, to, key=key, key_out=key_out)


def _convert_manifest(source: Path, out: Path, from_: str, to: str, root: Path | None) -> None:
    from earwitness.scoring.score_formats import PROTOCOL_FORMATS, read_protocol
    from earwitness.splits.manifests import read_manifest, write_manifest

    manifest = read_manifest(source, root=root) if from_ == OWN else read_protocol(source)
    if to == OWN:
        write_manifest(manifest, out)
    else:
        PROTOCOL_FORMATS[to](manifest, out)
    console.echo(f"{len(manifest)} files written to {out}")


def _convert_scores(
    source: Path, out: Path, from_: str, to: str, *, key: Path | None, key_out: Path
) -> None:
    from earwitness.scoring.prediction_files import read_predictions, write_predictions
    from earwitness.scoring.score_formats import SCORE_FORMATS

    if from_ == OWN:
        found = read_predictions(source)
        if len(found) > 1:
            names = ", ".join(each.detector for each in found)
            raise UsageError(f"{source}: detectors {names}, expected one")
        predictions = found[0]
    else:
        predictions = SCORE_FORMATS[from_].read(source, key)
    console.remark(*predictions.notes)
    if to == OWN:
        write_predictions(predictions.frame, out)
        n_lacking = predictions.frame.height - predictions.n_scored
    else:
        n_lacking = SCORE_FORMATS[to].write(predictions, out, key_out)
    lacking = f", {n_lacking} without a score" if n_lacking else ""
    beside = f" and {key_out}" if to not in (OWN, "all-type-add") else ""
    console.echo(f"{predictions.frame.height} files{lacking}, written to {out}{beside}")
