"""Halves of the groups: one to fit on, one to report on.

Conventions: a group goes as a whole, whatever detectors, datasets or classes it stands in. Within
a corpus and a kind of group (reals, fakes, both) every second one by a seeded hash is for fitting,
so that the halves do not depend on the order of rows.
"""

from __future__ import annotations

import hashlib

import polars as pl

FITTING_HALF = "the calibration half"


def for_fitting(frame: pl.DataFrame, seed: int) -> pl.Series:
    """Return which rows are for fitting.

    Args:
        frame: As ``gather`` gives it.
        seed: Another seed gives other halves.
    """
    groups = frame.group_by("group").agg(
        pl.col("corpus").min(), pl.col("target").min().alias("low"), pl.col("target").max()
    )
    places = [hashlib.sha256(f"{seed}:{name}".encode()).hexdigest() for name in groups["group"]]
    ordered = groups.with_columns(pl.Series("_place", places)).sort(
        "corpus", "low", "target", "_place"
    )
    chosen = ordered.gather_every(2)["group"]
    return frame["group"].is_in(chosen.implode())
