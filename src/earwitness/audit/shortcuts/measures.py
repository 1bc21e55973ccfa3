"""Properties of files that have nothing to do with the music.

A measure is a number, or a category whose values have no order. The part ``container`` is the file
format and the level, ``channel`` what may be a generator's own trace as well. An item is a distinct
file with its label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from earwitness.audit.checks import AuditContext
from earwitness.audit.features import FileFeatures
from earwitness.audit.schema import Nuisances
from earwitness.splits.grouping import UNKNOWN, link_rows, track_keys

ITEM = ("file", "target")
"""Columns that identify an item."""

_TRANSCODE = "transcode reals and fakes alike, with one encoder and one setting"
_RATE = "bring reals and fakes to one rate, the lowest there is, before they are scored"
_TAGS = "remove the tags of reals and fakes, or write the same fields to both"
_TRIM = "trim silence at both ends of reals and fakes alike"
_LEVEL = "bring reals and fakes to one loudness"
_BAND = (
    "low-pass reals and fakes alike, or show that it is the generator's own trace; the next "
    "transcoding removes it"
)
_LOW_CUT = "high-pass reals and fakes alike"
_OFFSET = "subtract the mean of each channel from reals and fakes alike"
_DEPTH = "bring reals and fakes to one bit depth, with the same dither"
_STEREO = "mix both down to mono"
_PAUSES = "cut reals and fakes to passages without pauses, or drop rows that are mostly silent"
_FLOOR = "add the same dither to reals and fakes, or transcode both alike"


@dataclass(frozen=True)
class Measure:
    """One property of a file.

    Attributes:
        name: Its column in ``nuisances.csv``, and its field in the features of a file.
        words: Its name for people.
        part: What it belongs to.
        advice: What to do where it separates fakes from reals.
        unit: Of its numbers; empty for a bare number.
        is_category: Whether its values have no order; ``|`` separates several of one file.
    """

    name: str
    words: str
    part: Literal["container", "channel"]
    advice: str
    unit: str = ""
    is_category: bool = False

    def format(self, value: float | str) -> str:
        """Return a number with its unit, to four digits, or a common category."""
        if isinstance(value, str):
            return f"mostly {value}"
        digits = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
        return f"{digits} {self.unit}".rstrip()

    def value_of(self, features: FileFeatures) -> int | float | str | None:
        """Return the measure of a file."""
        source = features if hasattr(features, self.name) else features.channel
        value: int | float | str | None = getattr(source, self.name, None)
        return value


MEASURES = (
    Measure("duration_s", "duration", "container", "cut reals and fakes to one length", "s"),
    Measure("sample_rate_hz", "sample rate", "container", _RATE, is_category=True),
    Measure("n_channels", "channels", "container", "mix both down to mono", is_category=True),
    Measure("codec", "codec", "container", _TRANSCODE, is_category=True),
    Measure("container", "container", "container", _TRANSCODE, is_category=True),
    Measure("bit_rate_kbps", "bit rate", "container", _TRANSCODE, "kbps"),
    Measure("encoder", "encoder tag", "container", _TAGS, is_category=True),
    Measure("tag_fields", "tag fields", "container", _TAGS, is_category=True),
    Measure("cover_art", "cover art", "container", _TAGS, is_category=True),
    Measure("peak_dbfs", "peak", "container", _LEVEL, "dBFS"),
    Measure("loudness_lufs", "loudness", "container", _LEVEL, "LUFS"),
    Measure("crest_db", "crest factor", "channel", _LEVEL + " without a limiter", "dB"),
    Measure("dc_offset", "DC offset", "channel", _OFFSET),
    Measure("clipped_share", "clipping", "channel", "drop clipped rows on both sides"),
    Measure("lead_silence_s", "silence at the start", "channel", _TRIM, "s"),
    Measure("trail_silence_s", "silence at the end", "channel", _TRIM, "s"),
    Measure("silence_share", "silence", "channel", _PAUSES),
    Measure("lead_zeros_s", "digital silence at the start", "channel", _TRIM, "s"),
    Measure("zero_share", "digital silence", "channel", _FLOOR),
    Measure("bit_depth", "bit depth", "channel", _DEPTH, is_category=True),
    Measure("quiet_db", "level of quiet passages", "channel", _FLOOR, "dB"),
    Measure("bandwidth_hz", "bandwidth", "channel", _BAND, "Hz"),
    Measure("band_edge_hz", "edge of the band", "channel", _BAND, "Hz"),
    Measure("below_40_db", "power below 40 Hz", "channel", _LOW_CUT, "dB"),
    Measure("above_8k_db", "power above 8 kHz", "channel", _BAND, "dB"),
    Measure("above_16k_db", "power above 16 kHz", "channel", _BAND, "dB"),
    Measure("floor_db", "high-frequency floor", "channel", _BAND, "dB"),
    Measure("stereo_correlation", "stereo correlation", "channel", _STEREO),
    Measure("stereo_width_db", "stereo width", "channel", _STEREO, "dB"),
    Measure("balance_db", "balance of the channels", "channel", _STEREO, "dB"),
)
"""All measures, in the order of ``nuisances.csv``."""


def list_nuisances(context: AuditContext) -> list[Nuisances]:
    """Return the properties of every audited row's file."""
    nuisances = []
    for row in context.audited_rows.iter_rows(named=True):
        features = context.features[row["file"]]
        measures = {one.name: one.value_of(features) for one in MEASURES}
        place = (context.name_of(row), row["row"], row["filepath"], row["target"])
        nuisances.append(Nuisances(*place, features.error, measures))
    return nuisances


def measured_rows(context: AuditContext) -> pl.DataFrame:
    """Return the audited rows that can be decoded, with their measures.

    Returns:
        ``set, row, filepath, file, target``, ``corpus, generator, group`` (numbers: rows that share
        a ``group_id``, the track that the file name contains, or the file), and a column a measure:
        floats, or text for a category.
    """
    audited, nuisances = context.audited_rows, list_nuisances(context)
    keys = audited.select("file", "group_id").to_dict()
    keys["track"] = pl.Series(track_keys(audited), dtype=pl.String)
    rows = audited.select(
        *("set", "row", "filepath", "file", "target"),
        pl.col("source_dataset").fill_null(UNKNOWN).alias("corpus"),
        pl.col("generator").fill_null(UNKNOWN),
        pl.Series("group", link_rows(keys)),
        *(_column(measure, nuisances) for measure in MEASURES),
    )
    return rows.filter(pl.Series([one.error is None for one in nuisances], dtype=pl.Boolean))


def _column(measure: Measure, nuisances: list[Nuisances]) -> pl.Series:
    values = [one.measures[measure.name] for one in nuisances]
    if measure.is_category:
        texts = ["none" if value in (None, "") else str(value) for value in values]
        return pl.Series(measure.name, texts, dtype=pl.String)
    floats = [None if value is None else float(value) for value in values]
    return pl.Series(measure.name, floats, dtype=pl.Float64)
