"""The comparison table as CSV, LaTeX and confusion matrices.

Columns and their order are the published ones. Only counts are read; rates follow from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from earwitness.core.errors import PredictionsError
from earwitness.core.estimate import COMPARISON_COLUMNS, OWN_COLUMNS, ComparisonRow, Counts
from earwitness.core.io import distinct_stems, file_stem, write_text
from earwitness.core.text_table import read_table
from earwitness.evaluation.summarize import NEED_BOTH_CLASSES, comparison_record, is_one_class
from earwitness.metrics.measures import measure_counts
from earwitness.report import formatting
from earwitness.report.charts.matrices import confusion_chart
from earwitness.report.charts.renderer import save_chart
from earwitness.report.tables import (
    BY_CONSTRUCTION,
    Cell,
    Column,
    Row,
    Table,
    count_cell,
    latex_lines,
    make_row,
    name_cell,
    number_cell,
    text_cell,
)

_COUNTS = ("n", "TP", "TN", "FP", "FN")
_READ = ("model", "dataset", *_COUNTS)
_ALIASES = {"model_name": "model", "dataset_name": "dataset", "n_samples": "n"}
_RATES = (
    Column("accuracy", name="accuracy", short="acc"),
    Column("precision", name="precision_fake", short="prec"),
    Column("recall", name="recall_fake_sensitivity", short="rec"),
    Column("specificity", name="specificity_real", short="spec"),
    Column("F1", name="f1_fake"),
    Column("balanced accuracy", name="balanced_accuracy", short="bal"),
)


_ABSTAINED = "lost items have no score, abstentions among them; they are in no other column"
_ONE_SIDED = "TN and FN are items without a trace, which are not called real"


def comparison_table(rows: Iterable[ComparisonRow], *, always_lost: bool = False) -> Table:
    """Return the table, sorted by data set and then by detector.

    A dagger marks rates that the lack of one class alone decides. The last columns are the numbers
    of items without a score, where there are any (or ``always_lost``), and of abstentions.
    """
    rows = sorted(rows, key=lambda row: (row.dataset, row.model))
    columns = [
        Column("data set", "text", name="dataset"),
        Column("detector", "text", name="model"),
        *(Column(name, "count") for name in _COUNTS),
        *_RATES,
    ]
    cells = [_row_cells(row) for row in rows]
    is_marked = any(cell.by_construction for row in cells for cell in row.cells)
    notes = [f"† {BY_CONSTRUCTION}"] * is_marked
    notes += [_ABSTAINED] * any(row.n_abstained for row in rows)
    if sided := dict.fromkeys(row.model for row in rows if row.one_sided):
        notes.append(f"{', '.join(sided)}: {_ONE_SIDED}")
    table = Table("Comparison table", columns, cells, notes, has_filter=True, is_grouped=True)
    if always_lost or any(row.n_lost for row in rows):
        lost = Column("lost", "count", name="n_lost")
        table = _with_column(table, lost, [count_cell(row.n_lost) for row in rows])
    if any(row.n_abstained for row in rows):
        abstained = Column("abstained", "count", name="n_abstained", short="abst.")
        table = _with_column(table, abstained, [count_cell(row.n_abstained) for row in rows])
    return table


def _with_column(table: Table, column: Column, cells: Sequence[Cell]) -> Table:
    rows = [
        replace(row, cells=[*row.cells, cell]) for row, cell in zip(table.rows, cells, strict=True)
    ]
    return replace(table, columns=[*table.columns, column], rows=rows)


def _row_cells(row: ComparisonRow) -> Row:
    record, counts, one_class = comparison_record(row), row.counts, is_one_class(row.counts)
    reason = "nothing called fake" if counts.n else "no items"
    if one_class:
        reason = "only fakes" if counts.n_fake else "only reals"
    rates = [
        number_cell(
            record[column.name],  # type: ignore[arg-type]
            by_construction=one_class and column.name in NEED_BOTH_CLASSES,
            reason=reason,
        )
        for column in _RATES
    ]
    numbers = (counts.n, counts.tp, counts.tn, counts.fp, counts.fn)
    names = (name_cell(row.dataset), name_cell(row.model))
    return make_row(*names, *numbers, *rates, detector=row.model)


def write_comparison(
    rows: Sequence[ComparisonRow], path: str | Path, *, append: bool = False
) -> None:
    """Write the comparison CSV, atomically, sorted by dataset and then by model.

    ``OWN_COLUMNS`` follow the published ones only where a row has lost items or is of a one-sided
    detector.

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
        merged += [row for row in _read_existing(path) if (row.model, row.dataset) not in new]
    merged.sort(key=lambda row: (row.dataset, row.model))
    table = comparison_table(merged, always_lost=True)
    names: tuple[str, ...] = COMPARISON_COLUMNS
    if any(row.n_lost or row.one_sided for row in merged):
        if not any(row.n_abstained for row in merged):
            table = _with_column(
                table, Column("n_abstained", "count"), [count_cell(0)] * len(merged)
            )
        sided = [text_cell("true" if row.one_sided else "false") for row in merged]
        table = _with_column(table, Column("one_sided", "text"), sided)
        names = (*names, *OWN_COLUMNS)
    table.to_csv(path, names)


