"""Detectors over manifests, into a run folder or into the files of the published scripts.

A run folder::

    run.json                          options, cards, weight hashes, manifest digests, versions
    manifests/<name>.csv              what was judged
    preds/<manifest>/<detector>.csv   one row out per row in; beside it <detector>_windows.csv
                                      with the score of every window, where they are kept
    errors.csv                        rows that could not be scored, where there are any
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from earwitness import __version__
from earwitness.audio.clips import Windows
from earwitness.core.errors import UsageError
from earwitness.core.files import file_stem, replacing, write_json
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import Predictions
from earwitness.detectors.base import Detector
from earwitness.inference.predict import Advance, predict
from earwitness.manifests.files import write_manifest, write_root
from earwitness.manifests.scores import write_predictions

RUN_JSON = "run.json"
ERRORS_CSV = "errors.csv"
_LIBRARIES = ("numpy", "polars", "torch", "soundfile", "av", "soxr", "scipy", "scikit-learn")


@dataclass(frozen=True)
class ScoringOptions:
    """How to score; see ``predict``."""

    windows: Windows = "published"
    use_skip_time: bool = False
    keep_windows: bool = False
    threshold: float | None = None
    batch_size: int = 32
    n_workers: int | None = None


def score_into_run(
    manifests: Sequence[Manifest],
    detectors: Sequence[Detector],
    out: Path,
    *,
    options: ScoringOptions,
    copy_manifests: bool = True,
    advance: Advance | None = None,
) -> dict[Path, Predictions]:
    """Score manifests and write a run folder.

    Args:
        manifests: What is judged.
        detectors: Who judges.
        out: The run folder; predictions that are there under the same names are replaced.
        options: How to score.
        copy_manifests: Put what was judged beside the scores.
        advance: Told of every file that is done.

    Returns:
        Prediction files and what they hold.

    Raises:
        UsageError: Two manifests go by one name.
    """
    _refuse_twins(manifests)
    if copy_manifests:
        _copy_manifests(manifests, out / "manifests")
    predictions = _predict(manifests, detectors, options, advance)
    written = {}
    for prediction in predictions:
        folder = out / "preds" / file_stem(prediction.dataset)
        path = folder / f"{file_stem(prediction.detector)}.csv"
        windows_beside(path).unlink(missing_ok=True)  # of an earlier run
        _write(prediction, path)
        written[path] = prediction
    _write_errors(predictions, out / ERRORS_CSV)
    write_json(out / RUN_JSON, _describe_run(manifests, detectors, options))
    return written


def score_into_files(
    manifests: Sequence[Manifest],
    detectors: Sequence[Detector],
    *,
    output_csv: Path | None,
    output_dir: Path | None,
    options: ScoringOptions,
    advance: Advance | None = None,
) -> dict[Path, Predictions]:
    """Score one manifest into the file, or the files per detector, of the published scripts.

    Args:
        manifests: Exactly one.
        detectors: Exactly one with ``output_csv``.
        output_csv: The file to write.
        output_dir: Folder for ``<detector>/test_predictions.csv``, where no file is given.
        options: How to score.
        advance: Told of every file that is done.

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
        path.parent.mkdir(parents=True, exist_ok=True)  # told before scoring, not after it
        if path.is_dir():
            raise UsageError(f"{path}: found a folder, expected a file to write")
    written = dict(zip(paths, _predict(manifests, detectors, options, advance), strict=True))
    for path, prediction in written.items():
        _write(prediction, path)
    return written


def windows_beside(path: Path) -> Path:
    """Return where scores per window lie for a file of predictions."""
    return path.with_name(f"{path.stem}_windows.csv")


def _write(prediction: Predictions, path: Path) -> None:
    write_predictions(prediction.frame, path)
    if prediction.windows is not None:
        write_predictions(prediction.windows, windows_beside(path))


def _predict(
    manifests: Sequence[Manifest],
    detectors: Sequence[Detector],
    options: ScoringOptions,
    advance: Advance | None,
) -> list[Predictions]:
    return predict(
        manifests,
        detectors,
        windows=options.windows,
        use_skip_time=options.use_skip_time,
        keep_windows=options.keep_windows,
        threshold=options.threshold,
        batch_size=options.batch_size,
        n_workers=options.n_workers,
        advance=advance,
    )


def _refuse_twins(manifests: Sequence[Manifest]) -> None:
    stems = [file_stem(manifest.name) for manifest in manifests]
    twins = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twins:
        raise UsageError(f"two manifests go by the name {twins[0]!r}; rename one of the files")


def _copy_manifests(manifests: Sequence[Manifest], folder: Path) -> None:
    """Copy what was judged; paths stay relative where one root serves them all."""
    root = _common_root(manifests)
    for manifest in manifests:
        copy = manifest
        if root is None:
            located = pl.Series("filepath", [str(p.absolute()) for p in manifest.locate_all()])
            copy = Manifest(manifest.name, manifest.frame.with_columns(located))
        write_manifest(copy, folder / f"{file_stem(manifest.name)}.csv")
    if root is not None:
        write_root(folder, root)


def _common_root(manifests: Sequence[Manifest]) -> Path | None:
    """Return the first root of all manifests where all their relative paths lie below it."""
    firsts = {manifest.roots[:1] for manifest in manifests}
    first = next(iter(firsts)) if len(firsts) == 1 else ()
    if not first:
        return None
    for manifest in manifests:
        paths = manifest.frame["filepath"].to_list()
        if any(first[0] / p != at for p, at in zip(paths, manifest.locate_all(), strict=True)):
            return None
    return first[0]


def _write_errors(predictions: Sequence[Predictions], path: Path) -> None:
    columns = ("filepath", "error")
    frames = [
        p.frame.filter(pl.col("error").is_not_null()).select(
            pl.lit(p.dataset).alias("manifest"), pl.lit(p.detector).alias("detector"), *columns
        )
        for p in predictions
        if p.n_failed
    ]
    if not frames:
        path.unlink(missing_ok=True)
        return
    with replacing(path) as temporary:
        pl.concat(frames).write_csv(temporary)


def _describe_run(
    manifests: Sequence[Manifest], detectors: Sequence[Detector], options: ScoringOptions
) -> dict[str, Any]:
    return {
        "earwitness": __version__,
        "python": platform.python_version(),
        "machine": platform.platform(),
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "options": vars(options),
        "manifests": {
            manifest.name: {
                "n": len(manifest),
                "digest": manifest.digest,
                "roots": [root.as_posix() for root in manifest.roots],
            }
            for manifest in manifests
        },
        "detectors": [detector.card.model_dump(mode="json") for detector in detectors],
    }
