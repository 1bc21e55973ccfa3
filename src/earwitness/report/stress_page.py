"""The page of a stress test: flips in both directions as heat maps, the matrix, and worst cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from markupsafe import Markup

from earwitness.core.io import write_text
from earwitness.evaluation.stress import STRESS_JSON, Matrix, StressRow, write_matrix
from earwitness.report import formatting
from earwitness.report.blocks import Block, ChartCard, Details, Gallery, Note, Section
from earwitness.report.charts.matrices import ALARMS, HeatCell, heatmap_chart
from earwitness.report.charts.renderer import draw_inline
from earwitness.report.headline import Headline
from earwitness.report.page import make_stat, render_page
from earwitness.report.stress import (
    describe_sensitivity,
    describe_tests,
    flip_words,
    sensitivity_table,
    stress_table,
    worst_table,
    write_stress,
)


def write_stress_files(matrix: Matrix, folder: Path) -> list[Path]:
    """Write ``stress.json``, its tables and ``report.html`` into a folder; return their paths."""
    data, page = folder / STRESS_JSON, folder / "report.html"
    write_matrix(matrix, data)
    tables = write_stress(matrix, folder)
    write_stress_report(matrix, page)
    return [data, *tables, page]


def stress_links(matrices: Mapping[str, Matrix], addresses: Mapping[str, str]) -> Section:
    """Return a section that links the page of each stress test, by the name of its manifest."""
    lead = "Every item clean and under each perturbation: which decisions change?"
    notes = [
        Note(describe_flips(matrix), label=name, address=addresses[name])
        for name, matrix in matrices.items()
    ]
    return Section("stress", "Stress tests", lead, notes)


def write_stress_report(matrix: Matrix, path: Path) -> None:
    """Write the page, atomically."""
    detectors = list(dict.fromkeys(row.detector for row in matrix.rows))
    perturbations = {row.perturbation for row in matrix.rows}
    n_items = max((row.n_items for row in matrix.rows), default=0)
    stats = [
        make_stat(len(detectors), "detector"),
        make_stat(len(perturbations), "perturbation"),
        make_stat(n_items, "item"),
    ]
    sections = [_flips(matrix), *_sensitivity(matrix), _matrix(matrix), _worst(matrix)]
    headline = Headline(describe_flips(matrix), [])
    write_text(path, render_page(headline, sections, stats=stats, detectors=detectors))


def describe_flips(matrix: Matrix) -> str:
    """Return the largest share of flips of each direction, in one sentence."""
    found = [
        f"{formatting.percent(value)} of {_turn(name, row)} ({row.detector}, {row.perturbation})"
        for name in ("fake_to_real", "real_to_fake")
        if (row := _largest(matrix, name)) and (value := getattr(row, name).value)
    ]
    return (
        f"At most, a perturbation turns {' and '.join(found)}." if found else "No decision flips."
    )


def _turn(name: str, row: StressRow) -> str:
    """Return a direction in the words of one detector: ``fakes to real``."""
    return flip_words([row])[name].replace(" → ", "s to ")


def _largest(matrix: Matrix, name: str) -> StressRow | None:
    defined = [row for row in matrix.rows if getattr(row, name).value is not None]
    return max(defined, key=lambda row: getattr(row, name).value, default=None)


def _flips(matrix: Matrix) -> Section:
    charts = [chart for name in flip_words(matrix.rows) for chart in _heat_map(matrix, name)]
    note = "Shares of the decisions that were right on the clean file. A dash: there are none."
    card = ChartCard("Flipped decisions", charts, note, is_wide=True)
    tests = [Note(f"{text}.") for text in describe_tests(matrix.rows)]
    summary = f"{formatting.plural(len(tests), 'change')} of the accuracy after Holm's correction"
    lead = (
        "Share of fakes that a detector no longer flags once they are perturbed, and of reals that "
        "it then flags. Every item is compared with its clean row."
    )
    folded: list[Block] = [Details(summary, tests)] if tests else []
    return Section("flips", "Flips", lead, [Gallery([card]), *folded])


def _heat_map(matrix: Matrix, name: str) -> Iterator[Markup]:
    if matrix.rows:
        direction = flip_words(matrix.rows)[name]
        chart = heatmap_chart(
            [_cell(row, name) for row in matrix.rows], steps=ALARMS, title=direction
        )
        label = f"Heat map of flips {direction}, numbers are in the matrix below"
        yield draw_inline(chart, aria_label=label)


def _cell(row: StressRow, name: str) -> HeatCell:
    share = getattr(row, name)
    tooltip = f"{row.detector}, {row.perturbation}, {flip_words([row])[name]}: "
    tooltip += formatting.full_estimate(share)
    return HeatCell(row.perturbation, row.detector, share.value, tooltip)


def _sensitivity(matrix: Matrix) -> Iterator[Section]:
    if matrix.sensitivity:
        lead = (
            "The same audio by another decoder, by another resampler, 10 ms or half "
            "a window earlier or later, or "
            "with the left channel for the mean: no decision should change."
        )
        notes = [Note(f"{text}.", tone="warning") for text in describe_sensitivity(matrix)]
        blocks: list[Block] = [*notes, sensitivity_table(matrix)]
        yield Section("sensitivity", "Sensitivity", lead, blocks)


def _matrix(matrix: Matrix) -> Section:
    lead = (
        "TPR and FPR are at the files' own threshold; changes are perturbed minus clean, on the "
        "items scored both times."
    )
    return Section("matrix", "Matrix", lead, [stress_table(matrix)])


def _worst(matrix: Matrix) -> Section:
    lead = "Per detector and perturbation, up to five flips with the largest change of the logit."
    table = worst_table(matrix)
    return Section("worst", "Worst cases", lead, [table if table.rows else Note("No flips.")])
