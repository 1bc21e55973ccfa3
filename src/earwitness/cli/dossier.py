"""``earwitness dossier``."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from earwitness.cli import console
from earwitness.cli.listen import open_detectors
from earwitness.cli.options import (
    Root,
    Weights,
    open_manifests,
    option,
    predict_option,
    refuse_inputs,
    switch,
)

_PATHS = ("--weights", "--reference", "--against", "--root")


def dossier(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The song.")],
    *,
    out: Annotated[Path, option("FILE", "Output file (.html).")] = Path("dossier.html"),
    detector: Annotated[
        list[str] | None,
        option("NAMES", "Detectors, as for listen (default: all with local weights)."),
    ] = None,
    weights: Weights = None,
    reference: Annotated[
        list[Path] | None,
        option(
            "PREDS",
            "Predictions of the same detectors on labelled music, for errors on music like this "
            "and likelihood ratios; repeatable.",
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        option("MANIFESTS", "Manifests to search for the same music (comma-separated)."),
    ] = None,
    root: Root = None,
    suite: Annotated[
        str,
        option("NAME", "Changes after which it is scored again: quick, full, a YAML file, none."),
    ] = "quick",
    redact: Annotated[
        bool, switch("--redact", "Leave out the names of files, and the tags.")
    ] = False,
    device: Annotated[str, predict_option("device")] = "auto",
) -> None:
    """Write what is known of one file, and what detectors find, as a page for disputes.

    The page is a single file that works offline and in print. It states the identity of the file,
    how it was decoded, findings with their measured errors, what changes do to them, limits, and
    the command that repeats it.
    """
    from earwitness.listen.dossier import gather
    from earwitness.listen.dossier_page import write_dossier
    from earwitness.perturb.suites import load_suite

    refuse_inputs("--out", [out], [file, *(reference or [])])
    changes = None if suite == "none" else load_suite(suite)
    manifests = open_manifests(against, root) if against else []
    with console.err.status("opening detectors") as status:
        opened = open_detectors(
            detector, weights, preprocessing="correct", device=device, fake_label=None
        )
        found = gather(
            file,
            opened,
            suite=changes,
            reference=reference or [],
            against=manifests,
            working=status.update,
        )
    given: dict[str, Iterable[object]] = {
        "--detector": detector or [each.card.name for each in opened],
        "--weights": weights or [],
        "--reference": reference or [],
        "--against": against or [],
        "--root": [root] if root else [],
        "--suite": [suite],
        "--device": [] if device == "auto" else [device],
    }
    if redact:  # paths are names of files
        given |= {name: [name[2:].upper() for _ in given[name]] for name in _PATHS}
        given["--detector"] = [each.card.name for each in opened]
        given["--suite"] = ["SUITE.yaml" if Path(suite).is_file() else suite]
    words: list[object] = ["earwitness", "dossier", "FILE" if redact else file]
    words += [word for name, values in given.items() for value in values for word in (name, value)]
    words += ["--redact"] if redact else []
    write_dossier(found, out, command=shlex.join(map(str, words)), redact=redact)
    console.echo(f"written to {out}")
    if found.song.error is not None:
        raise typer.Exit(1)
