"""The partitions of SONICS by which its authors report, from the columns of its manifests.

Conventions: fakes by algorithm and by how much of a song is fake, told by recall; reals by whether
the singer was heard in training (``artist_overlap``), told by specificity; both classes by length,
told by macro F1. Short is up to 60 s, long over 120 s.
"""

from __future__ import annotations

import polars as pl

SONICS = "sonics"

HEADLINES = {
    "algorithm": "recall",
    "singer": "specificity",
    "fake_type": "recall",
    "length": "f1_macro",
}
"""Partition → the metric that its authors give for it."""

SHORT_S, LONG_S = 60.0, 120.0

_OWN = "artist_overlap"
"""A column that SONICS alone has."""
_HEARD = {"true": "seen", "1": "seen", "1.0": "seen"}
_NOT_HEARD = {"false": "unseen", "0": "unseen", "0.0": "unseen"}
_FAKE_TYPES = ("full fake", "half fake", "mostly fake")


def partition_columns(frame: pl.DataFrame) -> list[pl.Expr]:
    """Return ``sonics:<partition>`` of every row; null where a row is in none of its values.

    Args:
        frame: A prediction file's columns, ``target`` a number.
    """
    inside, fake = _of_sonics(frame), pl.col("target") == 1
    algorithm = pl.coalesce(_text(frame, "algorithm"), _text(frame, "generator"))
    lower = _text(frame, "artist_overlap").str.to_lowercase()
    singer = lower.replace_strict(_HEARD | _NOT_HEARD, default=None, return_dtype=pl.String)
    label = _text(frame, "label").str.to_lowercase().str.replace_all("_", " ")
    duration = pl.coalesce(
        _text(frame, name).cast(pl.Float64, strict=False) for name in ("duration_s", "duration")
    )
    length = (
        pl.when(duration <= SHORT_S)
        .then(pl.lit("short"))
        .when(duration > LONG_S)
        .then(pl.lit("long"))
        .when(duration.is_not_null())
        .then(pl.lit("medium"))
    )
    values = {
        "algorithm": pl.when(fake).then(algorithm),
        "singer": pl.when(~fake).then(singer),
        "fake_type": pl.when(fake & label.is_in(_FAKE_TYPES)).then(label),
        "length": length,
    }
    return [
        pl.when(inside).then(value).cast(pl.String).alias(f"sonics:{name}")
        for name, value in values.items()
    ]


def _of_sonics(frame: pl.DataFrame) -> pl.Expr:
    """Rows whose source is SONICS; where a file tells no source, files with its own columns."""
    if "source_dataset" in frame.columns and frame["source_dataset"].count():
        named = pl.col("source_dataset").cast(pl.String).str.strip_chars().str.to_lowercase()
        return (named == SONICS).fill_null(value=False)
    return pl.lit(_OWN in frame.columns)


def _text(frame: pl.DataFrame, name: str) -> pl.Expr:
    if name not in frame.columns:
        return pl.lit(None, dtype=pl.String)
    stripped = pl.col(name).cast(pl.String).str.strip_chars()
    return pl.when(stripped != "").then(stripped)
