"""The comparison table: to a CSV, from a CSV, and on the terminal.

Conventions: the columns and their order are the published ones; a figure that is not defined is
an empty cell in a file and a dash on the terminal. Every rate follows from the four counts, so
reading takes the counts alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import polars as pl
from rich import box
from rich.table import Table
from rich.text import Text

from earwitness.core.errors import PredictionsError
from earwitness.core.estimate import COMPARISON_COLUMNS, ComparisonRow, Counts
from earwitness.core.io import atomic_write, distinct_stems, file_stem, write_text
from earwitness.core.text_table import read_table
from earwitness.evaluation.summarize import NEED_BOTH_CLASSES, Cell, comparison_record, is_one_class
from earwitness.metrics.measures import measure_counts
from earwitness.report.charts.matrices import confusion_chart
from earwitness.report.charts.renderer import save_chart

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
    with atomic_write(path) as temporary:
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


_COUNTS = ("n", "TP", "TN", "FP", "FN")
_RATES = {
    "accuracy": "Acc.",
    "precision_fake": "Prec.",
    "recall_fake_sensitivity": "Rec.",
    "specificity_real": "Spec.",
    "f1_fake": r"F\textsubscript{1}",
    "balanced_accuracy": "Bal.",
}
_DAGGER = r"\textsuperscript{\dag}"
_WRITTEN_OUT = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    **{character: f"\\{character}" for character in "&%$#_"},
}


def write_latex(rows: Sequence[ComparisonRow], path: str | Path) -> None:
    r"""Write the table as a file to ``\input``, atomically; it needs the package booktabs.

    Args:
        rows: Rows of a comparison table, those of a data set together.
        path: The file.
    """
    write_text(Path(path), "\n".join(_lines(rows)) + "\n")


def escape(text: str) -> str:
    """Return a name as LaTeX prints it."""
    return "".join(
        _WRITTEN_OUT.get(character, character if character.isprintable() else "?")
        for character in text
    )


def _lines(rows: Sequence[ComparisonRow]) -> Iterator[str]:
    columns = "l" + "r" * (len(_COUNTS) + len(_RATES))
    yield "% Needs \\usepackage{booktabs}; to be \\input into a table."
    yield f"\\begin{{tabular}}{{{columns}}}"
    yield "\\toprule"
    yield _latex_row(["Data set / detector", *_COUNTS, *_RATES.values()])
    for dataset, group in groupby(rows, key=lambda row: row.dataset):
        yield "\\midrule"
        yield f"\\multicolumn{{{len(columns)}}}{{l}}{{\\textbf{{{escape(dataset)}}}}} \\\\"
        yield from (_latex_row(_latex_cells(row)) for row in group)
    yield "\\bottomrule"
    if any(is_one_class(row.counts) for row in rows):
        told = f"{_DAGGER} by construction: this set holds one class only"
        yield f"\\multicolumn{{{len(columns)}}}{{l}}{{\\footnotesize {told}}} \\\\"
    yield "\\end{tabular}"


def _latex_cells(row: ComparisonRow) -> list[str]:
    record, one_class = comparison_record(row), is_one_class(row.counts)
    rates = [_rate(record[name], one_class and name in NEED_BOTH_CLASSES) for name in _RATES]
    return [f"\\quad {escape(row.model)}", *(str(record[name]) for name in _COUNTS), *rates]


def _rate(value: Cell, decided: bool) -> str:
    if value is None:
        return "--"
    return f"{value:.3f}{_DAGGER if decided else ''}"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


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
    share = measure_counts("accuracy", row.counts)
    told = "undefined" if math.isnan(share) else f"{share:.3f}"
    n = f"{row.counts.n:,}".replace(",", "\u202f")
    return f"{row.dataset}\nn = {n}, accuracy {told}"


def _slug(name: str) -> str:
    """Return a name as the published script writes it in file names: ``a/b`` is ``a_b``."""
    return re.sub(r"[^a-zA-Z0-9._-]+", "_", name).strip("_") or file_stem(name)


def _stems(rows: Sequence[ComparisonRow]) -> list[str]:
    stems = (f"{_slug(row.dataset)}__{_slug(row.model)}" for row in rows)
    return distinct_stems(stems, endings=("", "__normalized"))
