"""The slices in which fakes may be given away: every cell, and all rows at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
from pydantic import JsonValue

from earwitness.auditing.measures import ITEM
from earwitness.core.estimates import Estimate
from earwitness.manifests.cells import ALL, Cell, list_cells
from earwitness.metrics.items import Ints, numbered

OVERALL = {"real_corpus": ALL, "generator": ALL, "fake_corpus": ALL}
"""Keys of the slice that holds every item."""


class Classed(NamedTuple):
    """Items of a slice as arrays.

    Attributes:
        target: ``(n_items,)`` of 0 and 1.
        group: ``(n_items,)`` from 0 up.
    """

    target: Ints
    group: Ints

    def groups_of(self, target: int) -> int:
        """Return how many groups hold an item of a class."""
        return len(np.unique(self.group[self.target == target]))

    @property
    def least_groups(self) -> int:
        """Groups of the class that has fewer."""
        return min(self.groups_of(0), self.groups_of(1))


def list_slices(rows: pl.DataFrame) -> list[Cell]:
    """Return the cells, and all items where that is another slice; none without both classes.

    Args:
        rows: As ``measured_rows`` gives them; an item counts once.
    """
    items = rows.unique(ITEM, keep="first", maintain_order=True)
    if items["target"].n_unique() < 2:
        return []
    cells = list_cells(items)
    return cells if len(cells) == 1 else [*cells, Cell("overall", OVERALL, items)]


def classed(rows: pl.DataFrame) -> Classed:
    """Return targets and groups of the rows of a slice."""
    target = rows["target"].to_numpy().astype(np.int64)
    return Classed(target, numbered(rows["group"].to_numpy()))


def why_no_slices(rows: pl.DataFrame) -> str:
    """Return why ``list_slices`` gives none."""
    if rows.height == 0:
        return "no file could be heard"
    return f"only {'fakes' if rows['target'][0] else 'reals'}: nothing to tell apart"


def slice_figure(cell: Cell, auroc: Estimate, more: Mapping[str, JsonValue]) -> JsonValue:
    """Return an AUROC in one slice as ``audit.json`` holds it; see docs/audit-json.md."""
    return {
        **cell.keys,
        **more,
        "auroc": auroc.value,
        "low": auroc.low,
        "high": auroc.high,
        "n_items": auroc.n_items,
        "n_groups": auroc.n_groups,
        "method": auroc.method,
        "reason": auroc.reason,
        "conditional_on": auroc.conditional_on,
    }


def told_estimate(auroc: Estimate) -> str:
    """Return an AUROC in words: with its interval, or why there is none."""
    if auroc.value is None:
        return str(auroc.reason)
    if auroc.low is None or auroc.high is None:
        return f"AUROC {auroc.value:.2f} ({auroc.reason})"
    return f"AUROC {auroc.value:.2f} [{auroc.low:.2f}, {auroc.high:.2f}]"
