"""Pictures of the comparison table: one confusion matrix a row, as PNG.

Conventions: drawn offline and without a browser; a file is called ``<dataset>__<model>.png``,
and ``<dataset>__<model>__normalized.png`` where shares of the rows are drawn, with the names as the
published script writes them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from earwitness.charts.confusion import confusion_chart
from earwitness.core.files import distinct_stems, file_stem
from earwitness.core.results import ComparisonRow
from earwitness.metrics.points import accuracy
from earwitness.reporting.drawing import save_chart


def plot_confusions(
    rows: Sequence[ComparisonRow], out_dir: str | Path, *, normalized: bool = False
) -> list[Path]:
    """Draw the confusion matrix of every row.

    Args:
        rows: Rows of a comparison table.
        out_dir: Where the pictures go; it is made if it is missing.
        normalized: Draw row-normalised matrices as well.

    Returns:
        The pictures, in the order of the rows. Rows whose names make the same file name get
        ``__2``, ``__3`` and so on; a very long name is shortened and ends in a hash.
    """
    written = []
    for row, stem in zip(rows, _stems(rows), strict=True):
        written.append(draw_confusion(row, Path(out_dir) / f"{stem}.png", normalized=False))
        if normalized:
            path = Path(out_dir) / f"{stem}__normalized.png"
            written.append(draw_confusion(row, path, normalized=True))
    return written


def draw_confusion(row: ComparisonRow, path: Path, *, normalized: bool = False) -> Path:
    """Draw the confusion matrix of one row as a PNG, atomically, and return its path."""
    chart = confusion_chart(
        row.counts, title=row.model, subtitle=_subtitle(row), normalized=normalized
    )
    save_chart(chart, path)
    return path


def _subtitle(row: ComparisonRow) -> str:
    share = accuracy(row.counts)
    told = "undefined" if math.isnan(share) else f"{share:.3f}"
    n = f"{row.counts.n:,}".replace(",", "\u202f")
    return f"{row.dataset}\nn = {n}, accuracy {told}"


def _slug(name: str) -> str:
    """Return a name as the published script writes it in file names: ``a/b`` is ``a_b``."""
    return re.sub(r"[^a-zA-Z0-9._-]+", "_", name).strip("_") or file_stem(name)


def _stems(rows: Sequence[ComparisonRow]) -> list[str]:
    stems = (f"{_slug(row.dataset)}__{_slug(row.model)}" for row in rows)
    return distinct_stems(stems, endings=("", "__normalized"))