def write_latex(rows: Sequence[ComparisonRow], path: str | Path) -> None:
    r"""Write the table as a file to ``\input``, atomically; it needs the package booktabs."""
    rates = ("Acc.", "Prec.", "Rec.", "Spec.", r"F\textsubscript{1}", "Bal.")
    table = comparison_table(rows)
    extra = [column.label for column in table.columns if column.name in OWN_COLUMNS]
    headings = ["Data set / detector", *_COUNTS, *rates, *extra]
    write_text(Path(path), "\n".join(latex_lines(table, headings)) + "\n")


def read_comparison(path: str | Path) -> list[ComparisonRow]:
    """Read a comparison CSV.

    Args:
        path: The file; the headings ``model_name``, ``dataset_name`` and ``n_samples`` are
            accepted as well. Columns beyond the names, the counts and ``OWN_COLUMNS`` are ignored.

    Raises:
        PredictionsError: The file cannot be read, lacks columns, or rows are wrong: the first is
            shown with its line and the rest are counted.
    """
    return _parse_rows(Path(path), *_read_text(Path(path)))


def _read_existing(path: Path) -> list[ComparisonRow]:
    frame, lines = _read_text(path)
    own = [name for name in frame.columns if name not in (*COMPARISON_COLUMNS, *OWN_COLUMNS)]
    if own:
        raise PredictionsError(
            f"{path}: column {own[0]!r} would be lost, expected those of the comparison table alone"
        )
    return _parse_rows(path, frame, lines)


def _read_text(path: Path) -> tuple[pl.DataFrame, Sequence[int]]:
    """Return the table as text with our column names, and the line of each row."""
    table = read_table(
        path, error=PredictionsError, known=(*COMPARISON_COLUMNS, *OWN_COLUMNS, *_ALIASES)
    )
    frame = table.frame
    renamed = {old: new for old, new in _ALIASES.items() if new not in frame.columns}
    frame = frame.rename(renamed, strict=False)
    missing = [name for name in _READ if name not in frame.columns]
    if missing:
        raise PredictionsError(f"{path}: no column {missing[0]!r}, expected {', '.join(_READ)}")
    return frame, table.lines


def _parse_rows(path: Path, frame: pl.DataFrame, lines: Sequence[int]) -> list[ComparisonRow]:
    rows: list[ComparisonRow] = []
    problems: list[str] = []
    unknown = [pl.lit(None).alias(name) for name in OWN_COLUMNS if name not in frame.columns]
    read = frame.with_columns(unknown).select(*_READ, *OWN_COLUMNS)
    for line, cells in zip(lines, read.iter_rows(), strict=True):
        row = _parse_row(cells)
        if isinstance(row, str):
            problems.append(f"{path}:{line}: {row}")
        else:
            rows.append(row)
    if problems:
        others = f" (and {len(problems) - 1} more rows)" if len(problems) > 1 else ""
        raise PredictionsError(problems[0] + others)
    return rows


