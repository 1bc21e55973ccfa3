"""Detectors that ignore the music: each measure of the file alone, and all of them together.

``alone_<measure>`` ranks files by one measure. ``baseline_container`` is a random forest over the
file format and the level, ``baseline_channel`` one over bandwidth, silence and stereo field as
well, which may be a generator's own trace. A detector has to be better than these. Their findings
are about slices; dropping rows does not solve them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.audit.checks import (
    CLASSES,
    AuditContext,
    CheckSpec,
    Outcome,
    make_result,
    not_checked,
)
from earwitness.audit.schema import Finding, SliceAuroc
from earwitness.audit.shortcuts.measures import ITEM, MEASURES, Measure, measured_rows
from earwitness.audit.shortcuts.separability import (
    LIMIT,
    N_FOLDS,
    SEED,
    Comparison,
    Separation,
    decide,
    format_auroc,
    list_slices,
    make_labels,
    measure_categories,
    measure_forest,
    measure_number,
    one_hot,
)
from earwitness.core.estimate import MIN_GROUPS
from earwitness.splits.grouping import ALL, Cell

MOST_ITEMS = 1000
"""Items of a slice that forests use; groups are drawn where there are more."""

MOST_CATEGORIES = 20
"""Categories of a measure that forests use, commonest first."""

_N_SHOWN = {"alone": 3, "baseline": 4}
_BASELINES = {
    "container": "all measures of the container together",
    "channel": "all measures of container and channel together",
}
_ADVICE = (
    "make files alike as the checks of single measures advise, and compare every detector's AUROC "
    "with this one: it has to be higher"
)


class Scored(NamedTuple):
    """A measure or baseline in one slice, without items that lack the measure."""

    cell: Cell
    separation: Separation

    @property
    def auroc(self) -> float:
        """The AUROC, NaN where it is undefined."""
        return self.separation.auroc.number

    @property
    def strength(self) -> float:
        """Distance of AUROC from 0.5; below all others where it is undefined."""
        return abs(self.auroc - 0.5) if self.separation.auroc.is_defined else -1.0

    def describe(self) -> str:
        """Return the slice and its AUROC as text."""
        return f"{self.cell.name}: {format_auroc(self.separation.auroc)}"

    def to_slice(self, **fields: float | str | None) -> SliceAuroc:
        """Return the entry of ``audit.json``."""
        own = {"finding": self.separation.is_finding, "p_holm": self.separation.p_holm}
        return SliceAuroc.of(self.separation.auroc, **self.cell.keys, **own, **fields)


def check_alone(context: AuditContext) -> list[Outcome]:
    """Test every measure in every slice."""
    rows = measured_rows(context)
    slices, measures = list_slices(rows), {one.name: one for one in MEASURES}
    cells = {
        name: [Cell(c.name, c.keys, c.rows.filter(pl.col(name).is_not_null())) for c in slices]
        for name in measures
    }

    def compare(name: str, cell: Cell, n_comparisons: int) -> Comparison:
        labels, values = make_labels(cell.rows), cell.rows[name]
        if measures[name].is_category:
            return measure_categories(labels, values.to_list(), n_comparisons)
        return measure_number(labels, values.to_numpy().astype(np.float64), n_comparisons)

    scored = _score(cells, compare)
    return [_conclude_alone(context, rows, one, scored[one.name]) for one in MEASURES]


def _conclude_alone(
    context: AuditContext, rows: pl.DataFrame, measure: Measure, scored: Sequence[Scored]
) -> Outcome:
    title = f"{measure.words} alone"
    spec = CheckSpec(f"alone_{measure.name}", title, "shortcuts", measure.advice)
    slices = [
        one.to_slice(**{f"usual_{name}": _usual(measure, one, name) for name in CLASSES})
        for one in scored
    ]
    ordered = sorted(
        (one for one in scored if one.separation.is_decided), key=lambda one: -one.strength
    )
    found = [one for one in ordered if one.separation.is_finding]
    return _conclude(
        context,
        rows,
        spec,
        scored,
        slices,
        findings=_find_fakes(context, rows, spec, measure, found),
        detail=_describe_strongest(measure, ordered),
    )


def check_baselines(context: AuditContext) -> list[Outcome]:
    """Fit and test both baselines in every slice."""
    rows = measured_rows(context)
    cells = list_slices(rows)
    scored = _score(dict.fromkeys(_BASELINES, cells), _compare_forest)
    outcomes = []
    for name, title in _BASELINES.items():
        ordered = sorted(
            (one for one in scored[name] if one.separation.is_decided), key=lambda one: -one.auroc
        )
        shown = [one.describe() for one in ordered[: _N_SHOWN["baseline"]]]
        if n_more := len(ordered) - len(shown):
            shown.append(f"{n_more} slices lower")
        outcomes.append(
            _conclude(
                context,
                rows,
                CheckSpec(f"baseline_{name}", title, "shortcuts", _ADVICE),
                scored[name],
                [one.to_slice(baseline=name) for one in scored[name]],
                detail="; ".join(shown),
            )
        )
    return outcomes


def _score(
    cells: Mapping[str, Sequence[Cell]], compare: Callable[[str, Cell, int], Comparison]
) -> dict[str, list[Scored]]:
    """Compare every measure or baseline in its slices and decide all of them together."""
    parts = [(name, cell) for name, own in cells.items() for cell in own]
    decided = decide([compare(name, cell, len(parts)) for name, cell in parts])
    scored: dict[str, list[Scored]] = {name: [] for name in cells}
    for (name, cell), separation in zip(parts, decided, strict=True):
        scored[name].append(Scored(cell, separation))
    return scored


def _conclude(
    context: AuditContext,
    rows: pl.DataFrame,
    spec: CheckSpec,
    scored: Sequence[Scored],
    slices: Sequence[SliceAuroc],
    *,
    detail: str,
    findings: Sequence[Finding] | None = None,
) -> Outcome:
    """Return the outcome of one measure, with findings, or of one baseline, without."""
    n_rows = context.audited_rows.height
    if reason := _why_undecided(rows, scored):
        figures = {"limit": LIMIT}
        return not_checked(spec, reason, n_unchecked=n_rows, figures=figures, slices=slices)
    decided = [one for one in scored if one.separation.is_decided]
    items = pl.concat([one.cell.rows.select(ITEM) for one in decided]).unique()
    n_checked = rows.join(items, on=ITEM, how="semi").height
    is_finding = any(one.separation.is_finding for one in decided)
    return make_result(
        spec,
        findings or (),
        verdict=None if findings is not None else "finding" if is_finding else "pass",
        n_checked=n_checked,
        n_unchecked=n_rows - n_checked,
        detail=detail,
        figures={"limit": LIMIT},
        slices=slices,
    )


def _why_undecided(rows: pl.DataFrame, scored: Sequence[Scored]) -> str:
    """Return why nothing can be decided; empty where something can."""
    if rows.height == 0:
        return "no file could be decoded"
    if not scored:
        return f"only {'fakes' if rows['target'][0] else 'reals'}: nothing to compare with"
    if any(one.separation.is_finding for one in scored):
        return ""
    if undecided := [one for one in scored if one.separation.is_open]:
        strongest = max(undecided, key=lambda one: one.strength)
        only = "significant only without the correction for multiple comparisons"
        return f"undecided, {only}: {strongest.describe()}"
    if not any(one.separation.is_decided for one in scored):
        return f"every slice has fewer than {MIN_GROUPS} groups of a class"
    return ""


def _usual(measure: Measure, one: Scored, name: str) -> float | str | None:
    """Return the median of a class, or its commonest category; ``None`` without items."""
    values = one.cell.rows.filter(pl.col("target") == CLASSES.index(name))[measure.name]
    if not len(values):
        return None
    if measure.is_category:
        return str(values.mode().sort()[0])
    return float(np.median(values.to_numpy()))


def _describe_strongest(measure: Measure, ordered: Sequence[Scored]) -> str:
    """Return the strongest slice, or with findings that of each of the most affected generators."""
    found = [one for one in ordered if one.separation.is_finding]
    if not found:
        return "".join(f"at most {one.describe()}" for one in ordered[:1])
    strongest: dict[tuple[str, str], Scored] = {}
    for one in found:
        strongest.setdefault((one.cell.keys["generator"], one.cell.keys["fake_corpus"]), one)
    alike: dict[str, list[str]] = {}
    for one in strongest.values():
        alike.setdefault(_describe_classes(measure, one), []).append(one.cell.name)
    shown = list(alike.items())[: _N_SHOWN["alone"]]
    n_more = len(found) - sum(len(names) for _, names in shown)
    text = "; ".join(f"{', '.join(names)}: {what}" for what, names in shown)
    return text + (f"; and in {n_more} more" if n_more else "")


def _describe_classes(measure: Measure, one: Scored) -> str:
    real, fake = (measure.format(_usual(measure, one, name) or 0.0) for name in CLASSES)
    return f"{format_auroc(one.separation.auroc)}, fakes {fake}, reals {real}"


def _find_fakes(
    context: AuditContext,
    rows: pl.DataFrame,
    spec: CheckSpec,
    measure: Measure,
    found: Sequence[Scored],
) -> list[Finding]:
    """Return a finding for every fake, with the strongest slice that holds its generator."""
    fakes = rows.filter((pl.col("target") == 1) & pl.col(measure.name).is_not_null())
    texts = [
        (one.cell.keys, f"{spec.title}: {one.cell.name}: {_describe_classes(measure, one)}")
        for one in found
    ]
    findings = []
    for row in fakes.iter_rows(named=True):
        generators, corpora = (row["generator"], ALL), (row["corpus"], ALL)
        for keys, text in texts:
            if keys["generator"] in generators and keys["fake_corpus"] in corpora:
                findings.append(context.make_finding(spec.name, row, "shortcut", text, drop=False))
                break
    return findings


def _compare_forest(baseline: str, cell: Cell, n_comparisons: int) -> Comparison:
    rows = _draw(cell.rows)
    labels = make_labels(rows)
    if labels.min_groups < MIN_GROUPS:
        return labels.undecided()
    used = [one for one in MEASURES if baseline in ("channel", one.part)]
    found = measure_forest(labels, _features(rows, used), n_comparisons)
    condition = f"{N_FOLDS} random forests, each fitted on the other groups, seed {SEED}"
    return found._replace(auroc=found.auroc.model_copy(update={"conditional_on": condition}))


def _draw(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows, or those of groups drawn until ``MOST_ITEMS`` are reached."""
    if rows.height <= MOST_ITEMS:
        return rows
    sizes = rows.group_by("group").len().sort("group").sample(fraction=1, shuffle=True, seed=SEED)
    kept = sizes.filter(pl.col("len").cum_sum() <= MOST_ITEMS)
    return rows.join(kept, on="group", how="semi", maintain_order="left")


def _features(rows: pl.DataFrame, measures: Sequence[Measure]) -> NDArray[np.float32]:
    """Return a column a number and a column a category, without those that are constant."""
    columns = [np.zeros(rows.height)]
    for measure in measures:
        if measure.is_category:
            columns += list(one_hot(rows[measure.name].to_list(), MOST_CATEGORIES).T)
        else:
            columns.append(rows[measure.name].fill_null(np.nan).to_numpy())
    varying = [one for one in columns[1:] if len(np.unique(one)) > 1]
    return np.column_stack(varying or columns[:1]).astype(np.float32)
