"""Drift between two runs: scores, abstentions, errors and properties of the files.

Conventions: shifts are second minus first. Runs with at least half of the smaller one's items in
common are compared on these items, pair by pair; others as independent samples, without the groups
that both have. P-values are Holm-corrected over the whole table.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from earwitness.core.errors import PredictionsError, UsageError
from earwitness.core.predictions import Predictions
from earwitness.core.remote import shown_name
from earwitness.evaluation.identity import deduplicate
from earwitness.evaluation.rows import Inputs, load_rows, open_sources, source_notes
from earwitness.metrics.resampling import holm
from earwitness.metrics.two_samples import (
    N_PERMUTATIONS,
    Shift,
    compare_distributions,
    compare_means,
    compare_shares,
)
from earwitness.splits.grouping import UNKNOWN

FILE_COLUMNS = ("native_rate_hz", "duration_s")
"""Columns that are compared whenever both runs have them."""

Summary = Literal["median", "mean", "share"]

MANY_VALUES = 10
"""A column of more distinct numbers is compared as numbers, others as categories."""


class _Test(NamedTuple):
    """How a property is compared and summarized."""

    statistic: str
    compare: Callable[..., Shift]
    summary: Summary


_MEANS = _Test("mean difference", compare_means, "mean")
_SHARES = _Test("difference", compare_means, "share")
_DISTRIBUTIONS = _Test("distance", compare_distributions, "median")


@dataclass(frozen=True)
class DriftLine:
    """One tested property of one detector.

    Attributes:
        detector: Name of the detector; empty for properties of the files.
        tested: What was compared ("logit of reals").
        statistic: ``mean difference`` (of common items), ``difference`` (of shares) or
            ``distance`` (of distribution functions, or of the shares of all categories).
        shift: Its value and p-value.
        summary: What ``first`` and ``second`` are.
        first: Summary of the first run.
        second: Summary of the second run.
        n_first: Rows of the first run.
        n_second: Rows of the second run.
        category: The category whose share moved most; ``None`` if not of categories.
        p_holm: Corrected p-value; ``None`` without a test.
    """

    detector: str
    tested: str
    statistic: str
    shift: Shift
    summary: Summary
    first: float
    second: float
    n_first: int
    n_second: int
    category: str | None = None
    p_holm: float | None = None

    def has_moved(self, level: float = 0.05, least: float = 0.0) -> bool:
        """Return whether the shift is significant at a level and not below a least size."""
        significant = self.p_holm is not None and self.p_holm <= level
        return significant and abs(self.shift.value) >= least


@dataclass(frozen=True)
class Drift:
    """Tested properties, whether the runs are compared item by item, and notes."""

    lines: list[DriftLine]
    is_paired: bool
    notes: list[str] = field(default_factory=list)

    @property
    def least_p_holm(self) -> float:
        """The smallest corrected p-value that so many tests of so few permutations can have."""
        return sum(line.p_holm is not None for line in self.lines) / (1 + N_PERMUTATIONS)


Source = str | Path | Predictions


def find_drift(
    first: Source,
    second: Source,
    *,
    by: Sequence[str] = (),
    nuisances: tuple[Path, Path] | None = None,
    by_class: bool = True,
    key: str | Path | None = None,
    seed: int = 0,
) -> Drift:
    """Test what has moved between two runs.

    Args:
        first: A prediction file, a folder of them, or predictions.
        second: The same of the later run.
        by: Further columns of the manifests to compare; numbers or categories.
        nuisances: ``nuisances.csv`` of the audits of both runs' manifests, compared too.
        by_class: Test logits of reals and of fakes apart as well, for labelled items.
        key: Key file with the labels of ASVspoof score files.
        seed: Random seed of the permutations.

    Raises:
        UsageError: The runs share no detector, or have too few rows in common columns.
        PredictionsError: A file is malformed.
    """
    sides = [open_sources([source], key=key) for source in (first, second)]
    known = [set.intersection(*(set(o.predictions.frame.columns) for o in side)) for side in sides]
    columns = [*by, *(n for n in FILE_COLUMNS if n not in by and all(n in k for k in known))]
    frames = load_rows(*(Inputs(side, columns) for side in sides))
    names = [frame["detector"].unique(maintain_order=True).to_list() for frame in frames]
    renamed = []
    if len(names[0]) == len(names[1]) == 1:  # a file's name may be the detector's
        if names[0] != names[1]:
            renamed = [f"{names[1][0]} of the second run is compared with {names[0][0]}"]
        names[1] = names[0]
        frames[1] = frames[1].with_columns(detector=pl.lit(names[0][0]))
    shared = [name for name in names[0] if name in names[1]]
    if not shared:
        found = (
            f"{source}: {', '.join(n)}" for source, n in zip((first, second), names, strict=True)
        )
        raise UsageError(f"detectors of {'; '.join(found)}; expected a common one")
    rows, is_paired, left_out = _stack(*frames)
    notes = [*source_notes(one for side in sides for one in side), *left_out, *renamed]
    alone = [name for name in [*names[0], *names[1]] if name not in shared]
    notes += [f"{name} is in one run only and not compared" for name in alone]
    files = rows.unique(["side", "item"], keep="first", maintain_order=True)
    lines = list(_file_lines(_with_nuisances(files, nuisances), seed))
    for name in shared:
        lines += _detector_lines(name, rows.filter(detector=name), is_paired, by_class, seed)
    corrected = holm([np.nan if line.shift.p is None else line.shift.p for line in lines])
    return Drift(
        [
            replace(line, p_holm=None if np.isnan(p) else p)
            for line, p in zip(lines, corrected, strict=True)
        ],
        is_paired,
        notes,
    )


def _stack(first: pl.DataFrame, second: pl.DataFrame) -> tuple[pl.DataFrame, bool, list[str]]:
    """Return the rows to compare with their ``side``, whether they are paired, and notes."""
    rows = pl.concat(
        deduplicate(frame.filter(pl.col("state") != "missing")).with_columns(side=pl.lit(side))
        for side, frame in enumerate((first, second))
    )
    items = [set(part["item"]) for part in rows.partition_by("side", maintain_order=True)]
    common = items[0] & items[1]
    is_paired = len(common) * 2 >= min(map(len, items))
    if is_paired:
        kept, why = pl.col("item").is_in(common), "items of one run only"
    else:
        kept, why = (
            pl.col("side").n_unique().over("group") == 1,
            "items whose group is in both runs",
        )
    left = rows.filter(kept)
    if left["side"].n_unique() < 2:
        raise UsageError("no rows left to compare, expected common items, or no common groups")
    n_lost = rows["item"].n_unique() - left["item"].n_unique()
    return left, is_paired, [f"{n_lost} {why} are left out"] if n_lost else []


def _with_nuisances(rows: pl.DataFrame, files: tuple[Path, Path] | None) -> pl.DataFrame:
    """Return the rows with a ``by:`` column for each measure that both audits have."""
    if files is None:
        return rows
    tables = [_read_nuisances(path) for path in files]
    names = [name for name in tables[0].columns if name in tables[1].columns[1:]]
    parts = [
        rows.filter(side=side)
        .with_columns(pl.col("filepath").map_elements(shown_name, pl.String).alias("_shown"))
        .join(table.select("filepath", *names), left_on="_shown", right_on="filepath", how="left")
        .drop("_shown")
        for side, table in enumerate(tables)
    ]
    for part, path in zip(parts, files, strict=True):
        if all(part[name].null_count() == part.height for name in names):
            raise UsageError(
                f"{path}: none of the run's files, expected nuisances.csv of its manifest"
            )
    return (
        pl.concat(parts)
        .with_columns(pl.col(names).fill_null(UNKNOWN))
        .rename({name: f"by:{name}" for name in names})
    )


def _read_nuisances(path: Path) -> pl.DataFrame:
    """Return ``filepath`` and the measures of each file, as text."""
    with path.open(encoding="utf-8", newline="") as file:
        names = next(csv.reader(file), [])
    if "filepath" not in names or "error" not in names:
        raise PredictionsError(
            f"{path}: columns {', '.join(names)}; expected nuisances.csv of an audit"
        )
    table = pl.read_csv(path, infer_schema=False)
    return table.unique("filepath", keep="first", maintain_order=True).select(
        "filepath", *names[names.index("error") + 1 :]
    )


def _file_lines(rows: pl.DataFrame, seed: int) -> Iterator[DriftLine]:
    for column in rows.columns:
        if column.startswith("by:"):
            known = rows.filter(pl.col(column) != UNKNOWN)
            if known["side"].n_unique() == 2:
                yield _column_line(column.removeprefix("by:"), known, known[column], seed)


def _column_line(name: str, rows: pl.DataFrame, values: pl.Series, seed: int) -> DriftLine:
    numbers = values.cast(pl.Float64, strict=False)
    if numbers.null_count() == 0 and numbers.n_unique() > MANY_VALUES:
        return _line("", name, rows.with_columns(numbers.alias("value")), _DISTRIBUTIONS, seed)
    sides = rows["side"]
    shift = compare_shares(values.to_numpy(), sides.to_numpy(), rows["group"].to_numpy(), seed=seed)
    shares = [
        {category: float((of_side == category).mean() or 0) for category in values.unique()}
        for of_side in (values.filter(sides == side) for side in (0, 1))
    ]
    most = max(sorted(shares[0]), key=lambda c: abs(shares[1][c] - shares[0][c]))
    first, second = (share[most] for share in shares)
    sizes = _sizes(rows)
    return DriftLine("", name, "distance", shift, "share", first, second, *sizes, category=most)


def _detector_lines(
    name: str, rows: pl.DataFrame, is_paired: bool, by_class: bool, seed: int
) -> Iterator[DriftLine]:
    scored = rows.filter(pl.col("state") == "scored").drop_nulls("logit")
    if is_paired:
        scored = scored.filter(pl.len().over("item", "target") == 2)
    scored = scored.with_columns(value="logit")
    parts = {"logit": scored}
    if by_class and scored["target"].n_unique() == 2:
        classes = (("reals", 0), ("fakes", 1))
        parts |= {f"logit of {what}": scored.filter(target=label) for what, label in classes}
    decided = rows.drop_nulls("pred_label").with_columns(value="pred_label")
    test = _MEANS if is_paired else _DISTRIBUTIONS
    for tested, part, chosen in (
        *((tested, part, test) for tested, part in parts.items()),
        ("called fake", decided, _SHARES),
        *(
            (state, rows.with_columns(value=pl.col("state") == state), _SHARES)
            for state in ("abstained", "failed")
        ),
    ):
        if part["side"].n_unique() == 2:
            yield _line(name, tested, part, chosen, seed)


def _line(detector: str, tested: str, rows: pl.DataFrame, test: _Test, seed: int) -> DriftLine:
    """Return the line of the column ``value``."""
    rows = rows.with_columns(pl.col("value").cast(pl.Float64))
    values, side = rows["value"].to_numpy(), rows["side"].to_numpy()
    shift = test.compare(values, side, rows["group"].to_numpy(), seed=seed)
    summarize = np.median if test.summary == "median" else np.mean
    first, second = (float(summarize(values[side == one])) for one in (0, 1))
    return DriftLine(
        detector, tested, test.statistic, shift, test.summary, first, second, *_sizes(rows)
    )


def _sizes(rows: pl.DataFrame) -> tuple[int, int]:
    return rows.filter(side=0).height, rows.filter(side=1).height
