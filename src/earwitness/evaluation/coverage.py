"""Which rows figures are made of, and which were lost on the way.

Convention: a failed row has an error in place of a score; a missing one is in the predictions of
another detector on the same dataset alone. Neither is in any figure.
"""

from __future__ import annotations

import polars as pl

from earwitness.core.metrics import Coverage

N_ERRORS = 5
"""Commonest errors that are told."""


def cover(rows: pl.DataFrame) -> Coverage:
    """Count the rows of a slice by what became of them.

    Args:
        rows: As ``gather`` gives them, of one detector.
    """
    scored = rows.filter(pl.col("state") == "scored")
    lost = rows.filter(pl.col("state") != "scored")
    real, fake = (scored.filter(pl.col("target") == label) for label in (0, 1))
    failed = rows.filter(pl.col("state") == "failed")
    return Coverage(
        n_items=rows.height,
        n_scored=scored.height,
        n_failed=failed.height,
        n_missing=lost.height - failed.height,
        n_real=real.height,
        n_fake=fake.height,
        n_real_lost=int((lost["target"] == 0).sum()),
        n_fake_lost=int((lost["target"] == 1).sum()),
        n_groups=scored["group"].n_unique(),
        n_groups_real=real["group"].n_unique(),
        n_groups_fake=fake["group"].n_unique(),
        errors=_commonest(failed),
    )


def _commonest(failed: pl.DataFrame) -> dict[str, int]:
    counted = failed.group_by("error").len().sort(["len", "error"], descending=[True, False])
    return {str(error): int(n) for error, n in counted.head(N_ERRORS).rows()}