def _parse_row(cells: Sequence[str | None]) -> ComparisonRow | str:
    """Return the row of the cells of ``_READ`` and ``OWN_COLUMNS``, or the problem with them."""
    model, dataset, *texts = (cell or "" for cell in cells)
    lost, abstained, sided = (text or "0" for text in texts[len(_COUNTS) :])
    for name, text in (("model", model), ("dataset", dataset)):
        if not text:
            return f"no {name}, expected its name"
    counted = zip(
        (*_COUNTS, *OWN_COLUMNS[:2]), (*texts[: len(_COUNTS)], lost, abstained), strict=True
    )
    for name, text in counted:
        if not (text.isascii() and text.isdigit()):
            return f"{name} {text!r}, expected a whole number from 0 up"
    n, tp, tn, fp, fn = map(int, texts[: len(_COUNTS)])
    counts = Counts(tp, tn, fp, fn)
    if counts.n != n:
        return f"TP, TN, FP and FN sum to {counts.n}, expected n, {n}"
    if int(abstained) > int(lost):
        return f"n_abstained {abstained}, expected at most n_lost, {lost}"
    is_sided = {"true": True, "1": True, "false": False, "0": False}.get(sided.lower())
    if is_sided is None:
        return f"one_sided {sided!r}, expected true or false"
    return ComparisonRow(model, dataset, counts, int(lost), int(abstained), is_sided)


def plot_confusions(
    rows: Sequence[ComparisonRow], out_dir: str | Path, *, normalized: bool = False
) -> list[Path]:
    """Draw the confusion matrix of every row.

    Args:
        rows: Rows of a comparison table.
        out_dir: Output folder; it is created if it is missing.
        normalized: Draw row-normalised matrices as well.

    Returns:
        The pictures, in the order of the rows. Rows whose names make the same file name get
        ``__2``, ``__3`` and so on; a very long name is shortened and ends in a hash.
    """
    written = []
    stems = (f"{_slug(row.dataset)}__{_slug(row.model)}" for row in rows)
    distinct = distinct_stems(stems, endings=("", "__normalized"))
    for row, stem in zip(rows, distinct, strict=True):
        for is_normalized in (False, True)[: 1 + normalized]:
            path = Path(out_dir) / f"{stem}{'__normalized' * is_normalized}.png"
            written.append(draw_confusion(row, path, normalized=is_normalized))
    return written


def draw_confusion(row: ComparisonRow, path: Path, *, normalized: bool = False) -> Path:
    """Draw the confusion matrix of one row as a PNG, atomically, and return its path."""
    share = measure_counts("accuracy", row.counts)
    size = formatting.count(row.counts.n)
    lines = [row.dataset, f"n = {size}, accuracy {formatting.number(share)}", *lost_sentences(row)]
    chart = confusion_chart(
        row.counts,
        title=row.model,
        subtitle="\n".join(lines),
        normalized=normalized,
        one_sided=row.one_sided,
    )
    save_chart(chart, path)
    return path


def lost_sentences(row: ComparisonRow) -> Iterator[str]:
    """Yield a sentence each on abstentions and on errors, which are in no matrix."""
    n_failed = row.n_lost - row.n_abstained
    if row.n_abstained:
        yield f"Not in it: {formatting.count(row.n_abstained)} abstained from."
    if n_failed:
        yield f"Not in it: {formatting.count(n_failed)} without a score."


def _slug(name: str) -> str:
    """Return a name as in file names of the published script: ``a/b`` is ``a_b``."""
    return re.sub(r"[^a-zA-Z0-9._-]+", "_", name).strip("_") or file_stem(name)
