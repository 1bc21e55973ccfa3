"""The comparison table for LaTeX.

Conventions: booktabs; detectors under the data set they judged; ``--`` is not defined, and a dagger
marks figures that one class alone decides. Names are data: whatever LaTeX would take for a command
is written out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from earwitness.core.files import write_text
from earwitness.core.results import ComparisonRow
from earwitness.evaluation.summarize import (
    NEED_BOTH_CLASSES,
    Cell,
    comparison_record,
    is_one_class,
)

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
    yield _row(["Data set / detector", *_COUNTS, *_RATES.values()])
    for dataset, group in groupby(rows, key=lambda row: row.dataset):
        yield "\\midrule"
        yield f"\\multicolumn{{{len(columns)}}}{{l}}{{\\textbf{{{escape(dataset)}}}}} \\\\"
        yield from (_row(_cells(row)) for row in group)
    yield "\\bottomrule"
    if any(is_one_class(row.counts) for row in rows):
        told = f"{_DAGGER} by construction: this set holds one class only"
        yield f"\\multicolumn{{{len(columns)}}}{{l}}{{\\footnotesize {told}}} \\\\"
    yield "\\end{tabular}"


def _cells(row: ComparisonRow) -> list[str]:
    record, one_class = comparison_record(row), is_one_class(row.counts)
    rates = [_rate(record[name], one_class and name in NEED_BOTH_CLASSES) for name in _RATES]
    return [f"\\quad {escape(row.model)}", *(str(record[name]) for name in _COUNTS), *rates]


def _rate(value: Cell, decided: bool) -> str:
    if value is None:
        return "--"
    return f"{value:.3f}{_DAGGER if decided else ''}"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
