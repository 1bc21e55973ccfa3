"""Rows that share something: between audited sets and others, and inside one.

Conventions: a row's key is what it shares (a hash, a name, an artist); ``None`` is not known, and
such a row was not looked at. The nearest of several rows is one with the other label where there is
one, else the first. Time grows with the number of rows, however many share a key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import polars as pl

from earwitness.audit.context import AuditContext, Outcome
from earwitness.audit.results import CheckSpec, make_result, not_checked
from earwitness.audit.schema import Finding, Relation

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
