"""Score manifests into a run folder or the files of the published scripts; summarize scores."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from earwitness.core.cards import DetectorCard
from earwitness.core.errors import StoppedError, UsageError
from earwitness.core.io import file_stem
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import ENCODER_PREFIX, Predictions, encoder_columns
from earwitness.core.registry import nearest
from earwitness.detectors.base import AnyDetector, FileDetector
from earwitness.scoring.options import FORMS, Form, ScoringOptions
from earwitness.scoring.perturbed import Recipe
from earwitness.scoring.predict import (
    OnFileDone,
    Plan,
    plan_scoring,
    score_plan,
    tabulate,
    tabulate_rows,
    window_parts,
)
from earwitness.scoring.prediction_files import (
    remove_table,
    windows_path,
    write_parts,
    write_predictions,
)
from earwitness.scoring.run_folder import (
    ERRORS_CSV,
    begin_run,
    check_unique_names,
    copy_manifests,
    refuse_contents,
    write_errors,
)
from earwitness.scoring.shards import Shard, cut_shard, describe_shard
from earwitness.scoring.store import STORE_FOLDER, RowStore, locked
from earwitness.scoring.workers import held_interrupts

RECORDS = "answers"
"""Folder of what detectors of whole files answered in a run folder."""
PREDS = "preds"
"""Folder of predictions in a run folder."""
PART_ROWS = 1 << 20
"""Rows that are written at a time, and of a part of a Parquet folder."""

Score = Callable[..., None]
"""Scores the files of a plan into its tallies, as ``score_plan`` does."""

OnStart = Callable[[int, int], OnFileDone]
"""Called with the numbers of files to score and already scored; returns the callback per file."""


def score_into_run(
    manifests: Sequence[Manifest],
    detectors: Sequence[AnyDetector],
    out: Path,
    *,
    options: ScoringOptions,
    on_start: OnStart | None = None,
    recipes: Sequence[Recipe] = (),
    shard: Shard | None = None,
    command: Sequence[str] = (),
    score: Score = score_plan,
) -> dict[Path, Predictions]:
    """Score manifests and write a run folder; see ``run_folder``.

    Every row is on disk as soon as it is finished, so the same call resumes an interrupted run.
    Detectors and manifests may be added to a folder. Returns the prediction files by path.
    Each of ``recipes`` perturbs the rows of a manifest. With ``shard`` only its rows are scored;
    ``command`` is recorded, see ``describe_shard``. ``score`` runs the plan.

    Raises:
        UsageError: Two manifests have the same name.
        RunError: The folder is in use, belongs to another run, or cannot be written.
        StoppedError: Ctrl-C was pressed; files in progress were finished and kept.
    """
    check_unique_names(manifests)
    if options.resume == "never":
        refuse_contents(out)
    with locked(out):
        if shard is None:
            begin_run(out, manifests, detectors, options, recipes=recipes)
        else:
            parts, counts = cut_shard(manifests, shard)
            described = describe_shard(shard, counts, command)
            begin_run(out, manifests, detectors, options, recipes=recipes, shard=described)
            for part in parts:
                part.write(out)
            manifests = [
                replace(manifest, frame=part.manifest(()).frame)
                for manifest, part in zip(manifests, parts, strict=True)
            ]
        copy_manifests(manifests, out / "manifests", options.format)
        return score_into_locked(
            *(manifests, detectors, out),
            options=options,
            on_start=on_start,
            recipes=recipes,
            score=score,
        )


def score_into_locked(
    manifests: Sequence[Manifest],
    detectors: Sequence[AnyDetector],
    out: Path,
    *,
    options: ScoringOptions,
    on_start: OnStart | None = None,
    recipes: Sequence[Recipe] = (),
    score: Score = score_plan,
) -> dict[Path, Predictions]:
    """Score manifests into a run folder that is locked and has a ``run.json``."""
    for detector in detectors:
        if isinstance(detector, FileDetector):
            detector.keep_records(out / RECORDS)
    with ExitStack() as stack:
        stores = [
            stack.enter_context(
                RowStore(
                    out / STORE_FOLDER,
                    detector.card.name,
                    overwrite=options.resume == "always",
                    keep_errors=not options.retry_errors,
                )
            )
            for detector in detectors
        ]
        kept = f"finished rows are kept in {out}; the same command resumes"
        plan = _score(
            *(manifests, detectors, options, on_start, score),
            if_stopped=kept,
            stores=stores,
            recipes=recipes,
        )
        written = dict(_write_plan(plan, out, options))
    write_errors([*written.values()], out / ERRORS_CSV)
    return written


def _write_plan(
    plan: Plan, out: Path, options: ScoringOptions
) -> Iterator[tuple[Path, Predictions]]:
    """Write the prediction files of a finished plan, and yield them; windows are not kept."""
    for manifest, rows, tally in plan.parts():
        found = tabulate_rows(manifest, rows, tally, threshold=options.threshold)
        path = predictions_path(out, found.dataset, found.detector, options.format)
        forms = [path.with_suffix(f".{form}") for form in FORMS]
        for other in forms:  # of an earlier call
            remove_table(other.with_stem(f"{path.stem}_windows"))
        write_parts(found.frame.iter_slices(PART_ROWS) if rows else [found.frame], path)
        for other in forms:
            if other != path:
                remove_table(other)
        if options.keep_windows:
            write_parts(window_parts(manifest, rows, tally), windows_path(path))
        yield path, found


def score_into_files(
    manifests: Sequence[Manifest],
    detectors: Sequence[AnyDetector],
    *,
    output_csv: Path | None,
    output_dir: Path | None,
    options: ScoringOptions,
    on_start: OnStart | None = None,
    score: Score = score_plan,
) -> dict[Path, Predictions]:
    """Score one manifest into the files of the published scripts.

    These are ``output_csv`` of one detector, or ``<detector>/test_predictions.csv`` below
    ``output_dir``; other numbers of manifests and detectors raise a ``UsageError``.
    """
    if len(manifests) != 1 or (output_csv and len(detectors) != 1):
        raise UsageError(
            f"{len(manifests)} manifests and {len(detectors)} detectors for one file: "
            "give --out for a run folder instead"
        )
    base, names = output_dir or Path(), [file_stem(detector.card.name) for detector in detectors]
    paths = [output_csv or base / name / "test_predictions.csv" for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)  # fail before scoring, not after it
        if path.is_dir():
            raise UsageError(f"{path}: found a folder, expected a file to write")
    kept = "nothing is kept without a run folder (--out)"
    plan = _score(manifests, detectors, options, on_start, score, if_stopped=kept)
    predictions = tabulate(plan, threshold=options.threshold, keep_windows=options.keep_windows)
    written = dict(zip(paths, predictions, strict=True))
    for path, prediction in written.items():
        write_predictions(prediction.frame, path)
        if prediction.windows is not None:
            write_predictions(prediction.windows, windows_path(path))
    return written


def predictions_path(out: Path, dataset: str, detector: str, form: Form = "csv") -> Path:
    """Return the path of a detector's predictions on a manifest."""
    return out / PREDS / file_stem(dataset) / f"{file_stem(detector)}.{form}"


