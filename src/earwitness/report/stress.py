"""The matrix of a stress test as tables, for the terminal, CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from earwitness.core.io import write_text
from earwitness.evaluation.stress import Matrix, SensitivityRow, StressRow
from earwitness.report.formatting import count, number, p_value, plural
from earwitness.report.tables import (
    Cell,
    Column,
    Row,
    Table,
    count_cell,
    estimate_cell,
    latex_lines,
    name_cell,
    number_cell,
    text_cell,
)

_HEADINGS = ("perturbation", "$n$", "AUROC", "change", "TPR", "FPR")


def flip_words(rows: Sequence[StressRow]) -> dict[str, str]:
    """Return both directions of flips in words that hold for all detectors of the rows."""
    sided = {row.one_sided for row in rows}
    low, high = ("real", "fake")
    if True in sided:
        low, high = ("not flagged", "flagged") if False in sided else ("no trace", "trace")
    return {"fake_to_real": f"fake → {low}", "real_to_fake": f"real → {high}"}


def stress_table(matrix: Matrix) -> Table:
    """Return the matrix, grouped by detector."""
    flips = flip_words(matrix.rows)
    columns = [
        Column("detector", "text"),
        Column("perturbation", "text"),
        Column("n", "count"),
        Column("AUROC", name="auroc"),
        Column("change", name="auroc_change"),
        Column("TPR", name="tpr"),
        Column("FPR", name="fpr"),
        *(
            Column(words, name=name, short=words.replace(" → ", "\n→ "))
            for name, words in flips.items()
        ),
        Column("logit shift", name="logit_shift", short="shift"),
        Column("abstained", name="abstained", short="abst."),
    ]
    sided = sorted({row.detector for row in matrix.rows if row.one_sided})
    notes = [f"{', '.join(sided)}: no trace does not say real."] if sided else []
    n_failed = sum(row.n_failed for row in matrix.rows)
    notes += [f"{n_failed} rows have an error."] * bool(n_failed)
    rows = [Row(_cells(row), row.detector) for row in matrix.rows]
    return Table("Stress matrix", columns, rows, notes, has_filter=True, is_grouped=True)


def sensitivity_table(matrix: Matrix) -> Table:
    """Return what decoder, resampler, crop offset and mono mix change, grouped by detector."""
    columns = [
        *(Column("detector", "text"), Column("what", "text"), Column("perturbation", "text")),
        *(Column("against", "text"), Column("n", "count")),
        *(Column("changed decisions", "count"), Column("share")),
        Column("largest logit change"),
    ]
    rows = [
        Row(
            [
                *map(text_cell, (row.detector, row.aspect, row.perturbation, row.against)),
                *(count_cell(row.n_paired), count_cell(row.n_changed)),
                estimate_cell(row.changed),
                number_cell(row.largest_shift),
            ],
            row.detector,
        )
        for row in matrix.sensitivity
    ]
    return Table("Sensitivity", columns, rows, has_filter=True, is_grouped=True)


def describe_sensitivity(matrix: Matrix) -> Iterator[str]:
    """Yield a sentence for each detector and aspect on which its decisions depend."""
    groups: dict[tuple[str, str], list[SensitivityRow]] = {}
    for row in matrix.sensitivity:
        if row.n_changed:
            groups.setdefault((row.detector, row.aspect), []).append(row)
    for (detector, aspect), rows in groups.items():
        worst = max(rows, key=lambda row: row.n_changed / row.n_paired)
        n_paired = plural(worst.n_paired, "decision")
        yield (
            f"{detector}: decisions depend on the {aspect}; {worst.perturbation} instead of "
            f"{worst.against} changes {count(worst.n_changed)} of {n_paired}"
        )


def worst_table(matrix: Matrix) -> Table:
    """Return the flipped decisions with the largest changes of the logit."""
    columns = [
        *(Column("detector", "text"), Column("perturbation", "text"), Column("file", "text")),
        *(Column("target", "count"), Column("clean logit"), Column("logit")),
    ]
    rows = [
        Row(
            [
                *(text_cell(row.detector), text_cell(row.perturbation), name_cell(case.filepath)),
                *(count_cell(case.target), number_cell(case.clean_logit), number_cell(case.logit)),
            ],
            row.detector,
        )
        for row in matrix.rows
        for case in row.worst
    ]
    return Table("Largest flips", columns, rows, has_filter=True, is_grouped=True)


def write_stress(matrix: Matrix, folder: Path) -> list[Path]:
    """Write ``stress.csv`` and ``stress.tex`` into a folder; return their paths."""
    table, paths = stress_table(matrix), [folder / "stress.csv", folder / "stress.tex"]
    flips = [words.replace("→", "to") for words in flip_words(matrix.rows).values()]
    headings = [*_HEADINGS, *flips, "logit shift", "abstained"]
    table.to_csv(paths[0], [column.name or column.label for column in table.columns])
    write_text(paths[1], "\n".join(latex_lines(table, headings)) + "\n")
    return paths


def describe_tests(rows: Sequence[StressRow]) -> Iterator[str]:
    """Yield a sentence for each change of the accuracy that Holm's correction leaves."""
    for row in rows:
        test = row.accuracy_change
        if test.p_holm is not None and test.p_holm < 0.05:
            change = number(test.value, signed=True)
            yield (
                f"{row.detector}: {row.perturbation} changes the accuracy by {change} "
                f"(p = {p_value(test.p_holm)}, Holm)"
            )


def _cells(row: StressRow) -> list[Cell]:
    change, rates = row.auroc_change, row.rates[0]
    return [
        text_cell(row.detector),
        text_cell(row.perturbation),
        count_cell(row.n_paired),
        estimate_cell(row.auroc),
        number_cell(None, reason=change.reason or "")
        if change.value is None
        else Cell(number(change.value, signed=True), change.value),
        *map(estimate_cell, (rates.tpr, rates.fpr, row.fake_to_real, row.real_to_fake)),
        number_cell(None, reason=row.logit_shift.reason or "")
        if row.logit_shift.value is None
        else Cell(number(row.logit_shift.value, signed=True), row.logit_shift.value),
        estimate_cell(row.abstained),
    ]
