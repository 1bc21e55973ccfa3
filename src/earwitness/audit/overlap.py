"""Checks for rows that share a file or an origin, with other sets and inside a set.

Rows are compared by a key: a path, a hash, a track, an artist; rows without one are unchecked.
Across sets any shared key is a leak. Inside a set, rows of one origin need one ``group_id``, since
confidence intervals would otherwise take them for independent.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import polars as pl

from earwitness.audit.checks import (
    CLASSES,
    AuditContext,
    CheckSpec,
    Outcome,
    Row,
    make_result,
    not_checked,
)
from earwitness.audit.schema import Finding, Relation
from earwitness.core.io import tidy_path
from earwitness.datasets import fakemusiccaps
from earwitness.splits.grouping import named_files, track_keys

NO_OTHERS = "no set was given to compare with (--against)"
_KEY = "_key"


@dataclass(frozen=True)
class SharedKey:
    """A key that rows may share.

    Attributes:
        name: Its checks are ``<name>_across`` and ``<name>_inside``.
        words: The shared thing in text ("the same bytes").
        unknown: Why no row has a key ("no row names an artist").
        advice_across: Advice on rows that share it with another set.
        advice_inside: Advice on rows of one set that share it.
    """

    name: str
    words: str
    unknown: str
    advice_across: str = "drop these rows, or train without the others"
    advice_inside: str = "keep one row of each; where labels differ, find out which is right"

    @property
    def across(self) -> CheckSpec:
        """The check against other sets."""
        title = f"{self.words} in another set"
        return CheckSpec(f"{self.name}_across", title, "across", self.advice_across)

    @property
    def inside(self) -> CheckSpec:
        """The check inside each audited set."""
        title = f"{self.words} twice in a set"
        return CheckSpec(f"{self.name}_inside", title, "inside", self.advice_inside)


_JOIN = "give these rows one group_id: intervals take rows of different groups for independent"

PATH = SharedKey("path", "the same path", "there is no row")
NAME = SharedKey(
    "name",
    "the same file name in the same corpus",
    "no row has a file name",
    advice_across="check whether it is the same music; if so, drop these rows",
)
BYTES = SharedKey("bytes", "the same bytes", "no file could be read")
PACKETS = SharedKey(
    "packets", "the same compressed packets (tags apart)", "no file has packets that can be read"
)
SAMPLES = SharedKey("samples", "the same samples when decoded", "no file could be decoded")
GROUP = SharedKey("group", "the same group_id", "no row has a group_id")
TRACK = SharedKey(
    "track",
    "the same track, song or caption",
    "no row is of a corpus with known file names (FMA, SONICS, FakeMusicCaps)",
    advice_inside=_JOIN,
)
ARTIST = SharedKey(
    "artist",
    "the same artist",
    "no row names an artist",
    advice_across="drop these rows: detectors learn artists and would be tested on known ones",
)
VIDEO = SharedKey("video", "the same YouTube video", "no row has a YouTube id", advice_inside=_JOIN)


def check_path(context: AuditContext) -> list[Outcome]:
    """Compare resolved paths."""
    keys = [_resolve(path) for path in context.rows["file"].to_list()]
    return [compare_across(context, PATH, keys), compare_inside(context, PATH, keys)]


def check_name(context: AuditContext) -> list[Outcome]:
    """Compare file names within a corpus, across sets only: reconstructions keep their name."""
    rows = context.rows.select("filepath", "source_dataset").iter_rows()
    return [compare_across(context, NAME, [_name(path, corpus) for path, corpus in rows])]


def check_bytes(context: AuditContext) -> list[Outcome]:
    """Compare the bytes of files."""
    return _compare_hashes(context, BYTES, "sha256")


def check_packets(context: AuditContext) -> list[Outcome]:
    """Compare the compressed packets of files, without their tags."""
    return _compare_hashes(context, PACKETS, "packets_sha256")


def check_samples(context: AuditContext) -> list[Outcome]:
    """Compare decoded samples."""
    return _compare_hashes(context, SAMPLES, "samples_sha256")


def check_group(context: AuditContext) -> list[Outcome]:
    """Compare ``group_id`` across sets."""
    return [compare_across(context, GROUP, context.rows["group_id"].to_list())]


def check_track(context: AuditContext) -> list[Outcome]:
    """Compare the tracks that file names of known corpora contain."""
    keys = track_keys(context.rows)
    return [
        compare_across(context, TRACK, keys),
        compare_inside(context, TRACK, keys, by_group=True),
    ]


def check_artist(context: AuditContext) -> list[Outcome]:
    """Compare artists across sets, ignoring case and spaces."""
    keys = [_artist(name) for name in context.rows["artist"].to_list()]
    return [compare_across(context, ARTIST, keys)]


def check_video(context: AuditContext) -> list[Outcome]:
    """Compare YouTube ids: a column of their own, or FakeMusicCaps' file names."""
    named = zip(named_files(context.rows), context.rows["youtube_id"].to_list(), strict=True)
    keys = [video or _video(corpus, stem) for (corpus, stem, _), video in named]
    return [
        compare_across(context, VIDEO, keys),
        compare_inside(context, VIDEO, keys, by_group=True),
    ]


