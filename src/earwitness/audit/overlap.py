"""Rows that share something: between audited sets and others, and inside one.

Conventions: a row's key is what it shares (a hash, a name, an artist); ``None`` is not known, and
such a row was not looked at. The nearest of several rows is one with the other label where there is
one, else the first. Time grows with the number of rows, however many share a key.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import polars as pl

from earwitness.audit.checks import AuditContext, CheckSpec, Outcome, make_result, not_checked
from earwitness.audit.schema import Finding, Relation
from earwitness.core.io import tidy_path
from earwitness.datasets import fakemusiccaps
from earwitness.splits.grouping import named_files, track_keys

NO_OTHERS = "no set was given to compare with (--against)"
_KEY = "_key"
_CLASSES = ("real", "fake")

Row = dict[str, Any]


class Matches(NamedTuple):
    """Rows that share a key.

    Attributes:
        first: The first two of them, or the only one.
        by_target: The first of each label.
        n: How many there are.
    """

    first: Sequence[Row]
    by_target: Mapping[int, Row]
    n: int

    def nearest(self, row: Row) -> Row:
        """Return the partner that is told of with a row, another than itself."""
        others = (self.by_target.get(1 - row["target"]), *self.first)
        return next(other for other in others if other is not None and other is not row)


@dataclass(frozen=True)
class SharedKey:
    """What rows may share.

    Attributes:
        name: Short name; checks are called ``<name>_across`` and ``<name>_inside``.
        words: What is shared, for people ("the same bytes").
        unknown: Why rows have no key ("no artist is named").
        advice_across: What to do about rows that share it with another set.
        advice_inside: What to do about rows of one set that share it.
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


def compare_across(scene: AuditContext, likeness: SharedKey, keys: Sequence[str | None]) -> Outcome:
    """Find audited rows that share their key with a row of another set."""
    if not scene.has_others:
        return not_checked(likeness.across, NO_OTHERS, n_unchecked=scene.audited_rows.height)
    known, n_unknown = _known(scene, keys)
    audited = known.filter(pl.col("set") < scene.n_audited)
    others = known.filter(pl.col("set") >= scene.n_audited)
    for rows, whose in ((audited, ""), (others, " in the other sets")):
        if rows.height == 0:
            n = scene.audited_rows.height
            return not_checked(likeness.across, likeness.unknown + whose, n_unchecked=n)
    met = audited.join(others.select(_KEY).unique(), on=_KEY, how="semi")
    partners = _by_key(others.join(met.select(_KEY).unique(), on=_KEY, how="semi"))
    findings = [
        _finding(scene, likeness.across, "leak", row, partners[row[_KEY]], words=likeness.words)
        for row in met.iter_rows(named=True)
    ]
    return make_result(likeness.across, findings, n_checked=audited.height, n_unchecked=n_unknown)


def compare_inside(scene: AuditContext, likeness: SharedKey, keys: Sequence[str | None]) -> Outcome:
    """Find rows that share their key with another row of their own set."""
    known, n_unknown = _known(scene, keys)
    audited = known.filter(pl.col("set") < scene.n_audited)
    if audited.height == 0:
        return not_checked(likeness.inside, likeness.unknown, n_unchecked=n_unknown)
    findings = [
        finding
        for members in _sharing(audited)
        for finding in _duplicates(scene, likeness, members)
    ]
    return make_result(likeness.inside, findings, n_checked=audited.height, n_unchecked=n_unknown)


def compare_groups(scene: AuditContext, likeness: SharedKey, keys: Sequence[str | None]) -> Outcome:
    """Find rows of one set that share their key and are of several groups.

    A row without ``group_id`` counts as a group of its own, as other tools take it.
    """
    known, n_unknown = _known(scene, keys)
    audited = known.filter(pl.col("set") < scene.n_audited)
    if audited.height == 0:
        return not_checked(likeness.inside, likeness.unknown, n_unchecked=n_unknown)
    own = pl.format("row {}", "row")
    grouped = audited.with_columns(pl.coalesce("group_id", own).alias("_group"))
    findings = [
        _finding(
            scene, likeness.inside, "split_group", row, partners, words=likeness.words, drop=False
        )
        for members in _sharing(grouped)
        if len({member["_group"] for member in members}) > 1
        for partners in [_partners(members)]
        for row in members
    ]
    return make_result(likeness.inside, findings, n_checked=audited.height, n_unchecked=n_unknown)


