"""``earwitness train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from earwitness.cli import console
from earwitness.cli.lists import manifest_list


def train(
    *,
    detector: Annotated[
        str, typer.Option(metavar="NAME", help="What to train: fakeprint.")
    ] = "fakeprint",
    manifest: Annotated[
        list[str],
        typer.Option(
            metavar="FILES", help="Training items, or a folder of manifests; several by comma."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="New folder for the weights; its name is the detector's."),
    ],
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder that relative paths in the manifests start from."),
    ] = None,
    band_hz: Annotated[
        str,
        typer.Option(
            metavar="LOW,HIGH", help="Band whose peaks are looked at, two frequencies in Hz."
        ),
    ] = "5000,16000",
    sample_rate_hz: Annotated[
        int, typer.Option(min=8000, metavar="HZ", help="Rate that all audio is brought to.")
    ] = 44_100,
    num_workers: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Decoding processes; 0 decodes in this one."),
    ] = None,
) -> None:
    """Train a detector of your own.

    fakeprint is fitted in seconds and stored without pickle; its card holds hashes of the
    training items and groups, so that exposure can be told later.
    """
    from earwitness.core.errors import UsageError
    from earwitness.detectors.opening import DETECTORS
    from earwitness.manifests.files import read_manifest
    from earwitness.training.fit import train_fakeprint

    if detector != "fakeprint":
        raise UsageError(f"--detector {detector}: cannot be trained, expected fakeprint")
    manifests = [read_manifest(path, root=root) for path in manifest_list(manifest)]
    n_files = len({path for m in manifests for path in m.locate_all()})
    with console.progress_bar("training", n_files) as advance:
        fitted = train_fakeprint(
            manifests,
            out,
            sample_rate_hz=sample_rate_hz,
            band_hz=_band(band_hz),
            n_workers=num_workers,
            advance=advance,
        )
    for path, reason in fitted.failures:
        console.remark(f"not used: {path}: {reason}")
    console.out.print(
        f"fitted on {fitted.n_real} real and {fitted.n_fake} fake items, "
        f"{len(fitted.failures)} could not be read; "
        f"accuracy on these same items {fitted.training_accuracy:.3f}",
        markup=False,
    )
    folder = f"./{out}" if str(out) in DETECTORS else out
    console.out.print(f"written to {out}; use it with --detector {folder}", markup=False)


def _band(text: str) -> tuple[float, float]:
    from earwitness.core.errors import UsageError

    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--band-hz {text!r}, expected two frequencies like 5000,16000") from error
    return low, high