def _score(
    manifests: Sequence[Manifest],
    detectors: Sequence[AnyDetector],
    options: ScoringOptions,
    on_start: OnStart | None,
    score: Score,
    *,
    if_stopped: str,
    stores: Sequence[RowStore] = (),
    recipes: Sequence[Recipe] = (),
) -> Plan:
    """Score manifests; Ctrl-C stops after the files in progress."""
    plan = plan_scoring(
        manifests,
        detectors,
        windows=options.windows,
        use_skip_time=options.use_skip_time,
        batch_size=options.batch_size,
        stores=stores,
        recipes=recipes,
    )
    n_to_do = len(plan.waiting)
    advance = on_start(n_to_do, plan.n_files - n_to_do) if on_start else None
    with held_interrupts() as should_stop:
        score(plan, n_workers=options.num_workers, advance=advance, should_stop=should_stop)
    if not plan.is_done:
        raise StoppedError(f"stopped; {if_stopped}")
    return plan


def list_remarks(
    predictions: Sequence[Predictions], cards: Sequence[DetectorCard], *, as_published: bool = False
) -> list[str]:
    """Return notes on sample rates and on files, with the detectors that they concern.

    They count files that were not resampled to the detector's rate, or whose rate is too low for
    its band; with ``as_published``, also those that the published loader scores differently.
    """
    concerned: dict[str, list[str]] = {}
    for card in cards:
        own = [p for p in predictions if p.detector == card.name]
        texts = [*_list_texts([p.frame for p in own], card, as_published=as_published)]
        texts += [f"{p.dataset}: {note}" for p in own for note in p.notes]
        for text in texts:
            concerned.setdefault(text, []).append(card.name)
    return [
        f"{names[0] if len(names) == 1 else f'{len(names)} detectors (as {names[0]})'}: {text}"
        for text, names in concerned.items()
    ]