def _known(scene: AuditContext, keys: Sequence[str | None]) -> tuple[pl.DataFrame, int]:
    """Return the rows with a key, and how many audited ones have none."""
    keyed = scene.with_column(_KEY, keys)
    unknown = keyed.filter(pl.col(_KEY).is_null() & (pl.col("set") < scene.n_audited))
    return keyed.filter(pl.col(_KEY).is_not_null()), unknown.height


def _by_key(rows: pl.DataFrame) -> dict[str, Matches]:
    ordered = rows.sort(_KEY, "set", "row").iter_rows(named=True)
    return {
        key: _partners(list(members))
        for key, members in groupby(ordered, key=lambda row: row[_KEY])
    }


def _partners(members: Sequence[Row]) -> Matches:
    by_target: dict[int, Row] = {}
    for row in members:
        by_target.setdefault(row["target"], row)
    return Matches(members[:2], by_target, len(members))


def _sharing(rows: pl.DataFrame) -> Iterator[list[Row]]:
    """Yield the rows of one set that share a key, two or more at a time, in order."""
    shared = rows.filter(pl.len().over("set", _KEY) > 1).sort("set", _KEY, "row")
    for _, members in groupby(
        shared.iter_rows(named=True), key=lambda row: (row["set"], row[_KEY])
    ):
        yield list(members)


def _duplicates(
    scene: AuditContext, likeness: SharedKey, members: Sequence[Row]
) -> Iterable[Finding]:
    partners = _partners(members)
    conflicting = len(partners.by_target) > 1
    for row in members:
        yield _finding(
            scene,
            likeness.inside,
            "conflict" if conflicting else "duplicate",
            row,
            partners,
            words=likeness.words,
            drop=conflicting or row is not members[0],
        )


def _finding(
    scene: AuditContext,
    subject: CheckSpec,
    relation: Relation,
    row: Row,
    partners: Matches,
    *,
    words: str,
    drop: bool = True,
) -> Finding:
    nearest = partners.nearest(row)
    return Finding(
        check=subject.name,
        manifest=scene.manifests[row["set"]].name,
        row=row["row"],
        filepath=row["filepath"],
        target=row["target"],
        relation=relation,
        detail=f"{words} as a {_CLASSES[nearest['target']]} row",
        other_manifest=scene.manifests[nearest["set"]].name,
        other_filepath=nearest["filepath"],
        other_target=nearest["target"],
        n_others=partners.n - (subject.scope == "inside"),
        drop=drop,
    )


_NOT_READ = "no file could be read"

PATH = SharedKey("path", "the same path", "there is no row")
NAME = SharedKey(
    "name",
    "the same file name in the same corpus",
    "no row has a file name",
    advice_across="look whether it is the same music; if so, drop these rows",
)
BYTES = SharedKey("bytes", "the same bytes", _NOT_READ)
PACKETS = SharedKey(
    "packets", "the same compressed packets (tags apart)", "no file's packets could be told"
)
SAMPLES = SharedKey("samples", "the same samples when decoded", "no file could be decoded")


def check_path(scene: AuditContext) -> list[Outcome]:
    """Compare resolved paths."""
    resolved = [_resolved(path) for path in scene.rows["file"].to_list()]
    return [compare_across(scene, PATH, resolved), compare_inside(scene, PATH, resolved)]


def check_name(scene: AuditContext) -> list[Outcome]:
    """Compare file names across sets; inside a set, reconstructions bear their track's name."""
    rows = scene.rows.select("filepath", "source_dataset").iter_rows()
    return [compare_across(scene, NAME, [_name(path, corpus) for path, corpus in rows])]


def check_bytes(scene: AuditContext) -> list[Outcome]:
    """Compare the bytes of files."""
    return _compare_sounds(scene, BYTES, "sha256")


def check_packets(scene: AuditContext) -> list[Outcome]:
    """Compare what files hold besides their tags."""
    return _compare_sounds(scene, PACKETS, "packets_sha256")


def check_samples(scene: AuditContext) -> list[Outcome]:
    """Compare decoded samples."""
    return _compare_sounds(scene, SAMPLES, "samples_sha256")


