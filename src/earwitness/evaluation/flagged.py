"""Flagged items of detectors that say what they found, for pictures in a report."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from earwitness.core.predictions import DETAIL_COLUMNS
from earwitness.core.remote import shown_name
from earwitness.evaluation.rows import Opened
from earwitness.evaluation.schema import Flagged

N_FLAGGED = 24
_KEY = ["dataset", "filepath"]
_DETAILS = [
    pl.col(name).cast(pl.DataType.from_python(kind), strict=False)
    for name, kind in DETAIL_COLUMNS.items()
]


def list_flagged(items: pl.DataFrame, opened: Sequence[Opened]) -> list[Flagged]:
    """Return flagged items whose rows have details, reals and fakes of every kind in turn.

    Args:
        items: Scored rows of one detector, as of ``load_rows``, one per item.
        opened: Predictions, of other detectors too.
    """
    details = [
        frame.select(pl.lit(one.predictions.dataset).alias("dataset"), "filepath", *_DETAILS)
        for one in opened
        if one.predictions.detector in items["detector"].head(1)
        and {"filepath", *DETAIL_COLUMNS} <= set((frame := one.predictions.frame).columns)
    ]
    if not details:
        return []
    known = pl.concat(details).unique(_KEY, maintain_order=True)
    known = known.filter(pl.any_horizontal(pl.col(list(DETAIL_COLUMNS)).is_not_null()))
    score = pl.coalesce("logit", "pred_prob")
    turn = score.rank("ordinal", descending=True).over("target", "corpus", "generator")
    found = (
        items.filter(pred_label=1)
        .join(known, on=_KEY)
        .sort(turn, "target", -score, "filepath")
        .head(N_FLAGGED)
    )
    return [
        Flagged(
            generator=row["generator"] if row["target"] == 1 else None,
            filepath=shown_name(row["filepath"]),
            details={name: row[name] for name in DETAIL_COLUMNS},
            **{name: row[name] for name in ("dataset", "target", "pred_prob", "logit", "corpus")},
        )
        for row in found.iter_rows(named=True)
    ]
