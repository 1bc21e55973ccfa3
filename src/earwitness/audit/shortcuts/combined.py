"""All measures together, as a detector that hears nothing: two nuisance-only baselines.

Conventions: ``container`` goes by the file and its level alone, ``channel`` by bandwidth, silence,
stereo and the like as well, which may be a generator's own marks. Both are random forests, scored
on groups that they were not fitted on. What a detector adds is what it has above them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import JsonValue

from earwitness.audit.checks import AuditContext, CheckSpec, Outcome, conclude_slices, not_checked
from earwitness.audit.shortcuts.measures import MEASURES, Measure, measured_rows
from earwitness.audit.shortcuts.separability import (
    LIMIT,
    N_FOLDS,
    SEED,
    Comparison,
    Separation,
    classed,
    decide,
    forest_scores,
    kinds_of,
    list_slices,
    measure_scores,
    slice_figure,
    told_estimate,
    why_no_slices,
)
from earwitness.core.estimate import MIN_GROUPS, TOO_FEW_GROUPS, Estimate
from earwitness.splits.grid import Cell

MOST_ITEMS = 1000
"""Items of a slice that forests see; groups are drawn where there are more."""

MOST_KINDS = 20
"""Categories of a measure that forests are told of, commonest first."""

_SHOWN = 4
_BASELINES: Final = {
    "container": "container and level alone, all together",
    "channel": "container and channel alone, all together",
}
_ADVICE = (
    "make files alike as the checks of single measures say, and read every detector's figure "
    "beside this one: it has to beat it"
)


class Guessed(NamedTuple):
    """One baseline in one slice."""

    cell: Cell
    separation: Separation


def check_baselines(scene: AuditContext) -> list[Outcome]:
    """Fit and judge both baselines in every slice."""
    rows = measured_rows(scene)
    cells = list_slices(rows)
    n_comparisons = len(cells) * len(_BASELINES)
    parts = [(name, cell) for name in _BASELINES for cell in cells]
    decided = decide([_test(name, cell, n_comparisons) for name, cell in parts])
    guessed: dict[str, list[Guessed]] = {name: [] for name in _BASELINES}
    for (name, cell), separation in zip(parts, decided, strict=True):
        guessed[name].append(Guessed(cell, separation))
    return [_check(scene, rows, name, guessed[name], n_comparisons) for name in _BASELINES]


def _check(
    scene: AuditContext,
    rows: pl.DataFrame,
    baseline: str,
    guessed: Sequence[Guessed],
    n_comparisons: int,
) -> Outcome:
    subject = CheckSpec(f"baseline_{baseline}", _BASELINES[baseline], "shortcuts", _ADVICE)
    figures = _figures(baseline, guessed)
    n_rows = scene.audited_rows.height
    if why := _why_not(rows, guessed, n_comparisons):
        return not_checked(subject, why, n_unchecked=n_rows, figures=figures)
    told = [one for one in guessed if one.separation.auroc.is_defined]
    items = pl.concat([one.cell.rows.select("file", "target") for one in told]).unique()
    n_checked = rows.join(items, on=["file", "target"], how="semi").height
    return conclude_slices(
        subject,
        is_finding=any(one.separation.is_finding for one in told),
        detail=_detail(told),
        n_checked=n_checked,
        n_unchecked=n_rows - n_checked,
        figures=figures,
    )


def _why_not(rows: pl.DataFrame, guessed: Sequence[Guessed], n_comparisons: int) -> str:
    """Return why nothing can be said; empty where something can."""
    if not guessed:
        return why_no_slices(rows)
    if not any(one.separation.auroc.is_defined for one in guessed):
        return f"{TOO_FEW_GROUPS}: every slice has fewer than {MIN_GROUPS} of a class"
    open_ = [one for one in guessed if one.separation.is_open]
    if open_ and not any(one.separation.is_finding for one in guessed):
        return f"not decidable among {n_comparisons} comparisons: {_detail(open_)}"
    return ""


def _figures(baseline: str, guessed: Sequence[Guessed]) -> dict[str, JsonValue]:
    slices = [
        slice_figure(
            one.cell,
            one.separation.auroc,
            {
                "baseline": baseline,
                "finding": one.separation.is_finding,
                "p_holm": one.separation.p_holm,
            },
        )
        for one in guessed
    ]
    return {"limit": LIMIT, "slices": slices}


def _test(baseline: str, cell: Cell, n_comparisons: int) -> Comparison:
    rows = _drawn(cell.rows)
    items = classed(rows)
    if items.least_groups < MIN_GROUPS:
        n_groups = len(np.unique(items.group))
        return Comparison(Estimate(n_items=rows.height, n_groups=n_groups, reason=TOO_FEW_GROUPS))
    features = _features(rows, [m for m in MEASURES if baseline in ("channel", m.part)])
    found = measure_scores(items, forest_scores(items, features), n_comparisons)
    fitted = f"{N_FOLDS} random forests, each fitted on the other groups, seed {SEED}"
    return found._replace(auroc=found.auroc.model_copy(update={"conditional_on": fitted}))


def _drawn(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows, or those of groups drawn until ``MOST_ITEMS`` are reached."""
    if rows.height <= MOST_ITEMS:
        return rows
    sizes = rows.group_by("group").len().sort("group").sample(fraction=1, shuffle=True, seed=SEED)
    kept = sizes.filter(pl.col("len").cum_sum() <= MOST_ITEMS)
    return rows.join(kept, on="group", how="semi", maintain_order="left")


def _features(rows: pl.DataFrame, measures: Sequence[Measure]) -> NDArray[np.float32]:
    """Return a column a number and a column a category; what is the same everywhere is left out."""
    columns = [np.zeros(rows.height)]
    for measure in measures:
        if measure.is_category:
            columns += list(kinds_of(rows[measure.name].to_list(), MOST_KINDS).T)
        else:
            columns.append(rows[measure.name].fill_null(np.nan).to_numpy())
    varying = [one for one in columns[1:] if len(np.unique(one)) > 1]
    return np.column_stack(varying or columns[:1]).astype(np.float32)


def _detail(told: Sequence[Guessed]) -> str:
    ordered = sorted(told, key=lambda one: -one.separation.auroc.number)
    shown = [f"{one.cell.name} {told_estimate(one.separation.auroc)}" for one in ordered[:_SHOWN]]
    more = len(ordered) - len(shown)
    return "; ".join(shown) + (f"; {more} slices lower" if more else "")