def _compare_sounds(scene: AuditContext, likeness: SharedKey, hashed: str) -> list[Outcome]:
    files = scene.rows["file"].to_list()
    keys = [getattr(scene.sounds[path], hashed) for path in files]
    return [compare_across(scene, likeness, keys), compare_inside(scene, likeness, keys)]


def _resolved(path: str) -> str:
    """Return where a path leads; a name that no disk can hold leads nowhere else."""
    try:
        return os.path.realpath(path)
    except ValueError:
        return path


def _name(path: str, corpus: str | None) -> str | None:
    name = posixpath.basename(tidy_path(path)).casefold()
    return f"{(corpus or '').casefold()}\0{name}" if name else None


_SUBJECT = CheckSpec(
    "readable",
    "files that cannot be heard",
    "rows",
    "bring the files back, or drop these rows: whoever judges the rest judges fewer items",
)
_SHOWN = 3


def check_readable(scene: AuditContext) -> list[Outcome]:
    """List every audited row whose file is missing, broken or empty."""
    rows = scene.audited_rows
    findings = [
        Finding(
            check=_SUBJECT.name,
            manifest=scene.manifests[row["set"]].name,
            row=row["row"],
            filepath=row["filepath"],
            target=row["target"],
            relation="unreadable",
            detail=error,
        )
        for row in rows.iter_rows(named=True)
        if (error := scene.sounds[row["file"]].error) is not None
    ]
    errors = Counter(finding.detail for finding in findings)
    commonest = errors.most_common(_SHOWN)
    detail = ", ".join(f"{error} ({n})" for error, n in commonest)
    if n_more := errors.total() - sum(n for _, n in commonest):
        detail += f", other reasons ({n_more})"
    lost = [error for sound in _others(scene) if (error := sound)]
    if lost:
        detail = "; ".join(filter(None, (detail, f"{len(lost)} rows of other sets, too")))
    return [make_result(_SUBJECT, findings, n_checked=rows.height, detail=detail)]


def _others(scene: AuditContext) -> list[str | None]:
    files = scene.rows["file"].to_list()[scene.audited_rows.height :]
    return [scene.sounds[path].error for path in files]


_JOIN = "give these rows one group_id: intervals take rows of different groups for independent"

GROUP = SharedKey("group", "the same group_id", "no row has a group_id")
TRACK = SharedKey(
    "track",
    "the same track, song or caption",
    "no row is of a corpus whose file names tell (FMA, SONICS, FakeMusicCaps)",
    advice_inside=_JOIN,
)
ARTIST = SharedKey(
    "artist",
    "the same artist",
    "no row names an artist",
    advice_across="drop these rows: detectors learn artists, and would be judged on known ones",
)
VIDEO = SharedKey(
    "video", "the same YouTube video", "no row tells a YouTube id", advice_inside=_JOIN
)

_NOBODY = {"various artists", "various", "unknown", "unknown artist", "n/a", "none"}
_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}")


def check_group(scene: AuditContext) -> list[Outcome]:
    """Compare ``group_id``; inside a set it is what joins rows."""
    return [compare_across(scene, GROUP, scene.rows["group_id"].to_list())]


def check_track(scene: AuditContext) -> list[Outcome]:
    """Compare what the file names of known corpora tell."""
    keys = track_keys(scene.rows)
    return [compare_across(scene, TRACK, keys), compare_groups(scene, TRACK, keys)]


def check_artist(scene: AuditContext) -> list[Outcome]:
    """Compare artists, without regard to case and spaces."""
    keys = [_artist(name) for name in scene.rows["artist"].to_list()]
    return [compare_across(scene, ARTIST, keys)]


def check_video(scene: AuditContext) -> list[Outcome]:
    """Compare YouTube ids: a column of their own, or FakeMusicCaps' names, which are such ids."""
    named = zip(named_files(scene.rows), scene.rows["youtube_id"].to_list(), strict=True)
    keys = [video or _video(corpus, stem) for (corpus, stem, _), video in named]
    return [compare_across(scene, VIDEO, keys), compare_groups(scene, VIDEO, keys)]


def _artist(name: str | None) -> str | None:
    plain = " ".join((name or "").casefold().split())
    return None if plain in _NOBODY else plain or None


def _video(corpus: str, stem: str) -> str | None:
    is_id = corpus == fakemusiccaps.SOURCE and _VIDEO_ID.fullmatch(stem)
    return stem if is_id else None