def _list_texts(
    frames: Sequence[pl.DataFrame], card: DetectorCard, *, as_published: bool
) -> Iterator[str]:
    rate_hz = card.contract.sample_rate_hz
    n_other = _count(frames, pl.col("native_rate_hz") != rate_hz)
    if n_other and card.contract.native_rate:
        published = card.preprocessing == "published"
        why = "as published (--preprocessing correct resamples)" if published else "as it was made"
        yield f"{_files(n_other)} not at {rate_hz} Hz, scored as if at it, {why}"
    if n := _count(frames, pl.col("below_band")):
        yield (
            f"{_files(n)} with a rate below {2 * card.widest_band_hz[1]:g} Hz, empty in part of "
            "the band that it looks at (column below_band)"
        )
    differs = not card.contract.native_rate and card.preprocessing == "correct"
    if n_other and as_published and differs:
        loader = (
            "the published loader does not (--preprocessing published) and gives other scores"
            if card.name.startswith("sonics-")
            else "with the published resampler (--preprocessing published) scores differ"
            if card.contract.resampled_by
            else "with another resampler the published scores differ a little"
        )
        yield f"{_files(n_other)} not at {rate_hz} Hz, resampled; {loader}"


def _count(frames: Sequence[pl.DataFrame], condition: pl.Expr) -> int:
    return len({path for frame in frames for path in frame.filter(condition)["filepath"]})


def _files(n: int) -> str:
    return "1 file" if n == 1 else f"{n} files"


SECTIONS = ("all", "encoder", "real")


def section_accuracies(
    predictions: Predictions, sections: Collection[str] = SECTIONS
) -> dict[str, dict[str, Any]]:
    """Return the published accuracies of scored rows: overall, by encoder of fakes, on reals.

    A section has ``n``, ``accuracy`` and, if the detector's encoder head has the section's class,
    ``encoder_accuracy``: how often that class comes first. Empty sections are left out.
    """
    check_sections(sections)
    scored = predictions.frame.filter(pl.col("pred_label").is_not_null())
    fake = pl.col("target") == 1
    parts: dict[str, pl.DataFrame] = {"all": scored} if "all" in sections else {}
    if "encoder" in sections and "generator" in scored.columns:
        for (name,), rows in (
            scored.filter(fake).sort("generator").group_by("generator", maintain_order=True)
        ):
            parts[f"encoder {name}" if name in SECTIONS else str(name or "unknown")] = rows
    if "real" in sections:
        parts["real"] = scored.filter(~fake)
    return {name: _accuracy(name, rows) for name, rows in parts.items() if rows.height}


def has_encoders(predictions: Predictions) -> bool:
    """Return whether fakes, if any, have a ``generator``."""
    frame = predictions.frame
    fakes = frame.filter(pl.col("target") == 1)
    return fakes.is_empty() or ("generator" in frame.columns and fakes["generator"].count() > 0)


def check_sections(sections: Collection[str]) -> None:
    """Raise a ``UsageError`` for an unknown section."""
    for section in sections:
        if section not in SECTIONS:
            known = f"{', '.join(SECTIONS)}{nearest(section, list(SECTIONS))}"
            raise UsageError(f"--eval-sections: {section!r}, expected some of {known}")


def _accuracy(name: str, rows: pl.DataFrame) -> dict[str, Any]:
    right = (rows["pred_label"] == rows["target"]).sum()
    section: dict[str, Any] = {"n": rows.height, "accuracy": right / rows.height}
    heads = encoder_columns(rows.columns)
    if ENCODER_PREFIX + name in heads:
        first = rows.select(pl.concat_list(heads).list.arg_max()).to_series()
        hits = (first == heads.index(ENCODER_PREFIX + name)).sum()
        section["encoder_accuracy"] = hits / rows.height
    return section
