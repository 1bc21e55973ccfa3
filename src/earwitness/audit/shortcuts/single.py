"""Each measure of the file alone, as a detector.

Conventions: a finding is about slices; the rows that it lists are the fakes of these slices, and
leaving them out mends nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from pydantic import JsonValue

from earwitness.audit.checks import AuditContext, CheckSpec, Outcome, make_result, not_checked
from earwitness.audit.schema import Finding
from earwitness.audit.shortcuts.measures import MEASURES, Measure, measured_rows
from earwitness.audit.shortcuts.separability import (
    LIMIT,
    Comparison,
    Separation,
    classed,
    decide,
    list_slices,
    measure_categories,
    measure_number,
    slice_figure,
    told_estimate,
    why_no_slices,
)
from earwitness.core.estimate import MIN_GROUPS
from earwitness.splits.grid import ALL, Cell

_SHOWN = 3


class Judged(NamedTuple):
    """One measure in one slice.

    Attributes:
        cell: The slice, without items that have no such measure.
        separation: How well it tells fakes from reals.
    """

    cell: Cell
    separation: Separation

    @property
    def strength(self) -> float:
        """How far AUROC is from 0.5; below all others where there is none."""
        area = self.separation.auroc
        return abs(area.number - 0.5) if area.is_defined else -1.0

    @property
    def maker(self) -> str:
        """Whose fakes they are."""
        return f"{self.cell.keys['generator']} {self.cell.keys['fake_corpus']}"


def check_alone(scene: AuditContext) -> list[Outcome]:
    """Judge every measure in every slice."""
    rows = measured_rows(scene)
    cells = list_slices(rows)
    n_comparisons = len(cells) * len(MEASURES)
    parts = [(measure, _known(measure, cell)) for measure in MEASURES for cell in cells]
    tested = [_test(measure, cell, n_comparisons) for measure, cell in parts]
    judged: dict[str, list[Judged]] = {measure.name: [] for measure in MEASURES}
    for (measure, cell), separation in zip(parts, decide(tested), strict=True):
        judged[measure.name].append(Judged(cell, separation))
    return [_check(scene, rows, one, judged[one.name], n_comparisons) for one in MEASURES]


def _check(
    scene: AuditContext,
    rows: pl.DataFrame,
    measure: Measure,
    judged: Sequence[Judged],
    n_comparisons: int,
) -> Outcome:
    subject, n_rows = _subject(measure), scene.audited_rows.height
    decided = [one for one in judged if one.separation.is_decided]
    figures: dict[str, JsonValue] = {
        "limit": LIMIT,
        "slices": [_figure(measure, one) for one in judged],
    }
    if why := _why_not(rows, judged, n_comparisons):
        return not_checked(subject, why, n_unchecked=n_rows, figures=figures)
    n_checked = _n_rows_of(rows, measure, decided)
    return make_result(
        subject,
        _findings(scene, rows, measure, decided),
        n_checked=n_checked,
        n_unchecked=n_rows - n_checked,
        detail=_detail(measure, decided),
        figures=figures,
    )


def _subject(measure: Measure) -> CheckSpec:
    title = f"{measure.words} alone"
    return CheckSpec(f"alone_{measure.name}", title, "shortcuts", measure.advice)


def _known(measure: Measure, cell: Cell) -> Cell:
    """Return a cell without the items that have no such measure."""
    return Cell(cell.name, cell.keys, cell.rows.filter(pl.col(measure.name).is_not_null()))


def _test(measure: Measure, cell: Cell, n_comparisons: int) -> Comparison:
    items, values = classed(cell.rows), cell.rows[measure.name]
    if measure.is_category:
        return measure_categories(items, values.to_list(), n_comparisons)
    return measure_number(items, values.to_numpy().astype(np.float64), n_comparisons)


def _figure(measure: Measure, one: Judged) -> JsonValue:
    usual = {f"usual_{name}": _usual(measure, one, label) for label, name in _CLASSES.items()}
    more: dict[str, JsonValue] = {
        **usual,
        "finding": one.separation.is_finding,
        "p_holm": one.separation.p_holm,
    }
    return slice_figure(one.cell, one.separation.auroc, more)


_CLASSES = {0: "real", 1: "fake"}


def _usual(measure: Measure, one: Judged, label: int) -> float | str | None:
    """Return the median of a class, or its commonest category; ``None`` without items."""
    values = one.cell.rows.filter(pl.col("target") == label)[measure.name]
    if not len(values):
        return None
    if measure.is_category:
        return str(values.mode().sort()[0])
    return float(np.median(values.to_numpy()))


def _why_not(rows: pl.DataFrame, judged: Sequence[Judged], n_comparisons: int) -> str:
    """Return why nothing can be said of a measure; empty where something can."""
    if not judged:
        return why_no_slices(rows)
    if any(one.separation.is_finding for one in judged):
        return ""
    if open_ := [one for one in judged if one.separation.is_open]:
        strongest = max(open_, key=lambda one: one.strength)
        return f"not decidable among {n_comparisons} comparisons: {_area(strongest)}"
    if not any(one.separation.is_decided for one in judged):
        return f"every slice has fewer than {MIN_GROUPS} groups of a class"
    return ""


def _detail(measure: Measure, decided: Sequence[Judged]) -> str:
    """Return the strongest slice, or, of findings, those of the makers that stand out most."""
    ordered = sorted(decided, key=lambda one: -one.strength)
    found = [one for one in ordered if one.separation.is_finding]
    if not found:
        return f"at most {_area(ordered[0])}"
    makers: dict[str, Judged] = {}
    for one in found:
        makers.setdefault(one.maker, one)
    alike: dict[str, list[str]] = {}
    for one in makers.values():
        alike.setdefault(_told(measure, one), []).append(one.cell.name)
    shown = list(alike.items())[:_SHOWN]
    more = len(found) - sum(len(names) for _, names in shown)
    told = "; ".join(f"{', '.join(names)}: {what}" for what, names in shown)
    return told + (f"; and in {more} more" if more else "")


def _told(measure: Measure, one: Judged) -> str:
    """Return how well a measure tells a slice's fakes, and what is usual in each class."""
    fake, real = (measure.told(_usual(measure, one, label) or 0.0) for label in (1, 0))
    return f"{told_estimate(one.separation.auroc)}, fakes {fake}, reals {real}"


