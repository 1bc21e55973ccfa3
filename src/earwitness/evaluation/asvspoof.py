"""ASVspoof 5 files of predictions: ``<detector>__<dataset>.tsv`` and ``<dataset>.key.tsv``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from earwitness.core.io import file_stem
from earwitness.core.predictions import Predictions
from earwitness.evaluation.repeats import Aggregate
from earwitness.evaluation.sources import open_sources
from earwitness.scoring.asvspoof import write_scores


def export_asvspoof(
    predictions: Sequence[str | Path | Predictions],
    folder: Path,
    *,
    key: Path | None = None,
    aggregate: Aggregate | None = None,
) -> dict[Path, int]:
    """Write a score file for each detector and dataset, and a key for each dataset.

    Args:
        predictions: See ``evaluate``.
        folder: Where the files go.
        key: The key file that tells the truth of ASVspoof score files.
        aggregate: How several rows of one file become one item: ``mean`` or ``max``; ``None``
            refuses them.

    Returns:
        Score file → how many files have no score and stand in the key alone; key files with 0.

    Raises:
        PredictionsError: A file is not what it should be, or a path cannot stand in such a file.
    """
    written: dict[Path, int] = {}
    for one in open_sources(predictions, key=key, aggregate=aggregate):
        dataset, detector = map(file_stem, (one.predictions.dataset, one.predictions.detector))
        scores, keys = folder / f"{detector}__{dataset}.tsv", folder / f"{dataset}.key.tsv"
        written[scores] = write_scores(one.predictions, scores, keys)
        written[keys] = 0
    return written
