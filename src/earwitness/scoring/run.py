"""Score manifests into a run folder or into the files of the published scripts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from earwitness.core.errors import StoppedError, UsageError
from earwitness.core.io import file_stem
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import Predictions
from earwitness.detectors.base import Detector
from earwitness.scoring.interrupts import held_interrupts
from earwitness.scoring.options import ScoringOptions
from earwitness.scoring.predict import OnFileDone, Plan, plan_scoring, score_plan, tabulate
from earwitness.scoring.prediction_files import write_predictions
from earwitness.scoring.run_folder import (
    ERRORS_CSV,
    begin_run,
    check_unique_names,
    copy_manifests,
    refuse_contents,
    write_errors,
)
from earwitness.scoring.store import STORE_FOLDER, RowStore, locked

PREDS = "preds"
"""Folder of predictions in a run folder."""

OnStart = Callable[[int, int], OnFileDone]
"""Called with the numbers of files to do and done; returns the callback of each file."""


def score_into_run(
    manifests: Sequence[Manifest],
    detectors: Sequence[Detector],
    out: Path,
    *,
    options: ScoringOptions,
    starting: OnStart | None = None,
) -> dict[Path, Predictions]:
    """Score manifests and write a run folder; see ``run_folder``.

    Every row is on disk as soon as it is finished: whatever ends a run, the same call
    resumes it. Detectors and manifests may be added to a folder.

    Args:
        manifests: Manifests to score.
        detectors: Detectors to score them with.
        out: The run folder.
        options: How to score.
        starting: Called once the numbers of files to do and done are known.

    Returns:
        Prediction files and what they hold.

    Raises:
        UsageError: Two manifests go by one name.
        RunError: The folder is in use, belongs to another run, or cannot be written.
        StoppedError: Ctrl-C was pressed; what was in hand is finished and kept.
    """
    check_unique_names(manifests)
    if options.resume == "never":
        refuse_contents(out)
    with locked(out):
        begin_run(out, manifests, detectors, options)
        copy_manifests(manifests, out / "manifests")
        return score_into_own(manifests, detectors, out, options=options, starting=starting)


def score_into_own(
    manifests: Sequence[Manifest],
    detectors: Sequence[Detector],
    out: Path,
    *,
    options: ScoringOptions,
    starting: OnStart | None = None,
) -> dict[Path, Predictions]:
    """Score manifests into a run folder that is locked and begun; see ``score_into_run``."""
    with ExitStack() as stack:
        stores = [
            stack.enter_context(
                RowStore(
                    out / STORE_FOLDER,
                    detector.card.name,
                    anew=options.resume == "always",
                    keep_errors=not options.retry_errors,
                )
            )
            for detector in detectors
        ]
        plan = _plan(manifests, detectors, options, stores)
        _score(
            plan, options, starting, f"finished rows are kept in {out}; the same command resumes"
        )
        return _write_run(_tabulate(plan, options), out)


def _write_run(predictions: Sequence[Predictions], out: Path) -> dict[Path, Predictions]:
    written = {}
    for prediction in predictions:
        path = predictions_path(out, prediction.dataset, prediction.detector)
        windows_beside(path).unlink(missing_ok=True)  # of an earlier call
        _write(prediction, path)
        written[path] = prediction
    write_errors(predictions, out / ERRORS_CSV)
    return written


def score_into_files(
    manifests: Sequence[Manifest],
    detectors: Sequence[Detector],
    *,
    output_csv: Path | None,
    output_dir: Path | None,
    options: ScoringOptions,
    starting: OnStart | None = None,
) -> dict[Path, Predictions]:
    """Score one manifest into the file, or the files per detector, of the published scripts.

    Args:
        manifests: Exactly one.
        detectors: Exactly one with ``output_csv``.
        output_csv: The file to write.
        output_dir: Folder for ``<detector>/test_predictions.csv``, where no file is given.
        options: How to score.
        starting: Called once the number of files to do is known.

    Raises:
        UsageError: More manifests or detectors than the file can hold.
    """
    if len(manifests) != 1 or (output_csv and len(detectors) != 1):
        raise UsageError(
            f"{len(manifests)} manifests and {len(detectors)} detectors for one file: "
            "give --out for a run folder instead"
        )
    base = output_dir or Path()
    paths = [
        output_csv or base / file_stem(detector.card.name) / "test_predictions.csv"
        for detector in detectors
    ]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)  # fail before scoring, not after it
        if path.is_dir():
            raise UsageError(f"{path}: found a folder, expected a file to write")
    plan = _plan(manifests, detectors, options)
    _score(plan, options, starting, "nothing is kept without a run folder (--out)")
    written = dict(zip(paths, _tabulate(plan, options), strict=True))
    for path, prediction in written.items():
        _write(prediction, path)
    return written


def predictions_path(out: Path, dataset: str, detector: str) -> Path:
    """Return the path of a detector's predictions on a manifest."""
    return out / PREDS / file_stem(dataset) / f"{file_stem(detector)}.csv"


def windows_beside(path: Path) -> Path:
    """Return the path of the scores per window that belong to a prediction file."""
    return path.with_name(f"{path.stem}_windows.csv")


def _write(prediction: Predictions, path: Path) -> None:
    write_predictions(prediction.frame, path)
    if prediction.windows is not None:
        write_predictions(prediction.windows, windows_beside(path))


def _plan(
    manifests: Sequence[Manifest],
    detectors: Sequence[Detector],
    options: ScoringOptions,
    stores: Sequence[RowStore] = (),
) -> Plan:
    return plan_scoring(
        manifests,
        detectors,
        windows=options.windows,
        use_skip_time=options.use_skip_time,
        batch_size=options.batch_size,
        stores=stores,
    )


def _score(plan: Plan, options: ScoringOptions, starting: OnStart | None, if_stopped: str) -> None:
    """Carry a plan out, unless Ctrl-C ends it before."""
    n_done = plan.n_files - len(plan.tasks)
    advance = starting(len(plan.tasks), n_done) if starting else None
    with held_interrupts() as should_stop:
        score_plan(plan, n_workers=options.num_workers, advance=advance, should_stop=should_stop)
    if not plan.is_done:
        raise StoppedError(f"stopped; {if_stopped}")


def _tabulate(plan: Plan, options: ScoringOptions) -> list[Predictions]:
    return tabulate(plan, threshold=options.threshold, keep_windows=options.keep_windows)