def _area(one: Judged) -> str:
    return f"{one.cell.name}: {told_estimate(one.separation.auroc)}"


def _n_rows_of(rows: pl.DataFrame, measure: Measure, decided: Sequence[Judged]) -> int:
    """Return how many rows stand in slices that were judged."""
    items = pl.concat([one.cell.rows.select("file", "target") for one in decided]).unique()
    known = rows.filter(pl.col(measure.name).is_not_null())
    return known.join(items, on=["file", "target"], how="semi").height


def _findings(
    scene: AuditContext, rows: pl.DataFrame, measure: Measure, decided: Sequence[Judged]
) -> list[Finding]:
    """Return a finding for every fake of a slice where the measure gives fakes away."""
    found = sorted((o for o in decided if o.separation.is_finding), key=lambda o: -o.strength)
    fakes = rows.filter((pl.col("target") == 1) & pl.col(measure.name).is_not_null())
    makers = fakes.select("generator", "corpus").unique().rows()
    details = {maker: _strongest(measure, found, *maker) for maker in makers}
    return [
        Finding(
            check=_subject(measure).name,
            manifest=scene.manifests[row["set"]].name,
            row=row["row"],
            filepath=row["filepath"],
            target=row["target"],
            relation="shortcut",
            detail=f"{measure.words} alone: {detail}",
            drop=False,
        )
        for row in fakes.iter_rows(named=True)
        if (detail := details[row["generator"], row["corpus"]])
    ]


def _strongest(
    measure: Measure, found: Sequence[Judged], generator: str, corpus: str
) -> str | None:
    """Return the strongest of the slices that hold a maker's fakes, in words."""
    for one in found:
        keys = one.cell.keys
        if keys["generator"] in (generator, ALL) and keys["fake_corpus"] in (corpus, ALL):
            return f"{one.cell.name}: {_told(measure, one)}"
    return None
