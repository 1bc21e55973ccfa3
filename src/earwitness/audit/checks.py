"""What an audit looks at: the rows of all manifests, what is known of their files, and cards.

Conventions: one row a manifest's row. ``set`` numbers the manifests, audited ones first, ``row``
counts from 1 within one; text that is empty or blank is ``None``. ``file`` is the absolute path of
the row's file, which may be shared by several rows.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from typing import NamedTuple

import polars as pl
from pydantic import JsonValue

from earwitness.audit.features import FileFeatures
from earwitness.audit.schema import CheckResult, Finding, Link, Relation, Scope
from earwitness.core.cards import DetectorCard
from earwitness.core.errors import UsageError
from earwitness.core.manifest import Manifest

TEXT_COLUMNS = (
    "source_dataset",
    "split_tag",
    "generator",
    "group_id",
    "artist",
    "youtube_id",
)
"""Columns of manifests that checks read; missing ones are empty."""


class Outcome(NamedTuple):
    """What one check gives: its result, the rows that offend, and pairs that sound alike."""

    result: CheckResult
    findings: Sequence[Finding] = ()
    links: Sequence[Link] = ()


@dataclass(frozen=True)
class AuditContext:
    """What an audit looks at.

    Attributes:
        manifests: All manifests, audited ones first.
        n_audited: How many are audited.
        rows: ``set, row, filepath, file, target`` and ``TEXT_COLUMNS``.
        cards: Detectors whose exposure is asked after.
        sounds: What is known of each file, by ``file``; empty where no check needs it.
    """

    manifests: tuple[Manifest, ...]
    n_audited: int
    rows: pl.DataFrame
    cards: tuple[DetectorCard, ...] = ()
    sounds: Mapping[str, FileFeatures] = field(default_factory=dict)

    @property
    def has_others(self) -> bool:
        """Whether there is a set that audited ones must not touch."""
        return len(self.manifests) > self.n_audited

    @property
    def audited_rows(self) -> pl.DataFrame:
        """Rows of audited manifests."""
        return self.rows.filter(pl.col("set") < self.n_audited)

    def with_column(self, name: str, values: Sequence[str | None]) -> pl.DataFrame:
        """Return the rows with one more column of text."""
        return self.rows.with_columns(pl.Series(name, values, dtype=pl.String))


def make_context(
    audited: Sequence[Manifest], against: Sequence[Manifest], cards: Sequence[DetectorCard]
) -> AuditContext:
    """Return the rows of manifests and what checks ask of them, before any file is heard.

    Other sets that go by a name that is taken are told apart by a number.

    Raises:
        UsageError: Two audited manifests go by one name.
    """
    names = [manifest.name for manifest in audited]
    if twins := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"two manifests go by the name {twins[0]!r}; rename one of the files")
    manifests = (*audited, *_named_apart(against, names))
    rows = pl.concat([_rows_of(number, one) for number, one in enumerate(manifests)])
    return AuditContext(manifests, len(audited), rows, tuple(cards))


def _named_apart(manifests: Sequence[Manifest], taken: Sequence[str]) -> list[Manifest]:
    apart: list[Manifest] = []
    for manifest in manifests:
        known = {*taken, *(other.name for other in apart)}
        numbered = (f"{manifest.name} ({n})" for n in count(2))
        name = next(n for n in chain([manifest.name], numbered) if n not in known)
        apart.append(replace(manifest, name=name))
    return apart


def _rows_of(number: int, manifest: Manifest) -> pl.DataFrame:
    frame = manifest.frame
    files = [os.path.abspath(path) for path in manifest.locate_all()]  # noqa: PTH100 - a name may be no valid Path
    return frame.select(
        pl.lit(number, dtype=pl.Int32).alias("set"),
        pl.int_range(1, pl.len() + 1).alias("row"),
        pl.col("filepath"),
        pl.Series("file", files, dtype=pl.String),
        pl.col("target").cast(pl.Int64),
        *(_text(frame, name) for name in TEXT_COLUMNS),
    )


def _text(frame: pl.DataFrame, name: str) -> pl.Expr:
    """Return a column as text, blanks as ``None``."""
    if name not in frame.columns:
        return pl.lit(None, dtype=pl.String).alias(name)
    said = pl.col(name).cast(pl.String).str.strip_chars()
    return pl.when(said != "").then(said).alias(name)


@dataclass(frozen=True)
class CheckSpec:
    """What a check is about.

    Attributes:
        name: Its name in ``audit.json``.
        title: What it looks for, for people.
        scope: What it compares.
        advice: What to do about a finding.
    """

    name: str
    title: str
    scope: Scope
    advice: str


def not_checked(
    subject: CheckSpec,
    why: str,
    *,
    n_unchecked: int = 0,
    figures: Mapping[str, JsonValue] | None = None,
) -> Outcome:
    """Return the outcome of a check that was not made, or that cannot decide."""
    return Outcome(
        CheckResult(
            name=subject.name,
            title=subject.title,
            scope=subject.scope,
            verdict="not checked",
            detail=why,
            n_unchecked=n_unchecked,
            figures=dict(figures or {}),
        )
    )


def make_result(
    subject: CheckSpec,
    findings: Sequence[Finding],
    *,
    n_checked: int,
    n_unchecked: int = 0,
    detail: str = "",
    links: Sequence[Link] = (),
    figures: Mapping[str, JsonValue] | None = None,
) -> Outcome:
    """Return the outcome of a check that looked at rows.

    Args:
        subject: What it is about.
        findings: Rows that offend.
        n_checked: Rows it looked at, at least one.
        n_unchecked: Rows that it could not look at.
        detail: What else to say.
        links: Pairs that sound alike.
        figures: Numbers behind the detail.
    """
    relations = count_relations(findings)
    n_rows = len({(finding.manifest, finding.row) for finding in findings})
    said = [_rows_told(n_rows, n_checked, relations), detail]
    if n_unchecked:
        said.append(f"{n_unchecked} rows could not be looked at")
    offends = any(finding.relation != "undecided" for finding in findings)
    result = CheckResult(
        name=subject.name,
        title=subject.title,
        scope=subject.scope,
        verdict="finding" if offends else "not checked" if findings else "pass",
        detail="; ".join(filter(None, said)),
        advice=subject.advice if offends else "",
        n_rows=n_rows,
        n_checked=n_checked,
        n_unchecked=n_unchecked,
        relations=relations,
        figures=dict(figures or {}),
    )
    return Outcome(result, findings, links)


def conclude_slices(
    subject: CheckSpec,
    *,
    is_finding: bool,
    detail: str,
    n_checked: int,
    n_unchecked: int = 0,
    figures: Mapping[str, JsonValue] | None = None,
) -> Outcome:
    """Return the outcome of a check that looked at slices, where no row offends by itself.

    Args:
        subject: What it is about.
        is_finding: Whether it found something.
        detail: What it saw.
        n_checked: Rows of the slices it looked at, at least one.
        n_unchecked: Rows that it could not look at.
        figures: Numbers behind the detail.
    """
    lost = f"{n_unchecked} rows could not be looked at" if n_unchecked else ""
    return Outcome(
        CheckResult(
            name=subject.name,
            title=subject.title,
            scope=subject.scope,
            verdict="finding" if is_finding else "pass",
            detail="; ".join(filter(None, (detail, lost))),
            advice=subject.advice if is_finding else "",
            n_checked=n_checked,
            n_unchecked=n_unchecked,
            figures=dict(figures or {}),
        )
    )


def count_relations(findings: Sequence[Finding]) -> dict[Relation, int]:
    """Return how many rows offend in each way."""
    distinct = {(finding.manifest, finding.row, finding.relation) for finding in findings}
    counts = Counter(relation for _, _, relation in distinct)
    return dict(sorted(counts.items()))


_WORDS: dict[Relation, str] = {
    "leak": "in another set, too",
    "duplicate": "again with the same label",
    "conflict": "again with the other label",
    "split_group": "of one origin and several groups",
    "partial": "sharing a part or a backing",
    "undecided": "not decidable",
    "trained_on": "trained on",
    "selected_on": "selected on",
    "unreadable": "not readable",
    "shortcut": "given away",
}


def _rows_told(n_rows: int, n_checked: int, relations: Mapping[Relation, int]) -> str:
    if n_rows == 0:
        return f"none of {n_checked} rows"
    if len(relations) == 1:
        return f"{n_rows} of {n_checked} rows {_WORDS[next(iter(relations))]}"
    parts = ", ".join(f"{n} {_WORDS[relation]}" for relation, n in relations.items())
    return f"{n_rows} of {n_checked} rows: {parts}"
