"""The comparison table: to a CSV, from a CSV, and on the terminal.

Conventions: the columns and their order are the published ones; a figure that is not defined is
an empty cell in a file and a dash on the terminal. Every rate follows from the four counts, so
reading takes the counts alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import polars as pl
from rich import box
from rich.table import Table
from rich.text import Text

from earwitness.core.errors import PredictionsError
from earwitness.core.files import replacing
from earwitness.core.results import COMPARISON_COLUMNS, ComparisonRow, Counts
from earwitness.core.tables import read_table
from earwitness.evaluation.summarize import NEED_BOTH_CLASSES, Cell, comparison_record, is_one_class

BY_CONSTRUCTION = "† by construction: this set holds one class only"

_COUNTS = ("n", "TP", "TN", "FP", "FN")
_READ = ("model", "dataset", *_COUNTS)
_OTHER_HEADINGS = {"model_name": "model", "dataset_name": "dataset", "n_samples": "n"}
_RATE_HEADINGS = {
    "accuracy": "acc",
    "precision_fake": "prec",
    "recall_fake_sensitivity": "rec",
    "specificity_real": "spec",
    "f1_fake": "F1",
    "balanced_accuracy": "bal",
}


def write_comparison(
    rows: Sequence[ComparisonRow], path: str | Path, *, append: bool = False
) -> None:
    """Write the comparison CSV, atomically, sorted by dataset and then by model.

    Args:
        rows: Its rows; no two of the same model and dataset.
        path: The file.
        append: Keep the rows of an existing file; one of the same model and dataset is replaced.

    Raises:
        PredictionsError: Two rows share model and dataset, or the existing file is not a
            comparison table or has columns of its own that would be lost.
    """
    path = Path(path)
    new = {(row.model, row.dataset): row for row in rows}
    if len(new) < len(rows):
        raise PredictionsError(f"{path}: two new rows have the same model and dataset")
    merged = list(rows)
    if append and path.exists():
        old = _read_existing(path)
        merged += [row for row in old if (row.model, row.dataset) not in new]
    _write(in_order(merged), path)


def in_order(rows: Iterable[ComparisonRow]) -> list[ComparisonRow]:
    """Return rows sorted by dataset, then model, as the published table has them."""
    return sorted(rows, key=lambda row: (row.dataset, row.model))


def read_comparison(path: str | Path) -> list[ComparisonRow]:
    """Read a comparison CSV.

    Args:
        path: The file; the headings ``model_name``, ``dataset_name`` and ``n_samples`` are taken
            as well. Columns beyond the names and counts are passed over.

    Raises:
        PredictionsError: The file cannot be read, lacks columns, or rows are wrong: the first is
            shown with its line and the rest are counted.
    """
    return _rows(Path(path), *_read_text(Path(path)))


def comparison_table(rows: Iterable[ComparisonRow], *, title: str | None = None) -> Table:
    """Return the table for the terminal: detectors under the dataset they judged.

    Rates have three decimals, ``–`` is not defined, and a dagger marks figures that one class
    alone decides. Names of up to 35 letters and counts of up to four digits fit into 100 columns.
    """
    rows = in_order(rows)
    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column("dataset / model", overflow="fold", min_width=12)
    for heading in (*_COUNTS, *_RATE_HEADINGS.values()):
        table.add_column(heading, justify="right", no_wrap=True)
    for dataset, group in groupby(rows, key=lambda row: row.dataset):
        table.add_row(Text(dataset, style="bold"))
        for row in group:
            table.add_row(*_cells(row))
        table.add_section()
    if any(is_one_class(row.counts) and row.counts.tp + row.counts.fp for row in rows):
        table.caption = BY_CONSTRUCTION
        table.caption_justify = "left"
    return table


def _write(rows: Sequence[ComparisonRow], path: Path) -> None:
    types = [pl.String, pl.String, *[pl.Int64] * 5, *[pl.Float64] * 6]
    schema = dict(zip(COMPARISON_COLUMNS, types, strict=True))
    frame = pl.DataFrame([comparison_record(row) for row in rows], schema=schema)
    with replacing(path) as temporary:
        frame.write_csv(temporary)


def _read_existing(path: Path) -> list[ComparisonRow]:
    frame, lines = _read_text(path)
    own = [name for name in frame.columns if name not in COMPARISON_COLUMNS]
    if own:
        raise PredictionsError(
            f"{path}: column {own[0]!r} would be lost, expected those of the comparison table alone"
        )
    return _rows(path, frame, lines)


def _read_text(path: Path) -> tuple[pl.DataFrame, list[int]]:
    """Return the table as text under our names, and the line of each row."""
    known = (*COMPARISON_COLUMNS, *_OTHER_HEADINGS)
    table = read_table(path, error=PredictionsError, known=known)
    frame = table.frame
    frame = frame.rename(
        {old: new for old, new in _OTHER_HEADINGS.items() if new not in frame.columns}, strict=False
    )
    missing = [name for name in _READ if name not in frame.columns]
    if missing:
        raise PredictionsError(f"{path}: no column {missing[0]!r}, expected {', '.join(_READ)}")
    return frame, table.lines


def _rows(path: Path, frame: pl.DataFrame, lines: Sequence[int]) -> list[ComparisonRow]:
    rows: list[ComparisonRow] = []
    problems: list[str] = []
    for line, cells in zip(lines, frame.select(_READ).iter_rows(), strict=True):
        row = _row(cells)
        if isinstance(row, str):
            problems.append(f"{path}:{line}: {row}")
        else:
            rows.append(row)
    if problems:
        others = f" (and {len(problems) - 1} more rows)" if len(problems) > 1 else ""
        raise PredictionsError(problems[0] + others)
    return rows


def _row(cells: Sequence[str | None]) -> ComparisonRow | str:
    """Return the row that the cells of ``_READ`` make, or what is wrong with them."""
    model, dataset, *texts = (cell or "" for cell in cells)
    for name, text in (("model", model), ("dataset", dataset)):
        if not text:
            return f"no {name}, expected its name"
    for name, text in zip(_COUNTS, texts, strict=True):
        if not (text.isascii() and text.isdigit()):
            return f"{name} {text!r}, expected a whole number from 0 up"
    n, tp, tn, fp, fn = map(int, texts)
    counts = Counts(tp, tn, fp, fn)
    if counts.n != n:
        return f"TP, TN, FP and FN sum to {counts.n}, expected n, {n}"
    return ComparisonRow(model, dataset, counts)


def _cells(row: ComparisonRow) -> list[Text]:
    record = comparison_record(row)
    counts = [Text(str(record[name])) for name in _COUNTS]
    one_class = is_one_class(row.counts)
    rates = [_rate_cell(name, record[name], one_class) for name in _RATE_HEADINGS]
    return [Text(f" {row.model}"), *counts, *rates]


def _rate_cell(name: str, value: Cell, one_class: bool) -> Text:
    """Three decimals and room for a dagger, so that points stand under each other."""
    decided = one_class and name in NEED_BOTH_CLASSES
    margin = " " if name in NEED_BOTH_CLASSES else ""
    if value is None:
        return Text(f"–{margin}", style="dim")
    return Text(f"{value:.3f}†", style="dim") if decided else Text(f"{value:.3f}{margin}")
