"""Where predictions come from: files, folders that are searched for them, or memory.

Conventions: one source for each detector and dataset, and one row for each item of it, so that no
item counts twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from earwitness.core.errors import RunError, UsageError
from earwitness.core.predictions import Predictions
from earwitness.evaluation.identity import identify, item_keys
from earwitness.evaluation.opened import Opened
from earwitness.evaluation.origins import find_roots
from earwitness.evaluation.repeats import Aggregate, one_row_each
from earwitness.manifests.asvspoof import holds_labels, is_score_file, read_scores
from earwitness.manifests.scores import find_predictions, read_predictions


def open_sources(
    sources: Sequence[str | Path | Predictions],
    *,
    model: str | None = None,
    dataset: str | None = None,
    key: str | Path | None = None,
    aggregate: Aggregate | None = None,
) -> list[Opened]:
    """Open predictions, in the order given.

    Args:
        sources: Prediction files, folders that are searched for them, or predictions.
        model: Name of who judged, in place of those that the sources tell.
        dataset: Name of what was judged, likewise.
        key: The key file of those sources that are ASVspoof score files.
        aggregate: How several rows of one file become one; ``None`` refuses them.

    Raises:
        UsageError: Two would go by the same detector and dataset, or a score file has no key.
        PredictionsError: A file is not what it should be, or has several rows for one item.
    """
    opened: list[Opened] = []
    for source in sources:
        if isinstance(source, Predictions):
            named = replace(
                source, dataset=dataset or source.dataset, detector=model or source.detector
            )
            opened.append(Opened(named, f"{named.detector} on {named.dataset}"))
            continue
        path = Path(source)
        if path.is_file() and is_score_file(path):
            opened.append(_open_scores(path, key, model, dataset))
            continue
        for file in find_predictions(path) if path.is_dir() else [path]:
            found = read_predictions(file, dataset=dataset, detector=model)
            opened += [Opened(predictions, str(file), file) for predictions in found]
    _refuse_twins(opened)
    return _settled(opened, aggregate)


def _settled(opened: Sequence[Opened], aggregate: Aggregate | None) -> list[Opened]:
    """Return sources with one row for each item."""
    try:
        roots = find_roots(opened)
    except RunError:  # it concerns where files are, and is raised where more depends on it
        roots = [[] for _ in opened]
    settled = []
    for one, folders in zip(opened, roots, strict=True):
        items = identify(item_keys(one.predictions, folders))["item"]
        whole = one_row_each(one.predictions, items, source=one.source, aggregate=aggregate)
        settled.append(replace(one, predictions=whole))
    return settled


def source_notes(opened: Iterable[Opened]) -> list[str]:
    """Return what the readers of sources noted, each once."""
    return list(dict.fromkeys(note for one in opened for note in one.predictions.notes))


def _open_scores(
    path: Path, key: str | Path | None, model: str | None, dataset: str | None
) -> Opened:
    if key is None and not holds_labels(path):
        raise UsageError(f"{path}: an ASVspoof score file, expected a key file with it (--key)")
    found = read_scores(path, key, dataset=dataset, detector=model)
    return Opened(found, str(path), path, Path(path if key is None else key))


def _refuse_twins(opened: Iterable[Opened]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for one in opened:
        key = (one.predictions.detector, one.predictions.dataset)
        if key in seen:
            raise UsageError(
                f"{one.source}: model {key[0]!r} on dataset {key[1]!r} again, after "
                f"{seen[key]}; expected one file for each, or names given one file at a time"
            )
        seen[key] = one.source
