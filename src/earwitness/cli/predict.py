"""``earwitness predict``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console
from earwitness.cli.options import (
    Root,
    choose_device,
    comma_list,
    open_manifests,
    option,
    remark_on_manifests,
    weights_by_name,
    with_scoring_options,
)
from earwitness.scoring.options import ScoringOptions

if TYPE_CHECKING:
    from earwitness.core.manifest import Manifest
    from earwitness.core.predictions import Predictions
    from earwitness.detectors.base import Detector

_PUBLISHED = "As in the published scripts"


@with_scoring_options
def predict(
    *,
    detector: Annotated[
        list[str] | None,
        typer.Option(
            "--detector",
            "--config",
            "--models",
            metavar="NAMES",
            help="Detectors by name, hub id or folder, comma-separated (also --config, --models).",
        ),
    ] = None,
    manifest: Annotated[
        list[str] | None,
        typer.Option(
            "--manifest",
            "--manifest-csv",
            "--test-csv",
            metavar="FILES",
            help="Manifests, or folders of them, comma-separated (also --manifest-csv, "
            "--test-csv).",
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        option(
            "NAME=PATH",
            "Path of a detector's weights; a bare path is for a single detector (default: "
            "$EARWITNESS_WEIGHTS/NAME, then the hub).",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Run folder: run.json, manifests/, preds/<manifest>/<detector>.csv."
        ),
    ] = None,
    root: Root = None,
    options: ScoringOptions,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with status 1 if any row could not be scored.")
    ] = False,
    output_csv: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write one prediction file (with one manifest and one detector).",
            rich_help_panel=_PUBLISHED,
        ),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write DIR/<detector>/test_predictions.csv.",
            rich_help_panel=_PUBLISHED,
        ),
    ] = None,
    gpu: Annotated[
        int | None,
        typer.Option(
            min=-1,
            metavar="N",
            help="N is --device cuda:N, -1 is --device cpu.",
            rich_help_panel=_PUBLISHED,
        ),
    ] = None,
    repeat: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Ignored: the crop is fixed.",
            rich_help_panel=_PUBLISHED,
        ),
    ] = 1,
    eval_sections: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Accuracies to print and write to <output>_sections.json: all, encoder, real "
            "(default with --output-csv: all three).",
            rich_help_panel=_PUBLISHED,
        ),
    ] = None,
) -> None:
    """Score every item of manifests with detectors.

    There is one output row per item; the row of a file that cannot be scored contains the error.
    The exit status is then 0, but 1 with --strict or if every row failed. After Ctrl-C or a crash
    the same command resumes.
    """
    from earwitness.core.errors import UsageError
    from earwitness.detectors.loading import check_names, open_detector
    from earwitness.evaluation.summarize import write_published_tables
    from earwitness.scoring import run
    from earwitness.scoring.run import check_sections, list_remarks

    if sum(target is not None for target in (out, output_csv, output_dir)) != 1:
        raise UsageError("expected one of --out RUN_FOLDER, --output-csv FILE, --output-dir DIR")
    if out is None and (options.resume != "missing" or options.retry_errors):
        raise UsageError("--resume and --retry-errors: expected --out RUN_FOLDER with them")
    manifests = open_manifests(manifest, root)
    sections = comma_list([eval_sections or "all,encoder,real"])
    check_sections(sections)
    if repeat > 1:
        console.remark("--repeat changes nothing: the crop of a file is fixed")
    names = comma_list(detector)
    places = weights_by_name(weights, names)
    device = choose_device(options.device, gpu, console.remark)
    detectors = check_names(
        [
            open_detector(
                name,
                weights=places,
                device=device,
                n_encoders=options.n_encoders,
                preprocessing=options.preprocessing,
                precision=options.precision,
                backend=options.backend,
            )
            for name in names
        ]
    )
    remark_on_manifests(manifests)
    with ExitStack() as stack:
        on_start = _starting(stack)
        if out is not None:
            written = run.score_into_run(
                manifests, detectors, out, options=options, on_start=on_start
            )
        else:
            written = run.score_into_files(
                manifests,
                detectors,
                output_csv=output_csv,
                output_dir=output_dir,
                options=options,
                on_start=on_start,
            )
    if eval_sections is not None or output_csv is not None:
        _report_sections(written, sections)
    if output_dir is not None:
        for path, prediction in written.items():
            write_published_tables(prediction, path.parent)
    for line in list_remarks(
        list(written.values()), [d.card for d in detectors], as_published=out is None
    ):
        console.remark(line)
    _remark_on(manifests, detectors, options.preprocessing)
    _finish(written, strict=strict)


def _remark_on(
    manifests: Sequence[Manifest], detectors: Sequence[Detector], preprocessing: str
) -> None:
    """Print notes of detectors, and which columns of manifests are replaced by theirs."""
    from earwitness.core.predictions import PREDICTION_COLUMNS

    for opened in detectors:
        for line in opened.remarks:
            console.remark(f"{opened.card.name}: {line}")
        if opened.card.preprocessing != preprocessing:
            name = opened.card.name
            console.remark(f"{name} knows one preprocessing only: {opened.card.preprocessing}")
    for manifest in manifests:
        replaced = [name for name in manifest.frame.columns if name in PREDICTION_COLUMNS]
        if replaced:
            console.remark(
                f"{manifest.name}: the manifest's {', '.join(replaced)} are replaced by the "
                "detector's columns of these names"
            )


def _starting(stack: ExitStack) -> Callable[[int, int], Callable[[bool], None]]:
    """Return a factory that opens the progress bar once the total is known."""

    def start(n_to_do: int, n_done: int) -> Callable[[bool], None]:
        if n_done:
            there, all_ = map(console.thousands, (n_done, n_done + n_to_do))
            console.remark(
                f"{there} of {all_} files are scored already"
                + ("" if n_to_do else ", nothing is left to do")
            )
        return stack.enter_context(console.progress_bar("scoring", n_to_do))

    return start


def _report_sections(written: dict[Path, Predictions], wanted: list[str]) -> None:
    """Print and write accuracies by section; of several manifests, each line names its own."""
    from earwitness.core.io import write_json
    from earwitness.scoring.run import has_encoders, section_accuracies

    several = len({prediction.dataset for prediction in written.values()}) > 1
    for path, prediction in written.items():
        sections = section_accuracies(prediction, wanted)
        write_json(path.with_name(f"{path.stem}_sections.json"), sections)
        who = f"{prediction.detector} on {prediction.dataset}" if several else prediction.detector
        for name, section in sections.items():
            line = f"{who} {name}: accuracy {section['accuracy']:.4f} (n={section['n']})"
            if "encoder_accuracy" in section:
                line += f", encoder accuracy {section['encoder_accuracy']:.4f}"
            console.out.print(line, markup=False)
    if "encoder" in wanted:
        lacking = {p.dataset for p in written.values() if not has_encoders(p)}
        for dataset in sorted(lacking):
            console.remark(f"{dataset}: no fake has a generator, so there is no section by encoder")


def _finish(written: dict[Path, Predictions], *, strict: bool) -> None:
    n_scored = sum(prediction.n_scored for prediction in written.values())
    n_failed = sum(prediction.n_failed for prediction in written.values())
    n_abstained = sum(prediction.n_abstained for prediction in written.values())
    for path, found in written.items():
        if found.n_failed or found.n_abstained or len(written) == 1:
            counts = _counts("scored", found.n_scored, found.n_abstained, found.n_failed)
            console.out.print(f"{path}: {counts}", markup=False)
    for reason in _common_reasons(written.values()):
        console.remark(reason)
    where = " (see the error column)" if n_failed else ""
    console.out.print(f"{_counts('rows scored', n_scored, n_abstained, n_failed)}{where}")
    if n_failed and (strict or not n_scored + n_abstained):
        raise typer.Exit(1)


def _counts(scored: str, n_scored: int, n_abstained: int, n_failed: int) -> str:
    abstained = f"{console.thousands(n_abstained)} abstained, " if n_abstained else ""
    failed = f"{console.thousands(n_failed)} failed"
    return f"{console.thousands(n_scored)} {scored}, {abstained}{failed}"


def _common_reasons(predictions: Iterable[Predictions], n_shown: int = 5) -> list[str]:
    """The most frequent errors and reasons to abstain, each with its count and one file."""
    seen: dict[str, list[str]] = {}
    for prediction in predictions:
        for path, *reasons in prediction.frame.select("filepath", "error", "abstained").iter_rows():
            for reason in filter(None, reasons):
                seen.setdefault(reason, []).append(path)
    frequent = sorted(seen.items(), key=lambda item: -len(item[1]))[:n_shown]
    return [f"{len(paths)} × {error} (as {paths[0]})" for error, paths in frequent]