def _compare_hashes(context: AuditContext, shared: SharedKey, name: str) -> list[Outcome]:
    keys = [getattr(context.features[path], name) for path in context.rows["file"].to_list()]
    return [compare_across(context, shared, keys), compare_inside(context, shared, keys)]


def _resolve(path: str) -> str:
    try:
        return os.path.realpath(path)
    except ValueError:  # a name that no disk can hold
        return path


def _name(path: str, corpus: str | None) -> str | None:
    name = posixpath.basename(tidy_path(path)).casefold()
    return f"{(corpus or '').casefold()}\0{name}" if name else None


def _artist(name: str | None) -> str | None:
    plain = " ".join((name or "").casefold().split())
    nobody = {"various artists", "various", "unknown", "unknown artist", "n/a", "none"}
    return None if plain in nobody else plain or None


def _video(corpus: str, stem: str) -> str | None:
    is_id = corpus == fakemusiccaps.SOURCE and re.fullmatch(r"[A-Za-z0-9_-]{11}", stem)
    return stem if is_id else None


class Matches(NamedTuple):
    """Rows that share a key: the first two, the first of each label, and their number."""

    first: Sequence[Row]
    by_target: Mapping[int, Row]
    n: int

    def nearest(self, row: Row) -> Row:
        """Return another row, with the other label if there is one."""
        others = (self.by_target.get(1 - row["target"]), *self.first)
        return next(other for other in others if other is not None and other is not row)


def compare_across(context: AuditContext, shared: SharedKey, keys: Sequence[str | None]) -> Outcome:
    """Flag audited rows that share their key with a row of another set."""
    n_rows = context.audited_rows.height
    if not context.has_others:
        return not_checked(shared.across, NO_OTHERS, n_unchecked=n_rows)
    audited, others = _split_known(context, keys)
    for rows, whose in ((audited, ""), (others, " in the other sets")):
        if rows.height == 0:
            return not_checked(shared.across, shared.unknown + whose, n_unchecked=n_rows)
    leaked = audited.join(others.select(_KEY).unique(), on=_KEY, how="semi")
    sharing = others.join(leaked.select(_KEY).unique(), on=_KEY, how="semi")
    matches = {members[0][_KEY]: _match(members) for members in _list_members(sharing, [_KEY])}
    findings = [
        _make_finding(context, shared, "leak", row, matches[row[_KEY]])
        for row in leaked.iter_rows(named=True)
    ]
    return _conclude(shared.across, findings, audited, n_rows)


def compare_inside(
    context: AuditContext, shared: SharedKey, keys: Sequence[str | None], *, by_group: bool = False
) -> Outcome:
    """Flag rows that share their key with another row of their set; the first may stay.

    With ``by_group``, flag only rows of different groups; one without ``group_id`` is a group.
    """
    n_rows, (audited, _) = context.audited_rows.height, _split_known(context, keys)
    if audited.height == 0:
        return not_checked(shared.inside, shared.unknown, n_unchecked=n_rows)
    group = pl.coalesce("group_id", pl.format("row {}", "row")).alias("_group")
    findings = []
    sharing = audited.with_columns(group).filter(pl.len().over("set", _KEY) > 1)
    for members in _list_members(sharing, ["set", _KEY]):
        matches = _match(members)
        relation: Relation = "conflict" if len(matches.by_target) > 1 else "duplicate"
        if by_group:
            relation = "split_group"
            if len({member["_group"] for member in members}) == 1:
                continue
        for row in members:
            drop = relation == "conflict" or (relation == "duplicate" and row is not members[0])
            findings.append(_make_finding(context, shared, relation, row, matches, drop=drop))
    return _conclude(shared.inside, findings, audited, n_rows)


def _conclude(
    spec: CheckSpec, findings: Sequence[Finding], known: pl.DataFrame, n_rows: int
) -> Outcome:
    n_checked = known.height
    return make_result(spec, findings, n_checked=n_checked, n_unchecked=n_rows - n_checked)


def _split_known(
    context: AuditContext, keys: Sequence[str | None]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows with a key: audited ones, and others."""
    keyed = context.rows.with_columns(pl.Series(_KEY, keys, dtype=pl.String))
    known = keyed.filter(pl.col(_KEY).is_not_null())
    is_audited = pl.col("set") < context.n_audited
    return known.filter(is_audited), known.filter(~is_audited)


def _list_members(rows: pl.DataFrame, by: Sequence[str]) -> Iterator[list[Row]]:
    """Yield the rows of each group of equal columns, in order."""
    ordered = rows.sort(*dict.fromkeys([*by, "set", "row"])).iter_rows(named=True)
    for _, members in groupby(ordered, key=lambda row: [row[name] for name in by]):
        yield list(members)


def _match(members: Sequence[Row]) -> Matches:
    by_target: dict[int, Row] = {}
    for row in members:
        by_target.setdefault(row["target"], row)
    return Matches(members[:2], by_target, len(members))


def _make_finding(
    context: AuditContext,
    shared: SharedKey,
    relation: Relation,
    row: Row,
    matches: Matches,
    *,
    drop: bool = True,
) -> Finding:
    is_across, nearest = relation == "leak", matches.nearest(row)
    return context.make_finding(
        (shared.across if is_across else shared.inside).name,
        row,
        relation,
        f"{shared.words} as a {CLASSES[nearest['target']]} row",
        other=nearest,
        n_others=matches.n - (not is_across),
        drop=drop,
    )
