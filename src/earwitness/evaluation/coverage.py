"""Which rows figures are made of, and which were lost on the way.

Convention: a detector abstained from a row that holds nothing it could analyse; a failed row has
an error in place of a score; a missing one is in the predictions of another detector on the same
dataset alone. None of them is in any figure.
"""

from __future__ import annotations

import polars as pl

from earwitness.core.metrics import Coverage

N_ERRORS = 5
"""Commonest errors that are listed, and as many reasons to abstain."""


def cover(rows: pl.DataFrame) -> Coverage:
    """Count the rows of a slice by what became of them.

    Args:
        rows: As ``gather`` gives them, of one detector.
    """
    scored = rows.filter(pl.col("state") == "scored")
    lost = rows.filter(pl.col("state") != "scored")
    real, fake = (scored.filter(pl.col("target") == label) for label in (0, 1))
    failed, abstained = (rows.filter(pl.col("state") == s) for s in ("failed", "abstained"))
    return Coverage(
        n_items=rows.height,
        n_scored=scored.height,
        n_abstained=abstained.height,
        n_failed=failed.height,
        n_missing=lost.height - failed.height - abstained.height,
        n_real=real.height,
        n_fake=fake.height,
        n_real_lost=int((lost["target"] == 0).sum()),
        n_fake_lost=int((lost["target"] == 1).sum()),
        n_groups=scored["group"].n_unique(),
        n_groups_real=real["group"].n_unique(),
        n_groups_fake=fake["group"].n_unique(),
        errors=_commonest(failed, "error"),
        abstentions=_commonest(abstained, "abstained"),
    )


def _commonest(rows: pl.DataFrame, column: str) -> dict[str, int]:
    counted = rows.group_by(column).len().sort(["len", column], descending=[True, False])
    return {str(reason): int(n) for reason, n in counted.head(N_ERRORS).rows()}
