"""Shortcuts: properties of files, apart from the music, that separate fakes from reals.

``alone_<measure>`` ranks files by one measure. ``baseline_container`` is a random forest over the
file format and the level, ``baseline_channel`` one over bandwidth, silence and stereo field as
well, which may be a generator's own trace. A detector has to be better than these. An item is a
distinct file with its label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from earwitness.audit import separability
from earwitness.audit.checks import (
    CLASSES,
    AuditContext,
    CheckSpec,
    Outcome,
    make_result,
    not_checked,
)
from earwitness.audit.features import FileFeatures
from earwitness.audit.schema import Finding, Nuisances, SliceAuroc
from earwitness.audit.separability import LIMIT, Comparison, Separation, format_auroc, make_labels
from earwitness.core.estimate import MIN_GROUPS
from earwitness.splits.grouping import ALL, UNKNOWN, Cell, link_rows, list_cells, track_keys

_ITEM = ("file", "target")


@dataclass(frozen=True)
class Measure:
    """One property of a file, a number or a category.

    Attributes:
        name: Its column in ``nuisances.csv``, and its field in the features of a file.
        words: Its name in text.
        part: ``container`` (format and level), or ``channel`` for what may be a generator's trace.
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


def _measured_rows(context: AuditContext) -> pl.DataFrame:
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


def _list_slices(rows: pl.DataFrame) -> list[Cell]:
    """Return the cells, and all items if that is another slice; none without both classes."""
    items = rows.unique(_ITEM, keep="first", maintain_order=True)
    if items["target"].n_unique() < 2:
        return []
    cells = list_cells(items)
    keys = dict.fromkeys(("real_corpus", "generator", "fake_corpus"), ALL)
    return cells if len(cells) == 1 else [*cells, Cell("overall", keys, items)]


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
    rows = _measured_rows(context)
    slices, measures = _list_slices(rows), {one.name: one for one in MEASURES}
    cells = {
        name: [Cell(c.name, c.keys, c.rows.filter(pl.col(name).is_not_null())) for c in slices]
        for name in measures
    }

    def compare(name: str, cell: Cell, n_comparisons: int) -> Comparison:
        labels, values = make_labels(cell.rows), cell.rows[name]
        if measures[name].is_category:
            return separability.measure_categories(labels, values.to_list(), n_comparisons)
        numbers = values.to_numpy().astype(np.float64)
        return separability.measure_number(labels, numbers, n_comparisons)

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
    findings = _find_fakes(context, rows, spec, measure, found)
    detail = _describe_strongest(measure, ordered, found)
    return _conclude(context, rows, spec, scored, slices, detail=detail, findings=findings)


def check_baselines(context: AuditContext) -> list[Outcome]:
    """Fit and test both baselines in every slice."""
    titles = {
        "container": "all measures of the container together",
        "channel": "all measures of container and channel together",
    }
    advice = (
        "make files alike as the checks of single measures advise, and compare every detector's "
        "AUROC with this one: it has to be higher"
    )
    n_shown = 4
    measures = {
        name: [one.name for one in MEASURES if name in ("channel", one.part)] for name in titles
    }
    rows = _measured_rows(context)
    scored = _score(
        dict.fromkeys(titles, _list_slices(rows)),
        lambda name, cell, n: separability.measure_forest(cell.rows, measures[name], n),
    )
    outcomes = []
    for name, title in titles.items():
        ordered = sorted(
            (one for one in scored[name] if one.separation.is_decided), key=lambda one: -one.auroc
        )
        shown = [one.describe() for one in ordered[:n_shown]]
        if n_more := len(ordered) - len(shown):
            shown.append(f"{n_more} slices lower")
        spec = CheckSpec(f"baseline_{name}", title, "shortcuts", advice)
        slices = [one.to_slice(baseline=name) for one in scored[name]]
        outcomes.append(
            _conclude(context, rows, spec, scored[name], slices, detail="; ".join(shown))
        )
    return outcomes


def _score(
    cells: Mapping[str, Sequence[Cell]], compare: Callable[[str, Cell, int], Comparison]
) -> dict[str, list[Scored]]:
    """Compare every measure or baseline in its slices and decide all of them together."""
    parts = [(name, cell) for name, own in cells.items() for cell in own]
    decided = separability.decide([compare(name, cell, len(parts)) for name, cell in parts])
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
    n_rows, values = context.audited_rows.height, {"limit": LIMIT}
    if reason := _why_undecided(rows, scored):
        return not_checked(spec, reason, n_unchecked=n_rows, figures=values, slices=slices)
    decided = [one for one in scored if one.separation.is_decided]
    items = pl.concat([one.cell.rows.select(_ITEM) for one in decided]).unique()
    n_checked = rows.join(items, on=_ITEM, how="semi").height
    is_finding = any(one.separation.is_finding for one in decided)
    return make_result(
        spec,
        findings or (),
        verdict=None if findings is not None else "finding" if is_finding else "pass",
        n_checked=n_checked,
        n_unchecked=n_rows - n_checked,
        detail=detail,
        figures=values,
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


def _describe_strongest(
    measure: Measure, ordered: Sequence[Scored], found: Sequence[Scored]
) -> str:
    """Return the strongest slice, or with findings that of each of the most affected generators."""
    if not found:
        return "".join(f"at most {one.describe()}" for one in ordered[:1])
    strongest: dict[tuple[str, str], Scored] = {}
    for one in found:
        strongest.setdefault((one.cell.keys["generator"], one.cell.keys["fake_corpus"]), one)
    by_text: dict[str, list[str]] = {}
    for one in strongest.values():
        by_text.setdefault(_describe_classes(measure, one), []).append(one.cell.name)
    shown = list(by_text.items())[:3]
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
    """Return a finding for every fake, with the strongest slice that holds its generator.

    No row is to be dropped: that solves no shortcut.
    """
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
