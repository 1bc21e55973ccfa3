"""``earwitness predict``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console
from earwitness.cli.engines import (
    Engine,
    command_of_merge,
    command_of_shards,
    with_engine_options,
)
from earwitness.cli.options import (
    GPU_HELP,
    Root,
    Weights,
    comma_list,
    open_manifests,
    option,
    remark_on_manifests,
    switch,
    with_scoring_options,
)
from earwitness.core.errors import UsageError
from earwitness.scoring.options import ScoringOptions

if TYPE_CHECKING:
    from earwitness.core.manifest import Manifest
    from earwitness.core.predictions import Predictions
    from earwitness.detectors.base import AnyDetector

_published = partial(option, panel="As in the published scripts")


@with_scoring_options
@with_engine_options
def predict(
    *,
    detector: Annotated[
        list[str] | None,
        typer.Option(
            "--detector",
            "--config",
            "--models",
            metavar="NAMES",
            help="Detectors by name, hub id, folder, onnx:FILE, command:FOLDER or address, "
            "comma-separated (also --config, --models).",
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
    weights: Weights = None,
    out: Annotated[
        Path | None,
        option("DIR", "Run folder: run.json, manifests/, preds/<manifest>/<detector>.csv."),
    ] = None,
    root: Root = None,
    run_on: Engine,
    options: ScoringOptions,
    strict: Annotated[
        bool, switch("--strict", "Exit with status 1 if any row could not be scored.")
    ] = False,
    output_csv: Annotated[
        Path | None,
        _published("FILE", "Write one prediction file (with one manifest and one detector)."),
    ] = None,
    output_dir: Annotated[
        Path | None, _published("DIR", "Write DIR/<detector>/test_predictions.csv.")
    ] = None,
    gpu: Annotated[int | None, _published("N", GPU_HELP, min=-1)] = None,
    repeat: Annotated[int, _published("N", "Ignored: the crop is fixed.", min=1)] = 1,
    eval_sections: Annotated[
        str | None,
        _published(
            "NAMES",
            "Accuracies to print and write to <output>_sections.json: all, encoder, real "
            "(default with --output-csv: all three).",
        ),
    ] = None,
) -> None:
    """Score every item of manifests with detectors.

    There is one output row per item; the row of a file that cannot be scored contains the error.
    The exit status is then 0, but 1 with --strict, or if every row failed and it is no shard. After
    Ctrl-C or a crash the same command resumes.
    """
    from earwitness.evaluation.summarize import write_published_tables
    from earwitness.scoring import run

    if sum(target is not None for target in (out, output_csv, output_dir)) != 1:
        raise UsageError("expected one of --out RUN_FOLDER, --output-csv FILE, --output-dir DIR")
    if out is None and (options.resume != "missing" or options.retry_errors):
        raise UsageError("--resume and --retry-errors: expected --out RUN_FOLDER with them")
    if out is None and options.format != "csv":
        raise UsageError("--format: expected --out RUN_FOLDER with it; other files are by suffix")
    run_on.check(out)
    part = run_on.choose_shard(out)
    manifests = open_manifests(manifest, root)
    if run_on.engine == "slurm" and out is not None:
        run_on.submit(out, command_of_merge(out))
        return
    sections = comma_list([eval_sections or "all,encoder,real"])
    run.check_sections(sections)
    if repeat > 1:
        console.remark("--repeat changes nothing: the crop of a file is fixed")
    with ExitStack() as stack:
        detectors, on_engine = run_on.open_detectors(stack, detector, weights, options, gpu=gpu)
        remark_on_manifests(manifests)
        score: Callable[..., dict[Path, Predictions]]
        if out is not None:
            own = out / part.folder if part else out
            command = command_of_shards(sys.argv[1:]) if part else ()
            score = partial(run.score_into_run, out=own, shard=part, command=command)
        else:
            score = partial(run.score_into_files, output_csv=output_csv, output_dir=output_dir)
        started = on_start(stack)
        written = score(manifests, detectors, options=options, on_start=started, score=on_engine)
    if eval_sections is not None or output_csv is not None:
        _report_sections(written, sections)
    if output_dir is not None:
        for path, prediction in written.items():
            write_published_tables(prediction, path.parent)
    cards = [detector.card for detector in detectors]
    console.remark(*run.list_remarks([*written.values()], cards, as_published=out is None))
    _remark_on(manifests, detectors, options.preprocessing)
    _finish(written, strict=strict, is_part=part is not None)


def _remark_on(
    manifests: Sequence[Manifest], detectors: Sequence[AnyDetector], preprocessing: str
) -> None:
    """Print notes of detectors, and which columns of manifests are replaced by theirs."""
    from earwitness.core.predictions import PREDICTION_COLUMNS

    for opened in detectors:
        name = opened.card.name
        console.remark(*(f"{name}: {line}" for line in opened.remarks))
        if opened.card.preprocessing != preprocessing:
            console.remark(f"{name} knows one preprocessing only: {opened.card.preprocessing}")
    for manifest in manifests:
        replaced = [name for name in manifest.frame.columns if name in PREDICTION_COLUMNS]
        if replaced:
            console.remark(
                f"{manifest.name}: the manifest's {', '.join(replaced)} are replaced by the "
                "detector's columns of these names"
            )


def on_start(stack: ExitStack) -> Callable[[int, int], Callable[[bool], None]]:
    """Return a factory that opens the progress bar once the total is known."""

    def start(n_to_do: int, n_done: int) -> Callable[[bool], None]:
        if n_done:
            there, all_ = map(console.thousands, (n_done, n_done + n_to_do))
            left = "" if n_to_do else ", nothing is left to do"
            console.remark(f"{there} of {all_} files are scored already{left}")
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
            console.echo(line)
    if "encoder" in wanted:
        lacking = {p.dataset for p in written.values() if not has_encoders(p)}
        for dataset in sorted(lacking):
            console.remark(f"{dataset}: no fake has a generator, so there is no section by encoder")


def _finish(written: dict[Path, Predictions], *, strict: bool, is_part: bool) -> None:
    n_scored = sum(found.n_scored for found in written.values())
    n_failed = sum(found.n_failed for found in written.values())
    n_abstained = sum(found.n_abstained for found in written.values())
    for path, found in written.items():
        if found.n_failed or found.n_abstained or len(written) == 1:
            counts = _counts("scored", found.n_scored, found.n_abstained, found.n_failed)
            console.echo(f"{path}: {counts}")
    columns = ("error", "abstained", "filepath")
    rows = (row for found in written.values() for row in found.frame.select(columns).iter_rows())
    reasons = ((why, path) for *both, path in rows for why in both if why)
    console.remark(*console.frequent(reasons))
    where = " (see the error column)" if n_failed else ""
    console.out.print(f"{_counts('rows scored', n_scored, n_abstained, n_failed)}{where}")
    # All rows of a small shard may be broken files; whether all of the run are, merge tells.
    if n_failed and (strict or not (is_part or n_scored + n_abstained)):
        raise typer.Exit(1)


def _counts(scored: str, n_scored: int, n_abstained: int, n_failed: int) -> str:
    abstained = f"{console.thousands(n_abstained)} abstained, " if n_abstained else ""
    failed = f"{console.thousands(n_failed)} failed"
    return f"{console.thousands(n_scored)} {scored}, {abstained}{failed}"
